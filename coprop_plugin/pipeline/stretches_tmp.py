"""Stretches of a video: what the model says of some of their frames, and what follows for all."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import Tensor

from coprop_plugin.pipeline.candidates import Recovery
from coprop_plugin.pipeline.mask_logits import MaskLogits, agreement, sureness
from coprop_plugin.pipeline.segments import Segment
from coprop_plugin.types import Clip

# Answers that overlap less tell of different things; the alignment rate has the same bound.
AGREE = 0.5
# Masks that are more doubtful than this are no witness against another answer.
LOST = 0.5

Carry = Callable[[Sequence[Segment]], list[list[MaskLogits]]]
"""`carry_together`, of a propagator: the masks of the frames of each segment."""


class Stretch:
    """A stretch of frames in which the same things sound, and what the model said of some.

    To be asked for what is `wanted` until that is nothing; then `keyframes` and `masks` are there.

    Args:
        clip: The clip.
        frames: Indices in it, half-open.
        sound: What the propagator hears of the whole clip, one row a frame, or None.
        first: The frames to ask about in any case.
        recovery: What to ask besides.
        carry: Carries masks along segments.

    Attributes:
        keyframes: The frames whose answer is trusted, of those that are known, rising.
    """

    def __init__(
        self,
        clip: Clip,
        frames: range,
        sound: Tensor | None,
        first: Sequence[int],
        recovery: Recovery,
        carry: Carry,
    ) -> None:
        self.clip, self.frames, self.recovery = clip, frames, recovery
        self._sound, self._first, self._carry = sound, list(first), carry
        self.keyframes: list[int] = []
        self._at_odds = False
        self._answers: dict[int, Tensor] = {}
        self._views: dict[int, list[tuple[Tensor, float]]] = {}

    @property
    def wanted(self) -> list[int]:
        """The frames to ask about next; none where all is said."""
        if not self._answers:
            return self._first
        if len(self._answers) >= len(self._first) + self.recovery.extra:
            return []
        return self._doubtful()

    def take(self, answers: Mapping[int, Tensor]) -> None:
        """Take the model's logits `[C, H, W]` of frames that were wanted."""
        self._answers |= answers
        self.keyframes = sorted(self._answers)
        if len(self.keyframes) == 1:
            return
        best, others = self._best()
        agreed = [t for t in self.keyframes if t == best or self._trusts(best, t, others[t])]
        self._at_odds = len(agreed) == 1
        if self._at_odds:
            # Masks are no witness where they cannot be carried: against none but the empty ones.
            agreed = [t for t in self.keyframes if self._own_sureness(t) > 0] or agreed
        self.keyframes = agreed

    def masks(self) -> list[MaskLogits]:
        """Carry each trusted answer to the frames that are nearest to it; one mask a frame."""
        between = [sum(pair) // 2 + 1 for pair in pairwise(self.keyframes)]
        bounds = [self.frames.start, *between, self.frames.stop]
        near = [range(*ends) for ends in pairwise(bounds)]
        parts = [self._both_ways(*pair) for pair in zip(self.keyframes, near, strict=True)]
        return [masks for part in parts for masks in part]

    def _both_ways(self, keyframe: int, frames: range) -> list[MaskLogits]:
        logits = self._answers[keyframe]
        ways = (range(keyframe, frames.start - 1, -1), range(keyframe, frames.stop))
        back, forth = self._carry([Segment(self.clip, way, self._sound, logits) for way in ways])
        return [*reversed(back), *forth[1:]]

    def _seen_from(self, keyframe: int, t: int) -> tuple[Tensor, float]:
        """Return the mask [H, W] that an answer means for frame t, and how sure it is there."""
        if keyframe not in self._views:
            carried = [(each, each.mask) for each in self._both_ways(keyframe, self.frames)]
            self._views[keyframe] = [(mask, sureness(each, mask)) for each, mask in carried]
        return self._views[keyframe][t - self.frames.start]

    def _best(self) -> tuple[int, dict[int, float]]:
        """Find the answer that the others bear out; and how far each of them does, in 0..1."""
        support = {a: {} for a in sorted(self._answers)}
        for a in support:
            for b in support:
                if a < b:
                    support[a][b] = support[b][a] = (self._meets(a, b) + self._meets(b, a)) / 2
        best = max(support, key=lambda a: self._own_sureness(a) + sum(support[a].values()))
        return best, support[best]

    def _meets(self, a: int, b: int) -> float:
        """How well what is carried from a agrees at b with the model's own word."""
        return agreement(self._seen_from(a, b)[0], self._seen_from(b, b)[0])

    def _own_sureness(self, t: int) -> float:
        mask, sure = self._seen_from(t, t)
        # Something sounds here, so to see nothing is the least likely answer.
        return sure if bool(mask.any()) else 0.0

    def _trusts(self, best: int, t: int, agree: float) -> bool:
        """Whether an answer is borne out by the best one, or that one cannot tell any more."""
        return agree >= AGREE or self._doubt(best, t) > LOST

    def _doubt(self, keyframe: int, t: int) -> float:
        """How doubtful an answer is at frame t: unsure there, or nothing to be seen that sounds."""
        mask, sure = self._seen_from(keyframe, t)
        return 1 - sure if bool(mask.any()) or self._is_sure_of_nothing(keyframe) else 1.0

    def _is_sure_of_nothing(self, keyframe: int) -> bool:
        """Whether an answer is empty, and another one said so, too."""
        empty = [t for t in self._answers if not bool(self._seen_from(t, t)[0].any())]
        return keyframe in empty and len(empty) > 1

    def _doubtful(self) -> list[int]:
        """The frame to ask about where answers disagree, or else where masks are in doubt."""
        left = [t for t in self.frames if t not in self._answers]
        far = {t: min(abs(k - t) for k in self._answers) for t in left}
        if self._at_odds:
            return [max(far, key=far.get)] if far else []
        threshold, doubts = self.recovery.threshold, {}
        for t in left if threshold is not None else ():
            doubt = self._doubt(min(self.keyframes, key=lambda k: abs(k - t)), t)
            if doubt > threshold:
                doubts[t] = (doubt, far[t])
        return [max(doubts, key=doubts.get)] if doubts else []


def settle(
    stretches: Sequence[Stretch], ask: Callable[[list[list[int]]], Sequence[Sequence[Tensor]]]
) -> None:
    """Ask about what stretches want, all of them at once, until none wants more.

    Args:
        stretches: Not asked about yet.
        ask: From the frames that each of them wants (none, for some) to their logits
            `[C, H, W]`.
    """
    while any(wanted := [stretch.wanted for stretch in stretches]):
        for stretch, frames, logits in zip(stretches, wanted, ask(wanted), strict=True):
            if frames:
                stretch.take(dict(zip(frames, logits, strict=True)))
