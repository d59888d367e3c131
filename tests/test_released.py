"""Released files become our models: every weight has its place, or the file is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from make_weights import released_shapes
from typer.testing import CliRunner

import coprop_plugin as coprop
from coprop_plugin import media
from coprop_plugin.adapters import (
    FAMILIES,
    PUBLISHED,
    Family,
    load_released,
    load_state,
    save_released,
)
from coprop_plugin.adapters.backbone_names import PVT_NAMES, RESNET_NAMES
from coprop_plugin.adapters.convert import convert
from coprop_plugin.adapters.tpavi import TPAVI
from coprop_plugin.cli import app
from coprop_plugin.errors import AdapterError, CheckpointError, UnknownNameError
from coprop_plugin.layers import build_backbone
from coprop_plugin.registry import list_backends

GOLDEN = Path(__file__).parent / "golden"
TOY = dict(type="resnet18", embedding_size=8, hidden_sizes=(8, 8, 16, 16), depths=(1, 1, 1, 1))


@pytest.fixture(scope="module")
def weights():
    """Zeros under the names of the released TPAVI for AVSS on ResNet-50."""
    shapes = released_shapes("tpavi_r50_avss")
    return {k: torch.zeros(shape, dtype=getattr(torch, d)) for k, (d, shape) in shapes.items()}


def toy():
    torch.manual_seed(0)
    return TPAVI(3, backbone=TOY, width=16, head_widths=(8, 8), frames_per_clip=2).eval()


def files():
    return sorted(p.name.removesuffix(".names.json.gz") for p in GOLDEN.glob("*.names.json.gz"))


@pytest.mark.parametrize("name", [n for n in files() if n.split("_")[0] in FAMILIES])
def test_every_released_name_is_used_once_or_dead(name):
    shapes = released_shapes(name)
    family = FAMILIES[name.split("_")[0]]
    found = {
        f.name: f.recognise({k: tuple(s) for k, (_, s) in shapes.items()})
        for f in FAMILIES.values()
    }
    assert [f for f, options in found.items() if options is not None] == [family.name]
    with torch.device("meta"):
        wanted = family.build(**found[family.name]).state_dict()
    named = [one for key in shapes for one in family.our_names(key) if one]
    assert sorted(named) == sorted(wanted)


@pytest.mark.parametrize(
    ("rows", "backbone"), [(RESNET_NAMES, "resnet50"), (PVT_NAMES, "pvt_v2_b5")]
)
def test_backbones_are_named_whole(rows, backbone):
    file, prefix = {
        "resnet50": ("tpavi_r50_s4", "resnet."),
        "pvt_v2_b5": ("tpavi_pvt_s4", "encoder_backbone."),
    }[backbone]
    part = Family("part", TPAVI, lambda shapes: None, rows)
    keys = [k.removeprefix(prefix) for k in released_shapes(file) if k.startswith(prefix)]
    with torch.device("meta"):
        wanted = build_backbone(backbone, as_released=True).state_dict()
    assert sorted(n for key in keys for n in part.our_names(key)) == sorted(wanted)


def test_a_released_file_is_told_by_its_names_and_fills_our_model(weights, tmp_path):
    # As DataParallel and a trainer would save it.
    inside = {"state_dict": {f"module.{k}": v for k, v in weights.items()}}
    torch.save(inside, tmp_path / "best.pth")
    model = load_released(tmp_path / "best.pth")
    assert model.config["num_classes"] == 71
    assert model.config["backbone"] == "resnet50"
    assert not model.config["audio_bias"]
    assert not model.training
    assert not any(value.any() for value in model.state_dict().values())
    dead = sum(v.numel() for v in weights.values()) - sum(
        v.numel() for v in model.state_dict().values()
    )
    assert dead > 22_000_000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("conv3.conv2d_list.2.bias"), "1 missing: .*reduce.2.branches.2.bias"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 unknown: extra"),
        (
            lambda w: w.update({"conv1.conv2d_list.4.bias": torch.zeros(256)}),
            "unknown: conv1.conv2d_list.4.bias",
        ),
        (
            lambda w: w.update({"tpavi_b2.g.weight": torch.zeros(128, 255, 1, 1, 1)}),
            "1 misshapen: tpavi_b2.g.weight is .128, 255, 1, 1, 1.",
        ),
        # The same weight under two names.
        (
            lambda w: w.update({"resnet.layer3.0.conv1.weight": torch.zeros(256, 512, 1, 1)}),
            "1 unknown: resnet.layer3",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(weights, change, says):
    changed = dict(weights)
    change(changed)
    with pytest.raises(CheckpointError, match=says):
        load_state(changed)


def test_other_files_are_refused(weights, tmp_path):
    with pytest.raises(CheckpointError, match=r"of no known family.*tpavi.*fc.weight"):
        load_state({"fc.weight": torch.zeros(2, 2)})
    with pytest.raises(CheckpointError, match=r"weights of catr.*got tpavi"):
        load_state(weights, "catr")
    with pytest.raises(UnknownNameError, match=r"'sam'.*tpavi"):
        load_state(weights, "sam")
    with pytest.raises(CheckpointError, match=r"no file.*gone.pth"):
        load_released(tmp_path / "gone.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError, match=r"cut.pth.*damaged"):
        load_released(tmp_path / "cut.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    with pytest.raises(CheckpointError, match=r"cut.safetensors.*cut short"):
        load_released(tmp_path / "cut.safetensors")


def test_code_in_a_file_does_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"model": {"weight": Trap()}}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="Only tensors and plain containers"):
        load_released(tmp_path / "bad.pth")
    assert not (tmp_path / "sprung").exists()


def test_half_precision_is_read_as_float32(weights):
    half = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    model = load_state(half)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_our_file_gives_the_same_model_again(tmp_path, dtype):
    model = toy()
    path = save_released(model, tmp_path / "toy.safetensors", dtype)
    again = convert(path, tmp_path / "again.safetensors")
    loaded = load_released(again, "tpavi")
    frames, audio = torch.rand(2, 3, 32, 32), torch.rand(2, 128)
    tolerance = {} if dtype is None else dict(atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(loaded(frames, audio)[0], model(frames, audio)[0], **tolerance)
    assert loaded.frames_per_clip == 2
    with pytest.raises(CheckpointError, match="weights of catr"):
        load_released(path, "catr")
    with pytest.raises(CheckpointError, match="one of our own models.*got a Linear"):
        save_released(torch.nn.Linear(1, 1), tmp_path / "other.safetensors")


def test_the_same_weights_as_plain_safetensors(weights, tmp_path):
    from safetensors.torch import save_file

    save_file(weights, tmp_path / "best.safetensors")
    assert load_released(tmp_path / "best.safetensors").num_classes == 71


def test_a_name_and_a_file_are_a_model(tmp_path):
    path = save_released(toy(), tmp_path / "toy.safetensors")
    model = coprop.wrap("tpavi", weights=path, propagator="hold", control_points="every_n")
    assert isinstance(coprop.unwrap(model), TPAVI)
    with pytest.raises(AdapterError, match=r"weights with the model 'tpavi'.*--weights"):
        coprop.wrap("tpavi")
    with pytest.raises(AdapterError, match=r"'sam' is not a known model.*tpavi.*keyframe_proc"):
        coprop.wrap("sam", weights=path)
    with pytest.raises(AdapterError, match=r"Did you mean tpavi\?"):
        coprop.wrap("tpavy", weights=path)
    with pytest.raises(AdapterError, match=r"only with the name of a model.*for a TPAVI"):
        coprop.wrap(toy(), weights=path)


def test_convert_on_the_command_line(weights, tmp_path):
    torch.save(weights, tmp_path / "best.pth")
    out = tmp_path / "made" / "best.safetensors"
    done = CliRunner().invoke(
        app, ["convert", str(tmp_path / "best.pth"), "-o", str(out), "--half"]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(out)
    # A third is dead, and half of the rest is saved.
    assert out.stat().st_size < 0.4 * (tmp_path / "best.pth").stat().st_size
    refused = CliRunner().invoke(app, ["convert", str(out), "-o", str(out), "--family", "catr"])
    assert refused.exit_code == 2
    assert "weights of catr" in refused.stderr


def test_a_file_of_weights_runs_on_a_video(scene, tmp_path, monkeypatch):
    # VGGish's weights are 288 MB, but not if every number in a tensor is the same one.
    zeros = {
        k: torch.zeros(()).expand(shape) for k, (_, shape) in released_shapes("vggish").items()
    }
    torch.save(zeros, tmp_path / "vggish.pth")
    monkeypatch.setenv("COPROP_VGGISH", str(tmp_path / "vggish.pth"))
    weights = save_released(toy(), tmp_path / "toy.safetensors")
    media.write_clip(scene.clip(fps=4)[:8], tmp_path / "in.mp4")
    arguments = ["--backend", "tpavi", "--weights", weights, "--fps", "2", "--propagator", "hold"]
    done = CliRunner().invoke(
        app, ["run", str(tmp_path / "in.mp4"), "-o", str(tmp_path / "out"), *map(str, arguments)]
    )
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "out" / "in" / "masks").iterdir())) == 4


def test_published_models_are_listed():
    done = CliRunner().invoke(app, ["list", "models"])
    lines = done.stdout.splitlines()
    assert len(lines) > len(PUBLISHED)
    assert any("avsegformer" in x and "61.33" in x and "drive.google.com" in x for x in lines)
    found = json.loads(CliRunner().invoke(app, ["list", "models", "--json"]).stdout)["models"]
    assert {row["family"] for row in found} <= set(list_backends())
    assert all(0 < row["m_j"] < row["m_f"] < 100 for row in found)
    assert len({(row["family"], row["backbone"], row["subset"]) for row in found}) == len(found)
    ours = [row for row in found if not row["needs_code"]]
    assert len(ours) == len(PUBLISHED)
    assert {row["licence"] for row in ours if row["family"] != "tpavi"} == {None}
    theirs = {row["family"] for row in found if row["needs_code"]}
    assert {"stepping_stones", "combo", "vct", "cavp", "gavs", "sama"} == theirs
    assert any("vct" in x and "86.20" in x and "by the code of https" in x for x in lines)
