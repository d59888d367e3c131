"""A network as a folder, or as a repository of the Hugging Face hub: weights, config and card.

huggingface_hub's own `PyTorchModelHubMixin` is not used: it reads a `config.json` of any size,
builds what that asks for, and reads pickles where there are no safetensors.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

import torch
from torch import nn

from coprop_plugin.checkpoints.card import model_card
from coprop_plugin.checkpoints.downloads import hub_errors
from coprop_plugin.checkpoints.native import check_format, config_of, load_module, save_module
from coprop_plugin.errors import CheckpointError, DownloadError, short_reason
from coprop_plugin.limits import CONFIG_BYTES, read_text

if TYPE_CHECKING:
    from huggingface_hub import HfApi

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
PREFIX = "hf://"
"""Marks an id on the hub where a path is possible: `wrap(model, propagator="hf://me/mine")`."""

_ID = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w.-]*(?:/\w[\w.-]*)*))?", re.A)


class CardOptions(TypedDict, total=False):
    """What the card of a network says.

    Attributes:
        metrics: Scores by name, as `evaluate` returns them.
        dataset: The data that they were measured on.
        description: A paragraph or more on the network: its training, its limits.
        license: Of the weights, e.g. "apache-2.0".
    """

    metrics: Mapping[str, Any] | None
    dataset: str
    description: str
    license: str | None


class SavingOptions(CardOptions, total=False):
    """Options of `save_pretrained`.

    Attributes:
        dtype: `torch.float16` halves the file; None keeps the weights as they are.
    """

    dtype: torch.dtype | None


class Pretrained(nn.Module):
    """A network that can be saved as a folder, or uploaded to the hub, and loaded again.

    There is `model.safetensors`, which says how to build the network; `config.json`, the same for
    people and other programs; and `README.md`, a card with its scores. No pickles and no code are
    written or read. Subclasses keep their constructor arguments in `config`.
    """

    config: dict[str, Any]

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        metrics: Mapping[str, Any] | None = None,
        dataset: str = "",
        description: str = "",
        license: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Path:
        """Write weights, config and card into a folder.

        Args:
            folder: The folder; made if need be. An existing README.md is kept, unless there are
                metrics or a description for a new one.
            metrics: Scores by name, as `evaluate` returns them, for the card.
            dataset: The data that they were measured on.
            description: What the card says of the network: its training, its limits.
            license: Of the weights, e.g. "apache-2.0".
            dtype: `torch.float16` halves the file; None keeps the weights as they are.

        Returns:
            The folder.

        Raises:
            CheckpointError: If the network was built around a module rather than a name or a
                config, or the folder cannot be written.

        Example:
            >>> from coprop_plugin.keyframes import KeyframeProcessor
            >>> processor = KeyframeProcessor(width=32, mask_width=16)
            >>> folder = processor.save_pretrained("mine", metrics={"M_J": 0.8}, dataset="my clips")
            >>> sorted(path.name for path in folder.iterdir())
            ['README.md', 'config.json', 'model.safetensors']
        """
        card = CardOptions(
            metrics=metrics, dataset=dataset, description=description, license=license
        )
        return _save(self, Path(folder), str(folder), dtype, **card)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load the files of `save_pretrained` or `push_to_hub`, strictly both ways.

        Args:
            source: A folder, or an id on the hub: "owner/name", also "hf://owner/name@revision".
                A folder of that name goes first.
            revision: A branch, a tag or a commit on the hub. A commit is always the same weights.
            token: For the hub, if the repository is private; by default that of `hf auth login`.
            cache_dir: Where downloads are stored; by default the hub's own cache.
            local_files_only: Whether to use files on this machine only, as `HF_HUB_OFFLINE=1` does.

        Returns:
            The network on the CPU, in eval mode and float32.

        Raises:
            CheckpointError: If there is no such folder or repository, the hub cannot be reached, or
                the files are damaged, pickled, of another class, or do not fit their own config.

        Example:
            >>> from coprop_plugin.keyframes import KeyframeProcessor, load_keyframe_processor
            >>> folder = load_keyframe_processor().save_pretrained("shipped")
            >>> KeyframeProcessor.from_pretrained(folder).num_classes
            11
        """
        path_of = _files_of(source, revision, token, cache_dir, local_files_only)
        described = _described(path_of(CONFIG_FILE), cls)
        # The weights are fetched after the config, for they may be large, and not ours.
        weights = path_of(WEIGHTS_FILE)
        network = load_module(weights, _format(cls), cls)
        if config_of(weights) != described["config"]:
            raise CheckpointError(
                f"In {source}, {CONFIG_FILE} and {WEIGHTS_FILE} describe different networks: one "
                f"was changed without the other. Save the network again; or load {WEIGHTS_FILE} "
                "alone, which is complete."
            )
        return network

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str = "Upload weights, config and card",
        **saving: Unpack[SavingOptions],
    ) -> str:
        """Upload weights, config and card to the hub.

        Args:
            repo_id: "owner/name"; made if need be.
            private: Whether a new repository is private; None is the default of your account.
            token: With write access; by default that of `hf auth login`.
            commit_message: Of the upload.
            **saving: As for `save_pretrained`: metrics, dataset, description, license, dtype.

        Returns:
            The repository's address.

        Raises:
            CheckpointError: If the network cannot be saved, the id is not valid, or the hub cannot
                be reached or refuses.

        Example:
            >>> processor.push_to_hub("me/mine", metrics={"M_J": 0.8})  # doctest: +SKIP
            'https://huggingface.co/me/mine'
        """
        with tempfile.TemporaryDirectory() as folder, _repository(repo_id, token) as hub:
            _save(self, Path(folder), repo_id, **saving)
            url = hub.create_repo(repo_id, private=private, exist_ok=True)
            hub.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
        return str(url)


