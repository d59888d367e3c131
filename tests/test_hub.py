"""Networks as folders and on the hub: what is loaded is what was saved, or a typed refusal."""

import inspect
import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard, constants
from huggingface_hub.errors import HfHubHTTPError
from make_hub import serve_hub

import coprop_plugin as coprop
from coprop_plugin.checkpoints import is_folder_or_id
from coprop_plugin.errors import CheckpointError, UnknownNameError
from coprop_plugin.keyframes import KeyframeProcessor
from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.propagation.checkpoint import load

SCORES = {"M_J": 0.8125, "onset_s": float("nan"), "clips": 3}


def processor():
    torch.manual_seed(0)
    return KeyframeProcessor(3, width=16, mask_width=8, num_queries=2, heads=2).eval()


def propagator():
    torch.manual_seed(0)
    toy = dict(type="r50", width=8, blocks=(1, 1, 1))
    ears = dict(audio_encoder="SmallLogMelEncoder", audio_width=16, insert_layers=(0,))
    return AudioInsertPropagator("AOTT", encoder=toy, width=16, num_heads=2, **ears).eval()


NETWORKS = pytest.mark.parametrize("make", [processor, propagator], ids=lambda f: f.__name__)


def assert_same(network, other):
    assert type(network) is type(other)
    assert not other.training
    state, others = network.state_dict(), other.state_dict()
    assert state.keys() == others.keys()
    assert all(torch.equal(state[name], others[name]) for name in state)


@NETWORKS
def test_a_folder_gives_the_same_network_bit_for_bit(make, tmp_path, clip):
    network = make()
    folder = network.save_pretrained(tmp_path / "a" / "mine")
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    again = type(network).from_pretrained(str(folder))
    assert_same(network, again)
    if isinstance(network, KeyframeProcessor):
        assert torch.equal(
            network.segment_keyframes(clip, [0, 9]), again.segment_keyframes(clip, [0, 9])
        )
    else:
        assert torch.equal(network.hear(clip), again.hear(clip))


def test_half_precision_halves_the_file(tmp_path):
    network = processor()
    whole = network.save_pretrained(tmp_path / "whole") / "model.safetensors"
    half = network.save_pretrained(tmp_path / "half", dtype=torch.float16) / "model.safetensors"
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert next(KeyframeProcessor.from_pretrained(half.parent).parameters()).dtype == torch.float32


def test_wrap_takes_a_folder(tmp_path):
    parts = [make().save_pretrained(tmp_path / make.__name__) for make in (processor, propagator)]
    model = coprop.wrap("keyframe_processor", weights=parts[0], propagator=str(parts[1]))
    assert_same(processor(), coprop.unwrap(model))
    assert_same(propagator(), model.propagator)


def test_the_card_says_what_it_is_and_what_it_scored(tmp_path):
    said = dict(metrics=SCORES, dataset="my | clips", description="Seen: `{x}`.", license="mit")
    folder = processor().save_pretrained(tmp_path / "mine", **said)
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "coprop_plugin"
    assert card.data.license == "mit"
    # A score that is no number is shown to people only.
    found = [(r.dataset_name, r.metric_type, r.metric_value) for r in card.data.eval_results]
    assert found == [("my | clips", "M_J", 0.8125), ("my | clips", "clips", 3.0)]
    for text in ("Seen: `{x}`.", "| M_J | 0.8125 |", "| onset_s | nan |", '"num_queries": 2'):
        assert text in card.text
    use = card.text.split("```python\n")[1].split("```")[0]
    names = {}
    exec(use, names)
    assert_same(processor(), names["network"])


def test_a_card_written_by_hand_stays(tmp_path):
    processor().save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    processor().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    processor().save_pretrained(tmp_path, metrics=SCORES)
    assert "0.8125" in (tmp_path / "README.md").read_text()


def changed_config(folder, **changes):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json in .*only README.md, model.safet"),
        (lambda f: (f / "model.safetensors").unlink(), r"pickled weights \(.bin, .pth\) are not"),
        (lambda f: (f / "config.json").write_text("{"), "config.json cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "cannot be read as JSON"),
        (
            lambda f: (f / "config.json").write_text(" " * 2**21),
            "2,097,152 bytes of a network's config exceeds",
        ),
        (lambda f: (f / "config.json").write_text("[]"), "got None. Load it"),
        (lambda f: changed_config(f, format="os.system/1"), "got 'os.system/1'"),
        (lambda f: changed_config(f, config={}), "describe different networks: one was changed"),
        (
            lambda f: torch.save(processor().state_dict(), f / "model.safetensors"),
            "model.safetensors cannot be read as safetensors",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:-9]
            ),
            "cannot be read as safetensors",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(spoil, says, tmp_path):
    folder = processor().save_pretrained(tmp_path / "mine")
    spoil(folder)
    with pytest.raises(CheckpointError, match=says):
        KeyframeProcessor.from_pretrained(folder)


