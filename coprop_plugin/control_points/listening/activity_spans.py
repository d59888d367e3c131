"""From the probability of categories over time to the spans in which each is active."""

from collections.abc import Mapping, Sequence

from coprop_plugin.control_points.listening.detectors import Activity
from coprop_plugin.control_points.listening.silence import SHORTEST_PAUSE_S, SHORTEST_SOUND_S, runs
from coprop_plugin.errors import ControlPointError

Spans = Mapping[str, Sequence[tuple[float, float]]]
"""Half-open spans in seconds, rising, by name."""

_LEAST_ROW_S = 1e-6


def checked_thresholds(threshold: float, release: float | None) -> tuple[float, float]:
    """Return both thresholds; `release` is half of `threshold` by default.

    Raises:
        ControlPointError: If they are not 0 < release <= threshold < 1.
    """
    release = threshold / 2 if release is None else release
    if not 0 < release <= threshold < 1:
        raise ControlPointError(
            "Expected probabilities 0 < release <= threshold < 1, got "
            f"threshold={threshold} and release={release}."
        )
    return threshold, release


def active_spans(
    activity: Activity, threshold: float, release: float, start_s: float = 0.0
) -> dict[str, list[tuple[float, float]]]:
    """Return the spans of time in which each category is active.

    Args:
        activity: The probabilities from a detector.
        threshold: The probability that must be reached within a span.
        release: The probability that must be kept throughout a span.
        start_s: Start of the first row.

    Returns:
        Half-open spans in seconds for every category, rising.

    Example:
        >>> import torch
        >>> probs = torch.tensor([0.1, 0.3, 0.9, 0.3, 0.1, 0.3])[:, None]
        >>> active_spans(Activity(("dog",), probs, row_s=1.0), threshold=0.5, release=0.2)
        {'dog': [(1.0, 4.0)]}
    """
    row_s = activity.row_s
    spans = {}
    for name, column in zip(activity.categories, activity.probs.T.numpy(), strict=True):
        found = [run for run in runs(column >= release) if column[slice(*run)].max() >= threshold]
        spans[name] = [
            (start_s + a * row_s, start_s + b * row_s)
            for a, b in _joined(found, SHORTEST_PAUSE_S / row_s)
            if (b - a) * row_s > SHORTEST_SOUND_S - _LEAST_ROW_S
        ]
    return spans


def _joined(found: list[tuple[int, int]], shortest_gap: float) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in found:
        if joined and start - joined[-1][1] < shortest_gap:
            start = joined.pop()[0]
        joined.append((start, stop))
    return joined


def active_sets(spans: Spans) -> tuple[list[float], list[frozenset[str]]]:
    """Return the times at which the set of active names may change, and the set around each.

    Example:
        >>> edges, sets = active_sets({"dog": [(1.0, 3.0)]})
        >>> edges, [sorted(active) for active in sets]
        ([1.0, 3.0], [[], ['dog'], []])
    """
    edges = sorted({edge for found in spans.values() for span in found for edge in span})

    def active_from(edge: float) -> frozenset[str]:
        return frozenset(
            name for name, found in spans.items() if any(a <= edge < b for a, b in found)
        )

    return edges, [frozenset(), *(active_from(edge) for edge in edges)]


def rounded_spans(spans: Spans) -> dict[str, list[list[float]]]:
    """Return the spans of all names that have any, to the millisecond, for logs."""
    return {
        name: [[round(s, 3) for s in span] for span in found]
        for name, found in spans.items()
        if found
    }
