"""Example store D and its retrieval R(q, D) of Eq. (4)."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from coprop_plugin.control_points.language.categories import alike, mentioned, overlap
from coprop_plugin.control_points.language.examples import (
    Categories,
    Example,
    LabelledT,
    annotated,
    length_s,
    reason_to_skip,
)
from coprop_plugin.control_points.listening.features import timbre
from coprop_plugin.control_points.llm.cache import audio_hash
from coprop_plugin.errors import ControlPointError
from coprop_plugin.limits import read_text
from coprop_plugin.types import Clip

FoundBy = Literal["category", "text", "sound", "nothing"]
"""How examples were found: common categories, similar spelling, similar timbre, or not at all."""


@dataclass(frozen=True)
class Retrieved:
    """The result of Eq. (4).

    Args:
        categories: q, the categories in the model's answer.
        examples: D_q, the nearest first.
        by: How they were found.
        left_out: Ids of examples that are the query itself.
    """

    categories: list[str]
    examples: list[Example]
    by: FoundBy
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
    """The audio for which examples are retrieved.

    Args:
        names: Its possible names in a data set: examples with such an id are the query itself.
        content: `audio_hash` of the whole audio; examples with the same hash are the query itself.
        embedding: `timbre` of the audio, or of the part in question.
        duration_s: The length of that part.
    """

    names: frozenset[str] = frozenset()
    content: str = ""
    embedding: tuple[float, ...] = ()
    duration_s: float = 0.0

    @classmethod
    def of(cls, clip: Clip) -> "Query":
        """Return the query of a whole clip."""
        names = {clip.name} if clip.name else set()
        if clip.source is not None:
            # AVSS stores the audio of a clip as <id>/audio.wav.
            source = Path(clip.source)
            names |= {source.stem, source.name, source.parent.name}
        query = cls(frozenset(names), duration_s=length_s(clip))
        if clip.waveform is None:
            return query
        content = audio_hash(clip.waveform, clip.sample_rate)
        return replace(query, content=content).part(clip.waveform, clip.sample_rate)

    def part(self, waveform: Tensor, sample_rate: int) -> "Query":
        """Return the query of a part of the same audio."""
        return replace(
            self,
            embedding=timbre(waveform, sample_rate),
            duration_s=len(waveform) / sample_rate,
        )

    def is_same(self, example: Example) -> bool:
        """Whether an example is the query itself."""
        named = bool(example.id) and example.id in self.names
        return named or (bool(example.content) and example.content == self.content)


class Store:
    """Annotated examples, stored as JSON lines.

    Stores can be joined, `cat a.jsonl b.jsonl`, and lines written by hand:
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
        samples: Iterable[LabelledT],
        categories: Categories[LabelledT] = None,
        classes: Sequence[str] = (),
        skipped: Callable[[str, str], None] | None = None,
    ) -> "Store":
        """Annotate the samples of a data set, as appendix A.1 does with its masks.

        Args:
            samples: Each has `id`, `clip` (with a waveform) and `control_points` (of that clip, or
                None where not every frame is labelled); `masks` and `category` if it has them.
            categories: Categories by id, or as a function of the sample. None: the classes in the
                masks if `classes` are given, else the sample's `category`.
            classes: Names of the ids in `masks`, the first one the background's.
            skipped: Called with id and reason for each sample that cannot be an example.

        Returns:
            The store, in memory.

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
                    f"Expected unique ids, got two samples with the id {sample.id!r}. Ids separate "
                    "examples from the query; build a store per data set, and join the files."
                )
            examples[sample.id] = annotated(sample, categories, classes)
        return cls(examples.values())

    @classmethod
    def load(cls, path: str | Path) -> "Store":
        """Read a store.

        Raises:
            ControlPointError: If the file cannot be read, or a line is not an example; it says
                which.
        """
        try:
            lines = read_text(path, ControlPointError).split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ControlPointError(
                f"The store {path} cannot be read: {error}. Make one with `coprop anchor index "
                f"DATASET -o {path}`, or use store=None to ask without examples."
            ) from error
        examples = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                examples.append(Example.from_line(line))
            except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise ControlPointError(
                    f"{path}, line {number} is not an example: {error}. Write JSON with "
                    '"categories" and "control_points", one flag per second.'
                ) from error
        return cls(examples)

    @cached_property
    def version(self) -> str:
        """The number of examples, and a hash of them."""
        return f"{len(self)}-{hashlib.sha256(self.text().encode()).hexdigest()[:8]}"

    def text(self) -> str:
        """Return the content of the file that `load` reads."""
        return "".join(f"{example.to_line()}\n" for example in self.examples)

    def retrieve(self, answer: str, query: Query | None = None, k: int = 3) -> Retrieved:
        """Find examples with the categories that an answer names: Eq. (4).

        First those with common categories, most in common first. If there are none, those whose
        categories are spelled most similarly to words of the answer; if there are none either,
        those with the most similar timbre. Ties are broken by similarity of timbre, of length, and
        by id. The query itself is never found, under any name and in any file.

        Args:
            answer: The model's answer to the question for categories.
            query: The audio in question.
            k: Maximum number of examples.

        Returns:
            The examples, and how they were found.
        """
        query = query or Query()
        others = [example for example in self.examples if not query.is_same(example)]
        left_out = [example.id for example in self.examples if query.is_same(example)]
        names = mentioned(answer, self.vocabulary)
        spelling = {name: alike(answer, name) for name in self.vocabulary}
        timbres = [_similarity(query.embedding, example.embedding) for example in others]
        scores_by: dict[FoundBy, list[float]] = {
            "category": [overlap(example.categories, names) for example in others],
            "text": [max((spelling[c] for c in e.categories), default=0.0) for e in others],
            "sound": timbres,
        }
        for by, scores in scores_by.items():
            order = sorted(
                (-score, -sound, abs(e.duration_s - query.duration_s), e.id, number)
                for number, (score, sound, e) in enumerate(
                    zip(scores, timbres, others, strict=True)
                )
                if score > 0
            )
            if order:
                return Retrieved(names, [others[row[-1]] for row in order[:k]], by, left_out)
        return Retrieved(names, [], "nothing", left_out)


def _similarity(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine similarity of two timbres, 0 if one is not known."""
    return round(float(np.dot(a, b)), 6) if a and len(a) == len(b) else 0.0
