"""The leaderboard page from reports alone, what made each number, and reports run again."""

import json
import re
import sys
from typing import Annotated

import pytest
import typer
from chromium import Chromium, find_chromium
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.benchmark.plug_and_play.report_differences import ReportDifferences
from coprop_plugin.cli.typed_command import command_of
from coprop_plugin.cli.verify_report import code_of, run_command, verify
from coprop_plugin.errors import ReportError
from coprop_plugin.report import read_bench, write_leaderboard

MODELS = """
def red(frames, audio):
    return 9 * (frames[:, :1] - 0.6)

def blue(frames, audio):
    return 9 * (frames[:, 2:] - 0.6)
"""


def coprop(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The output folder of a small benchmark with a page."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "models.py").write_text(MODELS)
    world = ("--world", 1, "--frames", 2, "--size", "16x24", "--seeds", 2, "--quiet")
    models = ("-b", f"red={folder}/models.py:red", "-b", f"blue={folder}/models.py:blue")
    done = coprop("bench", *world, *models, "--rows", "bare", "--page", "-o", folder / "out")
    assert done.exit_code == 0, done.output
    assert "leaderboard.html" in done.stderr
    return folder / "out"


def data_of(page):
    text = re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1]
    return json.loads(text)


def report(score=0.5, name="theirs", **mean):
    line = {"backend": name, "row": "bare", "part": "all", "clips": 3, "made_by": {}}
    content = {"format": "coprop.benchmark/1", "about": {"settings": {"data": "MS3 test"}}}
    return content | {"results": [line | {"mean": {"M_J": score, **mean}, "std": {}, "worst": []}]}


def test_every_number_says_what_made_it(made):
    content = json.loads((made / "report.json").read_text())
    command = content["about"]["command"]
    assert command[:3] == ["bench", "--world", "1"]
    assert "--page" not in command
    assert "--out" not in command
    for result in content["results"]:
        made_by = result["made_by"]
        assert set(made_by) == {"backend", "propagator", "provider", "data", "versions"}
        assert set(made_by["data"]) == {"scenes 2000-2000", "scenes 2001-2001"}
        (versions,) = made_by["versions"]
        assert versions.startswith("coprop_plugin ")
    prints = {r["backend"]: r["made_by"]["backend"] for r in content["results"]}
    assert prints["red"] != prints["blue"]
    assert len(set(made_by["data"].values())) == 2


def test_the_page_has_a_line_and_pictures_of_the_worst_clips_of_each_model(made):
    lines = data_of(made / "leaderboard.html")["clips"]
    assert {line["backend"] for line in lines} == {"red", "blue"}
    content = read_bench(made)
    scores = {r["backend"]: r["mean"] for r in content["results"] if r["part"] == "all"}
    for line in lines:
        for name in ("M_J", "M_F", "AR@0.3", "AR@0.5", "AR@0.7", "calls"):
            assert line[name] == scores[line["backend"]][name]
    text = (made / "leaderboard.html").read_text()
    worst = [clip for r in content["results"] for clip in r["worst"]]
    assert len(worst) == 4
    assert sorted(clip["M_J"] for clip in worst[:2]) == [clip["M_J"] for clip in worst[:2]]
    assert all(clip["picture"] in text for clip in worst)


def test_reports_of_several_people_are_put_together_each_line_once(made, tmp_path):
    (tmp_path / "theirs.json").write_text(json.dumps(report(0.75, **{"G-mIoU": 0.25})))
    files = (made, made / "report.json", tmp_path / "theirs.json")
    done = coprop("leaderboard", *files, "-o", tmp_path / "all.html", "--title", "Ours <&>")
    assert done.exit_code == 0, done.output
    lines = data_of(tmp_path / "all.html")["clips"]
    assert [line["backend"] for line in lines].count("red") == 1
    theirs = next(line for line in lines if line["backend"] == "theirs")
    assert (theirs["data"], theirs["G-mIoU"]) == ("MS3 test", 0.25)
    text = (tmp_path / "all.html").read_text()
    assert "Ours &lt;&amp;&gt;" in text
    assert "3 lines" in text


