"""Released AVS models behind their adapters, shown on stand-ins with the exact calls."""

import copy

import pytest
import stand_ins
import torch
from einops import rearrange, repeat
from torch import nn
from torch.nn.functional import interpolate

from coprop_plugin.adapters.avsegformer import AVSegFormerBackend
from coprop_plugin.adapters.catr import CATRBackend, VideoSamples
from coprop_plugin.adapters.tpavi import TPAVIBackend
from coprop_plugin.errors import AdapterError, ClipError
from coprop_plugin.layers import normalise
from coprop_plugin.types import Clip, KeyframeBackend

SIZE = 32
MAKERS = {
    "avsegformer": lambda: stand_ins.AVSegFormer(),
    "avsegformer avss": lambda: stand_ins.AVSegFormer(num_classes=7, T=10),
    "tpavi": lambda: stand_ins.TPAVI(),
    "tpavi avss": lambda: stand_ins.TPAVISemantic(num_classes=7),
    "catr": lambda: stand_ins.CATR(),
}


def make(name, **options):
    torch.manual_seed(0)
    kind = {"a": AVSegFormerBackend, "t": TPAVIBackend, "c": CATRBackend}[name[0]]
    if kind is not AVSegFormerBackend:
        options.setdefault("vggish", stand_ins.StandInVGGish())
    return kind(MAKERS[name](), input_size=options.pop("input_size", SIZE), **options)


