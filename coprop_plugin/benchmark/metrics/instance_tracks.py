"""Scores of tracks of sounding instances: mAP, HOTA and FSLA, as AVISeg publishes them.

Guo et al., Audio-Visual Instance Segmentation (arXiv:2310.18709), section 5.1. Masks are compared
frame by frame and not kept, so that videos may have any length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.errors import MetricError

ALPHAS = np.arange(1, 20) * 0.05
"""Thresholds of IoU that HOTA and FSLA are averaged over: 0.05 to 0.95."""

TRACK_IOUS = np.arange(10, 20) * 0.05
"""Thresholds of the IoU of whole tracks that mAP is averaged over: 0.5 to 0.95."""

_RECALLS = np.linspace(0, 1, 101)


@dataclass
class VideoOverlaps:
    """How the masks of a video's predicted tracks overlap with the true ones, frame by frame.

    Args:
        truth: The class of each true track, G of them.
        predicted: The class of each predicted track, P of them.
        confidence: How sure the model is of each predicted track.

    Raises:
        MetricError: If there is not one confidence per predicted track.

    Example:
        >>> video = VideoOverlaps([1], [1], [0.9])
        >>> for _ in range(2):
        ...     video.add(torch.ones(1, 4, 4), torch.ones(1, 4, 4))
        >>> track_scores([video])["mAP"]
        1.0
    """

    truth: Sequence[int]
    predicted: Sequence[int]
    confidence: Sequence[float]
    _truth_areas: list[np.ndarray] = field(default_factory=list, repr=False)
    _areas: list[np.ndarray] = field(default_factory=list, repr=False)
    _intersections: list[np.ndarray] = field(default_factory=list, repr=False)
    _given: list[np.ndarray] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if len(self.confidence) != len(self.predicted):
            raise MetricError(
                f"Expected one confidence for each of {len(self.predicted)} predicted tracks, got "
                f"{len(self.confidence)}."
            )

    def add(self, truth: Tensor, predicted: Tensor, given: Sequence[bool] | None = None) -> None:
        """Add the next frame.

        Args:
            truth: Masks of the true tracks `[G, H, W]`; one that is silent is empty.
            predicted: Masks of the predicted ones `[P, H, W]`.
            given: Whether the model has a mask for each predicted track here, if an empty one; by
                default those that are not empty. For HOTA, an empty mask that is given is a false
                positive, as in the released script.

        Raises:
            MetricError: If the masks are not those of the tracks, or differ in size.
        """
        one, other = (torch.as_tensor(x) != 0 for x in (truth, predicted))
        numbers = len(self.truth), len(self.predicted)
        if (one.ndim, other.ndim) != (3, 3) or (len(one), len(other)) != numbers:
            raise MetricError(
                f"Expected masks [{numbers[0]}, H, W] of the true tracks and [{numbers[1]}, H, W] "
                f"of the predicted ones, got {list(one.shape)} and {list(other.shape)}."
            )
        if all(numbers) and one.shape[1:] != other.shape[1:]:
            raise MetricError(
                "Expected masks of one size, got "
                f"{list(one.shape[1:])} and {list(other.shape[1:])}. Resize one of them first."
            )
        pixels, others = (masks.flatten(1).double().cpu() for masks in (one, other))
        shared = pixels @ others.T if all(numbers) else torch.zeros(numbers)
        self._truth_areas.append(pixels.sum(1).numpy())
        self._areas.append(others.sum(1).numpy())
        self._intersections.append(shared.numpy())
        shown = self._areas[-1] > 0
        self._given.append(shown if given is None else np.asarray(given, dtype=bool) | shown)

    @property
    def num_frames(self) -> int:
        """Number of frames so far, T."""
        return len(self._areas)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return intersections and unions `[T, G, P]`, which truth sounds `[T, G]`, and `given`."""
        g, p = len(self.truth), len(self.predicted)
        shared = np.array(self._intersections).reshape(-1, g, p)
        truth, predicted = np.array(self._truth_areas), np.array(self._areas)
        truth, predicted = truth.reshape(-1, g), predicted.reshape(-1, p)
        union = truth[:, :, None] + predicted[:, None] - shared
        return shared, union, truth > 0, np.array(self._given).reshape(-1, p)

    def shown(self) -> np.ndarray:
        """Return which predicted masks are not empty, `[T, P]`."""
        return np.array(self._areas).reshape(-1, len(self.predicted)) > 0


