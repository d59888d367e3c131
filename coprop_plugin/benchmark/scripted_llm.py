"""Control points with errors at known rates, and scripted language models that answer them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.control_points.language.examples import flags_a_second
from coprop_plugin.errors import DatasetError, MetricError

_PIECES = 100
"""Into how many pieces a waveform is divided to recognise it by their levels."""


@dataclass(frozen=True)
class ErrorRates:
    """Rates of errors in control points, each in [0, 1].

    Args:
        misses: Share of the true points that are left out.
        extras: Number of false points, as a share of the number of true points.
        shifts: Share of the points that are `by` frames early or late.
        by: Number of frames of a shift.

    Raises:
        MetricError: If a rate is not in [0, 1], or `by` is below 1.
    """

    misses: float = 0.0
    extras: float = 0.0
    shifts: float = 0.0
    by: int = 1

    def __post_init__(self) -> None:
        if not all(0 <= rate <= 1 for rate in (self.misses, self.extras, self.shifts)):
            raise MetricError(f"Expected rates from 0 to 1, got {self}.")
        if self.by < 1:
            raise MetricError(f"Expected `by` as 1 or more frames, got {self.by}.")

    def __str__(self) -> str:
        rates = {"misses": self.misses, "extras": self.extras, "shifts": self.shifts}
        parts = [f"{rate:.0%} {name}" for name, rate in rates.items() if rate]
        return ", ".join(parts) or "no errors"


def with_errors(flags: Sequence[int], rates: ErrorRates, rng: np.random.Generator) -> list[int]:
    """Return control points with errors.

    The first flag is always set and never counts. A point whose shift would leave the clip or
    meet another point stays where it is. False points are put where there is no true one; their
    number is drawn so that its mean is the rate times the number of true points, as long as there
    is room.

    Args:
        flags: One 0 or 1 a frame.
        rates: Rates of the errors.
        rng: Draws them.

    Returns:
        One 0 or 1 a frame, the first one 1.

    Example:
        >>> with_errors([1, 0, 1, 0, 1], ErrorRates(misses=1.0), np.random.default_rng(0))
        [1, 0, 0, 0, 0]
    """
    true = [t for t in range(1, len(flags)) if flags[t]]
    points = {t for t in true if rng.random() >= rates.misses}
    for t in sorted(points):
        moved = t + int(rng.choice([-rates.by, rates.by]))
        if rng.random() < rates.shifts and 0 < moved < len(flags) and moved not in points:
            points = (points - {t}) | {moved}
    free = [t for t in range(1, len(flags)) if t not in points and not flags[t]]
    mean = rates.extras * len(true)
    count = int(mean) + int(rng.random() < mean - int(mean))
    points |= {int(t) for t in rng.choice(free, min(count, len(free)), replace=False)}
    return [int(t == 0 or t in points) for t in range(len(flags))]


class ScriptedListener:
    """A stand-in for a language model: returns the true flags, with errors at known rates.

    For `CallableAudioLLM`. A request whose schema is a list of flags gets them, any other a
    sentence that names the categories.

    Args:
        flags: The truth, one 0 or 1 for each frame of the request.
        rates: Rates of the errors.
        seed: Seed of the errors.
        categories: What sounds.

    Example:
        >>> schema = {"type": "array", "minItems": 3, "maxItems": 3}
        >>> ScriptedListener([1, 0, 1])([], None, 16_000, schema=schema)
        '[1, 0, 1]'
    """

    def __init__(
        self,
        flags: Sequence[int],
        rates: ErrorRates | None = None,
        seed: int = 0,
        categories: Sequence[str] = (),
    ) -> None:
        self.answer = with_errors(flags, rates or ErrorRates(), np.random.default_rng(seed))
        self.sentence = f"{' and '.join(categories) or 'Several things'} sound."

    def __call__(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the flags, or the sentence if no schema is given."""
        return self.sentence if schema is None else str(self.answer)


class ScriptedLLM:
    """A stand-in for a language model that knows the truth of clips, by their audio.

    For `CallableAudioLLM`, or behind a server. It answers as a `ScriptedListener` of the clip whose
    audio is the most similar to that of the request, at any sample rate.

    Args:
        samples: The clips. Those without a waveform or true control points are left out.
        rates: Rates of the errors.
        seed: Seed of the errors, which differ from clip to clip.
        categories: What sounds in each clip, by its id.

    Raises:
        DatasetError: If no clip is left.

    Example:
        >>> from coprop_plugin.benchmark.world_clips import WorldSamples
        >>> samples = WorldSamples(2)
        >>> clip, schema = samples[1].clip, {"type": "array"}
        >>> ScriptedLLM(samples)([], clip.waveform, clip.sample_rate, schema)
        '[1, 0, 1, 0, 1, 0, 0, 0, 0, 1]'
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        rates: ErrorRates | None = None,
        seed: int = 0,
        categories: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._known: list[tuple[NDArray[np.float64], ScriptedListener]] = []
        for number, sample in enumerate(samples):
            points, waveform = sample.control_points, sample.clip.waveform
            if points is None or waveform is None:
                continue
            names = (categories or {}).get(sample.id, ())
            flags = flags_a_second(points, sample.clip)
            self._known.append(
                (_levels(waveform), ScriptedListener(flags, rates, seed + number, names))
            )
        if not self._known:
            raise DatasetError("Expected clips with audio and true control points, got none.")

    def __call__(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the answer for the most similar clip."""
        levels = _levels(waveform)
        _, listener = min(self._known, key=lambda known: float(abs(known[0] - levels).sum()))
        return listener(messages, waveform, sample_rate, schema)


def _levels(waveform: Tensor) -> NDArray[np.float64]:
    """Return the level of each piece of a waveform."""
    pieces = np.array_split(waveform.detach().double().cpu().numpy(), _PIECES)
    return np.array([np.sqrt(np.mean(piece**2)) if len(piece) else 0.0 for piece in pieces])
