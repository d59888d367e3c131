"""Presets: options of `CoProp` that belong together, under one name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from coprop_plugin.errors import ControlPointError

Preset = Literal["default", "paper"]
"""A named set of options; see `CoProp`."""

Silence = Literal["empty", "keep"]
"""What becomes of segments without sound; see `CoProp`."""

Keyframe = Literal["first", "confident"] | Mapping[str, Any]
"""Which frames of a segment the model is run on; see `CoProp`."""

Reanchor = float | Literal["auto", "uncertain"] | Mapping[str, Any] | None
"""When the model is run again within a segment; see `CoProp`."""

BY_PRESET: Any = "preset"
"""The value of an option that is left to the preset, where None means something else."""


@dataclass(frozen=True)
class PresetOptions:
    """The options of a preset.

    Args:
        propagator: See `CoProp`.
        keyframe: See `CoProp`.
        reanchor: See `CoProp`.
        silence: See `CoProp`.
    """

    propagator: str
    keyframe: Keyframe
    reanchor: Reanchor
    silence: Silence


PRESETS: Mapping[Preset, PresetOptions] = {
    "default": PresetOptions("appearance", "first", "auto", "empty"),
    "paper": PresetOptions("learned", "first", None, "keep"),
}
"""What each preset stands for. `paper` is the method as published: the model is run on the first
frame of every segment, silent ones included, and the Audio-Insert Propagator carries its masks."""


def preset_options(
    preset: Preset,
    keyframe: Keyframe | None = None,
    reanchor: Reanchor = BY_PRESET,
    silence: Silence | None = None,
) -> PresetOptions:
    """Return the options of a preset, with those that are given in their place.

    A given `keyframe` is a choice of keyframes, so that `reanchor` is None unless it is given, too.

    Raises:
        ControlPointError: If there is no such preset, or `silence` has another value.

    Example:
        >>> preset_options("paper", silence="empty").silence
        'empty'
    """
    if preset not in PRESETS:
        raise ControlPointError(f"Expected a preset, one of {', '.join(PRESETS)}; got {preset!r}.")
    options = PRESETS[preset]
    chosen = options.reanchor if keyframe is None else None
    if silence not in (None, *get_args(Silence)):
        raise ControlPointError(
            "Expected silence='empty' (segments without sound stay empty), 'keep' (the model "
            f"decides), or None for the preset's; got {silence!r}."
        )
    return PresetOptions(
        options.propagator,
        options.keyframe if keyframe is None else keyframe,
        chosen if reanchor == BY_PRESET else reanchor,
        silence or options.silence,
    )
