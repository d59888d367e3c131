"""How much a prediction looks like a wrong one."""

import torch
from torch import Tensor
from torch.nn import functional

from coprop_plugin.layers import as_rgb

_LONGEST_SIDE = 160
# Of the right predictions for validation scenes next to none follow edges less than _SURE_EDGES;
# of wrong ones (of two models, and made-up ones) one in ten to one in two does.
_SURE_EDGES, _PER_EDGE, _MOST = 0.72, 30.0, 3.0
_EMPTY = 1.5


def mask_doubt(frame: Tensor, mask: Tensor) -> float:
    """Return the log-likelihood ratio of a wrong to a right prediction by its looks, 0 to 3.

    Where something sounds, an empty mask is rarely right; and the outline of an object lies on
    edges of the image, which that of a displaced mask or of a blob does not.

    Args:
        frame: `[3, H, W]`, uint8 or float.
        mask: `[H, W]`, above 0 where something sounds.

    Example:
        >>> frame = torch.rand(3, 32, 32) / 9
        >>> frame[:, 8:16, 8:16] += 0.8
        >>> mask = frame[0] > 0.5
        >>> [mask_doubt(frame, each) for each in (mask, mask.roll(12, 1), mask & False)]
        [0.0, 3.0, 1.5]
    """
    inside = mask.to(frame.device) > 0
    if not bool(inside.any()):
        return _EMPTY
    doubt = _PER_EDGE * (_SURE_EDGES - edge_alignment(frame, inside))
    return min(_MOST, max(0.0, doubt))


def edge_alignment(frame: Tensor, inside: Tensor) -> float:
    """Return the share of an image whose gradient is below that along a mask's outline, 0..1.

    Large images are reduced before. It is 1 where a mask has no outline.

    Args:
        frame: `[3, H, W]`, uint8 or float.
        inside: The mask, `[H, W]` bool.
    """
    height, width = inside.shape
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    size = [max(1, round(side * scale)) for side in (height, width)]
    rgb, soft = as_rgb(frame)[None], inside[None, None].float()
    if scale < 1:
        rgb, soft = (functional.interpolate(x, size=size, mode="area") for x in (rgb, soft))
    gradient = _gradient(rgb)
    mask = (soft > 0.5).float()
    eroded = -functional.max_pool2d(-mask, 3, 1, 1)
    along = gradient[(mask > eroded)[0, 0]]
    if not len(along):
        return 1.0
    rising = gradient.flatten().sort().values
    return float(torch.searchsorted(rising, along).float().mean()) / len(rising)


def _gradient(rgb: Tensor) -> Tensor:
    """Return the largest difference of neighbours in any channel within 3x3 pixels, `[H, W]`."""
    across = functional.pad((rgb[..., 1:] - rgb[..., :-1]).abs(), (1, 0))
    down = functional.pad((rgb[..., 1:, :] - rgb[..., :-1, :]).abs(), (0, 0, 1, 0))
    steepest = torch.maximum(across, down).amax(1, keepdim=True)
    return functional.max_pool2d(steepest, 3, 1, 1)[0, 0]
