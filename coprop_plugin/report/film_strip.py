"""One image of a result: frames with their masks above the audio."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from coprop_plugin import media
from coprop_plugin.audio.log_mel import HOP, SAMPLE_RATE, log_mel
from coprop_plugin.errors import ReportError
from coprop_plugin.types import SegmentationResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 13
_GREEN, _GREY, _RED = "#1b9e77", "#8a8a8a", "#d1495b"


def film_strip(
    result: SegmentationResult,
    path: str | Path,
    *,
    num_frames: int = 8,
    truth: torch.Tensor | None = None,
    title: str = "",
) -> Path:
    """Draw frames with their masks, the spectrogram, and the share of each frame that sounds.

    Args:
        result: What to draw; its clip must have a waveform.
        path: Where to write the image; its suffix decides the format.
        num_frames: How many frames to show, evenly spaced.
        truth: `[T, H, W]`, the true masks, if they are known.
        title: Shown at the top.

    Returns:
        The path.

    Raises:
        ReportError: If the clip has no waveform.
    """
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

    waveform = result.clip.waveform
    if waveform is None:
        raise ReportError("Expected a result of a clip with a waveform, got one without.")
    height, width = result.clip.size
    row = _WIDTH / num_frames * height / width
    figure = Figure(figsize=(_WIDTH, row + 3.0), dpi=110, layout="constrained")
    grid = GridSpec(3, num_frames, figure=figure, height_ratios=(row, 1.2, 1.0))
    shown = np.linspace(0, len(result.times) - 1, num_frames).round().astype(int)
    for column, t in enumerate(shown):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(_painted(result, t))
        axes.set_title(f"{result.times[t]:.2f} s", fontsize=9)
        axes.set_axis_off()
    sound = figure.add_subplot(grid[1, :])
    _draw_sound(sound, waveform, result.clip.sample_rate)
    area = figure.add_subplot(grid[2, :], sharex=sound)
    _draw_area(area, result, truth)
    _mark_control_points((sound, area), result)
    if title:
        figure.suptitle(title, fontsize=11)
    path = Path(path)
    figure.savefig(path)
    return path


def _painted(result: SegmentationResult, t: int) -> np.ndarray:
    frame = (result.clip.rgb([t])[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return media.paint(frame, result.frame_results[t].mask.numpy())


def _draw_sound(axes: "Axes", waveform: torch.Tensor, sample_rate: int) -> None:
    rows = log_mel(waveform, sample_rate)
    length_s = len(rows) * HOP / SAMPLE_RATE
    axes.imshow(
        rows.T.numpy(), aspect="auto", origin="lower", cmap="magma", extent=(0, length_s, 0, 1)
    )
    axes.set_xlim(0, length_s)
    axes.set_yticks([])
    axes.set_ylabel(f"audio\n(log-mel, {SAMPLE_RATE // 1000} kHz)", fontsize=8)
    axes.tick_params(labelbottom=False)


def _draw_area(axes: "Axes", result: SegmentationResult, truth: torch.Tensor | None) -> None:
    starts, ends = result.clip.spans.unbind(1)
    edges = [*starts.tolist(), float(ends[-1])]
    share = (result.masks > 0).float().mean((1, 2)) * 100
    axes.stairs(share.tolist(), edges, fill=True, color=_GREEN, alpha=0.6, label="Co-Prop")
    if truth is not None:
        true_share = (truth > 0).float().mean((1, 2)) * 100
        axes.stairs(true_share.tolist(), edges, color=_GREY, linewidth=1.5, label="truth")
    axes.set_ylabel("% of frame\nthat sounds", fontsize=8)
    axes.set_xlabel("seconds", fontsize=8)
    axes.set_ylim(0, 1.3 * max(1.0, axes.get_ylim()[1]))
    axes.legend(loc="upper right", fontsize=8, frameon=False, ncols=2)


def _mark_control_points(panels: "Sequence[Axes]", result: SegmentationResult) -> None:
    for axes in panels:
        for index in result.control_points.indices:
            axes.axvline(result.times[index], color=_RED, linewidth=1.4, linestyle="--")
