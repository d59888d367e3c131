"""The rows of the table: control points, keyframes and propagator of each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from coprop_plugin.choices import DEFAULT_POINTS
from coprop_plugin.errors import UnknownNameError
from coprop_plugin.pipeline.preset_options import PRESETS, Keyframe, Preset, Reanchor
from coprop_plugin.propagation.resolve import as_propagator
from coprop_plugin.propagation.video_trackers import tracker_config
from coprop_plugin.registry import list_propagators, list_providers
from coprop_plugin.types import BatchedPropagator, Clip, LookaheadPropagator, Propagator

BARE = "bare"
ORACLE = "oracle"
"""Rows with the true control points."""
_NO_AUDIO = "-no-audio"
_NO_AUDIO_BEFORE = "-deaf"
"""An earlier spelling of `-no-audio`."""
_EXPECTED = (
    "Expected 'bare', a preset ('default', 'paper'), or POINTS[@METHOD]+PROPAGATOR[+truth], e.g. "
    "'novelty+learned', 'novelty@1+flow', 'novelty@auto+flow', 'oracle+hold', "
    "'oracle+learned-no-audio', 'oracle+flow+truth'."
)


@dataclass(frozen=True)
class Row:
    """One row of the table, as Table 2 (a) of the paper has them.

    Attributes:
        name: `"bare"`: the model alone, on every frame. `"default"`, `"paper"` and other
            presets: exactly what `wrap` makes of the model by that preset. Otherwise
            `POINTS+PROPAGATOR`: control points of a provider by name, or the true ones (`oracle`),
            and a propagator by name, with the model run at control points alone; `-no-audio` after
            the propagator's name runs it without audio, which makes an Audio-Insert Propagator AOT.
            `@` after POINTS says when the model is run again within a segment, see `CoProp`: a
            number of seconds, `auto`, `auto:SECONDS`, `uncertain`, or `confident` (which is a
            `keyframe`). With `+truth`
            keyframes have their true masks.
        points: Name of the provider.
        propagator: Name of the propagator.
        true_keyframes: Whether keyframes have their true masks.
        keyframe: See `CoProp`.
        reanchor: See `CoProp`.
        preset: The preset that decides all other options, or None.

    Example:
        >>> row = Row.of("oracle@1.5+flow+truth")
        >>> row.points, row.reanchor, row.propagator, row.true_keyframes
        ('oracle', 1.5, 'flow', True)
        >>> Row.of("novelty@auto:2+appearance").reanchor
        {'type': 'auto', 'seconds': 2.0}
        >>> Row.of("oracle+learned-deaf").name  # an earlier spelling
        'oracle+learned-no-audio'
    """

    name: str
    points: str
    propagator: str
    true_keyframes: bool = False
    reanchor: Reanchor = None
    keyframe: Keyframe = "first"
    preset: Preset | None = None

    @classmethod
    def of(cls, name: str, providers: Collection[str] = ()) -> "Row":
        """Read a row's name.

        Args:
            name: The name.
            providers: Names of providers besides those that are registered.

        Raises:
            UnknownNameError: If it is not a row, or there is no such provider.
        """
        if name == BARE:
            return cls(BARE, "every_n", "hold")
        for preset, options in PRESETS.items():
            if name == preset:
                points = options.control_points or DEFAULT_POINTS
                return cls(name, points, options.propagator, preset=preset)
        parts = name.split("+")
        if len(parts) not in (2, 3) or parts[2:] not in ([], ["truth"]) or not all(parts):
            raise UnknownNameError(f"{name!r} is not a row. {_EXPECTED}")
        points, _, method = parts[0].partition("@")
        known = [*providers, *list_providers()]
        if points not in known:
            raise UnknownNameError(
                f"Row {name!r}: {points!r} is not a control-point provider. There are: "
                f"{', '.join(known)}. {_EXPECTED}"
            )
        reanchor, keyframe = _method(name, method)
        if parts[1].endswith(_NO_AUDIO_BEFORE):
            parts[1] = parts[1].removesuffix(_NO_AUDIO_BEFORE) + _NO_AUDIO
        truth = len(parts) == 3
        return cls("+".join(parts), points, parts[1], truth, reanchor, keyframe)

    @property
    def is_bare(self) -> bool:
        """Whether this is the model alone."""
        return self.name == BARE


def _method(name: str, text: str) -> tuple[Reanchor, Keyframe]:
    """Return `reanchor` and `keyframe` of what stands after @ in a row's name."""
    kind, _, number = text.partition(":")
    if text == "confident":
        return None, "confident"
    if text in ("", "auto", "uncertain"):
        return (cast(Reanchor, text) if text else None), "first"
    try:
        seconds = float(number if kind == "auto" else text)
    except ValueError:
        raise UnknownNameError(
            f"Row {name!r}: {text!r} is not a number of seconds, auto, auto:SECONDS, uncertain or "
            f"confident. {_EXPECTED}"
        ) from None
    return (dict(type="auto", seconds=seconds) if kind == "auto" else seconds), "first"


