"""Annotated sounds to learn from, D, and the search in them, R(q, D) of Eq. (4)."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from coprop_plugin.control_points.language.categories import alike, mentioned, overlap
from coprop_plugin.control_points.language.examples import (
    Categories,
    Example,
    annotated,
    length_s,
    reason_to_skip,
)
from coprop_plugin.control_points.listening.features import timbre
from coprop_plugin.control_points.llm.cache import audio_hash
from coprop_plugin.errors import ControlPointError
from coprop_plugin.limits import read_text
from coprop_plugin.types import Clip


@dataclass(frozen=True)
class Retrieved:
    """What Eq. (4) gives.

    Args:
        categories: q, as understood from the model's answer.
        examples: D_q, the nearest first.
        by: How they were found: "category", "text", "sound" or "nothing".
        left_out: Ids of examples that are the query itself.
    """

    categories: list[str]
    examples: list[Example]
    by: str
    left_out: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, for the log; without embeddings."""
        return {
            "q": self.categories,
            "by": self.by,
            "D_q": [
                {"id": e.id, "categories": list(e.categories), "flags": list(e.control_points)}
                for e in self.examples
            ],
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class Query:
    """The sound that is asked about.

    Args:
        names: How it may be called in a data set: examples with such an id are the sound itself.
        content: `audio_hash` of the whole of it; so are examples with the same.
        embedding: Its `timbre`, or that of the part that is asked about.
        duration_s: The length of that part.
    """

    names: frozenset[str] = frozenset()
    content: str = ""
    embedding: tuple[float, ...] = ()
    duration_s: float = 0.0

    @classmethod
    def of(cls, clip: Clip) -> "Query":
        """Return what is known of a clip."""
        names = {clip.name} if clip.name else set()
        if clip.source is not None:
            # AVSS keeps the sound of a clip as <id>/audio.wav.
            source = Path(clip.source)
            names |= {source.stem, source.name, source.parent.name}
        query = cls(frozenset(names), duration_s=length_s(clip))
        if clip.waveform is None:
            return query
        content = audio_hash(clip.waveform, clip.sample_rate)
        return replace(query, content=content).about(clip.waveform, clip.sample_rate)

    def about(self, waveform: Tensor, sample_rate: int) -> "Query":
        """Return the query about a part of the same sound."""
        return replace(
            self,
            embedding=timbre(waveform, sample_rate),
            duration_s=len(waveform) / sample_rate,
        )

    def is_same(self, example: Example) -> bool:
        """Tell whether an example is the sound itself."""
        named = bool(example.id) and example.id in self.names
        return named or (bool(example.content) and example.content == self.content)


class Store:
    """Annotated sounds, kept as JSON lines.

    Two stores in a row, `cat a.jsonl b.jsonl`, are one; lines may be written by hand:
    `{"categories": ["dog", "girl"], "control_points": [1, 0, 0, 1, 0]}`.

    Args:
        examples: In any order.

    Example:
        >>> store = Store([Example("a", ("dog",), (1, 0, 1), 3.0)])
        >>> store.retrieve("A puppy barks.").examples[0].id
        'a'
    """

    def __init__(self, examples: Iterable[Example] = ()) -> None:
        self.examples = tuple(examples)
        self.vocabulary = sorted({name for e in self.examples for name in e.categories})

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)

    @classmethod
    def build(
        cls,
        samples: Iterable[Any],
        categories: Categories = None,
        classes: Sequence[str] = (),
        skipped: Callable[[str, str], None] | None = None,
    ) -> "Store":
        """Annotate the samples of a data set, as appendix A.1 does with its masks.

        Args:
            samples: Each has `id`, `clip` (with a waveform) and `control_points` (of that clip, or
                None where not every frame is labelled); `masks` and `category` if it has them.
            categories: What sounds, by id or as a function of the sample. None: the classes in the
                masks if `classes` are given, else the sample's `category`.
            classes: Names of the numbers in `masks`, the first one the background's.
            skipped: Called with id and reason for each sample that cannot be an example.

        Returns:
            The store; nothing is written.

        Raises:
            ControlPointError: If two samples have the same id.
        """
        examples: dict[str, Example] = {}
        for sample in samples:
            reason = reason_to_skip(sample)
            if reason:
                if skipped is not None:
                    skipped(sample.id, reason)
                continue
            if sample.id in examples:
                raise ControlPointError(
                    f"Got two samples with the id {sample.id!r}; ids tell an example from the clip "
                    "that is asked about. Build a store for each data set, and join the files."
                )
            examples[sample.id] = annotated(sample, categories, classes)
        return cls(examples.values())

    @classmethod
    def load(cls, path: str | Path) -> "Store":
        """Read a store.

        Raises:
            ControlPointError: If the file cannot be read, or a line is no example; it says which.
        """
        try:
            lines = read_text(path, ControlPointError).split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ControlPointError(
                f"The store {path} cannot be read: {error}. Make one with `coprop anchor index "
                f"DATASET -o {path}`, or say store=None to ask without examples."
            ) from error
        examples = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                examples.append(Example.from_line(line))
            except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise ControlPointError(
                    f"{path}, line {number} is no example: {error}. Wanted JSON with "
                    '"categories" and "control_points", one flag a second.'
                ) from error
        return cls(examples)

    @cached_property
    def version(self) -> str:
        """How many examples there are, and a hash of them."""
        return f"{len(self)}-{hashlib.sha256(self.text().encode()).hexdigest()[:8]}"

    def text(self) -> str:
        """Return what `load` reads."""
        return "".join(f"{example.to_line()}\n" for example in self.examples)

    def retrieve(self, answer: str, query: Query | None = None, k: int = 3) -> Retrieved:
        """Find annotated sounds of the categories that an answer names: Eq. (4).

        First those with a category in common, most in common first. If there are none, those whose
        categories are written most alike to words of the answer; if there are none either, those
        that sound most alike. Ties are broken by likeness of sound, of length, and by id. The sound
        itself is never found, by whatever name or in whatever file.

        Args:
            answer: What the model said when asked for the categories.
            query: The sound that is asked about.
            k: How many examples at most.

        Returns:
            The examples, and how they were found.
        """
        query = query or Query()
        others = [example for example in self.examples if not query.is_same(example)]
        left_out = [example.id for example in self.examples if query.is_same(example)]
        names = mentioned(answer, self.vocabulary)
        spelled = {name: alike(answer, name) for name in self.vocabulary}
        heard = [_likeness(query.embedding, example.embedding) for example in others]
        ways = {
            "category": [overlap(example.categories, names) for example in others],
            "text": [max(map(spelled.get, e.categories), default=0.0) for e in others],
            "sound": heard,
        }
        for by, scores in ways.items():
            order = sorted(
                (-score, -sound, abs(e.duration_s - query.duration_s), e.id, number)
                for number, (score, sound, e) in enumerate(zip(scores, heard, others, strict=True))
                if score > 0
            )
            if order:
                return Retrieved(names, [others[row[-1]] for row in order[:k]], by, left_out)
        return Retrieved(names, [], "nothing", left_out)


def _likeness(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine similarity of two timbres, 0 if one is not known."""
    return round(float(np.dot(a, b)), 6) if a and len(a) == len(b) else 0.0