def test_a_folder_of_another_class_is_refused(tmp_path):
    folder = processor().save_pretrained(tmp_path / "mine")
    with pytest.raises(
        CheckpointError,
        match="'coprop_plugin.AudioInsertPropagator/1'.*got 'coprop_plugin.KeyframeProcessor/1'",
    ):
        AudioInsertPropagator.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="Load it with the class that it was saved from"):
        coprop.wrap(lambda frames, audio: frames, backend="callable", propagator=folder)


def test_a_config_that_names_code_does_not_run_it(tmp_path):
    trap = dict(type="pathlib.Path.touch", self=str(tmp_path / "sprung"))
    network = processor()
    network.config["audio_encoder"] = trap
    folder = network.save_pretrained(tmp_path / "mine")
    with pytest.raises(CheckpointError, match="cannot be built: 'pathlib.Path.touch'"):
        KeyframeProcessor.from_pretrained(folder)
    trap = dict(type="subprocess.check_call", args=["touch", str(tmp_path / "sprung")])
    network.config["audio_encoder"] = trap
    with pytest.raises(CheckpointError, match="is not a registered audio encoder"):
        load(carrier_with(trap, tmp_path / "carrier"))
    assert not (tmp_path / "sprung").exists()


def carrier_with(audio_encoder, folder):
    network = propagator()
    network.config["audio_encoder"] = audio_encoder
    return network.save_pretrained(folder)


def test_a_module_inside_cannot_be_saved(tmp_path):
    network = processor()
    network.config["audio_encoder"] = torch.nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match="Build it from names and configs"):
        network.save_pretrained(tmp_path / "mine")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        processor().save_pretrained(tmp_path / "file")


@pytest.mark.parametrize(
    "source", ["gone", "../up/and_down", "/abs/olute", "a/b/c", "a/..", "hf://a", "me/m@../up", ""]
)
def test_what_is_neither_folder_nor_id_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not source:
        # The current folder, which has nothing in it.
        with pytest.raises(CheckpointError, match="no config.json in ., only nothing"):
            KeyframeProcessor.from_pretrained(source)
        return
    with pytest.raises(CheckpointError, match="neither a folder nor an id on the hub"):
        KeyframeProcessor.from_pretrained(source)


def test_a_name_is_no_id_where_a_path_may_be_meant():
    assert is_folder_or_id("hf://me/mine")
    assert not is_folder_or_id("me/mine")
    with pytest.raises(UnknownNameError, match="a folder, hf://owner/name"):
        coprop.wrap(lambda frames, audio: frames, backend="callable", propagator="me/mine")


def test_without_a_network_it_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="'me/mine' is not a folder here.*hf download"):
        KeyframeProcessor.from_pretrained("me/mine", cache_dir=tmp_path, local_files_only=True)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serve_hub(tmp_path, monkeypatch) as served:
        yield served


@NETWORKS
def test_an_id_gives_the_network_that_is_on_the_hub(make, hub, tmp_path):
    network = make()
    network.save_pretrained(hub.root / "me" / "mine")
    assert_same(network, type(network).from_pretrained("me/mine"))
    assert_same(network, type(network).from_pretrained("me/mine", revision="v1", token="secret"))
    assert {(r, f) for r, f, _ in hub.asked} == {
        (r, f) for r in ("main", "v1") for f in ("config.json", "model.safetensors")
    }
    assert {key for r, _, key in hub.asked if r == "v1"} == {"Bearer secret"}
    # What was fetched once is there without the hub.
    shutil.rmtree(hub.root)
    assert_same(network, type(network).from_pretrained("me/mine", local_files_only=True))


def test_wrap_takes_ids(hub):
    processor().save_pretrained(hub.root / "me" / "ears")
    propagator().save_pretrained(hub.root / "me" / "legs")
    model = coprop.wrap("keyframe_processor", weights="hf://me/ears@v1", propagator="hf://me/legs")
    assert_same(processor(), coprop.unwrap(model))
    assert_same(propagator(), model.propagator)


def test_weights_of_another_class_are_not_even_fetched(hub):
    processor().save_pretrained(hub.root / "me" / "mine")
    with pytest.raises(CheckpointError, match="Load it with the class that it was saved from"):
        AudioInsertPropagator.from_pretrained("me/mine")
    assert {file for _, file, _ in hub.asked} == {"config.json"}


