"""The model that a command line chooses: by name, by preset, with words to listen for."""

import json
from typing import cast

from coprop_plugin.batch.load import DEFAULT_BACKEND
from coprop_plugin.control_points.language import read_names
from coprop_plugin.errors import AdapterError
from coprop_plugin.pipeline.preset_options import PRESETS, Preset, preset_options
from coprop_plugin.pipeline.wrap import preset_model

_OPEN = "open_vocabulary"


def chosen_backend(backend: str | None, preset: str = "default", words: str | None = None) -> str:
    """Return the backend, as `load_backend` takes it.

    Args:
        backend: What was named; None for the preset's, else the small model that ships.
        preset: As for `wrap`.
        words: Names to listen for, separated by commas; only for `open_vocabulary`.

    Raises:
        ControlPointError: If there is no such preset.
        AdapterError: If the model does not know words.

    Example:
        >>> chosen_backend(None), chosen_backend("open_vocabulary", words="dog, violin")
        ('sounding_object', '{"type": "open_vocabulary", "words": ["dog", "violin"]}')
    """
    preset_options(cast(Preset, preset))
    listed = None if words is None else read_names(words)
    model: object = backend
    if backend is None and (words is not None or PRESETS[cast(Preset, preset)].backend):
        model = preset_model(cast(Preset, preset), listed)
    elif backend is None:
        model = DEFAULT_BACKEND
    elif listed is not None:
        config = {"type": _OPEN} if backend == _OPEN else _config(backend)
        if config.get("type") != _OPEN:
            raise AdapterError(
                f"--words are for the backend {_OPEN}, got --backend {backend!r}. Leave them out, "
                f"or use --backend {_OPEN} or --preset fast."
            )
        model = {**config, "words": listed}
    return model if isinstance(model, str) else json.dumps(model)


def _config(backend: str) -> dict[str, object]:
    try:
        content = json.loads(backend)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
