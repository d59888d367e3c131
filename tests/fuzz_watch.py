"""What no reader may do, whatever it is given: seen through Python's own audit events."""

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

# Processes, the network, and free unpickling.
FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "os.startfile",
    "subprocess.Popen",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "pickle.find_class",
    "webbrowser.open",
    "urllib.Request",
}
CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """Notes, while it is on, what is run, fetched, or written outside a folder."""

    def __init__(self):
        self._folder, self._seen = None, []
        # Found out now: finding it out opens files.
        self._temporary = Path(tempfile.gettempdir()).resolve()
        # Such a hook stays for good.
        sys.addaudithook(self._note)

    @contextmanager
    def on(self, folder):
        self._folder, self._seen = os.path.realpath(folder), []
        try:
            yield self._seen
        finally:
            self._folder = None

    def _note(self, event, arguments):
        if self._folder is None:
            return
        if event in FORBIDDEN:
            self._seen.append(f"{event}{arguments!r:.200}")
        elif event in CHANGES:
            self._written(event, arguments[0])
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            _, mode, flags = arguments
            written = isinstance(mode, str) and set(mode) & set("wax+")
            if written or isinstance(flags, int) and flags & _WRITES:
                self._written("open", arguments[0])

    def _written(self, event, path):
        if isinstance(path, int):
            return
        path = os.path.realpath(os.fsdecode(path))
        # A waveform that is too long for memory has a nameless file there.
        nameless = Path(path).parent == self._temporary
        if not Path(path).is_relative_to(self._folder) and not nameless and path != os.devnull:
            self._seen.append(f"{event} of {path}")


WATCH = Watch()
