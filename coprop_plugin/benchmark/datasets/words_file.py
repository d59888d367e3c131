"""Words for the clips of a data set: the names of what sounds, for networks guided by text."""

import json
from pathlib import Path
from typing import Any

import torch

from coprop_plugin.errors import CopropError, DatasetError
from coprop_plugin.limits import read_text
from coprop_plugin.types import ControlPoints

LABELS = "labels"
"""The words that the labels give, in place of a file."""

Words = dict[str, tuple[str, ...]]
"""Words by the name of the clip."""


def read_words(path: str | Path) -> Words:
    """Read the words of clips by name.

    Args:
        path: JSON: `{"id": ["dog", "girl"]}`, with [] where nothing sounds; or control points that
            name what sounds, `{"clips": ...}`, as `coprop anchor ... -o points.json` writes them
            with a language model's answers, and `coprop anchor annotate` by hand.

    Raises:
        DatasetError: If it cannot be read, or holds no words.

    Example:
        >>> read_words("points.json")  # doctest: +SKIP
        {'a': ('dog', 'singer')}
    """
    try:
        content = json.loads(read_text(path, DatasetError))
        clips = content.get("clips", content)
        found = {str(name): _words(one) for name, one in clips.items()}
    except DatasetError:
        raise
    except (OSError, ValueError, RecursionError, TypeError, AttributeError, CopropError) as error:
        raise DatasetError(f"{path} holds no words: {str(error)[:120]}.") from error
    words = {name: one for name, one in found.items() if one is not None}
    if not words:
        raise DatasetError(
            f"{path} names nothing that sounds. Use control points of `rcpg`, annotations with "
            'names, or {"id": ["dog"]}.'
        )
    return words


def _words(content: Any) -> tuple[str, ...] | None:
    if isinstance(content, list):
        if not all(isinstance(name, str) for name in content):
            raise ValueError("expected lists of names")
        return tuple(content)
    log = {"names": content.get("names"), **(content.get("log") or {})}
    return ControlPoints(torch.ones(1), log=log).words
