"""Errors of onsets and offsets of sound, and matching of control points."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coprop_plugin.errors import MetricError
from coprop_plugin.types import ControlPoints


def match_in_order(
    true: Sequence[float], predicted: Sequence[float], window: float
) -> list[tuple[int, int]]:
    """Pair true with predicted times, one to one.

    There are as many pairs as possible, and among those with the smallest sum of distances. Times
    further apart than the window are never paired.

    Args:
        true: Rising numbers, frames or seconds.
        predicted: Rising numbers in the same unit.
        window: Largest distance of a pair, inclusive.

    Returns:
        Index pairs (true, predicted), rising.

    Example:
        >>> match_in_order([3, 9], [2, 4, 6], window=1)
        [(0, 0)]
    """
    # best[i][j]: (minus number of pairs, sum of distances) of the first i true and j predicted
    # times. The best pairs never cross, so the order of both lists can be kept.
    best = [[(0, 0.0)] * (len(predicted) + 1) for _ in range(len(true) + 1)]
    for i, true_time in enumerate(true, 1):
        for j, predicted_time in enumerate(predicted, 1):
            options = [best[i - 1][j], best[i][j - 1]]
            distance = abs(predicted_time - true_time)
            # Seconds are sums of fractions: rounding must not exclude a distance of one frame.
            if distance <= window + 1e-9:
                pairs, total = best[i - 1][j - 1]
                options.append((pairs - 1, total + distance))
            best[i][j] = min(options)
    return _pairs_of(best)


def _pairs_of(best: list[list[tuple[int, float]]]) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    i, j = len(best) - 1, len(best[0]) - 1
    while i and j:
        if best[i][j] == best[i - 1][j]:
            i -= 1
        elif best[i][j] == best[i][j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


@dataclass(frozen=True)
class BoundaryErrors:
    """Errors of predicted onsets, or of predicted offsets.

    Attributes:
        errors_s: Predicted minus true time of every pair, in seconds; above 0 is late.
        missed: Number of true times without a pair.
        spurious: Number of predicted times without a pair.
    """

    errors_s: tuple[float, ...] = ()
    missed: int = 0
    spurious: int = 0

    def __add__(self, other: "BoundaryErrors") -> "BoundaryErrors":
        """Return both together."""
        return BoundaryErrors(
            self.errors_s + other.errors_s,
            self.missed + other.missed,
            self.spurious + other.spurious,
        )


def boundary_errors(
    predicted: Tensor, truth: Tensor, times: Tensor, window_s: float = 2.0
) -> tuple[BoundaryErrors, BoundaryErrors]:
    """Compare the predicted onsets and offsets of a sound with the true ones.

    Each run of sounding frames has an onset, the time stamp of its first frame, and an offset,
    the time stamp of the first frame after it. The offset of a run that reaches to the end of the
    clip is one typical frame gap after the last frame. True and predicted onsets are paired one to
    one by `match_in_order`; so are offsets. Pairs in which both lie on the edge of the clip are
    left out: nothing begins or ends there.

    Args:
        predicted: `[T]` bool: frames that are predicted to sound.
        truth: `[T]` bool: frames that sound.
        times: `[T]`, time stamps in seconds, rising.
        window_s: Largest error of a pair in seconds; beyond it, one is missed and one spurious.

    Returns:
        The errors of onsets, and of offsets.

    Raises:
        MetricError: If the three differ in length, or the window is negative.

    Example:
        >>> onsets, offsets = boundary_errors(
        ...     torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 0]), torch.arange(4.0))
        >>> onsets.errors_s, offsets.errors_s
        ((1.0,), (1.0,))
    """
    predicted, truth = torch.as_tensor(predicted).cpu() != 0, torch.as_tensor(truth).cpu() != 0
    times = torch.as_tensor(times, dtype=torch.float64).cpu()
    if not predicted.shape == truth.shape == times.shape or predicted.ndim != 1:
        raise MetricError(
            "Expected one predicted flag, true flag and time for each frame, got "
            f"{list(predicted.shape)}, {list(truth.shape)} and {list(times.shape)}."
        )
    if not window_s >= 0:
        raise MetricError(f"Expected window_s of 0 or more seconds, got {window_s}.")
    gap_s = float(times.diff().median()) if len(times) > 1 else 1.0
    clock = [*times.tolist(), float(times[-1]) + gap_s] if len(times) else []
    sides = []
    for edge, side in ((0, 0), (len(truth), 1)):
        true_frames = [run[side] for run in _runs(truth)]
        predicted_frames = [run[side] for run in _runs(predicted)]
        sides.append(_compare(true_frames, predicted_frames, clock, window_s, edge))
    return sides[0], sides[1]


def _runs(flags: Tensor) -> list[tuple[int, int]]:
    """Return the runs of set flags as half-open pairs of frames."""
    padded = torch.nn.functional.pad(flags.int(), (1, 1))
    change = padded.diff()
    starts, stops = (change == 1).nonzero().flatten(), (change == -1).nonzero().flatten()
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _compare(
    true_frames: list[int],
    predicted_frames: list[int],
    clock: list[float],
    window_s: float,
    edge: int,
) -> BoundaryErrors:
    true_s = [clock[t] for t in true_frames]
    predicted_s = [clock[t] for t in predicted_frames]
    pairs = match_in_order(true_s, predicted_s, window_s)
    inner = [(i, j) for i, j in pairs if not true_frames[i] == predicted_frames[j] == edge]
    return BoundaryErrors(
        tuple(predicted_s[j] - true_s[i] for i, j in inner),
        missed=len(true_s) - len(pairs),
        spurious=len(predicted_s) - len(pairs),
    )


def matched_control_points(
    predicted: ControlPoints, true: ControlPoints, tolerance: int = 0
) -> tuple[int, int, int]:
    """Count predicted control points that match true ones.

    Frame 0 is a control point by definition and does not count. Each true point is paired with at
    most one predicted point, and vice versa.

    Args:
        predicted: Control points of a provider.
        true: True control points, see `control_points.providers.from_masks` (appendix A.1).
        tolerance: Largest distance of a pair in frames; 0 requires the same frame.

    Returns:
        The number of pairs, of predicted and of true points.

    Raises:
        MetricError: If the clips differ in length, or the tolerance is negative.

    Example:
        >>> points, true = ControlPoints([1, 0, 1, 0]), ControlPoints([1, 1, 0, 0])
        >>> matched_control_points(points, true), matched_control_points(points, true, tolerance=1)
        ((0, 1, 1), (1, 1, 1))
    """
    if predicted.num_frames != true.num_frames or tolerance < 0:
        raise MetricError(
            "Expected control points of the same clip and a tolerance of 0 or more frames, got "
            f"{predicted.num_frames} predicted and {true.num_frames} true frames and a tolerance "
            f"of {tolerance}."
        )
    found, wanted = predicted.indices[1:], true.indices[1:]
    return len(match_in_order(wanted, found, tolerance)), len(found), len(wanted)
