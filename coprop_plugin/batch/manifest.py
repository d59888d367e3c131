"""`manifest.jsonl`: the outcome of every input, one line of JSON each."""

import datetime
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coprop_plugin.batch.outcome import Outcome
from coprop_plugin.media.json_lines import JsonLines

NAME = "manifest.jsonl"


class Manifest:
    """`manifest.jsonl` in the folder of the results: a line for every input that was dealt with.

    Any number of processes, also on several machines, append to one file. The last line of an
    input is the current one; results themselves say whether they are finished, so a lost line
    loses nothing.

    Args:
        folder: Folder of the results.
        settings: The options that decide the results, besides the inputs.
        **about: What else to write on each line, e.g. the rank of this process.

    Raises:
        MediaError: On `add`, if the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Manifest(Path(folder)).add(Outcome(Path("a.mp4"), "failed", error="It is empty."))
        ...     Manifest.read(Path(folder))["a.mp4"]["state"]
        'failed'
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any] | None = None, **about: str | int | None
    ) -> None:
        self._lines = JsonLines(folder / NAME)
        self._about = {"settings": key_of(settings or {}), **about}

    def add(self, outcome: Outcome) -> None:
        """Append the outcome of an input."""
        now = datetime.datetime.now(datetime.UTC)
        content = {
            "input": str(outcome.input),
            "state": outcome.status,
            "output": None if outcome.output is None else str(outcome.output),
            "num_frames": outcome.num_frames,
            "error": outcome.error,
            "seconds": None if outcome.took_s is None else round(outcome.took_s, 3),
            **self._about,
            "time": now.isoformat(timespec="seconds"),
        }
        self._lines.append({key: value for key, value in content.items() if value is not None})

    @staticmethod
    def read(folder: Path) -> dict[str, dict[str, Any]]:
        """Return the last line of each input, without lines cut short by a kill.

        Raises:
            MediaError: If the file is too large or cannot be read.
        """
        lines = JsonLines(folder / NAME).read()
        return {line["input"]: line for line in lines if isinstance(line.get("input"), str)}


def key_of(settings: Mapping[str, Any]) -> str:
    """Return a short key for settings.

    Example:
        >>> key_of({"fps": 1.0}) == key_of({"fps": 2.0})
        False
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
