"""A backend that returns the ground truth of a synthetic scene."""

from collections.abc import Sequence

import torch
from torch import Tensor

from coprop_plugin.types import Clip
from coprop_plugin.world.scene import Ids, SoundingScene

_SURE = 10.0


class TruthBackend:
    """Returns the true masks of a synthetic scene, in place of a trained model.

    Args:
        scene: The scene of the clips.
        semantic: Whether to return one channel per class instead of one for all sounding objects.

    Example:
        >>> from coprop_plugin.world import Scene
        >>> scene = Scene.made_up(seed=1, duration_s=2.0, size=(32, 32))
        >>> TruthBackend(scene).segment_keyframes(scene.clip(fps=2), [0, 3]).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(self, scene: SoundingScene, semantic: bool = False) -> None:
        self.scene = scene
        self.num_classes = scene.num_classes if semantic else 1

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return logits `[K, C, H, W]` of +-10 from the scene's own masks."""
        ids: Ids = "binary" if self.num_classes == 1 else "class"
        # From the whole clip: the span of a frame ends at the next frame.
        masks = self.scene.truth(clip, ids)[list(indices)]
        if self.num_classes == 1:
            return torch.where(masks[:, None] > 0, _SURE, -_SURE)
        hot = torch.nn.functional.one_hot(masks, self.num_classes)
        return torch.where(hot.movedim(-1, 1) > 0, _SURE, -_SURE)
