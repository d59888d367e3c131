"""Recovery from a bad keyframe: several answers a stretch, of which those that agree are carried.

The paper carries whatever the wrapped model says of a segment's first frame, and so spoils the
segment where that is wrong (its section on limitations). Here the model is asked about a few
frames, each answer is carried over the stretch, and they are compared where they meet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

from torch import Tensor

from coprop_plugin.errors import ControlPointError
from coprop_plugin.pipeline.schedule import Asked, check_reanchor
from coprop_plugin.types import ControlPoints

CANDIDATES = 3
MOST_EXTRA = 2
THRESHOLD = 0.5
# No stretch is longer, so that a stream holds little at once.
STRETCH_S = 5.0
STRETCH_PIXELS = 2**26


@dataclass(frozen=True)
class Recovery:
    """Which frames to ask about, beside the first of each stretch, to get over a bad answer.

    Args:
        candidates: How many frames of a stretch are asked about from the start, evenly spread.
        extra: How many more, at most, where answers disagree or masks are in doubt.
        threshold: From which doubt on (0..1) a frame is asked about; None leaves doubt alone.
        seconds: At least one candidate in so many seconds, too.

    Example:
        >>> Recovery.of("confident", None)
        Recovery(candidates=3, extra=2, threshold=None, seconds=None)
        >>> Recovery.of("first", 2.0) is None
        True
    """

    candidates: int = 1
    extra: int = 0
    threshold: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, keyframe: Any = "first", reanchor: Any = None) -> "Recovery | None":
        """Read what `CoProp` was asked for; None is the paper's way, also with seconds.

        Raises:
            ControlPointError: If it is none of what `CoProp` takes.
        """
        usual = dict(candidates=CANDIDATES, extra=MOST_EXTRA)
        chosen = _options(keyframe, "keyframe", ("first", "confident"), usual)
        if reanchor is None or (isinstance(reanchor, Real) and reanchor is not True):
            again = dict(type=None, seconds=reanchor, extra=0, threshold=None)
        else:
            usual = dict(threshold=THRESHOLD, extra=MOST_EXTRA, seconds=None)
            again = _options(reanchor, "reanchor", ("uncertain",), usual)
        check_reanchor(again["seconds"])
        is_first = chosen["type"] == "first"
        if is_first and again["type"] is None:
            return None
        made = cls(
            candidates=1 if is_first else chosen["candidates"],
            extra=max(again["extra"], 0 if is_first else chosen["extra"]),
            threshold=again["threshold"],
            seconds=again["seconds"],
        )
        made._check()
        return made

    def _check(self) -> None:
        counts = ((self.candidates, 1), (self.extra, 0))
        whole = all(isinstance(number, int) and number >= least for number, least in counts)
        threshold = 0.0 if self.threshold is None else self.threshold
        if not whole or not isinstance(threshold, Real) or not 0 <= threshold <= 1:
            raise ControlPointError(
                f"Got {self}; wanted whole numbers, candidates from 1 and extra from 0, and a "
                "threshold in 0..1 or None."
            )

    def first_frames(self, frames: range, times: Sequence[float] | Tensor) -> list[int]:
        """Return the candidates of a stretch, the first frame among them.

        Args:
            frames: The stretch, half-open.
            times: Of every frame that the indices count, in seconds.
        """
        number = min(self.candidates, len(frames))
        chosen = {frames[k * len(frames) // number] for k in range(number)}
        last = frames.start
        for index in frames if self.seconds is not None else ():
            if index in chosen or float(times[index] - times[last]) >= self.seconds - 1e-6:
                chosen.add(index)
                last = index
        return sorted(chosen)

    @staticmethod
    def asked(
        points: ControlPoints,
        times: Tensor,
        size: tuple[int, int],
        start: int = 0,
        stop: int | None = None,
        given: Mapping[int, Tensor] | None = None,
    ) -> Asked:
        """Return the stretches to carry masks over: segments, the long ones cut.

        Args:
            points: Where segments begin.
            times: `[T]`, the time of every frame, in seconds.
            size: Height and width in pixels.
            start: A frame; its stretch is the first one.
            stop: A frame; the stretch of the one before it is the last one.
            given: As of `Asked`.

        Raises:
            ControlPointError: If there is no frame `start` or `stop`.
        """
        height, width = size
        most_frames = max(1, STRETCH_PIXELS // (height * width))
        cut = partial(Asked, points, times, STRETCH_S, given=given, most_frames=most_frames)
        bounds = cut().bounds
        start = max((i for i in bounds[:-1] if i <= start), default=start)
        if stop is not None:
            stop = min((i for i in bounds if i >= stop), default=stop)
        return cut(start, stop)


def _options(
    given: Any, name: str, types: Sequence[str], usual: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of `type` or `dict(type=..., ...)`, the usual ones where not given."""
    options = dict(given) if isinstance(given, Mapping) else dict(type=given)
    kind = options.pop("type", None)
    if kind not in types or set(options) - set(usual):
        known = " or ".join(map(repr, types))
        raise ControlPointError(
            f"Got {name}={given!r}; wanted {known}, or dict(type={types[-1]!r}) with any of "
            f"{', '.join(usual)}{', or seconds above 0, or None' if name == 'reanchor' else ''}."
        )
    return dict(type=kind, **{**usual, **options})
