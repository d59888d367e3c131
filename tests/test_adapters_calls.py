"""The drop-in call: the wrapped model's own arguments in, its own return value out."""

import wave

import pytest
import stand_ins
import torch
from einops import rearrange
from torch import nn

from coprop_plugin.adapters import CallableBackend
from coprop_plugin.adapters.avsegformer import AVSegFormerBackend
from coprop_plugin.adapters.catr import CATRBackend
from coprop_plugin.adapters.devices import cuda_calls_stay
from coprop_plugin.adapters.tpavi import TPAVIBackend
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers import normalise

SIZE = 32


def frames_of(clips, length=5):
    return normalise(torch.rand(clips * length, 3, SIZE, SIZE))


def avsegformer(clips):
    model = stand_ins.AVSegFormer()
    return AVSegFormerBackend(model), (torch.rand(clips * 5, 1, 96, 64), frames_of(clips))


def tpavi(clips):
    model = stand_ins.TPAVI(stages=(0, 2))
    return TPAVIBackend(model), (frames_of(clips), torch.rand(clips * 5, 128))


def tpavi_semantic(clips):
    flag = torch.ones(clips, 10)
    flag[-1, 5:] = 0
    audio = torch.rand(clips * 10, 128) * flag.view(-1, 1)
    model = stand_ins.TPAVISemantic(num_classes=7)
    return TPAVIBackend(model), (frames_of(clips, 10), audio, flag.view(-1))


def catr(clips):
    frames = frames_of(clips)
    tensors = rearrange(frames, "(t b) c h w -> t b c h w", b=clips)
    nested = stand_ins.NestedTensor(tensors, torch.zeros(5, clips, SIZE, SIZE, dtype=torch.bool))
    pad = torch.zeros(clips, 5, dtype=torch.bool)
    model = stand_ins.CATR()
    return CATRBackend(model), (nested, pad, frames, torch.rand(clips * 5, 128))


CALLS = [avsegformer, tpavi, tpavi_semantic, catr]


def bare(backend, args):
    with torch.no_grad(), cuda_calls_stay("cpu"):
        out = backend.model.eval()(*args)
    backend.model.calls.clear()
    return out


