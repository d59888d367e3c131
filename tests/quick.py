"""Print the test files that `make quick` runs: those of the files changed, and a smoke set.

A file counts as changed if it differs from the branch `main`, or, on `main`, from the last commit.
A changed test runs itself. A changed module runs the tests that import something it defines, or,
where there are none, those named after its package. Tests that train, start a browser or run whole
programs are left to `make test`.
"""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMOKE = [
    "test_architecture",
    "test_conventions",
    "test_public_names",
    "test_registry",
    "test_test_suite",
]
# Words of file names.
LEFT_TO_MAKE_TEST = {
    "training", "chromium", "fuzz", "docs", "docstrings", "examples", "notebook", "app", "workers"
}  # fmt: skip
MOST_FILES = 8


def changed_files():
    """Return the paths that differ from main or are new; none where there is no git."""

    def git(*arguments):
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.split() if done.returncode == 0 else []

    start = git("merge-base", "HEAD", "main") or ["HEAD"]
    new = git("ls-files", "--others", "--exclude-standard")
    return sorted({*git("diff", "--name-only", start[0]), *new})


def module_file(name):
    """Return the file of `coprop_plugin.a.b`, or None."""
    parts = name.split(".")[1:]
    folder = ROOT if parts[:1] == ["adapters"] else ROOT / "coprop_plugin"
    stem = folder.joinpath(*parts)
    return next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)


def imported_files(path):
    """Yield the files of this project that define what a file imports, through each package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("coprop_plugin"):
            for alias in node.names:
                yield from files_of(node.module, alias.name)


def files_of(module, name):
    """Yield the file of a module's name: the module, or where its `__init__` takes it from."""
    file = module_file(f"{module}.{name}") or module_file(module)
    if file is None:
        return
    yield file
    if file.name == "__init__.py":
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and name in {a.name for a in node.names}:
                yield from files_of(node.module, name)


def tests_of(changed, tests):
    """Return the names, among `tests`, of the test files that a changed path selects."""
    path = ROOT / changed
    if path.stem in tests:
        return [path.stem]
    if path.suffix != ".py" or not changed.startswith(("coprop_plugin/", "adapters/")):
        return []
    importers = [name for name, files in tests.items() if path in files]
    room = path.relative_to(ROOT / "coprop_plugin" if "coprop" in changed else ROOT).parts[0]
    return importers or [name for name in tests if name.startswith(f"test_{Path(room).stem}")]


def choose(changed):
    """Return the names of the test files to run, and of those left out because they are many."""
    tests = {
        path.stem: set(imported_files(path))
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        if not LEFT_TO_MAKE_TEST & set(path.stem.split("_"))
    }
    # A changed test comes before the tests of changed modules.
    ordered = sorted(changed, key=lambda path: not path.startswith("tests/"))
    found = dict.fromkeys(name for path in ordered for name in tests_of(path, tests))
    wanted = [name for name in found if name not in SMOKE]
    return [*SMOKE, *wanted[:MOST_FILES]], wanted[MOST_FILES:]


def main():
    """Print the paths for pytest."""
    run, left_out = choose(changed_files())
    if left_out:
        print(f"Left to make test: {' '.join(left_out)}", file=sys.stderr)
    print(*(f"tests/{name}.py" for name in run))


if __name__ == "__main__":
    main()
