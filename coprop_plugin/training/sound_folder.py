"""Recordings in a folder, by source and split; decoded once, then mapped into memory."""

import csv
import hashlib
import json
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from coprop_plugin.audio.resample import resample
from coprop_plugin.errors import CopropError, DatasetError, DatasetWarning
from coprop_plugin.limits import read_text
from coprop_plugin.media import read_waveform, refuse_missing
from coprop_plugin.world.splits import Split

RATE = 16_000
"""Samples per second of all decoded recordings."""
LISTING = "sources.csv"
"""Optional file in the folder: `file,source,kind`, and optionally `split`; one row per file."""
LONGEST_SILENCE_S = 0.5
"""Longer silence inside a recording is shortened to this."""
_LONGEST_S = 60.0
_SHORTEST_S = 0.06
_BLOCK = 320
_SILENT_DB = -42.0
_SHARES: dict[Split, float] = {"train": 0.74, "val": 0.08, "test": 0.18}
_SUFFIXES = {".wav", ".ogg", ".oga", ".flac", ".mp3", ".opus", ".m4a", ".aac", ".mp4"}
_FORMAT = "coprop.sounds/1"

Wave = NDArray[np.float32]
"""`[samples]` at 16 kHz."""


@dataclass(frozen=True)
class SoundSource:
    """A source that was recorded, e.g. one dog, one speaker, one instrument.

    Attributes:
        name: Its name.
        kind: Its class; "" if unknown.
        pieces: Start and stop of each of its recordings among the decoded samples.
    """

    name: str
    kind: str
    pieces: tuple[tuple[int, int], ...]


class SoundFolder:
    """The sound sources of one split in a folder of recordings.

    Without `sources.csv` each file is a source, and its folder names its kind. With it, files of
    the same source, e.g. words of one speaker, are kept together. The split of a source depends on
    its name only: no source is in two splits, and adding files moves none. A column `split`
    overrides it.

    Files are decoded once: to 16 kHz mono, trimmed, long silence shortened, levels equalised.

    Args:
        folder: Folder with audio files, at any depth.
        split: "train", "val" or "test".
        cache: Folder of the decoded samples; by default `.coprop_sounds` in `folder`.

    Raises:
        DatasetError: If the folder or split does not exist, the split has no audio, or the decoded
            samples cannot be written.

    Example:
        >>> sounds = SoundFolder("sounds", "train")  # doctest: +SKIP
        >>> len(sounds.sources), sounds.sources[0].kind  # doctest: +SKIP
        (740, 'voice')
    """

    def __init__(
        self, folder: str | Path, split: Split = "train", cache: str | Path | None = None
    ) -> None:
        folder = Path(folder)
        if split not in get_args(Split):
            raise DatasetError(
                f"Expected one of {', '.join(get_args(Split))}, got split={split!r}."
            )
        refuse_missing(folder, "folder", DatasetError)
        if not folder.is_dir():
            raise DatasetError(
                f"Expected a folder of audio files, got {str(folder)!r}, which is not a folder."
            )
        place = Path(cache) if cache is not None else folder / ".coprop_sounds"
        rows = _decoded_once(folder, place)
        self.sources = tuple(
            SoundSource(row["source"], row["kind"], tuple((a, b) for a, b in row["pieces"]))
            for row in rows
            if row["split"] == split
        )
        if not self.sources:
            raise DatasetError(
                f"Expected audio files of the split {split!r} in {folder}, found none. Add "
                f"recordings, or a column `split` to {LISTING}; a split needs about 20 sources."
            )
        self._samples = np.memmap(place / "samples.i16", dtype=np.int16, mode="r")

    def piece(self, source: SoundSource, number: int) -> Wave:
        """Return one recording of a source, `[samples]` at 16 kHz, its loud parts at -20 dB."""
        start, stop = source.pieces[number]
        return self._samples[start:stop].astype(np.float32) / np.float32(32768)