def default_rows(
    propagators: Sequence[str] = ("learned",), providers: Sequence[str] = ()
) -> list[str]:
    """Return the rows that show what each part adds.

    Args:
        propagators: Names of propagators that use audio.
        providers: Names of control-point providers besides `cosine`, `novelty` and `oracle`.

    Example:
        >>> default_rows([])[:4]
        ['bare', 'cosine+hold', 'novelty+hold', 'novelty+flow']
    """
    learned = [f"{name}{suffix}" for name in propagators for suffix in (_NO_AUDIO, "")]
    with_truth = (*propagators, *(() if learned else ["flow", "appearance"]))
    return [
        BARE,
        "cosine+hold",
        *(
            f"{points}+{propagator}"
            for points in dict.fromkeys(("novelty", *providers, ORACLE))
            for propagator in ("hold", "flow", "appearance", *learned)
        ),
        *(f"{ORACLE}+{propagator}+truth" for propagator in with_truth),
    ]


class WithoutAudio(nn.Module):
    """A propagator without its audio input, which makes an Audio-Insert Propagator AOT (Table 5).

    Args:
        propagator: The propagator. `without_audio` keeps what else it can do: propagate several
            segments at once, encode frames ahead.

    Example:
        >>> WithoutAudio(as_propagator("hold")).hear(None) is None
        True
    """

    def __init__(self, propagator: Propagator) -> None:
        super().__init__()
        self.propagator = propagator

    def hear(self, clip: Clip) -> None:
        """Return None: no audio features."""
        return None

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> Any:
        """Begin a segment without audio."""
        return self.propagator.start(frame, None, masks)

    def step(self, memory: Any, frame: Tensor, sound: Tensor | None) -> Tensor:
        """Propagate the masks to the next frame without audio."""
        return self.propagator.step(memory, frame, None)


class _Batched(WithoutAudio):
    """`WithoutAudio` of a `BatchedPropagator`."""

    propagator: BatchedPropagator

    def first(self, memory: Any, clips: int) -> Any:
        """Return the memory of the first segments of a batch."""
        return self.propagator.first(memory, clips)


class _Lookahead(WithoutAudio):
    """`WithoutAudio` of a `LookaheadPropagator`."""

    propagator: LookaheadPropagator

    @property
    def encode_ahead(self) -> int:
        """How many frames the propagator encodes at once."""
        return self.propagator.encode_ahead

    def look_ahead(self, memory: Any, frames: Tensor, sound: Tensor | None) -> None:
        """Encode the frames that `step` gets next, without audio."""
        self.propagator.look_ahead(memory, frames, None)


class _BatchedLookahead(_Batched, _Lookahead):  # type: ignore[misc]  # the propagator is both
    """`WithoutAudio` of a propagator that is both."""


def without_audio(propagator: Propagator) -> WithoutAudio:
    """Return a propagator without its audio input, which can otherwise do what the propagator can.

    Example:
        >>> propagator = without_audio(as_propagator("hold"))
        >>> propagator.hear(None) is None, isinstance(propagator, BatchedPropagator)
        (True, True)
    """
    kinds = {
        (True, True): _BatchedLookahead,
        (True, False): _Batched,
        (False, True): _Lookahead,
        (False, False): WithoutAudio,
    }
    batched = isinstance(propagator, BatchedPropagator)
    return kinds[batched, isinstance(propagator, LookaheadPropagator)](propagator)


def propagators_of(
    rows: Sequence[Row], propagators: Mapping[str, Propagator]
) -> dict[str, Propagator]:
    """Return the propagators that rows name.

    Args:
        rows: Rows of the table.
        propagators: The caller's propagators by name.

    Raises:
        UnknownNameError: If one is neither the caller's nor registered.
    """
    return {row.propagator: _propagator(row, propagators) for row in rows}


def _propagator(row: Row, propagators: Mapping[str, Propagator]) -> Propagator:
    if row.propagator in propagators:
        return propagators[row.propagator]
    name = row.propagator.removesuffix(_NO_AUDIO)
    if name != row.propagator and name in propagators:
        return without_audio(propagators[name])
    if name in list_propagators() or tracker_config(name):
        propagator = as_propagator(name)
        return propagator if name == row.propagator else without_audio(propagator)
    known = ", ".join([*propagators, *list_propagators()])
    hint = " No trained propagator was given." if name == "learned" else ""
    raise UnknownNameError(
        f"Row {row.name!r}: there is no propagator {name!r}.{hint} There are: {known}. {_EXPECTED}"
    )
