"""Drop-in calls: a wrapped model's own arguments to clips, and results back to its own outputs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.errors import AdapterError
from coprop_plugin.types import Clip, UnpackedCall, avsbench_times, named


def avsbench_clip(frames: Tensor, **options: Any) -> Clip:
    """Return the frames of a drop-in call as a clip of AVSBench: one a second.

    Args:
        frames: `[T, 3, H, W]`, not normalised.
        **options: Those of `Clip`.
    """
    times = avsbench_times(len(frames))
    return Clip(frames, times=times, sampling="avsbench", **options)


class ModelCall(UnpackedCall):
    """The clips of one call of a wrapped model.

    The model takes a flat batch; a row of it is one frame of one clip, or padding.

    Args:
        clips: The clips, without padding; inside `naming` they get their names.
        rows: For every clip the row of each of its frames.
        num_rows: Rows of the flat batch, padding included.
        arguments: What the model was called with, in the order of its own signature.

    Raises:
        ClipError: If names were given, but not one for each clip.

    Attributes:
        outputs: The model's own outputs for a row, filled by `segment_call`: at keyframes, and
            at padding where the whole batch was run.
        keyframes: Per clip the frames that were segmented, ascending.
        log_mel: Log-mels of all rows, for adapters that compute them from sound files.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        rows: Sequence[Sequence[int]],
        num_rows: int,
        arguments: Sequence[Any],
    ) -> None:
        super().__init__(named(clips))
        self.rows = [list(clip_rows) for clip_rows in rows]
        self.num_rows = num_rows
        self.arguments = list(arguments)
        self.outputs: dict[int, Any] = {}
        self.keyframes: list[list[int]] = [[] for _ in clips]
        self.log_mel: Tensor | None = None

    @classmethod
    def of_clip(cls, clip: Clip, arguments: Sequence[Any]) -> "ModelCall":
        """Return a call whose rows are the frames of one clip."""
        return cls([clip], [range(len(clip))], len(clip), arguments)

    @property
    def real_rows(self) -> list[int]:
        """Rows that are frames of a clip, ascending."""
        return sorted(row for clip_rows in self.rows for row in clip_rows)

    def keep(self, keyframes: Sequence[Sequence[int]]) -> None:
        """Drop the outputs of frames that are not keyframes in the end.

        Args:
            keyframes: Per clip the frames to keep, a subset of those that were segmented.
        """
        for clip_rows, old, new in zip(self.rows, self.keyframes, keyframes, strict=True):
            for t in set(old) - set(new):
                del self.outputs[clip_rows[t]]
        self.keyframes = [sorted(clip) for clip in keyframes]

    def source_rows(self) -> dict[int, int]:
        """Map each row to the row whose outputs it gets: its own, or its segment's keyframe.

        That is the last keyframe up to the frame, or the first one after it if there is none.
        Rows of padding that were not run are absent.
        """
        sources = {row: row for row in self.outputs}
        for clip_rows, keyframes in zip(self.rows, self.keyframes, strict=True):
            for t, row in enumerate(clip_rows):
                earlier = [k for k in keyframes if k <= t]
                keyframe = earlier[-1] if earlier else keyframes[0]
                sources[row] = clip_rows[keyframe]
        return sources


def bind(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], name: str = "forward"
) -> list[Any]:
    """Return the arguments of a call in the order of the model's own method, defaults filled in.

    Raises:
        AdapterError: If the model does not accept these arguments.
    """
    signature = inspect.signature(getattr(model, name))
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise AdapterError(
            f"{type(model).__name__} does not accept these arguments ({error}). Call it as "
            f"{name}{signature}."
        ) from error
    bound.apply_defaults()
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = signature.parameters.values()
    return [bound.arguments[p.name] for p in parameters if p.kind not in several]


def clip_rows(
    num_rows: int, frames_per_clip: int, flag: Tensor | None, name: str
) -> list[list[int]]:
    """Cut a flat batch `(b t)` into clips; leave out rows whose flag is 0.

    Args:
        num_rows: Frames in the batch.
        frames_per_clip: Frames of each clip, padding included.
        flag: `[num_rows]`, 0 for padding, or None.
        name: Of the wrapped model, for the message.

    Raises:
        AdapterError: If the batch is empty, or not a whole number of clips.
    """
    if num_rows == 0 or num_rows % frames_per_clip:
        raise AdapterError(
            f"Expected clips of {frames_per_clip} frames in a call of {name}, got {num_rows} "
            "frames. For clips of another length, construct the backend with "
            "`frames_per_clip=...`."
        )
    if flag is not None and flag.numel() != num_rows:
        raise AdapterError(
            f"Expected one temporal flag per frame, got {flag.numel()} for {num_rows} frames."
        )
    real = [True] * num_rows if flag is None else (flag.flatten() != 0).tolist()
    clips = [
        [row for row in range(start, start + frames_per_clip) if real[row]]
        for start in range(0, num_rows, frames_per_clip)
    ]
    return [rows for rows in clips if rows]


def map_tensors(function: Callable[..., Any], *trees: Any) -> Any:
    """Apply `function` to the tensors of equally built trees of tuples, lists and dicts.

    Anything else is taken from the first tree.
    """
    first = trees[0]
    if isinstance(first, Tensor):
        return function(*trees)
    if isinstance(first, Mapping):
        return {key: map_tensors(function, *(tree[key] for tree in trees)) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(map_tensors(function, *rows) for rows in zip(*trees, strict=True))
    return first


def take_row(outputs: Any, place: int) -> Any:
    """Return the outputs of one row, from outputs whose tensors have rows first."""
    return map_tensors(lambda tensor: tensor[place], outputs)


def stack_rows(rows: Sequence[Any]) -> Any:
    """Undo `take_row`."""
    return map_tensors(lambda *tensors: torch.stack(tensors), *rows)


def rows_like(tensor: Tensor, outputs: Any) -> Any:
    """Return the same tree of tensors on the device and in the dtype of `tensor`."""
    return map_tensors(lambda rows: rows.to(tensor), outputs)


def check_indices(call: ModelCall, indices: Sequence[Sequence[int]]) -> None:
    """Check that every clip of the call has a keyframe.

    Raises:
        AdapterError: If one has none.
    """
    if len(indices) != len(call) or not all(indices):
        raise AdapterError(
            f"Expected at least one keyframe for each of {len(call)} clips, got "
            f"{[list(i) for i in indices]}."
        )
