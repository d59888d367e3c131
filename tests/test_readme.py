"""The README's programs run, and print what the README says they print."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch
from stand_ins import AVSegFormer

from coprop_plugin import media
from coprop_plugin.world import Scene

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def namespace(tmp_path_factory):
    """What the README takes for granted: a model, its inputs, and a video; shared by all blocks."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("readme")
    scene = Scene.made_up(seed=11, duration_s=10.0, size=(240, 320))
    media.write_clip(scene.clip(fps=25), folder / "street.mp4")
    return {
        "folder": folder,
        "names": {
            "avsegformer_model": AVSegFormer().eval(),
            "log_mels": torch.randn(5, 1, 96, 64),
            "frames": torch.randn(5, 3, 224, 224),
        },
    }


def run(block, names):
    """Run a block statement by statement; returns what was printed and what the README says."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "README.md", "exec"), names)
    said = re.findall(r"^# (.*)$", block, re.MULTILINE)
    return printed.getvalue().splitlines(), said


def test_programs_print_what_the_readme_says(namespace, monkeypatch):
    monkeypatch.chdir(namespace["folder"])
    for block in BLOCKS:
        printed, said = run(block, namespace["names"])
        assert printed == said, block


def test_every_command_of_the_readme_exists():
    from typer.testing import CliRunner

    from coprop_plugin import cli

    shell = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    verbs = set(re.findall(r"^coprop (\w+)", shell, re.MULTILINE))
    assert verbs == {
        "run",
        "anchor",
        "demo",
        "list",
        "convert",
        "train",
        "evaluate",
        "bench",
        "moc",
        "report",
    }
    for verb in verbs:
        options = set(re.findall(rf"^coprop {verb}.*$", shell, re.MULTILINE))
        known = CliRunner().invoke(cli.app, [verb, "--help"]).stdout
        for option in re.findall(r" (--[a-z-]+)", " ".join(options)):
            assert option in known
    targets = set(re.findall(r"^make (\w+)", shell, re.MULTILINE))
    makefile = (Path(__file__).resolve().parent.parent / "Makefile").read_text()
    assert targets == {"demo", "test"}
    for target in targets:
        assert f"\n{target}: " in makefile
