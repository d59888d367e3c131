"""Many files in several processes: results equal those of one process, in the same order."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from make_results import everything_in
from processes import start_coprop

from coprop_plugin import Clip, media, wrap
from coprop_plugin.batch import (
    Manifest,
    Options,
    Outcome,
    Shard,
    find_inputs,
    make_model,
    run_many,
)
from coprop_plugin.errors import CopropError, MediaError, MissingExtraError, WorkerError
from coprop_plugin.types import ControlPoints

SEGMENTERS = """
import os
import signal
import sys
import time

def bright(frames, audio):
    if frames.mean() > 0.97:
        os.kill(os.getpid(), signal.SIGKILL)
    return frames.mean(1, keepdim=True) - 0.6

def slow(frames, audio):
    time.sleep(60)

def cannot():
    raise ValueError("no such thing")

def dies():
    os.kill(os.getpid(), signal.SIGKILL)

def third_runs_out_of_memory():
    with open(__file__ + ".built", "ab") as file:
        file.write(b".")
        if file.tell() > 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return bright
"""
OPTIONS = Options(fps=2, overlay=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    (folder / "segmenters.py").write_text(SEGMENTERS)
    videos = folder / "videos"
    videos.mkdir()
    for k in range(3):
        frames = torch.full((2, 3, 32, 32), 0.5)
        frames[:, :, 8:20, 6 + 4 * k : 20] = 0.8
        media.write_clip(Clip(frames, torch.rand(16_000) - 0.5), videos / f"clip{k}.mp4")
    white = Clip(torch.ones(2, 3, 32, 32), torch.rand(16_000) - 0.5)
    media.write_clip(white, videos / "deadly.mp4")
    (videos / "bad.mp4").write_text("no video")
    return folder


def make(folder, name="bright"):
    backend = f"{folder / 'segmenters.py'}:{name}"
    return partial(make_model, backend, control_points="every_n", propagator="hold")


def no_model(number):
    raise ValueError("a model was built")


def contents(folder):
    """Every file of the results; the manifest has times, and what is hidden is no result."""
    names = [n for n in everything_in(folder) if n[0] != "." and n != "manifest.jsonl"]
    return {name: (folder / name).read_bytes() for name in names}


def test_workers_equal_one_process_and_a_killed_worker_is_one_failure(folder, tmp_path):
    paths = find_inputs([folder / "videos"])
    alone = [path for path in paths if path.stem != "deadly"]
    one = list(run_many(make(folder), alone, tmp_path / "one", OPTIONS))
    two = list(run_many(make(folder), paths, tmp_path / "two", OPTIONS, workers=2))
    assert [outcome.input for outcome in two] == paths
    assert [o.status for o in two] == ["failed", "done", "done", "done", "failed"]
    assert "SIGKILL" in two[-1].error
    expected = [json.dumps(o.to_dict()).replace("/one/", "/two/") for o in one]
    assert expected == [json.dumps(o.to_dict()) for o in two[:-1]]
    files = contents(tmp_path / "two")
    assert files == contents(tmp_path / "one")
    assert len(files) == 3 * (2 * 3 + 2)
    noted = Manifest.read(tmp_path / "two")
    assert {Path(n).stem: line["state"] for n, line in noted.items()} == {
        "bad": "failed", "clip0": "done", "clip1": "done", "clip2": "done", "deadly": "failed",
    }  # fmt: skip
    again = list(run_many(make(folder), alone, tmp_path / "two", OPTIONS))
    assert [o.status for o in again] == ["failed", "skipped", "skipped", "skipped"]
    # Those that are finished need no model; one of which a part is missing does.
    finished = [path for path in alone if path.stem != "bad"]
    again = list(run_many(no_model, finished, tmp_path / "two", OPTIONS))
    assert [o.status for o in again] == ["skipped"] * 3
    for change in ({"redo": True}, {"bare": True}, {"report": True}):
        with pytest.raises(ValueError, match="a model was built"):
            list(run_many(no_model, finished, tmp_path / "two", replace(OPTIONS, **change)))


@pytest.mark.parametrize(
    ("name", "says"),
    [("cannot", "no such thing"), pytest.param("dies", "SIGKILL", marks=pytest.mark.slow)],
)
def test_a_model_that_cannot_be_built_ends_the_run(folder, tmp_path, name, says):
    paths = find_inputs([folder / "videos"])
    with pytest.raises(WorkerError, match=says):
        list(run_many(make(folder, name), paths[:2], tmp_path / "out", OPTIONS, workers=2))
    assert not (tmp_path / "out").exists()


def test_without_memory_for_replacements_fewer_workers_go_on(folder, tmp_path):
    paths = []
    for k, name in enumerate(["deadly", "clip0", "deadly", "clip1"]):
        paths.append(tmp_path / f"{k}_{name}.mp4")
        paths[-1].write_bytes((folder / "videos" / f"{name}.mp4").read_bytes())
    made = make(folder, "third_runs_out_of_memory")
    outcomes = list(run_many(made, paths, tmp_path / "out", OPTIONS, workers=2))
    assert [o.status for o in outcomes] == ["failed", "done", "failed", "failed"]
    assert "died (SIGKILL)" in outcomes[0].error
    assert "not segmented, because no worker is left" in outcomes[3].error
    assert "died while it built its model (SIGKILL)" in outcomes[3].error
    assert {Path(name) for name in Manifest.read(tmp_path / "out")} == set(paths)


LINUX = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at /proc")


@pytest.mark.slow
@LINUX
def test_a_terminated_run_leaves_no_process_and_no_partial_file(folder, tmp_path):
    command = ["run", folder / "videos", "--quiet"]
    command += ["--backend", f"{folder / 'segmenters.py'}:slow", "-o", tmp_path / "out"]
    command += ["--workers", "2", "--fps", "2", "--control-points", "every_n"]
    process = start_coprop(tmp_path / "printed", *command)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(tmp_path.glob("out/.*.part"))) < 2:
        time.sleep(0.2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert process.returncode == 143, process.stderr
    assert "Traceback" not in process.stderr
    assert len(children) >= 2
    _wait_for(children)
    assert not [p for p in (tmp_path / "out").iterdir() if p.name[0] not in ".m"]


CONSUMER = """
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from coprop_plugin.batch import Options, find_inputs, make_model, run_many

