"""Rules that the tests themselves keep: independent files, public names, checks that can fail."""

import ast
import functools
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
PYTHON = sorted(TESTS.glob("*.py"))
FILES = [path for path in PYTHON if path.name.startswith("test_")]
CLOCKS = {"perf_counter", "monotonic", "process_time", "time"}


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def root_of(node):
    """Return the name that a chain of attributes begins with, or None."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def is_module(name):
    folder = ROOT if name.startswith("coprop_plugin.adapters") else ROOT / "coprop_plugin"
    stem = folder.joinpath(*name.split(".")[1:])
    return stem.is_dir() or stem.with_suffix(".py").is_file()


def own_modules(tree):
    """Return the local names that stand for modules of the library."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("coprop_plugin"):
                    found.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("coprop_plugin"):
            for alias in node.names:
                if is_module(f"{node.module}.{alias.name}"):
                    found.add(alias.asname or alias.name)
        elif isinstance(node, ast.Assign) and "import_module(" in ast.unparse(node.value):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return found


def patches(tree):
    """Yield the lines that replace something in a module of the library."""
    modules = own_modules(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".setattr", "patch")):
            target = node.args[0]
            text = ast.unparse(target).lstrip("f'\"")
            if root_of(target) in modules or text.startswith("coprop_plugin."):
                yield node.lineno
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and root_of(target) in modules:
                    yield node.lineno


def calls_of(function):
    """Return the names of what a function calls; "assert" stands for its assertions."""
    called = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            called.add("assert")
        elif isinstance(node, ast.Call):
            func = node.func
            called.add(func.attr if isinstance(func, ast.Attribute) else root_of(func))
    return called


@functools.cache
def checking_functions():
    """Return the names of all functions in tests/ that check something, also through others."""
    calls = {}
    for path in PYTHON:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef):
                calls.setdefault(node.name, set()).update(calls_of(node))
    checking = {"assert", "raises", "warns", "assert_close", "assert_equal", "assert_array_equal"}
    while more := {name for name, called in calls.items() if called & checking} - checking:
        checking |= more
    return checking


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.stem)
def test_no_file_imports_a_test_module(path):
    imported = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").rpartition(".")[2])
        elif isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
    shared = {name for name in imported if (TESTS / f"{name}.py") in FILES}
    assert shared == set(), "Move what is shared to tests/make_*.py"


def test_no_test_patches_a_module_of_the_library():
    found = {path.stem: list(patches(tree_of(path))) for path in FILES}
    found = {name: lines for name, lines in found.items() if lines}
    assert found == {}, "Make the constant an argument with a default"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_test_checks_something(path):
    tests = [
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert tests
    idle = {test.name for test in tests if not calls_of(test) & checking_functions()}
    assert idle == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_check_depends_on_the_clock(path):
    """A busy machine must not fail a test; count calls or compare within one process instead."""
    for function in ast.walk(tree_of(path)):
        if not isinstance(function, ast.FunctionDef):
            continue
        timed = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and reads_clock(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Assert):
                names = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
                timed_here = timed & names or reads_clock(node.test)
                assert not timed_here, f"{path.name}:{node.lineno}"


def reads_clock(node):
    calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
    return any(
        isinstance(func, ast.Attribute) and root_of(func) == "time" and func.attr in CLOCKS
        for func in calls
    )
