"""Our AVSegFormer is the released one: the same function, for any number of frames, anywhere."""

import gzip
import json
import wave
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from compare import Golden
from fill import checksum, normalise
from torch import nn

import coprop_plugin as coprop
from coprop_plugin.adapters import find_backend, load_released, load_state, save_released
from coprop_plugin.adapters.avsegformer import FAMILY, AVSegFormer, AVSegFormerBackend
from coprop_plugin.adapters.avsegformer.deformable import look_up, pixel_places
from coprop_plugin.adapters.avsegformer.head import MaskHead, SoundGate
from coprop_plugin.adapters.avsegformer.transformer_layers import Attention, ListeningLayer
from coprop_plugin.errors import AdapterError, CheckpointError
from coprop_plugin.types import Clip

FOLDER = Path(__file__).parent / "golden"
RESNET = dict(type="resnet18", embedding_size=8, hidden_sizes=(8, 8, 16, 16), depths=(1, 1, 1, 1))
PVT = dict(type="pvt_v2_b0", hidden_sizes=(8, 16, 20, 16), depths=(1, 1, 1, 1))
TOY = dict(
    audio_encoder=dict(type="SmallLogMelEncoder", width=4),
    width=32,
    num_queries=6,
    heads=4,
    layers=2,
    hidden=48,
    listening_hidden=40,
)


def toy(num_classes=1, backbone=RESNET, **options):
    torch.manual_seed(0)
    return AVSegFormer(num_classes, backbone=backbone, **TOY | options).eval()


def call_of(count, height=32, width=48, seed=1):
    generator = torch.Generator().manual_seed(seed)
    log_mel = torch.rand(count, 1, 96, 64, generator=generator) * 5 - 4
    return log_mel, torch.randn(count, 3, height, width, generator=generator)


@lru_cache(maxsize=1)
def golden_and_model(name):
    golden = Golden(FOLDER / f"{name}.npz")
    weights = golden.state_dict()
    assert checksum(weights) == golden.meta["checksum"]
    return golden, load_state(weights, "avsegformer")


def golden_cases():
    """Both heads on ResNet-50 by default; PVT, whose weights alone take 11 s, where slow is."""
    quick = {
        ("avsegformer_r50_s4", "n2_90x122", torch.float32),
        ("avsegformer_r50_s4", "n2_64x96", torch.float64),
        ("avsegformer_r50_avss", "n3_64x96_flag", torch.float32),
    }
    for head in ("s4", "avss"):
        for backbone in ("r50", "pvt"):
            for case in ("n2_64x96", "n2_90x122", "n5_224x224", "n3_64x96_flag"):
                for dtype in (torch.float32, torch.float64):
                    which = (f"avsegformer_{backbone}_{head}", case, dtype)
                    if head == "avss" or case != "n3_64x96_flag":
                        marks = () if which in quick else pytest.mark.slow
                        yield pytest.param(*which, marks=marks)


@pytest.mark.parametrize(("name", "case", "dtype"), list(golden_cases()))
def test_both_outputs_are_upstreams(name, case, dtype):
    golden, model = golden_and_model(name)
    log_mel, frames = (golden.input(case, key).to(dtype) for key in ("log_mel", "frames"))
    flag = golden.meta["inputs"][case].get("flag")
    with torch.no_grad():
        outputs = model.to(dtype)(
            log_mel, normalise(frames), None if flag is None else torch.tensor(flag)
        )
    model.float()
    for key, output in zip(("pred", "mask_feature"), outputs, strict=True):
        bound = golden.tolerance(f"{case}/{key}", double=dtype == torch.float64)
        assert golden.error(f"{case}/{key}", output) < bound, key


def released_names(name="avsegformer_r50_s4"):
    with gzip.open(FOLDER / f"{name}.names.json.gz", "rt") as file:
        return {key: (dtype, shape) for key, (dtype, *shape) in json.load(file).items()}


