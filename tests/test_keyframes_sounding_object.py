"""The keyframe model that ships for real video."""

import math

import pytest
import torch
from scipy.signal import lfilter

import coprop_plugin as coprop
from coprop_plugin.audio.log_mel import SILENCE, clip_log_mel
from coprop_plugin.audio.silero import speech_at
from coprop_plugin.errors import CheckpointError, KeyframeError
from coprop_plugin.keyframes import SoundingObject, load_sounding_object, save_sounding_object
from coprop_plugin.keyframes.person_head import PersonHead
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


def two_things():
    """Salience `[40, 60]` of a thing at the left and one at the right, and a map of the left."""
    salience = torch.full((40, 60), 0.2)
    salience[10:30, 5:20] = 0.9
    salience[10:30, 40:55] = 0.8
    left = torch.zeros(1, 10, 15)
    left[..., :7] = 1
    return salience, [left]


def head_for(weight, bias):
    head = PersonHead(1)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[weight, 0.0]]))
        head.linear.bias.fill_(bias)
    return head


def test_of_separate_things_those_that_look_like_people_stay():
    salience, maps = two_things()
    with torch.no_grad():
        left = head_for(1.0, -0.5).people_only(salience, maps)
        right = head_for(-1.0, 0.5).people_only(salience, maps)
    assert torch.equal(left[:, :30], salience[:, :30])
    assert left[:, 30:].max() < 0.5
    assert torch.equal(right[:, 30:], salience[:, 30:])
    assert right[:, :30].max() < 0.5


@pytest.mark.parametrize("bias", [-2.0, 2.0])
def test_where_nobody_or_everybody_looks_like_one_all_things_stay(bias):
    salience, maps = two_things()
    with torch.no_grad():
        assert torch.equal(head_for(0.0, bias).people_only(salience, maps), salience)
        nothing = torch.zeros(40, 60)
        assert torch.equal(head_for(0.0, bias).people_only(nothing, maps), nothing)


def voice(seconds):
    """A buzz through the resonances of changing vowels: `[samples]` at 16 kHz."""
    times = torch.arange(round(16_000 * seconds)) / 16_000
    pitch_hz = 120 + 20 * torch.sin(2 * math.pi * 1.3 * times)
    pulses = (pitch_hz.double().cumsum(0) / 16_000).floor().diff(prepend=torch.zeros(1)).numpy()
    vowels = [(730, 1090, 2440), (270, 2290, 3010), (530, 1840, 2480), (570, 840, 2410)]
    syllables = []
    for number, start in enumerate(range(0, len(pulses), 2560)):
        sound = pulses[start : start + 2560]
        for resonance_hz in vowels[number % 4]:
            radius = math.exp(-math.pi * 90 / 16_000)
            turn = 2 * radius * math.cos(2 * math.pi * resonance_hz / 16_000)
            sound = lfilter([1 - radius], [1, -turn, radius**2], sound)
        syllables.append(torch.from_numpy(sound / abs(sound).max()))
    return 0.3 * torch.cat(syllables).float()


def tone(seconds):
    return 0.3 * torch.sin(torch.arange(16_000 * seconds) * 0.2)


def test_speech_chooses_people_and_other_sounds_do_not(disc):
    pytest.importorskip("silero_vad", reason="an extra: pip install '.[speech]'")
    shipped = load_sounding_object()
    model = SoundingObject(input_size=96, people=True).eval()
    model.saliency.load_state_dict(shipped.saliency.state_dict())
    frame = torch.cat([disc[0], disc[0].flip(0, 2)], dim=2)  # The right one is blue.
    clip = Clip(frame.expand(4, -1, -1, -1), torch.cat([voice(2), tone(2)]), 16_000)
    assert (speech_at(clip, [0, 1, 2, 3]) > 0.5).tolist() == [True, True, False, False]

    with torch.no_grad():
        salience, maps = model.relative_salience(frame[None])
        halves = torch.zeros(2, 96, 96)
        halves[0, :, :48] = halves[1, :, 48:] = 1
        looks = model.person.pooled([m[0] for m in maps], halves * (salience[0] > 0.5))
        weight = looks[1] - looks[0]  # The blue one looks like a person, the red one does not.
        model.person.linear.weight.copy_(weight[None])
        model.person.linear.bias.copy_(-weight @ looks.mean(0))
    masks = model.segment_keyframes(clip, [1, 3])[:, 0] > 0
    red, blue = masks[..., :128].flatten(1).any(1), masks[..., 128:].flatten(1).any(1)
    assert red.tolist() == [False, True]
    assert blue.tolist() == [True, True]
    without_waveform = Clip(clip.frames, log_mel=clip_log_mel(clip))
    assert (model.segment_keyframes(without_waveform, [1])[..., :128] > 0).any()
