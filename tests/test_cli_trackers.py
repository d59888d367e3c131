"""SAM 2 as a propagator on the command line: `sam2:FOLDER`, a config as JSON, rows of a bench."""

import json

import pytest
from tiny_trackers import save_tracker
from typer.testing import CliRunner

from coprop_plugin import cli, media


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tracker("sam2", tmp_path_factory.mktemp("tracker") / "tiny")


def coprop(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def test_a_video_is_segmented(scene, checkpoint, tmp_path, monkeypatch):
    video = media.write_clip(scene.clip(fps=2)[:6], tmp_path / "in.mp4")
    monkeypatch.chdir(checkpoint.parent)
    config = json.dumps({"type": "sam2", "checkpoint": "tiny", "image_size": 32})
    masks = {}
    for number, given in enumerate(("sam2:tiny", config)):
        options = ["--no-overlay", "--reanchor", "never", "-o", tmp_path / str(number)]
        done = coprop("run", video, "--fps", 2, "--quiet", "--propagator", given, *options)
        assert done.exit_code == 0, done.stderr
        folder = tmp_path / str(number) / "in"
        masks[given] = [path.read_bytes() for path in sorted(folder.glob("masks/*.png"))]
    said = json.loads((tmp_path / "0" / "in" / "result.json").read_text())
    assert f"sam2:{checkpoint.resolve()}" in json.dumps(said)
    assert masks["sam2:tiny"] != masks[config]


def test_rows_of_a_bench_name_it(checkpoint, tmp_path):
    row = f"novelty+sam2:{checkpoint}"
    tiny = ["--world", 1, "--frames", 3, "--size", "32x48", "--json", "--quiet"]
    rows = ["--propagator", f"mine=sam2:{checkpoint}", "--rows", f"bare,{row},novelty+mine"]
    done = coprop("bench", *tiny, *rows, "-o", tmp_path)
    assert done.exit_code == 0, done.stderr
    scores = {line["row"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(scores) == {"bare", row, "novelty+mine"}
    assert scores[row]["mean"]["M_J"] == scores["novelty+mine"]["mean"]["M_J"]


@pytest.mark.parametrize("part", ["run", "bench"])
def test_a_checkpoint_that_is_not_there_is_wrong_usage(part, scene, tmp_path):
    command = ["bench", "--world", 1, "--rows", "novelty+sam2"]
    if part == "run":
        video = media.write_clip(scene.clip(fps=2)[:6], tmp_path / "in.mp4")
        command = ["run", video, "--propagator", "sam2"]
    done = coprop(*command, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "facebook/sam2.1-hiera-tiny" in done.stderr
