"""`docs/anchoring.md` and docstrings on asking a language model print what they say."""

import contextlib
import doctest
import importlib
import io
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "anchoring.md").read_text()
# A block prints what follows it in a text block, or its own comments.
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)
MODULES = (
    "annotations answer_lists categories long_audio parsing prompts retrieval snapping strategies"
).split()


def test_the_page_s_programs_print_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block, text in BLOCKS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, "anchoring.md", "exec"), names)
        said = text or "".join(re.findall(r"^# (.*\n)", block, re.MULTILINE))
        assert printed.getvalue() == said, block


def test_the_page_s_commands_exist():
    from typer.testing import CliRunner

    from coprop_plugin import cli

    shell = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    for line in re.findall(r"^coprop (.*)$", shell, re.MULTILINE):
        verb = re.match(r"anchor index|\w+", line)[0].split()
        # `coprop anchor FILES` is short for `coprop anchor files FILES`.
        verb += ["files"] * (verb == ["anchor"])
        known = CliRunner().invoke(cli.app, [*verb, "--help"]).stdout
        for option in re.findall(r" (--?[a-z-]+)", line):
            assert option in known, line


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(f"coprop_plugin.control_points.{name}")
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed
