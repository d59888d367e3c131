"""What a family of released models is: how its files are told, and what its names are here."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

Shapes = Mapping[str, tuple[int, ...]]
"""Names of a released file and the shapes of their tensors."""

Row = tuple[str, str | tuple[str | None, ...] | None]
"""A released name's beginning, as a regular expression, and what replaces it here.

Several replacements: the tensor is cut along its first axis into as many equal parts. None: the
file has it, or that part of it, but nothing that the model returns depends on it.
"""


@dataclass(frozen=True)
class Family:
    r"""A family of released models that this library has a model of its own for.

    A new one is a module with the model, and a `Family` that `adapters.registered.FAMILIES` names.
    The model is an `nn.Module` whose constructor takes `recognise`'s options, all of them JSON
    types, and keeps its arguments as `config`. It is built on the meta device and filled from the
    file, so that it must have no tensors but parameters and persistent buffers.

    Args:
        name: What its adapter is registered as, `"tpavi"` say.
        build: The model's class.
        recognise: From names and shapes of a released file to the arguments of `build`; None if
            the file is of no such model. It may look at few names: what does not fit the model
            that it describes is refused by name afterwards.
        names: The table of names; the first row that fits counts, and what follows the match is
            kept. A name that no row fits is refused.

    Example:
        >>> row = (r"encoder\.(\d)\.kv\.", (r"blocks.\1.key.", r"blocks.\1.value."))
        >>> family = Family("toy", nn.Linear, lambda shapes: None, [row, (r"old\.", None)])
        >>> family.our_names("encoder.3.kv.weight")
        ('blocks.3.key.weight', 'blocks.3.value.weight')
        >>> family.our_names("old.bias")
        ()
    """

    name: str
    build: Callable[..., nn.Module]
    recognise: Callable[[Shapes], dict[str, Any] | None]
    names: Sequence[Row]

    @property
    def format(self) -> str:
        """What our own files of this family say they are."""
        return f"coprop_plugin.adapters.{self.name}/1"

    def our_names(self, name: str) -> tuple[str | None, ...] | None:
        """Return what a released name, or each part of it, is here.

        None among the parts is a dead one; no parts at all are a dead tensor; None is an unknown
        name.
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
        rows: The part's own.
        released: What the file has before the part's names, as a regular expression without
            groups.
        ours: What we have before them.

    Example:
        >>> under([(r"conv(\d)\.", r"layers.\1.")], r"encoder\.", "backbone.")
        [('encoder\\.conv(\\d)\\.', 'backbone.layers.\\1.')]
    """

    def placed(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(placed(one) for one in part)
        return None if part is None else ours + part

    return [(released + pattern, placed(part)) for pattern, part in rows]
