"""The page on AVSBench: its own commands, one after the other, at tiny size."""

import json
import shlex
from pathlib import Path

import pytest
import torch
from chat_server import ChatServer, answers
from doc_pages import ROOT, blocks_of
from make_avsbench import make_avss, make_ms3
from toy_training import TOY_PROCESSOR, TOY_PROPAGATOR
from typer.testing import CliRunner

from coprop_plugin.cli import app
from coprop_plugin.control_points import Store
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.propagation import load_propagator

PAGE = ROOT / "docs/train_avsbench.md"
SERVER = "http://localhost:8000/v1"
CLIPS = {"a": "train", "b": "train", "v": "val", "t": "test"}
TINY_LOADER = dict(batch_size=2, num_workers=0, persistent_workers=False)


def commands():
    """Return the commands of the section, without the comments."""
    section = PAGE.read_text().partition("## From stage 1")[2].partition("\n## ")[0]
    shell = [
        block.body for block in blocks_of(PAGE) if block.kind == "sh" and block.body in section
    ]
    return [shlex.split(line, comments=True) for line in "".join(shell).splitlines()]


def tiny(name):
    """Return what makes a config tiny, as `--set` takes it."""
    changes = {}
    for part in ("train", "val", "test"):
        changes |= {f"{part}_dataloader.{key}": value for key, value in TINY_LOADER.items()}
    changes |= {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1}
    if name.endswith("_keyframes"):
        changes |= {"model.vggish": None, "model.processor": TOY_PROCESSOR | dict(_delete_=True)}
    if name.endswith("_propagator"):
        changes |= {"model.vggish": None, "model.aot_weights": None, "model.freeze_encoder": False}
        changes |= {"model.propagator": TOY_PROPAGATOR | dict(_delete_=True)}
    for part in ("train", "val", "test"):
        whole = name.endswith("_keyframes") or (name.endswith("_1b") and part != "train")
        changes[f"{part}_dataloader.dataset.{'' if whole else 'dataset.'}size"] = 32
    return [word for n, x in changes.items() for word in ("--set", f"{n}={x!r}")]


def run(words, url):
    if words[0] == "echo":
        Path(words[3]).write_text(words[1].replace(SERVER, url))
        return None
    assert words[0] == "coprop"
    words = [word.replace(SERVER, url) for word in words[1:]]
    if words[0] in ("train", "evaluate"):
        words = [*words, *tiny(words[1])]
    if words[0] in ("bench", "reproduce"):
        words = [*words, "--size", "32", "--quiet"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A dog that hands over to a girl, which MS3's own masks do not show."""
    monkeypatch.chdir(tmp_path)
    size = (32, 32)
    make_ms3(tmp_path / "data/Multi-sources", {n: (s, "11111") for n, s in CLIPS.items()}, size)
    clips = {n: (n, "v1m", s, [2, 2, 3, 3, 3]) for n, s in CLIPS.items()}
    make_avss(tmp_path / "data/AVSS", clips, size)
    return tmp_path


def test_the_pages_commands_lead_from_stage_1_to_the_tables(data):
    torch.manual_seed(0)
    script = commands()
    assert [w[:2] for w in script if w[0] == "coprop" and w[1] != "evaluate"] == [
        ["coprop", verb] for verb in "train anchor anchor train train reproduce moc bench".split()
    ]
    said = answers("a dog, then a girl: [1, 0, 1, 0, 0]")
    with ChatServer(said) as server:
        outputs = [run(words, server.url) for words in script]
        calls = len(server.requests)
    store = Store.load("store.jsonl")
    assert [(e.id, e.categories, e.control_points) for e in store] == [
        (name, ("dog", "woman"), (1, 0, 1, 0, 0)) for name in "ab"
    ]
    points = json.loads(Path("points/ms3_train.json").read_text())["clips"]
    assert {n: p["indices"] for n, p in points.items()} == {"a": [0, 2], "b": [0, 2]}
    assert [p["log"]["windows"][0]["eq_5"]["D_q"] for p in points.values()] == [["b"], ["a"]]
    # Three questions a clip; the table asks about the test clip in one, three and three steps.
    assert calls == 6 + 7
    stages = [Path(f"work_dirs/ms3_{s}/weights.safetensors") for s in ("keyframes", "keyframes_1b")]
    first, second = (load_keyframe_processor(path).state_dict() for path in stages)
    assert any(not torch.equal(x, second[name]) for name, x in first.items())
    load_propagator("work_dirs/ms3_propagator/weights.safetensors")
    assert Path("moc.txt").read_text().split() == ["t"]
    assert "masks/M_J" in outputs[1].stdout
    report = json.loads(Path("bench_ms3/report.json").read_text())
    rows = {r["row"]: r["mean"] for r in report["results"] if r["part"] == "changing"}
    # By AVSS's labels the clip changes, and the oracle knows where.
    assert rows.keys() == {"bare", "cosine+learned", "oracle+learned"}
    assert rows["oracle+learned"]["F1@0"] == 1.0
    table = json.loads(Path("reproduced/table2b.json").read_text())
    assert [row["row"] for row in table["rows"]] == ["cosine", "one_step", "three_step", "rcpg"]
    assert all(row["clips"] == 1 and len(row["ours"]) == 2 for row in table["rows"])
