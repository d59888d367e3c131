"""Our own CATR: the released model's function, and what it does besides."""

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from compare import Golden
from einops import rearrange
from fill import checksum, empty_state, normalise
from stand_ins import NestedTensor

from coprop_plugin.adapters import find_backend, load_released, load_state, save_released
from coprop_plugin.adapters.catr import CATR, FAMILY, CATRBackend
from coprop_plugin.adapters.catr.clip_encoder import Fusion
from coprop_plugin.adapters.catr.frame_attention import EncoderLayer, sine_places
from coprop_plugin.errors import AdapterError, CheckpointError
from coprop_plugin.types import Clip

FOLDER = Path(__file__).parent / "golden"
TOY = dict(
    backbone=dict(type="resnet18", embedding_size=8, hidden_sizes=(8, 8, 16, 16)),
    width=64,
    hidden=32,
    clip_hidden=48,
    num_queries=6,
    mask_width=16,
)


def toy(**options):
    torch.manual_seed(0)
    model = CATR(**TOY | options).eval()
    # So far apart that one query is the best one by more than rounding.
    torch.nn.init.normal_(model.score.weight)
    return model


def call(frames, sounds, outside=None):
    """The released model's arguments for frames [B, T, 3, H, W] and sounds [B, T, 128]."""
    tensors = frames.transpose(0, 1)
    if outside is None:
        outside = torch.zeros(tensors[:, :, 0].shape, dtype=torch.bool)
    heard = torch.zeros(sounds.shape[:2], dtype=torch.bool)
    return NestedTensor(tensors, outside), heard, tensors.flatten(0, 1), sounds.flatten(0, 1)


@torch.no_grad()
def answer(model, frames, sounds):
    return model.answer(frames, sounds)[-1]


def clip_of(clips=1, frames=5, size=(64, 96), seed=1):
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(clips, frames, 3, *size, generator=generator)
    return pictures, torch.rand(clips, frames, 128, generator=generator) * 2


@lru_cache(maxsize=1)
def golden():
    return Golden(FOLDER / "catr_pvt_s4.npz")


@lru_cache(maxsize=1)
def released_model():
    weights = golden().state_dict()
    assert checksum(weights) == golden().meta["checksum"]
    return load_state(weights, "catr")


def meta_state():
    """Released names and shapes; tensors without numbers."""
    return {
        name: tensor.to("meta")
        for name, tensor in empty_state(FOLDER / golden().meta["names"]).items()
    }


CASES = [
    ("b1t5_64x96", torch.float32, ()),
    ("b1t5_64x96", torch.float64, pytest.mark.slow),
    ("b2t5_64x96", torch.float32, pytest.mark.slow),
    ("b2t5_64x96", torch.float64, pytest.mark.slow),
    ("b1t5_224x224", torch.float32, pytest.mark.slow),
]


@pytest.mark.parametrize(("case", "dtype"), [pytest.param(*c[:2], marks=c[2]) for c in CASES])
def test_released_weights_compute_what_upstream_computes(case, dtype):
    model, double = released_model().to(dtype), dtype == torch.float64
    clips = range(int(case[1]))
    frames = torch.stack(
        [normalise(golden().input(case, f"frames{clip}").to(dtype)) for clip in clips]
    )
    sounds = torch.stack([golden().input(case, f"audio{clip}").to(dtype) for clip in clips])
    with torch.no_grad():
        said = model(*call(frames, sounds))
    queries = said["pred_is_referred"].softmax(-1)[..., 0].argmax(-1)
    # At 224 pixels two queries are nearer to each other than rounding.
    if "224" not in case:
        assert golden().error(f"{case}/query", queries) == 0
    queries = torch.from_numpy(golden().arrays[f"{case}/query"]).long()
    masks = torch.take_along_dim(said["pred_masks"], queries[..., None, None, None], 2)[:, :, 0]
    masks = torch.nn.functional.interpolate(
        masks, frames.shape[-2:], mode="bilinear", align_corners=False
    )
    for name, tensor in (said | {"chosen_logits": masks}).items():
        if name != "aux_outputs":
            key = f"{case}/{name}"
            assert golden().error(key, tensor) < golden().tolerance(key, double=double), name


