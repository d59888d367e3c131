"""`coprop bench` and `coprop moc`: tables on stdout, the rest on stderr, exit codes 0, 1, 2."""

import json
import re
import signal
from pathlib import Path

import pytest
from make_avsbench import make_avss, make_ms3
from processes import start_coprop
from toy_training import TOY_PROCESSOR, TOY_PROPAGATOR
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.cli.bench_clips import bench_clips, compare_clips

ROOT = Path(__file__).resolve().parent.parent
SIZE = (32, 32)
MODELS = """
import os
import signal

calls = 0

def reddish(frames, audio):
    return 8 * (frames[:, :1] - frames[:, 2:])

def fails(frames, audio):
    raise ValueError("never works")

def killed(frames, audio):
    global calls
    calls += 1
    if calls == int(os.environ.get("KILL_AT_CALL", 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    return reddish(frames, audio)

def make(weights=None):
    return reddish
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with weights of both kinds and functions."""
    from coprop_plugin.keyframes import KeyframeProcessor, save_keyframe_processor
    from coprop_plugin.propagation import AudioInsertPropagator, save_propagator

    folder = tmp_path_factory.mktemp("bench")
    (folder / "models.py").write_text(MODELS)
    save_keyframe_processor(KeyframeProcessor(**TOY_PROCESSOR), folder / "toy.safetensors")
    save_propagator(AudioInsertPropagator(**TOY_PROPAGATOR), folder / "carry.safetensors")
    return folder


def coprop(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def world(folder, out, *arguments, clips=2):
    tiny = ("--world", clips, "--frames", 3, "--size", "32x48", "--quiet")
    return coprop("bench", *tiny, "-o", out, *arguments)


def test_a_model_is_benched_on_the_world(folder, tmp_path):
    models = ("-b", folder / "toy.safetensors", "-b", f"red={folder}/models.py:reddish")
    carry = ("--propagator", folder / "carry.safetensors")
    done = world(folder, tmp_path, *models, *carry, "--seeds", 2, clips=1)
    assert done.exit_code == 0, done.output
    assert "report.png" in done.stderr
    for word in ("toy", "red", "novelty+learned-no-audio", "oracle+learned+truth", "±"):
        assert word in done.stdout
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["about"]["sets"] == {"scenes 2000-2000": 1, "scenes 2001-2001": 1}
    assert content["about"]["settings"]["size"] == [32, 48]
    for weights in ("backends", "toy"), ("propagators", "learned"):
        assert len(content["about"][weights[0]][weights[1]]["sha256"]) == 64
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 2 * 13 * 2


def test_rows_are_chosen_and_lines_are_json(folder, tmp_path):
    model = ("-b", f"{folder}/models.py:make@{folder}/toy.safetensors")
    done = world(folder, tmp_path, *model, "--rows", "bare,oracle+hold", "--fps", 4, "--json")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["row"] for line in lines} == {"bare", "oracle+hold"}
    assert {line["backend"] for line in lines} == {"make"}
    settings = json.loads((tmp_path / "report.json").read_text())["about"]["settings"]
    assert (settings["fps"], settings["sampling"]) == (4, "pts")


def test_wrong_predictions_and_scenes_without_changes_are_chosen(folder, tmp_path):
    model = ("-b", f"red={folder}/models.py:reddish", "--rows", "bare", "--wrong", 0.3)
    done = world(folder, tmp_path, *model, "--unchanging", clips=1)
    assert done.exit_code == 0, done.output
    assert "With 30 % of the predictions wrong" in done.stdout
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["about"]["wrong"] == 0.3
    assert content["about"]["settings"]["data"] == "made-up world, test, nothing changes"
    assert {r["backend"] for r in content["results"]} == {"red", "red, 30 % wrong"}
    assert {r["clips"] for r in content["results"] if r["part"] == "changing"} == {0}
    assert (tmp_path / "calls.png").stat().st_size > 1_000


