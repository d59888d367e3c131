"""Write synthetic scenes in AVSBench's layout: S4, MS3, and AVSS with labels of the same clips.

    python examples/data/synthetic_avsbench.py data --test 20 --train 40

Scenes of one sounding class are S4's, the others MS3's; AVSS has both (v1s, v1m) and scenes of
10 s (v2). With them every command for AVSBench runs, and the truth is exact; the scores say nothing
about AVSBench.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from coprop_plugin import Clip
from coprop_plugin.control_points.llm.openai_compatible import wav_bytes
from coprop_plugin.media.masks import avsbench_palette
from coprop_plugin.world import KINDS
from coprop_plugin.world.splits import SPLITS, made_up_scene

CLASSES = ("background", *(kind.name for kind in KINDS))
SUBSETS = {"v1s": (1, 5.0), "v1m": (2, 5.0), "v2": (1, 10.0)}
"""Least number of sounding classes, and seconds, of the clips of each subset of AVSS."""


def write_avsbench(
    root: Path, counts: dict[str, int], size: tuple[int, int] = (112, 160)
) -> dict[str, Path]:
    """Write the data sets.

    Args:
        root: Folder in which `Single-source`, `Multi-sources` and `AVSS` are made.
        counts: Number of clips of each data set and split.
        size: Height and width of the frames.

    Returns:
        The folder of each data set.
    """
    folders = {"S4": root / "Single-source", "MS3": root / "Multi-sources", "AVSS": root / "AVSS"}
    tables: dict[str, list[list[str]]] = {name: [] for name in folders}
    for subset, (least, seconds) in SUBSETS.items():
        for split, count in counts.items():
            scenes = _scenes(split, least, subset == "v1s", seconds, size)
            for name, clip, masks in islice(scenes, count):
                _write_avss(folders["AVSS"] / subset / name, clip, masks, (subset, split))
                tables["AVSS"].append([name, name, "0", "0", "x", split, subset])
                if subset == "v1s":
                    category = CLASSES[int(masks.max())]
                    _write_s4(folders["S4"] / "s4_data", name, clip, masks, (split, category))
                    tables["S4"].append([name, "0", category, split])
                elif subset == "v1m":
                    _write_ms3(folders["MS3"] / "ms3_data", name, clip, masks, split)
                    tables["MS3"].append([name, split])
    _table(folders["S4"] / "s4_meta_data.csv", "name start category split", tables["S4"])
    _table(folders["MS3"] / "ms3_meta_data.csv", "video_id split", tables["MS3"])
    _table(
        folders["AVSS"] / "metadata.csv", "vid uid s_min s_sec a_obj split label", tables["AVSS"]
    )
    numbers = {name: number for number, name in enumerate(CLASSES)}
    (folders["AVSS"] / "label2idx.json").write_text(json.dumps(numbers))
    return folders


def _scenes(
    split: str, least: int, single: bool, seconds: float, size: tuple[int, int]
) -> Iterator[tuple[str, Clip, Tensor]]:
    """Yield names, clips and class masks of scenes with the right number of sounding classes."""
    for seed in SPLITS[split]:
        scene = made_up_scene(seed, size, seconds, off_screen=0.0)
        clip = scene.clip(sampling="avsbench")
        masks = scene.truth(clip)
        classes = len(set(masks.unique().tolist()) - {0})
        if classes == 1 if single else classes >= least:
            yield f"scene_{seed}_{round(seconds)}s", clip, masks


def _write_s4(data: Path, name: str, clip: Clip, masks: Tensor, place: tuple[str, str]) -> None:
    split, category = place
    here = Path(split) / category
    for i, (frame, mask) in enumerate(zip(clip.frames, masks, strict=True), 1):
        _picture(data / "visual_frames" / here / name / f"{name}_{i}.png", frame)
        if i == 1 or split != "train":
            _mask(data / "gt_masks" / here / name / f"{name}_{i}.png", mask)
    _sound(data / "audio_wav" / here / f"{name}.wav", clip)


def _write_ms3(data: Path, name: str, clip: Clip, masks: Tensor, split: str) -> None:
    for i, (frame, mask) in enumerate(zip(clip.frames, masks, strict=True), 1):
        _picture(data / "visual_frames" / name / f"{name}.mp4_{i}.png", frame)
        _mask(data / "gt_masks" / split / name / f"{name}_{i}.png", mask)
    _sound(data / "audio_wav" / split / f"{name}.wav", clip)


def _write_avss(folder: Path, clip: Clip, masks: Tensor, place: tuple[str, str]) -> None:
    for i, (frame, mask) in enumerate(zip(clip.frames, masks, strict=True)):
        _picture(folder / "frames" / f"{i}.jpg", frame)
        if i == 0 or place != ("v1s", "train"):
            _save(folder / "labels_rgb" / f"{i}.png", avsbench_palette()[mask.numpy()])
    _sound(folder / "audio.wav", clip)


def _picture(path: Path, frame: Tensor) -> None:
    pixels = frame if not frame.is_floating_point() else (frame * 255).round()
    _save(path, pixels.byte().permute(1, 2, 0).numpy())


def _mask(path: Path, mask: Tensor) -> None:
    _save(path, (255 * (mask > 0)).byte().numpy())


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def _sound(path: Path, clip: Clip) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(clip.waveform_at(16_000), 16_000))


def _table(path: Path, header: str, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(), *rows])


def main() -> None:
    """Read the command line, and write the data sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--train", type=int, default=40, help="clips of each data set")
    parser.add_argument("--val", type=int, default=2)
    parser.add_argument("--test", type=int, default=20)
    options = parser.parse_args()
    counts = {split: getattr(options, split) for split in ("train", "val", "test")}
    for name, folder in write_avsbench(options.root, counts).items():
        print(f"{name}: {folder}")


if __name__ == "__main__":
    main()