def test_what_nothing_depends_on_is_left_in_the_file():
    ours = {name: FAMILY.our_names(name) for name in meta_state()}
    dead = [name for name, names in ours.items() if not names]
    assert (len(ours), len(dead)) == (1351, 74)
    # The decoder of TPAVI, fusions that are never called, and the last look of the sounds.
    assert {name.split(".")[0] for name in dead if "temporal" not in name} == {
        *("conv1", "path1", "path2", "path3", "path4", "fusion_module")
    }
    used = "transformer.temporal_encoder.layers.{}.va_atten.multihead_attn.out_proj.weight"
    assert [bool(ours[used.format(layer)]) for layer in range(3)] == [True, True, False]


@pytest.mark.parametrize("fault", ["missing", "unknown", "misshapen"])
def test_weights_that_do_not_fit_are_refused_by_name(fault):
    state = meta_state()
    name = "spatial_decoder.adapter1.weight"
    if fault == "unknown":
        state[name.replace("1", "3")] = state[name]
    else:
        removed = state.pop(name)
    if fault == "misshapen":
        state[name] = removed.new_empty(128, 255, 1, 1)
    said = dict(
        missing=r"1 missing: .*mask_decoder\.beside\.0\.weight",
        unknown=r"1 unknown: spatial_decoder\.adapter3\.weight",
        misshapen=r"1 misshapen: spatial_decoder\.adapter1\.weight is \[128, 255, 1, 1\]",
    )
    with pytest.raises(CheckpointError, match=said[fault]):
        load_state(state, "catr")


def test_sizes_are_read_off_the_weights():
    state = meta_state()
    layer = "transformer.temporal_encoder.layers.0.linear1.weight"
    state[layer] = state[layer].new_empty(256, 256)
    shapes = {name: tuple(x.shape) for name, x in state.items()}
    assert FAMILY.recognise(shapes)["clip_hidden"] == 256
    assert FAMILY.recognise({"obj_queries.weight": (50, 256)}) is None


def test_weights_with_a_resnet_have_names():
    """Upstream names such a class, but publishes the one with PVT alone: its ResNet is TPAVI's."""
    tpavi = Golden(FOLDER / "tpavi_r50_s4.npz")
    resnet = {
        name: tensor.to("meta")
        for name, tensor in empty_state(FOLDER / tpavi.meta["names"]).items()
        if name.startswith("resnet.")
    }
    state = {n: x for n, x in meta_state().items() if not n.startswith("encoder_backbone.")}
    for level, channels in enumerate((512, 1024, 2048), 2):
        for name in [n for n in state if n.startswith(f"conv{level}.") and n.endswith("weight")]:
            state[name] = state[name].new_empty(256, channels, 3, 3)
    state |= resnet
    found = FAMILY.recognise({name: tuple(x.shape) for name, x in state.items()})
    assert found["backbone"] == "resnet50"
    assert load_state(state, "catr").config["backbone"] == "resnet50"
    del state["resnet.layer1.0.conv1.weight"]
    with pytest.raises(CheckpointError, match="1 missing"):
        load_state(state, "catr")


def test_a_single_frame_is_five_of_itself():
    model = toy()
    frames, sounds = clip_of(clips=3, frames=1)
    alone = answer(model, frames, sounds)
    tiled = answer(model, frames.expand(-1, 5, -1, -1, -1), sounds.expand(-1, 5, -1))
    for one, five in zip(alone, tiled, strict=True):
        assert five.std() > 0.1
        torch.testing.assert_close(one.expand_as(five), five, atol=1e-5, rtol=1e-5)


