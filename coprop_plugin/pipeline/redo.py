"""Redo of a result after an edit: only segments that change are computed, the rest is copied.

The masks of a segment depend on the keyframe that it begins with (a control point, or a mask
painted by hand), on the audio of that keyframe, and on the frames up to its end; no memory of the
propagator crosses the start of a segment. So a segment is kept if its start is the same, the model
would be run on the same input there, and it is no longer than it was.
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
from coprop_plugin.pipeline.progress import progress_hook
from coprop_plugin.pipeline.schedule import KeyframeSchedule, check_points
from coprop_plugin.pipeline.windows import StreamedVideo, Window
from coprop_plugin.types import Clip, ControlPoints, Hook, Sounds

_SAME_S = 1e-6
# Where frames are sparse, a model's own clip length covers so many of them.
_CONTEXT_FRAMES = 5


@dataclass(frozen=True)
class Redone:
    """The result of `redo`.

    Attributes:
        folder: The new result.
        control_points: Of the new result.
        times: `[T]`, of every frame in seconds.
        computed: Frames that were computed, half-open ranges; all others are copies.
        painted: Frames whose mask was painted by hand.
    """

    folder: Path
    control_points: ControlPoints
    times: Tensor
    computed: tuple[range, ...]
    painted: tuple[int, ...]

    @property
    def num_computed(self) -> int:
        """How many frames were computed."""
        return sum(map(len, self.computed))


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
    hook: Hook | None = None,
    progress: bool = False,
) -> Redone:
    """Make a new result from an earlier one with other control points, or masks painted over.

    A mask in `RUN/masks` that was edited becomes a keyframe: the model is not run there, and the
    mask is propagated up to the next keyframe. A mask that was deleted is computed again. Frames of
    segments in which nothing changes are copied, byte for byte.

    Args:
        model: The model that made the earlier result. The caller has to know that it is the same
            one; `coprop run --reuse` checks.
        video: The file that was segmented.
        run: The folder of the earlier result.
        folder: Where to write; may be `run` itself.
        points: The new control points, or a file of them (see `FileProvider`); None takes
            `RUN/control_points.json` as it is now. Where they lack `silent`
            or `starts_s`, those of the earlier ones are used.
        fps: The frame rate of the earlier result.
        overlay: Whether to write `overlay.mp4`.
        alpha: Whether to write `alpha/`.
        about: See `ResultWriter`.
        hook: Called as `hook(step, artifact, done, total)` after each step that is computed.
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
    tracks = media.tracks_of(earlier.content)
    stream = StreamedVideo(video, fps, earlier.content["sampling"], model.window_limits, tracks)
    audio = stream.audio
    _refuse_other(earlier, model, Path(video), audio)
    if not isinstance(points, ControlPoints):
        file = earlier.folder / "control_points.json" if points is None else points
        points = FileProvider(file).propose(audio)
    points = model.named(_completed(check_points(points, audio), earlier.points, audio), audio)
    _refuse_other_classes(earlier, model, points, audio)
    painted, changed = earlier.painted()
    given = {t: torch.from_numpy(mask) for t, mask in painted.items()}
    # Only where masks were given counts here, not what they showed.
    before = model.schedule(
        earlier.points, audio, given=dict.fromkeys(earlier.edited, torch.empty(0))
    )
    now = model.schedule(points, audio, given=given)
    plan = list(_joined(_plan(model, audio, before, now, changed)))
    with (
        media.ResultWriter(
            folder,
            source=video,
            sampling=audio.sampling,
            tracks=tracks,
            control_points=points,
            overlay=overlay,
            alpha=alpha,
            about=about,
            reuse=earlier,
            edited=frozenset(given),
        ) as writer,
        progress_hook(hook, progress) as hook,
    ):
        for frames, same in plan:
            if same:
                for t in frames:
                    writer.keep(float(audio.times[t]))
                continue
            part = model.stream_part(
                stream, points, start=frames.start, stop=frames.stop, given=given, hook=hook
            )
            for frame in part:
                writer.write(frame)
    computed = tuple(frames for frames, same in plan if not same)
    return Redone(writer.folder, points, audio.times, computed, tuple(sorted(given)))


def _refuse_other(earlier: media.PreviousResult, model: CoProp, video: Path, audio: Clip) -> None:
    """Check that the frames of an earlier result fit new ones."""
    content, wrong = earlier.content, None
    times = [round(t, 6) for t in audio.times.tolist()]
    if content["version"] != __version__:
        wrong = f"was made by version {content['version']}, this is {__version__}"
    elif content["source_digest"] != media.content_digest(video):
        wrong = f"is of another video ({content['source']}), not of {video}"
    elif content["times"] != times:
        wrong = (
            f"has {len(content['times'])} frames where these options give {len(times)}, or has "
            "them at other times: it was made with another fps or sampling"
        )
    if wrong is not None:
        raise _not_reusable(earlier, wrong)


