"""Programs in sessions of their own, and which of their processes are left; Linux only."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Session:
    """A program and everything that it starts.

    Args:
        folder: For what it prints: `stdout` and `stderr`.
        *command: Its arguments, after the interpreter.
        stdout: A file to print results into, instead.
    """

    def __init__(self, folder, *command, stdout=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        with (
            Path(stdout or self.folder / "stdout").open("wb") as out,
            (self.folder / "stderr").open("wb") as err,
        ):
            self.process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
                # A shell that starts the tests in the background has them ignore it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def others(self):
        """Return the ids of its processes beside the first one."""
        return [process for process in self.left() if process != self.process.pid]

    def left(self):
        """Return the ids of its processes that have not ended."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            except OSError:  # It has just ended.
                continue
            # A zombie has ended, and waits for its parent.
            if int(session) == self.process.pid and state != "Z":
                found.append(int(path.parent.name))
        return found

    def wait_until(self, condition, timeout_s=120):
        """Wait until something is true, the program has ended, or time is up."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until and self.process.poll() is None and not condition():
            time.sleep(0.1)

    def wait_for_all(self, timeout_s):
        """Wait for all processes; returns those that are left, which are then killed."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until and (self.process.poll() is None or self.left()):
            time.sleep(0.1)
        left = self.left()
        for process in left:
            os.kill(process, signal.SIGKILL)
        return left

    def stderr(self):
        """Return what it has printed on stderr."""
        return (self.folder / "stderr").read_text(errors="replace")
