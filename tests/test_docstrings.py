"""The examples in docstrings run, and every public name has one."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import coprop_plugin as coprop

ROOT = Path(__file__).resolve().parent.parent
FILES = [*(ROOT / "coprop_plugin").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "coprop_plugin" else ("coprop_plugin", *parts)
    return ".".join(parts).removesuffix(".__init__")


RUNS = re.compile(r">>> (?!(?:.*\n *\.\.\. )*.*doctest: \+SKIP)")
MODULES = sorted(module_name(path) for path in FILES if RUNS.search(path.read_text()))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("name", coprop.__all__)
def test_every_public_name_is_explained(name):
    thing = getattr(coprop, name)
    assert inspect.getdoc(thing)
    if not (isinstance(thing, type) and issubclass(thing, Exception)):
        assert ">>> " in inspect.getdoc(thing), f"{name} has no example"