def is_folder_or_id(source: object) -> bool:
    """Whether `from_pretrained` can load a source: a folder, or an id with `hf://` before it.

    Example:
        >>> is_folder_or_id("hf://owner/name"), is_folder_or_id("R50_AOTL.pth")
        (True, False)
    """
    if isinstance(source, str) and source.startswith(PREFIX):
        return True
    return isinstance(source, str | Path) and Path(source).is_dir()


def _save(
    network: Pretrained,
    folder: Path,
    place: str,
    dtype: torch.dtype | None = None,
    **card: Unpack[CardOptions],
) -> Path:
    """Write the three files; `place` is what the card calls them."""
    kind = _format(type(network))
    save_module(network, network.config, folder / WEIGHTS_FILE, kind, dtype)
    described = {"format": kind, "config": network.config}
    try:
        (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2) + "\n", "utf-8")
        if card.get("metrics") or card.get("description") or not (folder / CARD_FILE).exists():
            (folder / CARD_FILE).write_text(str(model_card(network, place, **card)), "utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written: {error}. Choose a folder that you may write to."
        ) from error
    return folder


def _format(kind: type) -> str:
    """Return the format of the files of a class, for `save_module` and `load_module`."""
    return f"coprop_plugin.{kind.__name__}/1"


def _described(path: Path, wanted: type) -> dict[str, Any]:
    """Read a config.json that is for the wanted class."""
    try:
        content = json.loads(read_text(path, CheckpointError, CONFIG_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{path} cannot be read as JSON: {error}. It is damaged: fetch or save it again."
        ) from error
    content = content if isinstance(content, dict) else {}
    found = content.get("format")
    what = (
        f"format {_format(wanted)!r}, which `{wanted.__name__}.save_pretrained` writes, in {path}"
    )
    check_format(found if "config" in content else None, _format(wanted), what)
    return content


def _files_of(
    source: str | Path,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
) -> Callable[[str], Path]:
    """Return a function from the names of files to their paths, downloaded if need be.

    Raises:
        CheckpointError: If the source is neither a folder nor an id; the function raises it, too,
            if there is no such file.
    """
    if Path(source).is_dir():
        return lambda name: _in_folder(Path(source), name)
    found = _ID.fullmatch(source.removeprefix(PREFIX)) if isinstance(source, str) else None
    if found is None:
        raise CheckpointError(
            "Expected a folder of `save_pretrained`, or an id on the hub ('owner/name'), got "
            f"{str(source)!r}, which is neither a folder nor an id on the hub. A single file of "
            "weights has its own loader: `load_propagator(path)`, `load_keyframe_processor(path)`."
        )
    repo_id = found["id"]

    def fetched(name: str) -> Path:
        from huggingface_hub import hf_hub_download

        # It resumes a download that is cut, a few times, and then gives up.
        try:
            path = hf_hub_download(
                repo_id,
                name,
                revision=revision or found["revision"],
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
        except hub_errors() as error:
            raise DownloadError(
                f"{repo_id!r} is not a folder here, and its {name} cannot be fetched from the hub: "
                f"{short_reason(error)} Check the name and the connection, and try again. "
                "Private repositories need `hf auth login`. Without a network, run "
                f"`hf download {repo_id}` beforehand."
            ) from error
        return Path(path)

    return fetched


def _in_folder(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        there = sorted(path.name for path in folder.iterdir())
        raise CheckpointError(
            f"There is no {name} in {folder}, only {', '.join(there[:8]) or 'nothing'}. Expected a "
            f"folder of `save_pretrained`, with {CONFIG_FILE} and {WEIGHTS_FILE}; pickled weights "
            "(.bin, .pth) are not read here."
        )
    return folder / name


@contextlib.contextmanager
def _repository(repo_id: str, token: str | bool | None) -> Iterator["HfApi"]:
    """Yield the hub's `HfApi`, and raise its errors as `CheckpointError`."""
    from huggingface_hub import HfApi

    if not _ID.fullmatch(repo_id) or "@" in repo_id:
        raise CheckpointError(f"Expected an id to upload to, 'owner/name', got {repo_id!r}.")
    try:
        yield HfApi(token=token)
    except CheckpointError:
        raise
    except hub_errors() as error:
        raise CheckpointError(
            f"Nothing was uploaded to {repo_id!r}: {short_reason(error)} Check the connection, and "
            "that the account of `hf auth whoami` may write there."
        ) from error