def _refuse_other_classes(
    earlier: media.PreviousResult, model: CoProp, points: ControlPoints, audio: Clip
) -> None:
    """Check that the classes of an earlier result are the model's; names may have been added."""
    content, backend = earlier.content, model.backend_of(points, audio.times)
    names, before = getattr(backend, "class_names", None), content.get("class_names")
    added = backend is not model.backend and list(names or ())[: len(before or ())] == before
    if content["num_classes"] != backend.num_classes and not added:
        raise _not_reusable(
            earlier,
            f"is of another model: one of {content['num_classes']} classes, not of "
            f"{backend.num_classes}",
        )


def _not_reusable(earlier: media.PreviousResult, wrong: str) -> MediaError:
    return MediaError(
        f"{earlier.folder} {wrong}. Its masks cannot be reused: reuse a run of the same video, "
        "model and frame rate, or segment without reuse."
    )


def _completed(points: ControlPoints, earlier: ControlPoints, clip: Clip) -> ControlPoints:
    """Fill in what new control points lack from earlier ones.

    Raises:
        ControlPointError: If a segment starts after the end of its first frame.
    """
    if points.silent is None:
        points = replace(points, silent=earlier.silent)
    if points.starts_s is None and earlier.starts_s is not None:
        known = dict(zip(earlier.indices, earlier.starts_s.tolist(), strict=True))
        starts_s = [known.get(t, float(clip.spans[t, 0])) for t in points.indices]
        points = replace(points, starts_s=torch.tensor(starts_s, dtype=torch.float64))
    if earlier.sounds is not None:
        before = earlier.sounds
        new = points.sounds or Sounds({}, boxes=before.boxes)
        same = {t: before.named[t] for t in points.indices if t in before.named}
        sounds = Sounds({**same, **new.named}, before.classes + new.classes, new.boxes)
        points = replace(points, sounds=sounds)
    if points.starts_s is not None:
        for t, start_s in zip(points.indices, points.starts_s.tolist(), strict=True):
            if start_s > float(clip.spans[t, 1]) + _SAME_S:
                raise ControlPointError(
                    f"starts_s={start_s:.3f} s lies after the end "
                    f"({float(clip.spans[t, 1]):.3f} s) of frame {t}, the first frame of its "
                    "segment. Correct it, or remove `starts_s` to keep the earlier values."
                )
    return points


def _plan(
    model: CoProp,
    clip: Clip,
    before: KeyframeSchedule,
    now: KeyframeSchedule,
    changed: frozenset[int],
) -> Iterator[tuple[range, bool]]:
    """Yield each segment, and whether it is what it was."""
    # Where candidates are compared, a segment is the same only as a whole.
    whole = model.candidates is not None
    audio_times = [_audio_times(clip, schedule, whole) for schedule in (before, now)]
    ends = {segment.start: segment.stop for segment in before.segments}
    for segment in now.segments:
        start, stop = segment.start, segment.stop
        same = start in ends and (stop == ends[start] if whole else stop <= ends[start])
        same = same and (start in before.given) == (start in now.given)
        same = same and not changed.intersection(segment)
        same = same and before.is_silent(start) == now.is_silent(start)
        same = same and _sounds(before.points, segment) == _sounds(now.points, segment)
        if same and now.runs_model(start):
            frames = segment if whole else range(start, start + 1)
            same = _same_audio(model, clip.times, frames, *audio_times)
        yield segment, same


def _sounds(points: ControlPoints, frames: range) -> tuple[Any, Any]:
    """Return the names of a segment, and the boxes that a person drew in it."""
    sounds = points.sounds or Sounds({})
    segment = max(t for t in points.indices if t <= frames.start)
    return sounds.named.get(segment), {t: b for t, b in sounds.boxes.items() if t in frames}


def _audio_times(clip: Clip, schedule: KeyframeSchedule, everywhere: bool) -> Tensor:
    frames = range(clip.num_frames) if everywhere else None
    return Window.whole(clip).with_segment_audio(schedule, frames).listening_times


def _same_audio(model: CoProp, times: Tensor, frames: range, before: Tensor, now: Tensor) -> bool:
    """Whether the model would get the audio that it got, if it were run on some frames again."""
    first, last = frames.start, frames.stop - 1
    if getattr(model.backend, "context", None) != "frame":
        reach_s = model.window_limits.context_s + _SAME_S
        near = (times >= times[first] - reach_s) & (times <= times[last] + reach_s)
        indices = near.nonzero().flatten()
        first = max(0, min(int(indices[0]), first - _CONTEXT_FRAMES))
        last = max(int(indices[-1]), last + _CONTEXT_FRAMES)
    differs = (before[first : last + 1] - now[first : last + 1]).abs() > _SAME_S
    return not bool(differs.any())


def _joined(plan: Iterator[tuple[range, bool]]) -> Iterator[tuple[range, bool]]:
    """Join segments that follow one another and are treated alike."""
    held: tuple[range, bool] | None = None
    for segment, same in plan:
        if held is not None and held[1] == same:
            held = range(held[0].start, segment.stop), same
            continue
        if held is not None:
            yield held
        held = segment, same
    if held is not None:
        yield held
