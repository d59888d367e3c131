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
) -> list[list[int]]:
    """Split a segment's predictions into runs that agree, and leave wrong ones out.

    A prediction that disagrees with those before and after it is wrong, or the set of sounding
    objects changed there unnoticed. The most likely explanation is taken. Wrong predictions are
    rare, but where there is one the next one is less of a surprise; a missed change is the less
    likely the closer two predictions are in time.

    Args:
        times_s: When each prediction's frame is shown, by frame, rising.
        agreement: How well the predictions of two frames, the earlier one first, agree: 0..1.
            Called only where it matters, as it may be expensive.

    Returns:
        Runs of frames, rising; between two runs there is a change.

    Example:
        >>> mask = dict(enumerate("aabacccc"))
        >>> seconds = {t: t / 4 for t in mask}
        >>> trusted_runs(seconds, lambda t, u: float(mask[t] == mask[u]))
        [[0, 1, 3], [4, 5, 6, 7]]
    """
    frames = list(times_s)
    agrees = [agreement(*pair) >= MIN_AGREEMENT for pair in pairwise(frames)]
    if all(agrees):
        return [frames]

    def link(i: int, j: int) -> float:
        if agrees[i] if j == i + 1 else agreement(frames[i], frames[j]) >= MIN_AGREEMENT:
            return 0.0
        gap_s = times_s[frames[j]] - times_s[frames[i]]
        return -math.log(min(0.9, max(1e-6, _MISSED_PER_S * gap_s)))

    chosen = _cheapest_path(agrees, link)
    runs = [[frames[chosen[0]]]]
    for i, j in pairwise(chosen):
        if link(i, j):
            runs.append([])
        runs[-1].append(frames[j])
    return runs


def _cheapest_path(agrees: Sequence[bool], link: Callable[[int, int], float]) -> list[int]:
    """Return the predictions to keep, where leaving out and linking neighbours costs the least.

    Args:
        agrees: Whether each prediction but the last agrees with the next.
        link: What it costs to keep two predictions, and none between them.
    """
    number = len(agrees) + 1
    # The cheapest way to keep prediction j after leaving out m: its cost, and the one kept before.
    best: list[dict[int, tuple[float, int]]] = []
    for j in range(number):
        ways = {j: (_left_out(j), -1)}
        for i in range(max(0, j - 1 - _MOST_SKIPPED), j):
            # Leaving out predictions that agree with both neighbours explains nothing.
            if i < j - 1 and all(agrees[i:j]):
                continue
            step = link(i, j)
            for m, (cost, _) in best[i].items():
                left = m + j - i - 1
                total = cost + step + _left_out(left) - _left_out(m)
                if left not in ways or total < ways[left][0]:
                    ways[left] = total, i
        best.append(ways)
    ends = [
        (cost + _left_out(m + number - 1 - j) - _left_out(m), -j, m)
        for j, ways in enumerate(best)
        for m, (cost, _) in ways.items()
    ]
    _, last, m = min(ends)
    path = [-last]
    while (earlier := best[path[-1]][m][1]) >= 0:
        m -= path[-1] - earlier - 1
        path.append(earlier)
    return path[::-1]


def _left_out(number: int) -> float:
    """Return the cost of leaving out so many predictions."""
    return -sum(math.log((_WRONG + m) / (_WRONG + _RIGHT + m)) for m in range(number))
