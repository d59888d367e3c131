"""What a wrapped model sees and hears: windows, pictures, sound."""

from dataclasses import replace

import pytest
import torch

from coprop_plugin.adapters.clip_context import group_frames
from coprop_plugin.adapters.pictures import model_input
from coprop_plugin.adapters.sound import VGGishFeatures, waveform_of
from coprop_plugin.audio.log_mel import clip_log_mel, log_mel_examples
from coprop_plugin.errors import CheckpointError
from coprop_plugin.layers import denormalise, normalise, resized
from coprop_plugin.types import Clip


def seconds(num_frames, fps=1.0):
    return torch.arange(num_frames, dtype=torch.float64) / fps


def test_a_clip_of_the_models_length_is_one_window():
    groups = group_frames(seconds(5) + 15 / 16, [3, 0], "window", 5)
    assert [group.frames for group in groups] == [(0, 1, 2, 3, 4)]
    assert groups[0].keyframes == {3: 3, 0: 0}


def test_a_shorter_clip_repeats_its_last_frame():
    (group,) = group_frames(seconds(2), [0, 1], "window", 5)
    assert group.frames == (0, 1, 1, 1, 1)


@pytest.mark.parametrize("fps", [0.5, 1.0, 4.0, 25.0, 29.97])
def test_windows_hold_their_keyframe_and_go_by_seconds(fps):
    times = seconds(int(17 * max(fps, 1)), fps)
    for index in range(0, len(times), 3):
        (group,) = group_frames(times, [index], "window", 5)
        assert group.frames[group.keyframes[index]] == index
        gaps = times[list(group.frames)].diff()
        assert (gaps - 1).abs().max() <= (1.0 if fps < 1 else 0.06 + 0.55 / fps)


def test_a_window_does_not_depend_on_the_other_keyframes():
    times = seconds(40, 4)
    together = group_frames(times, range(40), "window", 5)
    for index in range(40):
        (alone,) = group_frames(times, [index], "window", 5)
        assert any(g.frames == alone.frames and index in g.keyframes for g in together)
    # Four frames a second have four phases, ten seconds have two windows of each.
    assert len(together) == 8


def test_a_window_is_the_same_in_a_stretch_of_the_video():
    """What `stream` relies on: five seconds of context are enough."""
    times = seconds(120, 4)
    for index in (45, 52, 71):
        (whole,) = group_frames(times, [index], "window", 5)
        (part,) = group_frames(times[25:92], [index - 25], "window", 5)
        assert [t + 25 for t in part.frames] == list(whole.frames)


def test_normalised_frames_come_back():
    frames = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(denormalise(normalise(frames)), frames)


def test_frames_of_the_right_size_are_only_normalised():
    clip = Clip((torch.rand(2, 3, 16, 24) * 255).to(torch.uint8))
    out = model_input(clip, [1], (16, 24), antialias=True)
    assert torch.equal(out, normalise(clip.frames[1:].float() / 255))


def test_logits_average_where_they_shrink():
    logits = torch.zeros(1, 1, 64, 64)
    logits[..., ::4, ::4] = 16
    assert resized(logits, (4, 4)).mean() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("sampling", "times", "num_samples"),
    [
        ("pts", torch.arange(6) + 15 / 16, 96_000),
        ("avsbench", torch.arange(6) + 15 / 16, 96_000),
        # Of a clip that begins later, frame 0 is not of second 0.
        ("avsbench", torch.arange(3, 9) + 15 / 16, 160_000),
        ("avsbench", torch.arange(7, 13) + 15 / 16, 240_000),
        # Where the sound ends before the picture, the last example is heard again.
        ("avsbench", torch.arange(6) + 15 / 16, 70_000),
    ],
)
def test_samples_and_log_mels_of_a_frame_are_the_same_sound(sampling, times, num_samples):
    torch.manual_seed(0)
    waveform = torch.rand(num_samples) - 0.5
    clip = Clip(torch.rand(6, 3, 8, 8), waveform, 16_000, times, sampling=sampling)
    for heard_at in (None, torch.where(torch.arange(6) == 2, times + 0.5, times)):
        clip = replace(clip, heard_at=heard_at)
        samples = waveform_of(clip, [0, 2, 5])
        examples = torch.cat([log_mel_examples(row, 16_000) for row in samples])
        torch.testing.assert_close(examples, clip_log_mel(clip, [0, 2, 5]))


def test_sound_before_the_first_sample_is_silence():
    clip = Clip(torch.rand(1, 3, 8, 8), torch.ones(16_000), 16_000, torch.zeros(1))
    samples = waveform_of(clip, [0])
    assert int(samples.sum()) == 600
    assert (samples[0, :15_000] == 0).all()


def test_vggish_is_loaded_when_it_is_needed_and_missing_weights_say_so(tmp_path):
    ear = VGGishFeatures(tmp_path / "vggish.pth")
    with pytest.raises(CheckpointError, match="vggish.pth"):
        ear(Clip(torch.rand(1, 3, 8, 8), torch.zeros(16_000)), [0])
