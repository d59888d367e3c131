"""SECURITY.md promises nothing that no test holds."""

import ast
import re
import tracemalloc
import warnings
from pathlib import Path

import pytest
from fuzz_readers import READERS

from coprop_plugin import limits
from coprop_plugin.errors import CopropError

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


# Where a file is read without `limits.read_text` or `limits.read_bytes`, and why that is bounded:
# file -> function -> reason.
READS = {
    "coprop_plugin/limits.py": {"read_bytes": "it is the bounded reader"},
    "coprop_plugin/benchmark/datasets/log_mel_file.py": {"read_log_mel": "checks MAX_BYTES first"},
    "coprop_plugin/benchmark/datasets/read_pictures.py": {"_opened": "checks PIXELS first"},
    "coprop_plugin/benchmark/plug_and_play/cost.py": {"_resident_peak_mb": "the system's own file"},
    "coprop_plugin/checkpoints/native.py": {"_opened": "checked by load_module; else the header"},
    "coprop_plugin/checkpoints/untrusted.py": {
        "read_weights": "checks WEIGHTS_BYTES first",
        "read_pickle": "checks WEIGHTS_BYTES first",
        "refuse_large": "reads the directory of an archive",
        "is_safetensors": "reads 9 bytes",
    },
    "coprop_plugin/checkpoints/resumed_files.py": {
        "fetch_blob": "writes a download",
        "has_checksum": "hashes a file piece by piece",
    },
    "coprop_plugin/batch/language_models.py": {"_of_file": "Python that the user runs"},
    "coprop_plugin/batch/stdout.py": {"_drop_what_is_left": "opens the null device to write"},
    "coprop_plugin/benchmark/paper_tables.py": {"read_table": "a file of the package"},
    "coprop_plugin/benchmark/plug_and_play/fingerprints.py": {
        "_file": "hashes a file piece by piece"
    },
    "coprop_plugin/cli/bench_models.py": {"about_file": "hashes a file piece by piece"},
    "coprop_plugin/control_points/language/categories.py": {"_known": "a file of the package"},
    "coprop_plugin/media/class_name_files.py": {"_avss": "a file of the package"},
    "coprop_plugin/media/container.py": {
        "open_container": "FFmpeg decodes frame by frame",
        "_is_animated_webp": "reads 21 bytes",
        "_refuse_unreadable": "reads 1 byte",
    },
    "coprop_plugin/media/json_lines.py": {"append": "reads 1 byte"},
    "coprop_plugin/media/masks.py": {"open_image": "checks PIXELS first"},
    "coprop_plugin/media/previous_result.py": {"content_digest": "reads 2 MiB"},
    "coprop_plugin/report/page_template.py": {"_source": "a file of the package"},
    "coprop_plugin/report/run_page.py": {"write_report": "a video that it has just written"},
    "coprop_plugin/training/sound_folder.py": {"__init__": "maps a file into memory"},
    "coprop_plugin/training/whole_checkpoints.py": {
        "save_checkpoint": "only syncs the file that it has just written",
        "_damage": "checks WEIGHTS_BYTES first",
    },
    "coprop_plugin/training/run.py": {"read_config": "Python that the user runs"},
}
MODULES = {"json", "pickle", "np", "numpy", "torch", "yaml", "marshal", "joblib"}
METHODS = {"open", "read_text", "read_bytes", "fromfile", "loadtxt", "genfromtxt", "memmap"}
METHODS |= {"load_checkpoint", "ZipFile"}
FUNCTIONS = {"open", "safe_open", "load_file"}


def may_read(call):
    """Whether a call may read a file, other than by the bounded readers of `limits`."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in FUNCTIONS and not only_writes(call, 1)
    if not isinstance(function, ast.Attribute):
        return False
    owner = ast.unparse(function.value)
    if function.attr == "load":
        return owner in MODULES
    if function.attr not in METHODS or owner == "limits":
        return False
    place = int(owner in ("av", "wave", "Image", "os"))
    return function.attr != "open" or not only_writes(call, place)


def only_writes(call, place):
    modes = [k.value for k in call.keywords if k.arg == "mode"] + call.args[place : place + 1]
    mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else ""
    return isinstance(mode, str) and mode[:1] in ("w", "x", "a") and "+" not in mode


def reads_of(node, function=""):
    """Yield the functions that may read a file, one for each call that does."""
    for child in ast.iter_child_nodes(node):
        inner = child.name if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Call) and may_read(child):
            yield inner
        yield from reads_of(child, inner)


def test_every_file_is_read_within_a_limit():
    paths = [p for folder in ("coprop_plugin", "adapters") for p in (ROOT / folder).rglob("*.py")]
    found = {}
    for path in paths:
        if functions := set(reads_of(ast.parse(path.read_text()))):
            found[path.relative_to(ROOT).as_posix()] = functions
    assert found == {path: set(functions) for path, functions in READS.items()}


@pytest.mark.parametrize(
    "code",
    [
        "path.read_text()",
        "open(path)",
        "path.open('a+')",
        "open(path, mode)",
        "json.load(file)",
        "Image.open(path)",
        "Path(path).read_bytes()",
        "torch.load(path)",
    ],
)
def test_a_read_without_a_limit_is_found(code):
    assert list(reads_of(ast.parse(f"def f():\n    {code}"))) == ["f"]


@pytest.mark.parametrize(
    "code",
    [
        "read_text(path, E)",
        "open(path, 'w')",
        "path.open('wb')",
        "wave.open(file, 'wb')",
        "f.load()",
    ],
)
def test_what_reads_no_file_is_not_found(code):
    assert list(reads_of(ast.parse(f"def f():\n    {code}"))) == []


HUGE = 80 * 2**20
"""Bytes of a file that is over every limit; it is sparse, and takes no room."""


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"answer"}))
def test_no_reader_loads_a_file_that_is_over_the_limits(name, tmp_path, monkeypatch):
    reader = READERS[name]
    # Whatever is imported, is imported now.
    seed = reader.seeds(tmp_path)[0]
    reader.beside(tmp_path)
    path = tmp_path / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    for content in (seed, None):
        if content is None:
            for limit in (limits.TEXT_BYTES, limits.CONFIG_BYTES, limits.WEIGHTS_BYTES):
                monkeypatch.setenv(limit.variable, "1e6")
            with path.open("wb") as file:
                file.truncate(HUGE)
        else:
            path.write_bytes(content)
        tracemalloc.start()
        outcome = outcome_of(reader, tmp_path)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < HUGE / 8
    assert not reader.names_limit or "exceeds the limit" in outcome
    assert not reader.names_limit or "COPROP_MAX_" in outcome


def outcome_of(reader, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader.read(folder)
        except CopropError as error:
            return str(error)
    return "read"
