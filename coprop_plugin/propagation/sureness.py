"""How sure masks are of themselves, and how well two of them agree."""

from torch import Tensor

from coprop_plugin.propagation.carry import MaskLogits


def agreement(one: Tensor, other: Tensor) -> float:
    """Return how well two masks `[H, W]` agree, in 0..1.

    Of the pixels that are something in either, the share that is the same in both: intersection
    over union, in which a pixel of two classes counts against. 1 where both are empty.

    Example:
        >>> import torch
        >>> agreement(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 1, 1]]))
        0.5
    """
    either = (one > 0) | (other > 0)
    return float((one == other)[either].float().mean()) if bool(either.any()) else 1.0


def sureness(masks: MaskLogits, mask: Tensor | None = None) -> float:
    """Return how sure a mask is of itself, in 0..1: the overlap that its probabilities promise.

    Were each pixel's probability right, the mask and the truth would share `sum of p inside` and
    cover `pixels inside + sum of p outside`; their ratio falls with the entropy of what is
    neither inside nor outside, and edges count for little. Of an empty mask, how sure the pixel
    is that is most in doubt.

    Args:
        masks: Of one frame.
        mask: `masks.mask`, if it is known already.

    Example:
        >>> import torch
        >>> sureness(MaskLogits((1,), torch.tensor([[[-9.0, 9.0, 0.1]]]), 1)) < 0.8
        True
    """
    if masks.class_ids in ((), (0,)):
        return 1.0
    logits = masks.logits.float()
    probs = logits[0].sigmoid() if masks.num_classes == 1 else 1 - logits.softmax(0)[0]
    inside = (masks.mask if mask is None else mask).to(probs.device) > 0
    shared, pixels = (probs * inside).sum(), inside.sum()
    if not pixels:
        return float(1 - probs.max())
    return float(shared / (pixels + probs.sum() - shared))
