"""Scores that are collected clip by clip, on one machine or on many."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Generic, TypeVar

from torch import distributed

from coprop_plugin.benchmark.metrics.clip_outcome import Outcome

Record = TypeVar("Record")


class Meter(Generic[Record]):
    """A score over clips: `update` with every clip, then `compute`.

    A subclass says what to remember of a clip (`measure`, small enough to send around) and what
    follows from all of it (`summarise`). Under torch.distributed `compute` gathers the records of
    all ranks and every rank gets the same answer; a clip that a sampler gave to two ranks, to make
    their shares equal, counts once, known by its id.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def measure(self, outcome: Outcome) -> Record:
        """Return what this score needs to know of one clip."""
        raise NotImplementedError

    def summarise(self, records: Sequence[Record]) -> dict[str, Any]:
        """Return the scores over all clips: plain numbers, None where there is nothing to say."""
        raise NotImplementedError

    def update(self, outcome: Outcome | Mapping[str, Any]) -> None:
        """Add one clip; a clip with the id of an earlier one takes its place.

        Raises:
            MetricError: If prediction and truth do not fit one another.
        """
        outcome = Outcome.from_any(outcome)
        # A space cannot begin an id of a file on disk that anyone would want to type.
        key = outcome.id or f" {_rank()} {len(self._records)}"
        self._records[key] = self.measure(outcome)

    def compute(self) -> dict[str, Any]:
        """Return the scores over all clips of all ranks.

        Under torch.distributed every rank must call this, as it waits for the others.
        """
        return self.summarise(list(_gathered(self._records).values()))

    def reset(self) -> None:
        """Forget all clips."""
        self._records = {}


def _rank() -> int:
    return distributed.get_rank() if _is_distributed() else 0


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _gathered(records: dict[str, Any]) -> dict[str, Any]:
    if not _is_distributed() or distributed.get_world_size() == 1:
        return records
    shares: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(shares, records)
    # Samplers deal clips out like cards, so this is the order of the data set again.
    rounds = zip_longest(*(share.items() for share in shares))
    together: dict[str, Any] = {}
    for key, record in (item for one_round in rounds for item in one_round if item is not None):
        together.setdefault(key, record)
    return together


def ratio(part: float, whole: float) -> float | None:
    """Return part / whole, None of nothing."""
    return float(part) / float(whole) if whole else None


def named(scores: Mapping[str, Any], frame_set: str) -> dict[str, Any]:
    """Add `_key` or `_normal` to the names of scores over part of the frames."""
    return {name if frame_set == "all" else f"{name}_{frame_set}": s for name, s in scores.items()}
