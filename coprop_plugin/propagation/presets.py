"""The sizes that AOT comes in."""

from typing import Any

from coprop_plugin.errors import UnknownNameError

NEVER = 9999
"""AOT's gap for sizes that remember the keyframe alone (and one frame in 9999)."""

PRESETS: dict[str, dict[str, Any]] = {
    "R50_AOTL": dict(encoder="r50", num_layers=3, long_term_gap=5),
    "AOTL": dict(encoder="mobilenetv2", num_layers=3, long_term_gap=5),
    "AOTB": dict(encoder="mobilenetv2", num_layers=3, long_term_gap=NEVER),
    "AOTS": dict(encoder="mobilenetv2", num_layers=2, long_term_gap=NEVER),
    "AOTT": dict(encoder="mobilenetv2", num_layers=1, long_term_gap=NEVER),
}
"""AOT's released sizes, by its own names, with the gaps that it tests with."""


def preset_shape(
    preset: str, encoder: Any = None, num_layers: Any = None, long_term_gap: Any = None
) -> dict[str, Any]:
    """Return encoder, number of layers and gap of a preset; what is given overrides it.

    Raises:
        UnknownNameError: If there is no such preset.
    """
    if preset not in PRESETS:
        raise UnknownNameError(
            f"Got preset {preset!r}; there are {', '.join(PRESETS)}. For another shape say "
            "`encoder=`, `num_layers=` and `long_term_gap=`."
        )
    given = dict(encoder=encoder, num_layers=num_layers, long_term_gap=long_term_gap)
    return {**PRESETS[preset], **{name: v for name, v in given.items() if v is not None}}
