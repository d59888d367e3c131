"""Where the files of a network are: a folder, or a repository on the hub."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from coprop_plugin.errors import CheckpointError

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
PREFIX = "hf://"
"""Marks an id on the hub where a path might be meant: `wrap(model, propagator="hf://me/mine")`."""

_ID = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w.-]*(?:/\w[\w.-]*)*))?", re.A)


def is_folder_or_id(source: Any) -> bool:
    """Tell whether `from_pretrained` is meant: a folder, or an id with `hf://` before it.

    Example:
        >>> is_folder_or_id("hf://owner/name"), is_folder_or_id("R50_AOTL.pth")
        (True, False)
    """
    if isinstance(source, str) and source.startswith(PREFIX):
        return True
    return isinstance(source, str | Path) and Path(source).is_dir()


def opened(source: str | Path, **options: Any) -> Callable[[str], Path]:
    """Return a function from the names of files to their paths, fetched if need be.

    Args:
        source: A folder or an id, as for `from_pretrained`.
        **options: Of `huggingface_hub.hf_hub_download`.

    Raises:
        CheckpointError: If it is neither; and of the function, if there is no such file.
    """
    if Path(source).is_dir():
        return lambda name: _in_folder(Path(source), name)
    found = isinstance(source, str) and _ID.fullmatch(source.removeprefix(PREFIX))
    if not found:
        raise CheckpointError(
            f"Got {str(source)!r}, which is neither a folder nor an id on the hub; wanted a folder "
            "that `save_pretrained` wrote, or 'owner/name'. A single file of weights has its own "
            "loader: `load_propagator(path)`, `load_keyframe_processor(path)`."
        )
    options["revision"] = options.get("revision") or found["revision"]
    return lambda name: _from_hub(found["id"], name, options)


@contextlib.contextmanager
def repository(repo_id: str, token: str | bool | None) -> Iterator[Any]:
    """Give the hub's `HfApi`, and turn what goes wrong with it into typed errors.

    Raises:
        CheckpointError: If the id is none, or the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    if not _ID.fullmatch(repo_id) or "@" in repo_id:
        raise CheckpointError(f"Got {repo_id!r} to upload to; wanted an id, 'owner/name'.")
    try:
        yield HfApi(token=token)
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Nothing was uploaded to {repo_id!r}: {_short(error)} Check the connection, and that "
            "`hf auth whoami` names somebody who may write there."
        ) from error


def _in_folder(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        there = sorted(path.name for path in folder.iterdir())
        raise CheckpointError(
            f"There is no {name} in {folder}, only {', '.join(there[:8]) or 'nothing'}. Wanted a "
            f"folder that `save_pretrained` wrote, with {CONFIG_FILE} and {WEIGHTS_FILE}; pickled "
            "weights (.bin, .pth) are not read here."
        )
    return folder / name


def _from_hub(repo_id: str, name: str, options: dict[str, Any]) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo_id, name, **options))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"Got {repo_id!r}, which is no folder here, and whose {name} cannot be had from the "
            f"hub: {_short(error)} Check the name and the connection; private repositories need "
            f"`hf auth login`, and without a network `hf download {repo_id}` must have come first."
        ) from error


def _short(error: BaseException, limit: int = 300) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
