"""Imports point down: a file imports lower floors and its own room, never sideways, never up."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "coprop_plugin"

# Room -> floor. Rooms of one floor do not know one another.
FLOORS = {
    "errors": -2,
    "limits": -1,
    "types": 0,
    "modes": 0,
    "registry": 0,
    "weights_file": 0,
    "pretrained": 0,
    "checkpoint_file": 0,
    "media": 1,
    "audio": 1,
    "hub": 1,
    "layers": 2,
    "control_points": 3,
    "keyframes": 3,
    "propagation": 3,
    "adapters": 3,
    "pipeline": 4,
    "world": 5,
    "benchmark": 5,
    "training": 5,
    "configs": 5,
    "report": 6,
    "cli": 7,
}
# Files beside the rooms that belong to one.
ROOMS = {
    "asker": "pipeline",
    "ahead": "pipeline",
    "asking": "pipeline",
    "recovering": "pipeline",
    "recovery": "pipeline",
    "stretches": "pipeline",
    "windows": "pipeline",
    "redo": "pipeline",
    "wrapping": "pipeline",
    "progress": "pipeline",
    "loading": "cli",
    "batch": "cli",
    "anchoring": "cli",
    "indexing": "cli",
    "bench": "cli",
    "demo": "cli",
}
# Floor 0 has three doors: methods whose work is done upstairs, imported inside the method.
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
    first = parts[0].removesuffix(".py")
    return ROOMS.get(first, first)


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


def test_a_file_holds_one_thing():
    """A file that wants to pass 300 lines holds two things."""
    lengths = {str(relative(p)): len(p.read_text().splitlines()) for p in python_files()}
    assert {name: n for name, n in lengths.items() if n > 300} == {}
