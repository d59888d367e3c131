"""The Keyframe Processor: shapes, what it listens to, and its life as a backend."""

import pytest
import torch

import coprop_plugin as coprop
from coprop_plugin.audio.log_mel import SILENCE, clip_log_mel
from coprop_plugin.errors import ClipError, CopropError, UnknownNameError
from coprop_plugin.keyframes import KeyframeError, KeyframeProcessor
from coprop_plugin.registry import MODELS, list_backends
from coprop_plugin.types import Clip, KeyframeBackend

TOY = dict(
    backbone=dict(type="small", widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)),
    audio_encoder=dict(type="SmallLogMelEncoder", width=4),
    width=16,
    mask_width=8,
    num_queries=4,
    encoder_layers=1,
    decoder_layers=2,
    heads=2,
)


def toy(num_classes=1, **options):
    torch.manual_seed(0)
    return KeyframeProcessor(num_classes, **{**TOY, **options}).eval()


@pytest.fixture(scope="module")
def processor():
    return toy()


@pytest.fixture
def frames():
    torch.manual_seed(1)
    return torch.rand(2, 3, 64, 48)


@pytest.fixture
def log_mel():
    torch.manual_seed(2)
    return torch.randn(2, 1, 96, 64)


@pytest.mark.parametrize("size", [(64, 48), (37, 91), (33, 32), (17, 40), (8, 8), (1, 1)])
@pytest.mark.parametrize("num_classes", [1, 5])
def test_frames_of_any_size(num_classes, size):
    logits = toy(num_classes)(torch.rand(2, 3, *size), torch.randn(2, 1, 96, 64))
    assert logits.shape == (2, num_classes, *size)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_the_frames_of_a_batch_do_not_meet_even_in_training(frames, log_mel):
    processor = toy().train()
    together = processor(frames, log_mel)
    alone = torch.cat([processor(frames[n, None], log_mel[n, None]) for n in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_other_sound_gives_another_mask(processor, frames, log_mel):
    assert not torch.allclose(processor(frames, log_mel), processor(frames, log_mel.flip(0)))


def test_the_place_of_a_sound_within_its_second_matters(processor, frames):
    early, late = torch.full((2, 2, 1, 96, 64), SILENCE)
    early[:, :, 8:24] = late[:, :, 72:88] = 1.0
    assert not torch.allclose(processor(frames, early), processor(frames, late))


def test_gradients_reach_every_weight(frames, log_mel):
    processor = toy().train()
    prediction = processor.predict(frames, log_mel)
    loss = prediction.logits.square().mean() + prediction.dense_logits.square().mean()
    loss = loss + sum(logits.square().mean() for logits in prediction.layer_logits)
    (loss + prediction.sounding.square().mean()).backward()
    deaf = [
        name
        for name, weight in processor.named_parameters()
        # A softmax does not care what is added to all of its scores.
        if (weight.grad is None or not weight.grad.any()) and not name.endswith("key.bias")
    ]
    assert deaf == []


@pytest.mark.parametrize("num_classes", [1, 5])
def test_no_pixel_is_more_probable_than_that_its_class_sounds(num_classes, frames, log_mel):
    prediction = toy(num_classes).predict(3 * frames, 3 * log_mel)
    assert prediction.sounding.shape == (2, max(1, num_classes - 1))
    peaks = prediction.layer_logits[-1][:, -prediction.sounding.shape[1] :].amax((2, 3))
    assert (peaks <= prediction.sounding + 1e-4).all()


def test_queries_without_audio_leave_the_mask_empty(frames, log_mel):
    processor = toy()
    with torch.no_grad():
        processor.queries.score.bias.fill_(-20)
        processor.queries.score.weight.zero_()
    assert (processor(frames, log_mel) < -10).all()


def test_in_half_precision_masks_come_out_as_float32(frames, log_mel):
    processor = toy(5).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = processor.predict(frames, log_mel)
    found = (prediction.logits, prediction.dense_logits, prediction.sounding)
    assert {x.dtype for x in found} == {torch.float32}
    assert torch.allclose(prediction.logits, processor(frames, log_mel), atol=0.1)


def test_0_is_the_background_and_no_sound_makes_it_win(frames, log_mel):
    processor = toy(5)
    with torch.no_grad():
        processor.queries.score.bias.fill_(-20)
        processor.queries.score.weight.zero_()
    assert (processor(frames, log_mel).argmax(1) == 0).all()


@pytest.mark.parametrize("value", [SILENCE, 0.0])
def test_silence_is_no_accident(value, frames):
    processor = toy().train()
    prediction = processor.predict(0 * frames, torch.full((2, 1, 96, 64), value))
    prediction.logits.sum().backward()
    assert torch.isfinite(prediction.logits).all()
    assert all(torch.isfinite(p.grad).all() for p in processor.parameters() if p.grad is not None)


def test_what_training_wants_is_there_in_training_only(frames, log_mel):
    processor = toy(5)
    prediction = processor.predict(frames, log_mel)
    assert prediction.dense_logits is None
    assert [tuple(x.shape) for x in prediction.layer_logits] == [(2, 5, 16, 12)] * 2
    assert processor.train().predict(frames, log_mel).dense_logits.shape == (2, 5, 16, 12)


def test_forward_refuses_frames_without_their_sound(processor, frames, log_mel):
    with pytest.raises(KeyframeError, match=r"log_mel \[1, 1, 96, 64\].*clip_log_mel") as caught:
        processor(frames, log_mel[:1])
    assert isinstance(caught.value, CopropError)
    with pytest.raises(KeyframeError, match=r"frames of shape \[2, 64, 48\]"):
        processor(frames[:, 0], log_mel)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(num_classes=0), "1 or more.*num_classes.*got 0"),
        (dict(num_queries=0), "num_queries.*got 1, 0, 2"),
        (dict(frames_at_once=0), "frames_at_once, got 1, 4, 2 and 0"),
        (dict(width=20), "multiples of 8.*width=20"),
        (
            dict(class_names=["dog"]),
            "Expected 2 class_names for num_classes=1, the background's first",
        ),
        (dict(heads=3), "heads=3.*Use e.g. width=128"),
        (dict(input_size=(224,)), r"height and width.*got \(224,\)"),
        (dict(max_size=0), "None for no limit, got 0"),
        (dict(backbone=dict(type="small", widths=(8, 8, 12, 8))), "multiples of 8.*12, 8"),
        (dict(backbone=dict(type="small", depths=(1, 1, 1))), "four depths"),
    ],
)
def test_numbers_out_of_range_are_refused(options, words):
    with pytest.raises(KeyframeError, match=words):
        toy(**options)


