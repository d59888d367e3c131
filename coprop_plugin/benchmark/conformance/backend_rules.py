"""The rules of a `KeyframeBackend`, Eq. (2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.adapters.devices import borrow_model
from coprop_plugin.adapters.odd_logits import advice_on_probabilities
from coprop_plugin.adapters.upstream import look_through
from coprop_plugin.benchmark.conformance.check_clips import (
    OTHER_SIZE,
    changed_elsewhere,
    check_clip,
    silent,
)
from coprop_plugin.benchmark.conformance.findings import (
    PASSED,
    ConformanceReport,
    Rule,
    Verdict,
    check_rules,
)
from coprop_plugin.benchmark.conformance.part_state import PartState, digest_of, training_mode
from coprop_plugin.benchmark.conformance.same_numbers import first_difference, same_logits
from coprop_plugin.benchmark.plug_and_play.cost import measured
from coprop_plugin.errors import AdapterError, short_reason
from coprop_plugin.layers import device_of
from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.pipeline import CoProp
from coprop_plugin.types import Clip, DropInBackend, KeyframeBackend, checked_class_names

OwnCall = tuple[Sequence[Any], Mapping[str, Any]]
"""Arguments of a wrapped model's own call."""

_INDICES = (1, 2, 5)
_TOLERANCE = 1e-3
"""Most that logits may differ, as a share of their standard deviation, where batches differ."""


def check_backend(
    backend: KeyframeBackend, name: str = "", call: Callable[[], OwnCall] | None = None
) -> ConformanceReport:
    """Check a backend against the rules that `wrap` relies on.

    Args:
        backend: The backend.
        name: Its name in the report; by default that of its class.
        call: Returns arguments of the wrapped model's own call, positional and by name, for the
            rules of the drop-in call; None skips those.

    Returns:
        The report.

    Example:
        >>> from coprop_plugin.adapters.callable import CallableBackend
        >>> backend = CallableBackend(lambda frames, audio: 8 * frames[:, :1] - 4)
        >>> check_backend(backend).failed
        False
    """
    rules = _BackendRules(backend, call)
    return check_rules("backend", name or type(backend).__name__, rules.all(), "shape")


