"""How much a file may ask for. What asks for more is refused, with a way to allow it.

A few bytes can announce a picture of a billion pixels or a film of a year. Whatever is read is held
against these limits before memory is set aside for it. They are generous, and each can be raised
(or lowered, on a machine that serves strangers) by an environment variable, which processes that
are started inherit: `COPROP_MAX_PIXELS=2e8`, `COPROP_MAX_DURATION_S=inf`.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from coprop_plugin.errors import CopropError, LimitError


@dataclass(frozen=True)
class Limit:
    """The most of something that is taken.

    Args:
        variable: The environment variable that sets another value.
        default: The value without it.
        unit: What is counted, for messages.
        instead: What to do rather than raise it, for messages; a sentence.

    Example:
        >>> Limit("COPROP_MAX_EGGS", 12, "eggs").check(13, "The basket", LimitError)
        Traceback (most recent call last):
            ...
        coprop_plugin.errors.LimitError: The basket has 13 eggs; up to 12 are taken. If that is \
meant, set the environment variable COPROP_MAX_EGGS=13.
    """

    variable: str
    default: float
    unit: str
    instead: str = ""

    @property
    def value(self) -> float:
        """What holds now.

        Raises:
            LimitError: If the environment variable is no number above 0.
        """
        text = os.environ.get(self.variable) or str(self.default)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not value > 0:
            raise LimitError(
                f"Got {self.variable}={text!r} in the environment; wanted a number above 0 "
                f"({self.unit}), 'inf' for no limit. Without it {self.default:.15g} holds."
            )
        return value

    def check(self, asked: float, what: object, error: type[CopropError]) -> None:
        """Refuse what asks for more.

        Args:
            asked: How much.
            what: Who asks: a file, say.
            error: What to raise.

        Raises:
            CopropError: An `error`, if it is more than `value`, or no number.
        """
        if not asked <= self.value:
            raise error(
                f"{what} has {asked:,.15g} {self.unit}; up to {self.value:,.15g} are taken. "
                f"{self.instead}{' ' if self.instead else ''}If that is meant, set the environment "
                f"variable {self.variable}={asked:.15g}."
            )


PIXELS = Limit(
    "COPROP_MAX_PIXELS", 100_000_000, "pixels in a picture", "Make the pictures smaller first."
)
DURATION_S = Limit(
    "COPROP_MAX_DURATION_S", 86_400, "seconds", "Cut it into parts, or mend its time stamps."
)
FRAMES = Limit("COPROP_MAX_FRAMES", 10_000_000, "frames", "Take fewer frames a second.")
CLIP_BYTES = Limit(
    "COPROP_MAX_CLIP_BYTES",
    32 * 2**30,
    "bytes of pictures to be kept in memory",
    "Use `stream`, as `coprop run` does, or take fewer frames a second.",
)
SAMPLE_RATE = Limit("COPROP_MAX_SAMPLE_RATE", 768_000, "samples a second")
TEXT_BYTES = Limit("COPROP_MAX_TEXT_BYTES", 256 * 2**20, "bytes of text", "Cut it into parts.")
WEIGHTS_BYTES = Limit("COPROP_MAX_WEIGHTS_BYTES", 16 * 2**30, "bytes of weights")
OBJECTS = 255
"""Classes of a mask beside the background, whose ids are kept in 8 bits: not to be raised."""

ALL = (PIXELS, DURATION_S, FRAMES, CLIP_BYTES, SAMPLE_RATE, TEXT_BYTES, WEIGHTS_BYTES)


def read_text(path: str | Path, error: type[CopropError]) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        error: What to raise if it is too long.

    Raises:
        CopropError: An `error`, if it has more than `TEXT_BYTES`.
        OSError: If it cannot be read.
        UnicodeDecodeError: If it is not UTF-8.
    """
    path = Path(path)
    TEXT_BYTES.check(path.stat().st_size, path, error)
    return path.read_text(encoding="utf-8-sig")
