"""`coprop run --reuse`: an edited result on the command line."""

import json
import os
import re
import shutil

import pytest
from PIL import Image
from typer.testing import CliRunner

from coprop_plugin import cli, media
from coprop_plugin.keyframes import load_keyframe_processor

SEGMENTER = """
def bright(frames, audio):
    return frames.mean(1, keepdim=True) - 0.45 + audio.abs().mean()

def other(frames, audio):
    return frames.mean(1, keepdim=True) - 0.5
"""


@pytest.fixture(scope="module")
def base(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    media.write_clip(scene.clip(fps=8), folder / "one.mp4")
    (folder / "segmenters.py").write_text(SEGMENTER)
    (folder / "points.json").write_text(json.dumps({"indices": [0, 20, 36], "num_frames": 48}))
    options = ("--backend", f"{folder}/segmenters.py:bright", "--propagator", "hold", "--fps", 8)
    done = coprop(folder, *options, "--control-points", folder / "points.json", "-o", folder)
    assert done.exit_code == 0, done.output
    return folder


def coprop(base, *arguments):
    arguments = ("run", base / "one.mp4", "--no-overlay", "--quiet", "--json", *arguments)
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def status(done):
    return json.loads(done.stdout)["status"]


def masks(folder):
    return [path.read_bytes() for path in sorted((folder / "masks").iterdir())]


def test_an_edit_takes_its_options_from_the_run(base, tmp_path):
    edited = tmp_path / "edited.json"
    points = json.loads((base / "one/control_points.json").read_text())
    edited.write_text(json.dumps({"indices": [0, 16, 36], "num_frames": points["num_frames"]}))
    new = tmp_path / "new"
    done = coprop(base, "--reuse", base / "one", "--control-points", edited, "-o", new)
    assert done.exit_code == 0, done.output
    outcome = json.loads(done.stdout)
    # Segments are computed or copied as a whole: the one that ends earlier now, and the next.
    assert (outcome["status"], outcome["num_computed"], outcome["num_frames"]) == ("done", 36, 48)
    assert outcome["control_points"]["indices"] == [0, 16, 36]
    assert masks(new / "one")[36:] == masks(base / "one")[36:]
    about = media.read_about(new / "one")
    assert about["options"] == media.read_about(base / "one")["options"]
    assert json.loads((new / "manifest.jsonl").read_text())["state"] == "done"
    # Once more, painted over, in its own place.
    Image.new("L", (64, 48), 255).save(new / "one/masks/00040.png")
    done = coprop(base, "--reuse", new / "one", "-o", new)
    assert json.loads(done.stdout)["num_computed"] == 12
    # What was painted is not overwritten by mistake.
    options = ("--backend", f"{base}/segmenters.py:bright", "--propagator", "hold", "--fps", 8)
    done = coprop(base, *options, "-o", new)
    assert done.exit_code == 1
    assert "edits made by hand, which would be overwritten" in json.loads(done.stdout)["error"]
    assert json.loads(coprop(base, *options, "-o", new, "--redo").stdout)["status"] == "done"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fps", "4"], "made with fps=8.0, not 4.0; .*Leave --fps out"),
        (["--backend", "{base}/segmenters.py:other"], "made with backend=.*bright', not .*other"),
        (["--propagator", "flow"], "made with propagator='hold', not 'flow'"),
        (["--sampling", "avsbench"], "made with sampling='pts', not 'avsbench'"),
        (["{tmp}/other.mp4"], "Expected one video with --reuse, got 2"),
    ],
)
def test_other_settings_are_refused(base, tmp_path, arguments, says):
    shutil.copy(base / "one.mp4", tmp_path / "other.mp4")
    arguments = [a.format(base=base, tmp=tmp_path) for a in arguments]
    done = coprop(base, "--reuse", base / "one", "-o", tmp_path / "new", *arguments)
    assert done.exit_code == 2
    assert re.search(says, " ".join(done.stderr.split())), done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--workers", 2),
        ("--engine", "processes"),
        ("--threads", 1),
        ("--shard", "0/2"),
        ("--segment-batch", 4),
        ("--redo",),
    ],
)
def test_options_that_would_be_ignored_are_refused(base, tmp_path, option):
    done = coprop(base, "--reuse", base / "one", "-o", tmp_path / "new", *option)
    assert done.exit_code == 2
    text = " ".join(done.stderr.replace("│", "").split())
    assert f"{option[0]} cannot be combined with --reuse" in text
    assert not (tmp_path / "new").exists()


