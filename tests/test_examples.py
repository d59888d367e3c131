"""Every example runs, in a folder of its own, and is short."""

from pathlib import Path

import pytest
from processes import start_script

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SCRIPTS = sorted(p for p in EXAMPLES.glob("*.py") if not p.name.startswith("_"))


# The app waits for visitors; tests/test_app.py visits it.
@pytest.mark.parametrize("script", [p for p in SCRIPTS if p.stem != "app"], ids=lambda p: p.stem)
def test_examples_run(script, tmp_path):
    done = start_script(tmp_path, script, "--tiny").wait()
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    if script.stem == "plug_and_play_benchmark":
        assert "with Co-Prop" in done.stdout
        assert (tmp_path / "bench_out" / "report.csv").stat().st_size > 0
    elif "save(" in script.read_text():
        assert len(list((tmp_path / "out" / "masks").iterdir())) >= 5
        assert (tmp_path / "out" / "overlay.mp4").stat().st_size > 0
    else:
        assert "keyframes at [0" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_examples_are_short(script):
    # The app is a page too.
    assert len(script.read_text().splitlines()) < (240 if script.stem == "app" else 62)
