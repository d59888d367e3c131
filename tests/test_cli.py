"""The command line: data on stdout, the rest on stderr, exit codes 0, 1, 2."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import start_coprop
from typer.testing import CliRunner

from coprop_plugin import cli, media
from coprop_plugin.propagation import HoldPropagator
from coprop_plugin.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent
SEGMENTERS = """
import time
import torch

def bright(frames, audio):
    return frames.mean(1, keepdim=True) - 0.5

def slow(frames, audio):
    time.sleep(30)
    return frames[:, :1]

def make(weights=None):
    model = torch.nn.Linear(1, 1) if weights == "linear" else bright
    return model

not_callable = 3
"""


@pytest.fixture
def videos(scene, tmp_path):
    folder = tmp_path / "in puts"
    folder.mkdir()
    media.write_clip(scene.clip(fps=8), folder / "one.mp4")
    media.write_clip(scene.clip(fps=8)[:24], folder / "two.mp4")
    (folder / "notes.txt").write_text("no video")
    return folder


@pytest.fixture
def segmenters(tmp_path):
    path = tmp_path / "segmenters.py"
    path.write_text(SEGMENTERS)
    return path


def coprop(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def test_a_file_that_begins_with_a_dash_is_told_from_an_option(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("-dash.mp4").touch()
    monkeypatch.setattr("sys.argv", ["coprop", "run", "-dash.mp4"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "-dash.mp4 is read as an option, as it begins with a dash. Write ./-dash.mp4." in (
        " ".join(capsys.readouterr().err.split())
    )
    monkeypatch.setattr("sys.argv", ["coprop", "run", "--", "-dash.mp4", "--x.mp4"])
    with pytest.raises(SystemExit, match="1|2"):
        cli.main()
    assert "is read as an option" not in capsys.readouterr().err


def run(segmenters, *arguments):
    return coprop("run", "--backend", f"{segmenters}:bright", "--quiet", *arguments)


def test_run_without_a_backend_uses_the_model_that_ships(videos, tmp_path):
    arguments = [videos / "two.mp4", "-o", tmp_path / "out", "--fps", "1", "--no-overlay"]
    done = coprop("run", *arguments)
    assert done.exit_code == 0, done.output
    assert "using sounding_object" in done.stderr
    about = json.loads((tmp_path / "out" / "two" / "result.json").read_text())["about"]
    assert about["options"]["asked"]["backend"] == "sounding_object"
    again = coprop("run", *arguments, "--quiet")
    assert "sounding_object" not in again.stderr
    assert "finished before" in again.stdout


def test_run_writes_masks_overlay_and_control_points(videos, segmenters, tmp_path):
    done = run(segmenters, videos / "one.mp4", "-o", tmp_path / "out", "--fps", "2", "--json")
    assert done.exit_code == 0, done.output
    outcome = json.loads(done.stdout)
    assert outcome["status"] == "done"
    folder = Path(outcome["output"])
    assert folder == tmp_path / "out" / "one"
    masks = sorted((folder / "masks").iterdir())
    assert len(masks) == outcome["num_frames"] == 12
    assert np.array(Image.open(masks[0])).shape == (48, 64)
    assert len(list((folder / "probs").iterdir())) == 12
    points = json.loads((folder / "control_points.json").read_text())
    assert points["seconds"] == pytest.approx(outcome["control_points_s"])
    assert media.probe(folder / "overlay.mp4", fps=None).num_source_frames == 48


def test_our_own_model_runs_from_its_weights_file(videos, tmp_path):
    from coprop_plugin.keyframes import KeyframeProcessor, save_keyframe_processor

    small = dict(type="small", widths=(8, 8, 16, 16), depths=(1, 1, 1, 1))
    processor = KeyframeProcessor(
        backbone=small, width=32, mask_width=8, num_queries=2, encoder_layers=1, decoder_layers=1
    )
    weights = save_keyframe_processor(processor, tmp_path / "tiny.safetensors")
    arguments = ("--backend", "keyframe_processor", "--weights", weights, "-o", tmp_path / "out")
    done = coprop("run", videos / "two.mp4", *arguments, "--no-overlay", "--quiet", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["num_frames"] == 3


@pytest.fixture
def batches():
    """How many segments were propagated at once, by the propagator `noting`."""
    noted = []

    class Noting(HoldPropagator):
        def start(self, frame, sound, masks):
            noted.append(len(frame))
            return super().start(frame, sound, masks)

    MODELS.register_module(name="noting", module=Noting)
    yield noted
    del MODELS.module_dict["noting"]


def test_segments_propagated_at_once_give_the_same_masks(videos, segmenters, tmp_path, batches):
    points = ("--control-points", '{"type": "every_n", "n": 4}')
    arguments = (
        videos / "one.mp4",
        "--no-overlay",
        "--fps",
        "4",
        "--propagator",
        "noting",
        *points,
    )
    most = []
    for name, more in (("a", ()), ("b", ("--segment-batch", "3"))):
        done = run(segmenters, *arguments, "-o", tmp_path / name, *more)
        assert done.exit_code == 0, done.output
        most.append(max(batches))
    assert most == [1, 3]
    one, other = (sorted((tmp_path / name / "one" / "masks").iterdir()) for name in "ab")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in other]
    assert run(segmenters, *arguments, "--segment-batch", "0").exit_code == 2


def test_finished_inputs_are_skipped_unless_something_changed(videos, segmenters, tmp_path):
    arguments = (videos, "-o", tmp_path / "out", "--no-overlay", "--json")
    statuses = lambda done: [json.loads(line)["status"] for line in done.stdout.splitlines()]  # noqa: E731
    assert statuses(run(segmenters, *arguments)) == ["done", "done"]
    assert statuses(run(segmenters, *arguments)) == ["skipped", "skipped"]
    assert statuses(run(segmenters, *arguments, "--fps", "2")) == ["done", "done"]
    os.utime(videos / "two.mp4", (1, 1))
    assert statuses(run(segmenters, *arguments, "--fps", "2")) == ["skipped", "done"]
    assert statuses(run(segmenters, *arguments, "--fps", "2", "--redo")) == ["done", "done"]


def test_one_bad_file_is_one_listed_failure(videos, segmenters, tmp_path):
    (videos / "bad.mp4").write_text("not a video")
    done = run(segmenters, videos, "-o", tmp_path / "out", "--no-overlay", "--json")
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert [o["status"] for o in outcomes] == ["failed", "done", "done"]
    assert "bad.mp4" in outcomes[0]["error"]
    assert "Traceback" not in done.output
    assert not (tmp_path / "out" / "bad").exists()


def test_a_result_is_named_after_its_input_whatever_that_is_listed_with(
    videos, segmenters, tmp_path
):
    def outcomes(*inputs):
        done = run(segmenters, *inputs, "-o", tmp_path / "out", "--no-overlay", "--json")
        assert done.exit_code == 0, done.output
        found = map(json.loads, done.stdout.splitlines())
        return [(o["status"], Path(o["output"]).name) for o in found]

    one, other = videos / "one.mp4", tmp_path / "one.mp4"
    other.write_bytes((videos / "two.mp4").read_bytes())
    assert outcomes(one) == [("done", "one")]
    first, *rest = outcomes(other, one, videos / ".." / videos.name / "one.mp4")
    assert rest == [("skipped", "one")]
    assert first[0] == "done"
    assert re.fullmatch("one-[0-9a-f]{8}", first[1])
    assert outcomes(other) == [("skipped", first[1])]


def test_a_result_that_was_moved_with_its_video_is_recognised(videos, segmenters, tmp_path):
    (tmp_path / "before").mkdir()
    video = tmp_path / "before" / "one.mp4"
    video.write_bytes((videos / "one.mp4").read_bytes())
    options = ("--no-overlay", "--json")
    run(segmenters, video, "-o", tmp_path / "before" / "out", *options)
    (tmp_path / "before").rename(tmp_path / "after")
    video, out = tmp_path / "after" / "one.mp4", tmp_path / "after" / "out"
    again = run(segmenters, video, "-o", out, *options)
    assert json.loads(again.stdout)["status"] == "skipped"
    again = run(segmenters, video, "-o", out, "--fps", "2", *options)
    assert json.loads(again.stdout)["status"] == "done"
    assert media.read_about(out / "one")["input"] == str(video.resolve())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--backend", "nowhere:bright"], "cannot be imported"),
        (["--backend", "bright"], "module:callable"),
        (["--backend", "mmseg"], "Build another model with its own code"),
        (["--backend", "tpavi"], "--weights"),
        (["--backend", "{file}:nothing"], "has no 'nothing'"),
        (["--backend", "{file}:not_callable"], "a int"),
        (["--backend", "{file}:bright", "--control-points", "novel"], "novelty"),
        (["--backend", "{file}:bright", "--propagator", "nothing"], "hold"),
        (["--backend", "{file}:bright", "--propagator", "missing.pth"], "missing.pth"),
        (["--backend", "{file}:bright", "--weights", "missing.pth"], "missing.pth"),
        (["--backend", "{file}:bright", "--fps", "-1"], "fps"),
    ],
)
def test_wrong_usage_is_exit_code_2(videos, segmenters, tmp_path, arguments, says):
    arguments = [a.format(file=segmenters) for a in arguments]
    done = coprop("run", videos / "one.mp4", "-o", tmp_path / "out", *arguments)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_bugs_of_the_user_are_wrong_usage_before_any_input(videos, tmp_path):
    (tmp_path / "own.py").write_text("def make():\n    raise KeyError('width')\n")
    (tmp_path / "broken.py").write_text("import nothing_like_this\n")
    for file, says in (("own", "KeyError: 'width'"), ("broken", "nothing_like_this")):
        backend = f"{tmp_path}/{file}.py:make"
        done = coprop("run", videos / "one.mp4", "--backend", backend, "-o", tmp_path / "out")
        assert done.exit_code == 2, done.output
        assert says in done.stderr
        done = coprop("anchor", videos / "one.mp4", "--control-points", backend)
        assert done.exit_code == 2, done.output
        assert says in done.stderr


def test_a_missing_input_is_listed(segmenters, tmp_path):
    done = run(segmenters, tmp_path / "missing.mp4", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "missing.mp4" in done.stderr


def test_an_empty_folder_is_wrong_usage(segmenters, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(segmenters, tmp_path / "empty")
    assert done.exit_code == 2
    assert "holds no video" in done.stderr


def test_anchor_prints_and_writes_control_points(videos, tmp_path):
    done = coprop("anchor", videos, "--fps", "4", "--json", "-o", tmp_path / "points")
    assert done.exit_code == 0, done.output
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [o["num_frames"] for o in outcomes] == [24, 12]
    written = json.loads((tmp_path / "points" / "one.json").read_text())
    assert written["flags"] == outcomes[0]["control_points"]["flags"]


def test_anchored_points_can_be_edited_and_used(videos, segmenters, tmp_path):
    coprop("anchor", videos / "one.mp4", "-o", tmp_path)
    points = json.loads((tmp_path / "one.json").read_text())
    points = {"num_frames": points["num_frames"], "indices": [0, 5]}
    (tmp_path / "one.json").write_text(json.dumps(points))
    done = run(
        segmenters, videos / "one.mp4", "-o", tmp_path / "out", "--json", "--no-overlay",
        "--control-points", tmp_path / "one.json",
    )  # fmt: skip
    assert json.loads(done.stdout)["control_points"]["indices"] == [0, 5]


def test_list_names_what_is_registered():
    found = json.loads(coprop("list", "--json").stdout)
    assert {"tpavi", "catr", "avsegformer", "callable", "mmseg"} <= set(found["backends"])
    assert {"novelty", "cosine", "every_n", "oracle", "flags", "file"} <= set(found["providers"])
    assert {"hold", "flow", "audio_insert"} <= set(found["propagators"])
    assert coprop("list", "providers").stdout.startswith("providers: ")


def test_options_are_those_of_the_library():
    from coprop_plugin.cli.export import FormatName

    assert tuple(FormatName) == media.FORMATS


def test_version():
    assert coprop("--version").stdout.strip().count(".") == 2


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_nothing_half_written(videos, segmenters, tmp_path, kind):
    out = tmp_path / "out"
    command = ("run", videos / "one.mp4", "--quiet", "--backend", f"{segmenters}:slow", "-o", out)
    process = start_coprop(tmp_path / "printed", *command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not out.exists():
        time.sleep(0.1)
    process.send_signal(kind)
    process.wait(60)
    expected = 143 if kind == signal.SIGTERM else -signal.SIGKILL
    assert process.returncode == expected, process.stderr
    assert "Traceback" not in process.stderr
    assert process.stdout == ""
    assert not (out / "one").exists()
    # What the next run finds is at most a hidden folder, and it clears that away.
    assert run(segmenters, videos / "one.mp4", "-o", out, "--no-overlay").exit_code == 0
    assert sorted(p.name for p in out.iterdir() if p.suffix != ".lock") == ["manifest.jsonl", "one"]


@pytest.mark.parametrize(
    "command",
    [
        "report gone",
        "export gone -f coco",
        "bench gone",
        "bench --world 1 --assets gone",
        "bench --sounds gone",
        "moc gone",
        "reproduce table1 --data gone",
        "anchor compare gone",
        "anchor compare --sounds gone",
        "anchor annotate gone",
    ],
)
def test_a_folder_that_does_not_exist_is_named(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = coprop(*command.split())
    assert done.exit_code == 2, done.output
    assert re.search(r"The folder \S*gone does not exist\. Check the name", done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["anchor convert gone.csv -o x.json", "anchor index gone"])
def test_missing_inputs_besides_folders_are_named(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = coprop(*command.split())
    assert done.exit_code == 2, done.output
    assert "does not exist" in done.stderr