def test_clips_that_differ_are_not_compared_under_one_name(tmp_path):
    reports = [report(0.5, "a"), report(0.75, "b")]
    for number, one in enumerate(reports):
        one["results"][0]["made_by"] = {"data": {"MS3 test": str(number)}}
    page = write_leaderboard(reports, tmp_path / "two.html")
    assert len({line["data"] for line in data_of(page)["clips"]}) == 2
    assert "<b>" not in page.read_text()
    reports[1]["results"][0]["made_by"] = reports[0]["results"][0]["made_by"]
    page = write_leaderboard(reports, tmp_path / "one.html")
    assert "MS3 test #" not in page.read_text()
    # Reports of earlier versions have no fingerprints, but the numbers of their clips.
    for number, one in enumerate(reports):
        one["results"][0]["made_by"] = {}
        one["about"]["sets"] = {"MS3 test": number}
    earlier = write_leaderboard(reports, tmp_path / "earlier.html")
    assert len({line["data"] for line in data_of(earlier)["clips"]}) == 2
    assert {line["data"] for line in data_of(page)["clips"]} == {"MS3 test"}
    assert "<b>0.750</b>" in page.read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no JSON", "cannot be read as JSON"),
        ("[1]", "Expected a report of `coprop bench`"),
        ('{"format": "coprop.benchmark/1", "results": [{"row": 1}]}', "backend, row, part"),
    ],
)
def test_what_is_no_report_is_refused(content, words, tmp_path):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ReportError, match=re.escape(words)):
        read_bench(tmp_path)
    done = coprop("leaderboard", tmp_path, "-o", tmp_path / "page.html")
    assert done.exit_code == 2


def test_a_report_cannot_bring_script_or_other_pictures_into_the_page(tmp_path):
    evil = report(0.5, "<script>alert(1)</script>")
    pictures = ["javascript:alert(1)", "http://example.org/a.jpg", "data:image/svg+xml;base64,AA=="]
    clips = [{"clip": "<img>", "M_J": 0.1, "picture": p} for p in pictures]
    evil["results"][0] |= {"worst": clips, "mean": {"M_J": 0.5, "M_F": "<b>", "calls": 1e999}}
    (tmp_path / "report.json").write_text(json.dumps(evil))
    page = write_leaderboard([read_bench(tmp_path)], tmp_path / "page.html").read_text()
    assert "<script>alert" not in page
    assert not any(picture in page for picture in pictures)


