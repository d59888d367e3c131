"""`coprop reproduce`: every table on AVSBench in miniature, with a language model at a server."""

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import get_args

import pytest
from make_paper import SIZE, ScriptedServer, make_avsbench, make_weights
from processes import start_coprop
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.adapters import PUBLISHED
from coprop_plugin.benchmark.datasets import AVSS
from coprop_plugin.benchmark.paper_report import list_of_rows
from coprop_plugin.benchmark.paper_tables import read_table
from coprop_plugin.choices import TableName
from coprop_plugin.cli.verify_report import verify
from coprop_plugin.control_points.prompts import FOLDER

ROOT = Path(__file__).resolve().parent.parent
TABLES = get_args(TableName)


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """A folder with data, stores and weights."""
    root = tmp_path_factory.mktemp("paper")
    folders = make_avsbench(root / "data")
    make_weights(root / "weights")
    labels = ("--labels", folders["AVSS"])
    for name, folder, given in (
        ("ms3", folders["MS3"], labels),
        ("avss", folders["AVSS"], ()),
    ):
        done = coprop("anchor", "index", folder, *given, "-o", root / "stores" / f"{name}.jsonl")
        assert done.exit_code == 0, done.output
    # S4's training clips are annotated by hand, and some of the others.
    shutil.copy(root / "stores" / "ms3.jsonl", root / "stores" / "s4.jsonl")
    by_hand = "".join(
        f'{{"categories": ["{kind}"], "control_points": [1, 0, 1, 0, 0]}}\n'
        for kind in ("dog", "flute", "singer")
    )
    for store in (root / "stores").glob("*.jsonl"):
        store.write_text(store.read_text() + by_hand)
    return root


@pytest.fixture(scope="module")
def server(paper):
    with ScriptedServer(AVSS(paper / "data" / "AVSS", "test")) as server:
        yield server


def coprop(*arguments):
    env = {"NO_PROXY": "*"}
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], env=env)


def command(paper, table, out, llm):
    where = ("--data", paper / "data", "--weights", paper / "weights", "-o", out)
    language = ("--llm", llm, "--store", paper / "stores")
    return ("reproduce", table, *where, *language, "--size", SIZE[0], "--quiet")


def ours(out, table):
    """Return our numbers by row and set."""
    rows = json.loads((out / f"{table}.json").read_text())["rows"]
    return {(row["row"], row["set"]): row["ours"] for row in rows}


@pytest.fixture(scope="module")
def made(paper, server):
    """The results of all tables, in one folder."""
    out = paper / "reproduced"
    done = {t: coprop(*command(paper, t, out, f"openai:{server.url}#scripted")) for t in TABLES}
    return out, done


