"""Hand annotations: what sounds in a recording, and from when on."""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from coprop_plugin.errors import ControlPointError
from coprop_plugin.types.control_points import ControlPoints
from coprop_plugin.types.timeline import snap

if TYPE_CHECKING:
    from coprop_plugin.types.clip import Clip

_SAME_MOMENT_S = 1e-3
_MOST_AT_ONCE = 256

UNNAMED = "?"
"""The name of something that sounds and that nobody has named, in files."""

SUFFIXES = (".txt", ".textgrid", ".rttm", ".csv")
"""Files of annotations besides JSON, in lower case; `media.read_annotations` reads them."""

Names = tuple[str, ...] | None
"""What sounds: names, () for nothing, None where nobody has named it."""


class Span(NamedTuple):
    """One object that sounds from a second on up to another."""

    start_s: float
    end_s: float
    name: str


@dataclass(frozen=True)
class Annotation:
    """What sounds in a recording from each change on.

    Args:
        seconds: Times of the changes in seconds, rising, the first one 0.
        names: For each change what sounds from then on: names, () for silence, None for unnamed.
        duration_s: Length of the recording, if known.

    Raises:
        ControlPointError: If the times do not start at 0 and rise, or names are not one entry each.

    Example:
        >>> annotation = Annotation((0.0, 2.8), (("girl",), ("dog",)), 5.0)
        >>> annotation.categories, annotation.spans[1]
        (('girl', 'dog'), Span(start_s=2.8, end_s=5.0, name='dog'))
    """

    seconds: tuple[float, ...]
    names: tuple[Names, ...]
    duration_s: float | None = None

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.seconds))
        finite = all(math.isfinite(second) for second in self.seconds)
        if not finite or self.seconds[:1] != (0,) or not rising:
            raise ControlPointError(
                f"Expected times of changes in seconds that start at 0 and rise, got "
                f"{str(list(self.seconds))[:160]}. Sort them, and begin with 0."
            )
        if len(self.names) != len(self.seconds):
            raise ControlPointError(
                f"Expected names for each of {len(self.seconds)} changes, got {len(self.names)}. "
                "Use () for silence and None where nothing is named."
            )

    @classmethod
    def at(
        cls, points: Iterable[tuple[float, Names]], duration_s: float | None = None
    ) -> "Annotation":
        """Make an annotation from changes in any order; 0 is added, unnamed, if it is missing.

        Of several changes at one moment the last one counts.
        """
        sounding: dict[float, Names] = {0.0: None}
        for second, names in sorted(points, key=lambda point: point[0]):
            last = next(reversed(sounding))
            sounding[last if second - last < _SAME_MOMENT_S else float(second)] = names
        return cls(tuple(sounding), tuple(sounding.values()), duration_s)

    @classmethod
    def of_spans(cls, spans: Iterable[Span]) -> "Annotation":
        """Make an annotation from objects that sound for a while; between them it is silent.

        Every beginning and every end is a change, also if the same name goes on.

        Raises:
            ControlPointError: If a span ends before it begins, or begins before 0; or if more
                than 256 names sound at once.

        Example:
            >>> Annotation.of_spans([Span(1, 3, "dog"), Span(2, 3, "girl")]).names
            ((), ('dog',), ('dog', 'girl'), ())
        """
        spans = list(spans)
        wrong = [span for span in spans if not 0 <= span.start_s <= span.end_s < math.inf]
        if wrong:
            raise ControlPointError(
                f"Expected spans that begin at 0 s or later and end after they begin, got "
                f"{wrong[0].start_s} to {wrong[0].end_s} s. Correct the file."
            )
        edges = sorted({0.0} | {float(s) for span in spans for s in (span.start_s, span.end_s)})
        moments = [b for a, b in pairwise([-1.0, *edges]) if b - a >= _SAME_MOMENT_S]
        return cls(tuple(moments), tuple(_sounding(spans, moments))).named()

    def named(self) -> "Annotation":
        """Return it with None in place of the name `"?"`, which stands for what is unnamed."""
        names = tuple(None if one == (UNNAMED,) else one for one in self.names)
        return replace(self, names=names)

    @property
    def categories(self) -> tuple[str, ...]:
        """Every name once, in the order of their first mention."""
        return tuple(dict.fromkeys(name for names in self.names for name in names or ()))

    @property
    def segments(self) -> list[tuple[float, float, Names]]:
        """Start, end and names between the changes; the last one ends a second later if unknown."""
        end_s = self.seconds[-1] + 1 if self.duration_s is None else self.duration_s
        ends = [*self.seconds[1:], max(end_s, self.seconds[-1])]
        return list(zip(self.seconds, ends, self.names, strict=True))

    @property
    def spans(self) -> list[Span]:
        """What sounds between the changes, one span a name; unnamed parts as `"?"`."""
        return [
            Span(start, end, name)
            for start, end, names in self.segments
            for name in ((UNNAMED,) if names is None else names)
        ]

    def control_points(self, clip: "Clip") -> ControlPoints:
        """Return the changes as control points of a clip; those outside of it are left out."""
        first, last = float(clip.spans[0, 0]), float(clip.spans[-1, 1])
        seconds = [second for second in self.seconds if first < second < last]
        log = {"seconds": list(self.seconds), "names": [n and list(n) for n in self.names]}
        return ControlPoints.from_indices(snap(seconds, clip), clip.num_frames, "annotation", log)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, which `FileProvider` reads, too."""
        names = [None if one is None else list(one) for one in self.names]
        content = {"source": "annotation", "seconds": list(self.seconds), "names": names}
        return content | ({} if self.duration_s is None else {"duration_s": self.duration_s})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Annotation":
        """Read the content of `to_dict`, or of `ControlPoints.to_dict` with seconds.

        What sounds before the first of the seconds is unnamed.

        Raises:
            ControlPointError: If it is neither.
        """
        seconds = content.get("seconds")
        names = content.get("names")
        numbers = isinstance(seconds, list) and all(
            isinstance(s, int | float) and not isinstance(s, bool) for s in seconds
        )
        if not isinstance(seconds, list) or not numbers:
            raise ControlPointError(
                f'Expected "seconds" as a list of numbers, got {str(seconds)[:160]}. Write the '
                "times of the changes in seconds."
            )
        names = [None] * len(seconds) if names is None else names
        texts = isinstance(names, list) and all(
            one is None or (isinstance(one, list) and all(isinstance(n, str) for n in one))
            for one in names
        )
        if not texts or len(names) != len(seconds):
            raise ControlPointError(
                f'Expected "names" as one list of names for each of {len(seconds)} seconds, got '
                f"{str(names)[:160]}. Use [] for silence and null where nothing is named."
            )
        if seconds and "num_frames" in content:
            # Control points begin with the first frame, which need not be at 0 s.
            seconds = [0.0, *seconds[1:]]
        points = [
            (float(s), None if one is None else tuple(one))
            for s, one in zip(seconds, names, strict=True)
        ]
        duration_s = content.get("duration_s")
        return cls.at(points, float(duration_s) if isinstance(duration_s, int | float) else None)


def _sounding(spans: list[Span], moments: Iterable[float]) -> Iterator[tuple[str, ...]]:
    """Yield what sounds at each of some rising moments."""
    starting = deque(sorted(spans, key=lambda span: span.start_s))
    ending = deque(sorted(spans, key=lambda span: span.end_s))
    active: Counter[str] = Counter()
    for moment in moments:
        until = moment + _SAME_MOMENT_S / 2
        while starting and starting[0].start_s <= until:
            active[starting.popleft().name] += 1
        while ending and ending[0].end_s <= until:
            name = ending.popleft().name
            active[name] -= 1
            if not active[name]:
                del active[name]
        if len(active) > _MOST_AT_ONCE:
            raise ControlPointError(
                f"Expected at most {_MOST_AT_ONCE} names at once, got {len(active)} at "
                f"{moment:.3f} s. Check the file."
            )
        yield tuple(active)
