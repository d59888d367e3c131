"""Families of released models: detection of their files, and names of their weights here."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from coprop_plugin.layers import SmallBackbone, TransformersBackbone
from coprop_plugin.types import AudioEncoder

Shapes = Mapping[str, tuple[int, ...]]
"""Names in a released file and the shapes of their tensors."""

Row = tuple[str, str | tuple[str | None, ...] | None]
"""The beginning of a released name, as a regular expression, and its replacement here.

Several replacements: the tensor is split along its first axis into as many equal parts. None: the
file has it, or that part of it, but the model's output does not depend on it.
"""


class ReleasedModel(nn.Module):
    """Base class of our own models of released families.

    Attributes:
        config: The constructor arguments, all of them JSON types.
        input_size: Height and width of its training frames.
        backbone: The image backbone.
        audio_encoder: None if the model is given embeddings.
    """

    config: dict[str, Any]
    input_size: tuple[int, int]
    backbone: SmallBackbone | TransformersBackbone
    audio_encoder: AudioEncoder | None


@dataclass(frozen=True)
class Family:
    r"""A family of released models for which this library has a model of its own.

    A new one is a module with the model, and a `Family` in `adapters.registered.FAMILIES`. The
    model is a `ReleasedModel` whose constructor takes the options that `recognise` returns, all of
    them JSON types, and keeps its arguments as `config`. It is built on the meta device and filled
    from the file, so all its tensors must be parameters or persistent buffers.

    Args:
        name: The registered name of its adapter, e.g. `"tpavi"`.
        build: The model's class.
        recognise: From names and shapes of a released file to the arguments of `build`; None if
            the file is of another family. A few names are enough: weights that do not fit the
            model are reported by name afterwards.
        names: The table of names; the first row that matches counts, and the rest of the name is
            kept. A name that no row matches is an error.

    Example:
        >>> row = (r"encoder\.(\d)\.kv\.", (r"blocks.\1.key.", r"blocks.\1.value."))
        >>> family = Family("toy", ReleasedModel, lambda shapes: None, [row, (r"old\.", None)])
        >>> family.our_names("encoder.3.kv.weight")
        ('blocks.3.key.weight', 'blocks.3.value.weight')
        >>> family.our_names("old.bias")
        ()
    """

    name: str
    build: type[ReleasedModel]
    recognise: Callable[[Shapes], dict[str, Any] | None]
    names: Sequence[Row]

    @property
    def format(self) -> str:
        """The format name in our own files of this family."""
        return f"coprop_plugin.adapters.{self.name}/1"

    def our_names(self, name: str) -> tuple[str | None, ...] | None:
        """Return our name of a released tensor, or of each of its parts.

        None among the parts is an unused one; an empty tuple is an unused tensor; None is an
        unknown name.
        """
        for pattern, ours in self.names:
            if match := re.match(pattern, name):
                parts = () if ours is None else (ours,) if isinstance(ours, str) else ours
                rest = name[match.end() :]
                return tuple(None if part is None else match.expand(part) + rest for part in parts)
        return None


def under(rows: Sequence[Row], released: str, ours: str) -> list[Row]:
    r"""Return rows of a part of the model as rows of the whole.

    Args:
        rows: The part's own rows.
        released: Prefix of the part's names in the file, a regular expression without groups.
        ours: Prefix of the part's names here.

    Example:
        >>> under([(r"conv(\d)\.", r"layers.\1.")], r"encoder\.", "backbone.")
        [('encoder\\.conv(\\d)\\.', 'backbone.layers.\\1.')]
    """

    def placed(part: str | None) -> str | None:
        return None if part is None else ours + part

    return [
        (
            released + pattern,
            tuple(map(placed, part)) if isinstance(part, tuple) else placed(part),
        )
        for pattern, part in rows
    ]
