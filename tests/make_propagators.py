"""Audio-Insert Propagators of toy width, and videos for them."""

import torch

from coprop_plugin.propagation import AudioInsertPropagator

TOY = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)


def toy(preset="AOTS", **options):
    torch.manual_seed(0)
    return AudioInsertPropagator(preset, **{**TOY, **options}).eval()


def awake(propagator):
    """Give the parts that listen weights, as training would."""
    torch.manual_seed(1)
    for name, parameter in propagator.named_parameters():
        if name.startswith(("network.inserts", "network.identity.audio")):
            torch.nn.init.normal_(parameter, std=0.5)
    return propagator


def video(num_frames=6, size=(49, 65), batch=1, num_objects=2, seed=0):
    """Return frames [T, B, 3, H, W] and object ids [B, H, W]: stripes side by side."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(num_frames, batch, 3, *size, generator=generator)
    columns = torch.arange(size[1]) * (num_objects + 1) // size[1]
    return frames, columns.expand(batch, *size).clone()


@torch.no_grad()
def carry(propagator, frames, masks, sound=None, forced=None):
    """Return the logits of all frames but the first: [T - 1, B, 1 + n, H, W]."""
    memory = propagator.start(frames[0], sound, masks)
    return torch.stack(
        [
            propagator.step(memory, frame, sound, None if forced is None else forced[t])
            for t, frame in enumerate(frames[1:])
        ]
    )
