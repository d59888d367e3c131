"""Which predictions of a segment to trust, and where it changes without a control point."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

MIN_AGREEMENT = 0.5
"""Predictions that overlap less show different things; the alignment rate has the same bound."""
# -log of the odds that a prediction is wrong (1 in 20), and that an empty one is: where something
# sounds it is the least likely prediction.
_WRONG, _WRONG_EMPTY = 2.94, 2.06
# Changes that a good control-point provider misses: 8 in 100 seconds.
_MISSED_PER_S = 0.08
_MOST_SKIPPED = 4


def trusted_runs(
    times_s: Mapping[int, float],
    is_empty: Callable[[int], bool],
    agreement: Callable[[int, int], float],
) -> list[list[int]]:
    """Split a segment's predictions into runs that agree, and leave wrong ones out.

    A prediction that disagrees with those before and after it is wrong, or the set of sounding
    objects changed there unnoticed. The most likely explanation is taken: each prediction left out
    costs the log-odds of a wrong one, each change those of a missed control point, which is the
    less likely the closer two predictions are in time.

    Args:
        times_s: When each prediction's frame is shown, by frame, rising.
        is_empty: Whether the mask predicted for a frame is empty.
        agreement: How well the predictions of two frames, the earlier one first, agree: 0..1.
            Called only where it matters, as it may be expensive.

    Returns:
        Runs of frames, rising; between two runs there is a change.

    Example:
        >>> mask = {0: "a", 1: "a", 2: "b", 3: "a", 4: "c", 5: "c"}
        >>> seconds = {t: t / 4 for t in mask}
        >>> trusted_runs(seconds, lambda t: False, lambda t, u: float(mask[t] == mask[u]))
        [[0, 1, 3], [4, 5]]
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

    costs = [_WRONG_EMPTY if is_empty(t) else _WRONG for t in frames]
    chosen = _cheapest_path(costs, agrees, link)
    runs = [[frames[chosen[0]]]]
    for i, j in pairwise(chosen):
        if link(i, j):
            runs.append([])
        runs[-1].append(frames[j])
    return runs


def _cheapest_path(
    costs: Sequence[float], agrees: Sequence[bool], link: Callable[[int, int], float]
) -> list[int]:
    """Return the predictions to keep, where leaving out and linking neighbours costs the least."""
    before = [0.0]
    for cost in costs:
        before.append(before[-1] + cost)
    best = [(before[0], -1)]
    for j in range(1, len(costs)):
        # Leaving out predictions that agree with both neighbours explains nothing.
        far = range(max(0, j - 1 - _MOST_SKIPPED), j - 1)
        near = [i for i in far if not all(agrees[i:j])]
        options = [(before[j], -1)]
        options += [
            (best[i][0] + before[j] - before[i + 1] + link(i, j), i) for i in [j - 1, *near]
        ]
        best.append(min(options, key=lambda option: (option[0], -option[1])))
    ends = [(cost + before[-1] - before[j + 1], -j) for j, (cost, _) in enumerate(best)]
    path = [-min(ends)[1]]
    while (earlier := best[path[-1]][1]) >= 0:
        path.append(earlier)
    return path[::-1]
