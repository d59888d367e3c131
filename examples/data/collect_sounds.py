"""Collect the recordings of Debian packages, to train a change detector on them.

Needs `fluidsynth` for the soundfonts and `espeak-ng`; the packages are listed in
`coprop_plugin/weights/README.md`.

    for package in tuxpaint-stamps-default klettres-data; do
        apt-get download $package && dpkg -x ${package}_*.deb packages/$package
    done
    python examples/data/collect_sounds.py packages sounds
    coprop train change_detector --sounds sounds

Writes 16 kHz mono WAV files and `sources.csv`, the source and kind of each. The files keep the
licences of their packages: read `/usr/share/doc/PACKAGE/copyright` before you pass on any of them.
"""

import argparse
import csv
import re
import subprocess
import tempfile
import wave
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np

RATE = 16_000
LONGEST_S = 45
"""Recordings are cut to this length."""
SHORTEST_S = 0.08
SUFFIXES = {".wav", ".ogg", ".oga", ".flac", ".mp3", ".opus"}
PROGRAM_S = 14.0
VOICES = "en-us en-gb de fr-fr es it pt-br nl pl ru cs sv da fi hu ro tr el id sw".split()
VARIANTS = "m1 m3 m5 m7 f1 f2 f3 f4 croak klatt4".split()
SENTENCES = (
    "The little boat came home before the storm began.",
    "Seven grey horses waited, quietly, behind the wooden gate.",
    "Could you bring me the other book? Not this one.",
    "Yes. No. Perhaps tomorrow, when the bridge is open again.",
    "A clock, a kettle, and an old piano were all they kept.",
    "Turn left at the mill, then follow the river for a mile.",
)

Sound = tuple[str, str, str, np.ndarray]
"""Kind, source, name of the file, int16 samples at 16 kHz."""


