"""The rows of the table: which control points, whose keyframes, and what carries the masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from coprop_plugin.errors import UnknownNameError
from coprop_plugin.propagation.resolve import as_propagator
from coprop_plugin.registry import list_propagators, list_providers
from coprop_plugin.types import Clip, Propagator

BARE = "bare"
_DEAF = "-deaf"
_HOW = (
    "A row is 'bare', or POINTS[@SECONDS]+CARRIER[+truth]: 'novelty+learned', 'novelty@1+flow', "
    "'oracle+hold', 'oracle+learned-deaf', 'oracle+flow+truth'."
)


@dataclass(frozen=True)
class Row:
    """One row of the table, as Table 2 (a) of the paper has them.

    Attributes:
        name: `"bare"`: the model on every frame, nothing else. Otherwise `POINTS+CARRIER`: control
            points by a registered provider, or true ones ("oracle"); masks carried by a named
            propagator, whose name may end in `-deaf`: the same one without sound, which is AOT.
            With `@SECONDS` the model is asked again within a segment, see `CoProp`'s `reanchor`.
            With `+truth` behind it, keyframes have their true masks.
        points: Name of the provider.
        carrier: Name of the propagator.
        true_keyframes: Whether true masks stand in for the model's.
        reanchor: Seconds after which the model is asked again, or None.

    Example:
        >>> row = Row.of("oracle@1.5+flow+truth")
        >>> row.points, row.reanchor, row.carrier, row.true_keyframes
        ('oracle', 1.5, 'flow', True)
    """

    name: str
    points: str
    carrier: str
    true_keyframes: bool = False
    reanchor: float | None = None

    @classmethod
    def of(cls, name: str) -> "Row":
        """Read a row's name.

        Raises:
            UnknownNameError: If it is none, or there is no such provider.
        """
        if name == BARE:
            return cls(BARE, "every_n", "hold")
        parts = name.split("+")
        if len(parts) not in (2, 3) or parts[2:] not in ([], ["truth"]) or not all(parts):
            raise UnknownNameError(f"Got the row {name!r}. {_HOW}")
        points, _, seconds = parts[0].partition("@")
        if points not in list_providers():
            raise UnknownNameError(
                f"Got the row {name!r}, but {points!r} is no provider of control points. There "
                f"are: {', '.join(list_providers())}. {_HOW}"
            )
        try:
            reanchor = float(seconds) if seconds else None
        except ValueError:
            raise UnknownNameError(
                f"Got the row {name!r}; {seconds!r} is no time. {_HOW}"
            ) from None
        return cls(name, points, parts[1], len(parts) == 3, reanchor)

    @property
    def is_bare(self) -> bool:
        """Whether this is the model alone."""
        return self.name == BARE


def default_rows(propagators: Sequence[str] = ("learned",)) -> list[str]:
    """Return the rows that show what each part adds, for named propagators that hear.

    Example:
        >>> default_rows([])[:4]
        ['bare', 'cosine+hold', 'novelty+hold', 'novelty+flow']
    """
    learned = [f"{name}{deaf}" for name in propagators for deaf in (_DEAF, "")]
    return [
        BARE,
        "cosine+hold",
        *(f"novelty+{carrier}" for carrier in ("hold", "flow", *learned)),
        *(f"oracle+{carrier}" for carrier in ("hold", "flow", *learned)),
        *(f"oracle+{carrier}+truth" for carrier in (*propagators, *(() if learned else ["flow"]))),
    ]


class WithoutAudio(nn.Module):
    """A propagator that hears nothing: AOT, where it is an Audio-Insert Propagator (Table 5).

    Args:
        propagator: The one that would hear.

    Example:
        >>> WithoutAudio(as_propagator("hold")).hear(None) is None
        True
    """

    def __init__(self, propagator: Propagator) -> None:
        super().__init__()
        self.propagator = propagator

    def hear(self, clip: Clip) -> None:
        """Hear nothing."""
        return None

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> object:
        """Begin a segment without sound."""
        return self.propagator.start(frame, None, masks)

    def step(self, memory: object, frame: Tensor, sound: Tensor | None) -> Tensor:
        """Carry the masks on without sound."""
        return self.propagator.step(memory, frame, None)


def carriers_of(
    rows: Sequence[Row], propagators: Mapping[str, Propagator]
) -> dict[str, Propagator]:
    """Return the propagators that rows name.

    Args:
        rows: Of the table.
        propagators: Those that go by a name of the caller's.

    Raises:
        UnknownNameError: If one is neither there nor registered.
    """
    return {row.carrier: _carrier(row, propagators) for row in rows}


def _carrier(row: Row, propagators: Mapping[str, Propagator]) -> Propagator:
    if row.carrier in propagators:
        return propagators[row.carrier]
    name = row.carrier.removesuffix(_DEAF)
    if name != row.carrier and name in propagators:
        return WithoutAudio(propagators[name])
    if row.carrier in list_propagators():
        return as_propagator(row.carrier)
    known = ", ".join([*propagators, *list_propagators()])
    hint = " No trained propagator was given." if name == "learned" else ""
    raise UnknownNameError(
        f"Got the row {row.name!r}, but there is no propagator {name!r}.{hint} There are: {known}. "
        f"{_HOW}"
    )
