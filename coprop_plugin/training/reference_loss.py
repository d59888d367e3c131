"""Reference-frame logits, for AOT's reference loss."""

from torch import Tensor

from coprop_plugin.errors import PropagationError
from coprop_plugin.propagation.block import sine_position
from coprop_plugin.propagation.decoder import upsample
from coprop_plugin.propagation.geometry import (
    check_keyframe,
    network_size,
    resize_frame,
    resize_masks,
)
from coprop_plugin.propagation.groups import (
    for_groups,
    merge_groups,
    num_groups,
    split_into_groups,
)
from coprop_plugin.propagation.propagator import AudioInsertPropagator


def reference_logits(
    propagator: AudioInsertPropagator, frame: Tensor, sound: Tensor | None, masks: Tensor
) -> Tensor:
    """Decode a keyframe with itself and its masks as the only memory.

    Args:
        propagator: A propagator without a guide.
        frame: `[B, 3, H, W]` RGB in [0, 1].
        sound: Audio tokens `[B, N, D]`, rows of `hear`, or None.
        masks: `[B, H, W]` object ids, 0 the background, 1..n.

    Returns:
        Logits `[B, 1 + n, H, W]`, the background first.

    Raises:
        PropagationError: If frame and masks do not fit, or the propagator has a guide, which gets
            the keyframe's masks as input.

    Example:
        >>> import torch
        >>> toy = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
        >>> propagator = AudioInsertPropagator("AOTT", **toy).eval()
        >>> masks = torch.ones(1, 32, 32).long()
        >>> reference_logits(propagator, torch.rand(1, 3, 32, 32), None, masks).shape
        torch.Size([1, 2, 32, 32])
    """
    check_keyframe(frame, masks)
    if propagator.guide is not None:
        raise PropagationError(
            "The reference loss needs a propagator without a guide: a guide has the keyframe's "
            "masks as input. Use one with `guide=None`."
        )
    network, most, num_objects = propagator.network, propagator.max_objects, int(masks.max())
    height, width = frame.shape[-2:]
    size = network_size(height, width, propagator.max_size)
    groups = num_groups(num_objects, most)
    maps, tokens = network.encode(resize_frame(frame, size), sound)
    position = sine_position(*tokens.shape[1:]).to(tokens)
    ids = split_into_groups(resize_masks(masks, size), num_objects, most)
    sound = None if sound is None else for_groups(sound, groups)
    outputs, _ = network.begin(for_groups(tokens, groups), position, network.identity(ids, sound))
    decoded = network.decoder(outputs, [for_groups(each, groups) for each in maps])
    decoded = upsample(decoded[:, : 1 + min(num_objects, most)], (height, width))
    return merge_groups(decoded, num_objects, most)
