import os
import pickle
from pathlib import Path

import pytest
import torch
from compare import Golden
from fill import checksum
from safetensors.torch import save_file

from coprop_plugin.audio.vggish import WEIGHTS_VARIABLE, VGGish, load_vggish
from coprop_plugin.errors import CheckpointError
from coprop_plugin.registry import MODELS, build

GOLDEN = Golden(Path(__file__).parent / "golden" / "vggish.npz")


@pytest.fixture(scope="module")
def weights():
    state = GOLDEN.state_dict()
    assert checksum(state) == GOLDEN.meta["checksum"]
    return state


@pytest.fixture(scope="module")
def weights_file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("vggish") / "vggish.pth"
    torch.save(weights, path)
    return path


@pytest.mark.parametrize("double", [False, True])
def test_equals_upstream(weights_file, double):
    dtype = torch.float64 if double else torch.float32
    network = load_vggish(weights_file).to(dtype)
    seen = {}
    for name in ("features.2", "features.14", "features.15", "embeddings.1", "embeddings.3"):
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, out, key=f"n5/inside/{name}": seen.update({key: out.clone()})
        )
    seen["n5/embedding"] = network(GOLDEN.input("n5", "log_mel").to(dtype))
    assert len(seen) == 6
    errors = {
        key: GOLDEN.error(key, out) / GOLDEN.tolerance(key, double) for key, out in seen.items()
    }
    assert max(errors.values()) < 1, errors


def test_embedding_is_made_from_the_map(weights_file):
    network = load_vggish(weights_file)
    log_mel = GOLDEN.input("n5", "log_mel")[:2]
    conv_map = network.conv_map(log_mel)
    assert conv_map.shape == (2, network.map_channels, 6, 4)
    assert torch.equal(network.embed(conv_map), network(log_mel))
    assert network(log_mel).shape == (2, network.embedding_dim)


def test_loaded_weights_are_frozen_and_in_eval_mode(weights_file):
    network = load_vggish(str(weights_file))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_safetensors_give_the_same_network(weights, weights_file, tmp_path):
    save_file(weights, tmp_path / "vggish.safetensors")
    first, second = load_vggish(weights_file), load_vggish(tmp_path / "vggish.safetensors")
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


def test_the_environment_may_name_the_weights(weights_file, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(weights_file))
    load_vggish()
    monkeypatch.setenv(WEIGHTS_VARIABLE, "nowhere.pth")
    with pytest.raises(CheckpointError, match="no file nowhere.pth.*COPROP_VGGISH"):
        load_vggish()


def test_without_weights_and_network_the_message_says_what_to_fetch(monkeypatch):
    def offline(url, **options):
        assert options["weights_only"]
        assert options["check_hash"]
        raise OSError("network is unreachable")

    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    wanted = (
        r"unreachable\)\. Fetch https.*vggish-10086976\.pth and put it into .*checkpoints.*weights="
    )
    with pytest.raises(CheckpointError, match=wanted):
        load_vggish()


def test_missing_and_unknown_names_are_named(weights, tmp_path):
    state = {
        "vggish." + name if name == "features.0.bias" else name: t for name, t in weights.items()
    }
    torch.save(state, tmp_path / "w.pth")
    wanted = r"missing: features\.0\.bias.*unknown: vggish\.features\.0\.bias.*Strip any prefix"
    with pytest.raises(CheckpointError, match=wanted):
        load_vggish(tmp_path / "w.pth")


def test_another_shape_is_named(weights, tmp_path):
    torch.save({**weights, "features.0.bias": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"features\.0\.bias \[3\] for \[64\]"):
        load_vggish(tmp_path / "w.pth")


def test_a_file_without_a_state_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="a list that holds no weights"):
        load_vggish(tmp_path / "w.pth")


class Intruder:
    def __reduce__(self):
        return os.mkdir, ("PWNED",)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pth", b""),
        ("text.pth", b"hello, these are no weights"),
        ("malicious.pth", pickle.dumps(Intruder(), protocol=2)),
        ("cut.pth", b"PK\x03\x04 and nothing more"),
        ("empty.safetensors", b""),
        ("text.safetensors", b"hello, these are no weights"),
    ],
)
def test_damaged_and_malicious_files_are_refused(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        CheckpointError, match=f"{name} cannot be read.*torchvggish's vggish-10086976.pth"
    ):
        load_vggish(tmp_path / name)
    assert not (tmp_path / "PWNED").exists()


def test_vggish_is_registered():
    assert isinstance(build(MODELS, "vggish", "conv_map"), VGGish)
    assert MODELS.get("coprop_plugin.VGGish") is VGGish
