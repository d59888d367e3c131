"""What became of one input."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coprop_plugin.types import ControlPoints


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        input: As it was named.
        status: `"skipped"` if it was finished before.
        output: Where the result is.
        num_frames: How many frames were segmented.
        control_points: Where segments begin,
        seconds: and when that is.
        error: Why it failed.
        took_s: How long it took, by the clock, if that is known.
        num_anew: How many frames were computed, where an earlier result was reused.
    """

    input: Path
    status: Literal["done", "skipped", "failed"]
    output: Path | None = None
    num_frames: int | None = None
    control_points: ControlPoints | None = None
    seconds: tuple[float, ...] | None = None
    error: str | None = None
    took_s: float | None = None
    num_anew: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, without what is not known, and without what varies: time."""
        content: dict[str, Any] = {
            "input": str(self.input),
            "status": self.status,
            "output": None if self.output is None else str(self.output),
            "num_frames": self.num_frames,
            "num_anew": self.num_anew,
            "control_points_s": None if self.seconds is None else list(self.seconds),
            "control_points": self.control_points and self.control_points.to_dict(),
            "error": self.error,
        }
        return {key: value for key, value in content.items() if value is not None}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], took_s: float | None = None) -> "Outcome":
        """Read what `to_dict` gave.

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
            content.get("num_anew"),
        )

    def __str__(self) -> str:
        if self.status == "skipped":
            return f"{self.input} -> {self.output}  (finished before; --redo does it again)"
        seconds = ", ".join(f"{s:.2f}" for s in self.seconds or ())
        frames = "1 frame" if self.num_frames == 1 else f"{self.num_frames} frames"
        anew = "" if self.num_anew is None else f" ({self.num_anew} of them anew)"
        says = f"{frames}{anew}, control points at {seconds} s"
        return f"{self.input} -> {self.output}  {says}" if self.output else f"{self.input}  {says}"


def one_line(error: BaseException) -> str:
    """Return what an error says in one line."""
    return " ".join(str(error).split())
