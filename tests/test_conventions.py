"""Each convention of `coprop_plugin.types` has a test of its name."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from coprop_plugin import Clip, ControlPoints
from coprop_plugin.errors import ClipError, ControlPointError, ControlPointParseError
from coprop_plugin.types import (
    ControlPointProvider,
    FrameResult,
    KeyframeBackend,
    Propagator,
    SegmentationResult,
)


def clip_of(num_frames=5, **kwargs):
    return Clip(torch.rand(num_frames, 3, 8, 8), torch.zeros(16_000 * num_frames), **kwargs)


def test_frames_are_rgb():
    frames = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    frames[:, 0] = 255
    assert Clip(frames).rgb()[0, :, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert Clip(frames.permute(0, 2, 3, 1)).rgb()[0, :, 0, 0].tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(ClipError, match="values from 0 to 255.*Divide 0..255 by 255"):
        Clip(frames.float())
    with pytest.raises(ClipError, match="torch.int64"):
        Clip(frames.long())


def test_numpy_frames_and_sound_are_taken():
    clip = Clip(np.zeros((2, 3, 4, 4), np.uint8), np.zeros(32_000, np.float32), 16_000)
    assert clip.num_frames == 2


def test_waveform_is_mono():
    left_and_right = torch.tensor([[0.25], [0.75]]).expand(2, 16_000)
    assert Clip(torch.rand(2, 3, 4, 4), left_and_right).waveform.unique().tolist() == [0.5]
    with pytest.raises(ClipError, match=r"waveform.mean\(0\)"):
        Clip(torch.rand(2, 3, 4, 4), torch.zeros(200, 200))
    with pytest.raises(ClipError, match="int16 by 32768"):
        Clip(torch.rand(2, 3, 4, 4), torch.zeros(16_000, dtype=torch.int64))
    with pytest.raises(ClipError, match="NaN"):
        Clip(torch.rand(2, 3, 4, 4), torch.full((16_000,), float("nan")))


class Scans(TorchFunctionMode):
    """Counts what looks at all frames or all samples."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("min", "max", "isfinite"):
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


def test_frames_and_waveform_are_checked_once():
    with Scans() as scans:
        clip = clip_of(4)
    assert scans.seen == ["min", "max", "max"]
    with Scans() as scans:
        part = replace(replace(clip, name="a")[1:3], heard_at=torch.zeros(2))
        named = replace(part, native="call")
    assert scans.seen == []
    assert (named.name, named.num_frames, named.native) == ("a", 2, "call")
    with Scans() as scans:
        replace(part, frames=torch.rand(2, 3, 8, 8))
    assert scans.seen == ["min", "max"]
    with pytest.raises(ClipError, match="values from 2 to 2"):
        replace(part, frames=torch.full((2, 3, 8, 8), 2.0))
    with pytest.raises(ClipError, match="NaN"):
        replace(part, waveform=torch.full((16_000,), float("nan")))
    with pytest.raises(ClipError, match="samples per second"):
        replace(part, sample_rate=0)


def test_time_is_a_frame_index():
    with pytest.raises(ControlPointError, match="multiply them by the frame rate"):
        ControlPoints.from_indices([0, 2.5], num_frames=5)
    assert ControlPoints.from_indices([0, 2], num_frames=5).indices == [0, 2]


def test_times_are_time_stamps():
    clip = clip_of(3, times=[0.0, 0.4, 2.0])
    assert clip.times.tolist() == [0.0, 0.4, 2.0]
    assert clip.spans.tolist() == [[0.0, 0.4], [0.4, 2.0], [2.0, 2.4]]
    with pytest.raises(ClipError, match="strictly rising"):
        clip_of(3, times=[0.0, 2.0, 2.0])


def test_with_avsbench_sampling_a_frame_stands_for_its_second():
    clip = clip_of(3, sampling="avsbench")
    assert clip.times.tolist() == [0.9375, 1.9375, 2.9375]
    assert clip.spans.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert clip[1:].spans.tolist() == [[1, 2], [2, 3]]


