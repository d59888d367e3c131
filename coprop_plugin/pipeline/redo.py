"""Doing again what a person edited: only stretches that change are computed, the rest is copied.

What a stretch of frames comes to depends on the frame that it begins with (the control point, or a
mask that a person painted), on what the model hears there, and on the frames up to its end; the
propagator carries nothing over a beginning. So a stretch is kept if its beginning is the same, the
model would be asked the same question there, and it does not reach farther than it did.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coprop_plugin import __version__, media
from coprop_plugin.control_points.file_provider import FileProvider
from coprop_plugin.errors import ControlPointError, MediaError
from coprop_plugin.pipeline.coprop import CoProp
from coprop_plugin.pipeline.schedule import Asked, checked
from coprop_plugin.pipeline.windows import CONTEXT_S, Window, stream_windows
from coprop_plugin.types import Clip, ControlPoints

_SAME_S = 1e-6
# Where frames are sparse, a model's own clip length reaches so many of them.
_CONTEXT_FRAMES = 5


@dataclass(frozen=True)
class Redone:
    """What `redo` made.

    Attributes:
        folder: The new result.
        control_points: Of the new result.
        times: `[T]`, of every frame in seconds.
        anew: Frames that were computed, half-open stretches; all others are copies.
        painted: Frames whose mask a person made.
    """

    folder: Path
    control_points: ControlPoints
    times: Tensor
    anew: tuple[range, ...]
    painted: tuple[int, ...]

    @property
    def num_anew(self) -> int:
        """How many frames were computed."""
        return sum(map(len, self.anew))


def redo(
    model: CoProp,
    video: str | Path,
    run: str | Path,
    folder: str | Path,
    *,
    points: ControlPoints | str | Path | None = None,
    fps: float | None = 1.0,
    overlay: bool = True,
    alpha: bool = False,
    about: dict[str, Any] | None = None,
    progress: bool = False,
) -> Redone:
    """Make a new result from an earlier one with other control points, or masks painted over.

    A mask in `RUN/masks` that was edited is a beginning: the model is not asked there, and the mask
    is carried on to where the model is asked next. A mask that was deleted is made anew. Frames of
    stretches in which nothing changes are copied, byte for byte.

    Args:
        model: The model that made the earlier result. That it is the same one is for the caller to
            know; `coprop run --reuse` checks.
        video: The file that was segmented.
        run: The folder of the earlier result.
        folder: Where to write; may be `run` itself.
        points: The new control points, or a file of them (see `FileProvider`); None takes
            `RUN/control_points.json` as it is now. Of what they do not say, `silent` and
            `starts_s`, the earlier ones count.
        fps: As the earlier result was made with.
        overlay: Whether to write `overlay.mp4`.
        alpha: Whether to write `alpha/`.
        about: See `ResultWriter`.
        progress: Whether to show a progress bar on stderr.

    Raises:
        MediaError: If the earlier result is of another video, other frames or another kind of
            model, or if a painted mask cannot be read.
        ControlPointError: If control points do not fit the video.

    Example:
        >>> redo(model, "talk.mp4", "out/talk", "new/talk", points="edited.json")
        ... # doctest: +SKIP
    """
    earlier = media.PreviousResult.read(run)
    sound, _ = stream_windows(video, fps, earlier.content["sampling"])
    _refuse_other(earlier, model, Path(video), sound)
    if not isinstance(points, ControlPoints):
        file = earlier.folder / "control_points.json" if points is None else points
        points = FileProvider(file).propose(sound)
    points = _completed(checked(points, sound), earlier.points, sound)
    painted, changed = earlier.painted()
    given = {t: torch.from_numpy(mask) for t, mask in painted.items()}
    before = model.asking(earlier.points, sound, 0, None, dict.fromkeys(earlier.edited))
    now = model.asking(points, sound, 0, None, given)
    plan = list(_joined(_plan(model, sound, before, now, changed)))
    with media.ResultWriter(
        folder,
        source=video,
        sampling=sound.sampling,
        control_points=points,
        overlay=overlay,
        alpha=alpha,
        about=about,
        reuse=earlier,
        edited=frozenset(given),
    ) as writer:
        for stretch, same in plan:
            if same:
                for t in stretch:
                    writer.keep(float(sound.times[t]))
                continue
            frames = model.stream(
                video,
                fps=fps,
                sampling=sound.sampling,
                progress=progress,
                points=points,
                start=stretch.start,
                stop=stretch.stop,
                given=given,
            )
            for frame in frames:
                writer.write(frame)
    anew = tuple(stretch for stretch, same in plan if not same)
    return Redone(writer.folder, points, sound.times, anew, tuple(sorted(given)))


def _refuse_other(earlier: media.PreviousResult, model: CoProp, video: Path, sound: Clip) -> None:
    """Refuse an earlier result whose frames cannot stand beside new ones."""
    content, wrong = earlier.content, None
    times = [round(t, 6) for t in sound.times.tolist()]
    if content["version"] != __version__:
        wrong = f"was made by version {content['version']}, this is {__version__}"
    elif content["source_digest"] != media.content_digest(video):
        wrong = f"is of another video ({content['source']}), not of {video}"
    elif content["num_classes"] != model.backend.num_classes:
        wrong = (
            f"is of another model: one of {content['num_classes']} classes, not of "
            f"{model.backend.num_classes}"
        )
    elif content["times"] != times:
        wrong = (
            f"has {len(content['times'])} frames where these options give {len(times)}, or has "
            "them at other times: it was made with another fps or sampling"
        )
    if wrong is not None:
        raise MediaError(
            f"{earlier.folder} {wrong}. Its masks cannot stand beside new ones: reuse the run of "
            "this very video, model and frame rate, or segment without reuse."
        )


def _completed(points: ControlPoints, earlier: ControlPoints, clip: Clip) -> ControlPoints:
    """Take what new control points do not say from earlier ones.

    Raises:
        ControlPointError: If a segment begins later than its first frame is left.
    """
    if points.silent is None:
        points = replace(points, silent=earlier.silent)
    if points.starts_s is None and earlier.starts_s is not None:
        known = dict(zip(earlier.indices, earlier.starts_s.tolist(), strict=True))
        starts_s = [known.get(t, float(clip.spans[t, 0])) for t in points.indices]
        points = replace(points, starts_s=starts_s)
    if points.starts_s is not None:
        for t, start_s in zip(points.indices, points.starts_s.tolist(), strict=True):
            if start_s > float(clip.spans[t, 1]) + _SAME_S:
                raise ControlPointError(
                    f"Got starts_s={start_s:.3f} for the segment that begins with frame {t}, which "
                    f"is left at {float(clip.spans[t, 1]):.3f} s. Remove `starts_s` to keep that "
                    "of the control points that stay, or correct it."
                )
    return points


def _plan(
    model: CoProp, clip: Clip, before: Asked, now: Asked, changed: frozenset[int]
) -> Iterator[tuple[range, bool]]:
    """Yield each stretch, and whether it is what it was."""
    # Where any mask of a stretch may decide, a stretch is the same only as a whole.
    whole = model.recovery is not None
    heard = [_listening_times(clip, asked, whole) for asked in (before, now)]
    ends = {stretch.start: stretch.stop for stretch in before.stretches}
    for stretch in now.stretches:
        start, stop = stretch.start, stretch.stop
        same = start in ends and (stop == ends[start] if whole else stop <= ends[start])
        same = same and (start in before.given) == (start in now.given)
        same = same and not changed.intersection(stretch)
        same = same and before.is_silent(start) == now.is_silent(start)
        if same and now.is_put_to_model(start):
            asked = stretch if whole else range(start, start + 1)
            same = _sounds_alike(model.backend, clip.times, asked, *heard)
        yield stretch, same


def _listening_times(clip: Clip, asked: Asked, everywhere: bool) -> Tensor:
    frames = range(clip.num_frames) if everywhere else None
    return Window.whole(clip).hearing_segments(asked, frames).listening_times


def _sounds_alike(backend: Any, times: Tensor, asked: range, before: Tensor, now: Tensor) -> bool:
    """Whether a model that is asked about some frames would hear what it heard."""
    first, last = asked.start, asked.stop - 1
    if getattr(backend, "context", None) != "frame":
        reach_s = CONTEXT_S + _SAME_S
        near = (times >= times[first] - reach_s) & (times <= times[last] + reach_s)
        near = near.nonzero().flatten()
        first = max(0, min(int(near[0]), first - _CONTEXT_FRAMES))
        last = max(int(near[-1]), last + _CONTEXT_FRAMES)
    differs = (before[first : last + 1] - now[first : last + 1]).abs() > _SAME_S
    return not bool(differs.any())


def _joined(plan: Iterator[tuple[range, bool]]) -> Iterator[tuple[range, bool]]:
    """Join stretches that follow one another and are treated alike."""
    held: tuple[range, bool] | None = None
    for stretch, same in plan:
        if held is not None and held[1] == same:
            held = range(held[0].start, stretch.stop), same
            continue
        if held is not None:
            yield held
        held = stretch, same
    if held is not None:
        yield held