def main() -> None:
    """Collect the recordings of the packages in a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", type=Path, help="folder with one unpacked package per folder")
    parser.add_argument("folder", type=Path, help="output folder")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sounds = (
        sound
        for part in (recorded, carved, zipped, instruments, spoken)
        for sound in part(arguments.packages)
    )
    with (arguments.folder / "sources.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "source", "kind"])
        for number, (kind, source, name, samples) in enumerate(sounds):
            path = arguments.folder / kind / f"{number:05}_{_plain(name)}.wav"
            write_wav(path, samples)
            rows.writerow([path.relative_to(arguments.folder).as_posix(), source, kind])


def recorded(packages: Path) -> Iterator[Sound]:
    """Yield the sound files of the packages."""
    for path in sorted(packages.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file() or path.is_symlink():
            continue
        parts = path.relative_to(packages).parts
        kind, source = kind_and_source(parts[0], "/".join(parts[1:]))
        samples = decoded(path)
        if kind and len(samples) >= SHORTEST_S * RATE:
            yield kind, source, path.stem, samples


def kind_and_source(package: str, path: str) -> tuple[str, str]:
    """Return the kind of a recording and the name of its source, from its path; "" to leave it out.

    Example:
        >>> kind_and_source("hedgewars-data", "usr/share/.../Sounds/dog2.ogg")
        ('effect', 'hedgewars-data/dog')
    """
    *folders, name = path.split("/")
    stem = name.rpartition(".")[0]
    if package == "tuxpaint-stamps-default":
        language = re.search(r"_desc_?(\w*)$", stem)
        spoken_sign = re.search(r"/symbols/(math|alphabets)/", path)
        if language or spoken_sign:
            said = language.group(1) if language else (re.findall(r"_([a-z]{2}\w*)$", stem) or [""])
            code = said if isinstance(said, str) else said[0]
            return "voice", f"tuxpaint/{code or 'en'}"
        return "effect", f"tuxpaint/{_without_number(stem)}"
    if package in ("ktuberling-data", "klettres-data"):
        after = folders[folders.index("sounds") + 1 :] if "sounds" in folders else folders[-2:]
        return "voice", f"kde/{after[0]}"
    if package.startswith("asterisk"):
        return ("", "") if "silence" in path else ("voice", package)
    if "/voices/" in path.lower():
        return "voice", f"{package}/{folders[-1]}"
    if "/music/" in path.lower():
        return "music", f"{package}/{stem}"
    if package == "hydrogen-drumkits":
        return "instrument", f"{package}/{folders[-1]}"
    if "/loop_" in path:
        return "music", f"{package}/{stem}"
    return "effect", f"{package}/{_without_number(stem)}"


def carved(packages: Path) -> Iterator[Sound]:
    """Yield the sounds inside the containers of OpenTTD (RIFF) and GCompris (Ogg)."""
    for path in sorted([*packages.rglob("*.cat"), *packages.rglob("*.rcc")]):
        package, content = path.relative_to(packages).parts[0], path.read_bytes()
        pieces = _riffs(content) if path.suffix == ".cat" else _oggs(content)
        for number, piece in enumerate(pieces):
            samples = decoded_bytes(piece)
            if len(samples) >= SHORTEST_S * RATE:
                yield "effect", f"{package}/{path.stem}/{number}", f"{path.stem}_{number}", samples


def zipped(packages: Path) -> Iterator[Sound]:
    """Yield the sounds inside `.pk3` archives."""
    for path in sorted(packages.rglob("*.pk3")):
        package = path.relative_to(packages).parts[0]
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if Path(name).suffix.lower() not in SUFFIXES:
                    continue
                kind = "music" if "music/" in name else "effect"
                # All sounds of a player model are of one voice.
                folder, stem = Path(name).parent.as_posix(), _without_number(Path(name).stem)
                player = "/player/" in name and "footsteps" not in name
                samples = decoded_bytes(archive.read(name))
                if len(samples) >= SHORTEST_S * RATE:
                    source = f"{package}/{folder}" if player else f"{package}/{folder}/{stem}"
                    yield ("voice" if player else kind), source, Path(name).stem, samples


def instruments(packages: Path) -> Iterator[Sound]:
    """Yield melodies on the 128 instruments of each soundfont, played by fluidsynth."""
    for font in sorted([*packages.rglob("*.sf2"), *packages.rglob("*.sf3")]):
        with tempfile.TemporaryDirectory() as folder:
            midi, out = Path(folder) / "all.mid", Path(folder) / "all.wav"
            midi.write_bytes(melodies(np.random.default_rng(len(font.name))))
            command = ["fluidsynth", "-ni", "-R0", "-C0", "-g0.8", "-r16000", "-F", str(out)]
            subprocess.run([*command, str(font), str(midi)], check=True, capture_output=True)
            samples = decoded(out, longest_s=1e9)
        for program in range(128):
            piece = samples[int(program * PROGRAM_S * RATE) : int((program + 1) * PROGRAM_S * RATE)]
            # The fonts share recordings: an instrument is the same source in all of them.
            yield "instrument", f"gm/{program}", f"{font.stem}_{program}", piece


def melodies(rng: np.random.Generator) -> bytes:
    """Return a MIDI file in which each program plays for `PROGRAM_S`, 12 s of it notes."""
    events: list[tuple[float, bytes]] = []
    for program in range(128):
        start = program * PROGRAM_S
        events.append((start, bytes([0xC0, program])))
        low, beat = int(rng.integers(36, 72)), float(rng.choice([0.125, 0.25, 0.4, 0.8, 1.5]))
        at = start + 0.02
        while at < start + 12:
            length = beat * float(rng.choice([0.5, 1, 1, 2]))
            chord = rng.integers(0, 20, int(rng.choice([1, 1, 1, 2, 3])))
            for key in {low + int(step) for step in chord}:
                events.append((at, bytes([0x90, key, int(rng.integers(60, 120))])))
                events.append((min(at + length * 0.95, start + 12.2), bytes([0x80, key, 0])))
            at += length + (beat if rng.random() < 0.15 else 0.0)
        events.append((start + 13.0, bytes([0xB0, 120, 0])))
    return _midi(events)


def spoken(packages: Path) -> Iterator[Sound]:
    """Yield sentences spoken by espeak-ng, each voice at its own pitch and speed."""
    rng = np.random.default_rng(0)
    for language in VOICES:
        for variant in rng.choice(VARIANTS, 4, replace=False):
            voice, pitch, speed = (
                f"{language}+{variant}",
                rng.integers(20, 80),
                rng.integers(130, 210),
            )
            for number, sentence in enumerate(SENTENCES):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "said.wav"
                    options = ["-v", voice, "-p", str(pitch), "-s", str(speed), "-w", str(path)]
                    subprocess.run(["espeak-ng", *options, sentence], check=True)
                    yield "voice", f"espeak/{voice}", f"{voice}_{number}", decoded(path)


def decoded(path: Path, longest_s: float = LONGEST_S) -> np.ndarray:
    """Return the first seconds of a sound file, int16 at 16 kHz; empty if it is damaged."""
    try:
        with av.open(str(path)) as container:
            return _samples(container, longest_s)
    except (av.FFmpegError, IndexError, ValueError):
        return np.zeros(0, np.int16)


def decoded_bytes(content: bytes) -> np.ndarray:
    """Return the same as `decoded`, for the content of a file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return decoded(Path(file.name))


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Write int16 samples at 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def _samples(container: av.container.InputContainer, longest_s: float) -> np.ndarray:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    pieces, count = [], 0
    for frame in container.decode(audio=0):
        for piece in resampler.resample(frame):
            pieces.append(piece.to_ndarray()[0])
            count += len(pieces[-1])
        if count >= longest_s * RATE:
            break
    kept = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    return kept[: int(longest_s * RATE)]


def _riffs(content: bytes) -> Iterator[bytes]:
    for match in re.finditer(rb"RIFF....WAVE", content, re.DOTALL):
        size = int.from_bytes(content[match.start() + 4 : match.start() + 8], "little") + 8
        yield content[match.start() : match.start() + size]


def _oggs(content: bytes) -> Iterator[bytes]:
    at = content.find(b"OggS\0\2")
    while at >= 0:
        start = at
        while content[at : at + 4] == b"OggS":
            last = content[at + 5] & 4
            table = content[at + 27 : at + 27 + content[at + 26]]
            at += 27 + len(table) + sum(table)
            if last:
                break
        yield content[start:at]
        at = content.find(b"OggS\0\2", at)


def _midi(events: Iterable[tuple[float, bytes]]) -> bytes:
    """Return a MIDI file of one track; 1000 ticks are a second."""
    track, now = b"\x00\xff\x51\x03\x0f\x42\x40", 0
    for second, event in sorted(events, key=lambda pair: pair[0]):
        tick = round(second * 1000)
        track, now = track + _variable(tick - now) + event, tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4) + (0).to_bytes(2) + (1).to_bytes(2) + (1000).to_bytes(2)
    return header + b"MTrk" + len(track).to_bytes(4) + track


def _variable(number: int) -> bytes:
    digits = [number & 127]
    while number := number >> 7:
        digits.insert(0, number & 127 | 128)
    return bytes(digits)


def _without_number(stem: str) -> str:
    return re.sub(r"[-_ ]?\d+$", "", stem)


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name)[:60]


if __name__ == "__main__":
    main()
