"""Losses of the Keyframe Processor and of the propagator.

The paper does not specify losses. The propagator's are AOT's (Yang et al., arXiv:2106.02638v3,
section A.1): half bootstrapped cross entropy, half soft Jaccard. The Keyframe Processor's are ours.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.errors import TrainingError
from coprop_plugin.keyframes import KeyframePrediction

IGNORED = 255
"""Unlabelled pixels, in the labels of the propagator's losses."""

_SMOOTHING = 0.01
_PIXEL_WEIGHT = 4.0
_LAYER_WEIGHT = 0.25
_DENSE_WEIGHT = 0.5
_SOUNDING_WEIGHT = 0.3
_SEMANTIC_SOUNDING_WEIGHT = 0.9


def bootstrapped_cross_entropy(logits: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
    """Average the cross entropy of the hardest pixels of each sample.

    Args:
        logits: `[B, 1 + n, H, W]`.
        labels: `[B, H, W]` int64 object ids, 255 where nothing is known.
        share: Share of the labelled pixels that count, in (0, 1].

    Returns:
        A scalar; 0 if no pixel is labelled.

    Raises:
        TrainingError: If `share` is not in (0, 1].

    Example:
        >>> logits = torch.tensor([[[[4.0, 0.0]], [[0.0, 0.0]]]])
        >>> labels = torch.zeros(1, 1, 2).long()
        >>> round(float(bootstrapped_cross_entropy(logits, labels, share=0.5)), 4)
        0.6931
    """
    if not 0 < share <= 1:
        raise TrainingError(f"Expected share to be in (0, 1], e.g. 0.15, got {share}.")
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    known = labels != IGNORED
    means = []
    for loss, pixels in zip(losses.flatten(1), known.flatten(1).sum(1).tolist(), strict=True):
        # Unlabelled pixels have loss 0, so they are chosen last.
        count = max(1, round(share * pixels))
        means.append(loss.topk(count).values.mean())
    return torch.stack(means).mean()


def soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 - I / (U + 1e-6) of softmax probabilities, as AOT does.

    The mean over the ids in the labels, including the background, then over the samples.

    Args:
        logits: `[B, 1 + n, H, W]`.
        labels: `[B, H, W]` int64 object ids, 255 where nothing is known.

    Example:
        >>> labels = torch.tensor([[[0, 1]]])
        >>> sure = 100.0 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1)
        >>> round(float(soft_jaccard(sure, labels)), 4)
        0.0
    """
    known = (labels != IGNORED)[:, None]
    probs = logits.softmax(1) * known
    hot = F.one_hot(labels.where(known[:, 0], 0), logits.shape[1]).movedim(-1, 1) * known
    overlap = (probs * hot).flatten(2).sum(2)
    union = (probs + hot).flatten(2).sum(2) - overlap
    there = hot.flatten(2).any(2)
    losses = (1 - overlap / (union + 1e-6)) * there
    return (losses.sum(1) / there.sum(1).clamp_min(1)).mean()


def propagation_loss(logits: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
    """Return AOT's loss of one frame: half `bootstrapped_cross_entropy`, half `soft_jaccard`.

    Args:
        logits: `[B, 1 + n, H, W]`.
        labels: `[B, H, W]` int64 object ids, 255 where nothing is known.
        share: Share of pixels for the cross entropy; see `hard_share`.

    Example:
        >>> loss = propagation_loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4).long())
        >>> round(float(loss), 4)  # half of ln 2, half of 1 - 8/16
        0.5966
    """
    entropy = bootstrapped_cross_entropy(logits, labels, share)
    return 0.5 * entropy + 0.5 * soft_jaccard(logits, labels)


def hard_share(progress: float) -> float:
    """Return the share of pixels that AOT's cross entropy counts.

    It falls from 100 % to 15 % over the first half of training.

    Args:
        progress: Progress of the training, 0 to 1.

    Example:
        >>> hard_share(0.0), hard_share(0.25)
        (1.0, 0.575)
    """
    return 1 - 0.85 * min(1.0, 2 * progress)


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return 4 x cross entropy + soft Jaccard of keyframes, at the size of the logits.

    Targets are masks averaged over areas, so that smaller logits keep their edges. The Jaccard
    index is over all sounding objects of a sample, smoothed by 1 % of the pixels, so that empty
    masks have a gradient, too.

    Args:
        logits: `[B, C, h, w]`; C = 1 is binary, else class 0 is the background.
        masks: `[B, H, W]` class numbers.

    Example:
        >>> logits = torch.full((1, 1, 8, 8), -50.0)
        >>> float(segmentation_loss(logits, torch.zeros(1, 8, 8).long()))
        0.0
    """
    num_classes = logits.shape[1]
    if num_classes == 1:
        target = (masks[:, None] > 0).to(logits.dtype)
    else:
        target = F.one_hot(masks.long(), num_classes).movedim(-1, 1).to(logits.dtype)
    if target.shape[-2:] != logits.shape[-2:]:
        target = F.interpolate(target, logits.shape[-2:], mode="area")
    if num_classes == 1:
        entropy = F.binary_cross_entropy_with_logits(logits, target)
        probs, sounding = logits.sigmoid(), target
    else:
        entropy = -(target * logits.log_softmax(1)).sum(1).mean()
        probs, sounding = logits.softmax(1)[:, 1:], target[:, 1:]
    overlap = (probs * sounding).flatten(1).sum(1)
    union = (probs + sounding).flatten(1).sum(1) - overlap
    slack = _SMOOTHING * logits.shape[-2] * logits.shape[-1]
    return _PIXEL_WEIGHT * entropy + (1 - (overlap + slack) / (union + slack)).mean()