def track_scores(
    videos: Sequence[VideoOverlaps], num_classes: int | None = None
) -> dict[str, float | None]:
    """Return the scores of a set of videos, None where undefined.

    Args:
        videos: The videos.
        num_classes: Number of classes that HOTA is averaged over, numbered from 1; None: the
            classes that occur, true or predicted.

    Returns:
        `mAP`; `HOTA`, `DetA` and `AssA`; and `FSLA`: the share of frames in which the sounding
        instances are exactly those predicted, in number, class and place, and of it `FSLA_none`,
        `FSLA_single` and `FSLA_multiple`, by the number of instances that sound.

    Raises:
        MetricError: If there are no frames.
    """
    if not any(video.num_frames for video in videos):
        raise MetricError("Expected videos with frames, got none.")
    true = {c for video in videos for c in video.truth}
    found = sorted(true | {c for video in videos for c in video.predicted})
    classes = found if num_classes is None else list(range(1, num_classes + 1))
    precisions = [_average_precision(videos, c) for c in sorted(true)]
    hota = np.array([_hota(videos, c) for c in classes]) if classes else np.zeros((1, 3))
    frames = [_correct_frames(video) for video in videos]
    sounding = np.concatenate([numbers for numbers, _ in frames])
    correct = np.concatenate([right for _, right in frames])
    parts = {
        "FSLA": np.ones_like(sounding, dtype=bool),
        "FSLA_none": sounding == 0,
        "FSLA_single": sounding == 1,
        "FSLA_multiple": sounding > 1,
    }
    scores: dict[str, float | None] = {
        "mAP": float(np.mean(precisions)) if precisions else None,
        **dict(zip(("HOTA", "DetA", "AssA"), hota.mean(0).tolist(), strict=True)),
    }
    return scores | {
        name: float(correct[part].mean()) if part.any() else None for name, part in parts.items()
    }


def _average_precision(videos: Sequence[VideoOverlaps], class_id: int) -> float:
    """Return the AP of a class, the mean over `TRACK_IOUS` and 101 recalls."""
    matched, confidence, num_true = [], [], 0
    for video in videos:
        true = np.flatnonzero(np.array(video.truth) == class_id)
        found = np.flatnonzero(np.array(video.predicted) == class_id)
        found = found[np.argsort(-np.array(video.confidence)[found], kind="stable")]
        shared, union, _, _ = video.arrays()
        unions = union.sum(0)
        ious = np.divide(shared.sum(0), unions, out=np.zeros_like(unions), where=unions > 0)
        ious = ious[np.ix_(true, found)]
        matched.append(np.stack([_greedy(ious, least) for least in TRACK_IOUS]))
        confidence.append(np.array(video.confidence)[found])
        num_true += len(true)
    order = np.argsort(-np.concatenate(confidence), kind="stable")
    return float(np.mean([_area(row[order], num_true) for row in np.concatenate(matched, 1)]))


def _greedy(ious: np.ndarray, least: float) -> np.ndarray:
    """Give each prediction, in order, the best true track that is left; `[P]` bool."""
    left = np.ones(len(ious), dtype=bool)
    hits = np.zeros(ious.shape[1], dtype=bool)
    for column in range(ious.shape[1]):
        values = np.where(left, ious[:, column], -1)
        if len(values) and values.max() >= least - 1e-10:
            left[values.argmax()] = False
            hits[column] = True
    return hits


