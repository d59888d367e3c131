"""The rules of a `Propagator`, Eq. (3)."""

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from coprop_plugin.benchmark.conformance.check_clips import OTHER_SIZE, check_clip
from coprop_plugin.benchmark.conformance.findings import (
    PASSED,
    ConformanceReport,
    Rule,
    Verdict,
    check_rules,
)
from coprop_plugin.benchmark.conformance.part_state import PartState, digest_of, training_mode
from coprop_plugin.benchmark.conformance.same_numbers import same_logits
from coprop_plugin.benchmark.plug_and_play.cost import measured
from coprop_plugin.layers import device_of, to_device
from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.types import (
    BatchedPropagator,
    Clip,
    LookaheadPropagator,
    Propagator,
    UInt8Propagator,
    jaccard,
)

_STEPS = 4
_TOLERANCE = 1e-3
"""Most that logits may differ, as a share of their standard deviation, where batches differ."""


def check_propagator(propagator: Propagator, name: str = "") -> ConformanceReport:
    """Check a propagator against the rules that `wrap` relies on.

    Args:
        propagator: The propagator.
        name: Its name in the report; by default that of its class.

    Returns:
        The report.

    Example:
        >>> from coprop_plugin.propagation import HoldPropagator
        >>> check_propagator(HoldPropagator()).failed
        False
    """
    rules = _PropagatorRules(propagator)
    return check_rules("propagator", name or type(propagator).__name__, rules.all(), "shape")


