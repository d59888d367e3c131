"""Control points from a file."""

import difflib
import json
import warnings
from pathlib import Path
from typing import Any

from coprop_plugin.errors import (
    ControlPointError,
    ControlPointParseError,
    ControlPointWarning,
    MediaError,
)
from coprop_plugin.limits import read_text
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.types.annotation import SUFFIXES
from coprop_plugin.types.timeline import snap

# The last change of an annotation is often the end of its recording.
_LATE_S = 1.0


@PROVIDERS.register_module(name=["FileProvider", "file"])
class FileProvider:
    """Control points from a file, which is read again when it has changed.

    The file holds annotations (a label track of Audacity, a TextGrid, RTTM or CSV, see
    `media.read_annotations`), or JSON: the content of `ControlPoints.to_dict`, or a list of flags,
    or `{"seconds": [...]}`: times of changes, which are snapped to the clip's frames. A file of the
    first kind for another number of frames is snapped, too, if it has seconds. Or it holds any of
    these for many clips, `{"clips": {name: ...}}`, as `coprop anchor ... -o points.json` writes it;
    the clip's `name` selects one, in a drop-in call the name given by `coprop_plugin.naming`.

    Args:
        path: The file.

    Example:
        >>> FileProvider("out/control_points.json").propose(clip)  # doctest: +SKIP
        ControlPoints([0, 3], num_frames=5, source='novelty')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        # Replaced together, for threads that share a provider.
        self._stamp_and_content: tuple[tuple[int, int, int] | None, Any] = (None, None)

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the file's control points for this clip.

        Raises:
            ControlPointParseError: If the file is missing or holds no control points.
            ControlPointError: If it holds flags for another number of frames and no seconds, or
                many clips but not this one.

        Warns:
            ControlPointWarning: If changes in seconds lie after the end of the clip.
        """
        content = self._read()
        if isinstance(content, dict) and isinstance(content.get("clips"), dict):
            content = self._of_clip(content, clip)
        if isinstance(content, list):
            content = {"flags": content}
        if not isinstance(content, dict):
            raise self._unreadable(f"it holds a {type(content).__name__}")
        if "seconds" in content and not _fits(content, clip):
            return self._snapped(content, clip)
        try:
            points = ControlPoints.from_dict(content)
        except ControlPointError as error:
            raise self._unreadable(str(error)) from error
        checked_length(points, clip, str(self.path))
        self._check_seconds(content.get("seconds"), points, clip)
        return points

    def _of_clip(self, content: dict[str, Any], clip: Clip) -> Any:
        clips = content["clips"]
        # Files with the same stem are distinguished by the whole name.
        for name in (clip.name, clip.source and Path(clip.source).name):
            if name in clips:
                return clips[name]
        if clip.name is None:
            raise ControlPointError(
                f"{self.path} holds control points of {len(clips)} clips, and this clip has no "
                "name. Make it with `name=...`, or put a model's own call into "
                "`with coprop_plugin.naming(*names):`."
            )
        why = "; it was not among the inputs"
        failed = content.get("failed")
        if isinstance(failed, dict) and clip.name in failed:
            why = f": it failed ({failed[clip.name]})"
        elif near := difflib.get_close_matches(clip.name, clips, n=3):
            why = f"; similar names: {', '.join(near)}"
        raise ControlPointError(
            f"{self.path} holds control points of {len(clips)} clips, but none of "
            f"{clip.name!r}{why}. Run `coprop anchor` again with all clips."
        )

    def _check_seconds(self, seconds: Any, points: ControlPoints, clip: Clip) -> None:
        """Refuse a file in which only the seconds, or everything but the seconds, was edited."""
        times = clip.times[points.indices].tolist()
        if seconds is None:
            return
        if not isinstance(seconds, list):
            raise self._unreadable('"seconds" is not a list of numbers')
        same = len(seconds) == len(times) and all(map(_is_number, seconds))
        if not same or any(abs(a - b) > 1e-3 for a, b in zip(seconds, times, strict=True)):
            raise ControlPointError(
                f"{self.path} has seconds {str(seconds)[:80]}, but its flags mean the frames at "
                f"{str([round(t, 3) for t in times])[:80]} s. Remove those that are wrong: the "
                "seconds, or flags and indices."
            )

    def _snapped(self, content: dict[str, Any], clip: Clip) -> ControlPoints:
        seconds = content["seconds"]
        if not isinstance(seconds, list) or not all(_is_number(s) for s in seconds):
            raise self._unreadable('"seconds" is not a list of numbers')
        try:
            frames = snap(sorted(seconds), clip)
        except ControlPointError as error:
            raise self._unreadable(str(error)) from error
        self._warn_of_late(seconds, clip)
        known = content.get("log")
        log = {**known} if isinstance(known, dict) else {}
        log |= {name: content[name] for name in ("names",) if name in content}
        log |= {"seconds": sorted(seconds), "snapped_from": str(self.path)}
        source = str(content.get("source", "file"))
        return ControlPoints.from_indices(frames, clip.num_frames, source, log)

    def _warn_of_late(self, seconds: list[float], clip: Clip) -> None:
        end_s = float(clip.spans[-1, 1])
        late = [second for second in seconds if second > end_s + _LATE_S]
        if late:
            warnings.warn(
                f"{len(late)} of {len(seconds)} changes in {self.path} are after the end of the "
                f"clip ({end_s:.6g} s) and left out, the last of them at {max(late):.6g}. Times "
                "are in seconds from the clip's beginning.",
                ControlPointWarning,
                stacklevel=3,
            )

    def _read(self) -> Any:
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            known, content = self._stamp_and_content
            if known != stamp:
                content = self._content()
                self._stamp_and_content = stamp, content
            return content
        except OSError as error:
            reason = error.strerror or str(error)
            raise ControlPointParseError(
                f"Control points cannot be read from {self.path}: {reason}. `coprop anchor` or "
                "`result.save()` writes such a file."
            ) from error
        except ControlPointParseError:
            raise
        except (ValueError, RecursionError) as error:
            raise self._unreadable(f"it is not JSON ({error})") from error

    def _content(self) -> Any:
        if self.path.suffix.lower() not in SUFFIXES:
            return json.loads(read_text(self.path, ControlPointParseError))
        from coprop_plugin.media import read_annotations

        try:
            clips = {name: one.to_dict() for name, one in read_annotations(self.path).items()}
        except MediaError as error:
            raise ControlPointParseError(str(error)) from error
        # A label track is of one clip, whatever its name.
        return clips[self.path.stem] if [*clips] == [self.path.stem] else {"clips": clips}

    def _unreadable(self, reason: str) -> ControlPointParseError:
        return ControlPointParseError(
            f"{self.path} holds no control points: {reason.removesuffix('.')}. Write JSON: the "
            "content of `ControlPoints.to_dict()`, a list of flags [1, 0, ...], or "
            '{"seconds": [...]}.'
        )


def _fits(content: dict[str, Any], clip: Clip) -> bool:
    """Whether a file has flags or indices for exactly the frames of the clip."""
    if isinstance(content.get("flags"), list):
        return len(content["flags"]) == clip.num_frames
    return "indices" in content and content.get("num_frames") == clip.num_frames


def _is_number(value: object) -> bool:
    # JSON has integers of any length, and Python's has NaN and Infinity.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def checked_length(points: ControlPoints, clip: Clip, origin: str) -> ControlPoints:
    """Return `points`; raises if they are for another number of frames than the clip has."""
    if points.num_frames != clip.num_frames:
        raise ControlPointError(
            f"Expected control points for the {clip.num_frames} frames of the clip, got "
            f"{points.num_frames} from {origin}. Give one flag per frame, or read the clip at the "
            "frame rate that they were made for."
        )
    return points
