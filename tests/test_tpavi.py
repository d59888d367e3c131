"""Our TPAVI is the released one: the same function, at less cost, on any device."""

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from compare import Golden
from fill import checksum, normalise
from stand_ins import AVSBiGen
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import coprop_plugin as coprop
from coprop_plugin.adapters import find_backend, load_state
from coprop_plugin.adapters.tpavi import TPAVI, AVSBiGenBackend, TPAVIBackend
from coprop_plugin.adapters.tpavi.pixel_attention import PixelSoundAttention
from coprop_plugin.errors import AdapterError
from coprop_plugin.types import Clip

FOLDER = Path(__file__).parent / "golden"
RESNET = dict(type="resnet18", embedding_size=8, hidden_sizes=(8, 8, 16, 16), depths=(1, 1, 1, 1))
PVT = dict(type="pvt_v2_b0", hidden_sizes=(8, 16, 20, 16), depths=(1, 1, 1, 1))


def toy(num_classes=1, backbone=RESNET, **options):
    torch.manual_seed(0)
    model = TPAVI(num_classes, backbone=backbone, width=16, head_widths=(8, 8), **options)
    for block in model.attention:
        # Zero at the start, which would hide what the attention does.
        nn.init.normal_(block.batch_norm.weight)
    return model.eval()


@lru_cache(maxsize=1)
def golden_and_model(name):
    golden = Golden(FOLDER / f"{name}.npz")
    weights = golden.state_dict()
    assert checksum(weights) == golden.meta["checksum"]
    return golden, load_state(weights, "tpavi")


def inputs(golden, case, dtype):
    names = golden.meta["inputs"][case]
    frames, audio = (
        torch.cat([golden.input(case, n) for n in sorted(names) if n.startswith(kind)]).to(dtype)
        for kind in ("frames", "audio")
    )
    flag = names.get("flag")
    return normalise(frames), audio, None if flag is None else torch.tensor(flag)


def golden_cases():
    """The quickest of each head and backbone by default, seconds each; the rest where slow is."""
    quick = {
        ("tpavi_r50_s4", "b2t5_64x96", torch.float32),
        ("tpavi_r50_s4", "t5_64x96", torch.float64),
        ("tpavi_pvt_avss", "t10_64x96_flag", torch.float32),
        ("tpavi_pvt_avss", "t5_64x96", torch.float64),
    }
    for subset, cases in (
        ("s4", ("t5_64x96", "b2t5_64x96", "t5_224x224")),
        ("avss", ("t5_64x96", "t10_64x96_flag", "t5_224x224")),
    ):
        for backbone in ("r50", "pvt"):
            for case in cases:
                for dtype in (torch.float32, torch.float64):
                    which = (f"tpavi_{backbone}_{subset}", case, dtype)
                    yield pytest.param(*which, marks=() if which in quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "case", "dtype"), list(golden_cases()))
def test_every_output_is_upstreams(name, case, dtype):
    golden, model = golden_and_model(name)
    with torch.no_grad():
        logits, maps, sounds = model.to(dtype)(*inputs(golden, case, dtype))
    model.float()
    got = {"pred": logits}
    got |= {f"map{i}": x for i, x in enumerate(maps)} | {
        f"audio{i}": x for i, x in enumerate(sounds)
    }
    stored = [key for key in golden.keys(case) if "/inside/" not in key]
    assert stored
    for key in stored:
        bound = golden.tolerance(key, double=dtype == torch.float64)
        assert golden.error(key, got[key.split("/")[1]]) < bound, key


