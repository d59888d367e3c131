"""Audio encoders, from a name, a config or a module."""

from collections.abc import Mapping
from typing import Any

from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import AudioEncoder


def build_audio_encoder(encoder: str | Mapping[str, Any] | AudioEncoder) -> AudioEncoder:
    """Build an untrained audio encoder from its name or config; a module is returned as it is.

    Raises:
        UnknownNameError: If there is no such encoder.

    Example:
        >>> build_audio_encoder(dict(type="SmallLogMelEncoder", width=8)).map_channels
        64
    """
    if isinstance(encoder, str | Mapping):
        return build(MODELS, encoder, verb="conv_map")
    return encoder
