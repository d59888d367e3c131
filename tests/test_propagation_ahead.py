"""Work the propagator avoids, and frames encoded ahead."""

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from coprop_plugin import Clip, wrap
from coprop_plugin.errors import PropagationError
from coprop_plugin.pipeline import MaskLogits, Segment, propagate_batch
from coprop_plugin.propagation import AudioInsertPropagator

TOY = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
SIZE = (40, 56)


class CountingPropagator(AudioInsertPropagator):
    """Records the batch size of each call of its parts."""

    def __init__(self, **options):
        torch.manual_seed(0)
        super().__init__("AOTS", **{**TOY, **options})
        self.calls = dict(encoder=[], bank=[], leave=[], audio=[])
        parts = dict(
            encoder=self.network.encoder,
            bank=self.network.identity.bank,
            leave=self.network.decoder.leave,
        )
        for name, part in parts.items():
            part.register_forward_pre_hook(
                lambda module, given, name=name: self.calls[name].append(len(given[0]))
            )
        self.eval()

    def hear(self, clip):
        self.calls["audio"].append(clip.num_frames)
        return None


class Upsampling(TorchFunctionMode):
    """Notes the channels of what is resized to the frames' size with aligned corners."""

    def __init__(self):
        super().__init__()
        self.channels = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.interpolate and kwargs.get("align_corners"):
            logits, size = args[:2] if len(args) > 1 else (args[0], kwargs["size"])
            if tuple(size) == SIZE:
                self.channels.append(logits.shape[1])
        return function(*args, **kwargs)


def clip(num_frames):
    frames = torch.rand(num_frames, 3, *SIZE, generator=torch.manual_seed(0))
    return Clip(frames, torch.zeros(16_000 * num_frames), 16_000)


def keyframe(*classes, num_classes=3):
    logits = torch.zeros(num_classes, *SIZE)
    logits[0] = 1
    for n, c in enumerate(classes):
        logits[c, :, 20 * n : 20 * n + 12] = 9
    return logits


def propagated(propagator, *segments):
    """Propagate segments of a clip, each given by its length and its keyframe."""
    starts = [sum(length for length, _ in segments[:n]) for n in range(len(segments))]
    whole = clip(sum(length for length, _ in segments))
    made = [
        Segment(whole, range(start, start + length), None, MaskLogits.of_keyframe(logits))
        for start, (length, logits) in zip(starts, segments, strict=True)
    ]
    with torch.no_grad():
        return propagate_batch(propagator, 3, made, at_once=1)


@pytest.mark.parametrize("options", [{}, dict(guide="flow")])
@pytest.mark.parametrize("ahead", [2, 3, 9])
def test_encoding_ahead_equals_encoding_one_by_one(ahead, options):
    one, many = CountingPropagator(**options), CountingPropagator(**options, encode_ahead=ahead)
    segments = [(6, keyframe(1)), (1, keyframe(1)), (5, keyframe(1, 2)), (3, keyframe())]
    for alone, at_once in zip(propagated(one, *segments), propagated(many, *segments), strict=True):
        assert len(alone) == len(at_once)
        for a, b in zip(alone, at_once, strict=True):
            torch.testing.assert_close(a.logits, b.logits, atol=1e-4, rtol=1e-4)
    assert set(one.calls["encoder"]) == {1}
    # Never more at once, never past the end of a segment.
    parts = {2: [1, 2, 2, 1, 1, 1, 2, 2], 3: [1, 3, 2, 1, 1, 3, 1], 9: [1, 5, 1, 1, 4]}
    assert many.calls["encoder"] == parts[ahead]


def test_a_batch_is_encoded_ahead_like_its_clips():
    propagator = CountingPropagator(insert_layers=(), audio_identity=False).double()
    frames, masks = torch.rand(4, 2, 3, 33, 49).double(), torch.zeros(2, 33, 49).long()
    masks[0, :20, :20], masks[1, 5:, 30:] = 1, 1
    with torch.no_grad():
        plain, ahead = (propagator.start(frames[0], None, masks) for _ in range(2))
        propagator.look_ahead(ahead, frames[1:], None)
        torch.testing.assert_close(*(propagator.step(m, frames[1], None) for m in (plain, ahead)))
        plain, ahead = (propagator.first(memory, 1) for memory in (plain, ahead))
        for frame in frames[2:, :1]:
            torch.testing.assert_close(*(propagator.step(m, frame, None) for m in (plain, ahead)))
    assert not ahead.ahead


def test_frames_ahead_of_another_size_are_refused():
    propagator = CountingPropagator()
    memory = propagator.start(torch.rand(1, 3, 33, 33), None, torch.ones(1, 33, 33).long())
    with pytest.raises(PropagationError, match="1 clips at 33x33"):
        propagator.look_ahead(memory, torch.rand(2, 1, 3, 33, 49), None)


def test_windows_of_a_video_are_encoded_ahead_within_segments():
    flags = [int(t in (0, 4, 5)) for t in range(12)]
    answers = []
    for ahead in (1, 3):
        propagator = CountingPropagator(insert_layers=(), audio_identity=False, encode_ahead=ahead)
        model = wrap(
            lambda frames, audio: frames[:, :1] * 20 - 15,
            backend="callable",
            control_points=flags,
            propagator=propagator,
            reanchor=None,
            silence="keep",
        )
        answers.append(model.segment(clip(12)).probs)
    assert propagator.calls["encoder"] == [1, 3, 1, 1, 3, 3]
    torch.testing.assert_close(*answers, atol=1e-4, rtol=1e-4)


def test_empty_segments_run_no_network():
    propagator = CountingPropagator()
    masks = propagated(propagator, (4, keyframe()), (3, keyframe()))
    assert [len(row) for row in masks] == [4, 3]
    assert not any(propagator.calls.values())


@pytest.mark.parametrize("call", ["segment", "forward"])
def test_audio_is_not_encoded_if_all_segments_are_empty(call):
    propagator, whole = CountingPropagator(), clip(6)
    model = wrap(
        lambda frames, audio=None: frames[:, :1] * 0 - 9,
        backend=dict(type="callable", audio="none"),
        control_points=[1, 0, 0, 1, 0, 0],
        propagator=propagator,
        reanchor=None,
    )
    if call == "forward":
        assert bool((model(whole.frames, None) < 0).all())
    else:
        assert not model.segment(whole).masks.any()
    assert not any(propagator.calls.values())


def test_identities_are_embedded_once_per_frame():
    """The embedding is shared by all blocks and by the memory."""
    propagator = CountingPropagator()
    propagated(propagator, (5, keyframe(1)))
    assert propagator.calls["bank"] == [1] * 5
    assert propagator.calls["encoder"] == [1] * 5
    # The keyframe has its mask already.
    assert propagator.calls["leave"] == [1] * 4


@pytest.mark.parametrize("options", [{}, dict(guide="flow")])
def test_only_existing_objects_are_upsampled(options):
    with Upsampling() as upsampled:
        propagated(CountingPropagator(**options), (3, keyframe(1, 2)))
    # Background and two objects; with a guide, its weight, too.
    assert upsampled.channels == ([3, 1] if options else [3]) * 2