class _BackendRules:
    """The rules, and the logits that several of them compare."""

    def __init__(self, backend: KeyframeBackend, call: Callable[[], OwnCall] | None) -> None:
        self.backend, self.call = backend, call
        self.clip = check_clip()
        self.state = PartState(backend)
        self.inputs = digest_of(self.clip.frames, self.clip.waveform)

    def all(self) -> list[tuple[str, Rule]]:
        return [
            ("attributes", self.attributes),
            ("shape", self.shape),
            ("dtype, numbers", self.numbers),
            ("logits, not probabilities", self.logits_not_probabilities),
            ("device", self.device),
            ("no gradient is kept", self.no_gradient),
            ("deterministic", self.deterministic),
            ("training mode changes nothing", self.training_mode),
            ("a batch equals one by one", self.batch),
            ("order and repetition", self.order),
            ("context", self.context),
            ("no frames", self.no_frames),
            ("a clip of one frame", self.one_frame),
            ("a silent clip", self.silence),
            ("another size", self.another_size),
            ("weights, flags and clip stay", self.untouched),
            ("drop-in call", self.drop_in),
            ("cost", self.cost),
        ]

    def logits(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        with torch.no_grad(), evaluating(self.backend):
            return self.backend.segment_keyframes(clip, indices)

    @cached_property
    def expected(self) -> Tensor:
        """The logits of some frames, `[3, C, H, W]`."""
        return self.logits(self.clip, _INDICES)

    def attributes(self) -> Verdict:
        number = getattr(self.backend, "num_classes", None)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            return Verdict(
                "failed", f"Expected num_classes, an int of 1 or more, got {number!r}. Set it."
            )
        names = getattr(self.backend, "class_names", None)
        checked_class_names(names, number, AdapterError)
        context = getattr(self.backend, "context", None)
        if context not in (None, "frame", "window"):
            return Verdict("failed", f"Expected context 'frame' or 'window', got {context!r}.")
        at_once = getattr(self.backend, "frames_at_once", 1)
        if not isinstance(at_once, int) or at_once < 1:
            return Verdict("failed", f"Expected frames_at_once of 1 or more, got {at_once!r}.")
        return Verdict("passed", f"num_classes {number}, context {context}")

    def shape(self) -> Verdict:
        return self._shape(self.clip, _INDICES)

    def _shape(self, clip: Clip, indices: Sequence[int]) -> Verdict:
        logits = self.logits(clip, list(indices))
        expected = [len(indices), self.backend.num_classes, *clip.size]
        if not isinstance(logits, Tensor) or list(logits.shape) != expected:
            got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            return Verdict(
                "failed",
                f"Expected logits {expected} for {len(indices)} frames, [K, num_classes, H, W] at "
                f"the clip's own size, got {got}. Resize the model's output to `clip.size`.",
            )
        if not bool(torch.isfinite(logits).all()):
            return Verdict("failed", "Expected finite logits, got NaN or infinity.")
        return PASSED

    def numbers(self) -> Verdict:
        logits = self.expected
        if logits.dtype != torch.float32:
            return Verdict(
                "failed", f"Expected float32 logits, got {logits.dtype}. Return `logits.float()`."
            )
        return PASSED

    def logits_not_probabilities(self) -> Verdict:
        logits = torch.cat([self.expected, self.logits(silent(self.clip), _INDICES)])
        advice = advice_on_probabilities(logits)
        if advice is None:
            return PASSED
        # Those of one class may be logits of an untrained model.
        return Verdict("failed" if self.backend.num_classes > 1 else "warning", advice)

    def device(self) -> Verdict:
        logits, own = self.logits(self.clip, [0]), device_of(self.backend)
        if logits.device.type not in ("cpu", own.type):
            return Verdict(
                "failed",
                f"Expected logits on {own} or the CPU, got {logits.device}. Call `.to(...)`.",
            )
        return Verdict("passed", str(logits.device))

    def no_gradient(self) -> Verdict:
        with torch.enable_grad():
            logits = self.backend.segment_keyframes(self.clip, [0, 3])
        if logits.requires_grad:
            return Verdict(
                "failed",
                "The logits keep their graph, and with it the memory of every layer. Run the model "
                "under `torch.no_grad()`.",
            )
        return PASSED

    def deterministic(self) -> Verdict:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            found = self.logits(self.clip, _INDICES)
        when = "with another random seed. Is the model in eval mode? Fix the seed of what is drawn"
        return same_logits(self.expected, found, 0.0, when)

    def training_mode(self) -> Verdict:
        with training_mode(self.backend):
            before = PartState(self.backend)
            found = self.logits(self.clip, _INDICES)
            if before.changes():
                return Verdict(
                    "failed", f"In training mode a call changes {' and '.join(before.changes())}."
                )
        return same_logits(
            self.expected,
            found,
            0.0,
            "if the model was left in training mode. Make the backend an `nn.Module` that holds "
            "the model, or put it into eval mode for the call",
        )

    def batch(self) -> Verdict:
        alone = torch.cat([self.logits(self.clip, [i]) for i in _INDICES])
        return same_logits(
            self.expected,
            alone,
            _TOLERANCE,
            "where frames are segmented together. Batch norm in eval "
            "mode, and nothing may be averaged over the frames of a call",
        )

    def order(self) -> Verdict:
        backward = self.logits(self.clip, [*_INDICES[::-1], _INDICES[0]])
        forward = torch.cat([self.expected, self.expected[:1]])
        return same_logits(
            forward,
            backward[[2, 1, 0, 3]],
            _TOLERANCE,
            "if frames come in another order, or twice. "
            "Return one row for each index, in the order of the indices",
        )

    def context(self) -> Verdict:
        index = len(self.clip) // 2
        logits = self.logits(self.clip, [index])
        other = self.logits(changed_elsewhere(self.clip, index), [index])
        verdict = same_logits(logits, other, _TOLERANCE, "if other frames and their sound change")
        local, context = verdict.status == "passed", getattr(self.backend, "context", None)
        if context == "frame" and not local:
            return Verdict(
                "failed", f'{verdict.text} Set `context` to "window", or use the frame alone.'
            )
        if context is None and local:
            return Verdict(
                "warning",
                "A frame's logits depend on that frame and its sound alone: say so with `context = "
                '"frame"`, and less is computed again after an edit.',
            )
        return Verdict("passed", f"{'local' if local else 'not local'}, declared: {context}")

    def no_frames(self) -> Verdict:
        # `wrap` never asks for none; scripts that filter frames may.
        try:
            verdict = self._shape(self.clip, [])
        except Exception as error:
            text = f"It raised {type(error).__name__}: {short_reason(error)}. Return logits [0, C, "
            return Verdict("warning", text + "H, W] for no indices.")
        return replace(verdict, status="warning") if verdict.status == "failed" else verdict

    def one_frame(self) -> Verdict:
        return self._shape(self.clip[2:3], [0])

    def silence(self) -> Verdict:
        verdict = self._shape(silent(self.clip), _INDICES)
        if verdict.status == "failed":
            return verdict
        masks = [_masks(self.expected), _masks(self.logits(silent(self.clip), _INDICES))]
        share = float((masks[0] != masks[1]).float().mean())
        return Verdict("passed", f"{share:.0%} of the pixels change with the sound")

    def another_size(self) -> Verdict:
        return self._shape(check_clip(fps=4.0, size=OTHER_SIZE), _INDICES)

    def untouched(self) -> Verdict:
        changed = self.state.changes()
        if digest_of(self.clip.frames, self.clip.waveform) != self.inputs:
            changed.append("the clip's frames or waveform")
        if changed:
            return Verdict(
                "failed",
                f"Calls changed {' and '.join(changed)}. Restore them, or work on a copy.",
            )
        return PASSED

    def drop_in(self) -> Verdict:
        if not isinstance(self.backend, DropInBackend):
            return Verdict("skipped", "It has no `unpack`, `segment_call` and `repack`.")
        if self.call is None:
            return Verdict("skipped", "Give arguments of the model's own call to check it.")
        arguments, named = self.call()
        model = getattr(self.backend, "model", None)
        if not callable(model):
            return Verdict("failed", "Expected the wrapped model as attribute `model`. Set it.")
        # Some models have a call of another name, and a wrapped one has it, too.
        name = getattr(self.backend, "call_name", "__call__")
        # Every frame is a control point, so that every number is the model's own.
        wrapped = CoProp(
            self.backend,
            control_points=_every_frame(self.backend, arguments, named),
            propagator="hold",
            silence="keep",
            reanchor=None,
        )
        # Some models return a loss for which they draw points.
        with torch.random.fork_rng():
            torch.manual_seed(1)
            expected = _own_answer(model, name, arguments, named)
            torch.manual_seed(1)
            answer = getattr(wrapped, name)(*arguments, **named)
        difference = first_difference(expected, answer, "the return value")
        if difference:
            return Verdict("failed", f"{difference} `repack` must return the model's own numbers.")
        return PASSED

    def cost(self) -> Verdict:
        indices = list(range(len(self.clip)))
        _, one = measured(lambda: self.logits(self.clip, indices[:1]))
        _, all_frames = measured(lambda: self.logits(self.clip, indices))
        text = f"{all_frames.seconds / len(indices):.3f} s a frame of {self.clip.size[1]} x "
        text += f"{self.clip.size[0]}"
        pairs = {
            "GPU": (one.gpu_mb, all_frames.gpu_mb),
            "memory": (one.peak_mb, all_frames.peak_mb),
        }
        for name, (less, more) in pairs.items():
            if less is not None and more is not None:
                each = max(0.0, more - less) / (len(indices) - 1)
                text += f", {each:.1f} MiB of {name} more for each frame of a call"
        return Verdict("measured", text)


def _own_answer(
    model: Callable[..., Any], name: str, arguments: Sequence[Any], named: Mapping[str, Any]
) -> Any:
    if not isinstance(model, nn.Module):
        return model(*arguments, **named)
    with borrow_model(model):
        return getattr(look_through(model), name)(*arguments, **named)


def _masks(logits: Tensor) -> Tensor:
    return logits.argmax(1) if logits.shape[1] > 1 else logits[:, 0] > 0


def _every_frame(backend: DropInBackend, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
    clips = backend.unpack(*arguments, **named)
    return [1] * max(len(clip) for clip in clips)