def test_the_attention_is_its_equation_over_all_pairs_of_pixels():
    torch.manual_seed(0)
    block = PixelSoundAttention(16).double().eval()
    nn.init.normal_(block.batch_norm.weight)
    block.batch_norm.running_mean.normal_()
    x, audio = torch.randn(6, 16, 4, 5).double(), torch.rand(6, 128).double()
    means, clips = (rows.view(2, 3, -1) for rows in (x.mean((2, 3)), audio))
    got, sound = block(x, means, clips, torch.arange(6))

    pixels = x.view(2, 3, 16, 20).permute(0, 1, 3, 2).reshape(2, 60, 16)
    heard = sound.repeat_interleave(20, dim=1)
    pairs = block.query(pixels) @ block.key(heard).transpose(1, 2) / 60
    mixed = block.project(pairs @ block.value(pixels))
    mixed = block.batch_norm(mixed.reshape(-1, 16)).view(2, 60, 16)
    wanted = block.layer_norm(mixed + pixels).view(2, 3, 4, 5, 16).permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(got, wanted.reshape(6, 16, 4, 5))


@pytest.mark.parametrize("backbone", [RESNET, PVT], ids=["resnet", "pvt"])
def test_a_frame_alone_is_that_frame_five_times(backbone):
    model = toy(3, backbone)
    frames, audio = torch.rand(2, 3, 64, 32), torch.rand(2, 128)
    tiled = model(frames.repeat_interleave(5, 0), audio.repeat_interleave(5, 0))[0]
    alone = model(frames, audio, frames_per_clip=1)[0]
    torch.testing.assert_close(alone, tiled[::5], atol=1e-5, rtol=1e-5)


def test_clips_of_a_batch_are_independent_and_frames_of_a_clip_are_not():
    model, frames, audio = toy(), torch.rand(10, 3, 32, 32), torch.rand(10, 128)
    logits = model(frames, audio)[0]
    torch.testing.assert_close(logits[:5], model(frames[:5], audio[:5])[0], atol=1e-5, rtol=1e-5)
    audio[4] = 3
    other = model(frames, audio)[0]
    assert (other[0] - logits[0]).abs().max() > 1e-3
    assert torch.equal(other[5:], logits[5:])


@torch.no_grad()
@pytest.mark.parametrize("padding", [0, 2])
def test_rows_that_are_wanted_are_those_of_the_whole_clips(padding):
    model = toy().double()
    for attention in model.attention:
        nn.init.normal_(attention.batch_norm.weight)
    frames, audio = torch.rand(10, 3, 96, 160).double(), torch.rand(10, 128).double()
    flag = (torch.arange(10) < 10 - padding).double()
    wanted = [7, 1, 9]
    logits, maps, sounds = model(frames, audio, flag)
    some_logits, some_maps, same_sounds = model(frames, audio, flag, wanted=wanted)
    torch.testing.assert_close(some_logits, logits[wanted])
    torch.testing.assert_close(some_maps, [x[wanted] for x in maps])
    torch.testing.assert_close(same_sounds, sounds)


def test_padding_has_zero_logits_in_every_class():
    model, frames, audio = toy(71), torch.rand(10, 3, 32, 32), torch.rand(10, 128)
    flag = torch.tensor([1] * 7 + [0] * 3)
    logits, maps, _ = model(frames, audio, flag)
    assert not logits[7:].any()
    assert not any(x[7:].any() for x in maps)
    assert logits[:7].any()
    torch.testing.assert_close(model(frames, audio, torch.ones(10))[0], model(frames, audio)[0])


def test_calls_that_are_not_clips_are_refused():
    with pytest.raises(
        AdapterError, match=r"multiple of its 5 frames.*\[4, 3, 32, 32\].*frames_per_clip=1"
    ):
        toy()(torch.rand(4, 3, 32, 32), torch.rand(4, 128))
    with pytest.raises(AdapterError, match=r"H and W of 32"):
        toy()(torch.rand(5, 3, 33, 32), torch.rand(5, 128))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [RESNET, PVT], ids=["resnet", "pvt"])
def test_it_compiles_into_one_graph(backbone):
    model, frames, audio = toy(backbone=backbone), torch.rand(5, 3, 32, 32), torch.rand(5, 128)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(frames, audio)[0], model(frames, audio)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_the_function(dtype):
    model, frames, audio = toy(), torch.rand(5, 3, 64, 64), torch.rand(5, 128)
    with torch.no_grad():
        wanted = model(frames, audio)[0]
        with torch.autocast("cpu", dtype):
            got = model(frames, audio)[0].float()
    assert torch.isfinite(got).all()
    assert (got - wanted).abs().max() < 0.1 * wanted.std() + 0.02