def test_an_unknown_backbone_names_those_there_are():
    with pytest.raises(
        UnknownNameError,
        match="'vgg' is not a backbone; expected one of small, resnet18, .*pvt_v2_b5",
    ):
        toy(backbone="vgg")
    with pytest.raises(UnknownNameError, match="small_log_mel"):
        toy(audio_encoder="whisper")


def test_it_is_a_backend_and_needs_no_adapter(processor):
    assert isinstance(processor, KeyframeBackend)
    assert not hasattr(processor, "accepts")
    assert "KeyframeProcessor" in list_backends()


@pytest.mark.parametrize("sampling", ["pts", "avsbench"])
@pytest.mark.parametrize("num_classes", [1, 11])
def test_keyframes_are_what_forward_says_of_them(num_classes, sampling, scene):
    clip = scene.clip(fps=1, sampling=sampling)
    processor = toy(num_classes, frames_at_once=2)
    indices = [4, 0, 4, 2, 1]
    logits = processor.segment_keyframes(clip, indices)
    assert logits.shape == (5, num_classes, *clip.size)
    expected = processor(clip.rgb(indices), clip_log_mel(clip)[indices])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert not logits.requires_grad


def test_a_keyframe_depends_on_its_own_picture_only(processor, clip):
    blank = clip.frames.clone()
    blank[:3] = blank[4:] = 0
    other = Clip(blank, clip.waveform, clip.sample_rate, clip.times)
    one, two = (processor.segment_keyframes(c, [3]) for c in (clip, other))
    torch.testing.assert_close(one, two)


def test_no_keyframes_no_masks(processor, clip):
    assert processor.segment_keyframes(clip, []).shape == (0, 1, *clip.size)


def test_asking_leaves_the_training_mode_as_it_was(clip):
    processor = toy().train()
    processor.backbone.eval()
    before = [module.training for module in processor.modules()]
    processor.segment_keyframes(clip, [0])
    assert [module.training for module in processor.modules()] == before


@pytest.mark.parametrize("index", [-1, 24])
def test_keyframes_outside_the_clip_are_refused(index, processor, clip):
    with pytest.raises(ClipError, match=f"{index}.*clip of 24 frames.*frame rate"):
        processor.segment_keyframes(clip, [index])


def test_a_clip_without_sound_is_refused(processor):
    with pytest.raises(ClipError, match="a clip with a waveform"):
        processor.segment_keyframes(Clip(torch.rand(2, 3, 16, 16)), [0])


@pytest.mark.parametrize("options", [dict(max_size=40), dict(input_size=[32, 56])])
def test_a_smaller_picture_goes_in_and_masks_come_back_at_the_clips_size(options, clip):
    processor, seen = toy(**options), []
    processor.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-2:]))
    assert processor.segment_keyframes(clip, [0]).shape[-2:] == clip.size == (48, 64)
    # 30 by 40 is below the least that the backbone gets.
    assert seen == [(32, 40) if "max_size" in options else (32, 56)]


def test_wrapped_it_is_a_model_with_a_sense_of_time(processor, clip):
    model = coprop.wrap(processor, control_points=dict(type="every_n", n=6), propagator="hold")
    result = model.segment(clip)
    assert result.masks.shape == (24, *clip.size)
    assert result.control_points.indices == [0, 6, 12, 18]
    assert coprop.unwrap(model) is processor


def test_on_every_frame_it_is_a_bare_model(processor, scene):
    # With this sampling a frame stands at the end of its second, and hears the same everywhere.
    clip = scene.clip(fps=1, sampling="avsbench")
    model = coprop.wrap(processor, control_points=dict(type="every_n", n=1), propagator="hold")
    expected = processor.segment_keyframes(clip, range(6)).sigmoid()
    probs, sounding = model.segment(clip).probs, [0, 1, 2, 3, 5]
    torch.testing.assert_close(probs[sounding], expected[sounding], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["coprop_plugin.KeyframeProcessor", "keyframe_processor"])
def test_mmengine_builds_it_by_name(kind, clip):
    processor = MODELS.build(dict(type=kind, num_classes=3, **TOY))
    assert isinstance(processor, KeyframeProcessor)
    model = MODELS.build(
        dict(
            type="coprop_plugin.CoProp",
            backend=dict(type=kind, **TOY),
            control_points="every_n",
            propagator="hold",
        )
    )
    assert model.segment(clip).masks.shape == (24, *clip.size)
