"""Checkpoints of the Hugging Face hub on this machine: found, downloaded as a whole, checked."""

import errno
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coprop_plugin.checkpoints.pretrained_models import (
    checkpoint_of,
    find_pretrained,
    list_pretrained,
    size_text,
)
from coprop_plugin.checkpoints.resumed_files import fetch_blob, has_checksum
from coprop_plugin.errors import DownloadError, did_you_mean, short_reason
from coprop_plugin.limits import read_text

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
_PICKLED = "pytorch_model*.bin"
_RESUMED = (".safetensors", ".bin")
"""Files that are large: a later process goes on with what an earlier one has fetched of them."""

_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.A)
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Cached:
    """What the hub's cache holds of a checkpoint.

    Args:
        folder: The files of its newest complete version; None if there is none.
        size: All that it takes on the disk, in bytes; unfinished downloads included.
    """

    folder: Path | None
    size: int


def fetch_checkpoint(
    source: str | Path, *, revision: str | None = None, local_files_only: bool = False
) -> Path:
    """Return the folder of a checkpoint; it is downloaded if it is not on this machine.

    All files are there when this returns: a connection that is cut is taken up again where it was,
    a few times; a download that was interrupted, or whose process was killed, goes on there the
    next time, and nothing is loaded from it before the rest is there. What is downloaded, and how
    much, is said on stderr, with a progress bar; `HF_HUB_DISABLE_PROGRESS_BARS=1` turns both off.

    Args:
        source: A folder, which is returned as it is; a short name (`list_pretrained`); or an id on
            the hub.
        revision: A branch, a tag or a commit on the hub.
        local_files_only: Whether to download nothing, as with `HF_HUB_OFFLINE=1`.

    Raises:
        DownloadError: If there is no such checkpoint, its licence has not been accepted, the hub
            cannot be reached, the download is interrupted, or the disk is full.

    Example:
        >>> fetch_checkpoint("sam2")  # doctest: +SKIP
        PosixPath('.../models--facebook--sam2.1-hiera-tiny/snapshots/...')
    """
    if Path(source).is_dir():
        return Path(source)
    checkpoint = checkpoint_of(source)
    if not _ID.fullmatch(checkpoint):
        raise DownloadError(
            f"{checkpoint!r} is neither a folder nor an id on the hub ('owner/name'). Give the "
            f"path of a folder of `save_pretrained`, an id, or one of: "
            f"{', '.join(list_pretrained())}."
        )
    found = cached_checkpoint(checkpoint, revision=revision).folder
    return found or _download(checkpoint, revision, local_files_only)


def repair_checkpoint(source: str | Path) -> Path:
    """Download a checkpoint, and again what is damaged of it; returns its folder.

    Raises:
        DownloadError: As `fetch_checkpoint`.
    """
    checkpoint = checkpoint_of(source)
    damaged, found = damaged_files(checkpoint), cached_checkpoint(checkpoint).folder
    if _offline() and found and not damaged:
        return found
    # Not `fetch_checkpoint`: what is beside the weights may be missing, too.
    return _download(checkpoint, None, damaged=damaged)


def cached_checkpoint(source: str | Path, *, revision: str | None = None) -> Cached:
    """Return what is on this machine of a checkpoint, without a look at the network.

    Example:
        >>> cached_checkpoint("nobody/has-this")
        Cached(folder=None, size=0)
    """
    from huggingface_hub import snapshot_download

    checkpoint = checkpoint_of(source)
    blobs = _repository(checkpoint) / "blobs"
    size = sum(path.stat().st_size for path in blobs.iterdir()) if blobs.is_dir() else 0
    try:
        folder = snapshot_download(
            checkpoint, revision=revision, local_files_only=True, allow_patterns=["config.json"]
        )
    except hub_errors():
        return Cached(None, size)
    return Cached(Path(folder) if _is_complete(Path(folder)) else None, size)


def damaged_files(source: str | Path) -> list[Path]:
    """Return the files of a checkpoint on this machine that are not as they were downloaded.

    The cache names files by their checksums, which are computed again.
    """
    folder = cached_checkpoint(source).folder
    files = sorted(folder.iterdir()) if folder else []
    blobs = {path: path.resolve() for path in files if path.is_symlink()}
    return [path for path, blob in blobs.items() if not has_checksum(blob, blob.name)]


def remove_checkpoint(source: str | Path) -> int:
    """Delete a checkpoint from this machine; returns the number of bytes.

    Raises:
        DownloadError: If there is nothing of it here, or it cannot be deleted.
    """
    checkpoint = checkpoint_of(source)
    folder, size = _repository(checkpoint), cached_checkpoint(checkpoint).size
    if not folder.is_dir():
        raise DownloadError(
            f"Nothing of {checkpoint} is in {cache_folder()}. `coprop weights list` says what is."
        )
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise DownloadError(
            f"{folder} cannot be deleted: {error}. Delete it by hand, with its owner's rights."
        ) from error
    return size


