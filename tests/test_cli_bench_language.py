"""Rows of `coprop bench` whose control points a language model finds, behind a real server."""

import json
import shutil

import pytest
from chat_server import ChatServer, answers
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.control_points.prompts import FOLDER

ROWS = "bare,cosine+hold,one_step+hold,three_step+hold,rcpg+flow"
LISTENER = """
def listener(messages, waveform, sample_rate, schema=None):
    return "A bell." if schema is None else "[1, 0, 1]"
"""
MODELS = """
def reddish(frames, audio):
    return 8 * (frames[:, :1] - frames[:, 2:])
"""


def reply(handler):
    """Name a bell, or give flags for three frames."""
    body = handler.server.requests[-1]["body"]
    answers("[1, 0, 1]" if "response_format" in body else "A bell.")(handler)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Models, a store, and a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "listeners.py").write_text(LISTENER)
    example = {"id": "a", "categories": ["bell"], "control_points": [1, 0, 1]}
    (tmp_path / "store.jsonl").write_text(json.dumps(example))
    return tmp_path


def bench(*arguments, rows=ROWS):
    tiny = ("--world", 2, "--frames", 3, "--size", "32x48", "-b", "models.py:reddish", "--quiet")
    arguments = ("bench", *tiny, "--rows", rows, "-o", "out", *arguments)
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def results(folder):
    content = json.loads((folder / "out/report.json").read_text())
    return content, {r["row"]: r["mean"] for r in content["results"] if r["part"] == "all"}


def test_rows_ask_a_model_behind_a_server_and_a_second_run_asks_nothing(folder):
    with ChatServer(reply) as server:
        llm = ("--llm", f"openai:{server.url}#scripted", "--store", "store.jsonl")
        done = bench(*llm)
        assert done.exit_code == 0, done.output
        asked = len(server.requests)
        # Of two clips: one question, three, and three.
        assert asked == 2 * (1 + 3 + 3)
        assert {r["body"]["model"] for r in server.requests} == {"scripted"}
        content, scores = results(folder)
        assert all(scores[row]["M_J"] is not None for row in ROWS.split(","))
        about = content["about"]["providers"]["rcpg"]
        assert about["llm"]["model_id"] == "scripted"
        assert about["store"].startswith("1-")
        assert about["prompts"].startswith("paper-1-")
        again = bench(*llm, "--redo")
        assert again.exit_code == 0, again.output
        assert len(server.requests) == asked


def test_a_changed_prompt_example_or_model_makes_new_records(folder):
    records = folder / "out/records.jsonl"

    def made(*arguments):
        before = records.read_text().splitlines() if records.exists() else []
        done = bench(*arguments, rows="cosine+hold,rcpg+hold")
        assert done.exit_code == 0, done.output
        return len(records.read_text().splitlines()) - len(before)

    llm = ("--llm", "listeners.py:listener", "--store")
    assert made(*llm, "store.jsonl") == 4
    assert made(*llm, "store.jsonl") == 0
    # Only the row that asks is scored again: both of its clips.
    shutil.copytree(FOLDER / "paper-1", "mine")
    list_prompt = folder / "mine/rcpg_list.txt"
    list_prompt.write_text(list_prompt.read_text() + " Be brief.")
    assert made(*llm, "store.jsonl", "--prompts", "mine") == 2
    example = json.loads((folder / "store.jsonl").read_text()) | {"id": "b"}
    (folder / "other.jsonl").write_text(json.dumps(example))
    assert made(*llm, "other.jsonl") == 2
    (folder / "listeners.py").write_text(LISTENER.replace("[1, 0, 1]", "[1, 1, 0]"))
    assert made(*llm, "store.jsonl") == 2


def test_any_provider_may_be_named(folder):
    (folder / "points.json").write_text("[1, 0, 1]")
    (folder / "rules.py").write_text(
        "from coprop_plugin.control_points.providers import EveryNProvider\n"
        "rule = EveryNProvider(2)\n"
    )
    named = ("-c", "mine=rules.py:rule", "-c", "given=points.json")
    config = ("-c", 'two={"type": "every_n", "n": 2}')
    rows = "mine+hold,given+hold,two+hold,every_n+hold"
    done = bench(*named, *config, rows=rows)
    assert done.exit_code == 0, done.output
    _, scores = results(folder)
    scored = {row: scores[row]["M_J"] for row in scores}
    assert scored["mine+hold"] == scored["given+hold"] == scored["two+hold"] is not None
    twice = bench("-c", "a=novelty", "-c", "a=cosine", rows="a+hold")
    assert twice.exit_code == 2
    assert "two providers named 'a'" in twice.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--llm", "nobody"), "qwen2_audio:ID"),
        (("--llm", "openai:http://localhost"), "the address or the model"),
        (("--llm", "listeners.py:nobody"), "'nobody'"),
        (("--llm", "listeners.py:listener"), "`store`"),
        (("--store", "store.jsonl"), "`llm`"),
        (("--llm", "listeners.py:listener", "--store", "none.jsonl"), "none.jsonl"),
    ],
)
def test_wrong_language_options_end_with_2(folder, arguments, says):
    done = bench(*arguments, rows="rcpg+hold")
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert not (folder / "out/records.jsonl").exists()


def test_anchor_takes_the_same_options(folder):
    llm = ("--llm", "listeners.py:listener")
    command = ("anchor", "compare", "--world", 2, "--frames", 3, "--only", "--quiet", "--json")
    done = CliRunner().invoke(cli.app, [str(a) for a in (*command, "-p", "three_step", *llm)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["calls"] == 6
    command = ("anchor", ".", "--control-points", "novelty", *llm)
    done = CliRunner().invoke(cli.app, [str(a) for a in command])
    assert done.exit_code == 2
    assert "--llm is for one_step, three_step, rcpg" in done.stderr
