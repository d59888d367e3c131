"""Functions and mmsegmentation's segmentors behind their adapters."""

import functools
import warnings

import pytest
import stand_ins
import torch
from torch import nn

from coprop_plugin import wrap
from coprop_plugin.adapters import CallableBackend, MMSegBackend, find_backend
from coprop_plugin.errors import AdapterError, AdapterWarning
from coprop_plugin.types import Clip


def bright(frames, audio):
    return frames.mean(1) - 0.5


@pytest.fixture
def clip():
    return Clip(torch.rand(6, 3, 20, 24), torch.rand(96_000) - 0.5, 16_000)


def test_a_function_gets_frames_and_their_samples(clip):
    seen = []

    def function(frames, audio):
        seen.append((frames, audio))
        return frames[:, :1, ::2, ::2]

    logits = CallableBackend(function).segment_keyframes(clip, [1, 4])
    assert logits.shape == (2, 1, 20, 24)
    frames, audio = seen[0]
    assert torch.equal(frames, clip.frames[[1, 4]])
    assert audio.shape == (2, 15_600)
    # Frame 1 stands at 1.9375 s; its sound ends 0.0375 s later.
    assert torch.equal(audio[0], clip.waveform[31_600 - 15_600 : 31_600])


@pytest.mark.parametrize(("audio", "shape"), [("log_mel", (2, 1, 96, 64)), ("embedding", (2, 128))])
def test_a_function_gets_sound_in_the_form_it_asks_for(clip, audio, shape):
    seen = []
    backend = CallableBackend(
        lambda frames, sound: seen.append(sound.shape) or frames[:, 0],
        audio=audio,
        vggish=stand_ins.StandInVGGish(),
    )
    backend.segment_keyframes(clip, [0, 5])
    assert seen == [shape]


def test_a_function_may_see_the_whole_clip_or_no_sound(clip):
    whole = CallableBackend(lambda c, indices: c.rgb(indices)[:, :1], audio="clip")
    deaf = CallableBackend(lambda frames: frames[:, :1], audio="none")
    assert torch.equal(whole.segment_keyframes(clip, [3]), deaf.segment_keyframes(clip, [3]))


def test_a_function_is_called_with_a_few_frames_at_a_time(clip):
    sizes = []
    backend = CallableBackend(lambda f, a: sizes.append(len(f)) or f[:, 0], frames_at_once=4)
    assert len(backend.segment_keyframes(clip, range(6))) == 6
    assert sizes == [4, 2]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda f, a: (f, a), "tuple.*logits alone"),
        (lambda f, a: f, r"\[1, 3, 20, 24\].*num_classes"),
        (lambda f, a: f[:, 0] * float("nan"), "NaN"),
        (lambda f, a: f[:, 0] > 0, "before any sigmoid.*torch.bool"),
    ],
)
def test_what_is_no_logits_is_refused(clip, answer, message):
    with pytest.raises(AdapterError, match=message):
        CallableBackend(answer).segment_keyframes(clip, [0])


def test_a_module_runs_in_eval_mode_and_is_given_back(clip):
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Dropout(0.9)).train()
    module[0].eval()
    backend = CallableBackend(module.__class__(*module), num_classes=2, audio="none")
    backend.model[0].eval()
    logits = backend.segment_keyframes(clip, [0])
    torch.testing.assert_close(logits, module[0](clip.frames[:1]))
    assert [m.training for m in backend.model.modules()] == [True, False, True]


class Holder:
    def __init__(self, network):
        self.networks = [network]

    def __call__(self, frames, audio):
        return self.networks[0](frames)

    segment = __call__


@pytest.mark.parametrize(
    "around",
    [
        lambda network: lambda frames, audio: network(frames),
        lambda network: lambda frames, audio, network=network: network(frames),
        lambda network: functools.partial(lambda net, frames, audio: net(frames), network),
        lambda network: Holder(network),
        lambda network: Holder(network).segment,
    ],
    ids=["closure", "default", "partial", "object", "method"],
)
def test_modules_that_a_function_holds_run_in_eval_mode(clip, around):
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.9)).train()
    logits = CallableBackend(around(network)).segment_keyframes(clip, [0, 1])
    assert network.training
    assert network[1].num_batches_tracked == 0
    torch.testing.assert_close(logits, network.eval()(clip.frames[:2]))


