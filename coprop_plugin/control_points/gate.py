"""A gate: an expensive provider is called only where novelty is undecided."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from coprop_plugin.control_points.listening.boundaries import SILENT, Boundary
from coprop_plugin.control_points.novelty import AudioChanges, find_audio_changes
from coprop_plugin.control_points.resolve import ProviderSource, as_provider
from coprop_plugin.errors import ControlPointError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPointProvider, ControlPoints
from coprop_plugin.types.timeline import snap


@PROVIDERS.register_module(name=["GateProvider", "gate"])
class GateProvider:
    """Control points of novelty, its uncertain ones confirmed by an expensive provider.

    Novelty scores each change; 1 is just clear enough. Scores of `margin` and more are accepted,
    those below 1 / `margin` are dropped. For those in between, the expensive provider is called
    with the part of the clip around the change, which is kept if that provider has a control point
    at most `tolerance` frames away; its frame is novelty's, which is more exact. A clip without
    such a change costs no call, and has `novelty`'s own control points.

    The log holds each change with its score and whether it was kept, the parts of the clip that
    the expensive provider was called with and its control points, and `saved`, the share of the
    clip that it was not called with.

    Args:
        expensive: What `wrap(control_points=...)` takes, e.g. a language model's provider.
        margin: The factor around 1 within which a score is uncertain; 1 never calls the expensive
            provider.
        around_s: How much of the clip on both sides of an uncertain change is part of the call.
        tolerance: Largest distance of a confirming control point, in frames.

    Raises:
        ControlPointError: If margin, seconds or frames are out of range.
        UnknownNameError: If a name is not registered.

    Example:
        >>> gate = GateProvider("every_n")
        >>> silence = Clip(torch.rand(5, 3, 8, 8), torch.zeros(80_000))
        >>> points = gate.propose(silence)
        >>> points.indices, points.log["saved"]
        ([0], 1.0)
    """

    def __init__(
        self,
        expensive: ProviderSource,
        margin: float = 1.5,
        around_s: float = 5.0,
        tolerance: int = 1,
    ) -> None:
        if not (margin >= 1 and around_s > 0 and tolerance >= 0):
            raise ControlPointError(
                "Expected a margin of 1 or more, around_s above 0 and a tolerance of 0 or more "
                f"frames, got margin={margin}, around_s={around_s}, tolerance={tolerance}."
            )
        self.expensive = as_provider(expensive)
        self.margin, self.around_s, self.tolerance = margin, around_s, tolerance

    @property
    def providers(self) -> Sequence[ControlPointProvider]:
        """The providers that it calls."""
        return [self.expensive]

    def propose(self, clip: Clip) -> ControlPoints:
        """Return novelty's control points, the uncertain ones only where they are confirmed.

        Raises:
            ClipError: If the clip has no audio in any form.
            CopropError: What the expensive provider raises.
        """
        changes = find_audio_changes(clip, least_score=1 / self.margin)
        candidates = [
            _Candidate(boundary, second, snap([second], clip)[-1])
            for boundary, second in zip(changes.boundaries, changes.seconds, strict=True)
        ]
        # The first frame is a control point anyway, so a change there has no effect.
        uncertain = [c for c in candidates if c.boundary.score < self.margin and c.frame]
        parts = self._parts(clip, [c.frame for c in uncertain])
        answers = [self.expensive.propose(cut_out(clip, part)) for part in parts]
        confirming = {
            part.start + i
            for part, answer in zip(parts, answers, strict=True)
            for i in answer.indices[1:]
        }
        kept = [
            c not in uncertain or any(abs(c.frame - f) <= self.tolerance for f in confirming)
            for c in candidates
        ]
        log = {
            "boundaries": [
                c.to_dict(decided=c not in uncertain, kept=k)
                for c, k in zip(candidates, kept, strict=True)
            ],
            "asked": [
                {"frames": [part.start, part.stop], **answer.to_dict()}
                for part, answer in zip(parts, answers, strict=True)
            ],
            "calls": len(parts),
            "saved": round(1 - sum(map(len, parts)) / clip.num_frames, 4),
        }
        return _points(clip, changes, _only(changes, kept), log)

    def _parts(self, clip: Clip, frames: list[int]) -> list[range]:
        """Return the ranges of frames within reach of those given, joined where they overlap."""
        times = clip.times
        near = torch.zeros(clip.num_frames, dtype=torch.bool)
        for frame in frames:
            near |= (times - times[frame]).abs() <= self.around_s
        edges = torch.nn.functional.pad(near.int(), (1, 1)).diff()
        starts, stops = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
        return [range(a, b) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]


@dataclass(frozen=True)
class _Candidate:
    boundary: Boundary
    second: float
    frame: int

    def to_dict(self, decided: bool, kept: bool) -> dict[str, Any]:
        return {
            "second": round(self.second, 3),
            "rule": self.boundary.rule,
            "score": round(self.boundary.score, 2),
            "decided": decided,
            "kept": kept,
        }


def cut_out(clip: Clip, frames: range) -> Clip:
    """Return a range of frames as a clip with its own audio only, whose time begins at 0.

    Args:
        clip: A clip, with or without a waveform.
        frames: Half-open.

    Example:
        >>> clip = Clip(torch.rand(6, 3, 8, 8), torch.zeros(96_000), sampling="avsbench")
        >>> part = cut_out(clip, range(2, 4))
        >>> part, part.times.tolist()
        (Clip(2 frames of 8x8, 2.00 s at 16000 Hz), [0.9375, 1.9375])
    """
    if frames == range(clip.num_frames):
        return clip
    start_s = float(clip.spans[frames.start, 0])
    end_s = float(clip.spans[frames.stop - 1, 1])
    part = clip[frames.start : frames.stop]
    changed: dict[str, Any] = {"times": part.times - start_s}
    if clip.waveform is not None:
        first, last = (round(s * clip.sample_rate) for s in (start_s, end_s))
        changed["waveform"] = clip.waveform[first:last]
    if part.heard_at is not None:
        changed["heard_at"] = part.heard_at - start_s
    return replace(part, **changed)


def _only(changes: AudioChanges, kept: list[bool]) -> AudioChanges:
    """Leave boundaries out: the state before each of them continues."""
    boundaries = [b for b, keep in zip(changes.boundaries, kept, strict=True) if keep]
    seconds = [s for s, keep in zip(changes.seconds, kept, strict=True) if keep]
    return replace(changes, boundaries=boundaries, seconds=seconds)


def _points(
    clip: Clip, changes: AudioChanges, kept: AudioChanges, log: dict[str, Any]
) -> ControlPoints:
    points = replace(kept.points(clip, "gate"), log=log)
    if points.silent is None:
        return points
    # A frame is silent if it is so both with and without the uncertain changes.
    with_all = torch.tensor([state == SILENT for state in changes.frame_states(clip)])
    return replace(points, silent=points.silent & with_all)