def _area(hits: np.ndarray, num_true: int) -> float:
    """Return the area under precision, made falling, over recall."""
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / num_true, _RECALLS, side="left")
    return float(np.append(falling, 0.0)[np.minimum(places, len(hits))].mean())


def _ious(video: VideoOverlaps) -> np.ndarray:
    shared, union, _, _ = video.arrays()
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def _alignment(ious: np.ndarray, true: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return how well each pair of tracks goes together over the video, `[G, P]`."""
    both = true[:, :, None] & given[:, None]
    similar = np.where(both, ious, 0)
    total = similar.sum(1)[:, None] + similar.sum(2)[:, :, None] - similar
    shares = np.divide(similar, total, out=np.zeros_like(similar), where=total > 0).sum(0)
    counts = true.sum(0)[:, None] + given.sum(0)[None]
    return np.divide(shares, counts - shares, out=np.zeros_like(shares), where=counts > shares)


def _pairs(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(-scores)


def _hota(videos: Sequence[VideoOverlaps], class_id: int) -> tuple[float, float, float]:
    """Return HOTA, DetA and AssA of a class, means over `ALPHAS` (Luiten et al., 2020)."""
    hits, misses, extras = (np.zeros(len(ALPHAS)) for _ in range(3))
    associated = np.zeros(len(ALPHAS))
    for video in videos:
        true = np.flatnonzero(np.array(video.truth) == class_id)
        found = np.flatnonzero(np.array(video.predicted) == class_id)
        _, _, sounds, given = video.arrays()
        ious = _ious(video)[:, true][:, :, found]
        sounds, given = sounds[:, true], given[:, found]
        aligned = _alignment(ious, sounds, given)
        matches = np.zeros((len(ALPHAS), len(true), len(found)))
        for frame, rows, columns in zip(ious, sounds, given, strict=True):
            g, p = np.flatnonzero(rows), np.flatnonzero(columns)
            similar = frame[np.ix_(g, p)]
            one, other = _pairs(aligned[np.ix_(g, p)] * similar)
            reached = similar[one, other][None] >= ALPHAS[:, None] - np.finfo(float).eps
            number = reached.sum(1)
            hits, misses, extras = hits + number, misses + len(g) - number, extras + len(p) - number
            matches[:, g[one], p[other]] += reached
        counts = sounds.sum(0)[:, None] + given.sum(0)[None]
        associated += (matches * matches / np.maximum(1, counts - matches)).sum((1, 2))
    detection = hits / np.maximum(1, hits + misses + extras)
    association = associated / np.maximum(1, hits)
    means = (np.sqrt(detection * association), detection, association)
    hota, det_a, ass_a = (float(np.mean(values)) for values in means)
    return hota, det_a, ass_a


def _correct_frames(video: VideoOverlaps) -> tuple[np.ndarray, np.ndarray]:
    """Return how many instances sound in each frame, `[T]`, and how right it is, `[T]` in 0..1."""
    _, _, sounds, given = video.arrays()
    shown, ious = video.shown(), _ious(video)
    truth, predicted = np.array(video.truth), np.array(video.predicted)
    rows, columns = _pairs(_alignment(ious, sounds, given))
    partner = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    # As in the released script: where several sound, silent tracks need their partner's class.
    wrong_class = any(truth[k] != predicted[m] for k, m in partner.items())
    right = np.zeros(len(sounds))
    for t in range(len(sounds)):
        g = np.flatnonzero(sounds[t])
        same_classes = set(truth[g].tolist()) == set(predicted[given[t]].tolist())
        if not same_classes or len(g) != shown[t].sum() or (len(g) > 1 and wrong_class):
            continue
        # A track without a partner overlaps with nothing.
        overlap = [ious[t, k, partner[k]] if k in partner else 0.0 for k in g.tolist()]
        right[t] = np.mean(min(overlap) > ALPHAS) if overlap else 1.0
    return sounds.sum(1), right
