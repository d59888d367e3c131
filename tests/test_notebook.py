"""The notebook: its code runs, shows what it says, and is kept without outputs."""

import json
import sys
import types
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "quickstart.ipynb"
CODE = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def shown(monkeypatch):
    """Stand in for IPython's displays; returns what they were given."""
    shown = []
    display = types.ModuleType("IPython.display")
    display.Video = lambda path, embed: shown.append(Path(path))
    display.Image = lambda path, width: shown.append(Path(path))
    ipython = types.ModuleType("IPython")
    # matplotlib asks both where there is an IPython.
    ipython.version_info, ipython.get_ipython = (9, 0), lambda: None
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_its_code_runs_and_shows_two_videos_and_a_picture(shown, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in CODE[1:]:
        exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    assert [path.name for path in shown] == ["made_up.mp4", "overlay.mp4", "film_strip.png"]
    assert all(path.stat().st_size > 1000 for path in shown)
    printed = capsys.readouterr().out
    assert "ControlPoints([0, " in printed
    with_ours, alone = (int(p[: p.index("%")].split()[-1]) for p in printed.splitlines()[1:3])
    assert with_ours > alone


def test_it_installs_first_and_keeps_no_outputs():
    assert "".join(CODE[0]["source"]) == "%pip install -q coprop-plugin"
    assert not any("%" in line.lstrip()[:1] for cell in CODE[1:] for line in cell["source"])
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CODE)
    assert NOTEBOOK.stat().st_size < 10_000
