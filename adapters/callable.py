"""Adapter for any function from frames and audio to logits."""

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from coprop_plugin.adapters.calls import ModelCall, check_indices, clip_rows
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.devices import borrow_model, dtype_of
from coprop_plugin.adapters.odd_logits import advice_on_probabilities, advice_on_transposed
from coprop_plugin.adapters.sound import VGGishFeatures, waveform_of
from coprop_plugin.audio.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE, clip_log_mel, log_mel_examples
from coprop_plugin.errors import AdapterError, AdapterWarning, short_reason
from coprop_plugin.layers import evaluating, resized, segment_in_batches
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip, avsbench_times, checked_class_names

# What torch says of operands of different dtypes, from its various operators.
_DTYPES_DIFFER = re.compile(
    r"should be the same|same dtype|expected scalar type|dtypes? (don't|do not) match", re.I
)

AudioForm = Literal["waveform", "log_mel", "embedding", "none", "clip"]
"""What a wrapped function gets as its second argument; see `CallableBackend`."""


@MODELS.register_module(name=["CallableBackend", "callable"])
class CallableBackend(nn.Module):
    """Backend around any function or module from frames and audio to logits.

    It is called as `function(frames, audio)`: frames `[K, 3, H, W]`, float RGB in [0, 1], at the
    clip's own size; audio in the form that `audio` names. It returns logits `[K, C, h, w]` at any
    size, or `[K, h, w]` where C is 1. A module runs in eval mode on its own device, and gets frames
    and audio in the dtype of its weights; its training flags are restored afterwards. Modules that
    a function holds run in eval mode, too, see `held_modules`.

    Args:
        function: What to call.
        num_classes: 1 for binary masks (sigmoid), else the number of classes, 0 the background.
        class_names: Names of the classes for reports and exports, the background's first.
        audio: The form of a frame's audio: `"waveform"`, its `[15600]` samples at 16 kHz
            (0.975 s); `"log_mel"`, its VGGish example `[1, 96, 64]`; `"embedding"`, its VGGish
            embedding `[128]`; `"none"`: called as `function(frames)`; `"clip"`: called as
            `function(clip, indices)`, for functions that need the whole clip.
        vggish: For `"embedding"`: a module, the path of weights, or None for the public weights.
        frames_at_once: Maximum number of frames per call.
        frames_per_clip: Frames of each clip in a drop-in call with a batch of clips, one after the
            other; None: all frames of a call are one clip.

    Raises:
        AdapterError: If `function` is not callable, `audio` is not one of the above, or the number
            of class names is not the number of classes.

    Warns:
        AdapterWarning: If what it returns looks like probabilities, or has height and width
            swapped, when it is called.

    Example:
        >>> def bright(frames, audio):
        ...     return frames.mean(1) - 0.5
        >>> clip = Clip(torch.ones(2, 3, 4, 4), torch.zeros(32_000))
        >>> CallableBackend(bright).segment_keyframes(clip, [1]).shape
        torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        *,
        num_classes: int = 1,
        class_names: Sequence[str] | None = None,
        audio: AudioForm = "waveform",
        vggish: nn.Module | str | Path | None = None,
        frames_at_once: int = 8,
        frames_per_clip: int | None = None,
    ) -> None:
        super().__init__()
        if not callable(function) or isinstance(function, type):
            what = "the class " if isinstance(function, type) else "a "
            raise AdapterError(
                "Expected a function or a module from frames [K, 3, H, W] and audio to logits "
                f"[K, C, h, w], got {what}{_name_of(function)}."
                + (" Pass an instance of it." if isinstance(function, type) else "")
            )
        if audio not in (forms := get_args(AudioForm)):
            raise AdapterError(f"Expected audio to be one of {forms}, got {audio!r}.")
        self.model = function
        self.num_classes = num_classes
        self.class_names = checked_class_names(class_names, num_classes, AdapterError)
        self.audio = audio
        self.context: Context = "window" if audio == "clip" else "frame"
        self.audio_features = VGGishFeatures(vggish)
        self.frames_at_once, self.frames_per_clip = frames_at_once, frames_per_clip

    @staticmethod
    def accepts(model: Any) -> bool:
        """Return False: what a function takes cannot be told. Name this adapter instead."""
        return False

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment the frames `indices` of `clip`.

        Returns:
            Logits `[K, C, H, W]` float32 at the clip's size.

        Raises:
            AdapterError: If the function does not return finite logits of the right shape.
            ClipError: If an index lies outside the clip, or the clip has no audio of the form
                that the function takes.
        """
        indices = clip.checked(indices)

        def segment(batch: Sequence[int]) -> Tensor:
            with self._borrowed() as device:
                output = self._called(*self._inputs(clip, batch, device))
            return resized(self._checked(output, len(batch), clip.size).float(), clip.size)

        empty = torch.zeros(0, self.num_classes, *clip.size, dtype=torch.float32)
        return segment_in_batches(segment, indices, self.frames_at_once, empty)

    def _inputs(self, clip: Clip, indices: Sequence[int], device: torch.device) -> tuple[Any, ...]:
        if self.audio == "clip":
            return clip, indices
        dtype = dtype_of(self.model) if isinstance(self.model, nn.Module) else torch.float32
        frames = clip.rgb(indices).to(device, dtype)
        if self.audio == "none":
            return (frames,)
        audio_of: dict[str, Callable[[Clip, Sequence[int]], Tensor]] = {
            "waveform": waveform_of,
            "log_mel": clip_log_mel,
            "embedding": self.audio_features,
        }
        return frames, audio_of[self.audio](clip, indices).to(device, dtype)

    def _called(self, *inputs: Any) -> Any:
        try:
            return self.model(*inputs)
        except TypeError as error:
            self._check_signature(inputs, error)
            raise
        except RuntimeError as error:
            if not _DTYPES_DIFFER.search(str(error)):
                raise
            raise AdapterError(
                f"Expected {_name_of(self.model)} to take {inputs[0].dtype} frames, got: "
                f"{short_reason(error)}. Convert what it is given, `frames.half()`, inside it; a "
                "module whose weights all have one dtype is given that one."
            ) from error

    def _check_signature(self, inputs: tuple[Any, ...], cause: TypeError) -> None:
        """Refuse a function that cannot be called with these arguments.

        Raises:
            AdapterError: If it has another signature.
        """
        called = self.model.forward if isinstance(self.model, nn.Module) else self.model
        try:
            signature = inspect.signature(called)
            signature.bind(*inputs)
        except ValueError:
            return  # Its signature is not known.
        except TypeError as error:
            given = {"none": "(frames)", "clip": "(clip, indices)"}
            raise AdapterError(
                f"Expected {_name_of(self.model)} to be called as "
                f"function{given.get(self.audio, '(frames, audio)')}, got {_name_of(self.model)}"
                f"{signature} ({error}). Wrap a function that calls it as it should be; one of "
                'frames alone is `backend=dict(type="callable", audio="none")`.'
            ) from cause

    @contextmanager
    def _borrowed(self) -> Iterator[torch.device]:
        if isinstance(self.model, nn.Module):
            with borrow_model(self.model) as device:
                yield device
        else:
            with torch.no_grad(), evaluating(self.model):
                yield torch.device("cpu")

    def _checked(self, logits: Any, num_frames: int, size: Sequence[int]) -> Tensor:
        """Return logits `[K, C, h, w]`, given in that shape or as `[K, h, w]`.

        Args:
            logits: What was returned.
            num_frames: K.
            size: Height and width of the frames.

        Raises:
            AdapterError: If they are not finite float logits of that shape.
        """
        name = _name_of(self.model)
        expected = f"logits [{num_frames}, {self.num_classes}, h, w]"
        if not isinstance(logits, Tensor):
            raise AdapterError(
                f"Expected a tensor of {expected} from {name}, got a {type(logits).__name__}. "
                "Return the logits alone, from a function around it if need be: `lambda frames, "
                'audio: model(frames, audio)["masks"]`.'
            )
        shape = list(logits.shape)
        if logits.ndim == 3 and self.num_classes == 1:
            logits = logits[:, None]
        if logits.ndim != 4 or logits.shape[:2] != (num_frames, self.num_classes):
            raise AdapterError(
                f"Expected {expected} from {name} for {num_frames} frames, got {shape}. The number "
                'of classes is set by `backend=dict(type="callable", num_classes=...)`.'
            )
        if not logits.is_floating_point() or not bool(torch.isfinite(logits).all()):
            came = "NaN or infinite numbers" if logits.is_floating_point() else str(logits.dtype)
            raise AdapterError(
                f"Expected finite float {expected} from {name}, before any sigmoid, softmax or "
                f"threshold; got {came}."
            )
        if advice := advice_on_probabilities(logits):
            warnings.warn(f"Expected logits from {name}. {advice}", AdapterWarning, stacklevel=2)
        if advice := advice_on_transposed(logits, size):
            warnings.warn(
                f"Expected {expected} from {name}. {advice}", AdapterWarning, stacklevel=2
            )
        return logits

    def unpack(self, frames: Tensor, audio: Tensor | None = None) -> ModelCall:
        """Return the clips of a call `(frames, audio)`, as the function itself takes it.

        Args:
            frames: `[N, 3, H, W]`, float RGB in [0, 1]: the frames of one clip, in order; or of
                several, one after the other, each of `frames_per_clip`.
            audio: One row per frame, in the form that the function takes.

        Raises:
            AdapterError: If the function takes other arguments, or lengths disagree.
        """
        if frames.ndim != 4:
            raise AdapterError(
                f"Expected frames [N, 3, H, W] in a call, got shape {list(frames.shape)}. Join the "
                "clips of a batch, `frames.flatten(0, 1)`, the audio likewise, and say how long "
                'they are: `backend=dict(type="callable", frames_per_clip=...)`.'
            )
        rows = {"none": 0}.get(self.audio, len(frames))
        if self.audio == "clip" or (0 if audio is None else len(audio)) != rows:
            raise AdapterError(
                f"Expected one row of audio per frame for a function with audio={self.audio!r}, "
                f"got {len(frames)} frames and "
                f"{'no audio' if audio is None else f'audio of {len(audio)} rows'}. Pass matching "
                "rows, or use `model.segment(clip)`."
            )
        length = self.frames_per_clip or max(1, len(frames))
        clips = clip_rows(len(frames), length, None, _name_of(self.model))
        arguments = [frames] if audio is None else [frames, audio]
        sound = self._sound(audio)
        return ModelCall(
            [
                Clip(
                    frames[clip].cpu(),
                    times=avsbench_times(len(clip)),
                    **{name: rows[clip] for name, rows in sound.items()},
                )
                for clip in clips
            ],
            clips,
            len(frames),
            arguments,
        )

    def _sound(self, audio: Tensor | None) -> dict[str, Any]:
        """Return what a clip is told of the audio of a call, by the name of the field."""
        if audio is None:
            return {}
        if self.audio == "waveform":
            # Neighbouring windows overlap, so they do not join to the clip's waveform; log-mels do.
            examples = [log_mel_examples(row, SAMPLE_RATE) for row in _samples(audio)]
            return {"log_mel": torch.cat(examples)}
        return {"log_mel" if self.audio == "log_mel" else "audio_embedding": audio.cpu()}

    def segment_call(self, call: ModelCall, indices: Sequence[Sequence[int]]) -> list[Tensor]:
        """Call the function once for all keyframes; returns logits `[K, C, H, W]` of each clip.

        Raises:
            AdapterError: If it does not return logits of the right shape.
        """
        check_indices(call, indices)
        chosen = [clip.checked(wanted) for clip, wanted in zip(call, indices, strict=True)]
        rows = [own[t] for own, wanted in zip(call.rows, chosen, strict=True) for t in wanted]
        whole = rows == list(range(call.num_rows))
        with self._borrowed():
            output = self._called(*(x if whole else x[rows] for x in call.arguments))
        native = self._checked(output, len(rows), call.arguments[0].shape[-2:])
        call.keyframes = [sorted(wanted) for wanted in chosen]
        call.outputs = dict(zip(rows, output, strict=True))
        return [
            resized(part.float(), clip.size)
            for part, clip in zip(native.split([len(c) for c in chosen]), call, strict=True)
        ]

    def repack(self, call: ModelCall, logits: Sequence[Tensor]) -> Tensor:
        """Return what the function would: its own output at keyframes, `logits` elsewhere.

        Keyframes that are `combined` count as elsewhere.
        """
        some = next(iter(call.outputs.values()))
        answers: dict[int, Tensor] = {}
        for number, (rows, masks) in enumerate(zip(call.rows, logits, strict=True)):
            propagated = resized(masks, some.shape[-2:]).to(some)
            for t, row in enumerate(rows):
                is_own = row in call.outputs and not call.is_combined(number, t)
                answers[row] = call.outputs[row] if is_own else propagated[t].reshape(some.shape)
        return torch.stack([answers[row] for row in range(call.num_rows)])


def _name_of(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _samples(audio: Tensor) -> Tensor:
    if audio.ndim != 2 or audio.shape[1] != EXAMPLE_SAMPLES:
        raise AdapterError(
            f"Expected audio [T, {EXAMPLE_SAMPLES}], 0.975 s at 16 kHz for every frame, got shape "
            f"{list(audio.shape)}."
        )
    return audio.cpu().float()
