"""Set the folder of a user's material in a config: recordings, or cut-outs and photographs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coprop_plugin.errors import TrainingError
from coprop_plugin.training.run import read_config


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
    return _with_folder(
        read_config(config, work_dir),
        ("SoundMixtures",),
        "folder",
        folder,
        "--sounds out, or use `change_detector`",
    )


def with_assets(config: Any, folder: str | Path, work_dir: str | Path | None = None) -> Any:
    """Return a config whose photographic scenes are composed of the files in a folder.

    Args:
        config: As in `train`.
        folder: See `Assets.from_folder`.
        work_dir: As in `train`.

    Raises:
        TrainingError: If the config does not train on photographic scenes, or cannot be read.

    Example:
        >>> config = with_assets("salient_object", "mine")
        >>> config.train_dataloader.dataset.assets
        'mine'
    """
    return _with_folder(
        read_config(config, work_dir),
        ("PhotographicClips", "PhotographicFrames"),
        "assets",
        folder,
        "--assets out, or use `salient_object`",
    )


def _with_folder(
    config: Any, kinds: tuple[str, ...], argument: str, folder: str | Path, instead: str
) -> Any:
    """Set an argument of every data set of some kinds in a config to a folder."""
    datasets = list(_datasets(config.to_dict(), kinds))
    if not datasets:
        raise TrainingError(
            f"Expected a config that trains on {' or '.join(kinds)}, got one without. Leave "
            f"{instead}."
        )
    for keys in datasets:
        config.merge_from_dict({".".join([*keys, argument]): str(folder)})
    return config


def _datasets(
    content: Any, kinds: tuple[str, ...], keys: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the places of the data sets of some kinds in a config."""
    if isinstance(content, dict):
        if str(content.get("type", "")).endswith(kinds):
            yield keys
        inner = list(content.items())
    elif isinstance(content, list | tuple):
        inner = list(enumerate(content))
    else:
        return
    for key, value in inner:
        yield from _datasets(value, kinds, (*keys, str(key)))
