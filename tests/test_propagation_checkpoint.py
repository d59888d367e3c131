"""Weights in files: AOT's in all their wrappings, our own, and what is neither."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from make_weights import as_aot, upstream_names
from safetensors import safe_open
from safetensors.torch import save_file

from coprop_plugin.checkpoints.untrusted import weights_in
from coprop_plugin.errors import CheckpointError
from coprop_plugin.propagation import (
    AudioInsertPropagator,
    SmallLogMelEncoder,
    load_aot_checkpoint,
    load_propagator,
    save_propagator,
)
from coprop_plugin.propagation.aot_names import our_name
from coprop_plugin.propagation.checkpoint import load

GOLDEN = Path(__file__).parent / "golden"
TOY = dict(encoder=dict(type="r50", width=8, blocks=(1, 2, 1)), width=16, num_heads=2)


def toy(**options):
    torch.manual_seed(0)
    return AudioInsertPropagator("AOTS", **{**TOY, **options}).eval()


def same_network(one, other):
    a, b = one.network.state_dict(), other.network.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def aot_state():
    return as_aot(toy(insert_layers=(), audio_identity=False))


@pytest.mark.parametrize("model", ["aot_r50_aotl", "aot_aotl", "aot_aott"])
def test_every_upstream_name_has_its_own_place_or_is_dead(model):
    names = upstream_names(model)
    found = [our_name(name) for name in names]
    dead = [name for name, ours in zip(names, found, strict=True) if ours is None]
    assert dead == ["LSTT.mask_token"]
    assert len(set(found)) == len(names)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "optimizer": {"param_groups": [{"lr": 2e-4}]}},
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.{n}": x for n, x in state.items()}, "scaler": {}},
        lambda state: {n: x for n, x in state.items() if n != "LSTT.mask_token"},
    ],
    ids=["bare", "trainer", "model", "module.", "without mask_token"],
)
def test_all_wrappings_of_aot_weights_load(aot_state, wrap, tmp_path):
    path = tmp_path / "save_step_100.pth"
    torch.save(wrap(aot_state), path)
    expected = toy(insert_layers=(), audio_identity=False)
    for loaded in (
        load_aot_checkpoint(path, insert_layers=(), audio_identity=False),
        load_aot_checkpoint(wrap(aot_state), insert_layers=(), audio_identity=False),
    ):
        assert same_network(loaded, expected)
        assert not loaded.training


def test_the_shape_is_read_from_the_weights(aot_state):
    config = load_aot_checkpoint(aot_state).config
    assert config["encoder"] == dict(type="r50", width=8, blocks=[1, 2, 1])
    assert (config["num_layers"], config["width"], config["num_heads"]) == (2, 16, 2)
    mobile = as_aot(toy(encoder="mobilenetv2"))
    assert load_aot_checkpoint(mobile).config["encoder"] == "mobilenetv2"
    assert load_aot_checkpoint(mobile).long_term_gap == 9999
    assert load_aot_checkpoint(mobile, long_term_gap=3).long_term_gap == 3


def test_what_listens_starts_as_if_it_were_not_there(aot_state):
    loaded = load_aot_checkpoint(aot_state, insert_layers=(0, 1, 2, 3))
    outputs = [
        value
        for name, value in loaded.network.named_parameters()
        if name.startswith(("inserts", "identity.audio")) and ".project." in name
    ]
    assert len(outputs) == 10
    assert all(value.abs().max() == 0 for value in outputs)


def test_missing_unknown_and_misshapen_weights_are_named(aot_state):
    state = dict(aot_state)
    del state["LSTT.layers.1.linear_V.weight"]
    state["LSTT.layers.1.surprise"] = torch.zeros(1)
    state["decoder.conv_out.bias"] = torch.zeros(3)
    with pytest.raises(
        CheckpointError,
        match="missing: blocks.1.to_value.weight.*unknown: LSTT.layers.1.surprise.*leave.bias is",
    ):
        load_aot_checkpoint(state)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv1.weight": torch.zeros(1)}, "no AOT weights.*ImageNet"),
        ({"state_dict": {}}, "holds no weights"),
        ([1, 2], "list.*holds no weights"),
        ({"state_dict": {"a": 1}}, "holds no weights"),
    ],
)
def test_files_of_other_things_are_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "other.pth")


def test_other_encoders_and_deaot_are_refused(aot_state):
    swin = {n: x for n, x in aot_state.items() if not n.startswith("encoder.")}
    with pytest.raises(CheckpointError, match="encoder that is not built in.*swin_block"):
        load_aot_checkpoint(swin | {"encoder.swin_block.weight": torch.zeros(1)})
    deaot = {n: x for n, x in aot_state.items() if "relative_emb_v" not in n}
    with pytest.raises(CheckpointError, match="DeAOT"):
        load_aot_checkpoint(deaot)


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(legacy, tmp_path):
    traces = tmp_path / "PWNED"
    content = {"state_dict": {"a": Malice(traces)}}
    path = tmp_path / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="evil.pth cannot be read safely.*run code") as caught:
        load(path)
    assert not traces.exists()
    assert "weights_only=False" not in str(caught.value)


def test_a_bare_malicious_pickle_is_refused_too(tmp_path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Malice(tmp_path / "PWNED")))
    with pytest.raises(CheckpointError, match="evil.pkl"):
        load(path)
    assert not (tmp_path / "PWNED").exists()


def cut_zip():
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, buffer)
    return buffer.getvalue()[:2000]


def foreign_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("hello.txt", "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, this is text",
        b"\x80\x02",
        b"\x80\x02}q\x00(X\x01",
        bytes(range(256)) * 40,
        cut_zip(),
        foreign_zip(),
    ],
)
def test_damaged_files_are_refused_with_their_name(content, tmp_path):
    # torch.load goes by the name of a file, too.
    for name in ("broken.pth", "broken.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            load(path)


@pytest.mark.parametrize("read", [load, load_propagator, load_aot_checkpoint])
def test_a_missing_file_is_named(read, tmp_path):
    with pytest.raises(CheckpointError, match="no file .*nowhere.pth"):
        read(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("read", [load, load_propagator])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_was_saved_comes_back(read, dtype, tmp_path):
    saved = toy(insert_layers=(0, 3), audio_encoder="SmallLogMelEncoder", max_size=None).to(dtype)
    path = save_propagator(saved, tmp_path / "new" / "weights.safetensors")
    loaded = read(path)
    assert json.loads(json.dumps(saved.config)) == json.loads(json.dumps(loaded.config))
    assert saved.state_dict().keys() == loaded.state_dict().keys()
    for name, value in saved.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
        assert value.dtype == loaded.state_dict()[name].dtype
    assert not loaded.training
    assert [each.name for each in path.parent.iterdir()] == ["weights.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_half_a_save_leaves_the_old_file(tmp_path):
    import resource

    path = save_propagator(toy(), tmp_path / "weights.safetensors")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(CheckpointError, match="cannot be written: .*with room"):
            save_propagator(toy(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_module_as_audio_encoder_cannot_be_saved(tmp_path):
    propagator = toy(audio_encoder=SmallLogMelEncoder(4))
    with pytest.raises(CheckpointError, match="audio_encoder='SmallLogMelEncoder'"):
        save_propagator(propagator, tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())


def changed_file(path, change):
    """Rewrite a safetensors file after `change(state, metadata)`."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(state, metadata)
    save_file(state, path, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, m: s.pop("network.projector.bias"), "missing: network.projector.bias"),
        (lambda s, m: s.update(extra=torch.zeros(1)), "unknown: extra"),
        (
            lambda s, m: s.update({"network.projector.bias": torch.zeros(3)}),
            "misshapen: network.projector.bias",
        ),
        (
            lambda s, m: m.pop("format"),
            "format .coprop_plugin.AudioInsert.*got None",
        ),
        (lambda s, m: m.update(config="{"), "cannot be built"),
        (lambda s, m: m.update(config='{"preset": "AOTX"}'), "cannot be built.*AOTX"),
        (lambda s, m: m.update(config='{"colour": 3}'), "cannot be built.*colour"),
    ],
)
def test_files_of_ours_that_were_changed_are_refused(change, message, tmp_path):
    path = save_propagator(toy(), tmp_path / "weights.safetensors")
    changed_file(path, change)
    with pytest.raises(CheckpointError, match=message):
        load(path)


