"""Which predictions of a segment to trust, and where it changes without a control point."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

MIN_AGREEMENT = 0.5
"""Predictions that overlap less show different things; the alignment rate has the same bound."""
# How often predictions are wrong: a beta distribution with the mean 1 in 20. Each wrong one makes
# the next one more likely.
_WRONG, _RIGHT = 0.5, 9.5
# Changes that a good control-point provider misses: 8 in 100 seconds.
_MISSED_PER_S = 0.08
_MOST_SKIPPED = 4


def trusted_runs(
    times_s: Mapping[int, float],
    agreement: Callable[[int, int], float],
    doubt: Callable[[int], float] = lambda frame: 0.0,
) -> list[list[int]]:
    """Split a segment's predictions into runs that agree, and leave wrong ones out.

    A prediction that disagrees with those before and after it is wrong, or the set of sounding
    objects changed there unnoticed. The most likely explanation is taken. Wrong predictions are
    rare, but where there is one the next one is less of a surprise; a missed change is the less
    likely the closer two predictions are in time; and of predictions that agree with no other one,
    those that look wrong are left out first.

    Args:
        times_s: When each prediction's frame is shown, by frame, rising.
        agreement: How well the predictions of two frames, the earlier one first, agree: 0..1.
            Called only where it matters, as it may be expensive.
        doubt: The log-likelihood ratio of a wrong to a right prediction, by its looks: the least
            one of the segment counts as 0.

    Returns:
        Runs of frames, rising; between two runs there is a change.

    Example:
        >>> mask = dict(enumerate("aabacccc"))
        >>> seconds = {t: t / 4 for t in mask}
        >>> trusted_runs(seconds, lambda t, u: float(mask[t] == mask[u]))
        [[0, 1, 3], [4, 5, 6, 7]]
    """
    frames = list(times_s)
    agree = {(i, i + 1): _agree(agreement, *pair) for i, pair in enumerate(pairwise(frames))}
    if all(agree.values()):
        return [frames]

    def link(i: int, j: int) -> float:
        if agree.get((i, j), True):
            return 0.0
        gap_s = times_s[frames[j]] - times_s[frames[i]]
        return -math.log(min(0.9, max(1e-6, _MISSED_PER_S * gap_s)))

    doubts = [doubt(frame) for frame in frames]
    alone = [each - min(doubts) for each in doubts]
    # Predictions that have others between them agree until they are compared.
    while True:
        chosen = _cheapest_path(link, alone)
        assumed = [pair for pair in pairwise(chosen) if pair not in agree]
        if not assumed:
            break
        agree |= {(i, j): _agree(agreement, frames[i], frames[j]) for i, j in assumed}
    runs = [[frames[chosen[0]]]]
    for i, j in pairwise(chosen):
        if link(i, j):
            runs.append([])
        runs[-1].append(frames[j])
    return runs


def _agree(agreement: Callable[[int, int], float], frame: int, later: int) -> bool:
    return agreement(frame, later) >= MIN_AGREEMENT


_State = tuple[int, bool]
"""How many predictions were left out, and whether the last one kept agrees with none so far."""

_Ways = dict[_State, tuple[float, tuple[int, _State] | None]]
"""The cheapest way to keep a prediction in each state: its cost, and the one kept before."""


def _cheapest_path(link: Callable[[int, int], float], alone: Sequence[float]) -> list[int]:
    """Return the predictions to keep, where leaving out and linking neighbours costs the least.

    Args:
        link: What it costs to keep two predictions, and none between them.
        alone: What it costs to keep each prediction where it agrees with no other one that is kept.
    """
    number = len(alone)
    best: list[_Ways] = []
    for j in range(number):
        ways: _Ways = {(j, True): (_left_out(j) + alone[j], None)}
        for i in range(max(0, j - 1 - _MOST_SKIPPED), j):
            # Leaving out predictions that agree with both neighbours explains nothing.
            if i < j - 1 and not any(link(k, k + 1) for k in range(i, j)):
                continue
            step = link(i, j)
            for (m, is_alone), (cost, _) in best[i].items():
                left = m + j - i - 1
                # What agrees with another one is no longer doubtful.
                doubt = alone[j] if step else -alone[i] if is_alone else 0.0
                total = cost + step + doubt + _left_out(left) - _left_out(m)
                state = left, step > 0
                if state not in ways or total < ways[state][0]:
                    ways[state] = total, (i, (m, is_alone))
        best.append(ways)
    ends = [
        (cost + _left_out(m + number - 1 - j) - _left_out(m), -j, (m, is_alone))
        for j, ways in enumerate(best)
        for (m, is_alone), (cost, _) in ways.items()
    ]
    _, last, state = min(ends)
    path = [-last]
    while (earlier := best[path[-1]][state][1]) is not None:
        path.append(earlier[0])
        state = earlier[1]
    return path[::-1]


def _left_out(number: int) -> float:
    """Return the cost of leaving out so many predictions."""
    return -sum(math.log((_WRONG + m) / (_WRONG + _RIGHT + m)) for m in range(number))