def test_folders_are_known_by_their_table(folder, tmp_path):
    clips = {"x": ("test", "00111"), "y": ("test", "11111"), "z": ("train", "01100")}
    ms3 = make_ms3(tmp_path / "ms3", clips, SIZE)
    (tmp_path / "ids.txt").write_text("y\n")
    (ms3 / "ms3_data" / "visual_frames" / "x" / "x.mp4_2.png").unlink()
    model = ("-b", f"{folder}/models.py:reddish", "--rows", "bare", "--size", 32, "--quiet")
    done = coprop("bench", ms3, "-o", tmp_path / "one", *model, "--ids", tmp_path / "ids.txt")
    assert done.exit_code == 0, done.output
    done = coprop("bench", ms3, "-o", tmp_path / "two", *model)
    assert done.exit_code == 1
    assert "MS3 test, x, reddish, bare: DatasetError" in done.stderr
    assert "x.mp4_2.png" in done.stderr
    for out, sets in (("one", {"MS3 test": 1}), ("two", {"MS3 test": 2})):
        content = json.loads((tmp_path / out / "report.json").read_text())
        assert content["about"]["sets"] == sets
        assert content["results"][0]["clips"] == 1


@pytest.fixture(scope="module")
def tpavi(tmp_path_factory):
    """A toy TPAVI that hears by itself."""
    from coprop_plugin.adapters import save_released
    from coprop_plugin.adapters.tpavi import TPAVI

    senses = {name: TOY_PROCESSOR[name] for name in ("backbone", "audio_encoder")}
    model = TPAVI(**senses, width=16, head_widths=(8, 8), input_size=32)
    return save_released(model, tmp_path_factory.mktemp("tpavi") / "toy.safetensors")


def test_families_are_named_with_options_and_weights(tpavi, tmp_path):
    specs = (f"tpavi@{tpavi}", f"alone=tpavi,context=frame,input_size=64@{tpavi}")
    done = world("", tmp_path, "-b", specs[0], "-b", specs[1], "--rows", "bare", clips=1)
    assert done.exit_code == 0, done.output
    about = json.loads((tmp_path / "report.json").read_text())["about"]["backends"]
    assert about["toy"]["family"] == about["alone"]["family"] == "tpavi"
    assert (about["alone"]["context"], about["alone"]["input_size"]) == ("frame", 64)
    assert "Table 1" not in done.stdout
    wrong = world("", tmp_path, "-b", f"tpavi,contxt=frame@{tpavi}", "--rows", "bare", clips=1)
    assert wrong.exit_code == 2
    assert "contxt" in wrong.stderr


def test_on_the_papers_data_the_papers_numbers_stand_beside(tpavi, tmp_path):
    # A toy that says it is of the size in Table 1; made by a function that needs the weights.
    (tmp_path / "large.py").write_text(
        "from coprop_plugin.adapters.convert import load_released\n"
        "def make(weights):\n"
        "    model = load_released(weights, 'tpavi')\n"
        "    model.config = {**model.config, 'backbone': 'pvt_v2_b5'}\n"
        "    return model\n"
    )
    ms3 = make_ms3(tmp_path / "ms3", {"x": ("test", "00111"), "y": ("val", "11111")}, SIZE)
    command = ("bench", ms3, "-b", f"{tmp_path}/large.py:make@{tpavi}", "--quiet")
    command += ("--rows", "bare,novelty+hold", "--size", 32)
    done = coprop(*command, "-o", tmp_path / "test")
    assert done.exit_code == 0, done.output
    assert re.search(r"54\.00 / 64\.50 +- ", done.stdout)
    content = json.loads((tmp_path / "test/report.json").read_text())
    bare, ours = content["about"]["table_1"]
    assert bare["paper"] == [54.0, 64.5]
    assert ours["paper"] is None
    scores = content["results"][0]["mean"]
    assert bare["here"] == [round(100 * scores[name], 2) for name in ("M_J", "M_F")]
    done = coprop(*command, "-o", tmp_path / "val", "--split", "val")
    assert "Table 1" not in done.stdout


def test_a_model_that_never_works_leaves_a_report_without_scores(folder, tmp_path):
    done = world(folder, tmp_path, "-b", f"{folder}/models.py:fails", "--rows", "bare")
    assert done.exit_code == 1
    assert "fails, bare: ValueError: never works" in done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["results"][0]["clips"] == 0
    assert not (tmp_path / "report.png").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Name the clips"),
        (("--world", 1, "."), "Name the clips"),
        (("--world", 1, "--size", "big"), "112x160"),
        (("--world", 1, "--wrong", 30), "0.3"),
        (("--unchanging", "."), "--unchanging needs --world"),
        (("--world", 700, "--seeds", 2), "1000"),
        (("--world", 1, "--rows", "bare,hold"), "+PROPAGATOR"),
        ((".",), "ms3_meta_data.csv"),
        (("--world", 1, "--rows", "rcpg+hold"), "`llm`"),
        (("--world", 1, "--rows", "one_step+hold"), "`llm`"),
        (("--world", 1, "--rows", "three_step+hold"), "`llm`"),
        (("--world", 1, "--rows", "file+hold"), "`path`"),
        (("--world", 1, "-b", "MODELS:reddish"), "two backends named 'reddish'"),
        (("--world", 1, "-b", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--world", 1, "--propagator", "CARRY", "--propagator", "CARRY"), "two propagators named"),
    ],
)
def test_wrong_usage_ends_with_2(folder, tmp_path, arguments, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"MODELS": f"{folder}/models.py", "CARRY": f"{folder}/carry.safetensors"}
    for name, path in names.items():
        arguments = [str(argument).replace(name, path) for argument in arguments]
    done = coprop("bench", "-b", f"{folder}/models.py:reddish", *arguments)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert not list(tmp_path.glob("bench_out/*"))