def main(folder, out):
    make = partial(make_model, f"{folder / 'segmenters.py'}:slow", control_points="every_n")
    outcomes = run_many(make, find_inputs([folder / "videos"]), out, Options(fps=2), workers=2)
    for outcome in outcomes:
        print(Path("/proc/thread-self/children").read_text(), flush=True)
        raise ValueError(f"nobody wants {outcome.input.name}")

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@LINUX
def test_a_program_that_raises_while_it_reads_outcomes_ends_and_so_do_its_workers(folder, tmp_path):
    (tmp_path / "consumer.py").write_text(CONSUMER)
    command = [sys.executable, tmp_path / "consumer.py", folder, tmp_path / "out"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.endswith("ValueError: nobody wants bad.mp4\n")
    assert len(ended.stdout.split()) >= 2
    _wait_for(ended.stdout.split())


def _wait_for(processes):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(map(_runs, processes)):
        time.sleep(0.2)
    assert not any(map(_runs, processes))


def _runs(process):
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    # A zombie has ended, and waits for its parent.
    return status.rpartition(")")[2].split()[0] != "Z"


def test_shards_are_disjoint_and_complete():
    items = list(range(11))
    shares = [Shard(k, 4).of(items) for k in range(4)]
    assert sorted(sum(shares, [])) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_shards_from_torchrun_and_slurm():
    slurm = {"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}
    assert Shard.from_environment(slurm) == Shard(2, 3)
    assert Shard.from_environment({**slurm, "RANK": "0", "WORLD_SIZE": "2"}) == Shard(0, 2)
    assert Shard.from_environment({"RANK": "0"}) == Shard()
    for wrong in ("3/3", "1", "-1/2", "a/b"):
        with pytest.raises(MediaError, match="Expected a share as INDEX/COUNT"):
            Shard.parse(wrong)


def test_shards_name_results_after_all_inputs(folder, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [tmp_path / "a" / "x.mp4", tmp_path / "b" / "x.mp4"]
    for path in paths:
        path.write_bytes((folder / "videos" / "clip0.mp4").read_bytes())
    for k in range(2):
        share = Shard(k, 2)
        (outcome,) = run_many(make(folder), paths, tmp_path / "out", OPTIONS, shard=share)
        assert (outcome.input, outcome.status) == (paths[k], "done")
    names = sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".")
    assert names[:2] == ["manifest.jsonl", "x"]
    assert re.fullmatch("x-[0-9a-f]{8}", names[2])
    assert {line["rank"] for line in Manifest.read(tmp_path / "out").values()} == {0, 1}


def test_a_text_file_lists_inputs(folder, tmp_path):
    (tmp_path / "list.txt").write_text(f"# mine\n{folder / 'videos'}\n\n  other.mp4 \n")
    (tmp_path / "list").write_text("one.mp4\n")
    found = find_inputs([tmp_path / "list.txt", Path(f"@{tmp_path / 'list'}"), Path("two.mp4")])
    assert [path.name for path in found] == [
        "bad.mp4", "clip0.mp4", "clip1.mp4", "clip2.mp4", "deadly.mp4",
        "other.mp4", "one.mp4", "two.mp4",
    ]  # fmt: skip
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfone.mp4\r\nt\xe4nze.mp4\r\n")
    names = [os.fsencode(path) for path in find_inputs([Path(f"@{tmp_path / 'list'}")])]
    assert names == [b"one.mp4", b"t\xe4nze.mp4"]
    (tmp_path / "list").write_bytes(b"\0\0")
    with pytest.raises(MediaError, match="is not text"):
        find_inputs([Path(f"@{tmp_path / 'list'}")])
    (tmp_path / "list").write_text("# nothing\n")
    with pytest.raises(MediaError, match="names nothing"):
        find_inputs([Path(f"@{tmp_path / 'list'}")])
    with pytest.raises(MediaError, match="missing.txt cannot be read"):
        find_inputs([tmp_path / "missing.txt"])


def test_lists_and_manifests_that_are_too_large_are_not_read(tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("one.mp4\n" * 20)
    Manifest(tmp_path).add(Outcome(Path("a.mp4"), "done"))
    monkeypatch.setenv("COPROP_MAX_TEXT_BYTES", "100")
    with pytest.raises(MediaError, match="list.txt.*COPROP_MAX_TEXT_BYTES"):
        find_inputs([tmp_path / "list.txt"])
    with pytest.raises(MediaError, match="manifest.jsonl.*COPROP_MAX_TEXT_BYTES"):
        Manifest.read(tmp_path)


def test_an_exception_of_a_model_is_one_failure(folder, tmp_path, caplog):
    class Broken:
        num_classes = 1

        def segment_keyframes(self, clip, indices):
            raise RuntimeError("shapes do not fit")

    paths = [folder / "videos" / f"clip{k}.mp4" for k in range(2)]
    model = wrap(Broken(), control_points="every_n")
    outcomes = list(run_many(lambda number: model, paths, tmp_path / "out", OPTIONS))
    assert [o.error for o in outcomes] == ["RuntimeError: shapes do not fit"] * 2
    assert "Traceback" in caplog.text


def _add_many(folder, rank):
    for k in range(50):
        Manifest(folder, rank=rank).add(Outcome(Path(f"{rank}-{k}.mp4"), "done"))


def test_a_manifest_supports_many_writers_and_a_cut_line(tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"input": "half')
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_many, args=(tmp_path, rank)) for rank in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(Manifest.read(tmp_path)) == 150
    Manifest(tmp_path).add(Outcome(Path("0-7.mp4"), "failed", error="It is empty."))
    assert Manifest.read(tmp_path)["0-7.mp4"]["state"] == "failed"


def test_an_outcome_survives_json():
    points = ControlPoints([1, 0, 1], silent=[0, 0, 1], starts_s=[0.0, 1.5])
    outcome = Outcome(Path("a.mp4"), "done", Path("out/a"), 3, points, (0.0, 2.0))
    assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


def test_missing_ray_names_the_extra(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    paths = find_inputs([folder / "videos"])
    with pytest.raises(MissingExtraError, match=r"pip install .*\[ray\]") as caught:
        list(run_many(make(folder), paths, tmp_path / "out", OPTIONS, engine="ray"))
    assert isinstance(caught.value, CopropError)


@pytest.mark.slow
def test_ray_equals_one_process(folder, tmp_path):
    pytest.importorskip("ray")
    paths = [path for path in find_inputs([folder / "videos"]) if path.stem != "deadly"]
    one = list(run_many(make(folder), paths, tmp_path / "one", OPTIONS))
    two = list(run_many(make(folder), paths, tmp_path / "two", OPTIONS, workers=2, engine="ray"))
    assert [o.input for o in one] == [o.input for o in two]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
