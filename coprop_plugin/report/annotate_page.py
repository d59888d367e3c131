"""The page on which people set and name control points, and what it shows of a clip."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from coprop_plugin.report.images import jpeg_uri, peaks, spectrogram_picture
from coprop_plugin.report.page_template import render_page
from coprop_plugin.types import Clip

_MAX_FRAMES = 24
_FRAME_SIDE = 128


def annotate_page(clips: Sequence[str], done: Sequence[bool], names: Sequence[str]) -> str:
    """Return the page, whose script asks its server for one clip after the other.

    Args:
        clips: Names of the clips.
        done: Which of them have an annotation.
        names: Names that keys give.
    """
    values = {
        "title": f"{len(clips)} clip{'s' if len(clips) > 1 else ''}",
        "facts": [f"{sum(done)} annotated"],
    }
    return render_page(
        "annotate", values, {"clips": list(clips), "done": list(done), "names": list(names)}
    )


def clip_view(clip: Clip) -> dict[str, Any]:
    """Return what the page shows of a clip, as JSON: frames, waveform and spectrogram.

    Args:
        clip: With a waveform; at most 24 of its frames are shown.
    """
    assert clip.waveform is not None  # files without audio are refused when they are read
    return {
        "duration_s": len(clip.waveform) / clip.sample_rate,
        "peaks": peaks(clip.waveform),
        "spectrogram": spectrogram_picture(clip.waveform, clip.sample_rate),
        "frames": [_still(clip, index) for index in _even(clip.num_frames)],
    }


def _even(num_frames: int) -> list[int]:
    count = min(num_frames, _MAX_FRAMES)
    return [int((k + 0.5) * num_frames / count) for k in range(count)]


def _still(clip: Clip, index: int) -> str:
    frame = (clip.rgb([index])[0] * 255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(frame))
    picture.thumbnail((_FRAME_SIDE, _FRAME_SIDE))
    return jpeg_uri(picture)
