"""`coprop anchor`: whole data sets into one file, once; comparing providers."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from make_avsbench import make_ms3
from processes import start_coprop
from stand_ins import AVSegFormer
from typer.testing import CliRunner

from coprop_plugin import Clip, cli, media, naming, wrap
from coprop_plugin.control_points import FileProvider
from coprop_plugin.errors import ClipError, ControlPointError

ROOT = Path(__file__).resolve().parent.parent
PROVIDERS = """
import os
import time
from pathlib import Path
from coprop_plugin.control_points.llm.cache import CachedLLM
from coprop_plugin.control_points.llm import CallableAudioLLM
from coprop_plugin.types import ControlPoints

class Noting:
    '''Says every second frame, notes the clip, and waits while a file tells it to.'''
    def propose(self, clip):
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(clip.name + "\\n")
        while Path(os.environ["NOTES"]).with_name(f"{clip.name}.wait").exists():
            time.sleep(0.02)
        return ControlPoints.from_indices(range(0, clip.num_frames, 2), clip.num_frames, "noting")

def answer(messages, waveform, sample_rate):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(f"{len(waveform)}\\n")
    return "yes"

class Failing:
    '''Raises whatever it likes for the clip `cat`.'''
    def propose(self, clip):
        if clip.name == "cat":
            raise KeyError("a bug")
        return ControlPoints([1] + [0] * (clip.num_frames - 1))

class Misfit:
    '''Returns control points of another clip for `cat`.'''
    def propose(self, clip):
        return ControlPoints([1, 0] if clip.name == "cat" else [1] + [0] * (clip.num_frames - 1))

class Interrupted:
    def propose(self, clip):
        raise KeyboardInterrupt

class Asking:
    '''Asks a language model one question a clip.'''
    def __init__(self):
        self.llm = CallableAudioLLM(answer, model_id="yes")
    def propose(self, clip):
        question = [{"role": "user", "content": "Does it change?"}]
        self.llm.chat(question, clip.waveform, clip.sample_rate)
        return ControlPoints([1] + [0] * (clip.num_frames - 1))