def test_a_cut_file_of_ours_is_refused(tmp_path):
    path = save_propagator(toy(), tmp_path / "weights.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load(path)


def same_aot(one, other):
    """Whether two networks have the same weights, but for those that AOT does not have."""
    states = [propagator.network.state_dict() for propagator in (one, other)]
    names = [n for n in states[0] if not n.startswith(("inserts.", "identity.audio."))]
    return all(torch.equal(states[0][name], states[1][name]) for name in names)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "net.", "ema.module."])
def test_prefixes_of_wrappers_are_removed(aot_state, prefix):
    wrapped = {prefix + name: tensor for name, tensor in aot_state.items()}
    wrapped["n_averaged"] = torch.tensor(3)
    assert same_aot(load_aot_checkpoint(wrapped), load_aot_checkpoint(aot_state))


def test_a_prefix_that_some_names_lack_stays():
    state = {"model.weight": torch.zeros(1), "ema.weight": torch.ones(1)}
    assert weights_in(state, "a test") == state


@pytest.mark.parametrize("name", ["aot.safetensors", "aot.pth"])
@pytest.mark.parametrize("as_safetensors", [True, False])
def test_weights_are_told_by_content_and_not_by_name(aot_state, tmp_path, name, as_safetensors):
    path = tmp_path / name
    state = {key: tensor.contiguous() for key, tensor in aot_state.items()}
    save_file(state, path) if as_safetensors else torch.save({"state_dict": state}, path)
    assert same_aot(load(path), load_aot_checkpoint(aot_state))


def test_weights_with_nan_are_refused_by_name(aot_state, tmp_path):
    state = {key: tensor.clone().contiguous() for key, tensor in aot_state.items()}
    state["encoder_projector.weight"].view(-1)[0] = float("nan")
    with pytest.raises(CheckpointError, match=r"encoder_projector\.weight.*NaN"):
        load_aot_checkpoint(state)
    propagator = toy()
    with torch.no_grad():
        next(propagator.network.parameters()).fill_(float("nan"))
    path = save_propagator(propagator, tmp_path / "ours.safetensors")
    with pytest.raises(CheckpointError, match=r"ours\.safetensors are NaN"):
        load(path)