@pytest.mark.parametrize("source", ["me/gone", "me/mine@v9", "me/bare"])
def test_what_is_not_on_the_hub_is_refused(source, hub):
    processor().save_pretrained(hub.root / "me" / "mine")
    (hub.root / "me" / "bare").mkdir()
    with pytest.raises(CheckpointError, match="cannot be fetched from the hub: .*404"):
        KeyframeProcessor.from_pretrained(f"hf://{source}")


class FakeApi:
    """`HfApi` as far as it is used; calls must fit the real one's signatures."""

    calls: list = []
    root: Path

    def __init__(self, token=None):
        self.token = token

    def _take(self, name, **kwargs):
        inspect.signature(getattr(huggingface_hub.HfApi, name)).bind(self, **kwargs)
        self.calls.append((name, self.token, kwargs))

    def create_repo(self, repo_id, **kwargs):
        self._take("create_repo", repo_id=repo_id, **kwargs)
        return huggingface_hub.RepoUrl(f"{constants.ENDPOINT}/{repo_id}")

    def upload_folder(self, **kwargs):
        self._take("upload_folder", **kwargs)
        shutil.copytree(kwargs["folder_path"], self.root / kwargs["repo_id"])


@NETWORKS
def test_what_is_pushed_can_be_loaded(make, hub, monkeypatch):
    monkeypatch.setattr(FakeApi, "root", hub.root, raising=False)
    monkeypatch.setattr(FakeApi, "calls", [])
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    network = make()
    url = network.push_to_hub("me/mine", metrics=SCORES, private=True, token="secret")
    assert url == f"{constants.ENDPOINT}/me/mine"
    (made, token, options), (_, _, upload) = FakeApi.calls
    assert (made, token) == ("create_repo", "secret")
    assert options == dict(repo_id="me/mine", private=True, exist_ok=True)
    assert upload["repo_id"] == "me/mine"
    assert not Path(upload["folder_path"]).exists()
    assert_same(network, type(network).from_pretrained("me/mine"))
    card = (hub.root / "me" / "mine" / "README.md").read_text()
    assert 'from_pretrained("me/mine")' in card
    assert "# mine" in card


def test_what_the_hub_refuses_is_said(monkeypatch):
    class Refusing(FakeApi):
        def create_repo(self, repo_id, **kwargs):
            raise OSError("403 Client Error: no right to write")

    monkeypatch.setattr(huggingface_hub, "HfApi", Refusing)
    with pytest.raises(CheckpointError, match="Nothing was uploaded to 'me/mine': 403.*hf auth"):
        processor().push_to_hub("me/mine")
    with pytest.raises(
        CheckpointError, match="Expected an id to upload to, 'owner/name', got '../up'"
    ):
        processor().push_to_hub("../up")


def test_a_download_that_is_cut_is_tried_again_and_then_said(hub, monkeypatch):
    processor().save_pretrained(hub.root / "me" / "mine")
    monkeypatch.setattr(hub, "cuts", 1)
    assert_same(processor(), KeyframeProcessor.from_pretrained("me/mine"))
    propagator().save_pretrained(hub.root / "me" / "other")
    monkeypatch.setattr(hub, "cuts", 1000)
    with pytest.raises(CheckpointError, match=r"config.json cannot be fetched .*try again"):
        AudioInsertPropagator.from_pretrained("me/other")


@pytest.mark.parametrize("verb", ["create_repo", "upload_folder"])
def test_a_hub_that_ends_the_connection_is_said(monkeypatch, verb):
    def closed(self, *args, **kwargs):
        client = inspect.getmodule(HfHubHTTPError.__mro__[1])
        raise client.RemoteProtocolError("Server disconnected without sending a response.")

    fake = type("Closing", (FakeApi,), {verb: closed, "calls": []})
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    with pytest.raises(CheckpointError, match="Nothing was uploaded.*Server disconnected"):
        processor().push_to_hub("me/mine")


def test_a_newer_format_asks_for_a_newer_library(tmp_path):
    folder = processor().save_pretrained(tmp_path / "mine")
    newer = (
        (folder / "config.json").read_text().replace("KeyframeProcessor/1", "KeyframeProcessor/2")
    )
    (folder / "config.json").write_text(newer)
    with pytest.raises(CheckpointError, match="newer version.*pip install -U coprop-plugin"):
        KeyframeProcessor.from_pretrained(folder)


def test_a_config_with_a_byte_order_mark_is_read(tmp_path):
    folder = processor().save_pretrained(tmp_path / "mine")
    content = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert_same(processor(), KeyframeProcessor.from_pretrained(folder))
