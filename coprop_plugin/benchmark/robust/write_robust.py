"""Writing AVSBench-Robust's audio files, in its authors' layout."""

import csv
import io
import wave
from pathlib import Path

import torch
from torch import Tensor

from coprop_plugin.benchmark.datasets import AVSDataset
from coprop_plugin.benchmark.robust.robust_samples import FOLDERS, SILENT_FILE, RobustSamples
from coprop_plugin.errors import DatasetError, MediaError
from coprop_plugin.media import write_text

LIST_FILE = "off_screen.csv"
"""Which clip each off-screen sound is of."""


def write_robust(dataset: AVSDataset, out: str | Path, seed: int = 42) -> Path:
    """Write the negative audio of a data set: `RobustSamples`' sounds as files.

    `audio_wav_noise` and `audio_wav_misaligned` (off-screen sounds) lie where the data set has
    `audio_wav`, as the authors' script writes them; beside them `silent.wav`, and `off_screen.csv`
    with the clip that each off-screen sound is of.

    Args:
        dataset: S4 or MS3.
        out: The folder, e.g. `robust/Multi-sources`.
        seed: See `RobustSamples`.

    Returns:
        The folder.

    Raises:
        DatasetError: If a clip's audio is missing.
        MediaError: If a file cannot be written.
    """
    out = Path(out)
    if out.resolve() == dataset.root.resolve():
        raise DatasetError(f"Expected another folder than the data set's own, {out}. Choose one.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"{out} cannot be made ({error.strerror}). Choose another.") from error
    robust = RobustSamples(dataset, seed)
    places = RobustSamples(dataset, seed, out)
    lines = []
    rate, longest = 16_000, 0
    for number, row in enumerate(dataset.rows):
        for condition in FOLDERS:
            waveform, rate = robust.waveform(number, condition)
            write_wav(places.file(number, condition), waveform, rate)
            longest = max(longest, len(waveform))
        lines.append((row.id, robust.off_screen.source(number)))
    write_wav(out / SILENT_FILE, torch.zeros(longest), rate)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("clip", "off_screen_sound_of"), *lines])
    write_text(out / LIST_FILE, text.getvalue())
    return out


def write_wav(path: Path, waveform: Tensor, sample_rate: int) -> None:
    """Write a waveform `[samples]` as 16-bit PCM; the folder is made if need be.

    Raises:
        MediaError: If it cannot be written.
    """
    samples = (waveform.clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sample_rate)
            file.writeframes(samples.astype("<i2").tobytes())
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror or error}).") from error
