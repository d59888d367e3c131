"""Names for the clips of a drop-in call, which a model's own call does not have."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from coprop_plugin.errors import ClipError
from coprop_plugin.types.clip import Clip

_NAMES: ContextVar[tuple[str, ...] | None] = ContextVar(
    "names of the clips of a call", default=None
)


@contextmanager
def naming(*names: str) -> Iterator[None]:
    """Name the clips of the calls of a wrapped model that are made inside the block.

    For providers that look clips up by name, e.g. control points from a file of many clips.

    Args:
        *names: One for each clip of a call, in order: ids of a data set, or files without suffix.

    Example:
        >>> with naming("street", "kitchen"):  # doctest: +SKIP
        ...     pred, mask_feature = model(audio, frames)  # a call of two clips
    """
    token = _NAMES.set(tuple(str(name) for name in names))
    try:
        yield
    finally:
        _NAMES.reset(token)


def named(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips of a call with their names from `naming`, if any.

    Raises:
        ClipError: If there is not one name for each clip.

    Example:
        >>> import torch
        >>> with naming("street"):
        ...     named([Clip(torch.rand(2, 3, 8, 8))])[0].name
        'street'
    """
    names = _NAMES.get()
    if names is None:
        return list(clips)
    if len(names) != len(clips):
        raise ClipError(
            f"Expected one name for each of {len(clips)} clips of a call, got "
            f"{list(names)[:8]}. Pass them in the order of the batch: "
            "`with naming(*names): model(...)`."
        )
    return [replace(clip, name=name) for clip, name in zip(clips, names, strict=True)]
