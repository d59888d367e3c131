"""Ask an expensive provider only where a cheap one is undecided."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from coprop_plugin.control_points.listening.boundaries import SILENT, Boundary
from coprop_plugin.control_points.novelty import HeardChanges, heard_changes
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.errors import ControlPointError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.types.timeline import snap


@PROVIDERS.register_module(name=["GateProvider", "gate"])
class GateProvider:
    """Lets novelty decide what is clear, and an expensive provider what is not.

    Novelty scores each change that it hears; 1 is just clear enough. Scores of `margin` and more
    are taken as they are, those below 1 / `margin` are no candidates. For what lies between, the
    expensive provider is asked about the sound around it, and the change counts if that provider
    has one too, at most `tolerance` frames away; its frame is novelty's, which hears more exactly.
    A clip without such a change costs no call, and the answer is then `novelty`'s own.

    The log holds each change with its score and what became of it, which stretches were asked
    about and what was answered, and `saved`, the share of the sound that nobody was asked about.

    Args:
        expensive: What `wrap(control_points=...)` takes: a language model's provider, say.
        margin: How far from 1, as a factor, a score is undecided; 1 never asks.
        around_s: How much of the sound on either side is asked about with an undecided change.
        tolerance: How many frames off the expensive provider may be.

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
        self, expensive: Any, margin: float = 1.5, around_s: float = 5.0, tolerance: int = 1
    ) -> None:
        if not (margin >= 1 and around_s > 0 and tolerance >= 0):
            raise ControlPointError(
                f"Got margin={margin}, around_s={around_s}, tolerance={tolerance}; wanted a factor "
                "of 1 or more, seconds above 0, and 0 frames or more."
            )
        self.expensive = as_provider(expensive)
        self.margin, self.around_s, self.tolerance = margin, around_s, tolerance

    def propose(self, clip: Clip) -> ControlPoints:
        """Return novelty's control points, the doubtful ones only where they are confirmed.

        Raises:
            ClipError: If the clip has no sound in any form.
            CopropError: Whatever the expensive provider raises.
        """
        heard = heard_changes(clip, least_score=1 / self.margin)
        candidates = [
            _Candidate(boundary, second, snap([second], clip)[-1])
            for boundary, second in zip(heard.boundaries, heard.seconds, strict=True)
        ]
        # What falls on the first frame changes nothing: that is a control point anyway.
        doubtful = [c for c in candidates if c.boundary.score < self.margin and c.frame]
        asked = self._stretches(clip, [c.frame for c in doubtful])
        answers = [self.expensive.propose(cut_out(clip, stretch)) for stretch in asked]
        confirming = {
            stretch.start + i
            for stretch, answer in zip(asked, answers, strict=True)
            for i in answer.indices[1:]
        }
        kept = [
            c not in doubtful or any(abs(c.frame - f) <= self.tolerance for f in confirming)
            for c in candidates
        ]
        log = {
            "boundaries": [
                c.to_dict(decided=c not in doubtful, kept=k)
                for c, k in zip(candidates, kept, strict=True)
            ],
            "asked": [
                {"frames": [s.start, s.stop], **answer.to_dict()}
                for s, answer in zip(asked, answers, strict=True)
            ],
            "calls": len(asked),
            "saved": round(1 - sum(map(len, asked)) / clip.num_frames, 4),
        }
        return _points(clip, heard, _only(heard, kept), log)

    def _stretches(self, clip: Clip, frames: list[int]) -> list[range]:
        """Return the frames within reach of those given, as few stretches as they make."""
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
    """Return a stretch of frames as a clip of its own: its sound alone, its clock from 0.

    Args:
        clip: A clip, with a waveform or not.
        frames: The stretch; half-open.

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
    if clip.heard_at is not None:
        changed["heard_at"] = part.heard_at - start_s
    return replace(part, **changed)


def _only(heard: HeardChanges, kept: list[bool]) -> HeardChanges:
    """Leave boundaries out: what came before them goes on."""
    boundaries = [b for b, keep in zip(heard.boundaries, kept, strict=True) if keep]
    seconds = [s for s, keep in zip(heard.seconds, kept, strict=True) if keep]
    return replace(heard, boundaries=boundaries, seconds=seconds)


def _points(
    clip: Clip, heard: HeardChanges, kept: HeardChanges, log: dict[str, Any]
) -> ControlPoints:
    points = replace(kept.points(clip, "gate"), log=log)
    if points.silent is None:
        return points
    # What is silent is so with the doubtful changes and without them.
    with_all = torch.tensor([state == SILENT for state in heard.states(clip)])
    return replace(points, silent=points.silent & with_all)
