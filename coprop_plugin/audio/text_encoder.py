"""Words in the place of audio: the frozen text encoder of a CLIP or CLAP model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.checkpoints.transformers_models import load_pretrained
from coprop_plugin.errors import CheckpointError, CopropError
from coprop_plugin.types import Clip

_TEXT_MODELS = {
    "clip": "CLIPTextModelWithProjection",
    "clip_text_model": "CLIPTextModelWithProjection",
    "clap": "ClapTextModelWithProjection",
    "clap_text_model": "ClapTextModelWithProjection",
}

SILENCE = "silence"
"""The word for a clip in which nothing sounds."""

Categories = Sequence[str] | Mapping[str, Sequence[str]] | Callable[[Clip], Sequence[str]]
"""Names for every clip, or by the clip's name, or a function of the clip."""


class TextEncoder:
    """Embeddings of the categories that sound in a clip, by a frozen text model.

    The model is not among a network's weights; it is loaded on first use.

    Args:
        model: An id or a folder of a CLIP or CLAP model with its tokenizer.
        categories: Sounding categories of clips without `words`: names for every clip, or by the
            clip's `name`, or a function of the clip. A function cannot be saved. None: the clips
            must have words.
        template: The text for a category, with `{}` for its name.
        embedding_dim: Channels of the model's projected embeddings.
        local_files_only: Whether to download nothing.
        error: The class of the error for clips without words and for options that do not fit.

    Raises:
        CopropError: An `error`, if the categories are a single string, or the template has no `{}`.
    """

    def __init__(
        self,
        model: str | Path = "openai/clip-vit-base-patch32",
        categories: Categories | None = None,
        template: str = "the sound of a {}",
        embedding_dim: int = 512,
        local_files_only: bool = False,
        *,
        error: type[CopropError] = CheckpointError,
    ) -> None:
        if isinstance(categories, str) or "{}" not in template:
            raise error(
                "Expected categories to be a list of names, or such lists by the clip's name, and "
                f"template a text with {{}} in it, got {categories!r} and {template!r}."
            )
        self.model, self.categories, self.template = str(model), categories, template
        self.embedding_dim, self.local_files_only = embedding_dim, local_files_only
        self._error = error
        self._known: dict[str, Tensor] = {}
        self._loaded: tuple[Any, Any] | None = None

    def words_of(self, clip: Clip) -> list[str]:
        """Return the words of a clip: its own `words`, or else its categories; [] for silence.

        Raises:
            CopropError: An `error`, if it has neither.
        """
        if clip.words is not None:
            return list(clip.words)
        if self.categories is None:
            raise self._error(
                f"A network that is guided by text needs words, but the clip {clip.name!r} has "
                "none. Use control points from a language model that names what sounds (rcpg), a "
                "data set with `words`, or `Clip(words=[...])`."
            )
        if callable(self.categories):
            return list(self.categories(clip))
        if not isinstance(self.categories, Mapping):
            return list(self.categories)
        if clip.name is None or clip.name not in self.categories:
            raise self._error(
                f"The clip {clip.name!r} is not among the categories of {len(self.categories)} "
                f"clips ({', '.join(list(self.categories)[:4])} ...). Add it, with [] if nothing "
                "sounds; for a drop-in call use `with coprop_plugin.naming(*names):`."
            )
        return list(self.categories[clip.name])

    def embed(self, names: Sequence[str]) -> Tensor:
        """Return the text embeddings of names, `[N, embedding_dim]`, each of length 1.

        Raises:
            CopropError: An `error`, if the model's embeddings have another width.
            CheckpointError: If the model cannot be loaded.
        """
        new = [name for name in dict.fromkeys(names) if name not in self._known]
        if new:
            self._known |= dict(zip(new, self._embed(new), strict=True))
        return torch.stack([self._known[name] for name in names])

    @torch.no_grad()
    def _embed(self, names: Sequence[str]) -> Tensor:
        if self._loaded is None:
            self._loaded = _load(self.model, self.local_files_only)
        tokenizer, model = self._loaded
        words = tokenizer(
            [self.template.format(name) for name in names],
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        embeddings = model(
            input_ids=words["input_ids"], attention_mask=words["attention_mask"]
        ).text_embeds.float()
        if embeddings.shape[1] != self.embedding_dim:
            raise self._error(
                f"Expected text embeddings of {self.embedding_dim} channels from {self.model}, got "
                f"{embeddings.shape[1]}. Use `embedding_dim={embeddings.shape[1]}`, or the model "
                "that the network was trained with."
            )
        return F.normalize(embeddings, dim=1)


def _load(source: str, local_files_only: bool) -> tuple[Any, Any]:
    options = dict(local_files_only=local_files_only)
    kind = load_pretrained("AutoConfig", source, **options).model_type
    if kind not in _TEXT_MODELS:
        raise CheckpointError(
            f"Expected a CLIP or CLAP model, got {source!r} of type {kind!r}. Use e.g. "
            "openai/clip-vit-base-patch32 or laion/clap-htsat-unfused."
        )
    tokenizer = load_pretrained("AutoTokenizer", source, **options)
    return tokenizer, load_pretrained(_TEXT_MODELS[kind], source, **options)