def test_an_exception_of_the_model_is_one_failure(base, tmp_path, caplog):
    content = json.loads((base / "one/result.json").read_text())
    (tmp_path / "bugs.py").write_text("def bug(frames, audio):\n    raise KeyError('a bug')\n")
    shutil.copytree(base / "one", tmp_path / "one")
    options = content["about"]["options"]
    asked = {**options["asked"], "backend": f"{tmp_path}/bugs.py:bug"}
    content["about"]["options"] = {**options, "asked": asked}
    (tmp_path / "one/result.json").write_text(json.dumps(content))
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps({"indices": [0, 16, 36], "num_frames": 48}))
    done = coprop(
        base, "--reuse", tmp_path / "one", "--control-points", edited, "-o", tmp_path / "new"
    )
    assert done.exit_code == 1, done.output
    assert json.loads(done.stdout)["error"] == "KeyError: 'a bug'"
    assert "Traceback" in caplog.text


def test_folders_without_a_reusable_run_are_refused(base, tmp_path):
    done = coprop(base, "--reuse", tmp_path, "-o", tmp_path / "new")
    assert done.exit_code == 2
    assert "no finished result to reuse" in done.stderr
    content = json.loads((base / "one/result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**content, "about": {}}))
    done = coprop(base, "--reuse", tmp_path, "-o", tmp_path / "new")
    assert done.exit_code == 2
    assert "saved from Python" in done.stderr
    options = {**content["about"]["options"]}
    for part in ("weights", "propagator"):
        gone = f"{tmp_path}/gone.pth"
        edited = {
            **options,
            "asked": {**options["asked"], part: gone},
            "stamps": {part: f"{gone}:12:34"},
        }
        content["about"] = {**content["about"], "options": edited}
        (tmp_path / "result.json").write_text(json.dumps(content))
        done = coprop(base, "--reuse", tmp_path, "-o", tmp_path / "new")
        assert done.exit_code == 2
        assert f"the {part} {gone}, which is missing or has changed" in done.stderr


def test_a_changed_weights_folder_is_noticed(base, tmp_path):
    folder = tmp_path / "mine"
    load_keyframe_processor().save_pretrained(folder)
    model = ("--backend", "keyframe_processor", "--weights", folder, "--propagator", "hold")
    full = (*model, "--fps", 1, "-o", tmp_path / "out")
    reused = ("--reuse", tmp_path / "out/one", "-o", tmp_path / "new")
    assert status(coprop(base, *full)) == "done"
    assert status(coprop(base, *full)) == "skipped"
    assert status(coprop(base, *reused)) == "done"
    os.utime(folder / "model.safetensors", (1, 1))
    assert "has changed since" in coprop(base, *reused).stderr
    assert status(coprop(base, *full)) == "done"


def test_weights_from_the_hub(base, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = ("--backend", "keyframe_processor", "--weights", "hf://me/mine", "-o", tmp_path)
    done = coprop(base, *model)
    assert "'me/mine' is not a folder here" in " ".join(done.stderr.split()), done.stderr


def test_points_of_another_length_are_one_failure(base, tmp_path):
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps({"flags": [1, 0, 1]}))
    done = coprop(base, "--reuse", base / "one", "--control-points", edited, "-o", tmp_path / "new")
    assert done.exit_code == 1
    assert "48 frames of the clip, got 3" in json.loads(done.stdout)["error"]
