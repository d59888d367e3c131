"""Segments propagated in one batch equal segments propagated one by one."""

import pytest
import torch

from coprop_plugin import Clip, CoProp, media, wrap
from coprop_plugin.errors import PropagationError
from coprop_plugin.pipeline import MaskLogits, Segment, WindowLimits, propagate_batch
from coprop_plugin.propagation import AudioInsertPropagator, FlowPropagator

TOY = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
LENGTHS = (3, 1, 6, 4, 6, 2)


class CountingPropagator(AudioInsertPropagator):
    """Records the batch size of each step."""

    batches: list

    def step(self, memory, frame, *args):
        self.batches.append(len(frame))
        return super().step(memory, frame, *args)


def toy(**options):
    torch.manual_seed(0)
    propagator = CountingPropagator("AOTS", long_term_gap=2, **{**TOY, **options}).eval().double()
    propagator.batches = []
    for name, parameter in propagator.named_parameters():
        if name.startswith(("network.inserts", "network.identity.audio")):
            torch.nn.init.normal_(parameter, std=0.5)
    return propagator


def clip(num_frames, size=(40, 56), seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(num_frames, 3, *size, generator=generator)
    return Clip(frames, torch.rand(16_000 * num_frames, generator=generator) - 0.5, 16_000)


def segments(propagator, counts, num_classes=5):
    """Make segments of two clips, each with a number of classes present in its keyframe."""
    clips = [clip(24, seed=1), clip(24, seed=2)]
    sounds = [
        None if getattr(propagator, "sound", None) is None else torch.randn(24, 5, 128).double()
    ] * 2
    made, start = [], 0
    for number, (length, count) in enumerate(zip(LENGTHS, counts, strict=True)):
        logits = torch.zeros(num_classes, 40, 56)
        for n in range(count):
            logits[1 + (n + number) % (num_classes - 1), :, 12 * n : 12 * n + 10] = 9
        logits[0] += 1
        frames = range(start, start + length)
        masks = MaskLogits.of_keyframe(logits)
        made.append(Segment(clips[number % 2], frames, sounds[number % 2], masks))
        start += length
    return made


@pytest.fixture(autouse=True)
def _in_double(monkeypatch):
    rgb = Clip.rgb
    monkeypatch.setattr(Clip, "rgb", lambda self, indices: rgb(self, indices).double())


@pytest.mark.parametrize("counts", [(1, 1, 1, 1, 1, 1), (2, 1, 2, 0, 3, 1), (0, 0, 0, 0, 0, 0)])
@pytest.mark.parametrize("options", [{}, dict(max_memory_frames=2), dict(max_objects=1)])
@torch.no_grad()
def test_a_batch_equals_one_segment_at_a_time(counts, options):
    propagator = toy(**options)
    made = segments(propagator, counts)
    alone = propagate_batch(propagator, 5, made, at_once=1)
    steps = len(propagator.batches)
    assert set(propagator.batches) <= {1}
    together = propagate_batch(propagator, 5, made, at_once=4)
    assert sum(propagator.batches[steps:]) == steps
    assert len(propagator.batches) - steps < max(steps, 1)
    for length, one, other in zip(LENGTHS, alone, together, strict=True):
        assert len(one) == len(other) == length
        for a, b in zip(one, other, strict=True):
            assert a.class_ids == b.class_ids
            torch.testing.assert_close(a.logits, b.logits)


@torch.no_grad()
def test_a_guide_is_batched_too():
    propagator = toy(guide="flow")
    made = segments(propagator, (1, 1, 1, 1, 1, 1))
    alone, together = (propagate_batch(propagator, 5, made, at_once=n) for n in (1, 6))
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a.logits, b.logits)


def test_a_propagator_without_batches_runs_segment_by_segment():
    class OneByOne:
        def __init__(self):
            self.inner = FlowPropagator()

        def hear(self, clip):
            return None

        def start(self, frame, sound, masks):
            assert len(frame) == 1
            return self.inner.start(frame.float(), sound, masks)

        def step(self, memory, frame, sound):
            return self.inner.step(memory, frame.float(), sound)

    made = segments(FlowPropagator(), (1, 1, 1, 1, 1, 1))
    assert [len(row) for row in propagate_batch(OneByOne(), 5, made, at_once=4)] == list(LENGTHS)


FLAGS = [int(t in (0, 3, 4, 10, 14, 20)) for t in range(22)]


def bright(frames, audio):
    return frames[:, :1] * 20 - 15


def model(segment_batch, propagator=None):
    propagator = propagator or toy(insert_layers=(), audio_identity=False)
    return wrap(
        bright,
        backend="callable",
        control_points=FLAGS,
        propagator=propagator,
        segment_batch=segment_batch,
    )


@pytest.mark.parametrize("limits", [WindowLimits(), WindowLimits(frames_bytes=1, context_s=10.0)])
def test_a_video_is_the_same_for_any_segment_batch(limits, tmp_path):
    """Also in windows, whose borders cut through segments."""
    video = media.write_clip(clip(22), tmp_path / "clip.mp4")
    counted = []
    for segment_batch in (1, 3):
        propagator = toy(insert_layers=(), audio_identity=False)
        wrapped = model(segment_batch, propagator)
        wrapped.window_limits = limits
        counted.append((list(wrapped.stream(video, fps=None)), propagator.batches))
    (alone, single), (together, batches) = counted
    assert set(single) == {1}
    assert max(batches) > 1
    assert sum(batches) == sum(single)
    assert [frame.index for frame in together] == list(range(22))
    for a, b in zip(alone, together, strict=True):
        assert a.is_keyframe == b.is_keyframe
        torch.testing.assert_close(a.class_probs, b.class_probs)


@pytest.mark.parametrize("wrong", [0, -1, 1.5])
def test_segment_batch_must_be_a_positive_integer(wrong):
    with pytest.raises(PropagationError, match="segment_batch.*from 1"):
        CoProp(dict(type="CallableBackend", function=bright), segment_batch=wrong)
