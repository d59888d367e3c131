"""AOT's released sizes."""

from collections.abc import Mapping
from typing import Any, Literal

from coprop_plugin.errors import UnknownNameError

Preset = Literal["R50_AOTL", "AOTL", "AOTB", "AOTS", "AOTT"]
"""AOT's released sizes, by its own names."""

NEVER = 9999
"""AOT's gap for sizes whose long-term memory holds the keyframe only (and one frame in 9999)."""

PRESETS: dict[Preset, dict[str, Any]] = {
    "R50_AOTL": dict(encoder="r50", num_layers=3, long_term_gap=5),
    "AOTL": dict(encoder="mobilenetv2", num_layers=3, long_term_gap=5),
    "AOTB": dict(encoder="mobilenetv2", num_layers=3, long_term_gap=NEVER),
    "AOTS": dict(encoder="mobilenetv2", num_layers=2, long_term_gap=NEVER),
    "AOTT": dict(encoder="mobilenetv2", num_layers=1, long_term_gap=NEVER),
}
"""AOT's released sizes, with the gaps of its evaluation."""


def preset_shape(
    preset: Preset,
    encoder: str | Mapping[str, Any] | None = None,
    num_layers: int | None = None,
    long_term_gap: int | None = None,
) -> dict[str, Any]:
    """Return encoder, number of layers and gap of a preset; arguments that are given override it.

    Raises:
        UnknownNameError: If the preset is unknown.
    """
    if preset not in PRESETS:
        raise UnknownNameError(
            f"{preset!r} is not a preset. Available: {', '.join(PRESETS)}. For another shape use "
            "`encoder=`, `num_layers=` and `long_term_gap=`."
        )
    given = dict(encoder=encoder, num_layers=num_layers, long_term_gap=long_term_gap)
    return {**PRESETS[preset], **{name: v for name, v in given.items() if v is not None}}
