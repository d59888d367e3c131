"""Kernel change points of audio features, with a penalty measured on the audio itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BLOCKS_S = (0.25, 0.5, 1.0)
_NEIGHBOURHOOD_S = 2.0
# Two parts whose kernel means are nearer than this (of at most 2) are the same source.
_LEAST_DISTANCE = 0.12
# Squared distances of unit vectors range from 0 to 2; below this they are noise of one sound.
_LEAST_BANDWIDTH = 0.1
# A split is certain if it gains this many times what chance explains.
_CERTAIN = 3.0


@dataclass(frozen=True)
class ChangePoint:
    """A change of the audio.

    Attributes:
        row: The first row of the new sound.
        score: How much the split explains, relative to what chance could explain; at least the
            `least_score` of the search.
    """

    row: int
    score: float


def find_change_points(
    features: Array, rows_per_second: float, shortest_s: float, least_score: float = 1.0
) -> list[ChangePoint]:
    """Split rows of features where their distribution changes.

    Kernel change points (Arlot, Celisse and Harchaoui, arXiv:1202.3878) with a Gaussian kernel: a
    part is a mixture of many different moments (vowels and hisses, notes, barks), so mixtures are
    compared rather than moments. Then splits that chance could explain are removed, the weakest
    first.

    What chance explains is measured on the audio itself. If a part is one source, the kernel means
    of its blocks scatter with a long-run variance V = tr(S) that includes how long its moments
    last; a random split gains V in the mean and, among n independent places, at most
    V (1 + 2 sqrt(ln n / d) + 2 ln n / d), with d = tr(S)^2 / tr(S^2) the number of directions
    in which it scatters (Laurent and Massart 2000, Lemma 1). V is the median over pairs of
    neighbouring blocks, of the whole audio or of either side of the split, whichever is larger: the
    median ignores the few pairs that a true change lies between. With many changes these pairs are
    not few, so pairs across a certain split are left out.

    Args:
        features: `[rows, dims]`, each row of length 1.
        rows_per_second: Rows per second.
        shortest_s: The shortest part between two changes, in seconds.
        least_score: How much a split must explain to be kept, relative to what chance could
            explain; values below 1 add candidates to the changes that 1 finds.

    Returns:
        The changes, by rising row.
    """
    shortest = max(1, round(shortest_s * rows_per_second))
    if len(features) < 2 * shortest:
        return []
    import ruptures

    gram, bandwidth = _gaussian_gram(features)
    chance = _Chance(gram, rows_per_second, shortest)
    search = ruptures.KernelCPD("rbf", min_size=shortest, params={"gamma": 1 / bandwidth})
    *splits, _ = search.fit(features).predict(pen=chance.low)
    gains = _Gains(gram)
    chance.leave_out(_certain_splits(splits, gains, chance))
    return _prune([int(split) for split in splits], gains, chance, least_score)


def _gaussian_gram(features: Array) -> tuple[Array, float]:
    """Return the kernel's value for every pair of rows, and its bandwidth.

    Computed in place, like everything with these matrices: a minute takes 25 MB each.
    """
    gram = -2 * features @ features.T
    gram += 2
    np.maximum(gram, 0, out=gram)
    bandwidth = max(float(np.median(gram)), _LEAST_BANDWIDTH)
    gram /= -bandwidth
    return np.exp(gram, out=gram), bandwidth


def _certain_splits(splits: list[int], gains: "_Gains", chance: "_Chance") -> list[int]:
    """Return the splits that are certain, judged by the two parts beside them alone."""
    edges = [0, *splits, gains.num_rows]
    around = zip(edges, edges[1:], edges[2:], strict=False)
    return [
        row
        for left, row, right in around
        if gains.of(left, row, right) > _CERTAIN * chance.gain_within(left, row, right)
    ]


class _Gains:
    """How much the scatter of rows decreases when they are split."""

    def __init__(self, gram: Array) -> None:
        self.num_rows = len(gram)
        self.sums = np.zeros((len(gram) + 1, len(gram) + 1))
        np.cumsum(gram, axis=0, out=self.sums[1:, 1:])
        for row in self.sums:
            np.cumsum(row, out=row)

    def _mean(self, a: int, b: int, c: int, d: int) -> float:
        total = self.sums[b, d] - self.sums[a, d] - self.sums[b, c] + self.sums[a, c]
        return total / ((b - a) * (d - c))

    def of(self, left: int, row: int, right: int) -> float:
        """Return the gain of splitting left..right at `row`."""
        distance = self._mean(left, row, left, row) + self._mean(row, right, row, right)
        distance -= 2 * self._mean(left, row, row, right)
        return float(distance * (row - left) * (right - row) / (right - left))


class _Chance:
    """The gain of a split where there is no change."""

    def __init__(self, gram: Array, rows_per_second: float, shortest: int) -> None:
        # For each block length: the row between each pair of neighbouring blocks, and its scatter.
        self.pairs = [
            (block, (np.arange(len(gram) // block - 1) + 1) * block, _block_scatter(gram, block))
            for block in sorted({max(1, round(b * rows_per_second)) for b in _BLOCKS_S})
            if len(gram) >= 3 * block
        ]
        self.reach = _NEIGHBOURHOOD_S * rows_per_second
        self.least = _LEAST_DISTANCE * shortest / 2
        self.variance = self._largest_median()
        self.low = self.variance + self.least
        places = max(2.0, len(gram) / shortest)
        ratio = np.log(places) / _directions(gram)
        self.factor = 1 + 2 * np.sqrt(ratio) + 2 * ratio

    def leave_out(self, splits: list[int]) -> None:
        """Remove the pairs of blocks across these splits: their scatter is not chance."""
        for number, (block, middles, scatter) in enumerate(self.pairs):
            across = np.zeros(len(middles), dtype=bool)
            for split in splits:
                across |= np.abs(middles - split) < block
            self.pairs[number] = block, middles[~across], scatter[~across]
        self.variance = self._largest_median()

    def gain_within(self, left: int, row: int, right: int) -> float:
        """Return the largest gain by chance of a split, judged by either side of it alone."""
        variances = []
        for start, stop in ((left, row), (row, right)):
            for block, middles, scatter in self.pairs:
                inside = scatter[(middles - block >= start) & (middles + block <= stop)]
                variances += [float(inside.mean())] if len(inside) else []
        return self._gain(max(variances, default=np.inf))

    def gain_at(self, row: int) -> float:
        """Return the largest gain by chance of a split at `row`."""
        variance = self.variance
        for block, middles, scatter in self.pairs:
            for side in (row - middles, middles - row):
                near = scatter[(side >= block / 2) & (side < self.reach)]
                if len(near) >= 2:
                    variance = max(variance, float(np.median(near)))
        return self._gain(variance)

    def _largest_median(self) -> float:
        return max((float(np.median(s)) for _, _, s in self.pairs if len(s)), default=0.0)

    def _gain(self, variance: float) -> float:
        return float(self.factor * variance + self.least)


def _block_scatter(gram: Array, block: int) -> Array:
    """Return the variance of one row as each pair of neighbouring blocks estimates it."""
    count = len(gram) // block
    cut = gram[: count * block, : count * block]
    means = cut.reshape(count, block, count, block).mean(axis=(1, 3))
    own = np.diag(means)
    return (own[:-1] + own[1:] - 2 * np.diag(means, 1)) / 2 * block


def _directions(gram: Array) -> float:
    """Return the number of directions in which the rows scatter, 1 or more."""
    centred = gram - gram.mean(axis=0)
    centred -= gram.mean(axis=1)[:, None]
    centred += gram.mean()
    trace = np.trace(centred)
    centred *= centred
    return max(1.0, float(trace**2 / max(float(centred.sum()), 1e-12)))


def _prune(
    rows: list[int], gains: _Gains, chance: _Chance, least_score: float
) -> list[ChangePoint]:
    """Remove the weakest split until all others gain enough relative to chance."""
    while rows:
        edges = [0, *rows, gains.num_rows]
        around = zip(edges, edges[1:], edges[2:], strict=False)
        scores = [gains.of(*three) / chance.gain_at(three[1]) for three in around]
        weakest = int(np.argmin(scores))
        if scores[weakest] >= least_score:
            return [ChangePoint(*pair) for pair in zip(rows, scores, strict=True)]
        del rows[weakest]
    return []
