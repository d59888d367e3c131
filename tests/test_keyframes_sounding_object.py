"""The keyframe model that ships for real video."""

import math

import pytest
import torch

import coprop_plugin as coprop
from coprop_plugin.audio.log_mel import SILENCE
from coprop_plugin.errors import CheckpointError, KeyframeError
from coprop_plugin.keyframes import SoundingObject, load_sounding_object, save_sounding_object
from coprop_plugin.types import Clip


@pytest.fixture(scope="module")
def model():
    return load_sounding_object()


@pytest.fixture(scope="module")
def disc():
    """A frame `[3, 96, 128]` with a red disc on a dark gradient, and the disc `[96, 128]`."""
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(128), indexing="ij")
    inside = (rows - 50) ** 2 + (columns - 70) ** 2 < 24**2
    frame = torch.stack([0.2 + rows / 400, 0.25 + columns / 600, torch.full((96, 128), 0.3)])
    frame[:, inside] = torch.tensor([0.9, 0.15, 0.1])[:, None]
    return frame, inside


def clip_of(frame, loudness=(0.1, 0.1)):
    waveform = torch.cat([value * torch.sin(torch.arange(16_000) * 0.2) for value in loudness])
    return Clip(frame.expand(len(loudness), -1, -1, -1), waveform, 16_000)


def test_the_salient_object_is_marked_while_there_is_sound(model, disc):
    frame, inside = disc
    logits = model.segment_keyframes(clip_of(frame), [1])
    assert logits.shape == (1, 1, 96, 128)
    assert logits.dtype == torch.float32
    found = logits[0, 0] > 0
    assert (found & inside).sum() / (found | inside).sum() > 0.85


def test_a_silent_frame_stays_empty(model, disc):
    logits = model.segment_keyframes(clip_of(disc[0], loudness=(0.1, 0.0)), [0, 1])
    assert (logits[0] > 0).any()
    assert (logits[1] < -5).all()


def test_in_coprop_silence_ends_the_mask(disc):
    clip = clip_of(disc[0], loudness=(0.1, 0.1, 0.0, 0.0))
    result = coprop.wrap("sounding_object").segment(clip)
    assert result.masks[0].any()
    assert not result.masks[2:].any()


def test_on_a_cpu_frames_are_segmented_one_by_one(disc):
    """Five at once take a gigabyte, and as long."""
    model, seen = load_sounding_object(), []
    model.input_size = 96
    model.saliency.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    clip = clip_of(disc[0], loudness=(0.1, 0.1, 0.1))
    assert len(model.segment_keyframes(clip, [0, 1, 2])) == 3
    assert seen == [1, 1, 1]


def test_a_batch_is_one_frame_after_the_other(disc):
    model = load_sounding_object()
    model.input_size = 96
    frames = torch.stack([disc[0], disc[0].flip(2), torch.zeros_like(disc[0])])
    sound = torch.ones(3, 1, 96, 64)
    with torch.no_grad():
        together = model(frames, sound)
        alone = torch.cat([model(frames[k : k + 1], sound[:1]) for k in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-3)
    assert together.isfinite().all()


def test_weights_are_saved_and_loaded_strictly(tmp_path):
    model = SoundingObject(input_size=64)
    path = save_sounding_object(model, tmp_path / "weights.safetensors")
    again = load_sounding_object(path)
    assert again.input_size == 64
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    with pytest.raises(CheckpointError, match="SoundingObject/1"):
        load_sounding_object(_other_file(tmp_path))


def _other_file(folder):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, folder / "other.safetensors", metadata={"format": "other"})
    return folder / "other.safetensors"


@pytest.mark.parametrize(("option", "value"), [("input_size", 16), ("frames_at_once", 0)])
def test_sizes_out_of_range_are_refused(option, value):
    with pytest.raises(KeyframeError, match="Expected input_size"):
        SoundingObject(**{option: value})


def test_silence_is_judged_by_magnitude():
    model = SoundingObject(input_size=32).eval()
    frames = torch.rand(3, 3, 32, 32)
    sound = torch.full((3, 1, 96, 64), SILENCE)
    sound[1] = math.log(0.01 + 1e-4)
    sound[2] = math.log(0.01 + 1e-2)
    with torch.no_grad():
        logits = model(frames, sound)
    assert [bool((frame > -6).any()) for frame in logits] == [False, False, True]
