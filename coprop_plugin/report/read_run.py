"""A finished run, read back from its folder and measured frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from coprop_plugin import media
from coprop_plugin.benchmark.metrics import frame_ious
from coprop_plugin.errors import ReportError
from coprop_plugin.media.folders import BARE
from coprop_plugin.media.result_json import json_of
from coprop_plugin.types import ControlPoints, spans_of


@dataclass(frozen=True)
class Layer:
    """Masks of every frame from one origin, on disk.

    Args:
        name: `coprop`, `bare` or `truth`.
        title: What to call it.
        masks: One picture a frame, class ids.
        probs: One picture a frame, 255 times the probability that a pixel sounds; none for truth.
    """

    name: str
    title: str
    masks: Sequence[Path]
    probs: Sequence[Path] = ()

    @cached_property
    def areas(self) -> list[float]:
        """Share of the picture that sounds, of every frame, in [0, 1]."""
        return [float((self.mask(t) > 0).mean()) for t in range(len(self.masks))]

    @cached_property
    def classes(self) -> list[list[int]]:
        """The classes that sound in every frame, rising."""
        return [[k for k in np.unique(self.mask(t)).tolist() if k] for t in range(len(self.masks))]

    @cached_property
    def confidence(self) -> list[float]:
        """How sure each frame is, in [0, 1].

        The mean probability inside the mask; where the mask is empty, that of nothing sounding
        even where it seems likeliest.
        """
        return [
            _confidence(self.mask(t), media.read_mask(prob) / 255)
            for t, prob in enumerate(self.probs)
        ]

    def mask(self, t: int) -> np.ndarray:
        """Read the mask of frame t: `[H, W]` uint8, 0 where nothing sounds."""
        with Image.open(self.masks[t]) as image:
            return np.array(image if image.mode in ("1", "L", "P") else image.convert("L"), "uint8")


@dataclass(frozen=True)
class Run:
    """What a results folder holds; see `read_run`.

    Args:
        folder: Where it is.
        content: `result.json`.
        points: The control points, None if the run kept none.
        video: The file that was segmented, or the overlay where that is gone.
        painted: Whether the masks are already in the pictures of `video`.
        layers: Co-Prop's masks first; the bare model's and the truth's where there are any.
    """

    folder: Path
    content: dict[str, Any]
    points: ControlPoints | None
    video: Path
    painted: bool
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """The source's file name, or the folder's."""
        return str(self.content.get("source") or self.folder.resolve().name)

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.layers[0].masks)

    @cached_property
    def spans(self) -> list[tuple[float, float]]:
        """From when to when each frame's mask counts, in seconds."""
        times = torch.tensor(self.content["times"], dtype=torch.float64)
        spans = spans_of(times, self.content["sampling"])
        return [(start, end) for start, end in spans.tolist()]

    def layer(self, name: str) -> Layer | None:
        """Return the masks of one origin, None if there are none."""
        return next((layer for layer in self.layers if layer.name == name), None)

    def scores(self, name: str = "coprop") -> list[float] | None:
        """Return the Jaccard index of every frame of a layer, None where no truth is known."""
        return self._scores.get(name)

    @cached_property
    def _scores(self) -> dict[str, list[float]]:
        truth = self.layer("truth")
        if truth is None:
            return {}
        return {
            layer.name: [
                float(
                    frame_ious(
                        torch.from_numpy(layer.mask(t) > 0).float(),
                        torch.from_numpy(truth.mask(t) > 0),
                    )
                )
                for t in range(self.num_frames)
            ]
            for layer in self.layers
            if layer is not truth
        }


def read_run(
    folder: str | Path, *, video: str | Path | None = None, truth: str | Path | None = None
) -> Run:
    """Read what a run wrote.

    Args:
        folder: What `SegmentationResult.save` or `coprop run` wrote. If the bare model's result
            lies in `bare/` inside, it is read too.
        video: The file that was segmented; by default where the run says, or beside the folder.
            Where there is none, `overlay.mp4` stands in for it.
        truth: A folder with the true masks, one PNG a frame in order of name; not 0 where it
            sounds.

    Raises:
        ControlPointError: If the folder's control points were edited into something else.
        ReportError: If the folder holds no complete result or no video is to be had, or the true
            masks are not those of this run.
    """
    folder = Path(folder)
    content = media.read_manifest(folder)
    if content is None:
        raise ReportError(
            f"{folder} holds no finished result (no result.json that this library wrote). Give the "
            "folder that `coprop run -o OUT` named: OUT/<name of the input>."
        )
    layers = [_layer(folder, "coprop", "Co-Prop", content)]
    bare = media.read_manifest(folder / BARE)
    if bare is not None:
        if bare["times"] != content["times"]:
            raise ReportError(
                f"{folder / BARE} was made at other times than {folder}. Make it again: `coprop "
                "run --bare` with the options of that run."
            )
        layers.append(_layer(folder / BARE, "bare", "Model alone", bare))
    if truth is not None:
        layers.append(_truth(Path(truth), content))
    found, painted = _video_of(folder, content, video)
    return Run(folder, content, _points(folder, content), found, painted, tuple(layers))


def _points(folder: Path, content: dict[str, Any]) -> ControlPoints | None:
    kept = json_of(folder / "control_points.json")
    points = ControlPoints.from_dict(kept) if kept else None
    if points is not None and points.num_frames != content["num_frames"]:
        raise ReportError(
            f"{folder / 'control_points.json'} has {points.num_frames} flags for a result of "
            f"{content['num_frames']} frames. Restore the file, or run that input with --redo."
        )
    return points


def _layer(folder: Path, name: str, title: str, content: dict[str, Any]) -> Layer:
    files = [media.picture_name(t) for t in range(content["num_frames"])]
    masks = [folder / "masks" / file for file in files]
    probs = [folder / "probs" / file for file in files]
    gone = next((path for path in (*masks, *probs) if not path.is_file()), None)
    if gone is not None:
        raise ReportError(f"{gone} is missing from the result. Run that input again with --redo.")
    return Layer(name, title, masks, probs)


def _truth(folder: Path, content: dict[str, Any]) -> Layer:
    masks = sorted(folder.glob("*.png"))
    if len(masks) != content["num_frames"]:
        raise ReportError(
            f"Got {len(masks)} true masks in {folder} for {content['num_frames']} frames; wanted "
            "one PNG a frame. Segment at the frame rate that the truth has (--fps)."
        )
    with Image.open(masks[0]) as first:
        size = (first.height, first.width)
    if list(size) != content["size"]:
        raise ReportError(
            f"Got true masks of {size[0]} x {size[1]} in {folder} for a result of "
            f"{content['size'][0]} x {content['size'][1]}; wanted the same size."
        )
    return Layer("truth", "Truth", masks)


def _video_of(folder: Path, content: dict[str, Any], video: str | Path | None) -> tuple[Path, bool]:
    if video is not None:
        if not Path(video).is_file():
            raise ReportError(f"There is no file {video}. Name the video that was segmented.")
        return Path(video), False
    source = media.source_of(folder, content)
    if source is not None:
        return source, False
    if (folder / "overlay.mp4").is_file():
        return folder / "overlay.mp4", True
    raise ReportError(
        f"Got no video for {folder}: {content.get('source') or 'its source'} is gone, and there is "
        "no overlay.mp4. Name the video that was segmented with --video."
    )


def _confidence(mask: np.ndarray, prob: np.ndarray) -> float:
    inside = mask > 0
    return float(prob[inside].mean() if inside.any() else 1 - prob.max())
