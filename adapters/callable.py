"""The adapter for any function from frames and their sound to logits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coprop_plugin.adapters.calls import ModelCall, check_indices
from coprop_plugin.adapters.devices import borrow_model
from coprop_plugin.adapters.pictures import resize_logits
from coprop_plugin.adapters.sound import VGGishFeatures, waveform_of
from coprop_plugin.audio.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE, clip_log_mel, log_mel_examples
from coprop_plugin.errors import AdapterError
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip, avsbench_times, checked_class_names

AudioForm = Literal["waveform", "log_mel", "embedding", "none", "clip"]
_FORMS = ("waveform", "log_mel", "embedding", "none", "clip")


@MODELS.register_module(name=["CallableBackend", "callable"])
class CallableBackend(nn.Module):
    """Drives any function or module from frames and their sound to logits.

    It is called as `function(frames, audio)`: frames `[K, 3, H, W]`, float RGB in [0, 1], at the
    clip's own size; audio in the form that is asked for. It returns logits `[K, C, h, w]` at any
    size, or `[K, h, w]` where C is 1. A module runs in eval mode on its own device, and has its
    training flags again afterwards.

    Args:
        function: What to call.
        num_classes: 1 for binary masks (sigmoid), else the number of classes, 0 the background.
        class_names: What they are called in reports and exports, the background's first.
        audio: What a frame's sound is: `"waveform"`, the `[15600]` samples at 16 kHz (0.975 s)
            that belong to it; `"log_mel"`, its VGGish example `[1, 96, 64]`; `"embedding"`, its
            VGGish embedding `[128]`; `"none"`: called as `function(frames)`; `"clip"`: called as
            `function(clip, indices)`, for functions that want to see everything.
        vggish: For `"embedding"`: a module, the path of weights, or None for the public weights.
        frames_at_once: Frames a call, at most.

    Raises:
        AdapterError: If `function` cannot be called, `audio` is none of the above, or there is
            not one name for each class.

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
    ) -> None:
        super().__init__()
        if not callable(function):
            raise AdapterError(
                f"Got a {type(function).__name__}, which cannot be called; wanted a function or a "
                "module from frames [K, 3, H, W] and their sound to logits [K, C, h, w]."
            )
        if audio not in _FORMS:
            raise AdapterError(f"Got audio={audio!r}; say one of {', '.join(map(repr, _FORMS))}.")
        self.model = function
        self.num_classes = num_classes
        self.class_names = checked_class_names(class_names, num_classes, AdapterError)
        self.audio = audio
        self.context = "window" if audio == "clip" else "frame"
        self.ear = VGGishFeatures(vggish)
        self.frames_at_once = frames_at_once

    @staticmethod
    def accepts(model: Any) -> bool:
        """Never by itself: a function says nothing about what it takes. Name this adapter."""
        return False

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment the frames `indices` of `clip`.

        Returns:
            Logits `[K, C, H, W]` float32 at the clip's size.

        Raises:
            AdapterError: If the function returns something else than finite logits of the right
                shape.
            ClipError: If an index lies outside the clip, or the clip has no sound of the form
                that was asked for.
        """
        indices = clip.checked(indices)
        logits = [torch.zeros(0, self.num_classes, *clip.size)]
        for start in range(0, len(indices), self.frames_at_once):
            some = indices[start : start + self.frames_at_once]
            with self._borrowed() as device:
                answer = self.model(*self._inputs(clip, some, device))
            native = self._checked(answer, len(some))
            logits.append(resize_logits(native.float(), clip.size))
        return torch.cat([rows.to(logits[-1].device) for rows in logits])

    def _inputs(self, clip: Clip, indices: list[int], device: torch.device) -> tuple[Any, ...]:
        if self.audio == "clip":
            return clip, indices
        frames = clip.rgb(indices).to(device)
        if self.audio == "none":
            return (frames,)
        hear = {"waveform": waveform_of, "log_mel": clip_log_mel, "embedding": self.ear}
        return frames, hear[self.audio](clip, indices).to(device)

    @contextmanager
    def _borrowed(self) -> Iterator[torch.device]:
        if isinstance(self.model, nn.Module):
            with borrow_model(self.model) as device:
                yield device
        else:
            with torch.no_grad():
                yield torch.device("cpu")

    def _checked(self, logits: Any, num_frames: int) -> Tensor:
        """Return logits `[K, C, h, w]`, whatever of the two allowed shapes they came in."""
        name = getattr(self.model, "__name__", type(self.model).__name__)
        wanted = f"logits [{num_frames}, {self.num_classes}, h, w]"
        if not isinstance(logits, Tensor):
            raise AdapterError(
                f"Got a {type(logits).__name__} from {name}; wanted a tensor of {wanted}. Return "
                "the logits alone."
            )
        shape = list(logits.shape)
        if logits.ndim == 3 and self.num_classes == 1:
            logits = logits[:, None]
        if logits.ndim != 4 or logits.shape[:2] != (num_frames, self.num_classes):
            raise AdapterError(
                f"Got {shape} from {name} for {num_frames} frames; wanted {wanted}. The number of "
                "classes is `CallableBackend(function, num_classes=...)`."
            )
        if not logits.is_floating_point() or not bool(torch.isfinite(logits).all()):
            came = "NaN or infinite numbers" if logits.is_floating_point() else str(logits.dtype)
            raise AdapterError(
                f"Got {came} from {name}; wanted finite float {wanted}, before any sigmoid, "
                "softmax or threshold."
            )
        return logits

    def unpack(self, frames: Tensor, audio: Tensor | None = None) -> ModelCall:
        """Return the clip of a call `(frames, audio)`, as the function itself takes it.

        Args:
            frames: `[T, 3, H, W]`, float RGB in [0, 1]: one clip, in order.
            audio: One row a frame, in the form that was asked for.

        Raises:
            AdapterError: If the function takes something else, or lengths disagree.
        """
        rows = {"none": 0}.get(self.audio, len(frames))
        if self.audio == "clip" or (0 if audio is None else len(audio)) != rows:
            raise AdapterError(
                f"Got a call with {len(frames)} frames and "
                f"{'no audio' if audio is None else f'audio of {len(audio)} rows'} for a function "
                f"that takes audio={self.audio!r}. Give one row of sound a frame, or use "
                "`model.segment(clip)`."
            )
        arguments = [frames] if audio is None else [frames, audio]
        sound = {}
        if self.audio == "waveform":
            # Neighbouring windows overlap, so they are no waveform of the clip, but log-mels are.
            examples = [log_mel_examples(row, SAMPLE_RATE) for row in _samples(audio)]
            sound = {"log_mel": torch.cat(examples)}
        elif self.audio != "none":
            name = "log_mel" if self.audio == "log_mel" else "audio_embedding"
            sound = {name: audio.cpu()}
        clip = Clip(frames.cpu(), times=avsbench_times(len(frames)), **sound)
        return ModelCall([clip], [range(len(frames))], len(frames), arguments)

    def segment_call(self, call: ModelCall, indices: Sequence[Sequence[int]]) -> list[Tensor]:
        """Call the function once for the keyframes; returns logits `[K, C, H, W]` of the clip.

        Raises:
            AdapterError: If it returns something else than logits of the right shape.
        """
        check_indices(call, indices)
        chosen = call[0].checked(indices[0])
        whole = chosen == list(range(len(call[0])))
        with self._borrowed():
            answer = self.model(*(x if whole else x[chosen] for x in call.arguments))
        native = self._checked(answer, len(chosen))
        call.keyframes, call.answers = [sorted(chosen)], dict(zip(chosen, answer, strict=True))
        return [resize_logits(native.float(), call[0].size)]

    def repack(self, call: ModelCall, logits: Sequence[Tensor]) -> Tensor:
        """Return what the function would: its own numbers at keyframes, `logits` elsewhere."""
        some = next(iter(call.answers.values()))
        carried = resize_logits(logits[0], some.shape[-2:]).to(some)
        return torch.stack(
            [call.answers.get(t, carried[t].reshape(some.shape)) for t in range(len(call[0]))]
        )


def _samples(audio: Tensor) -> Tensor:
    if audio.ndim != 2 or audio.shape[1] != EXAMPLE_SAMPLES:
        raise AdapterError(
            f"Got audio of shape {list(audio.shape)}; wanted [T, {EXAMPLE_SAMPLES}]: 0.975 s at "
            "16 kHz for every frame."
        )
    return audio.cpu().float()
