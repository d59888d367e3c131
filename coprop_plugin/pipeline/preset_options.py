"""Presets: options of `CoProp` that belong together, under one name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from coprop_plugin.choices import DEFAULT_POINTS
from coprop_plugin.errors import ControlPointError, did_you_mean

Preset = Literal["default", "paper", "offline", "fast", "balanced", "best"]
"""A named set of options; see `CoProp`. The last four name models, too; see `model_presets`."""

Silence = Literal["empty", "keep"]
"""What becomes of segments without sound; see `CoProp`."""

KeyframeName = Literal["first", "confident"]
Keyframe = KeyframeName | Mapping[str, Any]
"""Which frames of a segment the model is run on; see `CoProp`."""

ReanchorName = Literal["auto", "uncertain"]
Reanchor = float | ReanchorName | Mapping[str, Any] | None
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
        control_points: See `CoProp`; None for those of the model, else the default's.
        backend: What the model is where none is given, a name or a config; None: one must be.
    """

    propagator: str
    keyframe: Keyframe
    reanchor: Reanchor
    silence: Silence
    control_points: str | None = None
    backend: str | Mapping[str, Any] | None = None


_DEFAULT = PresetOptions("appearance", "first", "auto", "empty")
_NAMES_FIRST = {"detector": "pe_a_frame", "namer": "ast", "hop_s": 1.0, "window_s": 2.0}
"""PE-A-Frame says when each of a few words sounds; AST, a window a second, says which words."""

PRESETS: Mapping[Preset, PresetOptions] = {
    "default": _DEFAULT,
    "paper": PresetOptions("learned", "first", None, "keep"),
    "offline": replace(_DEFAULT, backend="sounding_object"),
    "fast": PresetOptions(
        "appearance",
        "first",
        None,
        "empty",
        # On a CPU AST has no time for more than a window a second, too coarse for the changes.
        DEFAULT_POINTS,
        {
            "type": "open_vocabulary",
            "listener": {"detector": "ast", "hop_s": 1.0, "window_s": 2.0},
            "finder": "clipseg",
        },
    ),
    "balanced": PresetOptions(
        "sam2:sam2_small",
        "first",
        None,
        "empty",
        None,
        {"type": "open_vocabulary", "listener": _NAMES_FIRST, "finder": "owlv2+sam2_small"},
    ),
    "best": PresetOptions(
        "sam3",
        "first",
        None,
        "empty",
        None,
        {"type": "open_vocabulary", "listener": _NAMES_FIRST, "finder": "sam3"},
    ),
}
"""What each preset stands for. `paper` is the method as published: the model is run on the first
frame of every segment, silent ones included, and the Audio-Insert Propagator carries its masks. The
last four need no model, `offline` no download either."""


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
        raise ControlPointError(
            f"Expected a preset, one of {', '.join(PRESETS)}; got {preset!r}."
            f"{did_you_mean(str(preset), PRESETS)}"
        )
    options = PRESETS[preset]
    chosen = options.reanchor if keyframe is None else None
    if silence not in (None, *get_args(Silence)):
        raise ControlPointError(
            "Expected silence='empty' (segments without sound stay empty), 'keep' (the model "
            f"decides), or None for the preset's; got {silence!r}."
        )
    return replace(
        options,
        keyframe=options.keyframe if keyframe is None else keyframe,
        reanchor=chosen if reanchor == BY_PRESET else reanchor,
        silence=silence or options.silence,
    )
