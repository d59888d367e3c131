"""Annotated examples: control points per second and categories, from true masks of a data set."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from coprop_plugin.control_points.language.audio_windows import question_spans
from coprop_plugin.control_points.language.categories import normalised
from coprop_plugin.control_points.listening.features import EMBEDDING, timbre
from coprop_plugin.control_points.llm.cache import audio_hash
from coprop_plugin.errors import ControlPointError
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.types.timeline import states_of_spans


class Labelled(Protocol):
    """A clip of a data set with its true control points."""

    @property
    def id(self) -> str:
        """Its name in the data set."""
        ...

    @property
    def clip(self) -> Clip:
        """Its frames and audio."""
        ...

    @property
    def control_points(self) -> ControlPoints | None:
        """Its true control points; None if not every frame is labelled."""
        ...


@runtime_checkable
class WithMasks(Labelled, Protocol):
    """A labelled clip with true masks."""

    @property
    def masks(self) -> Tensor:
        """`[T, H, W]`, ids of classes."""
        ...


@runtime_checkable
class WithCategory(Labelled, Protocol):
    """A labelled clip whose data set names the category of the whole audio."""

    @property
    def category(self) -> str | None:
        """The category, if it is known."""
        ...


LabelledT = TypeVar("LabelledT", bound=Labelled)
Categories = Mapping[str, Sequence[str]] | Callable[[LabelledT], Sequence[str]] | None
"""Categories of a sample: by its id, as a function of it, or None, those of its data set."""


@dataclass(frozen=True)
class Example:
    """One annotated example: a line of a store.

    Args:
        id: Its name in its data set.
        categories: The categories that sound in it, normalised.
        control_points: One flag per second (see `question_spans`), the first one 1.
        duration_s: Length in seconds.
        content: `audio_hash` of its audio; empty if it is not known.
        embedding: `timbre` of its audio, 128 numbers; empty if it is not known.
    """

    id: str
    categories: tuple[str, ...]
    control_points: tuple[int, ...]
    duration_s: float
    content: str = ""
    embedding: tuple[float, ...] = ()

    def to_line(self) -> str:
        """Return it as a line of JSON."""
        content: dict[str, Any] = {
            "id": self.id,
            "categories": list(self.categories),
            "control_points": list(self.control_points),
            "duration_s": self.duration_s,
        }
        if self.content:
            content["content"] = self.content
        if self.embedding:
            content["embedding"] = {EMBEDDING: list(self.embedding)}
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_line(cls, line: str) -> "Example":
        """Read a line of `to_line`, or one by hand with `categories` and `control_points`.

        Raises:
            ValueError: If it is neither; the message gives the reason.
        """
        content = json.loads(line)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        categories, flags = checked_names(content.get("categories")), content.get("control_points")
        if not isinstance(flags, list) or not flags or any(flag not in (0, 1) for flag in flags):
            raise ValueError('"control_points" is not a list of 0 and 1, one per second')
        if flags[0] != 1:
            raise ValueError('the first of "control_points" is not 1')
        embedding = content.get("embedding") or {}
        name, sound = checked_names([str(content.get(key, "")) for key in ("id", "content")])
        return cls(
            id=name,
            categories=tuple(dict.fromkeys(map(normalised, categories))),
            control_points=tuple(map(int, flags)),
            duration_s=float(content.get("duration_s", len(flags))),
            content=sound,
            embedding=tuple(map(float, embedding.get(EMBEDDING, ()))),
        )


def checked_names(names: object) -> list[str]:
    """Return the names from a JSON file of a user.

    Raises:
        ValueError: If they are not a list of texts, or one cannot be written as UTF-8.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError('"categories" is not a list of names')
    "".join(names).encode()
    return names


def reason_to_skip(sample: Labelled) -> str:
    """Return why a sample cannot be an example, or an empty text."""
    if sample.clip.waveform is None:
        return "it has no waveform"
    if sample.control_points is None:
        return "not every frame is labelled, so its control points are not known"
    return ""


def _categories_of(
    sample: LabelledT, categories: Categories[LabelledT], classes: Sequence[str]
) -> Sequence[str]:
    if callable(categories):
        return categories(sample)
    if categories is not None:
        return categories.get(sample.id, ())
    if len(classes) > 2 and isinstance(sample, WithMasks):
        return [classes[i] for i in sample.masks.unique().tolist() if i]
    category = sample.category if isinstance(sample, WithCategory) else None
    return [category] if category else []


def annotated(
    sample: LabelledT, categories: Categories[LabelledT] = None, classes: Sequence[str] = ()
) -> Example:
    """Annotate a sample, as appendix A.1 does with its masks.

    Args:
        sample: See `Store.build`.
        categories: Its categories. None: the classes in its masks if `classes` are given, else its
            `category`.
        classes: Names of the ids in its masks, the first one the background's.

    Raises:
        ControlPointError: If it has no waveform or no control points; see `reason_to_skip`.
    """
    clip, points = sample.clip, sample.control_points
    if clip.waveform is None or points is None:
        raise ControlPointError(
            f"{sample.id!r} cannot be an example: {reason_to_skip(sample)}. Leave it out."
        )
    names = _categories_of(sample, categories, classes)
    return Example(
        id=str(sample.id),
        categories=tuple(dict.fromkeys(map(normalised, names))),
        control_points=tuple(flags_a_second(points, clip)),
        duration_s=round(length_s(clip), 3),
        content=audio_hash(clip.waveform, clip.sample_rate),
        embedding=timbre(clip.waveform, clip.sample_rate),
    )


def flags_a_second(points: ControlPoints, clip: Clip) -> list[int]:
    """Return control points as flags of the frames in a question to a language model.

    Example:
        >>> import torch
        >>> clip = Clip(torch.rand(8, 3, 8, 8), torch.zeros(64_000), times=torch.arange(8) / 2)
        >>> flags_a_second(ControlPoints([1, 0, 0, 0, 1, 1, 0, 0]), clip)
        [1, 0, 1, 0]
    """
    starts = clip.spans[points.indices[1:], 0].tolist()
    ids = points.log.get("ids")
    states = [str(ids[i]) for i in points.indices] if ids else None
    seen = states_of_spans(starts, question_spans(clip), states)
    return [int(t == 0 or seen[t] != seen[t - 1]) for t in range(len(seen))]


def length_s(clip: Clip) -> float:
    """Return the duration of a clip's frames, in seconds."""
    return float(clip.spans[-1, 1] - clip.spans[0, 0])
