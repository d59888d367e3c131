"""A finished run, read from its folder, with measurements of every frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from coprop_plugin import media
from coprop_plugin.errors import ReportError
from coprop_plugin.media.folders import BARE
from coprop_plugin.media.result_json import json_of
from coprop_plugin.types import ControlPoints, jaccard, spans_of

LayerName = Literal["coprop", "bare", "truth"]


@dataclass(frozen=True)
class Layer:
    """The masks of all frames from one origin, on disk.

    Args:
        name: The origin.
        title: Shown on the page.
        masks: One image per frame, class ids.
        probs: One image per frame, 255 times the probability that a pixel sounds; none for truth.
    """

    name: LayerName
    title: str
    masks: Sequence[Path]
    probs: Sequence[Path] = ()

    @cached_property
    def areas(self) -> list[float]:
        """Share of the frame that sounds, of every frame, in [0, 1]."""
        return [float((self.mask(t) > 0).mean()) for t in range(len(self.masks))]

    @cached_property
    def classes(self) -> list[list[int]]:
        """The classes that sound, of every frame, in rising order."""
        return [[k for k in np.unique(self.mask(t)).tolist() if k] for t in range(len(self.masks))]

    @cached_property
    def confidence(self) -> list[float]:
        """Confidence of every frame, in [0, 1].

        The mean probability inside the mask; if the mask is empty, one minus the highest
        probability of any pixel.
        """
        return [
            _confidence(self.mask(t), media.read_mask(prob) / 255)
            for t, prob in enumerate(self.probs)
        ]

    def mask(self, t: int) -> np.ndarray:
        """Read the mask of frame t: `[H, W]` uint8, 0 where nothing sounds."""
        with media.open_image(self.masks[t]) as image:
            return np.array(image if image.mode in ("1", "L", "P") else image.convert("L"), "uint8")


@dataclass(frozen=True)
class Run:
    """What a results folder holds; see `read_run`.

    Args:
        folder: Where it is.
        content: `result.json`.
        points: The control points; None if the run has none.
        video: The file that was segmented, or the overlay if that file is missing.
        painted: Whether the masks are already painted into `video`.
        layers: Co-Prop's masks first, then the bare model's and the true ones if there are any.
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
        """Start and end of the span that each frame's mask stands for, in seconds."""
        times = torch.tensor(self.content["times"], dtype=torch.float64)
        spans = spans_of(times, self.content["sampling"])
        return [(start, end) for start, end in spans.tolist()]

    def layer(self, name: LayerName) -> Layer | None:
        """Return the masks of one origin; None if there are none."""
        return next((layer for layer in self.layers if layer.name == name), None)

    def scores(self, name: LayerName = "coprop") -> list[float] | None:
        """Return the Jaccard index of every frame of a layer; None without truth."""
        return self._scores.get(name)

    @cached_property
    def _scores(self) -> dict[LayerName, list[float]]:
        truth = self.layer("truth")
        if truth is None:
            return {}
        return {
            layer.name: [
                float(
                    jaccard(
                        torch.from_numpy(layer.mask(t) > 0), torch.from_numpy(truth.mask(t) > 0)
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
    """Read a results folder.

    Args:
        folder: What `SegmentationResult.save` or `coprop run` wrote. If there is a `bare/` inside
            with the bare model's result, it is read too.
        video: The file that was segmented; by default the path in `result.json`, or a file of
            that name next to the folder. If there is none, `overlay.mp4` is used.
        truth: A folder with the true masks, one PNG per frame in order of name; not 0 where a
            pixel sounds.

    Raises:
        ControlPointError: If the edited control points are not valid.
        ReportError: If the folder holds no complete result, there is no video for it, or the true
            masks are not those of this run.
    """
    folder = Path(folder)
    content = media.read_manifest(folder)
    if content is None:
        raise ReportError(
            f"{folder} holds no finished result (no result.json that this library wrote). Name a "
            "folder that `coprop run -o OUT` wrote: OUT/<name of the input>."
        )
    layers = [_layer(folder, "coprop", "Co-Prop", content)]
    bare = media.read_manifest(folder / BARE)
    if bare is not None:
        if bare["times"] != content["times"]:
            raise ReportError(
                f"{folder / BARE} has other time stamps than {folder}. Write it again: `coprop run "
                "--bare` with the options of that run."
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
            f"{content['num_frames']} frames. Restore the file, or run that input again with "
            "--redo."
        )
    return points


def _layer(folder: Path, name: LayerName, title: str, content: dict[str, Any]) -> Layer:
    files = [media.picture_name(t) for t in range(content["num_frames"])]
    masks = [folder / "masks" / file for file in files]
    probs = [folder / "probs" / file for file in files]
    missing = next((path for path in (*masks, *probs) if not path.is_file()), None)
    if missing is not None:
        raise ReportError(
            f"{missing} is missing from the result. Run that input again with --redo."
        )
    return Layer(name, title, masks, probs)


def _truth(folder: Path, content: dict[str, Any]) -> Layer:
    masks = sorted(folder.glob("*.png"))
    if len(masks) != content["num_frames"]:
        raise ReportError(
            f"Expected one true mask (PNG) for each of {content['num_frames']} frames, got "
            f"{len(masks)} in {folder}. Segment at the frame rate of the true masks (--fps)."
        )
    with media.open_image(masks[0]) as first:
        size = (first.height, first.width)
    if list(size) != content["size"]:
        raise ReportError(
            f"Expected true masks of {content['size'][0]} x {content['size'][1]} pixels (height x "
            f"width) as in the result, got {size[0]} x {size[1]} in {folder}. Resize them first."
        )
    return Layer("truth", "Truth", masks)


def _video_of(folder: Path, content: dict[str, Any], video: str | Path | None) -> tuple[Path, bool]:
    if video is not None:
        if not Path(video).is_file():
            raise ReportError(
                f"The file {video} does not exist. Name the video that was segmented."
            )
        return Path(video), False
    source = media.source_of(folder, content)
    if source is not None:
        return source, False
    if (folder / "overlay.mp4").is_file():
        return folder / "overlay.mp4", True
    raise ReportError(
        f"There is no video for {folder}: {content.get('source') or 'its source'} was not found, "
        "and there is no overlay.mp4. Name the video that was segmented: `--video`, "
        "in Python `video=`."
    )


def _confidence(mask: np.ndarray, prob: np.ndarray) -> float:
    inside = mask > 0
    return float(prob[inside].mean() if inside.any() else 1 - prob.max())
