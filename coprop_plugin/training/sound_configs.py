"""Set the folder of recordings in a config that trains on mixtures of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coprop_plugin.errors import TrainingError
from coprop_plugin.training.run import read_config

_DATASET = "SoundMixtures"


def with_sounds(config: Any, folder: str | Path, work_dir: str | Path | None = None) -> Any:
    """Return a config whose mixtures are rendered from the recordings in a folder.

    Args:
        config: As in `train`.
        folder: See `SoundFolder`.
        work_dir: As in `train`.

    Raises:
        TrainingError: If the config does not train on mixtures of recordings, or cannot be read.

    Example:
        >>> config = with_sounds("change_detector", "sounds")
        >>> config.train_dataloader.dataset.folder
        'sounds'
    """
    config = read_config(config, work_dir)
    datasets = list(_datasets(config.to_dict()))
    if not datasets:
        raise TrainingError(
            f"Expected a config that trains on {_DATASET}, got one without it. Leave --sounds out, "
            "or use `change_detector`."
        )
    for keys in datasets:
        config.merge_from_dict({".".join([*keys, "folder"]): str(folder)})
    return config


def _datasets(content: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the places of the data sets of mixtures in a config."""
    if isinstance(content, dict):
        if str(content.get("type", "")).endswith(_DATASET):
            yield keys
        inner = list(content.items())
    elif isinstance(content, list | tuple):
        inner = list(enumerate(content))
    else:
        return
    for key, value in inner:
        yield from _datasets(value, (*keys, str(key)))
