"""From the outputs of the change network to changes, each with a probability."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coprop_plugin.control_points.listening.change_network import (
    ChangeNetwork,
    NetworkOutputs,
    step_levels_db,
)

THRESHOLD = 0.5
"""Default of the lowest probability of a change."""
NUM_CLUES = 4
"""Length of the vector that `clues` returns."""
_LEAST_PROB = 0.04
_LEAST_DISTANCE = 5
_MARGIN = 2
_COMPARED = 38
# 0.8 s: a source that is silent for less pauses.
_LONGEST_PAUSE = 20
# 0.2 s.
_LOUDEST = 5
# Larger logits add no certainty, and one would outweigh all other clues.
_LARGEST_LOGIT = 12.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """Outputs of the network for the steps of one sound.

    Attributes:
        change: `[T]` probabilities of a change.
        active: `[T]` probabilities that anything sounds.
        identity: `[T, C]`, see `NetworkOutputs`.
        level_db: `[T]` levels of the loudest band.
    """

    change: Array
    active: Array
    identity: Array
    level_db: Array

    @classmethod
    def of(cls, outputs: NetworkOutputs, log_mel: Tensor) -> "Steps":
        """Convert the outputs for the first sound of a batch, and its log-mels `[rows, 64]`."""
        return cls(
            outputs.change[0].double().sigmoid().cpu().numpy(),
            outputs.active[0].double().sigmoid().cpu().numpy(),
            outputs.identity[0].double().cpu().numpy(),
            step_levels_db(log_mel).double().cpu().numpy(),
        )

    @classmethod
    def joined(cls, parts: Sequence["Steps"]) -> "Steps":
        """Concatenate consecutive parts of a sound."""
        return cls(
            np.concatenate([part.change for part in parts]),
            np.concatenate([part.active for part in parts]),
            np.concatenate([part.identity for part in parts]),
            np.concatenate([part.level_db for part in parts]),
        )

    @property
    def loudest_db(self) -> float:
        """The level of the loudest 0.2 s in all."""
        return float(np.sort(self.level_db)[-_LOUDEST:].mean())

    def silenced(self) -> "Steps":
        """Return as many steps in which nothing sounds."""
        return replace(self, change=0 * self.change, active=0 * self.active)

    def __len__(self) -> int:
        return len(self.change)

    def __getitem__(self, steps: slice) -> "Steps":
        return Steps(
            self.change[steps], self.active[steps], self.identity[steps], self.level_db[steps]
        )


@dataclass(frozen=True)
class FoundChange:
    """A change of the set of sounding sources.

    Attributes:
        peak: The step with the highest probability of the network.
        step: Its position, between steps.
        prob: The calibrated probability.
    """

    peak: int
    step: float
    prob: float


def find_changes(
    steps: Steps, network: ChangeNetwork, threshold: float = THRESHOLD
) -> list[FoundChange]:
    """Find the changes whose probability reaches a threshold.

    Every peak of the network's probability is a candidate; `clues` says what its own probability is
    computed from. The least probable candidate is removed and its neighbours are computed again,
    until all reach the threshold. Then a silence of less than 0.8 s is removed, with the changes at
    both of its ends, if the same sources sound before and after it.

    Args:
        steps: Outputs of the network.
        network: The network, for the calibrated weights of the clues.
        threshold: The lowest probability.

    Returns:
        The changes, rising.
    """
    weights, scale = network.calibration.double().cpu().numpy(), identity_scale(network)
    places = candidates(steps.change)
    probs = [_prob(steps, places, n, weights, scale) for n in range(len(places))]
    while probs and min(probs) < threshold:
        weakest = int(np.argmin(probs))
        del places[weakest], probs[weakest]
        for n in (weakest - 1, weakest):
            if 0 <= n < len(places):
                probs[n] = _prob(steps, places, n, weights, scale)
    found = [
        FoundChange(place, _position(steps.change, place), prob)
        for place, prob in zip(places, probs, strict=True)
    ]
    return _without_pauses(steps, found, scale)


def _without_pauses(steps: Steps, found: list[FoundChange], scale: Array) -> list[FoundChange]:
    """Remove the two changes at the ends of each silence that is a pause of the same sources."""
    kept = list(found)
    number = 0
    while number + 1 < len(kept):
        start, stop = kept[number], kept[number + 1]
        first = kept[number - 1].peak if number else 0
        last = kept[number + 2].peak if number + 2 < len(kept) else len(steps)
        is_short = stop.peak - start.peak < _LONGEST_PAUSE
        if is_short and is_silent(steps, start.step, stop.step):
            before = _inner(max(first, start.peak - _COMPARED), start.peak, first > 0, True)
            after = _inner(stop.peak, min(last, stop.peak + _COMPARED), True, last < len(steps))
            if _same_logit(steps, before, after, scale) > 0:
                del kept[number : number + 2]
                number = max(0, number - 1)
                continue
        number += 1
    return kept


def candidates(change: Array) -> list[int]:
    """Return the steps that may be changes: peaks, at least 0.2 s apart.

    Example:
        >>> candidates(np.array([0.0, 0.1, 0.7, 0.2, 0.3, 0.0, 0.0, 0.1, 0.5, 0.1]))
        [2, 8]
    """
    order = np.argsort(-change, kind="stable")
    taken: list[int] = []
    free = np.ones(len(change), dtype=bool)
    for step in order[: int((change > _LEAST_PROB).sum())]:
        near = slice(max(0, step - 1), step + 2)
        if free[step] and step > 0 and change[step] >= change[near].max():
            taken.append(int(step))
            free[max(0, step - _LEAST_DISTANCE + 1) : step + _LEAST_DISTANCE] = False
    return sorted(taken)


def clues(steps: Steps, places: Sequence[int], number: int, scale: Array) -> Array:
    """Return the evidence for candidate `number` being a change, `[NUM_CLUES]`.

    The logit of the network's probability; the logit of the sounds before and after having
    different sources, between this candidate and its neighbours; how much their activity differs;
    and the higher one of their activities.

    Args:
        steps: Outputs of the network.
        places: The steps of all candidates, rising.
        number: Index into `places`.
        scale: See `identity_scale`.
    """
    here = places[number]
    first = places[number - 1] if number else 0
    last = places[number + 1] if number + 1 < len(places) else len(steps.change)
    before = _inner(max(first, here - _COMPARED), here, first > 0, True)
    after = _inner(here, min(last, here + _COMPARED), True, last < len(steps.change))
    prob = steps.change[max(0, here - 1) : here + 2].max()
    logit = float(np.log(prob + 1e-6) - np.log1p(1e-6 - prob))
    same = _same_logit(steps, before, after, scale)
    active = steps.active[before].mean(), steps.active[after].mean()
    return np.array(
        [
            np.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT),
            np.clip(-same, -_LARGEST_LOGIT, _LARGEST_LOGIT),
            abs(active[0] - active[1]),
            max(active),
        ]
    )


def identity_scale(network: ChangeNetwork) -> Array:
    """Return factor and offset from the product of identity vectors to a logit."""
    return network.scale.detach().double().cpu().numpy()


def is_silent(steps: Steps, start: float, stop: float) -> bool:
    """Tell whether nothing sounds between two steps."""
    return bool(steps.active[_between(steps, start, stop)].mean() < 0.5)


def level_between(steps: Steps, start: float, stop: float) -> float:
    """Return the usual level between two steps, in dB."""
    return float(np.median(steps.level_db[_between(steps, start, stop)]))


def _between(steps: Steps, start: float, stop: float) -> slice:
    first = min(round(start), len(steps) - 1)
    return slice(first, max(round(stop), first + 1))


def set_calibration(network: ChangeNetwork, weights: Sequence[float]) -> None:
    """Set the weights of the clues: the offset, then one weight per clue."""
    network.calibration.copy_(torch.tensor(weights))


def _inner(start: int, stop: int, cut_start: bool, cut_stop: bool) -> slice:
    """Return the steps between two changes that are not next to a change."""
    margin = min(_MARGIN, max(0, (stop - start - 1) // 2))
    return slice(start + margin * cut_start, max(stop - margin * cut_stop, start + 1))


def _same_logit(steps: Steps, before: slice, after: slice, scale: Array) -> float:
    """Return the logit of the same sources sounding in two parts."""
    pairs = steps.identity[before] @ steps.identity[after].T
    return float(scale[0] * pairs.mean() + scale[1])


def _prob(steps: Steps, places: Sequence[int], number: int, weights: Array, scale: Array) -> float:
    score = weights[0] + weights[1:] @ clues(steps, places, number, scale)
    return float(1 / (1 + np.exp(-score)))


def _position(change: Array, step: int) -> float:
    """Return the position of a peak between steps, from a parabola through the logarithms."""
    if not 0 < step < len(change) - 1:
        return float(step)
    before, here, after = np.log(change[step - 1 : step + 2] + 1e-6)
    curvature = before - 2 * here + after
    if curvature > -1e-6:
        return float(step)
    return float(step + np.clip((before - after) / curvature / 2, -0.5, 0.5))
