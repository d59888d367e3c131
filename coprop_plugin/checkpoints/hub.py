"""A network as a folder or as a repository of the Hugging Face hub: weights, config and card."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open

from coprop_plugin.checkpoints.card import model_card
from coprop_plugin.checkpoints.hub_files import (
    CARD_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    opened,
    repository,
)
from coprop_plugin.checkpoints.native import load_module, save_module
from coprop_plugin.errors import CheckpointError

_LARGEST_CONFIG = 2**20


class Pretrained:
    """What a network of ours has for being kept as a folder, or as a repository on the hub.

    There is `model.safetensors`, which says how to build the network; `config.json`, which says the
    same to people and programs; and `README.md`, a card with its scores. There are no pickles and
    no code, neither written nor read. It is mixed into modules that have their constructor
    arguments in `config`.
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
            folder: Where; made if need be. A README.md that is there already stays, unless there
                are metrics or a description for a new one.
            metrics: Scores by name, as `evaluate` returns them, for the card.
            dataset: What they were measured on.
            description: What the card says of the network: its training, its limits.
            license: Of the weights, "apache-2.0" say.
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
        card = dict(metrics=metrics, dataset=dataset, description=description, license=license)
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
        """Load what `save_pretrained` wrote or `push_to_hub` uploaded, strictly both ways.

        Args:
            source: A folder, or an id on the hub: "owner/name", also "hf://owner/name@revision".
                A folder of that name goes first.
            revision: A branch, a tag or a commit on the hub. A commit is always the same weights.
            token: For the hub, if the repository is private; by default that of `hf auth login`.
            cache_dir: Where downloads are kept; by default the hub's own cache.
            local_files_only: Whether to fetch nothing. `HF_HUB_OFFLINE=1` does the same.

        Returns:
            The network on the CPU, in eval mode and float32.

        Raises:
            CheckpointError: If there is no such folder or repository, it is out of reach, or what
                it holds is damaged, pickled, of another class, or does not fit its own config.

        Example:
            >>> from coprop_plugin.keyframes import KeyframeProcessor, load_keyframe_processor
            >>> folder = load_keyframe_processor().save_pretrained("shipped")
            >>> KeyframeProcessor.from_pretrained(folder).num_classes
            11
        """
        place = opened(
            source,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        described = _described(place(CONFIG_FILE), cls)
        # The weights are fetched after the config, for they may be large, and not ours.
        weights = place(WEIGHTS_FILE)
        network = load_module(weights, _format(cls), cls)
        with safe_open(weights, framework="pt") as file:
            config = json.loads(file.metadata()["config"])
        if config != described["config"]:
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
        **saving: Any,
    ) -> str:
        """Upload weights, config and card to the hub.

        Args:
            repo_id: "owner/name"; made if need be.
            private: Whether nobody else may see a repository that is made now; None is what your
                account says.
            token: With the right to write; by default that of `hf auth login`.
            commit_message: Of the upload.
            **saving: As for `save_pretrained`: metrics, dataset, description, license, dtype.

        Returns:
            The repository's address.

        Raises:
            CheckpointError: If the network cannot be saved, the id is none, or the hub cannot be
                reached or refuses.

        Example:
            >>> processor.push_to_hub("me/mine", metrics={"M_J": 0.8})  # doctest: +SKIP
            'https://huggingface.co/me/mine'
        """
        with tempfile.TemporaryDirectory() as folder, repository(repo_id, token) as hub:
            _save(self, Path(folder), repo_id, **saving)
            url = hub.create_repo(repo_id, private=private, exist_ok=True)
            hub.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
        return str(url)


def _save(
    network: Any, folder: Path, place: str, dtype: torch.dtype | None = None, **card: Any
) -> Path:
    """Write the three files; `place` is what the card calls them."""
    save_module(network, network.config, folder / WEIGHTS_FILE, _format(type(network)), dtype)
    described = {"format": _format(type(network)), "config": network.config}
    try:
        (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2) + "\n", "utf-8")
        if card.get("metrics") or card.get("description") or not (folder / CARD_FILE).exists():
            (folder / CARD_FILE).write_text(model_card(network, place, **card), "utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written: {error}. Choose a folder that you may write to."
        ) from error
    return folder


def _format(kind: type) -> str:
    """Return what `save_module` and `load_module` call the files of a class."""
    return f"coprop_plugin.{kind.__name__}/1"


def _described(path: Path, wanted: type) -> dict[str, Any]:
    """Read a config.json that is for the wanted class."""
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON: {error}. It is damaged: fetch or save it again."
        ) from error
    said = content.get("format") if isinstance(content, dict) else None
    if said != _format(wanted) or "config" not in content:
        raise CheckpointError(
            f"{path} is of format {said!r}; wanted {_format(wanted)!r}, which "
            f"`{wanted.__name__}.save_pretrained` writes. Load it with the class that it is of."
        )
    return content
