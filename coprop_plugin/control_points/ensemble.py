"""An ensemble: control points by the votes of several providers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coprop_plugin.control_points.file_provider import checked_length
from coprop_plugin.control_points.resolve import ProviderSource, as_provider
from coprop_plugin.errors import ControlPointError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints


@dataclass(frozen=True)
class Verdict:
    """A frame with votes.

    Attributes:
        frame: Its index.
        share: The weight of its voters relative to all weight.
        voters: Numbers of the providers that voted for it.
    """

    frame: int
    share: float
    voters: tuple[int, ...]


@PROVIDERS.register_module(name=["EnsembleProvider", "ensemble"])
class EnsembleProvider:
    """Control points on which enough providers, by weight, agree.

    Each control point of a provider is one vote for a frame up to `tolerance` away. Frames are
    chosen by the weight of their voters, then by their distance. A frame is marked silent if its
    whole segment is silent according to all providers that mark silence.

    Args:
        providers: What `wrap(control_points=...)` takes, two or more.
        weights: One per provider, not negative; by default all the same.
        tolerance: Largest distance between points that mean the same change, in frames.
        threshold: The share of all weight that the voters must exceed: 0.5 is a majority; with 0
            any vote is enough.

    Raises:
        ControlPointError: If there are too few providers, or an option is out of range.
        UnknownNameError: If a name is not registered.

    Example:
        >>> flags = [[1, 0, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0]]
        >>> clip = Clip(torch.rand(5, 3, 8, 8))
        >>> EnsembleProvider(flags, tolerance=0).propose(clip).indices
        [0, 2]
    """

    def __init__(
        self,
        providers: Sequence[ProviderSource],
        weights: Sequence[float] | None = None,
        tolerance: int = 1,
        threshold: float = 0.5,
    ) -> None:
        self.providers = [as_provider(provider) for provider in providers]
        self.weights = [1.0] * len(providers) if weights is None else [float(w) for w in weights]
        if len(self.providers) < 2 or len(self.weights) != len(self.providers):
            raise ControlPointError(
                "Expected two or more providers and one weight each, got "
                f"{len(self.providers)} providers and {len(self.weights)} weights."
            )
        if min(self.weights) < 0 or sum(self.weights) == 0 or not 0 <= threshold < 1:
            raise ControlPointError(
                "Expected weights of 0 or more, not all 0, and a threshold from 0 to below 1, got "
                f"weights={self.weights} and threshold={threshold}."
            )
        if isinstance(tolerance, bool) or not isinstance(tolerance, int) or tolerance < 0:
            raise ControlPointError(
                f"Expected a tolerance of 0 or more whole frames, got {tolerance!r}."
            )
        self.tolerance, self.threshold = tolerance, threshold

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames that enough providers voted for.

        Raises:
            CopropError: What a provider raises.
        """
        members = [
            checked_length(provider.propose(clip), clip, type(provider).__name__)
            for provider in self.providers
        ]
        verdicts = count_votes(
            [member.indices[1:] for member in members], self.weights, self.tolerance, self.threshold
        )
        log = {
            "votes": [
                {"frame": v.frame, "share": round(v.share, 4), "voters": list(v.voters)}
                for v in verdicts
            ],
            "members": [
                {"source": m.source, "weight": w, "indices": m.indices, "log": dict(m.log)}
                for m, w in zip(members, self.weights, strict=True)
            ],
        }
        frames = [0, *(verdict.frame for verdict in verdicts)]
        points = ControlPoints.from_indices(frames, clip.num_frames, "ensemble", log)
        return replace(points, silent=_silent_segments(points, members))


def count_votes(
    ballots: Sequence[Sequence[int]], weights: Sequence[float], tolerance: int, threshold: float
) -> list[Verdict]:
    """Choose the frames with enough votes by weight.

    Args:
        ballots: The frames that each voter names.
        weights: One per voter.
        tolerance: Largest distance of a vote, in frames.
        threshold: The share of all weight to be exceeded.

    Returns:
        The chosen frames, rising; each is one that a voter named, and no vote counts twice.

    Example:
        >>> [v.frame for v in count_votes([[3, 9], [4], [4, 20]], [1, 1, 1], 1, 0.5)]
        [4]
    """
    left = [set(ballot) for ballot in ballots]
    total = sum(weights)
    chosen: list[Verdict] = []
    while any(left):
        verdicts = (
            _verdict(t, left, weights, tolerance, total) for t in sorted(set().union(*left))
        )
        verdict, distance = max(verdicts, key=lambda found: (found[0].share, -found[1]))
        # By rounding, a sum of weights may exceed a threshold that it equals.
        if verdict.share <= threshold + 1e-9:
            break
        chosen.append(verdict)
        for voter in verdict.voters:
            left[voter].discard(_nearest(left[voter], verdict.frame))
    return sorted(chosen, key=lambda verdict: verdict.frame)


def _verdict(
    frame: int, left: Sequence[set[int]], weights: Sequence[float], tolerance: int, total: float
) -> tuple[Verdict, float]:
    """Return the votes for a frame, and the weighted distance of the voters."""
    distances = {
        voter: abs(_nearest(frames, frame) - frame) for voter, frames in enumerate(left) if frames
    }
    voters = tuple(voter for voter, distance in distances.items() if distance <= tolerance)
    share = sum(weights[voter] for voter in voters) / total
    return Verdict(frame, share, voters), sum(weights[v] * distances[v] for v in voters)


def _nearest(frames: set[int], frame: int) -> int:
    return min(frames, key=lambda named: (abs(named - frame), named))


def _silent_segments(points: ControlPoints, members: Sequence[ControlPoints]) -> Tensor | None:
    known = [member.silent for member in members if member.silent is not None]
    if not known:
        return None
    unanimous = torch.stack(known).all(0)
    silent = torch.zeros_like(unanimous)
    for segment in points.segments:
        silent[segment.start : segment.stop] = unanimous[segment.start : segment.stop].all()
    return silent
