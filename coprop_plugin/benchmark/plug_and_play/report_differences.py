"""What differs between two reports of a benchmark: numbers, clips, parts, versions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOLERANCE = 1e-6
"""Numbers that differ by less are the same."""

_COSTS = ("seconds", "cpu_seconds", "peak_mb", "gpu_mb")
_PARTS = ("backend", "propagator", "provider")


@dataclass(frozen=True)
class ReportDifferences:
    """What differs between two reports.

    Attributes:
        numbers: Scores that differ, a sentence each.
        causes: Clips, parts and versions that differ, a sentence each.
        compared: How many scores were compared; time and memory are not.
    """

    numbers: Sequence[str]
    causes: Sequence[str]
    compared: int

    @classmethod
    def of(cls, earlier: Mapping[str, Any], later: Mapping[str, Any]) -> "ReportDifferences":
        """Compare two reports, as `read_bench` returns them.

        Example:
            >>> def report(score):
            ...     line = {"backend": "mine", "row": "bare", "part": "all", "made_by": {}}
            ...     return {"about": {}, "results": [line | {"mean": {"M_J": score}}]}
            >>> print(ReportDifferences.of(report(0.5), report(0.75)))
            1 of 1 numbers differs
            mine, bare, all: M_J was 0.5, is 0.75
        """
        old, new = _by_place(earlier), _by_place(later)
        numbers: list[str] = []
        causes: dict[str, None] = {}
        compared = 0
        for place in {**old, **new}:
            where = ", ".join(place)
            if place not in old or place not in new:
                numbers.append(
                    f"{where}: only in the {'earlier' if place in old else 'new'} report"
                )
                continue
            one, other = old[place]["mean"], new[place]["mean"]
            names = [name for name in {**one, **other} if name not in _COSTS]
            compared += len(names)
            for name in names:
                was, now = one.get(name), other.get(name)
                if not _same(was, now):
                    numbers.append(f"{where}: {name} was {was}, is {now}")
            lines = _causes(place, old[place].get("made_by", {}), new[place].get("made_by", {}))
            causes |= dict.fromkeys(lines)
        return cls(numbers, list(causes), compared)

    @property
    def is_same(self) -> bool:
        """Whether all numbers are the same."""
        return not self.numbers

    def to_dict(self) -> dict[str, Any]:
        """Return `is_same`, `compared`, `numbers` and `causes`, in JSON types."""
        return {
            "is_same": self.is_same,
            "compared": self.compared,
            "numbers": list(self.numbers),
            "causes": list(self.causes),
        }

    def __str__(self) -> str:
        """Return what differs, a line each."""
        differ = "differs" if len(self.numbers) == 1 == self.compared else "differ"
        title = f"{len(self.numbers)} of {self.compared} numbers {differ}"
        if self.is_same:
            title = f"all {self.compared} numbers are the same"
        return "\n".join([title, *self.causes, *self.numbers])


def _by_place(report: Mapping[str, Any]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    return {(r["backend"], r["row"], r["part"]): r for r in report["results"]}


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE


def _causes(
    place: tuple[str, str, str], one: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what else differs in what made a line's numbers."""
    for name in _PARTS:
        if one.get(name) != other.get(name):
            yield f"{place[0]}, {place[1]}: another {name}: its class, options or weights differ"
    clips, others = (made.get("data") or {} for made in (one, other))
    for name in {**clips, **others}:
        if clips.get(name) != others.get(name):
            yield f"{name}: other clips: frames, audio or true masks differ"
    if one.get("versions") != other.get("versions"):
        texts = ("; ".join(made.get("versions") or ["unknown"]) for made in (one, other))
        yield "versions: {}, now {}".format(*texts)