def test_clips_of_a_batch_do_not_mix_and_keep_their_order():
    model = toy()
    frames, sounds = clip_of(clips=2)
    with torch.no_grad():
        both = model(*call(frames, sounds))
        alone = [model(*call(frames[clip, None], sounds[clip, None])) for clip in range(2)]
    for name in ("pred_masks", "pred_is_referred"):
        torch.testing.assert_close(both[name], torch.cat([one[name] for one in alone], 1))
    assert both["pred_masks"].shape == (5, 2, 6, 4, 6)
    earlier = both["aux_outputs"]
    assert [layer["pred_is_referred"].shape for layer in earlier] == [(5, 2, 6, 2)] * 2
    assert not torch.allclose(earlier[0]["pred_masks"], both["pred_masks"])


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True])
def test_rows_that_are_wanted_are_those_of_the_whole_clips(padded):
    model, wanted = toy().double(), [7, 1]
    frames, sounds = torch.rand(2, 5, 3, 64, 96).double(), torch.rand(2, 5, 128).double()
    outside = None
    if padded:
        outside = torch.zeros(2, 5, 64, 96, dtype=torch.bool)
        outside[1, :, :, 64:] = True
    answers = model.answer(frames, sounds, outside)
    some = model.answer(frames, sounds, outside, wanted)
    for (masks, scores), (few_masks, few_scores) in zip(answers, some, strict=True):
        torch.testing.assert_close(few_masks[:, 0], masks.flatten(0, 1)[wanted])
        torch.testing.assert_close(few_scores[:, 0], scores.flatten(0, 1)[wanted])


def test_masks_depend_on_the_whole_clip_but_scores_on_their_frame_and_all_sounds():
    model = toy()
    frames, sounds = clip_of()
    masks, scores = answer(model, frames, sounds)
    other = torch.cat([frames[:, :4], clip_of(seed=2)[0][:, 4:]], dim=1)
    other_masks, other_scores = answer(model, other, sounds)
    assert not torch.allclose(other_masks[:, 0], masks[:, 0])
    torch.testing.assert_close(other_scores[:, :4], scores[:, :4])
    in_other_order = answer(model, frames, sounds.flip(1))
    torch.testing.assert_close(in_other_order, (masks, scores), atol=1e-5, rtol=1e-5)
    for one, same in zip(answer(model, frames, clip_of(seed=2)[1]), (masks, scores), strict=True):
        assert not torch.allclose(one, same, atol=1e-2)


def test_padding_has_no_influence():
    torch.manual_seed(0)
    layer = EncoderLayer(width=8, heads=2, hidden=16, dropout=0.0).eval()
    tokens, place = torch.randn(2, 7, 8), torch.randn(1, 7, 8)
    hidden = torch.zeros(2, 7, dtype=torch.bool)
    hidden[:, 5:] = True
    changed = torch.cat([tokens[:, :5], torch.randn(2, 2, 8)], dim=1)
    both = [layer(x, place, hidden)[:, :5] for x in (tokens, changed)]
    torch.testing.assert_close(*both)
    torch.testing.assert_close(both[0], layer(tokens[:, :5], place[:, :5]))
    assert not torch.allclose(both[0], layer(tokens, place)[:, :5])


def test_a_padded_call_is_another_one():
    model = toy()
    frames, sounds = clip_of()
    outside = torch.zeros(5, 1, 64, 96, dtype=torch.bool)
    outside[..., 64:] = True
    with torch.no_grad():
        padded, whole = model(*call(frames, sounds, outside)), model(*call(frames, sounds))
    for name in ("pred_masks", "pred_is_referred"):
        assert not torch.allclose(padded[name], whole[name], atol=1e-3)


def test_places_count_within_the_picture_rows_first():
    padding = torch.zeros(1, 3, 5, dtype=torch.bool)
    padding[..., 4:] = True
    code = rearrange(sine_places(padding, 8), "1 (h w) c -> h w c", h=3)
    row, column = 2 * torch.pi * torch.tensor([2 / 3, 3 / 4])
    angles = torch.stack([row, row / 100, column, column / 100])
    wanted = torch.stack([angles.sin(), angles.cos()], dim=1).flatten()
    torch.testing.assert_close(code[1, 2], wanted, atol=1e-5, rtol=1e-4)