@pytest.mark.parametrize("num_classes", [1, 3])
def test_probabilities_in_place_of_logits_are_warned_of(clip, num_classes):
    def logits(frames, audio):
        return frames[:, :num_classes] * 20 - 5

    def probabilities(frames, audio):
        raw = logits(frames, audio)
        return raw.sigmoid() if num_classes == 1 else raw.softmax(1)

    with pytest.warns(AdapterWarning, match="Expected logits from probabilities. .*, as after a s"):
        CallableBackend(probabilities, num_classes=num_classes).segment_keyframes(clip, [0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CallableBackend(logits, num_classes=num_classes).segment_keyframes(clip, [0])


@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_logits_are_warned_of(clip, stride):
    def upright(frames, audio):
        return frames[:, :1, ::stride, ::stride] * 20 - 5

    def square(frames, audio):
        return upright(frames, audio)[..., :8, :8]

    def transposed(frames, audio):
        return upright(frames, audio).transpose(-1, -2)

    with pytest.warns(AdapterWarning, match="from transposed. .*height and width seem to be swap"):
        CallableBackend(transposed).segment_keyframes(clip, [0])
    backend = CallableBackend(transposed)
    call = backend.unpack(clip.frames, torch.zeros(6, 15_600))
    with pytest.warns(AdapterWarning, match="from transposed. .*height and width seem to be swap"):
        backend.segment_call(call, [[0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for right in (upright, square):
            CallableBackend(right).segment_keyframes(clip, [0])


def test_a_function_of_other_arguments_is_refused(clip):
    with pytest.raises(AdapterError, match=r'\(frames, audio\), got <lambda>\(frames\).*"none"'):
        CallableBackend(lambda frames: frames[:, 0]).segment_keyframes(clip, [0])
    with pytest.raises(AdapterError, match="the class Holder. Pass an instance"):
        CallableBackend(Holder)


def test_a_call_may_hold_several_clips():
    """Their masks are those of each clip by itself: none is propagated into the next one."""
    torch.manual_seed(0)
    frames, audio = torch.rand(6, 3, 8, 8), torch.zeros(6, 15_600)
    options = dict(control_points="every_n", propagator="hold", reanchor=None)
    several = wrap(bright, backend=dict(type="callable", frames_per_clip=3), **options)
    one = wrap(bright, backend="callable", **options)
    answer = several(frames, audio)
    parts = [one(frames[:3], audio[:3]), one(frames[3:], audio[3:])]
    assert torch.equal(answer, torch.cat(parts))
    assert not torch.equal(answer, one(frames, audio))
    with pytest.raises(AdapterError, match="clips of 3 frames .* got 4"):
        several(frames[:4], audio[:4])
    with pytest.raises(AdapterError, match=r"\[2, 3, 3, 8, 8\].*frames_per_clip"):
        several(frames.view(2, 3, 3, 8, 8), audio.view(2, 3, -1))


def test_what_cannot_be_called_is_refused():
    with pytest.raises(AdapterError, match="Expected a function or a module.*got a int"):
        CallableBackend(3)
    with pytest.raises(AdapterError, match="'waveform'"):
        CallableBackend(bright, audio="mp3")


def test_a_call_with_another_number_of_sounds_is_refused():
    with pytest.raises(AdapterError, match="4 frames and audio of 3 rows"):
        CallableBackend(bright).unpack(torch.rand(4, 3, 8, 8), torch.rand(3, 15_600))
    with pytest.raises(AdapterError, match=r"\[4, 100\]"):
        CallableBackend(bright).unpack(torch.rand(4, 3, 8, 8), torch.rand(4, 100))


@pytest.fixture(scope="module")
def segmentor():
    torch.manual_seed(0)
    config = dict(
        type="mmseg.EncoderDecoder",
        data_preprocessor=dict(
            type="mmseg.SegDataPreProcessor",
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            test_cfg=dict(size_divisor=32),
        ),
        backbone=dict(
            type="mmseg.MixVisionTransformer",
            embed_dims=8,
            num_stages=4,
            num_layers=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
        ),
        decode_head=dict(
            type="mmseg.FCNHead",
            in_channels=16,
            in_index=3,
            channels=8,
            num_convs=1,
            concat_input=False,
            num_classes=4,
            norm_cfg=dict(type="BN"),
        ),
        test_cfg=dict(mode="whole"),
    )
    return MMSegBackend(config).model.train()


def test_a_segmentor_gives_its_own_logits(segmentor):
    clip = Clip(torch.rand(3, 3, 40, 56))
    backend = find_backend(segmentor)
    assert isinstance(backend, MMSegBackend)
    logits = backend.segment_keyframes(clip, [2, 0])
    assert logits.shape == (2, 4, 40, 56)
    # The second way: mmseg's own test step on BGR bytes, as its loader would give them.
    from mmseg.structures import SegDataSample

    frame = (clip.frames[2] * 255).flip(0)
    sample = SegDataSample(metainfo=dict(ori_shape=(40, 56), img_shape=(40, 56)))
    segmentor.eval()
    with torch.no_grad():
        own = segmentor.test_step({"inputs": [frame], "data_samples": [sample]})[0]
    segmentor.train()
    torch.testing.assert_close(logits[0], own.seg_logits.data)


def test_chosen_classes_add_up_to_one_mask(segmentor):
    clip = Clip(torch.rand(2, 3, 32, 32))
    probs = find_backend(segmentor).segment_keyframes(clip, [0, 1]).softmax(1)
    binary = MMSegBackend(segmentor, class_ids=[1, 3])
    assert binary.num_classes == 1
    logits = binary.segment_keyframes(clip, [0, 1])
    torch.testing.assert_close(logits.sigmoid()[:, 0], probs[:, [1, 3]].sum(1))


def test_mapped_classes_get_our_numbers(segmentor):
    clip = Clip(torch.rand(1, 3, 32, 32))
    probs = find_backend(segmentor).segment_keyframes(clip, [0]).softmax(1)
    mapped = MMSegBackend(segmentor, class_ids={3: 1, 0: 2})
    assert mapped.num_classes == 3
    got = mapped.segment_keyframes(clip, [0]).softmax(1)
    torch.testing.assert_close(got[:, 0], probs[:, 1] + probs[:, 2])
    torch.testing.assert_close(got[:, 1:], probs[:, [3, 0]])


def test_a_segmentor_says_what_its_classes_are_called(segmentor):
    assert MMSegBackend(segmentor).class_names is None
    segmentor.dataset_meta = {"classes": ("sky", "dog", "cat", "bird")}
    assert MMSegBackend(segmentor).class_names == ("sky", "dog", "cat", "bird")
    mapped = MMSegBackend(segmentor, class_ids={3: 1, 1: 2, 2: 2})
    assert mapped.class_names == ("background", "bird", "dog/cat")
    assert MMSegBackend(segmentor, class_ids=[1]).class_names is None


@pytest.mark.parametrize("names", ["dog", ["dog"], [1, 2], ["silent", "dog", "cat"]])
def test_there_is_a_name_for_each_class(names):
    with pytest.raises(AdapterError, match="Expected 2 class_names for num_classes=1"):
        CallableBackend(bright, class_names=names)


def test_classes_that_a_segmentor_has_not_are_refused(segmentor):
    with pytest.raises(AdapterError, match="classes 0 to 3"):
        MMSegBackend(segmentor, class_ids=[4])
    with pytest.raises(AdapterError, match="Linear is not an mmsegmentation segmentor"):
        MMSegBackend(nn.Linear(2, 2))


def test_a_segmentor_keeps_its_training_flags(segmentor):
    segmentor.backbone.eval()
    flags = [module.training for module in segmentor.modules()]
    MMSegBackend(segmentor).segment_keyframes(Clip(torch.rand(1, 3, 32, 32)), [0])
    assert [module.training for module in segmentor.modules()] == flags