def clip_of(num_frames=5, size=(SIZE, SIZE), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Clip(
        torch.rand(num_frames, 3, *size, generator=generator),
        torch.rand(num_frames * 16_000, generator=generator) * 2 - 1,
        16_000,
        torch.arange(num_frames) + 15 / 16,
    )


@pytest.mark.parametrize("context", ["frame", "window"])
@pytest.mark.parametrize("name", MAKERS)
def test_keyframes_come_out_in_order_at_the_clips_size(name, context):
    backend = make(name, context=context)
    clip = clip_of(7, (20, 24))
    logits = backend.segment_keyframes(clip, [4, 0, 6])
    assert isinstance(backend, KeyframeBackend)
    assert logits.shape == (3, backend.num_classes, 20, 24)
    assert logits.dtype == torch.float32
    for index, row in zip([4, 0, 6], logits, strict=True):
        torch.testing.assert_close(backend.segment_keyframes(clip, [index])[0], row)
    assert backend.segment_keyframes(clip, []).shape == (0, backend.num_classes, 20, 24)


@pytest.mark.parametrize("name", MAKERS)
def test_other_sound_gives_other_masks(name):
    backend = make(name)
    clip = clip_of()
    silent = Clip(clip.frames, torch.zeros(80_000), 16_000, clip.times)
    heard = backend.segment_keyframes(clip, [2])
    assert not torch.allclose(backend.segment_keyframes(silent, [2]), heard)


@pytest.mark.parametrize("name", MAKERS)
def test_frame_context_sees_one_frame_only(name):
    backend = make(name, context="frame")
    clip, other = clip_of(seed=0), clip_of(seed=1)
    frames = other.frames.clone()
    frames[3] = clip.frames[3]
    # Frame 3's own sound, 2.99 s to 3.97 s, stays the same.
    waveform = other.waveform.clone()
    waveform[47_000:64_000] = clip.waveform[47_000:64_000]
    mixed = Clip(frames, waveform, 16_000, clip.times)
    both = [backend.segment_keyframes(c, [3]) for c in (clip, mixed)]
    torch.testing.assert_close(*both)


@pytest.mark.parametrize("name", ["tpavi", "tpavi avss", "catr"])
def test_window_context_sees_the_whole_window(name):
    backend = make(name, context="window")
    clip, other = clip_of(seed=0), clip_of(seed=1)
    waveform = clip.waveform.clone()
    waveform[:16_000] = other.waveform[:16_000]
    mixed = Clip(clip.frames, waveform, 16_000, clip.times)
    both = [backend.segment_keyframes(c, [3]) for c in (clip, mixed)]
    assert not torch.allclose(*both)


def test_window_context_is_the_models_own_call_on_five_frames():
    backend, clip = make("tpavi"), clip_of()
    model = backend.model.eval()
    audio = backend.audio_features(clip, range(5))
    with torch.no_grad(), pretend_cuda():
        direct = model(normalise(clip.frames), audio)[0]
    assert torch.equal(backend.segment_keyframes(clip, range(5)), direct)
    assert model.calls == [5, 5]


@pytest.mark.parametrize("name", ["tpavi", "tpavi avss"])
def test_groups_of_one_equal_tiling_and_cost_a_fifth(name):
    patched, tiled = (make(name, context="frame", patch=patch) for patch in (True, False))
    clip = clip_of()
    torch.testing.assert_close(
        patched.segment_keyframes(clip, [1, 3]), tiled.segment_keyframes(clip, [1, 3])
    )
    assert (patched.model.calls, tiled.model.calls) == ([2], [5, 5])
    assert "tpavi_va" not in vars(patched.model)


def test_a_shared_window_is_run_once():
    backend = make("tpavi")
    backend.segment_keyframes(clip_of(10), [0, 1, 4, 7])
    assert backend.model.calls == [5, 5]


def test_a_lonely_frame_goes_into_avsegformer_twice():
    backend = make("avsegformer")
    clip = clip_of()
    alone = backend.segment_keyframes(clip, [2])
    torch.testing.assert_close(backend.segment_keyframes(clip, [2, 3])[:1], alone)
    assert backend.model.calls == [2, 2]


def test_catr_reads_the_best_scoring_query():
    backend, clip = make("catr"), clip_of()
    audio = backend.audio_features(clip, range(5))
    tensors = rearrange(normalise(clip.frames), "t c h w -> t 1 c h w")
    nested = VideoSamples(tensors, torch.zeros(5, 1, SIZE, SIZE, dtype=torch.bool))
    pad = torch.zeros(1, 5, dtype=torch.bool)
    with torch.no_grad(), pretend_cuda():
        out = backend.model.eval()(nested, pad, normalise(clip.frames), audio)
    best = out["pred_is_referred"].softmax(-1)[..., 0].argmax(-1)
    masks = torch.stack([out["pred_masks"][t, 0, best[t, 0]] for t in range(5)])[:, None]
    expected = interpolate(masks, (SIZE, SIZE), mode="bilinear", align_corners=False)
    torch.testing.assert_close(backend.segment_keyframes(clip, range(5)), expected)


def test_catr_mixes_up_no_clips_of_a_batch():
    """Frames go in time first, sounds clip first: two windows at once equal each alone."""
    backend = make("catr")
    frames, audio = torch.rand(10, 3, SIZE, SIZE), torch.rand(10, 128)
    with torch.no_grad(), pretend_cuda():
        backend.model.eval()
        both = backend._run(frames, audio, 5, list(range(10)))
        alone = [
            backend._run(frames[i : i + 5], audio[i : i + 5], 5, list(range(5))) for i in (0, 5)
        ]
    torch.testing.assert_close(both, torch.cat(alone))


def test_known_embeddings_are_used_and_vggish_is_not_asked():
    backend = make("tpavi", vggish=nn.Module())
    clip = Clip(torch.rand(5, 3, SIZE, SIZE), audio_embedding=torch.rand(5, 128))
    assert backend.segment_keyframes(clip, [0]).shape == (1, 1, SIZE, SIZE)


def test_a_model_that_reads_wav_files_itself_takes_log_mels_for_keyframes():
    model = stand_ins.AVSegFormer(num_classes=7, T=10, preprocess=True)
    backend = AVSegFormerBackend(model, input_size=SIZE)
    assert backend.segment_keyframes(clip_of(), [0, 1]).shape == (2, 7, SIZE, SIZE)
    assert model.vggish.preprocess is True


@pytest.mark.parametrize("context", ["frame", "window"])
@pytest.mark.parametrize("name", MAKERS)
def test_a_wrapped_model_is_left_as_it_was(name, context):
    backend = make(name, context=context)
    backend.model.train()
    backend.model.drop = nn.Dropout().eval()
    before = copy.deepcopy(backend.model.state_dict())
    flags = [module.training for module in backend.model.modules()]
    own = {key for key in vars(backend.model) if key != "calls"}
    tensor_cuda = torch.Tensor.cuda
    first, second = (backend.segment_keyframes(clip_of(), [1, 2]) for _ in range(2))
    assert torch.equal(first, second)
    assert [module.training for module in backend.model.modules()] == flags
    assert all(torch.equal(value, before[key]) for key, value in backend.model.state_dict().items())
    assert {key for key in vars(backend.model) if key != "calls"} == own
    assert torch.Tensor.cuda is tensor_cuda
    assert "cuda" not in vars(torch.Tensor)


def test_native_sizes_are_those_of_released_weights():
    sizes = {
        name: {"a": AVSegFormerBackend, "t": TPAVIBackend, "c": CATRBackend}[name[0]](
            MAKERS[name]()
        ).input_size
        for name in MAKERS
    }
    assert sizes == {
        "avsegformer": (512, 512),
        "avsegformer avss": (224, 224),
        "tpavi": (224, 224),
        "tpavi avss": (224, 224),
        "catr": (448, 448),
    }


def test_large_inputs_are_enlarged_from_224_as_upstreams_are():
    backend = AVSegFormerBackend(stand_ins.AVSegFormer())
    seen = []
    backend.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    clip = clip_of(1, (300, 260))
    backend.segment_keyframes(clip, [0])
    squashed = interpolate(clip.frames, (224, 224), mode="bilinear")
    expected = normalise(interpolate(squashed, (512, 512), mode="bilinear"))
    torch.testing.assert_close(seen[0], repeat(expected, "1 c h w -> two c h w", two=2))


def test_a_model_in_data_parallel_is_looked_through():
    model = stand_ins.TPAVI()
    parallel = nn.DataParallel(model, device_ids=[])
    backend = TPAVIBackend(parallel, input_size=SIZE, vggish=stand_ins.StandInVGGish())
    assert backend.model is parallel
    assert backend.network is model
    assert backend.segment_keyframes(clip_of(), [0]).shape == (1, 1, SIZE, SIZE)


def test_keyframes_beyond_the_clip_are_refused():
    with pytest.raises(ClipError, match="clip of 5 frames.*If they are seconds"):
        make("tpavi").segment_keyframes(clip_of(), [5])


def test_a_context_that_does_not_exist_is_refused():
    with pytest.raises(AdapterError, match="'frame'.*'window'"):
        make("tpavi", context="clip")


def test_a_clip_without_sound_is_refused():
    with pytest.raises(ClipError, match="no audio at all"):
        make("avsegformer").segment_keyframes(Clip(torch.rand(5, 3, 8, 8)), [0])


def test_a_backend_can_be_copied():
    backend = copy.deepcopy(make("tpavi"))
    assert backend.segment_keyframes(clip_of(), [0]).shape == (1, 1, SIZE, SIZE)


def pretend_cuda():
    from coprop_plugin.adapters.devices import cuda_calls_stay

    return cuda_calls_stay("cpu")
