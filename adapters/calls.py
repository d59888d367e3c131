"""A drop-in call: what came in, what the wrapped model said, and how to answer in its own way."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.errors import AdapterError
from coprop_plugin.types import Clip, UnpackedCall, named


class ModelCall(UnpackedCall):
    """The clips of one call of a wrapped model.

    The model sees a flat batch; a row of it is one frame of one clip, or padding.

    Args:
        clips: The clips, without padding; inside `naming` they get their names.
        rows: For every clip the row of each of its frames.
        num_rows: Rows of the flat batch, padding included.
        arguments: What the model was called with, in the order of its own signature.

    Raises:
        ClipError: If there are names, but not one for each clip.

    Attributes:
        answers: The model's own outputs for a row, filled by `segment_call`: at keyframes, and
            at padding where the whole batch was run.
        keyframes: Per clip the frames that were segmented, rising.
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
        self.answers: dict[int, Any] = {}
        self.keyframes: list[list[int]] = [[] for _ in clips]

    @property
    def real_rows(self) -> list[int]:
        """Rows that are frames of a clip, rising."""
        return sorted(row for clip_rows in self.rows for row in clip_rows)

    def keep(self, keyframes: Sequence[Sequence[int]]) -> None:
        """Forget the answers of frames that are no keyframes after all.

        Args:
            keyframes: Per clip those that stay, some of what was segmented.
        """
        for clip_rows, old, new in zip(self.rows, self.keyframes, keyframes, strict=True):
            for t in set(old) - set(new):
                del self.answers[clip_rows[t]]
        self.keyframes = [sorted(clip) for clip in keyframes]

    def source_rows(self) -> dict[int, int]:
        """Say whose outputs a row gets: its own, or those of its segment's keyframe.

        That is the last keyframe up to the frame, or the first one after it if there is none.
        Rows of padding that were not run are absent.
        """
        sources = {row: row for row in self.answers}
        for clip_rows, keyframes in zip(self.rows, self.keyframes, strict=True):
            for t, row in enumerate(clip_rows):
                earlier = [k for k in keyframes if k <= t]
                keyframe = earlier[-1] if earlier else keyframes[0]
                sources[row] = clip_rows[keyframe]
        return sources


def bind(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Sort the arguments of a call into the order of the model's own `forward`.

    Raises:
        AdapterError: If the model could not be called like this.
    """
    signature = inspect.signature(model.forward)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise AdapterError(
            f"Got a call that {type(model).__name__} itself would refuse ({error}); it is called "
            f"as forward{signature}. Use the same arguments here."
        ) from error
    return list(bound.arguments.values())


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
        AdapterError: If the batch holds no whole number of clips, or no frame at all.
    """
    if num_rows == 0 or num_rows % frames_per_clip:
        raise AdapterError(
            f"Got {num_rows} frames in a call of {name}, whose clips have {frames_per_clip} "
            "frames each. If yours are of another length, wrap the model with a backend made "
            "with `frames_per_clip=...`."
        )
    if flag is not None and flag.numel() != num_rows:
        raise AdapterError(
            f"Got {flag.numel()} temporal flags for {num_rows} frames; there must be one a frame."
        )
    real = [True] * num_rows if flag is None else (flag.flatten() != 0).tolist()
    clips = [
        [row for row in range(start, start + frames_per_clip) if real[row]]
        for start in range(0, num_rows, frames_per_clip)
    ]
    return [rows for rows in clips if rows]


def map_tensors(function: Callable[..., Any], *trees: Any) -> Any:
    """Apply `function` to the tensors of equally built trees of tuples, lists and dicts.

    What is no tensor is taken from the first tree.
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


def check_indices(call: ModelCall, indices: Sequence[Sequence[int]]) -> None:
    """Raise unless there are keyframes for every clip of the call.

    Raises:
        AdapterError: If there are not.
    """
    if len(indices) != len(call) or not all(indices):
        raise AdapterError(
            f"Got keyframes {[list(i) for i in indices]} for a call of {len(call)} clips; every "
            "clip needs at least one."
        )
