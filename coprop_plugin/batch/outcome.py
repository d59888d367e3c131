"""The outcome of one input: done, skipped, or failed."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coprop_plugin.errors import CopropError, short_reason
from coprop_plugin.types import Clip, ControlPoints

Status = Literal["done", "skipped", "failed"]
"""`"skipped"`: it was finished by an earlier run."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one input.

    Attributes:
        input: The input, as it was named.
        status: Done, skipped because it was finished before, or failed.
        output: Path of the result.
        num_frames: Number of frames of the result.
        control_points: Where segments begin, as frames,
        seconds: and in seconds.
        error: Why it failed, in one line.
        took_s: Seconds that it took, if known.
        num_computed: Number of frames that were computed, where an earlier result was reused.
    """

    input: Path
    status: Status
    output: Path | None = None
    num_frames: int | None = None
    control_points: ControlPoints | None = None
    seconds: tuple[float, ...] | None = None
    error: str | None = None
    took_s: float | None = None
    num_computed: int | None = None

    @classmethod
    def anchored(
        cls, path: Path, output: Path | None, clip: Clip, points: ControlPoints
    ) -> "Outcome":
        """Return the outcome of an input whose control points were found."""
        seconds = tuple(clip.times[points.indices].tolist())
        return cls(path, "done", output, clip.num_frames, points, seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, without unknown fields, and without the time it took."""
        content: dict[str, Any] = {
            "input": str(self.input),
            "status": self.status,
            "output": None if self.output is None else str(self.output),
            "num_frames": self.num_frames,
            "num_computed": self.num_computed,
            "control_points_s": None if self.seconds is None else list(self.seconds),
            "control_points": self.control_points and self.control_points.to_dict(),
            "error": self.error,
        }
        return {key: value for key, value in content.items() if value is not None}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], took_s: float | None = None) -> "Outcome":
        """Read what `to_dict` returned.

        Example:
            >>> failed = Outcome(Path("a.mp4"), "failed", error="It is empty.")
            >>> Outcome.from_dict(failed.to_dict()) == failed
            True
        """
        output, seconds = content.get("output"), content.get("control_points_s")
        points = content.get("control_points")
        return cls(
            Path(content["input"]),
            content["status"],
            None if output is None else Path(output),
            content.get("num_frames"),
            None if points is None else ControlPoints.from_dict(points),
            None if seconds is None else tuple(seconds),
            content.get("error"),
            took_s,
            content.get("num_computed"),
        )

    def __str__(self) -> str:
        if self.status == "skipped":
            return f"{self.input} -> {self.output}  (finished before; --redo computes it again)"
        seconds = ", ".join(f"{s:.2f}" for s in self.seconds or ())
        frames = "1 frame" if self.num_frames == 1 else f"{self.num_frames} frames"
        computed = "" if self.num_computed is None else f" ({self.num_computed} computed again)"
        summary = f"{frames}{computed}, control points at {seconds} s"
        if self.output is None:
            return f"{self.input}  {summary}"
        return f"{self.input} -> {self.output}  {summary}"


def failure(path: Path, error: Exception, took_s: float | None = None) -> Outcome:
    """Return the outcome of an input for which something raised; call it in the `except` block.

    Errors that the library does not raise on purpose, e.g. of a user's model, are logged with
    their traceback.

    Args:
        path: The input.
        error: What was raised.
        took_s: Seconds until then.
    """
    message = short_reason(error, limit=None)
    if not isinstance(error, CopropError | OSError):
        logger.exception("%s failed", path)
        message = f"{type(error).__name__}: {message}"
    return Outcome(path, "failed", error=message, took_s=took_s)