def test_a_command_keeps_arguments_and_repeated_options():
    app = typer.Typer()
    seen = []

    @app.command()
    def one(
        context: typer.Context,
        folder: Annotated[str | None, typer.Argument()] = None,
        model: Annotated[list[str] | None, typer.Option()] = None,
        number: Annotated[int, typer.Option()] = 0,
        flag: Annotated[bool, typer.Option("--flag")] = False,
        out: Annotated[str, typer.Option()] = "out",
    ):
        seen.append(command_of(context, ("out",)))

    words = ["a b", "--model", "x", "--model", "y", "--number", "1", "--flag", "--out", "z"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert seen[0][1:] == words[:-2]
    assert CliRunner().invoke(app, []).exit_code == 0
    assert seen[1][1:] == []


def run_here(words):
    return coprop(*words).exit_code


def test_a_report_is_run_again_and_compared(made, tmp_path):
    with pytest.raises(ReportError, match="add --trust"):
        verify(made / "report.json", trust=False, run=run_here)
    same = verify(made / "report.json", trust=True, run=run_here)
    assert same.is_same, str(same)
    assert same.compared > 20
    content = json.loads((made / "report.json").read_text())
    content["results"][0]["mean"]["M_J"] += 0.25
    made_by = content["results"][0]["made_by"]
    made_by |= {"backend": "other", "versions": ["coprop_plugin 0.0.1"]}
    made_by["data"]["scenes 2000-2000"] = "other"
    (tmp_path / "report.json").write_text(json.dumps(content))
    found = verify(tmp_path, trust=True, run=run_here)
    assert len(found.numbers) == 1
    assert "red, bare, all: M_J was" in found.numbers[0]
    text = str(found)
    for words in ("another backend", "scenes 2000-2000: other clips", "coprop_plugin 0.0.1, now"):
        assert words in text


def test_a_report_that_is_gone_is_not_said_to_be_written(capsys):
    script = "import sys; sys.stderr.write('coprop: wrote /x\\ncoprop: clip 1\\n'); sys.exit(1)"
    assert run_command([], (sys.executable, "-c", script)) == 1
    assert capsys.readouterr().err == "coprop: clip 1\n"


def test_what_differs_is_json_too():
    found = ReportDifferences(["red: M_J was 0, is 1"], [], 3)
    assert json.loads(json.dumps(found.to_dict())) == {
        "is_same": False,
        "compared": 3,
        "numbers": ["red: M_J was 0, is 1"],
        "causes": [],
    }


def test_what_cannot_be_verified_is_refused_and_says_what_can(tmp_path):
    path = tmp_path / "scores.json"
    for text, says in (
        ('{"M_J": 0.5}', "is of another form, 'None'"),
        ("M_J 0.5", "is not a report in JSON"),
        ('{"format": "coprop.paper/1"}', "does not hold the results of a table"),
    ):
        path.write_text(text)
        done = coprop("reproduce", "--verify", path)
        assert done.exit_code == 2
        assert says in " ".join(done.stderr.split())
    path.write_text("{}")
    with pytest.raises(ReportError, match="report.json of `coprop bench` and NAME.json .*evaluate"):
        verify(path, trust=False)
    with pytest.raises(ReportError, match="There is no "):
        verify(tmp_path / "none.json", trust=False)


def test_only_a_command_of_bench_is_run(tmp_path):
    for command in (None, "bench", ["run", "x"], ["bench", 1]):
        content = report()
        content["about"]["command"] = command
        (tmp_path / "report.json").write_text(json.dumps(content))
        done = coprop("reproduce", "--verify", tmp_path / "report.json")
        assert done.exit_code == 2
        assert "Expected the command of `coprop bench`" in done.stderr
    hidden = ["bench", "--backend=a:b", "-bc:d", "--llm", "e.py:f", "--propagator", "hf://a/b"]
    assert code_of(hidden) == ["e.py:f", "--backend=a:b", "-bc:d"]


def test_a_line_that_only_one_report_has_differs():
    found = ReportDifferences.of(report(0.5, "a"), report(0.5, "b"))
    assert not found.is_same
    assert len(found.numbers) == 2


@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
def test_a_browser_sorts_chooses_and_opens_the_details(made, tmp_path):
    others = [report(0.125, "last"), report(0.875, "first")]
    page = write_leaderboard([read_bench(made), *others], tmp_path / "all.html")
    browser = Chromium(tmp_path / "profile")
    try:
        browser.open(page)
        models = "[...document.querySelectorAll('tbody tr:not([hidden]) th')].map(t => t.innerText)"
        assert browser.run(models)[0] == "first"
        heading = "[...document.querySelectorAll('th button')].find(b => b.innerText === 'M_J')"
        browser.run(f"{heading}.click()")
        assert browser.run(models)[-1] == "first"
        browser.run(
            "which.value = 'MS3 test'; which.dispatchEvent(new Event('change')); "
            "words.value = 'LAST'; words.dispatchEvent(new Event('input'));"
        )
        assert browser.run(models) == ["last"]
        browser.run("words.value = 'red'; which.value = ''; choose()")
        browser.run("document.querySelector('tbody tr:not([hidden]) a').click()")
        browser.until("document.querySelectorAll('details[open] .worst img').length === 2")
        assert browser.run("document.querySelector('details[open] img').naturalWidth > 20")
        assert browser.errors == []
        assert [u for u in browser.requests if not u.startswith(("file:", "data:"))] == []
    finally:
        browser.close()
