"""Who finds control points best: any providers, on any clips with truth."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.metrics import (
    BoundaryScores,
    ControlPointScores,
    Outcome,
    sounding_classes,
)
from coprop_plugin.control_points.llm.cache import replace_llms
from coprop_plugin.errors import CopropError, DatasetError
from coprop_plugin.types import AudioLLM, ControlPointProvider, ControlPoints

COLUMNS = (
    "provider",
    "note",
    "precision@0",
    "recall@0",
    "F1@0",
    "precision@1",
    "recall@1",
    "F1@1",
    "onset_error_s",
    "onset_missed",
    "seconds",
    "calls",
    "failed",
)
"""What `compare` says of each provider."""


@dataclass(frozen=True)
class NamedProvider:
    """Someone to compare.

    Args:
        name: For the table.
        provider: Who finds control points; or a function that makes one for a sample, for those
            that are told its truth.
        note: For the table: "untrained", say.
    """

    name: str
    provider: ControlPointProvider | Callable[[Sample], ControlPointProvider]
    note: str = ""

    def of(self, sample: Sample) -> ControlPointProvider:
        """Return who finds the control points of a sample."""
        if isinstance(self.provider, ControlPointProvider):
            return self.provider
        return self.provider(sample)


def compare(entrants: Sequence[NamedProvider], samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """Let providers find the control points of clips whose truth is known.

    Precision, recall and F1 are those of `ControlPointScores`: over all clips, for the very frame
    (`@0`) and for one frame off (`@1`), the first frame left out. The onset error is that of
    `BoundaryScores`, of the masks that follow if keyframes are perfect and masks do not change
    between them: each frame shows the classes that truly sound in its segment's first frame.
    `calls` counts questions to a language model, `seconds` the time for all clips. Clips that are
    not labelled throughout are left out; of one that fails, `failed` counts it.

    Args:
        entrants: Who takes part.
        samples: Clips with truth; each is read once.

    Returns:
        A row for each entrant, a mapping of `COLUMNS`.

    Raises:
        DatasetError: If no clip has known control points.

    Example:
        >>> from coprop_plugin.control_points.resolve import as_provider
        >>> from coprop_plugin.types import Clip
        >>> masks = torch.tensor([0, 1, 1, 0]).reshape(4, 1, 1).expand(4, 8, 8)
        >>> truth = ControlPoints([1, 1, 0, 1])
        >>> clip = Clip(torch.rand(4, 3, 8, 8), torch.zeros(64_000))
        >>> sample = Sample("a", clip, masks, torch.ones(4).bool(), control_points=truth)
        >>> row, = compare([NamedProvider("every frame", as_provider([1, 1, 1, 1]))], [sample])
        >>> row["precision@0"], row["recall@0"], row["onset_error_s"]
        (0.6666666666666666, 1.0, 0.0)
    """
    tables = [_Table(entrant) for entrant in entrants]
    num_clips = 0
    for sample in samples:
        if sample.control_points is None:
            continue
        num_clips += 1
        for table in tables:
            table.add(sample)
    if not num_clips:
        raise DatasetError(
            "Got no clip whose control points are known: every frame must be labelled. S4 is not "
            "in training; take its test split, MS3, AVSS, or the made-up world."
        )
    return [table.row() for table in tables]


class CallCounter:
    """Counts the questions that reach a language model.

    Example:
        >>> CallCounter().count
        0
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def watch(self, provider: Any) -> None:
        """Count the questions of a provider from now on; once is enough."""
        replace_llms(provider, self._counted)

    def _counted(self, llm: AudioLLM) -> AudioLLM:
        if hasattr(llm, "llm"):
            # What is answered from a cache is no call.
            llm.llm = self._counted(llm.llm)
            return llm
        return llm if isinstance(llm, _Counted) and llm.counter is self else _Counted(llm, self)

    def add(self) -> None:
        """Count one."""
        with self._lock:
            self.count += 1


class _Counted:
    """A client whose questions are counted."""

    def __init__(self, client: AudioLLM, counter: CallCounter) -> None:
        self.client, self.counter = client, counter

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def chat(self, *args: Any, **options: Mapping[str, Any]) -> str:
        self.counter.add()
        return self.client.chat(*args, **options)


@dataclass
class _Table:
    """What becomes of one entrant."""

    entrant: NamedProvider
    points: ControlPointScores = field(default_factory=ControlPointScores)
    boundaries: BoundaryScores = field(default_factory=BoundaryScores)
    calls: CallCounter = field(default_factory=CallCounter)
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        provider = self.entrant.of(sample)
        self.calls.watch(provider)
        begun = time.perf_counter()
        try:
            points = provider.propose(sample.clip)
        except CopropError as error:
            self.failed.append(f"{sample.id}: {' '.join(str(error).split())}")
            return
        finally:
            self.seconds += time.perf_counter() - begun
        truth = sounding_classes(sample.masks, max(sample.num_classes, 2))
        outcome = Outcome(
            _as_masks(truth[_keyframe_of_each(points)]),
            _as_masks(truth),
            num_classes=sample.num_classes,
            times=sample.clip.times,
            control_points=points,
            true_control_points=sample.control_points,
            id=sample.id,
        )
        self.points.update(outcome)
        self.boundaries.update(outcome)

    def row(self) -> dict[str, Any]:
        scores = self.points.compute() | self.boundaries.compute()
        known = {
            "provider": self.entrant.name,
            "note": self.entrant.note,
            "seconds": self.seconds,
            "calls": self.calls.count,
            "failed": self.failed,
        }
        return {name: known.get(name, scores.get(name)) for name in COLUMNS}


def _keyframe_of_each(points: ControlPoints) -> list[int]:
    """Return for each frame the first one of its segment."""
    return [segment.start for segment in points.segments for _ in segment]


def _as_masks(classes: Tensor) -> Tensor:
    """Return masks `[T, 1, C]` in which each class that sounds, `[T, C]` bool, has one pixel."""
    return (classes * torch.arange(1, classes.shape[1] + 1))[:, None]
