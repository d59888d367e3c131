"""Control points with errors at known rates, and a listener that answers with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from coprop_plugin.errors import MetricError


@dataclass(frozen=True)
class ErrorRates:
    """How often control points are wrong; all in [0, 1].

    Args:
        misses: Share of true points that are left out.
        extras: False points, as a share of the number of true points.
        shifts: Share of the points that are `by` frames early or late.
        by: How many frames those are off.

    Raises:
        MetricError: If a rate is not in [0, 1], or `by` is no number of frames.
    """

    misses: float = 0.0
    extras: float = 0.0
    shifts: float = 0.0
    by: int = 1

    def __post_init__(self) -> None:
        if not all(0 <= rate <= 1 for rate in (self.misses, self.extras, self.shifts)):
            raise MetricError(f"Got {self}; wanted rates from 0 to 1.")
        if self.by < 1:
            raise MetricError(f"Got by={self.by}; wanted frames, 1 or more.")

    def __str__(self) -> str:
        rates = {"misses": self.misses, "extras": self.extras, "shifts": self.shifts}
        said = [f"{rate:.0%} {name}" for name, rate in rates.items() if rate]
        return ", ".join(said) or "no errors"


def with_errors(flags: Sequence[int], rates: ErrorRates, rng: np.random.Generator) -> list[int]:
    """Return control points with errors.

    The first flag stays, as it is no finding. Shifts that leave the clip or meet another point
    stay where they are. False points are put where no true one is, their number drawn so that its
    mean is the rate times the number of true points, as long as there is room.

    Args:
        flags: One 0 or 1 a frame.
        rates: How many errors.
        rng: Draws them.

    Returns:
        One 0 or 1 a frame, the first one 1.

    Example:
        >>> with_errors([1, 0, 1, 0, 1], ErrorRates(misses=1.0), np.random.default_rng(0))
        [1, 0, 0, 0, 0]
    """
    true = [t for t in range(1, len(flags)) if flags[t]]
    said = {t for t in true if rng.random() >= rates.misses}
    for t in sorted(said):
        moved = t + int(rng.choice([-rates.by, rates.by]))
        if rng.random() < rates.shifts and 0 < moved < len(flags) and moved not in said:
            said = (said - {t}) | {moved}
    free = [t for t in range(1, len(flags)) if t not in said and not flags[t]]
    wanted = rates.extras * len(true)
    count = int(wanted) + int(rng.random() < wanted - int(wanted))
    said |= {int(t) for t in rng.choice(free, min(count, len(free)), replace=False)}
    return [int(t == 0 or t in said) for t in range(len(flags))]


class ScriptedListener:
    """Answers as a language model would that hears the truth, with errors at known rates.

    For `CallableAudioLLM`. A question that wants flags, as its schema says, gets them; any other
    a sentence.

    Args:
        flags: The truth, one 0 or 1 for each frame that is asked about.
        rates: How many errors.
        seed: Draws them; the same errors each time.

    Example:
        >>> schema = {"type": "array", "minItems": 3, "maxItems": 3}
        >>> ScriptedListener([1, 0, 1])([], None, 16_000, schema=schema)
        '[1, 0, 1]'
    """

    def __init__(
        self, flags: Sequence[int], rates: ErrorRates | None = None, seed: int = 0
    ) -> None:
        self.answer = with_errors(flags, rates or ErrorRates(), np.random.default_rng(seed))

    def __call__(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the flags, or a sentence that says nothing."""
        return "Several things sound." if schema is None else str(self.answer)