def test_what_is_dead_in_a_released_file():
    dead = {key for key in released_names() if FAMILY.our_names(key) == ()}
    assert {".".join(key.split(".")[:2]) for key in dead} == {
        "backbone.layer3_2",
        "backbone.layer4_2",
        "head.fpn",
        "head.attn_fc",
    }
    # One key means a softmax of one: what queries and keys are made with does nothing.
    first = "head.query_generator.layers.3.cross_attn.in_proj_weight"
    assert FAMILY.our_names(first) == (None, None, "queries.listening.3.hear.weight")


def test_what_does_not_fit_is_refused_by_name():
    weights = {
        key: torch.zeros(shape, dtype=getattr(torch, dtype), device="meta")
        for key, (dtype, shape) in released_names().items()
        if "vggish" not in key
    }
    weights["head.fc.0.weight"] = torch.zeros(128, 255, 3, 3)
    weights["head.extra"] = torch.zeros(1)
    del weights["head.level_embed"]
    with pytest.raises(CheckpointError) as refused:
        load_state(weights)
    said = str(refused.value)
    assert "19 missing: audio_encoder.features.0.weight (our name)" in said
    assert "1 unknown: head.extra" in said
    assert "1 misshapen: head.fc.0.weight is [128, 255, 3, 3]" in said


def test_a_toy_is_saved_and_loaded(tmp_path):
    model = toy(3, clip_length=2)
    again = load_released(save_released(model, tmp_path / "toy.safetensors"), "avsegformer")
    assert again.clip_length == 2
    torch.testing.assert_close(again(*call_of(1)), model(*call_of(1)))


# The parts, each beside a second way to the answer.


