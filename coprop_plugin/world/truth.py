"""A backend that knows the truth of a made-up scene."""

from collections.abc import Sequence

import torch
from torch import Tensor

from coprop_plugin.types import Clip
from coprop_plugin.world.objects import KINDS
from coprop_plugin.world.scene import Scene

_SURE = 10.0


class TruthBackend:
    """Says what really sounds in a made-up scene: a stand-in for a trained model.

    Args:
        scene: The scene that the clips to come are taken from.
        semantic: Whether to give one channel a class instead of one for all that sounds.

    Example:
        >>> scene = Scene.made_up(seed=1, duration_s=2.0, size=(32, 32))
        >>> TruthBackend(scene).segment_keyframes(scene.clip(fps=2), [0, 3]).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(self, scene: Scene, semantic: bool = False) -> None:
        self.scene = scene
        self.num_classes = len(KINDS) + 1 if semantic else 1

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return logits `[K, C, H, W]` of +-10 from the scene's own masks."""
        ids = "binary" if self.num_classes == 1 else "class"
        # Of the whole clip: a frame's span reaches to the next frame.
        masks = self.scene.truth(clip, ids)[list(indices)]
        if self.num_classes == 1:
            return torch.where(masks[:, None] > 0, _SURE, -_SURE)
        hot = torch.nn.functional.one_hot(masks, self.num_classes)
        return torch.where(hot.movedim(-1, 1) > 0, _SURE, -_SURE)