noting = Noting()
nothing = 3
"""


@pytest.fixture
def videos(scene, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    clip = scene.clip(fps=8)
    for number, name in enumerate(["bell", "cat", "dog", "drum"]):
        rate, part = clip.sample_rate, clip[8 * number : 8 * number + 16]
        waveform = clip.waveform[number * rate : (number + 2) * rate]
        part = Clip(part.frames, waveform, rate, part.times - number)
        media.write_clip(part, folder / f"{name}.mp4")
    return folder


@pytest.fixture
def providers(tmp_path, monkeypatch):
    path = tmp_path / "providers.py"
    path.write_text(PROVIDERS)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes.txt"))
    (tmp_path / "notes.txt").touch()
    return path


def coprop(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def notes(providers):
    return providers.with_name("notes.txt").read_text().split()


def statuses(done):
    return [json.loads(line)["status"] for line in done.stdout.splitlines()]


def test_files_are_the_default_command(videos):
    short = coprop("anchor", videos / "bell.mp4", "--fps", "4", "--json")
    long = coprop("anchor", "files", videos / "bell.mp4", "--fps", "4", "--json")
    first = coprop("anchor", "--fps", "4", "--json", videos / "bell.mp4")
    assert short.exit_code == 0, short.output
    assert short.stdout == long.stdout == first.stdout
    assert coprop("anchor").exit_code == 2
    shown = coprop("anchor", "--help").stdout.replace("│", "").split()
    assert "coprop anchor FILES" in " ".join(shown)
    assert {"--control-points", "--json", "index", "compare"} <= set(shown)


def test_a_folder_goes_into_one_file_and_is_used_by_name(videos, tmp_path):
    out = tmp_path / "points.json"
    done = coprop("anchor", videos, "-o", out, "--fps", "4", "--json")
    assert done.exit_code == 0, done.output
    outcomes = {Path(o["input"]).stem: o for o in map(json.loads, done.stdout.splitlines())}
    content = json.loads(out.read_text())
    assert list(content["clips"]) == ["bell", "cat", "dog", "drum"]
    assert content["failed"] == {}
    for name, outcome in outcomes.items():
        clip = Clip.from_file(videos / f"{name}.mp4", fps=4)
        assert clip.name == name
        points = FileProvider(out).propose(clip)
        assert points.indices == outcome["control_points"]["indices"]
        assert points.source == "change_detector"
    assert not list(tmp_path.glob(".*"))


def test_points_that_exist_are_not_computed_again(videos, providers, tmp_path):
    out = tmp_path / "points.json"
    arguments = ("anchor", videos, "-o", out, "--control-points", f"{providers}:noting", "--json")
    assert statuses(coprop(*arguments)) == ["done"] * 4
    before = out.read_text()
    assert statuses(coprop(*arguments)) == ["skipped"] * 4
    assert notes(providers) == ["bell", "cat", "dog", "drum"]
    assert out.read_text() == before
    os.utime(videos / "cat.mp4", (1, 1))
    assert statuses(coprop(*arguments)) == ["skipped", "done", "skipped", "skipped"]
    other = coprop(*arguments, "--fps", "2")
    assert other.exit_code == 2
    assert "was made with" in other.stderr
    assert "--redo" in other.stderr
    assert statuses(coprop(*arguments, "--fps", "2", "--redo")) == ["done"] * 4


def test_points_of_other_prompts_are_not_resumed(videos, tmp_path):
    provider = tmp_path / "changing.py"
    code = (
        "from coprop_plugin.control_points.providers import EveryNProvider\n"
        "class Asks(EveryNProvider):\n"
        "    settings = {'prompts': 'VERSION'}\n"
    )
    arguments = ("anchor", videos, "-o", tmp_path / "points.json", "--control-points")
    arguments += (f"{provider}:Asks", "--json")
    provider.write_text(code)
    assert statuses(coprop(*arguments)) == ["done"] * 4
    assert statuses(coprop(*arguments)) == ["skipped"] * 4
    provider.write_text(code.replace("VERSION", "another"))
    other = coprop(*arguments)
    assert other.exit_code == 2
    assert "was made with" in other.stderr


def test_another_file_is_not_written_over(videos, tmp_path):
    out = tmp_path / "package.json"
    out.write_text('{"name": "mine"}')
    done = coprop("anchor", videos, "-o", out)
    assert done.exit_code == 2
    assert "something else" in done.stderr
    assert out.read_text() == '{"name": "mine"}'


def test_failures_are_listed_and_tried_again(videos, providers, tmp_path):
    out = tmp_path / "points.json"
    (videos / "broken.mp4").write_text("no video")
    arguments = ("anchor", videos, "-o", out, "--control-points", f"{providers}:noting", "--json")
    done = coprop(*arguments)
    assert done.exit_code == 1
    assert statuses(done) == ["done", "failed", "done", "done", "done"]
    content = json.loads(out.read_text())
    assert list(content["failed"]) == ["broken"]
    clip = Clip(torch.zeros(2, 3, 4, 4), name="broken")
    with pytest.raises(ControlPointError, match=r"none of 'broken': it failed \(.*broken.mp4"):
        FileProvider(out).propose(clip)
    (videos / "broken.mp4").write_bytes((videos / "dog.mp4").read_bytes())
    assert statuses(coprop(*arguments)) == ["skipped", "done", "skipped", "skipped", "skipped"]
    assert json.loads(out.read_text())["failed"] == {}


@pytest.mark.parametrize("clips", [3, ["dog"], {"dog": 3}, {"dog": {"heard": "x"}}])
def test_clips_that_were_edited_into_something_else_are_done_again(
    videos, providers, tmp_path, clips
):
    out = tmp_path / "points.json"
    arguments = ("anchor", videos, "-o", out, "--control-points", f"{providers}:noting", "--json")
    assert statuses(coprop(*arguments)) == ["done"] * 4
    whole = json.loads(out.read_text())
    out.write_text(json.dumps(whole | {"clips": clips}))
    assert statuses(coprop(*arguments)) == ["done"] * 4
    assert json.loads(out.read_text()) == whole


def test_a_killed_run_is_resumed(videos, providers, tmp_path, monkeypatch):
    out = tmp_path / "points.json"
    arguments = ["anchor", str(videos), "-o", str(out), "--control-points", f"{providers}:noting"]
    wait_for = tmp_path / "dog.wait"
    wait_for.touch()
    process = start_coprop(tmp_path / "printed", *arguments)
    while len(notes(providers)) < 3:
        assert process.returncode is None, process.stderr
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for.unlink()
    assert not out.exists()
    [journal] = tmp_path.glob(".points.json.journal")
    with journal.open("a") as file:
        file.write('{"made_with": {"half a li')
    done = coprop(*arguments, "--json")
    assert statuses(done) == ["skipped", "skipped", "done", "done"]
    assert notes(providers) == ["bell", "cat", "dog", "dog", "drum"]
    assert list(json.loads(out.read_text())["clips"]) == ["bell", "cat", "dog", "drum"]
    assert not journal.exists()


@pytest.mark.parametrize("out", [(), ("-o", "points.json"), ("-o", "folder")])
def test_an_exception_of_a_provider_is_one_failure(
    videos, providers, tmp_path, monkeypatch, caplog, out
):
    monkeypatch.chdir(tmp_path)
    done = coprop("anchor", videos, "--control-points", f"{providers}:Failing", "--json", *out)
    assert done.exit_code == 1, done.output
    assert statuses(done) == ["done", "failed", "done", "done"]
    assert json.loads(done.stdout.splitlines()[1])["error"] == "KeyError: 'a bug'"
    assert "Traceback" in caplog.text
    if "points.json" in out:
        assert json.loads(Path("points.json").read_text())["failed"] == {"cat": "KeyError: 'a bug'"}
    done = coprop("anchor", videos, "--control-points", f"{providers}:Interrupted", *out, "--redo")
    assert done.exit_code not in (0, 1, 2)
    assert isinstance(done.exception, KeyboardInterrupt | SystemExit)


def test_control_points_of_another_clip_are_one_failure(videos, providers, tmp_path):
    arguments = ("--control-points", f"{providers}:Misfit", "-o", tmp_path / "points.json")
    done = coprop("anchor", videos, *arguments, "--json", "--fps", "4")
    assert statuses(done) == ["done", "failed", "done", "done"]


def test_two_runs_do_not_mix_in_one_file(videos, providers, tmp_path):
    out = tmp_path / "points.json"
    arguments = ["anchor", str(videos), "-o", str(out), "--control-points", f"{providers}:noting"]
    wait_for = tmp_path / "bell.wait"
    wait_for.touch()
    process = start_coprop(tmp_path / "printed", *arguments)
    try:
        while not notes(providers):
            assert process.returncode is None, process.stderr
            time.sleep(0.05)
        other = coprop(*arguments)
        assert other.exit_code == 2
        assert "Another process is writing" in other.stderr
    finally:
        wait_for.unlink()
        process.wait()
    assert process.returncode == 0, process.stderr
    assert notes(providers) == ["bell", "cat", "dog", "drum"]
    assert statuses(coprop(*arguments, "--json")) == ["skipped"] * 4


def test_a_file_of_points_that_is_too_large_is_not_read(videos, providers, tmp_path, monkeypatch):
    arguments = ("anchor", videos, "-o", tmp_path / "points.json", "--control-points")
    arguments += (f"{providers}:noting",)
    assert coprop(*arguments).exit_code == 0
    monkeypatch.setenv("COPROP_MAX_TEXT_BYTES", "100")
    done = coprop(*arguments)
    assert done.exit_code == 2
    assert "COPROP_MAX_TEXT_BYTES" in done.stderr


def test_answers_are_kept_so_that_redoing_asks_nothing(videos, providers, tmp_path):
    arguments = ("anchor", videos, "--control-points", f"{providers}:Asking")
    arguments += ("--cache", tmp_path / "answers", "--redo")
    assert coprop(*arguments, "-o", tmp_path / "a.json").exit_code == 0
    asked = len(notes(providers))
    assert asked == 4
    assert coprop(*arguments, "-o", tmp_path / "a.json").exit_code == 0
    assert coprop(*arguments, "-o", tmp_path / "b.json").exit_code == 0
    assert len(notes(providers)) == asked
    # Within what asks others, too.
    ensemble = json.dumps({"type": "gate", "expensive": "novelty"})
    done = coprop("anchor", videos, "--control-points", ensemble, "--cache", tmp_path / "answers")
    assert done.exit_code == 0, done.output


@pytest.fixture
def ms3(tmp_path):
    root = tmp_path / "Multi-sources"
    clips = {"one": ("test", [0, 1, 1, 1, 0]), "two": ("train", [1, 1, 1, 1, 1])}
    make_ms3(root, clips)
    return root


def test_a_data_set_goes_into_one_file(ms3, providers, tmp_path):
    out = tmp_path / "points.json"
    arguments = ("anchor", ms3, "-o", out, "--control-points", f"{providers}:noting", "--json")
    done = coprop(*arguments, "--split", "test")
    assert done.exit_code == 0, done.output
    assert list(json.loads(out.read_text())["clips"]) == ["one"]
    assert statuses(coprop(*arguments)) == ["skipped", "done"]
    clips = json.loads(out.read_text())["clips"]
    assert clips["two"]["flags"] == [1, 0, 1, 0, 1]
    assert clips["two"]["seconds"] == [0.9375, 2.9375, 4.9375]


def test_control_points_are_found_by_name_in_the_drop_in_call(tmp_path):
    out = tmp_path / "points.json"
    flags = {"one": [1, 1, 0, 0, 1], "two": [1, 0, 0, 0, 0]}
    sets = {"clips": {name: {"flags": points} for name, points in flags.items()}}
    out.write_text(json.dumps(sets))
    asked = []
    provider = FileProvider(out)
    propose = provider.propose

    def watched(clip):
        points = propose(clip)
        asked.append((clip.name, points.flags.int().tolist()))
        return points

    provider.propose = watched
    torch.manual_seed(0)
    model = wrap(AVSegFormer().eval(), control_points=provider, propagator="hold")
    audio, frames = torch.randn(10, 1, 96, 64), torch.randn(10, 3, 224, 224)
    with naming("two", "one"):
        model(audio, frames)
    assert asked == [("two", flags["two"]), ("one", flags["one"])]
    with pytest.raises(ControlPointError, match=r"this clip has no name.*naming"):
        model(audio, frames)
    with naming("one", "three"), pytest.raises(ControlPointError, match="none of 'three'"):
        model(audio, frames)
    with naming("one"), pytest.raises(ClipError, match="Expected one name for each of 2 clips"):
        model(audio, frames)


def test_a_file_may_be_changed_while_it_is_used(tmp_path):
    path = tmp_path / "points.json"
    clip = Clip(torch.zeros(3, 3, 4, 4), name="a")
    path.write_text(json.dumps({"clips": {"a": [1, 0, 0]}}))
    provider = FileProvider(path)
    assert provider.propose(clip).indices == [0]
    path.write_text(json.dumps({"clips": {"a": {"flags": [1, 1, 0]}}}))
    assert provider.propose(clip).indices == [0, 1]


def test_two_clips_of_one_name_are_refused(videos, ms3, tmp_path):
    (videos / "one.mp4").write_bytes((videos / "dog.mp4").read_bytes())
    done = coprop("anchor", videos, ms3, "-o", tmp_path / "points.json")
    assert done.exit_code == 2
    assert "several named one" in done.stderr


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("novel", "'novel'"),
        ("{type: every_n}", "is not JSON"),
        ('{"type": "every_n", "n": 0}', "n=0"),
        ("{file}:nothing", "gave a int"),
        ("{file}:missing", "has no 'missing'"),
        ("nowhere.py:noting", "there is no file nowhere.py"),
    ],
)
def test_unavailable_providers_are_wrong_usage(videos, providers, spec, says):
    done = coprop("anchor", videos, "--control-points", spec.replace("{file}", str(providers)))
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stdout == ""


def compared(*arguments):
    done = coprop("anchor", "compare", *arguments, "--quiet", "--json")
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def test_compare_scores_all_providers_on_the_synthetic_world(tmp_path):
    done, rows = compared("--world", "2", "--frames", "5", "--csv", tmp_path / "table.csv")
    assert done.exit_code == 0, done.output
    names = [(row["provider"], row["note"].split(",")[0]) for row in rows]
    assert names == [
        ("flags", "the truth"), ("every_n", ""), ("cosine", ""), ("novelty", ""),
        ("change_detector", ""), ("clap", "untrained"), ("sed", "untrained"),
        *[("one_step", "scripted")] * 3, ("gate", "novelty"),
    ]  # fmt: skip
    truth, faultless = rows[0], rows[7]
    for row in (truth, faultless):
        assert (row["F1@0"], row["onset_error_s"], row["onset_missed"]) == (1.0, 0.0, 0)
    assert [row["calls"] for row in rows] == [0] * 7 + [2, 2, 2] + [rows[-1]["calls"]]
    table = (tmp_path / "table.csv").read_text().splitlines()
    assert table[0].startswith("provider,note,precision@0,recall@0,F1@0,precision@1")
    assert len(table) == 12


def test_compare_takes_providers_of_ones_own(ms3, providers):
    options = ("-p", f"{providers}:noting", "-p", 'n={"type": "every_n", "n": 1}')
    done, rows = compared(ms3, *options, "--only")
    assert done.exit_code == 0, done.output
    noting, every = rows
    assert (noting["provider"].endswith(":noting"), every["provider"]) == (True, "n")
    # True at 1 and 4 s; `noting` says 2 and 4.
    assert (noting["precision@0"], noting["recall@0"], noting["F1@1"]) == (0.5, 0.5, 1.0)
    assert (every["recall@0"], every["precision@0"]) == (1.0, 0.5)
    # A keyframe at 2 s shows what began at 1 s a second late.
    assert (noting["onset_error_s"], every["onset_error_s"]) == (1.0, 0.0)


def test_compare_takes_videos_with_their_truth(videos, tmp_path):
    truth = tmp_path / "truth.json"
    coprop("anchor", videos, "-o", truth, "--fps", "4")
    options = ("--fps", "4", "--only", "-p", "change_detector")
    done, rows = compared(videos, "--truth", truth, *options)
    assert done.exit_code == 0, done.output
    assert [row["F1@0"] for row in rows] == [1.0]
    done, _ = compared(videos, *options)
    assert done.exit_code == 2
    assert "is not a data set (S4, MS3, AVSS)" in done.stderr


def test_compare_lists_what_fails_and_prints_a_table(ms3, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps([1, 0]))
    arguments = ("anchor", "compare", ms3, "--only", "-p", f"file={wrong}", "-p", "novelty")
    done = coprop(*arguments, "--quiet")
    assert done.exit_code == 1
    assert "file: one: " in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if line[:1].isalpha()] == [
        "provider", "file", "novelty",
    ]  # fmt: skip
    assert "failed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-p", "{broken"), "is not JSON"),
        (("-p", "mine={broken"), "is not JSON"),
        (("--only",), "at least one provider with -p"),
        (("--csv", "a file/table.csv"), "cannot be written"),
    ],
)
def test_wrong_usage_of_compare_ends_with_2(ms3, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path("a file").touch()
    done = coprop("anchor", "compare", ms3, "--quiet", *arguments)
    assert done.exit_code == 2, done.output
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.output


def test_an_exception_of_a_provider_is_a_failure_in_the_comparison(ms3, tmp_path, caplog):
    (tmp_path / "bugs.py").write_text("class Bug:\n    def propose(self, clip):\n        1 / 0\n")
    done, rows = compared(ms3, "--only", "-p", f"bug={tmp_path}/bugs.py:Bug", "-p", "novelty")
    assert done.exit_code == 1, done.output
    assert [len(row["failed"]) for row in rows] == [1, 0]
    assert "ZeroDivisionError" in rows[0]["failed"][0]
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("arguments", [(), ("--world", "2", ".")])
def test_compare_wants_one_source_of_clips(arguments):
    done, _ = compared(*arguments)
    assert done.exit_code == 2
    assert "Name the clips" in done.stderr
