"""Losses of CATR's queries."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.training.losses import segmentation_loss

_SCORE_WEIGHT = 0.5
_OTHERS_WEIGHT = 0.1
_EARLIER_WEIGHT = 0.5
_SLACK = 0.01


def query_losses(answers: Sequence[tuple[Tensor, Tensor]], masks: Tensor) -> dict[str, Tensor]:
    """Return the weighted losses of queries of which one per frame is matched.

    The match minimises the cost of mask and score together, which is bipartite matching with a
    single object. The losses are of the matched mask (`segmentation_loss`) and of all scores: high
    for the matched query, and, at a tenth of the weight, low for the others. Earlier layers count
    half.

    Args:
        answers: Predictions of `CATR.answer`: for each decoder layer mask logits
            `[B, T, Q, h, w]` and scores `[B, T, Q, 2]`.
        masks: `[B, T, H, W]` class numbers, 0 the silent background.

    Returns:
        `loss_mask`, `loss_score`, and, with several layers, `loss_layers`.

    Example:
        >>> sure = torch.full((1, 1, 2, 4, 4), -9.0)
        >>> sure[0, 0, 1] = 9.0
        >>> scores = torch.tensor([[[[-9.0, 9.0], [9.0, -9.0]]]])
        >>> losses = query_losses([(sure, scores)], torch.ones(1, 1, 16, 16).long())
        >>> round(float(sum(losses.values())), 2)
        0.0
    """
    flat = masks.flatten(0, 1)
    *earlier, (mask_loss, score_loss) = [
        _layer(logits.flatten(0, 1), scores.flatten(0, 1), flat) for logits, scores in answers
    ]
    losses = {"loss_mask": mask_loss, "loss_score": score_loss}
    if earlier:
        losses["loss_layers"] = (
            _EARLIER_WEIGHT * torch.stack([mask + score for mask, score in earlier]).sum()
        )
    return losses


def _layer(logits: Tensor, scores: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    matched = _cheapest(logits.detach(), scores.detach(), masks)
    rows = torch.arange(len(logits), device=logits.device)
    mask_loss = segmentation_loss(logits[rows, matched][:, None], masks)
    labels = torch.ones(scores.shape[:2], dtype=torch.long, device=scores.device)
    labels[rows, matched] = 0
    weight = scores.new_tensor([1.0, _OTHERS_WEIGHT])
    return mask_loss, _SCORE_WEIGHT * F.cross_entropy(scores.mT, labels, weight)


def _cheapest(logits: Tensor, scores: Tensor, masks: Tensor) -> Tensor:
    """Return the matched query of [N, Q, h, w] in each frame."""
    target = F.interpolate((masks[:, None] > 0).float(), logits.shape[-2:], mode="area")
    probs = logits.sigmoid()
    overlap = (probs * target).flatten(2).sum(2)
    union = (probs + target).flatten(2).sum(2) - overlap
    slack = _SLACK * target[0].numel()
    cost = 1 - (overlap + slack) / (union + slack)
    return (cost - scores.softmax(-1)[..., 0]).argmin(1)