def split_of(source: str) -> Split:
    """Return the split of a source, which depends on its name only.

    Example:
        >>> split_of("dog/12")
        'test'
    """
    digest = hashlib.sha256(source.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in _SHARES.items():
        place -= share
        if place < 0:
            return name
    return "test"


def equalised(waveform: Wave) -> Wave:
    """Trim silence, shorten long silence inside, and bring the loud parts to -20 dB.

    Args:
        waveform: `[samples]` at 16 kHz.

    Returns:
        `[samples]`; empty if all is silent.

    Example:
        >>> tone = np.sin(np.arange(16_000)).astype(np.float32)
        >>> len(equalised(np.concatenate([0 * tone, tone, 0 * tone])))
        16000
    """
    count = len(waveform) // _BLOCK
    blocks = waveform[: count * _BLOCK].reshape(count, _BLOCK)
    power = (blocks**2).mean(axis=1)
    if count == 0 or power.max() < 1e-8:
        return np.zeros(0, np.float32)
    loud = power > power.max() * 10 ** (_SILENT_DB / 10)
    first, last = int(np.argmax(loud)), count - int(np.argmax(loud[::-1]))
    # The number of blocks since the last loud one.
    quiet_for = np.arange(count) - np.maximum.accumulate(np.where(loud, np.arange(count), -1))
    keep = quiet_for <= LONGEST_SILENCE_S * RATE / _BLOCK
    keep[:first] = keep[last:] = False
    level = np.sqrt(np.mean(power[loud & (power > power.max() / 100)]))
    # The peak of a click is far above its level; no sample may be outside -1..1.
    scale = min(0.1 / level, 0.99 / float(np.abs(waveform).max()))
    return (blocks[keep].reshape(-1) * scale).astype(np.float32)


def _decoded_once(folder: Path, place: Path) -> list[dict[str, Any]]:
    """Return the index of the decoded samples; decodes them first if they are missing or old."""
    index = place / "index.json"
    listed = _listed(folder)
    digest = hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
    known = _known_index(index)
    is_current = known.get("format") == _FORMAT and known.get("digest") == digest
    if is_current and (place / "samples.i16").is_file():
        return known["sources"]
    try:
        place.mkdir(parents=True, exist_ok=True)
        rows = _decode(folder, place, listed)
        partial = index.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps({"format": _FORMAT, "digest": digest, "sources": rows}))
        partial.replace(index)
    except OSError as error:
        raise DatasetError(
            f"{place} cannot be written ({error.strerror or error}). Pass another folder for the "
            "decoded samples as `cache`."
        ) from error
    return rows


def _known_index(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path, DatasetError))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _listed(folder: Path) -> list[dict[str, str]]:
    """Return the files, their sources and kinds: from the listing, or from the files' names."""
    listing = folder / LISTING
    if not listing.is_file():
        paths = sorted(
            p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file()
        )
        names = [path.relative_to(folder) for path in paths]
        return [
            {"file": n.as_posix(), "source": n.with_suffix("").as_posix(), "kind": n.parent.name}
            for n in names
        ]
    try:
        rows = list(csv.DictReader(read_text(listing, DatasetError).splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{listing} cannot be read ({error}). Save it as CSV in UTF-8, or remove it."
        ) from error
    for number, row in enumerate(rows, 2):
        if not row.get("file") or not row.get("source"):
            raise DatasetError(
                f"Expected the columns file and source, and optionally kind and split, in "
                f"{listing}; row {number} lacks one of the first two. Add them, or remove the file."
            )
        if row.get("split") and row["split"] not in get_args(Split):
            raise DatasetError(
                f"Expected one of {', '.join(get_args(Split))} as the split in row {number} of "
                f"{listing}, got {row['split']!r}. Correct it, or leave it empty."
            )
    return [{name: row.get(name) or "" for name in _COLUMNS} for row in rows]


_COLUMNS = ("file", "source", "kind", "split")


def _decode(folder: Path, place: Path, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Write the samples of all files; returns the sources and the places of their samples."""
    sources: dict[str, dict[str, Any]] = {}
    pieces: dict[str, list[tuple[int, int]]] = defaultdict(list)
    written = 0
    partial = place / f"samples.{os.getpid()}.partial"
    with partial.open("wb") as file:
        for row, samples in _samples(folder, rows):
            name = row["source"]
            split = row.get("split") or split_of(name)
            sources.setdefault(name, {"source": name, "kind": row["kind"], "split": split})
            file.write((samples * 32767).astype(np.int16).tobytes())
            pieces[name].append((written, written + len(samples)))
            written += len(samples)
    partial.replace(place / "samples.i16")
    return [{**row, "pieces": pieces[name]} for name, row in sources.items()]


def _samples(
    folder: Path, rows: list[dict[str, str]]
) -> Iterator[tuple[dict[str, str], NDArray[np.float32]]]:
    for row in rows:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                waveform, rate = read_waveform(folder / row["file"])
        except CopropError as error:
            warnings.warn(f"{row['file']} is left out: {error}", DatasetWarning, stacklevel=2)
            continue
        samples = equalised(resample(waveform[: int(_LONGEST_S * rate)], rate, RATE).numpy())
        if len(samples) >= _SHORTEST_S * RATE:
            yield row, samples