def test_a_flag_of_1_is_a_change():
    points = ControlPoints([1, 0, 1])
    assert points.indices == [0, 2]
    with pytest.raises(ControlPointError, match="Expected one flag, 0 or 1, for each"):
        ControlPoints([1, 2, 0])


def test_flag_0_is_always_1():
    with pytest.raises(ControlPointError, match="Set the first one to 1"):
        ControlPoints([0, 1, 0])
    with pytest.raises(ControlPointError, match="start at 0"):
        ControlPoints.from_indices([1], num_frames=3)


@pytest.mark.parametrize("indices", [[0], [0, 3], [0, 1, 2, 3, 4]])
def test_segments_are_half_open(indices):
    segments = ControlPoints.from_indices(indices, num_frames=5).segments
    assert [t for segment in segments for t in segment] == [0, 1, 2, 3, 4]
    assert [segment.start for segment in segments] == indices


def test_0_is_the_silent_background():
    frame = FrameResult(
        0, 0.0, torch.zeros(2, 2, dtype=torch.uint8), (), torch.zeros(0, 2, 2), 4, 1
    )
    assert frame.probs.shape == (4, 2, 2)
    assert frame.sounding_prob.tolist() == [[0, 0], [0, 0]]


def test_logits_before_probabilities_after():
    shared = dict(time_s=0.0, mask=torch.tensor([[0, 3]], dtype=torch.uint8), is_keyframe=True)
    probs = torch.tensor([[[0.9, 0.2]], [[0.1, 0.8]]])
    frame = FrameResult(0, class_ids=(0, 3), class_probs=probs, num_classes=5, **shared)
    result = SegmentationResult(clip_of(1), ControlPoints([1]), [frame])
    assert result.probs.shape == (1, 5, 1, 2)
    assert result.probs.min() >= 0
    assert result.probs.max() <= 1
    assert result.masks.dtype == torch.int64
    assert result.times.dtype == np.float64
    torch.testing.assert_close(frame.sounding_prob, torch.tensor([[0.1, 0.8]]))


def test_control_points_survive_json():
    points = ControlPoints([1, 0, 1], "novelty", {"scores": [0.5]}, silent=[0, 0, 1])
    content = points.to_dict(torch.tensor([0.0, 0.5, 1.0]))
    again = ControlPoints.from_dict(content)
    assert content["seconds"] == [0.0, 1.0]
    assert again == points
    assert again.log == points.log
    assert again.is_silent(2)
    assert not again.is_silent(0)


@pytest.mark.parametrize("content", [{}, {"flags": "abc"}, {"indices": [0]}, [], {"flags": [[1]]}])
def test_json_without_control_points_is_refused(content):
    with pytest.raises((ControlPointError, ControlPointParseError), match="Expected"):
        ControlPoints.from_dict(content)


def test_protocols_are_structural():
    class Backend:
        num_classes = 1

        def segment_keyframes(self, clip, indices): ...

    class Provider:
        def propose(self, clip): ...

    class Carrier:
        def hear(self, clip): ...

        def start(self, frame, sound, masks): ...

        def step(self, memory, frame, sound): ...

    assert isinstance(Backend(), KeyframeBackend)
    assert isinstance(Provider(), ControlPointProvider)
    assert isinstance(Carrier(), Propagator)
    assert not isinstance(Provider(), Propagator)


def test_a_stretch_of_a_clip_keeps_sound_and_clock():
    clip = clip_of(5, log_mel=torch.arange(5.0)[:, None, None, None].expand(5, 1, 96, 64))
    part = clip[2:4]
    assert part.times.tolist() == clip.times[2:4].tolist()
    assert part.waveform is clip.waveform
    assert part.log_mel[:, 0, 0, 0].tolist() == [2.0, 3.0]
    with pytest.raises(ClipError, match="at least one frame"):
        clip[3:3]