def test_a_killed_command_is_resumed(folder, tmp_path):
    """kill -9, then the same command: what was done is not done again."""
    tiny = ("--world", "3", "--frames", "2", "--size", "32x48", "--quiet")
    rows = ("--rows", "bare,oracle+hold")
    command = ("bench", *tiny, *rows, "-b", f"{folder}/models.py:killed", "-o", str(tmp_path))
    records = tmp_path / "records.jsonl"
    done = start_coprop(tmp_path / "printed", *command, env={"KILL_AT_CALL": "3"}).wait()
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    before = records.read_text()
    assert 2 <= before.count("\n") < 6
    done = coprop(*command)
    assert done.exit_code == 0, done.output
    assert records.read_text().startswith(before)
    assert records.read_text().count("\n") == 6


def test_moc_lists_the_clips_that_change(tmp_path):
    clips = {"a": ("test", "11111"), "b": ("test", "00111"), "c": ("test", "11111")}
    ms3 = make_ms3(tmp_path / "ms3", clips, SIZE)
    avss = make_avss(
        tmp_path / "avss",
        {
            "a_0": ("a", "v1m", "test", [1, 1, 2, 2, 2]),
            "b_0": ("b", "v1m", "test", [0, 0, 1, 1, 1]),
            "c_0": ("c", "v1m", "test", [1, 1, 1, 1, 1]),
        },
        SIZE,
    )
    done = coprop("moc", ms3, "-o", tmp_path / "masks.txt")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "masks.txt")
    assert (tmp_path / "masks.txt").read_text().split() == ["b"]
    done = coprop("moc", ms3, "--labels", avss, "-o", tmp_path / "moc.txt")
    assert done.exit_code == 0, done.output
    # b begins after two seconds of silence, but only one object sounds in it.
    assert (tmp_path / "moc.txt").read_text().split() == ["a"]
    for line in (
        "1 of 3 clips",
        "a  bird | bird | dog | dog | dog",
        "MS3 test: 3 videos, 1.333 categories per video, 33.33 % change",
        "MOC test: 1 videos, 2.000 categories per video, 100.00 % change",
        "the paper's MOC has 17 clips",
    ):
        assert line in done.stderr
    done = coprop("moc", tmp_path, "-o", tmp_path / "none.txt")
    assert done.exit_code == 2
    assert not (tmp_path / "none.txt").exists()


def test_labels_and_words_of_another_folder_decide_the_clips(tmp_path):
    """What `bench` and `anchor compare` make of --labels and --words."""
    ms3 = make_ms3(tmp_path / "ms3", {"a": ("test", "11111")}, SIZE)
    clips = {"a": ("a", "v1m", "test", [1, 1, 2, 2, 2])}
    avss = make_avss(tmp_path / "avss", clips, SIZE)
    assert compare_clips(ms3, 0, None)[0].control_points.indices == [0]
    assert compare_clips(ms3, 0, None, labels=avss)[0].control_points.indices == [0, 2]

    def made(words):
        return bench_clips(ms3, 0, 1, None, 1.0, "32", "test", None, None, avss, words)

    data, settings = made("labels")
    (sample,) = data["MS3 test"]
    assert sample.clip.words == ("bird", "dog")
    assert sample.control_points.indices == [0, 2]
    path = tmp_path / "words.json"
    keys = [settings["words"]]
    for word in ("cat", "wolf"):
        path.write_text(json.dumps({"a": [word]}))
        data, settings = made(str(path))
        assert data["MS3 test"][0].clip.words == (word,)
        keys.append(settings["words"])
    # Records of other words under the same name are not reused.
    assert len(set(keys)) == 3
