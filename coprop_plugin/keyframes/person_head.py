"""Which of the things that a salient-object network found are people."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SALIENT = 0.5
_LEAST_AREA = 0.005
"""Share of the frame; smaller things have too few pixels to look like anything."""


class PersonHead(nn.Module):
    """A linear classifier of regions on the mean and deviation of a network's maps inside them.

    Args:
        channels: Channels of all maps together.

    Example:
        >>> head = PersonHead(3)
        >>> maps = [torch.rand(2, 4, 4), torch.rand(1, 2, 2)]
        >>> head(head.pooled(maps, torch.ones(5, 8, 8))).shape
        torch.Size([5])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the log-odds `[N]` of a person in N regions `[N, 2 C]`."""
        return self.linear(pooled.to(self.linear.weight.dtype))[:, 0]

    @staticmethod
    def pooled(maps: Sequence[Tensor], regions: Tensor) -> Tensor:
        """Return the means, then the standard deviations of maps inside regions.

        Args:
            maps: Each `[C_i, h, w]`.
            regions: `[N, H, W]`, 1 inside.

        Returns:
            `[N, 2 C]` float32, C being the sum of C_i.
        """
        means, deviations = [], []
        for values in maps:
            values = values.float()
            inside = F.interpolate(regions[:, None].float(), values.shape[-2:], mode="area")
            weights = inside / inside.sum((2, 3), keepdim=True).clamp_min(1e-6)
            mean = (values * weights).sum((2, 3), keepdim=True)
            variance = ((values - mean).square() * weights).sum((2, 3))
            means.append(mean[..., 0, 0])
            deviations.append(variance.sqrt())
        return torch.cat([*means, *deviations], dim=1)

    def people_only(self, salience: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Keep of separate salient things those that look like people, if any do.

        Args:
            salience: `[H, W]` in [0, 1]; what is above 0.5 is salient.
            maps: The network's maps of that frame, each `[C_i, h, w]`.

        Returns:
            `[H, W]`: 0 in salient things that are no people; `salience` where nobody is found.
        """
        things = large_things(salience > _SALIENT)
        if not things:
            return salience
        regions = torch.stack(things)
        people = regions[self(self.pooled(maps, regions)) > 0].any(0)
        if not people.any():
            return salience
        return torch.where((salience > _SALIENT) & ~people, 0, salience)


def large_things(mask: Tensor) -> list[Tensor]:
    """Return the connected parts of a mask `[H, W]` that are large enough to be looked at.

    Returns:
        Masks `[H, W]` on the same device.

    Example:
        >>> len(large_things(torch.tensor([[1, 0, 1], [1, 0, 0]]).bool()))
        2
    """
    import cv2
    import numpy as np

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.cpu().numpy().astype(np.uint8))
    parts = torch.from_numpy(labels).to(mask.device)
    least = _LEAST_AREA * mask.numel()
    areas = stats[:, cv2.CC_STAT_AREA].tolist()
    return [parts == number for number, area in enumerate(areas) if number and area >= least]
