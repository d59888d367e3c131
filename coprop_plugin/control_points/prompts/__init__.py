"""Prompts for language models: text files in folders, one folder per version."""

import hashlib
from pathlib import Path
from string import Template
from typing import Literal, get_args

from coprop_plugin.errors import ControlPointError
from coprop_plugin.limits import read_text

PromptName = Literal[
    "one_step_list",
    "rcpg_categories",
    "rcpg_describe",
    "rcpg_example",
    "rcpg_examples",
    "rcpg_list",
    "repair",
    "three_step_categories",
    "three_step_describe",
    "three_step_list",
]
"""Names of the texts, without `.txt`."""

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
    """A version of the prompts.

    Args:
        version: `"paper-1"`, the paper's own wording; or a folder of texts, as described in
            `README.txt` of `paper-1`. Texts that a folder lacks are those of `paper-1`.

    Attributes:
        version: The folder's name and a hash of all texts, so that no two wordings share it.

    Raises:
        ControlPointError: If there is no such version or folder, or it has none of these texts.

    Example:
        >>> Prompts().text("one_step_list", num_frames=5)[:34]
        'Divide the audio into five frames.'
    """

    def __init__(self, version: str | Path = DEFAULT) -> None:
        self._texts = _read(FOLDER / DEFAULT)
        folder = Path(version)
        if str(version) != DEFAULT:
            own = _read(folder) if folder.is_dir() else {}
            if not own:
                raise ControlPointError(
                    f"Expected prompts={DEFAULT!r} or a folder with one of "
                    f"{', '.join(get_args(PromptName))} (.txt), got {str(version)!r}. Copy "
                    f"{FOLDER / DEFAULT} and edit the copy."
                )
            self._texts.update(own)
        content = "\0".join(f"{name}\0{text}" for name, text in sorted(self._texts.items()))
        name = folder.resolve().name if folder.is_dir() else str(version)
        self.version = f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    def text(self, name: PromptName, num_frames: int | None = None, **fields: str | int) -> str:
        """Return a text with its placeholders filled in.

        Args:
            name: Of the text, without `.txt`.
            num_frames: Number of frames in the question: `$number`, `$ordinal` and `$count`.
            **fields: Values of other placeholders.

        Raises:
            ControlPointError: If the text has a placeholder without a value.
        """
        if num_frames is not None:
            fields.update(
                number=number_word(num_frames), ordinal=ordinal(num_frames), count=num_frames
            )
        try:
            return Template(self._texts[name]).substitute(fields)
        except (KeyError, ValueError) as error:
            raise ControlPointError(
                f"The prompt {name}.txt of {self.version} has a placeholder without a value "
                f"({error}). Use {', '.join(f'${field}' for field in sorted(fields))} only, and $$ "
                "for a dollar sign."
            ) from error


def _read(folder: Path) -> dict[str, str]:
    paths = [folder / f"{name}.txt" for name in get_args(PromptName)]
    try:
        return {p.stem: read_text(p, ControlPointError).strip() for p in paths if p.exists()}
    except (OSError, UnicodeDecodeError) as error:
        raise ControlPointError(
            f"A text in {folder} cannot be read: {error}. Save the prompts as UTF-8."
        ) from error


def number_word(number: int) -> str:
    """Return a number as the paper writes it: in words up to twenty.

    Example:
        >>> number_word(10), number_word(30)
        ('ten', '30')
    """
    return _NUMBERS[number - 1] if 1 <= number <= len(_NUMBERS) else str(number)


def ordinal(number: int) -> str:
    """Return an ordinal number: in words up to twenty.

    Example:
        >>> ordinal(10), ordinal(22), ordinal(111)
        ('tenth', '22nd', '111th')
    """
    if 1 <= number <= len(ORDINALS):
        return ORDINALS[number - 1]
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{suffix or 'th'}"
