"""Propagators without weights: `hold` and `flow`."""

import pytest
import torch

from coprop_plugin.errors import PropagationError
from coprop_plugin.propagation import FlowPropagator, HoldPropagator
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import Propagator


def moving_square(num_frames=5, step=3, batch=1):
    """Return frames [T, B, 3, H, W] and ids [T, B, H, W]: a textured square that moves right."""
    torch.manual_seed(0)
    ground, skin = torch.rand(3, 48, 64) * 0.3, 0.5 + 0.5 * torch.rand(3, 16, 16)
    ground, skin = (
        torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1) for x in (ground, skin)
    )
    frames, masks = (
        ground.repeat(num_frames, batch, 1, 1, 1),
        torch.zeros(num_frames, batch, 48, 64),
    )
    for t in range(num_frames):
        left = 8 + t * step
        frames[t, ..., 16:32, left : left + 16] = skin
        masks[t, ..., 16:32, left : left + 16] = 1
    return frames, masks.long()


def iou(one, other):
    return ((one & other).sum() / (one | other).sum()).item()


@pytest.mark.parametrize("name", ["hold", "flow"])
def test_baselines_are_registered_and_need_no_audio(name):
    propagator = build(MODELS, name)
    assert isinstance(propagator, Propagator)
    assert propagator.hear(None) is None


@pytest.mark.parametrize("propagator", [HoldPropagator(), FlowPropagator()])
def test_masks_stay_where_nothing_moves(propagator):
    frames, masks = moving_square(step=0, batch=2)
    masks[0, 1, :10] = 2
    memory = propagator.start(frames[0], None, masks[0])
    for frame in frames[1:]:
        logits = propagator.step(memory, frame, None)
    assert logits.shape == (2, 3, 48, 64)
    assert torch.equal(logits.argmax(1), masks[0])
    torch.testing.assert_close(logits.softmax(1).sum(1), torch.ones(2, 48, 64))


def test_flow_follows_motion_and_hold_does_not():
    frames, masks = moving_square()
    found = {}
    for propagator in (HoldPropagator(), FlowPropagator()):
        memory = propagator.start(frames[0], None, masks[0])
        for frame in frames[1:]:
            logits = propagator.step(memory, frame, None)
        found[type(propagator).__name__] = iou(logits.argmax(1).bool(), masks[-1].bool())
    assert found["HoldPropagator"] < 0.2
    assert found["FlowPropagator"] > 0.8


def test_a_batch_equals_its_clips_one_by_one():
    frames, masks = moving_square(batch=2)
    frames[:, 1], masks[:, 1] = frames[:, 1].flip(-1), masks[:, 1].flip(-1)
    flow = FlowPropagator()
    together, alone = flow.start(frames[0], None, masks[0]), flow.start(*_second(frames, masks))
    for frame in frames[1:]:
        logits = flow.step(together, frame, None)
        torch.testing.assert_close(logits[1:], flow.step(alone, frame[1:], None))


def _second(frames, masks):
    return frames[0, 1:], None, masks[0, 1:]


@pytest.mark.parametrize("propagator", [HoldPropagator(), FlowPropagator()])
def test_frames_and_masks_of_another_size_are_refused(propagator):
    frames, masks = moving_square()
    memory = propagator.start(frames[0], None, masks[0])
    with pytest.raises(PropagationError, match="1 clips at 48x64.*call `start`"):
        propagator.step(memory, frames[1, ..., :32], None)
    with pytest.raises(PropagationError, match="Resize the masks"):
        propagator.start(frames[0], None, masks[0, ..., :32])


@pytest.mark.parametrize("size", [(4, 5), (11, 11), (2, 12)])
def test_flow_accepts_frames_of_any_size(size):
    masks = torch.zeros(1, *size).long()
    masks[:, :2, :2] = 1
    memory = FlowPropagator().start(torch.rand(1, 3, *size), None, masks)
    logits = FlowPropagator().step(memory, torch.rand(1, 3, *size), None)
    assert logits.shape == (1, 2, *size)
    assert torch.isfinite(logits).all()
