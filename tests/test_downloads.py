"""Checkpoints from the hub: said before they are downloaded, complete, checked, removed."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import transformers
from huggingface_hub import constants
from make_hub import serve_hub
from make_media import write_video
from tiny_pretrained import save_clip_text
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.checkpoints import (
    cached_checkpoint,
    damaged_files,
    fetch_checkpoint,
    load_pretrained,
    remove_checkpoint,
)
from coprop_plugin.errors import CheckpointError, DownloadError

ID = "laion/clap-htsat-unfused"  # has a short name, `clap`; here it holds a tiny text encoder
KIND = "CLIPTextModelWithProjection"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = save_clip_text(tmp_path_factory.mktemp("tiny"))
    (folder / "pytorch_model.bin").write_bytes(b"pickled " * 1000)
    (folder / "original.pt").write_bytes(b"pickled " * 1000)
    return folder


@pytest.fixture
def hub(tiny, tmp_path, monkeypatch):
    shutil.copytree(tiny, tmp_path / "hub" / ID)
    with serve_hub(tmp_path, monkeypatch) as served:
        yield served


def weights(*arguments):
    return CliRunner().invoke(cli.app, ["weights", *map(str, arguments)])


def test_a_download_is_said_once_and_holds_what_is_read(hub, capsys):
    folder = fetch_checkpoint("clap")
    said = capsys.readouterr()
    size = (folder / "model.safetensors").stat().st_size / 1e6
    assert f"Downloading CLAP ({ID}): {size:.0f} MB, Apache-2.0. It is kept in" in said.err
    assert not said.out
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"pytorch_model.bin", "original.pt"}
    asked = len(hub.asked)
    assert load_pretrained(KIND, ID).config.hidden_size == 16
    assert load_pretrained("AutoTokenizer", "clap")("dog").input_ids
    assert len(hub.asked) == asked
    assert "Downloading" not in capsys.readouterr().err


def test_pickled_weights_are_fetched_where_there_are_no_others(hub):
    (hub.root / ID / "model.safetensors").unlink()
    assert (fetch_checkpoint(ID) / "pytorch_model.bin").is_file()


@pytest.fixture
def small_pieces(monkeypatch):
    """Downloads that come in pieces smaller than the files here, and are tried again at once."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


@pytest.mark.usefixtures("small_pieces")
def test_a_connection_that_is_cut_is_taken_up_where_it_was(hub):
    hub.limit = 5000
    hub.lifts_limit = True
    assert load_pretrained(KIND, ID).config.hidden_size == 16
    assert hub.resumed == [5000]
    assert not damaged_files(ID)


@pytest.mark.usefixtures("small_pieces")
def test_an_interrupted_download_is_finished_by_the_next_and_not_loaded_before(hub):
    hub.limit = 5000
    with pytest.raises(DownloadError, match="was interrupted: .* run the same again"):
        load_pretrained(KIND, ID)
    assert cached_checkpoint(ID).folder is None
    assert cached_checkpoint(ID).size > 0
    done = weights("list", "--json")
    state = {row["name"]: row["state"] for row in map(json.loads, done.stdout.splitlines())}
    assert (state["clap"], state["sam2"]) == ("incomplete", "-")
    hub.limit, hub.resumed[:] = None, []
    assert load_pretrained(KIND, ID).config.hidden_size == 16
    # What a process that was killed had fetched of the weights is not fetched again.
    assert hub.resumed == [5000]
    assert not damaged_files(ID)


