"""Base class of the adapters of released AVS models."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from coprop_plugin.adapters.calls import (
    ModelCall,
    bind,
    check_indices,
    map_tensors,
    rows_like,
    stack_rows,
    take_row,
)
from coprop_plugin.adapters.clip_context import (
    Context,
    Group,
    checked_context,
    group_frames,
)
from coprop_plugin.adapters.devices import borrow_model, dtype_of
from coprop_plugin.adapters.pictures import model_input, pair
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers import denormalise, resized
from coprop_plugin.types import Clip


def look_through(model: Any) -> Any:
    """Return the model inside `DataParallel` or `DistributedDataParallel`, or the model itself."""
    while isinstance(model, nn.DataParallel | DistributedDataParallel):
        model = model.module
    return model


class UpstreamBackend(nn.Module):
    """Backend around a released AVS model that the user built, with a drop-in call.

    The model is never changed: it runs in eval mode, without gradients, on its own device, and its
    training flags are restored afterwards.

    Args:
        model: The model, plain or inside `DataParallel`.
        context: What surrounds a keyframe: `"frame"`, that frame alone, or `"window"`, a clip of
            the length that the model was trained on.
        input_size: Side, or height and width, of the model's input; None is the size that a model
            of ours was built for, and `released_size` for others.
        frames_per_clip: Frames of a clip, padding included, in a drop-in call.

    Attributes:
        family: The family's name, for messages.
        own_model: Our own model of the family.
        parts: Attributes that tell a model of the released code.
        call_name: The model's own name of its call; a wrapped model has it, too.
        passed_names: Other attributes of the model that a wrapped model has, too.
        released_size: The input size that released weights were evaluated with.
        picture_options: Options of `model_input`, where its data loader differs from AVSBench's.
        model: The given model itself.
        num_classes: 1 for binary models, 71 for AVSS.
        clip_length: Frames per window.
        frames_at_once: Frames of `segment_keyframes` that share one call of the model.

    Raises:
        AdapterError: If the model is not built like the family that this adapter is for.
    """

    clip_length: int = 5
    frames_at_once: int = 5
    num_classes: int = 1
    family: str
    own_model: type[nn.Module] | None = None
    parts: tuple[str, ...]
    call_name: str = "forward"
    passed_names: tuple[str, ...] = ()
    released_size: int = 224
    picture_options: Mapping[str, Any] = {}

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context,
        input_size: int | Sequence[int] | None,
        frames_per_clip: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.context = checked_context(context)
        built_for = self.network.input_size if self.is_ours else self.released_size
        self.input_size = pair(input_size or built_for)
        self.frames_per_clip = frames_per_clip

    @classmethod
    def _checked(cls, model: Any) -> Any:
        if not cls.accepts(model):
            raise AdapterError(
                f"{type(model).__name__} is not built like {cls.family}: its attributes or its "
                "forward differ. Use `wrap(model)` to find the adapter automatically, or wrap a "
                'function with `backend="callable"`.'
            )
        return look_through(model)

    @property
    def network(self) -> Any:
        """The model itself, without any `DataParallel` around it."""
        return look_through(self.model)

    @property
    def is_ours(self) -> bool:
        """Whether the model is our own one of the family."""
        return self.own_model is not None and isinstance(self.network, self.own_model)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Tell whether a model is our own one of this family, or has the released one's parts."""
        model = look_through(model)
        if cls.own_model is not None and isinstance(model, cls.own_model):
            return True
        return isinstance(model, nn.Module) and all(hasattr(model, part) for part in cls.parts)

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment the frames `indices` of `clip`.

        Args:
            clip: Frames and audio.
            indices: Frame indices, in any order.

        Returns:
            Logits `[K, C, H, W]` float32 at the clip's size, on the model's device.

        Raises:
            ClipError: If an index lies outside the clip, or the clip has no audio of the form
                that the model takes.
        """
        indices = clip.checked(indices)
        if not indices:
            return torch.zeros(0, self.num_classes, *clip.size, dtype=torch.float32)
        groups = group_frames(clip.times, indices, self.context, self.window_length(clip))
        frames = sorted({frame for group in groups for frame in group.frames})
        audio = self._audio_inputs(clip, frames)
        audio_of = {frame: take_row(audio, row) for row, frame in enumerate(frames)}
        logits: dict[int, Tensor] = {}
        with borrow_model(self.network) as device:
            for batch in self._batches(groups):
                order = [frame for group in batch for frame in group.frames]
                pictures = self._model_input(clip, order, device).to(dtype_of(self.network))
                sound = rows_like(pictures, stack_rows([audio_of[frame] for frame in order]))
                length = len(batch[0].frames)
                wanted = {
                    number * length + place: keyframe
                    for number, group in enumerate(batch)
                    for keyframe, place in group.keyframes.items()
                }
                native = self._run(pictures, sound, length, list(wanted)).float()
                for keyframe, row in zip(wanted.values(), native, strict=True):
                    logits[keyframe] = self._at_size(row[None], clip.size)[0]
        return torch.stack([logits[index] for index in indices])

    def _batches(self, groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
        """Yield groups in batches of about `frames_at_once` frames; all groups are equally long.

        A requested frame may need a whole window, so this is not left to the pipeline.
        """
        at_once = max(1, self.frames_at_once // len(groups[0].frames))
        for start in range(0, len(groups), at_once):
            yield groups[start : start + at_once]

    def window_length(self, clip: Clip) -> int:
        """Return the number of frames of a window of a clip."""
        return self.clip_length

    def _model_input(self, clip: Clip, indices: list[int], device: torch.device) -> Tensor:
        """Return frames as the model takes them, `[K, 3, h, w]`, on its device."""
        options = {"antialias": self.num_classes > 1, **self.picture_options}
        return model_input(clip, indices, self.input_size, device=device, **options)

    @abstractmethod
    def _audio_inputs(self, clip: Clip, indices: list[int]) -> Any:
        """Return the audio of some frames as the model takes it, `[K, ...]`.

        Where the model takes more than frames and audio, a tuple of such tensors.
        """

    @abstractmethod
    def _run(self, pictures: Tensor, sound: Any, length: int, wanted: list[int]) -> Tensor:
        """Run groups of `length` frames (1 or the clip length); all rows are flat `(g t)`.

        Returns the native masks `[K, ...]` of the rows `wanted`, which `_at_size` takes.
        """

    def _at_size(self, native: Tensor, size: Sequence[int]) -> Tensor:
        """Return logits `[K, C, *size]` of the native masks of K rows."""
        return resized(native, size)

    # The drop-in call.

    @abstractmethod
    def unpack(self, *args: Any, **kwargs: Any) -> ModelCall:
        """Return the clips of a call with the wrapped model's own signature."""

    @abstractmethod
    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        """Run the rows `rows` of a call; return which rows were run and their outputs.

        The outputs are structured as the model's own, every tensor with rows first.
        """

    @abstractmethod
    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        """Turn outputs with rows first into the model's own return value."""

    def _run_whole(self, call: ModelCall) -> Any:
        """Run the model's own call, unchanged; outputs have rows first."""
        return self._rows_first(self.network(*call.arguments), call)

    def _rows_first(self, raw: Any, call: ModelCall) -> Any:
        """Undo `_restore`, for the model's own return value of the whole call."""
        return raw

    def _runs_whole(self, call: ModelCall, rows: list[int]) -> bool:
        """Whether the model's own call, unchanged, gives the outputs of these rows."""
        return rows == call.real_rows

    def _native(self, outputs: Any) -> Tensor:
        """Return the native masks `[N, ...]` of outputs with rows first."""
        return outputs[0]

    def _bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        return bind(self.network, args, kwargs, self.call_name)

    def _pictures(self, frames: Any) -> Tensor:
        if not isinstance(frames, Tensor) or frames.ndim != 4 or frames.shape[1] != 3:
            came = list(frames.shape) if isinstance(frames, Tensor) else type(frames).__name__
            raise AdapterError(
                f"Expected normalised frames [N, 3, H, W] in a call of {self.family}, as the model "
                f"itself takes them, got {came}."
            )
        return denormalise(frames).cpu()

    @torch.no_grad()
    def segment_call(self, call: ModelCall, indices: Sequence[Sequence[int]]) -> list[Tensor]:
        """Run the wrapped model once, for the keyframes of all clips of a call.

        With every frame a keyframe, and the context of the model's own call, this is exactly that
        call. With fewer, only the rows they need are run: a smaller batch, whose sums may differ
        in the last bits.

        Args:
            call: What `unpack` returned.
            indices: Keyframes of every clip, at least one each.

        Returns:
            Per clip logits `[K, C, H, W]` float32 at the size of its frames.
        """
        check_indices(call, indices)
        indices = [clip.checked(i) for i, clip in zip(indices, call, strict=True)]
        call.keyframes = [sorted(i) for i in indices]
        pairs = zip(call.rows, indices, strict=True)
        wanted = sorted({rows[index] for rows, clip in pairs for index in clip})
        with borrow_model(self.network):
            if self._runs_whole(call, wanted):
                ran = list(range(call.num_rows))
                outputs = self._run_whole(call)
            else:
                ran, outputs = self._run_rows(call, wanted)
        keep = {*wanted} | ({*range(call.num_rows)} - {*call.real_rows})
        call.outputs = {row: take_row(outputs, i) for i, row in enumerate(ran) if row in keep}
        return [
            self._clip_logits(call, clip, [rows[index] for index in chosen])
            for clip, rows, chosen in zip(call, call.rows, indices, strict=True)
        ]

    def _clip_logits(self, call: ModelCall, clip: Clip, rows: list[int]) -> Tensor:
        native = self._native(stack_rows([call.outputs[row] for row in rows]))
        return self._at_size(native.float(), clip.size)

    @torch.no_grad()
    def repack(self, call: ModelCall, logits: Sequence[Tensor]) -> Any:
        """Build the wrapped model's return value.

        Keyframes have the model's own outputs, unchanged, except for the masks of those that are
        `combined`. Other frames have `logits`, resized to
        the model's native size; their side outputs are those of their segment's keyframe, the last
        one up to the frame. Padding is all zero, as the model itself returns it.

        Args:
            call: A call that `segment_call` has run.
            logits: Per clip `[T, C, H, W]`, at any size.

        Returns:
            The wrapped model's own return value, in structure and shapes.
        """
        sources = call.source_rows()
        some = next(iter(call.outputs.values()))
        zeros = map_tensors(torch.zeros_like, some)
        outputs = stack_rows(
            [
                call.outputs[sources[row]] if row in sources else zeros
                for row in range(call.num_rows)
            ]
        )
        for clip, (clip_logits, rows) in enumerate(zip(logits, call.rows, strict=True)):
            propagated = [
                t for t, row in enumerate(rows) if sources[row] != row or call.is_combined(clip, t)
            ]
            if propagated:
                self._overwrite(outputs, [rows[t] for t in propagated], clip_logits[propagated])
        return self._restore(outputs, call)

    def _overwrite(self, outputs: Any, rows: list[int], logits: Tensor) -> None:
        """Write propagated logits `[n, C, H, W]` over those of some rows."""
        native = self._native(outputs)
        native[rows] = resized(logits, native.shape[-2:]).to(native)
