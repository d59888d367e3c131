"""Whatever a file holds: an error of ours or an answer, in time, and nothing run or written.

A few inputs of each reader here; `make fuzz` gives each of them ten thousand, see `fuzz.py`.
"""

import os
import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_readers import MOST_S, READERS, Reader, contents, hold, opens
from fuzz_watch import WATCH
from hypothesis import HealthCheck, given, settings

FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", READERS)
def test_only_our_errors_come_out_of_a_reader(name, tmp_path):
    reader = READERS[name]

    @FEW
    @given(contents(reader, tmp_path))
    def read(content):
        hold(reader, tmp_path, content)

    read()


@pytest.mark.parametrize("name", READERS)
def test_the_good_inputs_are_good(name, tmp_path):
    """Or breaking them would show little: at least one of a reader's seeds is read."""
    reader = READERS[name]
    seeds = reader.seeds(tmp_path)
    reader.beside(tmp_path)
    outcomes = []
    for content in seeds:
        path = tmp_path / reader.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        try:
            reader.read(tmp_path)
            outcomes.append("read")
        except Exception as error:
            outcomes.append(f"{type(error).__name__}: {error}")
    assert any(re.match(reader.good, outcome) for outcome in outcomes), outcomes


def test_the_watch_sees_what_it_is_for(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    with WATCH.on(inside) as seen:
        (inside / "fine").write_text("")
        Path(__file__).read_text()
        assert seen == []
        outside.write_text("")
        pickle.loads(pickle.dumps(opens(str(inside / "ran"))))
        subprocess.run([sys.executable, "-c", ""], check=True)
        with socket.socket() as connection, pytest.raises(OSError, match="."):
            connection.connect(("127.0.0.1", 9))
    events = " ".join(seen)
    for event in (f"open of {outside}", "pickle.find_class", "subprocess.Popen", "socket.connect"):
        assert event in events


BROKEN = {
    "another error": (lambda folder: int("x"), ValueError, "invalid literal"),
    "a file elsewhere": (
        lambda folder: (folder.parent / "x").write_text(""),
        AssertionError,
        "open",
    ),
    "code that runs": (lambda folder: os.system("true"), AssertionError, "os.system"),
    "a hang": (lambda folder: sum(range(10**6)), AssertionError, "took"),
}


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_is_found(promise, tmp_path):
    read, error, says = BROKEN[promise]
    most_s = 0.001 if promise == "a hang" else MOST_S
    with pytest.raises(error, match=says):
        hold(Reader(promise, "in", read, lambda folder: [b""]), tmp_path / "in", b"", most_s)
