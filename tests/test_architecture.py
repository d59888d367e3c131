"""Imports point down: a file imports lower floors and its own room, never sideways, never up."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "coprop_plugin"

# Room -> floor, from the bottom. Rooms of one floor do not import one another.
FLOORS = {
    "errors": 1,
    "choices": 1,
    "limits": 1.1,
    "registry": 1.1,
    "layers": 2,
    "types": 3,
    "checkpoints": 3,
    "audio": 4,
    "media": 4,
    "control_points": 5,
    "keyframes": 5,
    "adapters": 5,
    "propagation": 5,
    "world": 5,
    "report": 5,
    "open_vocabulary": 5.5,
    "pipeline": 6,
    "training": 6,
    "benchmark": 7,
    "batch": 7,
    "configs": 7,
    "cli": 8,
}
# Types have three doors: methods whose work is done upstairs, imported inside the method.
DOORS = {
    ("types/clip.py", "media"),
    ("types/clip.py", "audio"),
    ("types/results.py", "media"),
}
# Never at the top of a file that `import coprop_plugin` or `coprop --help` may reach.
HEAVY = {"transformers", "mmseg", "mmcv", "cv2", "matplotlib", "ruptures", "scipy"}


def python_files():
    return sorted(PACKAGE.rglob("*.py")) + sorted((ROOT / "adapters").rglob("*.py"))


def room_of(parts):
    return parts[0].removesuffix(".py")


def imports_of(path, nodes=None):
    for node in nodes if nodes is not None else ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module
            if node.module == "coprop_plugin":
                yield from (f"coprop_plugin.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def relative(path):
    base = PACKAGE if path.is_relative_to(PACKAGE) else ROOT
    return path.relative_to(base)


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(relative(p)))
def test_imports_point_down(path):
    here = relative(path)
    room = room_of(here.parts)
    if room == "__init__":
        return
    for module in imports_of(path):
        if not module.startswith("coprop_plugin."):
            continue
        other = room_of(module.split(".")[1:2])
        if other not in FLOORS or other == room:
            assert other == room or module in ("coprop_plugin.__version__",), (
                f"{here} imports {module}, which is in no room that this test knows"
            )
            continue
        if (here.as_posix(), other) in DOORS:
            continue
        assert FLOORS[other] < FLOORS[room], f"{here} ({room}) imports {module} ({other})"


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(relative(p)))
def test_heavy_imports_happen_inside_functions(path):
    tops = {m.split(".")[0] for m in imports_of(path, ast.parse(path.read_text()).body) if m}
    allowed = {"scipy"} if room_of(relative(path).parts) == "audio" else set()
    assert not (tops & HEAVY) - allowed


def test_files_and_functions_stay_readable():
    """At most 450 lines a file and 70 a function: what wants to pass that holds two things."""
    files, functions = {}, {}
    for path in python_files():
        text = path.read_text()
        files[str(relative(path))] = len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                # The docstring does not count.
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                functions[f"{relative(path)}:{node.name}"] = lines
    assert {name: n for name, n in files.items() if n > 450} == {}
    assert {name: n for name, n in functions.items() if n > 70} == {}


def test_a_file_name_occurs_once():
    """So that a name says where something is."""
    common = {"__init__.py", "__main__.py", "base.py", "resolve.py"}
    names = Counter(path.name for path in python_files() if path.name not in common)
    assert {name for name, count in names.items() if count > 1} == set()