def test_a_look_up_is_grid_sampling_and_so_are_its_gradients():
    torch.manual_seed(0)
    sizes, heads, channels = [(5, 7), (3, 2), (1, 1)], 2, 4
    value = torch.randn(2, 35 + 6 + 1, heads, channels).double().requires_grad_()
    # A third of the places lie outside.
    places = (torch.rand(2, 9, heads, 3, 4, 2).double() * 12 - 3).requires_grad_()
    weights = torch.rand(2, 9, heads, 3, 4).double().requires_grad_()

    wanted, start = 0, 0
    for level, (height, width) in enumerate(sizes):
        maps = value[:, start : start + height * width].permute(0, 2, 3, 1)
        maps = maps.reshape(2 * heads, channels, height, width)
        extent = torch.tensor([width, height])
        grid = (places[:, :, :, level] + 0.5) / extent * 2 - 1
        grid = grid.permute(0, 2, 1, 3, 4).reshape(2 * heads, 9, 4, 2)
        seen = F.grid_sample(maps, grid, align_corners=False).reshape(2, heads, channels, 9, 4)
        wanted = wanted + torch.einsum("bhcnp, bnhp -> bnhc", seen, weights[:, :, :, level])
        start += height * width
    got = look_up(value, sizes, places, weights)
    torch.testing.assert_close(got, wanted.flatten(2))
    inputs = (value, places, weights)
    for ours, theirs in zip(
        torch.autograd.grad(got.square().sum(), inputs),
        torch.autograd.grad(wanted.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_pixel_lies_on_itself_and_between_pixels_of_other_maps():
    places = pixel_places([(4, 6), (2, 3)], torch.device("cpu"), torch.float32)
    assert places.shape == (30, 2, 2)
    # Row 1, column 2 of the first map.
    assert places[8].tolist() == [[2, 1], [0.75, 0.25]]


def copied(ours, theirs):
    """Give `nn.MultiheadAttention` the weights of ours."""
    pairs = [(theirs.in_proj_weight, "weight"), (theirs.in_proj_bias, "bias")]
    with torch.no_grad():
        for whole, kind in pairs:
            parts = [getattr(getattr(ours, part), kind) for part in ("query", "key", "value")]
            whole.copy_(torch.cat(parts))
        theirs.out_proj.load_state_dict(ours.project.state_dict())
    return theirs.eval()


def test_attention_is_torchs():
    torch.manual_seed(0)
    ours = Attention(16, 4).eval()
    theirs = copied(ours, nn.MultiheadAttention(16, 4, batch_first=True))
    queries, tokens = torch.randn(2, 5, 16), torch.randn(2, 9, 16)
    torch.testing.assert_close(ours(queries, tokens), theirs(queries, tokens, tokens)[0])


def test_listening_to_one_sound_is_attention_over_one_key():
    torch.manual_seed(0)
    layer = ListeningLayer(16, 4, 32).eval()
    attention = nn.MultiheadAttention(16, 4, bias=False, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight[32:] = layer.hear.weight
        attention.out_proj.load_state_dict(layer.project.state_dict())
    queries, sound = torch.randn(2, 5, 16), torch.randn(2, 1, 16)
    heard = layer.project(layer.hear(sound)).expand(-1, 5, -1)
    torch.testing.assert_close(heard, attention(queries, sound, sound)[0])


def test_the_gate_is_attention_of_the_sound_to_all_pixels():
    torch.manual_seed(0)
    gate = SoundGate(16, 4)
    attention = nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        weights = [gate.query.weight, gate.key.weight, gate.value.weight]
        attention.in_proj_weight.copy_(torch.cat(weights))
        attention.out_proj.load_state_dict(gate.project.state_dict())
    feature, sound = torch.randn(2, 16, 5, 7) * 3, torch.randn(2, 1, 16) * 3
    pixels = feature.flatten(2).transpose(1, 2)
    read = attention(sound, pixels, pixels)[0]
    wanted = feature * read.sigmoid().transpose(1, 2)[..., None]
    torch.testing.assert_close(gate(feature, sound), wanted)
    assert read.std() > 0.1


def test_masks_are_read_from_the_map_of_every_query():
    torch.manual_seed(0)
    head = MaskHead(3, num_queries=5, width=16, hidden=24)
    feature, queries = torch.randn(2, 16, 4, 6), torch.randn(2, 5, 16)
    x = torch.einsum("b q c, b c h w -> b h w q", queries, feature)
    x = head.mix[2](head.mix[1](head.mix[0](x).relu()).relu()).permute(0, 3, 1, 2)
    x = F.interpolate(head.coarse(feature + x), scale_factor=4, mode="bilinear")
    wanted = head.classify(head.fine(x).relu())
    torch.testing.assert_close(head(feature, queries), wanted, atol=1e-5, rtol=1e-4)


# The whole.


@pytest.mark.parametrize("backbone", [RESNET, PVT], ids=["resnet", "pvt"])
def test_frames_are_independent(backbone):
    model, (log_mel, frames) = toy(3, backbone), call_of(3)
    together = model(log_mel, frames)
    for i in range(3):
        alone = model(log_mel[i : i + 1], frames[i : i + 1])
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[i], atol=1e-5, rtol=1e-4)


def test_another_sound_is_another_mask():
    model, (log_mel, frames) = toy(), call_of(2)
    logits = model(log_mel, frames)[0]
    other = model(log_mel.flip(0), frames)[0]
    assert (other - logits).abs().max() > 0.01 * logits.std()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (45, 71), (33, 250)])
