"""Comparing control-point providers on clips with truth."""

import logging
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
from coprop_plugin.errors import CopropError, DatasetError, short_reason
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
"""The columns of `compare`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NamedProvider:
    """A provider in a comparison.

    Args:
        name: Its name in the table.
        provider: The provider; or a function that makes one for a sample, where the provider is
            given the sample's truth.
        note: A note in the table, e.g. `"untrained"`.
    """

    name: str
    provider: ControlPointProvider | Callable[[Sample], ControlPointProvider]
    note: str = ""

    def of(self, sample: Sample) -> ControlPointProvider:
        """Return the provider for a sample."""
        if isinstance(self.provider, ControlPointProvider):
            return self.provider
        return self.provider(sample)


def compare(providers: Sequence[NamedProvider], samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """Score the control points that providers find in clips with truth.

    Precision, recall and F1 are those of `ControlPointScores` over all clips: within no frame
    (`@0`) and within one frame (`@1`), the first frame left out. The onset error is that of
    `BoundaryScores` for the masks that result if keyframes are perfect and masks do not change
    between them: each frame has the true classes of its segment's first frame. `calls` is the
    number of requests to a language model, `seconds` the time for all clips. Clips with unlabelled
    frames are left out; `failed` lists the clips for which the provider raised.

    Args:
        providers: The providers.
        samples: Clips with truth; each is read once.

    Returns:
        A row for each provider, a mapping of `COLUMNS`.

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
    tables = [_Table(provider) for provider in providers]
    num_clips = 0
    for sample in samples:
        if sample.control_points is None:
            continue
        num_clips += 1
        for table in tables:
            table.add(sample)
    if not num_clips:
        raise DatasetError(
            "Expected clips with known control points, got none: every frame must be labelled, "
            "which S4's training split is not. Use its test split, MS3, AVSS, or the made-up world."
        )
    return [table.row() for table in tables]


class CallCounter:
    """Counts the requests that reach a language model.

    Example:
        >>> CallCounter().count
        0
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def watch(self, provider: Any) -> None:
        """Count the requests of a provider from now on; watching it again changes nothing."""
        replace_llms(provider, self._counted)

    def _counted(self, llm: AudioLLM) -> AudioLLM:
        if hasattr(llm, "llm"):
            # A cache: what it answers itself does not count.
            llm.llm = self._counted(llm.llm)
            return llm
        return llm if isinstance(llm, _Counted) and llm.counter is self else _Counted(llm, self)

    def add(self) -> None:
        """Count one request."""
        with self._lock:
            self.count += 1


class _Counted:
    """A client whose requests are counted."""

    def __init__(self, client: AudioLLM, counter: CallCounter) -> None:
        self.client, self.counter = client, counter

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        **options: Mapping[str, Any] | None,
    ) -> str:
        self.counter.add()
        return self.client.chat(messages, waveform, sample_rate, **options)


@dataclass
class _Table:
    """The scores of one provider."""

    provider: NamedProvider
    points: ControlPointScores = field(default_factory=ControlPointScores)
    boundaries: BoundaryScores = field(default_factory=BoundaryScores)
    calls: CallCounter = field(default_factory=CallCounter)
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        try:
            provider = self.provider.of(sample)
            self.calls.watch(provider)
            points = self._timed(provider, sample)
            outcome = self._outcome(sample, points)
            self.points.update(outcome)
            self.boundaries.update(outcome)
        except Exception as error:  # A provider may raise anything.
            kind = ""
            if not isinstance(error, CopropError):
                logger.exception("%s failed on %s", self.provider.name, sample.id)
                kind = f"{type(error).__name__}: "
            self.failed.append(f"{sample.id}: {kind}{short_reason(error, limit=None)}")

    def _timed(self, provider: ControlPointProvider, sample: Sample) -> ControlPoints:
        begun = time.perf_counter()
        try:
            return provider.propose(sample.clip)
        finally:
            self.seconds += time.perf_counter() - begun

    @staticmethod
    def _outcome(sample: Sample, points: ControlPoints) -> Outcome:
        truth = sounding_classes(sample.masks, max(sample.num_classes, 2))
        return Outcome(
            _as_masks(truth[_keyframe_of_each(points)]),
            _as_masks(truth),
            num_classes=sample.num_classes,
            times=sample.clip.times,
            control_points=points,
            true_control_points=sample.control_points,
            id=sample.id,
        )

    def row(self) -> dict[str, Any]:
        scores = self.points.compute() | self.boundaries.compute()
        known = {
            "provider": self.provider.name,
            "note": self.provider.note,
            "seconds": self.seconds,
            "calls": self.calls.count,
            "failed": self.failed,
        }
        return {name: known.get(name, scores.get(name)) for name in COLUMNS}


def _keyframe_of_each(points: ControlPoints) -> list[int]:
    """Return for each frame the first one of its segment."""
    return [segment.start for segment in points.segments for _ in segment]


def _as_masks(classes: Tensor) -> Tensor:
    """Return masks `[T, 1, C]` with one pixel for each sounding class of `[T, C]` bool."""
    return (classes * torch.arange(1, classes.shape[1] + 1))[:, None]
