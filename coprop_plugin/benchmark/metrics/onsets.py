"""When does a sound begin and end: onset and offset errors, and control points."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coprop_plugin.errors import MetricError
from coprop_plugin.types import ControlPoints


def match_in_order(
    true: Sequence[float], predicted: Sequence[float], window: float
) -> list[tuple[int, int]]:
    """Pair true with predicted moments, one to one.

    As many pairs as possible, and among those the smallest sum of distances. Moments further
    apart than the window are never paired.

    Args:
        true: Rising numbers, frames or seconds.
        predicted: Rising numbers in the same unit.
        window: Largest distance of a pair, included.

    Returns:
        Index pairs (true, predicted), rising.

    Example:
        >>> match_in_order([3, 9], [2, 4, 6], window=1)
        [(0, 0)]
    """
    # best[i][j]: (pairs missing, sum of distances) of the first i true and j predicted moments.
    # On a line the best pairs never cross, so the order of both lists can be kept.
    best = [[(0, 0.0)] * (len(predicted) + 1) for _ in range(len(true) + 1)]
    for i, true_moment in enumerate(true, 1):
        for j, predicted_moment in enumerate(predicted, 1):
            options = [best[i - 1][j], best[i][j - 1]]
            distance = abs(predicted_moment - true_moment)
            # Seconds are sums of fractions: one frame apart must not be a hair over one frame.
            if distance <= window + 1e-9:
                pairs, total = best[i - 1][j - 1]
                options.append((pairs - 1, total + distance))
            best[i][j] = min(options)
    return _pairs_of(best)


def _pairs_of(best: list[list[tuple[int, float]]]) -> list[tuple[int, int]]:
    pairs, i, j = [], len(best) - 1, len(best[0]) - 1
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
    """How far predicted beginnings, or ends, of sounding are from the true ones.

    Attributes:
        errors_s: Predicted minus true time of every matched pair, in seconds; above 0 is late.
        missed: True moments without a partner.
        spurious: Predicted moments without a partner.
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
    """Compare when something is said to sound with when it does.

    Each stretch of sounding frames has an onset, the time stamp of its first frame, and an offset,
    the time stamp of the first frame after it. A stretch that reaches to the end of the clip has
    its offset there, one typical frame gap after the last frame. True and predicted onsets are
    paired one to one, as many as lie within the window, the nearest first; so are offsets.
    Where both lie on the edge of the clip the pair is left out: nothing began or ended there.

    Args:
        predicted: `[T]` bool: frames in which it is said to sound.
        truth: `[T]` bool: frames in which it sounds.
        times: `[T]`, time stamps in seconds, rising.
        window_s: Largest error of a pair in seconds; what is further off is missed and spurious.

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
            f"Got {list(predicted.shape)} predicted flags, {list(truth.shape)} true flags and "
            f"{list(times.shape)} times; wanted one of each per frame."
        )
    if not window_s >= 0:
        raise MetricError(f"Got window_s={window_s}; wanted seconds, 0 or more.")
    gap_s = float(times.diff().median()) if len(times) > 1 else 1.0
    clock = [*times.tolist(), float(times[-1]) + gap_s] if len(times) else []
    sides = []
    for edge, side in ((0, 0), (len(truth), 1)):
        true_frames = [stretch[side] for stretch in _stretches(truth)]
        said_frames = [stretch[side] for stretch in _stretches(predicted)]
        sides.append(_compare(true_frames, said_frames, clock, window_s, edge))
    return sides[0], sides[1]


def _stretches(flags: Tensor) -> list[tuple[int, int]]:
    """Return the stretches of set flags as half-open pairs of frames."""
    padded = torch.nn.functional.pad(flags.int(), (1, 1))
    change = padded.diff()
    starts, stops = (change == 1).nonzero().flatten(), (change == -1).nonzero().flatten()
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _compare(
    true_frames: list[int], said_frames: list[int], clock: list[float], window_s: float, edge: int
) -> BoundaryErrors:
    true_s, said_s = [clock[t] for t in true_frames], [clock[t] for t in said_frames]
    pairs = match_in_order(true_s, said_s, window_s)
    inner = [(i, j) for i, j in pairs if not true_frames[i] == said_frames[j] == edge]
    return BoundaryErrors(
        tuple(said_s[j] - true_s[i] for i, j in inner),
        missed=len(true_s) - len(pairs),
        spurious=len(said_s) - len(pairs),
    )


def matched_control_points(
    predicted: ControlPoints, true: ControlPoints, tolerance: int = 0
) -> tuple[int, int, int]:
    """Count how many control points are found.

    Frame 0 is a control point by definition and does not count. Each true point is paired with at
    most one predicted point, and the other way round.

    Args:
        predicted: What a provider said.
        true: What `control_points.providers.from_masks` says of the true masks (appendix A.1).
        tolerance: How many frames a pair may be apart; 0 asks for the very frame.

    Returns:
        The number of pairs, of predicted and of true points.

    Raises:
        MetricError: If they are of clips of different length, or the tolerance is negative.

    Example:
        >>> said, true = ControlPoints([1, 0, 1, 0]), ControlPoints([1, 1, 0, 0])
        >>> matched_control_points(said, true), matched_control_points(said, true, tolerance=1)
        ((0, 1, 1), (1, 1, 1))
    """
    if predicted.num_frames != true.num_frames or tolerance < 0:
        raise MetricError(
            f"Got control points of {predicted.num_frames} predicted and {true.num_frames} true "
            f"frames and a tolerance of {tolerance}; wanted the same clip, and 0 or more frames."
        )
    said, wanted = predicted.indices[1:], true.indices[1:]
    return len(match_in_order(wanted, said, tolerance)), len(said), len(wanted)