def test_a_toy_model_learns_from_audio():
    torch.manual_seed(0)
    model = toy(frames_per_clip=1).train()
    frames = torch.rand(8, 3, 32, 32)
    audio = torch.zeros(8, 128)
    audio[::2] = 1
    # Left where it sounds, right where it does not.
    masks = torch.zeros(8, 1, 32, 32)
    masks[::2, ..., :16], masks[1::2, ..., 16:] = 1, 1
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        loss = binary_cross_entropy_with_logits(model(frames, audio)[0], masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in model.parameters())
    assert losses[-1] < 0.5 * losses[0]
    assert model.head.leave.weight.isfinite().all()


def clip_of(num_frames=7):
    torch.manual_seed(1)
    return Clip(
        torch.rand(num_frames, 3, 40, 48),
        None,
        times=torch.arange(num_frames) + 15 / 16,
        audio_embedding=torch.rand(num_frames, 128) * 2,
    )


def test_the_adapter_finds_and_drives_it():
    model = toy(71)
    assert isinstance(find_backend(model), TPAVIBackend)
    clip = clip_of()
    for context in ("frame", "window"):
        backend = TPAVIBackend(model, context=context, input_size=64)
        logits = backend.segment_keyframes(clip, [5, 0, 2])
        assert logits.shape == (3, 71, 40, 48)
        alone = backend.segment_keyframes(clip, [0])
        torch.testing.assert_close(logits[1], alone[0], atol=1e-5, rtol=1e-5)


def test_single_keyframes_are_one_batch_and_not_tiled():
    model, sizes = toy(), []
    model.backbone.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    backend = TPAVIBackend(model, context="frame", input_size=32)
    backend.segment_keyframes(clip_of(), [0, 3, 4, 6])
    assert sizes == [4]
    sizes.clear()
    TPAVIBackend(model, context="window", input_size=32).segment_keyframes(clip_of(), [3])
    assert sizes == [5]


def test_a_wrapped_model_answers_a_call_as_the_bare_one():
    model = toy(71)
    wrapped = coprop.wrap(
        model,
        backend=dict(type="tpavi", input_size=32),
        control_points=[1] * 10,
        propagator="hold",
    )
    frames, audio, flag = torch.rand(10, 3, 32, 32), torch.rand(10, 128), torch.ones(10)
    got, wanted = wrapped(frames, audio, flag), model(frames, audio, flag)
    assert torch.equal(got[0], wanted[0])
    assert all(torch.equal(a, b) for i in (1, 2) for a, b in zip(got[i], wanted[i], strict=True))


def test_avs_bigen_is_called_as_tpavi_is():
    torch.manual_seed(0)
    model = AVSBiGen().eval()
    assert isinstance(find_backend(model), AVSBiGenBackend)
    wrapped = coprop.wrap(
        model,
        backend=dict(type="avs_bigen", input_size=32),
        control_points=[1, 1, 1, 1, 1],
        propagator="hold",
    )
    frames, audio = torch.rand(10, 3, 32, 32), torch.rand(10, 128)
    got, wanted = wrapped(frames, audio), model(frames, audio)
    for ours, bare in zip(
        (got[0], *got[1], *got[2]), (wanted[0], *wanted[1], *wanted[2]), strict=True
    ):
        assert torch.equal(ours, bare)
    assert got[3] == 0
    with pytest.raises(AdapterError, match="ground-truth masks"):
        wrapped(frames, audio, torch.zeros(10, 1, 32, 32))

    clip = clip_of()
    alone = AVSBiGenBackend(model, context="frame", input_size=32).segment_keyframes(clip, [4, 0])
    around = AVSBiGenBackend(model, input_size=32).segment_keyframes(clip, [4, 0])
    assert alone.shape == around.shape == (2, 1, 40, 48)
    assert not torch.allclose(alone, around)