class _PropagatorRules:
    """The rules, and the run over a few frames that several of them compare."""

    def __init__(self, propagator: Propagator) -> None:
        self.propagator = propagator
        self.device = device_of(propagator)
        self.clip = check_clip(fps=4.0)
        self.masks = _stripes(self.clip, 2)
        self.state = PartState(propagator)

    def all(self) -> list[tuple[str, Rule]]:
        return [
            ("audio features", self.hear),
            ("shape", self.shape),
            ("one object, several", self.objects),
            ("deterministic", self.deterministic),
            ("training mode changes nothing", self.training_mode),
            ("no gradient is kept", self.no_gradient),
            ("all state is in the memory", self.interleaved),
            ("a batch equals one by one", self.batch),
            ("segments that end earlier", self.first),
            ("frames encoded ahead", self.ahead),
            ("frames as uint8", self.uint8),
            ("without audio", self.without_audio),
            ("another size", self.another_size),
            ("a still picture", self.still),
            ("weights, flags and inputs stay", self.untouched),
            ("cost", self.cost),
        ]

    def sound(self, clip: Clip) -> Tensor | None:
        with torch.no_grad(), evaluating(self.propagator):
            heard = self.propagator.hear(clip)
        return None if heard is None else to_device(heard, self.device)

    def run(
        self,
        clip: Clip,
        masks: Tensor,
        sound: Tensor | None,
        steps: int = _STEPS,
        ahead: int = 0,
    ) -> Tensor:
        """Propagate masks `[B, H, W]`, each over the same frames; returns logits of each step."""
        copies = len(masks)
        with torch.no_grad(), evaluating(self.propagator):
            memory = self.propagator.start(
                self._frame(clip, 0, copies), _row(sound, 0, copies), masks.clone().to(self.device)
            )
            if ahead and isinstance(self.propagator, LookaheadPropagator):
                frames = torch.stack([self._frame(clip, t, copies) for t in range(1, 1 + ahead)])
                rows = None if sound is None else sound[1 : 1 + ahead, None]
                self.propagator.look_ahead(memory, frames, rows)
            found = [self._step(memory, clip, t, sound, copies) for t in range(1, 1 + steps)]
        return torch.stack(found)

    def _step(
        self, memory: object, clip: Clip, t: int, sound: Tensor | None, copies: int = 1
    ) -> Tensor:
        return self.propagator.step(memory, self._frame(clip, t, copies), _row(sound, t, copies))

    def _frame(self, clip: Clip, t: int, copies: int = 1) -> Tensor:
        return to_device(clip.rgb([t]), self.device).expand(copies, -1, -1, -1)

    @cached_property
    def logits(self) -> Tensor:
        """Of each of the first steps, `[steps, 1, 3, H, W]`."""
        return self.run(self.clip, self.masks, self.sound(self.clip))

    def hear(self) -> Verdict:
        heard = self.propagator.hear(self.clip)
        if heard is None:
            return Verdict("passed", "It uses no audio.")
        if not isinstance(heard, Tensor) or len(heard) != len(self.clip):
            got = list(heard.shape) if isinstance(heard, Tensor) else type(heard).__name__
            return Verdict(
                "failed",
                f"Expected None or one row for each of {len(self.clip)} frames, got {got}. Return "
                "a tensor [T, ...].",
            )
        return Verdict("passed", f"{list(heard.shape)}")

    def shape(self) -> Verdict:
        return self._shape(self.clip, self.masks)

    def _shape(self, clip: Clip, masks: Tensor) -> Verdict:
        logits = self.run(clip, masks, self.sound(clip), steps=2)[-1]
        expected = [len(masks), 1 + int(masks.max()), *clip.size]
        if list(logits.shape) != expected or not logits.is_floating_point():
            return Verdict(
                "failed",
                f"Expected float logits {expected}, [B, 1 + n, H, W] with the background first, "
                f"got {logits.dtype} {list(logits.shape)}. Return one channel for each object id.",
            )
        if not bool(torch.isfinite(logits).all()):
            return Verdict(
                "failed", "Expected finite logits, got NaN or infinity. Clamp before a logarithm."
            )
        return PASSED

    def objects(self) -> Verdict:
        for number in (1, 4):
            verdict = self._shape(self.clip, _stripes(self.clip, number))
            if verdict.status == "failed":
                return replace(verdict, text=f"With {number} objects: {verdict.text}")
        return PASSED

    def deterministic(self) -> Verdict:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            found = self.run(self.clip, self.masks, self.sound(self.clip))
        when = "with another random seed. Fix the seed of what is drawn"
        return same_logits(self.logits, found, 0.0, when)

    def training_mode(self) -> Verdict:
        sound = self.sound(self.clip)
        with training_mode(self.propagator):
            before = PartState(self.propagator)
            found = self.run(self.clip, self.masks, sound, steps=2)
            if before.changes():
                return Verdict(
                    "failed", f"In training mode a run changes {' and '.join(before.changes())}."
                )
        return same_logits(
            self.logits[:2],
            found,
            0.0,
            "if it was left in training mode. Make the propagator an `nn.Module` that holds its "
            "networks, or put them into eval mode",
        )

    def no_gradient(self) -> Verdict:
        sound = self.sound(self.clip)
        with torch.enable_grad():
            memory = self.propagator.start(
                self._frame(self.clip, 0), _row(sound, 0), self.masks.to(self.device)
            )
            logits = self._step(memory, self.clip, 1, sound)
        if logits.requires_grad and not self.state.has_weights:
            return Verdict("failed", "The logits keep a graph without weights. Detach them.")
        # A propagator that is trained keeps its graph; the pipeline runs it under `no_grad`.
        return Verdict("passed", "trainable" if logits.requires_grad else "")

    def interleaved(self) -> Verdict:
        sound, other = self.sound(self.clip), _stripes(self.clip, 1)
        with torch.no_grad(), evaluating(self.propagator):
            start = self.propagator.start
            memory = start(self._frame(self.clip, 0), _row(sound, 0), self.masks.to(self.device))
            found = [self._step(memory, self.clip, 1, sound)]
            second = start(self._frame(self.clip, 5), _row(sound, 5), other.to(self.device))
            self._step(second, self.clip, 6, sound)
            found.append(self._step(memory, self.clip, 2, sound))
        return same_logits(
            self.logits[:2],
            torch.stack(found),
            _TOLERANCE,
            "if another segment is propagated meanwhile. Keep everything in the memory that "
            "`start` returns, nothing in the propagator",
        )

    def batch(self) -> Verdict:
        sound = self.sound(self.clip)
        masks = torch.cat([self.masks, self.masks.flip(-1)])
        together = self.run(self.clip, masks, sound, steps=2)
        second = self.run(self.clip, masks[1:], sound, steps=2)
        when = "where several segments are propagated together"
        alone = torch.cat([self.logits[:2], second], 1)
        verdict = same_logits(alone, together, _TOLERANCE, when)
        if verdict.status == "failed" and not isinstance(self.propagator, BatchedPropagator):
            text = f"{verdict.text} Without `first`, `segment_batch` has no effect."
            return Verdict("warning", text)
        return verdict

    def first(self) -> Verdict:
        if not isinstance(self.propagator, BatchedPropagator):
            return Verdict("skipped", "It has no `first`: segments are propagated one by one.")
        sound = self.sound(self.clip)
        masks = torch.cat([self.masks, self.masks.flip(-1)])
        with torch.no_grad(), evaluating(self.propagator):
            memory = self.propagator.start(
                self._frame(self.clip, 0, 2), _row(sound, 0, 2), masks.to(self.device)
            )
            self._step(memory, self.clip, 1, sound, 2)
            memory = self.propagator.first(memory, 1)
            found = self._step(memory, self.clip, 2, sound)
        when = "once `first` has left out the other segments"
        return same_logits(self.logits[1], found, _TOLERANCE, when)

    def ahead(self) -> Verdict:
        if not isinstance(self.propagator, LookaheadPropagator):
            return Verdict("skipped", "It has no `look_ahead`.")
        sound = self.sound(self.clip)
        ahead = self.run(self.clip, self.masks, sound, ahead=_STEPS)
        return same_logits(self.logits, ahead, _TOLERANCE, "after `look_ahead`")

    def uint8(self) -> Verdict:
        if not (isinstance(self.propagator, UInt8Propagator) and self.propagator.takes_uint8):
            return Verdict("skipped", "It does not say `takes_uint8`.")
        sound = self.sound(self.clip)
        frames = (self.clip.rgb() * 255).round().to(torch.uint8).to(self.device)
        with torch.no_grad(), evaluating(self.propagator):
            memory = self.propagator.start(frames[:1], _row(sound, 0), self.masks.to(self.device))
            found = [
                self.propagator.step(memory, frames[t : t + 1], _row(sound, t)) for t in (1, 2)
            ]
        when = "where frames are uint8 in 0..255"
        return same_logits(self.logits[:2], torch.stack(found), 0.05, when)

    def without_audio(self) -> Verdict:
        self.run(self.clip, self.masks, None, steps=1)
        return PASSED

    def another_size(self) -> Verdict:
        clip = check_clip(fps=4.0, size=OTHER_SIZE)
        return self._shape(clip, _stripes(clip, 2))

    def still(self) -> Verdict:
        frames = self.clip.frames[:1].expand(len(self.clip), -1, -1, -1)
        clip = replace(self.clip, frames=frames.contiguous())
        found = self.run(clip, self.masks, self.sound(clip))[-1].argmax(1).cpu()
        iou = float(torch.stack([jaccard(found == i, self.masks == i) for i in (1, 2)]).mean())
        text = f"IoU {iou:.2f} after {_STEPS} frames in which nothing moves"
        if iou < 0.5:
            return Verdict("warning", f"{text}. Has it weights, and are ids 0 the background?")
        return Verdict("measured", text)

    def untouched(self) -> Verdict:
        sound = self.sound(self.clip)
        frame, masks = self._frame(self.clip, 0).clone(), self.masks.clone().to(self.device)
        before = digest_of(frame, sound, masks)
        with torch.no_grad(), evaluating(self.propagator):
            memory = self.propagator.start(frame, _row(sound, 0), masks)
            self.propagator.step(memory, frame, _row(sound, 1))
        changed = self.state.changes()
        if digest_of(frame, sound, masks) != before:
            changed.append("its inputs")
        if changed:
            return Verdict(
                "failed", f"Calls changed {' and '.join(changed)}. Restore them, or use a copy."
            )
        return PASSED

    def cost(self) -> Verdict:
        sound, steps = self.sound(self.clip), len(self.clip) - 1
        _, one = measured(lambda: self.run(self.clip, self.masks, sound, steps=1))
        _, many = measured(lambda: self.run(self.clip, self.masks, sound, steps=steps))
        text = f"{max(0.0, many.seconds - one.seconds) / (steps - 1):.3f} s a frame of "
        return Verdict("measured", text + f"{self.clip.size[1]} x {self.clip.size[0]}, two objects")


def _stripes(clip: Clip, number: int) -> Tensor:
    """Return object ids `[1, H, W]` from 1 to a number, in stripes beside a background."""
    height, width = clip.size
    columns = torch.arange(width) * (number + 1) // width
    return columns.expand(1, height, width).clone()


def _row(sound: Tensor | None, t: int, copies: int = 1) -> Tensor | None:
    if sound is None:
        return None
    return sound[[t] * copies]