def test_fusion_multiplies_twice():
    torch.manual_seed(0)
    fusion = Fusion(width=8, heads=2)
    tokens, memory = torch.randn(2, 4, 8), torch.randn(2, 3, 8)
    found = fusion.attention(tokens, memory, memory)[0]
    torch.testing.assert_close(fusion(tokens, memory, memory), tokens * found**2)


def test_every_parameter_learns():
    model = toy().train()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            # Zero at the start, which would hide what a layer makes of nothing.
            torch.nn.init.normal_(parameter, std=0.1)
    masks, scores = map(torch.stack, zip(*model.answer(*clip_of(clips=2)), strict=True))
    (masks.sigmoid().sum() + scores.softmax(-1)[..., 0].sum()).backward()
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert still == set()


def test_lower_precision_stays_near():
    model = toy()
    frames, sounds = clip_of()
    exact = answer(model, frames, sounds)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = answer(model, frames, sounds)
    for one, other in zip(exact, rough, strict=True):
        assert (one - other).abs().mean() < 0.1 * one.std()


@pytest.mark.slow
def test_it_compiles_in_one_piece():
    model = toy()
    frames, sounds = clip_of(frames=1)
    compiled = torch.compile(model.answer, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(frames, sounds)[-1], answer(model, frames, sounds))


def test_calls_that_cannot_be_answered_are_refused():
    model = toy()
    frames, sounds = clip_of(frames=3)
    with pytest.raises(AdapterError, match="clips of 5 frames.*got 3"):
        model(*call(frames, sounds))
    nested, heard, x, audio = call(*clip_of())
    with pytest.raises(AdapterError, match="5 frames and 4 embeddings"):
        model(nested, heard, x, audio[:4])
    with pytest.raises(AdapterError, match="cannot leave out padded audio"):
        model(nested, ~heard, x, audio)


@pytest.mark.parametrize("context", ["frame", "window"])
def test_the_adapter_drives_ours(context):
    model = toy()
    backend = find_backend(model, context=context, input_size=64)
    assert type(backend) is CATRBackend
    _, sounds = clip_of(frames=7)
    clip = Clip(
        torch.rand(7, 3, 40, 48, generator=torch.Generator().manual_seed(0)),
        None,
        times=torch.arange(7) + 15 / 16,
        audio_embedding=sounds[0],
    )
    lengths = []
    model.backbone.register_forward_pre_hook(lambda _, args: lengths.append(len(args[0])))
    logits = backend.segment_keyframes(clip, [5, 0, 2])
    assert logits.shape == (3, 1, 40, 48)
    assert lengths == ([3] if context == "frame" else [5, 5])
    torch.testing.assert_close(backend.segment_keyframes(clip, [2])[0], logits[2])


def test_a_drop_in_call_runs_keyframes_alone():
    model = toy()
    frames, sounds = clip_of(clips=2)
    backend = CATRBackend(model, context="frame", input_size=64)
    unpacked = backend.unpack(*call(frames, sounds))
    logits = backend.segment_call(unpacked, [[0, 3], [4]])
    said = backend.repack(unpacked, [torch.zeros(5, 1, 64, 96)] * 2)
    for (clip, frame), row in zip([(0, 0), (0, 3), (1, 4)], torch.cat(logits), strict=True):
        masks, scores = answer(
            model, frames[clip, None, frame, None], sounds[clip, None, frame, None]
        )
        torch.testing.assert_close(said["pred_masks"][frame, clip], masks[0, 0])
        torch.testing.assert_close(said["pred_is_referred"][frame, clip], scores[0, 0])
        best = masks[0, 0, scores[0, 0].softmax(-1)[:, 0].argmax()]
        best = torch.nn.functional.interpolate(best[None, None], (64, 96), mode="bilinear")
        torch.testing.assert_close(row[None], best)


def test_a_file_of_ours_is_read_back(tmp_path):
    model = toy(clip_length=3)
    again = load_released(save_released(model, tmp_path / "toy.safetensors"), "catr")
    arguments = clip_of(frames=3)
    assert torch.equal(answer(again, *arguments)[0], answer(model, *arguments)[0])