def leaves(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


def assert_same(one, other):
    assert type(one) is type(other)
    for a, b in zip(leaves(one), leaves(other), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def everywhere(call):
    return [range(len(clip)) for clip in call]


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("make", CALLS)
def test_with_every_frame_a_keyframe_it_is_the_bare_call(make, clips):
    torch.manual_seed(clips)
    backend, args = make(clips)
    expected = bare(backend, args)
    backend.model.train()
    call = backend.unpack(*args)
    assert len(call) == clips
    logits = backend.segment_call(call, everywhere(call))
    assert [list(rows.shape[2:]) for rows in logits] == [[SIZE, SIZE]] * clips
    assert_same(backend.repack(call, logits), expected)
    assert len(backend.model.calls) == 1
    assert backend.model.training


@pytest.mark.parametrize("make", CALLS)
def test_arguments_may_come_by_name(make):
    backend, args = make(2)
    expected = bare(backend, args)
    named = dict(zip(type(backend.model).forward.__code__.co_varnames[1:], args, strict=False))
    call = backend.unpack(*args[:1], **{k: v for k, v in list(named.items())[1:]})
    assert_same(backend.repack(call, backend.segment_call(call, everywhere(call))), expected)


@pytest.mark.parametrize("make", CALLS)
def test_clips_of_a_call_are_what_the_model_was_given(make):
    backend, args = make(2)
    call = backend.unpack(*args)
    for clip in call:
        assert clip.waveform is None
        assert clip.sampling == "avsbench"
        assert clip.frames.min() >= 0
        assert clip.frames.max() <= 1
        assert (clip.log_mel is None) != (clip.audio_embedding is None)
    frames = args[1] if make is avsegformer else args[2] if make is catr else args[0]
    second = frames[1::2] if make is catr else frames[len(frames) // 2 :]
    torch.testing.assert_close(normalise(call[1].frames), second[: len(call[1])])


@pytest.mark.parametrize("make", CALLS)
def test_between_keyframes_the_carried_logits_come_out(make):
    backend, args = make(2)
    expected = leaves(bare(backend, args))
    call = backend.unpack(*args)
    keyframes = backend.segment_call(call, [[0, 3], [0, 3]])
    assert [len(rows) for rows in keyframes] == [2, 2]
    carried = [torch.full((len(c), backend.num_classes, SIZE, SIZE), -7.0) for c in call]
    answer = backend.repack(call, carried)
    if make is catr:
        best = answer["pred_is_referred"].softmax(-1)[..., 0].argmax(-1)
        masks = torch.stack(
            [answer["pred_masks"][t, b, best[t, b]] for b in range(2) for t in range(5)]
        )
        own = torch.stack([expected[0][t, b, best[t, b]] for b in range(2) for t in range(5)])
    else:
        masks, own = answer[0], expected[0]
    length = len(masks) // 2
    keys = [0, 3, length, length + 3]
    torch.testing.assert_close(masks[keys], own[keys])
    others = [1, 2, 4, length + 1, length + 2, length + 4]
    assert (masks[others] == -7).all()
    assert [list(leaf.shape) for leaf in leaves(answer) if leaf is not None] == [
        list(leaf.shape) for leaf in expected if leaf is not None
    ]


def test_side_outputs_between_keyframes_are_those_of_the_segments_keyframe():
    backend, args = avsegformer(1)
    call = backend.unpack(*args)
    logits = backend.segment_call(call, [[0, 3]])
    _, feature = backend.repack(call, [logits[0][[0, 0, 0, 1, 1]]])
    for t, keyframe in enumerate([0, 0, 0, 3, 3]):
        assert torch.equal(feature[t], feature[keyframe])
    assert not torch.equal(feature[0], feature[3])


@pytest.mark.parametrize("make", [tpavi, tpavi_semantic, catr])
def test_frame_context_leaves_a_keyframe_alone_in_a_call_too(make):
    torch.manual_seed(0)
    backend, args = make(2)
    alone = type(backend)(backend.model, context="frame")
    call = alone.unpack(*args)
    logits = alone.segment_call(call, everywhere(call))
    answer = alone.repack(call, logits)
    bare_leaves = leaves(bare(backend, args))
    assert [list(a.shape) for a in leaves(answer) if a is not None] == [
        list(b.shape) for b in bare_leaves if b is not None
    ]
    assert not torch.allclose(leaves(answer)[0], bare_leaves[0])
    # Its own frames and sound decide, nobody else's.
    clip = call[1]
    native = alone.segment_keyframes(clip, [2]) if alone.input_size == clip.size else None
    assert native is None or torch.allclose(native[0], logits[1][2], atol=1e-5)


def test_a_call_in_frame_context_equals_keyframes_of_its_clips():
    backend, args = catr(2)
    alone = CATRBackend(backend.model, context="frame", input_size=SIZE)
    call = alone.unpack(*args)
    logits = alone.segment_call(call, [[1, 2], [0]])
    for clip, indices, rows in zip(call, [[1, 2], [0]], logits, strict=True):
        torch.testing.assert_close(alone.segment_keyframes(clip, indices), rows)


def test_padded_avss_frames_are_no_part_of_the_clip_and_come_back_zero():
    backend, args = tpavi_semantic(2)
    call = backend.unpack(*args)
    assert [len(clip) for clip in call] == [10, 5]
    backend.segment_call(call, [[0], [0]])
    logits, maps, _ = backend.repack(call, [torch.ones(len(clip), 7, SIZE, SIZE) for clip in call])
    assert (logits[15:] == 0).all()
    assert (logits[11:15] == 1).all()
    assert maps[0].shape[0] == 20


def write_wav(path, value):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes([value, 0]) * 160_000)


def test_wav_paths_become_log_mels_and_waveforms(tmp_path):
    model = stand_ins.AVSegFormer(num_classes=7, T=10, preprocess=True)
    backend = AVSegFormerBackend(model)
    paths = [str(tmp_path / f"{value}.wav") for value in (3, 40)]
    for path, value in zip(paths, (3, 40), strict=True):
        write_wav(path, value)
    flag = torch.ones(20)
    flag[15:] = 0
    args = (paths, frames_of(2, 10), flag)
    expected = bare(backend, args)
    call = backend.unpack(*args)
    assert [len(clip) for clip in call] == [10, 5]
    assert len(call[0].waveform) == 160_000
    assert_same(backend.repack(call, backend.segment_call(call, everywhere(call))), expected)
    backend.segment_call(call, [[0], [0]])
    logits, _ = backend.repack(call, [torch.ones(len(c), 7, SIZE, SIZE) for c in call])
    torch.testing.assert_close(logits[[0, 10]], expected[0][[0, 10]])
    assert (logits[15:] == 0).all()


def test_a_call_that_the_model_would_refuse_is_refused():
    backend, args = avsegformer(1)
    with pytest.raises(AdapterError, match=r"forward\(audio, frames, vid_temporal"):
        backend.unpack(*args, 1, 2)


def test_frames_that_make_no_whole_clips_are_refused():
    backend, (frames, audio) = tpavi(1)
    with pytest.raises(AdapterError, match="4 frames.*frames_per_clip"):
        backend.unpack(frames[:4], audio[:4])


def test_the_number_of_frames_a_clip_can_be_said():
    backend, (audio, frames) = avsegformer(1)
    five = AVSegFormerBackend(backend.model, frames_per_clip=1)
    assert [len(clip) for clip in five.unpack(audio, frames)] == [1] * 5


def test_frames_in_a_batch_of_clips_are_refused():
    backend, (audio, frames) = avsegformer(1)
    with pytest.raises(AdapterError, match=r"frames \[N, 3, H, W\].*got \[1, 5, 3, 32, 32\]"):
        backend.unpack(audio, frames[None])


def test_catr_wants_to_know_how_many_clips_there_are():
    backend, (_, pad, frames, audio) = catr(1)
    with pytest.raises(AdapterError, match="T, B, 3, H, W"):
        backend.unpack(frames, pad, frames, audio)


def test_every_clip_needs_a_keyframe():
    backend, args = tpavi(2)
    with pytest.raises(
        AdapterError, match=r"at least one keyframe for each of 2 clips.*\[\[0\], \[\]\]"
    ):
        backend.segment_call(backend.unpack(*args), [[0], []])


@pytest.mark.parametrize("squeeze", [True, False])
def test_a_function_has_a_call_of_its_own_too(squeeze):
    class Loud(nn.Module):
        def forward(self, frames, audio):
            loudness = audio.abs().mean(1)
            logits = frames.mean(1)[:, ::2, ::2] + rearrange(loudness, "k -> k 1 1")
            return logits if squeeze else logits[:, None]

    function = Loud()
    backend = CallableBackend(function)
    frames, audio = torch.rand(4, 3, SIZE, SIZE), torch.rand(4, 15_600)
    call = backend.unpack(frames, audio)
    assert call[0].log_mel.shape == (4, 1, 96, 64)
    logits = backend.segment_call(call, [range(4)])
    assert torch.equal(backend.repack(call, logits), function(frames, audio))
    backend.segment_call(call, [[0, 2]])
    answer = backend.repack(call, [torch.full((4, 1, SIZE, SIZE), 3.0)])
    assert answer.shape == function(frames, audio).shape
    assert torch.equal(answer[[0, 2]], function(frames, audio)[[0, 2]])
    assert (answer[[1, 3]] == 3).all()