def keyframe_losses(prediction: KeyframePrediction, masks: Tensor) -> dict[str, Tensor]:
    """Return the weighted parts of the Keyframe Processor's loss; their sum is trained.

    The final logits at full size; the earlier decoder layers (0.25 each) and the logits without
    queries (0.5) at their own size; and the presence of each class (0.3 for a binary head, 0.9 for
    a semantic one).

    Args:
        prediction: Result of `KeyframeProcessor.predict`.
        masks: `[B, H, W]` class numbers, 0 the silent background.

    Returns:
        Losses by names that begin with `loss_`.
    """
    earlier = [segmentation_loss(logits, masks) for logits in prediction.layer_logits[:-1]]
    losses = {"loss_mask": segmentation_loss(prediction.logits, masks)}
    if earlier:
        losses["loss_layers"] = _LAYER_WEIGHT * torch.stack(earlier).sum()
    if prediction.dense_logits is not None:
        losses["loss_dense"] = _DENSE_WEIGHT * segmentation_loss(prediction.dense_logits, masks)
    weight = _SOUNDING_WEIGHT if prediction.logits.shape[1] == 1 else _SEMANTIC_SOUNDING_WEIGHT
    there = classes_there(masks, prediction.logits.shape[1]).to(prediction.sounding)
    entropy = F.binary_cross_entropy_with_logits(prediction.sounding, there)
    losses["loss_sounding"] = weight * entropy
    return losses


def classes_there(masks: Tensor, num_classes: int) -> Tensor:
    """Return the classes of objects in the masks: `[B, O]` bool.

    Args:
        masks: `[B, H, W]` class numbers.
        num_classes: C; O is 1 for a binary head, else C - 1.

    Example:
        >>> classes_there(torch.tensor([[[0, 2]]]), num_classes=4).tolist()
        [[False, True, False]]
    """
    flat = masks.flatten(1)
    if num_classes == 1:
        return (flat > 0).any(1, keepdim=True)
    return torch.stack([(flat == c).any(1) for c in range(1, num_classes)], dim=1)
