"""The keyframe processor that ships, at the price of TPAVI: seconds of a large model in Co-Prop.

    coprop bench --world 5 --seeds 3 --rows bare,default,paper \
        -b examples/benchmarks/at_tpavis_price.py:make

TPAVI with ResNet-50 (68 million parameters) has random weights, and is run on each frame for its
time alone, at 224 x 224 pixels. The masks are those of the processor, so that predictions agree as
often as those of a trained model do.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coprop_plugin.adapters.tpavi import TPAVI, TPAVIBackend
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.types import Clip


class AtTPAVIsPrice(nn.Module):
    """A backend that runs TPAVI on each keyframe, and returns another model's masks."""

    context = "frame"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        # The 128 numbers of an embedding cost nothing beside TPAVI.
        embed = nn.Sequential(nn.AdaptiveAvgPool2d((16, 8)), nn.Flatten())
        self.large = TPAVIBackend(TPAVI(), vggish=embed, context="frame")
        self.processor = load_keyframe_processor()
        self.num_classes = self.processor.num_classes

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return the keyframe processor's logits `[K, C, H, W]`."""
        for index in indices:
            self.large.segment_keyframes(clip, [index])
        return self.processor.segment_keyframes(clip, indices)


def make(weights: str | None = None) -> AtTPAVIsPrice:
    """Return the model; it has no weights of its own."""
    return AtTPAVIsPrice()