def test_what_an_earlier_process_left_is_checked_before_it_is_used(hub):
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{ID.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    content = (hub.root / ID / "model.safetensors").read_bytes()
    part = blobs / f"{hashlib.sha256(content).hexdigest()}.part"
    part.write_bytes(b"not the beginning of it")
    with pytest.raises(DownloadError, match="was damaged on its way: .* Run the same again"):
        fetch_checkpoint(ID)
    assert not part.exists()
    part.write_bytes(content + b"and more")
    assert (fetch_checkpoint(ID) / "model.safetensors").read_bytes() == content
    assert not damaged_files(ID)


def test_a_damaged_file_is_found_and_repaired(hub, capsys):
    folder = fetch_checkpoint(ID)
    blob = (folder / "model.safetensors").resolve()
    sound = blob.read_bytes()
    blob.write_bytes(sound[:-100])
    with pytest.raises(CheckpointError, match=f"coprop weights get {ID}.* damaged files again"):
        load_pretrained(KIND, ID)
    # Loads, and is wrong.
    blob.write_bytes(sound[:-4] + b"\0\0\0\0")
    assert [path.name for path in damaged_files("clap")] == ["model.safetensors"]
    checked = weights("list", "--check")
    assert checked.exit_code == 1
    assert "weights get NAME" in checked.stderr
    again = weights("get", "clap")
    assert (again.exit_code, again.stdout.strip()) == (0, str(folder))
    assert (folder / "model.safetensors").read_bytes() == sound
    assert weights("list", "--check").exit_code == 0


def test_offline_the_ways_on_are_named(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("clap", ID):
        with pytest.raises(DownloadError, match=f"{ID} is not on .*`coprop weights get clap`"):
            fetch_checkpoint(name)
    assert not hub.asked
    for command in ("get", "where"):
        done = weights(command, "clap")
        assert (done.exit_code, done.stdout) == (2, "")
        assert "the preset `offline`" in done.stderr


def test_without_a_connection_it_says_so(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=f"{ID} is not on this machine, .*Connect"):
        fetch_checkpoint(ID)


def test_a_run_ends_before_its_inputs_where_a_model_cannot_be_had(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    write_video("a.mp4", [0.0, 0.5])
    for options in (
        ["--preset", "fast"],
        ["--control-points", "clap"],
        ["--control-points", "sed"],
    ):
        done = CliRunner().invoke(cli.app, ["run", "a.mp4", "-o", "out", *options])
        assert done.exit_code == 2
        assert "is not on this machine" in done.stderr
        assert "input failed" not in done.stderr


def test_a_licence_that_must_be_accepted_is_named(hub):
    (hub.root / "facebook" / "sam3").mkdir(parents=True)
    hub.gated = ("sam3",)
    done = weights("get", "sam3")
    assert done.exit_code == 2
    assert "SAM License" in done.stderr
    assert "Accept it on https://huggingface.co/facebook/sam3, then run `hf auth" in done.stderr


def test_the_models_of_a_preset_are_downloaded(hub):
    for needed in ("MIT/ast-finetuned-audioset-10-10-0.4593", "CIDAS/clipseg-rd64-refined"):
        shutil.copytree(hub.root / ID, hub.root / needed)
    done = weights("get", "--preset", "fast")
    assert done.exit_code == 0, done.stderr
    folders = done.stdout.splitlines()
    assert len(folders) == 2
    assert ("--ast-" in folders[0], "--clipseg-" in folders[1]) == (True, True)
    for wrong in (["--preset", "paper"], []):
        assert weights("get", *wrong).exit_code == 2
    assert not weights("get", "--preset", "offline").stdout


def test_what_is_nowhere_is_refused(hub, tmp_path):
    with pytest.raises(DownloadError, match="There is no nobody/has-this on the hub"):
        fetch_checkpoint("nobody/has-this")
    with pytest.raises(DownloadError, match="neither a folder nor an id on the hub"):
        fetch_checkpoint(tmp_path / "nothing")
    done = weights("get", "sam22")
    assert done.exit_code == 2
    assert "Did you mean sam2" in done.stderr


def test_a_full_disk_is_said_before_and_during_a_download(hub, monkeypatch):
    free = shutil.disk_usage("/")._replace(free=10)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: free)
        with pytest.raises(DownloadError, match="too full for .*weights remove NAME.*HF_HOME"):
            fetch_checkpoint(ID)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(DownloadError, match="too full for"):
        fetch_checkpoint(ID)
    assert cached_checkpoint(ID).folder is None


def test_models_are_found_and_removed(hub, tmp_path):
    assert weights("where").stdout.strip() == str(tmp_path / "cache")
    folder = fetch_checkpoint(ID)
    assert weights("where", "clap").stdout.strip() == str(folder)
    removed = weights("remove", ID)
    assert removed.stdout.startswith(f"{ID}: deleted, ")
    assert not folder.exists()
    with pytest.raises(DownloadError, match="Nothing of .*clap-htsat-unfused is in"):
        remove_checkpoint("clap")
    assert weights("remove", "clap").exit_code == 2


def test_a_folder_is_used_as_it_is(hub, tiny):
    assert fetch_checkpoint(tiny) == tiny
    assert isinstance(load_pretrained(KIND, tiny), transformers.CLIPTextModelWithProjection)
    assert not hub.asked