def test_sides_are_rounded_up_to_fours(height, width):
    logits, feature = toy(2)(*call_of(1, height, width))
    assert logits.shape == (1, 2, -(-height // 4) * 4, -(-width // 4) * 4)
    assert feature.shape == (1, 32, -(-height // 4), -(-width // 4))


def test_padding_is_zero_and_changes_nothing():
    model, (log_mel, frames) = toy(71), call_of(3)
    bare = model(log_mel, frames)
    flagged = model(log_mel, frames, torch.tensor([1, 0, 1]))
    for one, other in zip(flagged, bare, strict=True):
        assert not one[1].any()
        torch.testing.assert_close(one[::2], other[::2])


def test_calls_that_do_not_fit_are_refused():
    model, (log_mel, frames) = toy(), call_of(2)
    with pytest.raises(AdapterError, match=r"log-mels.*first.*\[2, 3, 32, 48\] and frames"):
        model(frames, log_mel)
    with pytest.raises(AdapterError, match=r"\[1, 1, 96, 64\] and frames \[2, 3, 32, 48\]"):
        model(log_mel[:1], frames)
    with pytest.raises(AdapterError, match=r"sound file per clip, got a int"):
        model(3, frames)
    with pytest.raises(AdapterError, match=r"width=20, heads=4"):
        toy(width=20)


def write_wav(path, seconds):
    samples = np.random.default_rng(seconds).normal(0, 3000, seconds * 16_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def test_sound_files_are_read_and_padded_with_zeros(tmp_path):
    from coprop_plugin.audio.log_mel import log_mel_examples
    from coprop_plugin.media import read_waveform

    model = toy(clip_length=4)
    paths = [write_wav(tmp_path / f"{n}.wav", n) for n in (4, 2)]
    frames = call_of(8)[1]
    heard = [log_mel_examples(*read_waveform(path)) for path in paths]
    log_mel = torch.cat([*heard, torch.zeros(2, 1, 96, 64)])
    torch.testing.assert_close(model(paths, frames), model(log_mel, frames))
    with pytest.raises(AdapterError, match=r"6.wav has 6 examples.*4 frames of a clip"):
        model([write_wav(tmp_path / "6.wav", 6)], frames[:4])

    wrapped = coprop.wrap(model, control_points=[1, 0, 0, 1], propagator="hold")
    got = wrapped(paths, frames)
    assert [x.shape for x in got] == [x.shape for x in model(log_mel, frames)]
    torch.testing.assert_close(got[0][3], model(log_mel, frames)[0][3], atol=1e-5, rtol=1e-4)


@pytest.mark.slow  # Tracing takes ten seconds.
@pytest.mark.parametrize("backbone", [RESNET, PVT], ids=["resnet", "pvt"])
def test_it_compiles_into_one_graph(backbone):
    model, call = toy(backbone=backbone), call_of(2)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*call), model(*call))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_function(dtype):
    model, (log_mel, frames) = toy(), call_of(2, 64, 64)
    with torch.no_grad():
        wanted = model(log_mel, frames)[0]
        with torch.autocast("cpu", dtype):
            cast = model(log_mel, frames)[0].float()
        half = model.to(dtype)(log_mel.to(dtype), frames.to(dtype))[0]
    assert half.dtype == dtype
    for got in (cast, half.float()):
        assert (got - wanted).abs().mean() < 4 * torch.finfo(dtype).eps * wanted.std()


def test_a_toy_model_learns_from_audio():
    torch.manual_seed(0)
    model = toy(dropout=0.0, freeze_audio=False).train()
    frames = torch.rand(8, 3, 32, 32)
    log_mel = torch.full((8, 1, 96, 64), -4.6)
    log_mel[::2, :, :, 20:40] = 1
    # Left where it sounds, right where it does not.
    masks = torch.zeros(8, 1, 32, 32)
    masks[::2, ..., :16], masks[1::2, ..., 16:] = 1, 1
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        loss = F.binary_cross_entropy_with_logits(model(log_mel, frames)[0], masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert losses[-1] < 0.5 * losses[0]


def test_a_frozen_audio_encoder_gets_no_gradients():
    model = toy().train()
    model(*call_of(2))[0].sum().backward()
    without = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is None}
    assert without == {"audio_encoder"}


def test_the_adapter_finds_and_drives_it():
    model = toy(71, clip_length=10)
    clip = Clip(torch.rand(7, 3, 40, 48), times=torch.arange(7) + 15 / 16, log_mel=call_of(7)[0])
    sizes = []
    model.backbone.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    backend = find_backend(model, input_size=64)
    assert isinstance(backend, AVSegFormerBackend)
    assert (backend.num_classes, backend.clip_length, backend.context) == (71, 10, "frame")
    logits = backend.segment_keyframes(clip, [5, 0, 2])
    assert logits.shape == (3, 71, 40, 48)
    torch.testing.assert_close(
        logits[1:2], backend.segment_keyframes(clip, [0]), atol=1e-5, rtol=1e-4
    )
    # A single frame goes in once.
    assert sizes == [3, 1]


def test_a_wrapped_model_answers_a_call_as_the_bare_one():
    model, (log_mel, frames) = toy(3), call_of(10)
    wrapped = coprop.wrap(model, control_points=dict(type="every_n", n=1), propagator="hold")
    flag = torch.tensor([1] * 9 + [0])
    for got, wanted in zip(
        wrapped(log_mel, frames, flag), model(log_mel, frames, flag), strict=True
    ):
        assert torch.equal(got, wanted)
