"""Limits on what a file may ask for, each with an environment variable that raises it.

A few bytes can announce an image of a billion pixels or a video of a year. Readers check these
limits before they allocate memory. The defaults are generous; an environment variable, which child
processes inherit, raises or lowers each one: `COPROP_MAX_PIXELS=2e8`, `COPROP_MAX_DURATION_S=inf`.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coprop_plugin.errors import CopropError, LimitError

TextErrors = Literal["strict", "replace", "surrogateescape"]
"""What to do with bytes that are not UTF-8, as in `bytes.decode`."""


@dataclass(frozen=True)
class Limit:
    """An upper limit that an environment variable can change.

    Args:
        variable: The environment variable that sets another value.
        default: The value without it.
        unit: What is counted, for messages.
        instead: What to do rather than raise the limit, for messages; a sentence.

    Example:
        >>> Limit("COPROP_MAX_EGGS", 12, "eggs").check(13, "The basket", LimitError)
        Traceback (most recent call last):
            ...
        coprop_plugin.errors.LimitError: The basket: 13 eggs exceeds the limit of 12. To allow it, \
set COPROP_MAX_EGGS=13.
    """

    variable: str
    default: float
    unit: str
    instead: str = ""

    @property
    def value(self) -> float:
        """The limit in force.

        Raises:
            LimitError: If the environment variable is not a number above 0.
        """
        text = os.environ.get(self.variable) or str(self.default)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not value > 0:
            raise LimitError(
                f"Expected a number of {self.unit} above 0, or 'inf' for no limit, got "
                f"{self.variable}={text!r} in the environment. Unset it for the default of "
                f"{self.default:.15g}."
            )
        return value

    def check(self, asked: float, what: object, error: type[CopropError]) -> None:
        """Refuse an amount above the limit.

        Args:
            asked: The amount.
            what: What asks for it, e.g. a file.
            error: The class of the error to raise.

        Raises:
            CopropError: An `error`, if the amount exceeds `value` or is not a number.
        """
        if not asked <= self.value:
            raise error(
                f"{what}: {asked:,.15g} {self.unit} exceeds the limit of {self.value:,.15g}. "
                f"{self.instead}{' ' if self.instead else ''}To allow it, set "
                f"{self.variable}={asked:.15g}."
            )


PIXELS = Limit(
    "COPROP_MAX_PIXELS", 100_000_000, "pixels per image", "Make the images smaller first."
)
DURATION_S = Limit(
    "COPROP_MAX_DURATION_S", 86_400, "seconds", "Cut it into parts, or repair its time stamps."
)
FRAMES = Limit("COPROP_MAX_FRAMES", 10_000_000, "frames", "Use fewer frames per second.")
CLIP_BYTES = Limit(
    "COPROP_MAX_CLIP_BYTES",
    32 * 2**30,
    "bytes of images kept in memory",
    "Use `stream`, as `coprop run` does, or fewer frames per second.",
)
SAMPLE_RATE = Limit("COPROP_MAX_SAMPLE_RATE", 768_000, "samples per second")
TEXT_BYTES = Limit("COPROP_MAX_TEXT_BYTES", 256 * 2**20, "bytes of text", "Cut it into parts.")
CONFIG_BYTES = Limit("COPROP_MAX_CONFIG_BYTES", 2**20, "bytes of a network's config")
WEIGHTS_BYTES = Limit("COPROP_MAX_WEIGHTS_BYTES", 16 * 2**30, "bytes of weights")
OBJECTS = 255
"""Classes of a mask besides the background; their ids are stored in 8 bits, so this is fixed."""

ALL = (
    PIXELS,
    DURATION_S,
    FRAMES,
    CLIP_BYTES,
    SAMPLE_RATE,
    TEXT_BYTES,
    CONFIG_BYTES,
    WEIGHTS_BYTES,
)


def read_bytes(
    path: str | Path, error: type[CopropError], limit: Limit = TEXT_BYTES, start: int = 0
) -> bytes:
    """Read a file that may not be larger than a limit; no more than that is kept in memory.

    Pipes are read, too, up to the limit.

    Args:
        path: The file.
        error: The class of the error to raise if it is too large.
        limit: The most bytes that it may have.
        start: The byte to start from.

    Raises:
        CopropError: An `error`, if the file is too large.
        OSError: If the file cannot be read.
    """
    most = limit.value
    with Path(path).open("rb") as file:
        limit.check(os.fstat(file.fileno()).st_size, path, error)
        if start:
            file.seek(start)
        content = file.read() if math.isinf(most) else file.read(int(most) + 1)
    limit.check(start + len(content), path, error)
    return content


def read_text(
    path: str | Path,
    error: type[CopropError],
    limit: Limit = TEXT_BYTES,
    errors: TextErrors = "strict",
) -> str:
    r"""Read a text file in UTF-8, with or without a byte order mark, that is within a limit.

    Line breaks of every system are read as `\n`.

    Args:
        path: The file.
        error: The class of the error to raise if it is too large.
        limit: The most bytes that it may have.
        errors: What to do with bytes that are not UTF-8, as in `bytes.decode`.

    Raises:
        CopropError: An `error`, if the file is too large.
        OSError: If the file cannot be read.
        UnicodeDecodeError: If it is not UTF-8 and `errors` is "strict".
    """
    text = read_bytes(path, error, limit).decode("utf-8-sig", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")