@pytest.mark.parametrize("table", TABLES)
def test_every_row_gives_a_number_or_says_what_is_missing(made, table):
    out, done = made
    known = read_table(table)
    content = json.loads((out / f"{table}.json").read_text())
    assert [(r["row"], r["set"]) for r in content["rows"]] == [(c.row, c.set) for c in known.cells]
    for row, cell in zip(content["rows"], known.cells, strict=True):
        assert row["failures"] == []
        assert (row["ours"] is None) == bool(row["missing"]), row
        assert row["paper"] == (None if cell.paper is None else list(cell.paper))
        if row["ours"] and row["paper"]:
            wanted = [a - b for a, b in zip(row["ours"], row["paper"], strict=True)]
            assert row["difference"] == pytest.approx(wanted, abs=1e-3)
        if row["ours"] and cell.kind == "masks":
            assert len(row["ran"]["keyframes"]["sha256"]) == 64
            assert (row["ran"].get("provider", {}).get("name", "")) == cell.points
    complete = all(row["ours"] for row in content["rows"])
    assert done[table].exit_code == (0 if complete else 1), done[table].output
    text = (out / f"{table}.md").read_text()
    assert text == done[table].stdout
    assert known.title in text
    with (out / f"{table}.csv").open(newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == [c.row for c in known.cells]


def test_a_table_is_run_again_and_compared(made, tmp_path):
    path = made[0] / "table3.json"
    same = verify(path, trust=True, run=lambda words: coprop(*words).exit_code)
    assert same.is_same, str(same)
    assert same.compared > 6
    content = json.loads(path.read_text())
    content["rows"][0]["ours"][0] += 1
    (tmp_path / "table3.json").write_text(json.dumps(content))
    found = verify(tmp_path / "table3.json", trust=True, run=lambda w: coprop(*w).exit_code)
    assert len(found.numbers) == 1
    assert "S4, S4, all: Videos was" in found.numbers[0]


def test_words_guide_the_text_guided_row_of_table_4(made):
    out, done = made
    assert done["table4"].exit_code == 0, done["table4"].output
    found = ours(out, "table4")
    assert all(found[row, name] for row in ("direct", "text") for name in ("S4", "MS3"))
    rows = json.loads((out / "table4.json").read_text())["rows"]
    ran = {row["row"]: row["ran"] for row in rows if row["set"] == "MS3"}
    assert ran["text"]["propagator"]["name"] == "ms3_propagator_text"
    assert ran["text"]["keyframes"]["name"] == "ms3_keyframes_text"
    assert ran["text"]["provider"]["name"] == "rcpg"


def test_what_is_missing_is_named_with_its_source(made):
    text = made[1]["table1"].stdout
    assert "tpavi_resnet50_ms3.pth, from training with the authors' code" in text
    assert "avsegformer_pvt_v2_b5_avss.pth, from https://drive.google.com" in text
    assert "code: none found" in text
    assert "code: https://github.com/OpenNLPLab/AVS-bidirectional" in text
    assert "ms3_keyframes_1b_r50" in text


def test_rows_of_several_tables_are_one_and_the_same(made):
    out, _ = made
    for name in ("S4", "MS3"):
        full = ours(out, "table2b")["rcpg", name]
        assert full == ours(out, "table2a")["kpf-rcpg-aip", name]
        assert full == ours(out, "table5")["4_layer", name] == ours(out, "table6")["all", name]
        assert full == ours(out, "table1")["ours-pvt_v2_b5", name]
    ran = json.loads((out / "table5.json").read_text())["rows"][0]["ran"]
    assert ran["provider"]["llm"]["model_id"] == "scripted"
    assert "without audio" in ran["propagator"]["name"]


def test_a_second_run_asks_nothing_and_a_changed_prompt_changes_the_rows_that_use_it(
    paper, server, made, tmp_path
):
    out, _ = made
    asked, before = len(server.requests), ours(out, "table2b")
    again = command(paper, "table2b", out, f"openai:{server.url}#scripted")
    assert coprop(*again).exit_code == 0
    assert len(server.requests) == asked
    assert ours(out, "table2b") == before
    shutil.copytree(FOLDER / "paper-1", tmp_path / "mine")
    for name in ("one_step_list", "three_step_list", "rcpg_list"):
        path = tmp_path / "mine" / f"{name}.txt"
        path.write_text(path.read_text() + " Think of every frame.")
    assert coprop(*again, "--prompts", tmp_path / "mine").exit_code == 0
    changed = ours(out, "table2b")
    assert len(server.requests) > asked
    assert {row for row in before if before[row] != changed[row]} <= {
        row for row in before if row[0] != "cosine"
    }
    assert changed["rcpg", "S4"] != before["rcpg", "S4"]


KILLS = """
import os, signal
calls = 0

def listener(messages, waveform, sample_rate, schema=None):
    global calls
    calls += 1
    if calls == int(os.environ.get("KILL_AT_CALL", 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    return "A bell." if schema is None else "[1, 0, 1, 0, 0]"
"""


def test_a_killed_run_ends_with_the_same_table(paper, tmp_path):
    (tmp_path / "kills.py").write_text(KILLS)
    llm = f"{tmp_path}/kills.py:listener"

    def arguments(out):
        return [*map(str, command(paper, "table2b", tmp_path / out, llm)), "--sets", "MS3"]

    env = {"KILL_AT_CALL": "3"}
    killed = start_coprop(tmp_path / "child", *arguments("killed"), env=env).wait()
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    records = tmp_path / "killed" / "records.jsonl"
    begun = records.read_text()
    assert begun.count("\n") >= 1
    for out in ("killed", "straight"):
        assert coprop(*arguments(out)).exit_code == 0
    assert records.read_text().startswith(begun)
    tables = [(tmp_path / out / "table2b.md").read_text() for out in ("killed", "straight")]
    assert tables[0] == tables[1]


def test_authors_code_runs_in_its_row(paper, tmp_path):
    (tmp_path / "theirs.py").write_text(
        "def make():\n    return lambda frames, audio: 8 * (frames[:, :1] - frames[:, 2:])\n"
    )
    where = ("--data", paper / "data", "--weights", paper / "weights", "-o", tmp_path)
    rows = ("--rows", "bavs-resnet50", "--sets", "S4,MS3", "--size", SIZE[0], "--quiet")
    models = ("-b", f"bavs-resnet50/S4={tmp_path}/theirs.py:make")
    done = coprop("reproduce", "table1", *where, *rows, *models)
    assert done.exit_code == 1
    found = ours(tmp_path, "table1")
    assert found["bavs-resnet50", "S4"] is not None
    assert found["bavs-resnet50", "MS3"] is None


def test_the_page_has_every_row_with_the_papers_numbers():
    lines = (ROOT / "docs" / "reproduce.md").read_text().splitlines()
    for table in TABLES:
        start = lines.index(f"### {read_table(table).title}")
        shown = [line for line in lines[start + 1 : start + 40] if line.startswith("| `")]
        assert any(f"`coprop reproduce {table}`" in line for line in lines[start : start + 4])
        for cell in read_table(table).cells:
            numbers = " / ".join(f"{n:g}" for n in cell.paper or ())
            wanted = (f"| `{cell.row}`", f"{cell.set} {numbers or '-'}")
            assert any(all(part in line for part in wanted) for line in shown), wanted


def test_rows_are_listed_with_what_they_need():
    done = coprop("reproduce", "table2a", "--list")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == list_of_rows(["table2a"])
    assert "cosine, s4_keyframes, R50_AOTL_PRE_YTB_DAV" in done.stdout
    done = coprop("reproduce", "table2a", "--list", "--json")
    assert [json.loads(line)["row"] for line in done.stdout.splitlines()] == [
        cell.row for cell in read_table("table2a").cells
    ]
    everything = coprop("reproduce", "--list").stdout
    assert all(f"(`{table}`)" in everything for table in TABLES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--list"),
        (("table9",), "table9"),
        (("table1", "--rows", "nobody"), "'nobody' is not a row of table1"),
        (("table1", "--sets", "MOC"), "'MOC' is not a set of table1"),
        (("table1", "-b", "nobody=models.py:make"), "ROW=MODEL"),
    ],
)
def test_wrong_usage_ends_with_2(tmp_path, arguments, says):
    done = coprop("reproduce", *arguments, "-o", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_numbers_that_the_paper_gives_twice_are_the_same():
    def paper_of(table, row):
        return {c.set: c.paper for c in read_table(table).cells if c.row == row}

    full = paper_of("table2b", "rcpg")
    assert full == paper_of("table2a", "kpf-rcpg-aip")
    assert full == paper_of("table5", "4_layer") == paper_of("table6", "all")
    for table, row in (("table1", "ours-pvt_v2_b5"), ("table4", "direct")):
        for name, numbers in full.items():
            assert paper_of(table, row)[name] == tuple(round(n, 1) for n in numbers)
    for model in PUBLISHED:
        if model.family in ("tpavi", "catr"):
            listed = paper_of("table1", f"{model.family}-{model.backbone}")
            assert listed[model.subset] == (model.m_j, model.m_f)
