"""The questions that language models are asked: texts in folders, one folder a version."""

import hashlib
from pathlib import Path
from string import Template
from typing import Any

from coprop_plugin.errors import ControlPointError
from coprop_plugin.limits import read_text

FOLDER = Path(__file__).resolve().parent
DEFAULT = "paper-1"

ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
_NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()


class Prompts:
    """A version of the questions.

    Args:
        version: `"paper-1"`, the paper's own words; or a folder of texts, in which `README.txt` of
            `paper-1` says what may stand. Texts that a folder lacks are those of `paper-1`.

    Attributes:
        version: The folder's name and a hash of all texts, so that no two wordings share it.

    Raises:
        ControlPointError: If there is no such version or folder, or it has no text that is known.

    Example:
        >>> Prompts().text("one_step_list", num_frames=5)[:34]
        'Divide the audio into five frames.'
    """

    def __init__(self, version: str | Path = DEFAULT) -> None:
        self._texts = _read(FOLDER / DEFAULT)
        folder = Path(version)
        if str(version) != DEFAULT:
            known = set(self._texts)
            own = _read(folder) if folder.is_dir() else {}
            self._texts.update({name: own[name] for name in known & set(own)})
            if not known & set(own):
                raise ControlPointError(
                    f"Got prompts={str(version)!r}, which is neither {DEFAULT!r} nor a folder with "
                    f"one of {', '.join(sorted(known))} (.txt). Copy {FOLDER / DEFAULT} and edit "
                    "the copy."
                )
        content = "\0".join(f"{name}\0{text}" for name, text in sorted(self._texts.items()))
        name = folder.resolve().name if folder.is_dir() else str(version)
        self.version = f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    def text(self, name: str, num_frames: int | None = None, **fields: Any) -> str:
        """Return a question with its blanks filled in.

        Args:
            name: Of the text, without `.txt`.
            num_frames: How many frames are asked about: `$number`, `$ordinal` and `$count`.
            **fields: What else to fill in.

        Raises:
            ControlPointError: If the text has a blank that nothing is known for.
        """
        if num_frames is not None:
            fields.update(
                number=number_word(num_frames), ordinal=ordinal(num_frames), count=num_frames
            )
        try:
            return Template(self._texts[name]).substitute(fields)
        except (KeyError, ValueError) as error:
            raise ControlPointError(
                f"The prompt {name}.txt of {self.version} has a blank that nothing is known for "
                f"({error}); it may have {', '.join(f'${field}' for field in sorted(fields))}. "
                "Write $$ for a dollar sign."
            ) from error


def _read(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.glob("*.txt") if path.name != "README.txt")
    try:
        return {path.stem: read_text(path, ControlPointError).strip() for path in paths}
    except (OSError, UnicodeDecodeError) as error:
        raise ControlPointError(
            f"A text in {folder} cannot be read: {error}. Save the prompts as UTF-8."
        ) from error


def number_word(number: int) -> str:
    """Return a number as the paper writes it.

    Example:
        >>> number_word(10), number_word(30)
        ('ten', '30')
    """
    return _NUMBERS[number - 1] if 1 <= number <= len(_NUMBERS) else str(number)


def ordinal(number: int) -> str:
    """Return which one the last of so many is.

    Example:
        >>> ordinal(10), ordinal(22), ordinal(111)
        ('tenth', '22nd', '111th')
    """
    if 1 <= number <= len(ORDINALS):
        return ORDINALS[number - 1]
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{suffix or 'th'}"
