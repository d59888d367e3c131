"""Base class of scores over clips, on one machine or distributed."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Generic, TypeVar

from torch import distributed

from coprop_plugin.benchmark.metrics.clip_outcome import Outcome

Record = TypeVar("Record")


class Meter(Generic[Record]):
    """A score over clips: `update` with every clip, then `compute`.

    A subclass defines the record of a clip (`measure`, small enough to send between processes) and
    the scores of all records (`summarise`). Under torch.distributed `compute` gathers the records
    of all ranks and returns the same on each; a clip that a sampler gave to two ranks, to make
    their shares equal, is recognised by its id and counts once.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def measure(self, outcome: Outcome) -> Record:
        """Return the record of one clip."""
        raise NotImplementedError

    def summarise(self, records: Sequence[Record]) -> dict[str, Any]:
        """Return the scores of records: plain numbers, None where undefined."""
        raise NotImplementedError

    def update(self, outcome: Outcome | Mapping[str, Any]) -> None:
        """Add one clip; it replaces an earlier one with the same id.

        Raises:
            MetricError: If prediction and truth do not fit one another.
        """
        outcome = Outcome.from_any(outcome)
        # Ids of clips do not begin with a space.
        key = outcome.id or f" {_rank()} {len(self._records)}"
        self._records[key] = self.measure(outcome)

    def compute(self) -> dict[str, Any]:
        """Return the scores over all clips of all ranks.

        Under torch.distributed every rank must call it: it waits for the others.
        """
        return self.summarise(list(_gathered(self._records).values()))

    def reset(self) -> None:
        """Remove all clips."""
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
    # Samplers assign clips to ranks in turn, so taking them in turn restores their order.
    rounds = zip_longest(*(share.items() for share in shares))
    gathered: dict[str, Any] = {}
    for key, record in (item for one_round in rounds for item in one_round if item is not None):
        gathered.setdefault(key, record)
    return gathered


def ratio(part: float, whole: float) -> float | None:
    """Return part / whole, None if whole is 0."""
    return float(part) / float(whole) if whole else None


def named(scores: Mapping[str, Any], frame_set: str) -> dict[str, Any]:
    """Append `_key` or `_normal` to the names of scores over part of the frames."""
    return {name if frame_set == "all" else f"{name}_{frame_set}": s for name, s in scores.items()}