def cache_folder() -> Path:
    """Return the folder of the hub's cache, which `HF_HUB_CACHE` and `HF_HOME` move."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def hub_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the hub's client, and of the HTTP library that it uses.

    There are several: without a connection, or if that ends in the middle, their own are raised.
    """
    from huggingface_hub import errors

    bases = [base for base in errors.HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"]
    # Newer versions have storage of their own, with its own errors.
    storage = [getattr(errors, "XetDownloadError", OSError), RuntimeError]
    return (OSError, ValueError, errors.HfHubHTTPError, *bases, *storage)


def _download(
    checkpoint: str,
    revision: str | None,
    local_files_only: bool = False,
    damaged: Iterable[Path] = (),
) -> Path:
    from huggingface_hub import snapshot_download

    if local_files_only or _offline():
        raise DownloadError(_not_here(checkpoint, "downloads are turned off"))
    with _explained(checkpoint):
        for path in damaged:
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        files = _needed_files(checkpoint, revision)
        missing = [file for file in files if file.will_download]
        size = sum(file.file_size or 0 for file in missing)
        if missing:
            _check_space(checkpoint, size)
            _announce(checkpoint, size)
        for file in missing:
            if file.filename.endswith(_RESUMED):
                blobs = _repository(checkpoint) / "blobs"
                fetch_blob(checkpoint, file.filename, file.commit_hash, blobs)
        names = [file.filename for file in files]
        return Path(snapshot_download(checkpoint, revision=revision, allow_patterns=names))


def _needed_files(checkpoint: str, revision: str | None) -> list[Any]:
    """Return what transformers reads of a repository: no other formats, no subfolders."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import tqdm

    class NoBar(tqdm):
        """Shows nothing while files are listed."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

    files: list[Any] = snapshot_download(
        checkpoint,
        revision=revision,
        allow_patterns=[*_FILES, _PICKLED],
        ignore_patterns=["*/*"],
        dry_run=True,
        tqdm_class=NoBar,
    )
    if any(file.filename.endswith(".safetensors") for file in files):
        files = [file for file in files if not file.filename.endswith(".bin")]
    return files


def _announce(checkpoint: str, size: int) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled

    if are_progress_bars_disabled():
        return
    model = find_pretrained(checkpoint)
    title = f"{model.title} ({checkpoint})" if model else checkpoint
    licence = model.licence if model else f"licence: see https://huggingface.co/{checkpoint}"
    print(
        f"Downloading {title}: {size_text(size / 1e6)}, {licence}. It is kept in {cache_folder()}.",
        file=sys.stderr,
        flush=True,
    )


def _check_space(checkpoint: str, size: int) -> None:
    """Check that a download fits on the disk.

    Raises:
        DownloadError: If it does not.
    """
    place = cache_folder()
    place = next(folder for folder in (place, *place.parents) if folder.exists())
    if shutil.disk_usage(place).free < size:
        raise DownloadError(_no_space(checkpoint, size_text(size / 1e6)))


@contextmanager
def _explained(checkpoint: str) -> Iterator[None]:
    """Raise what the hub's client raises as a `DownloadError` that says what to do.

    Raises:
        DownloadError: Instead of the errors of `hub_errors`.
    """
    try:
        yield
    except DownloadError:
        raise
    except hub_errors() as error:
        raise DownloadError(_explanation(checkpoint, error)) from error


def _explanation(checkpoint: str, error: BaseException) -> str:
    from huggingface_hub import errors

    # A listing that fails hides why in its cause.
    reasons, why = list(_chain(error)), short_reason(error.__cause__ or error)
    if any(getattr(reason, "errno", None) in _FULL for reason in reasons):
        return _no_space(checkpoint, "more than is free")
    for reason in reasons:
        if isinstance(reason, errors.GatedRepoError):
            model = find_pretrained(checkpoint)
            licence = f" ({model.licence})" if model else ""
            return (
                f"{checkpoint} is only for those who have accepted its licence{licence}. Accept it "
                f"on https://huggingface.co/{checkpoint}, then run `hf auth login` here."
            )
        if isinstance(reason, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
            return (
                f"There is no {checkpoint} on the hub, or not for you: {short_reason(reason)} "
                f"Check the spelling.{did_you_mean(checkpoint, list_pretrained())} Private "
                "repositories need `hf auth login`; `coprop weights list` has the short names."
            )
    if cached_checkpoint(checkpoint).size:
        return (
            f"The download of {checkpoint} was interrupted: {why} What has arrived is kept; "
            "run the same again for the rest."
        )
    return _not_here(checkpoint, why.rstrip("."))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _not_here(checkpoint: str, why: str) -> str:
    model = find_pretrained(checkpoint)
    return (
        f"{checkpoint} is not on this machine, and cannot be fetched: {why}. With a network, run "
        f"`coprop weights get {model.name if model else checkpoint}`, here or elsewhere: copy the "
        "folder that it prints with `cp -rL`, and give its path in the place of the name. All that "
        "a preset needs is `coprop weights get --preset NAME`. Or use "
        "parts that need no download: the preset `offline`, the propagator `appearance`."
    )


def _no_space(checkpoint: str, size: str) -> str:
    return (
        f"The disk of {cache_folder()} is too full for {checkpoint} ({size}). Free some space "
        "(`coprop weights list`, `coprop weights remove NAME`), or set HF_HOME to a folder on "
        "another disk."
    )


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _repository(checkpoint: str) -> Path:
    return cache_folder() / f"models--{checkpoint.replace('/', '--')}"


def _is_complete(folder: Path) -> bool:
    """Whether all weights are there; a file is under its name only once it is complete."""
    for name in _INDICES:
        if (folder / name).is_file():
            return all((folder / part).is_file() for part in _parts(folder / name))
    return any((folder / name).is_file() for name in _WEIGHTS)


def _parts(index: Path) -> Iterable[str]:
    try:
        return set(json.loads(read_text(index, DownloadError))["weight_map"].values())
    except (DownloadError, OSError, ValueError, LookupError, AttributeError, TypeError):
        return ["no part: the index is damaged"]
