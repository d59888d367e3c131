"""Logs and options (any JSON) as a tree of limited size, for foldable lists."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

MAX_CHARACTERS = 20_000
"""Of one text; the rest is cut off."""
MAX_DEPTH = 12


class Branch(NamedTuple):
    """One key with its value: either text, or more branches inside.

    Args:
        key: Of a mapping, or the number in a list, from 1.
        text: The value, if there is nothing inside.
        inside: The branches of a mapping or of a list of mappings or lists.
    """

    key: str
    text: str = ""
    inside: tuple["Branch", ...] = ()

    @property
    def is_long(self) -> bool:
        """Whether the text needs a block of its own."""
        return "\n" in self.text or len(self.text) > 80


def branches_of(content: Mapping[Any, Any], depth: int = 0) -> tuple[Branch, ...]:
    """Return a mapping as branches, one a key.

    Example:
        >>> branches_of({"fps": 1, "flags": [1, 0]})
        (Branch(key='fps', text='1', inside=()), Branch(key='flags', text='1, 0', inside=()))
    """
    return _branches(content.items(), depth)


def _branches(pairs: Iterable[tuple[Any, Any]], depth: int) -> tuple[Branch, ...]:
    return tuple(_branch(str(key), value, depth + 1) for key, value in pairs)


def _branch(key: str, value: Any, depth: int) -> Branch:
    is_list = isinstance(value, list | tuple)
    nested = is_list and any(isinstance(inner, Mapping | list) for inner in value)
    if depth > MAX_DEPTH:
        return Branch(key, "…")
    if isinstance(value, Mapping):
        return Branch(key, "" if value else "nothing", branches_of(value, depth))
    if nested:
        return Branch(key, inside=_branches(enumerate(value, 1), depth))
    text = (", ".join(map(str, value)) or "none") if is_list else str(value)
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}… ({len(text)} characters in total)"
    return Branch(key, text)
