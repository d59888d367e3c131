"""Category names, normalised: "playing_violin", "a fiddle" and "Violins" are one category."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

_SYNONYMS = Path(__file__).resolve().parent / "synonyms.txt"
_WORDS = re.compile(r"[^\W_]+")
_FILLING = frozenset("a an the of playing sound sounds noise audio driving".split())
_LEAST_SHARE = 0.25
"""Texts that share fewer of their letter triples than this are not similar."""


def normalised(category: str) -> str:
    """Return the normalised name of a category.

    Example:
        >>> [normalised(name) for name in ("playing_violin", "a fiddle", "Violins", "theremin")]
        ['violin', 'violin', 'violin', 'theremin']
    """
    words = _words(category)
    kept = tuple(word for word in words if word not in _FILLING)
    return _known().get(words) or _known().get(kept) or " ".join(kept or words)


def mentioned(text: str, vocabulary: Iterable[str] = ()) -> list[str]:
    """Return the categories that a text mentions, in the order of their first mention.

    Of overlapping phrases the longest counts: "electric guitar", "car horn".

    Args:
        text: The answer of a language model.
        vocabulary: Normalised categories to find in addition to those of `synonyms.txt`.

    Example:
        >>> mentioned("Two types of audio, one for the cello, the other of pianos.")
        ['cello', 'piano']
        >>> mentioned("A theremin.", ["theremin"])
        ['theremin']
    """
    phrases = _known() | {_words(name): name for name in vocabulary if _words(name)}
    longest = max(map(len, phrases))
    words, found, start = _words(text), [], 0
    while start < len(words):
        sizes = range(min(longest, len(words) - start), 0, -1)
        size = next((n for n in sizes if words[start : start + n] in phrases), 0)
        if size and phrases[words[start : start + size]] not in found:
            found.append(phrases[words[start : start + size]])
        start += max(size, 1)
    return found


def alike(text: str, category: str) -> float:
    """Return the spelling similarity of a category and the most similar words of a text, 0..1.

    It is the share of common letter triples; below a quarter, which any two words have, it is 0.

    Example:
        >>> alike("Some hurdygurdy music.", "hurdy-gurdy") > 0.25, alike("a dog", "violin")
        (True, 0.0)
    """
    wanted, words = _triples(_words(category)), _words(text)
    pairs = zip(words, words[1:], strict=False)
    shares = [
        len(wanted & found) / len(wanted | found)
        for found in map(_triples, [*((word,) for word in words), *pairs])
    ]
    most = max(shares, default=0.0)
    return most if most >= _LEAST_SHARE else 0.0


def overlap(a: Sequence[str], b: Sequence[str]) -> float:
    """Return the share of the categories of two examples that both have, 0..1."""
    return len(set(a) & set(b)) / max(len(set(a) | set(b)), 1)


def _triples(words: tuple[str, ...]) -> set[str]:
    padded = f"  {''.join(words)} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _words(text: str) -> tuple[str, ...]:
    return tuple(_singular(word) for word in _WORDS.findall(text.lower()))


def _singular(word: str) -> str:
    if len(word) <= 3 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word.removesuffix("s")


@lru_cache(maxsize=1)
def _known() -> dict[tuple[str, ...], str]:
    """Return the category of each phrase of `synonyms.txt`."""
    phrases: dict[tuple[str, ...], str] = {}
    for line in _SYNONYMS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, others = line.partition(":")
            for phrase in (name, *others.split(",")):
                phrases.setdefault(_words(phrase), name)
    return phrases
