"""SECURITY.md promises nothing that no test holds."""

import ast
import re
from pathlib import Path

from coprop_plugin import limits

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "SECURITY.md").read_text()


def test_every_promise_names_tests_and_every_test_exists():
    promises = re.findall(r"^\| (?!promise|---|variable|`COPROP)(.*?) \| (.*) \|$", PAGE, re.M)
    assert len(promises) > 10
    for promise, holders in promises:
        named = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", holders)
        assert named, promise
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text())
            functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert name in functions, f"{file} has no {name}"


def test_every_limit_is_in_the_table():
    for limit in limits.ALL:
        assert f"| `{limit.variable}` | {limit.default:,.15g} | " in PAGE


def test_every_reader_that_is_fuzzed_reads_in_the_limits():
    """A variable that no code asks for would be a promise of its own."""
    code = "\n".join(path.read_text() for path in (ROOT / "coprop_plugin").rglob("*.py"))
    names = [name for name in vars(limits) if isinstance(getattr(limits, name), limits.Limit)]
    assert len(names) == len(limits.ALL)
    for name in names:
        used = code.count(f"{name}.check(") + code.count(f"{name}.value")
        assert used, name
