"""Output never decides over results: what cannot be printed is escaped or dropped."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch

from coprop_plugin import Clip, media
from coprop_plugin.batch.stdout import complain, printable, results_on_stdout
from coprop_plugin.cli import app

NAMES = [b"plain.mp4", "\u4e2d\u2192.mp4".encode(), b"t\xe4nze.mp4", b"a\x1b[2J.mp4"]
"""Text, text that code pages lack, bytes that are no text, and one that would clear a terminal."""
FULL = Path("/dev/full")


class Stream(io.TextIOWrapper):
    """Stdout or stderr of a terminal with an encoding."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding)

    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("printing")
    media.write_clip(Clip(torch.rand(2, 3, 32, 32), torch.rand(16_000) - 0.5), folder / "one.mp4")
    for name in NAMES:
        (folder / os.fsdecode(name)).write_bytes((folder / "one.mp4").read_bytes())
    (folder / "one.mp4").unlink()
    (folder / "gray.py").write_text(
        "def gray(frames, audio):\n    return frames.mean(1)[:, None]\n"
    )
    return folder


def coprop(*arguments):
    """Return the exit code of a command in this process."""
    with pytest.raises(SystemExit) as caught:
        app([os.fspath(argument) for argument in arguments])
    return caught.value.code


def test_every_command_prints_any_name_on_a_code_page(videos, tmp_path, monkeypatch):
    stdout, stderr = Stream("cp1252"), Stream("cp1252")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    out = tmp_path / "out"
    options = ("--backend", f"{videos / 'gray.py'}:gray", "--control-points", "every_n", "--quiet")
    assert coprop("run", videos, "-o", out, *options, "--no-overlay", "--propagator", "hold") == 0
    assert coprop("anchor", videos, "-o", tmp_path / "points", "--control-points", "every_n") == 0
    assert coprop("report", out) == 0
    assert coprop("export", out, "-f", "coco") == 0
    monkeypatch.undo()
    lines = stdout.text().splitlines()
    assert len(lines) == 4 * len(NAMES) + len(["the table of the reports"])
    assert sum("t\\udce4nze" in line for line in lines) == 4
    assert sum("a\\x1b[2J" in line for line in lines) == 4
    assert sum("\\u4e2d\\u2192" in line for line in lines) == 4
    assert len(list(out.glob("*/report.html"))) == len(list(out.glob("*/coco.json"))) == len(NAMES)


@pytest.mark.skipif(not FULL.exists(), reason="writes to /dev/full")
def test_a_full_stdout_ends_the_printing_and_not_the_work(videos, tmp_path, monkeypatch):
    stderr = Stream("utf-8")
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(sys, "stderr", stderr)
        code = coprop("anchor", videos, "-o", tmp_path, "--control-points", "every_n")
        monkeypatch.undo()
    assert code == 3
    assert stderr.text().count("Stdout cannot be written (No space left on device)") == 1
    found = list(tmp_path.glob("*.json"))
    assert len(found) == len(NAMES)
    assert all(json.loads(path.read_text())["indices"] == [0] for path in found)


@pytest.mark.skipif(not FULL.exists(), reason="writes to /dev/full")
@pytest.mark.parametrize("closed", [True, False])
def test_a_lost_stderr_ends_nothing(monkeypatch, closed):
    done = []
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stderr", None if closed else full)
        with results_on_stdout():
            complain("Nobody reads this.")
            print("Neither this, of a model.")
            done.append(True)
        monkeypatch.undo()
    assert done


def test_a_closed_stdout_is_told_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as caught:
        _print_two_results()
    assert caught.value.code == 3
    assert capsys.readouterr().err.count("Stdout cannot be written (it is closed)") == 1


def _print_two_results():
    with results_on_stdout() as print_result:
        print_result("a result")
        print_result("another")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "\\u4e2d\\xe4"), ("cp1252", "\\u4e2dä"), ("utf-8", "中ä")]
)
def test_only_what_an_encoding_lacks_is_escaped(monkeypatch, encoding, shown):
    stdout = Stream(encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    with results_on_stdout() as print_result:
        print_result("中ä")
    monkeypatch.undo()
    assert stdout.text().rstrip() == shown


def test_line_breaks_and_letters_stay():
    assert printable("a\tb\n\u4e2d \u00e4") == "a\tb\n\u4e2d \u00e4"
