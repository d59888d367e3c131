"""Words in the place of sound: the text-guided variant of Table 4."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coprop_plugin.checkpoints.transformers_models import load_pretrained
from coprop_plugin.errors import CheckpointError, PropagationError
from coprop_plugin.propagation.audio_tokens import SoundTokens
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import Clip

_TEXT_MODELS = {
    "clip": "CLIPTextModelWithProjection",
    "clip_text_model": "CLIPTextModelWithProjection",
    "clap": "ClapTextModelWithProjection",
    "clap_text_model": "ClapTextModelWithProjection",
}

Categories = Sequence[str] | Mapping[str, Sequence[str]] | Callable[[Clip], Sequence[str]]


class TextTokens(nn.Module):
    """What is said to sound, as tokens: one for each category, the same in every frame of a clip.

    The paper tries this against sound (Table 4), with categories that Qwen named, and finds it
    worse; which text encoder it took, it does not say. Here it is that of CLIP or CLAP: its
    projected embedding of each category, of length 1, goes through a trained projection. The
    encoder is frozen, no part of the network's weights, and loaded when it is first asked.

    Args:
        width: D, the channels of a token.
        model: An id or a folder of a CLIP or CLAP model with its tokenizer.
        categories: What sounds: names for every clip, or by the clip's `name`, or a function of the
            clip that returns them, one that asks a language model say. A function cannot be saved.
        template: What is said of a category, `{}`.
        embedding_dim: Channels of the model's projected embeddings.
        local_files_only: Whether to fetch nothing.

    Raises:
        PropagationError: If the categories are one text, or the template has no place for one.
    """

    def __init__(
        self,
        width: int,
        model: str | Path = "openai/clip-vit-base-patch32",
        categories: Categories = (),
        template: str = "the sound of a {}",
        embedding_dim: int = 512,
        local_files_only: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(categories, str) or "{}" not in template:
            raise PropagationError(
                f"Got categories={categories!r} and template={template!r}; wanted a list of names, "
                "or such lists by the clip's name, and a text with {} in it."
            )
        self.width, self.embedding_dim = width, embedding_dim
        self.model, self.categories, self.template = str(model), categories, template
        self.local_files_only = local_files_only
        self.from_text = nn.Linear(embedding_dim, width)
        self.norm = nn.LayerNorm(width)
        self._known: dict[str, Tensor] = {}
        # In a tuple, so that it is no part of this network.
        self._encoder: tuple[Any, Any] | None = None

    def forward(self, categories: Sequence[str], num_frames: int) -> Tensor:
        """Make tokens `[T, N, D]` of N categories; gradients reach the projection."""
        if isinstance(categories, Tensor | str):
            raise PropagationError(
                f"Got a {type(categories).__name__} for a propagator that is guided by words; "
                "wanted names of categories. Train it on what `hear(clip)` gives, or on sound with "
                "tokens='map'."
            )
        embeddings = self._embeddings(categories).to(self.from_text.weight)
        return self.norm(self.from_text(embeddings)).expand(num_frames, -1, -1)

    @torch.no_grad()
    def hear(self, clip: Clip) -> Tensor | None:
        """Make tokens `[T, N, D]` of what is said to sound in a clip, or None if that is nothing.

        Raises:
            PropagationError: If the categories are listed by name, but not those of this clip; or
                the model's embeddings have another width.
            CheckpointError: If the model cannot be loaded.
        """
        categories = self._categories_of(clip)
        return self(categories, clip.num_frames) if categories else None

    def _categories_of(self, clip: Clip) -> list[str]:
        if callable(self.categories):
            return list(self.categories(clip))
        if not isinstance(self.categories, Mapping):
            return list(self.categories)
        if clip.name not in self.categories:
            raise PropagationError(
                f"Got the clip {clip.name!r}, but categories of {len(self.categories)} clips "
                f"({', '.join(list(self.categories)[:4])} ...) without it. Add it, [] if nothing "
                "sounds; around a model's own call say `with coprop_plugin.naming(*names):`."
            )
        return list(self.categories[clip.name])

    def _embeddings(self, categories: Sequence[str]) -> Tensor:
        """Return the text embeddings of categories, `[N, embedding_dim]`, each of length 1."""
        new = [name for name in dict.fromkeys(categories) if name not in self._known]
        if new:
            self._known |= dict(zip(new, self._embed(new), strict=True))
        return torch.stack([self._known[name] for name in categories])

    @torch.no_grad()
    def _embed(self, categories: Sequence[str]) -> Tensor:
        if self._encoder is None:
            self._encoder = _load(self.model, self.local_files_only)
        tokenizer, model = self._encoder
        words = tokenizer(
            [self.template.format(name) for name in categories],
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        embeddings = model(
            input_ids=words["input_ids"], attention_mask=words["attention_mask"]
        ).text_embeds.float()
        if embeddings.shape[1] != self.embedding_dim:
            raise PropagationError(
                f"{self.model} embeds text in {embeddings.shape[1]} channels, this propagator "
                f"takes {self.embedding_dim}. Say `embedding_dim={embeddings.shape[1]}`, or name "
                "the model that it was trained with."
            )
        return F.normalize(embeddings, dim=1)


def _load(source: str, local_files_only: bool) -> tuple[Any, Any]:
    options = dict(local_files_only=local_files_only)
    kind = load_pretrained("AutoConfig", source, **options).model_type
    if kind not in _TEXT_MODELS:
        raise CheckpointError(
            f"Got {source!r}, a model of type {kind!r}; wanted CLIP or CLAP, "
            "openai/clip-vit-base-patch32 or laion/clap-htsat-unfused say."
        )
    tokenizer = load_pretrained("AutoTokenizer", source, **options)
    return tokenizer, load_pretrained(_TEXT_MODELS[kind], source, **options)


def condition(
    audio_encoder: str | Mapping[str, Any] | nn.Module | None,
    width: int,
    tokens: str,
    neighbours: Sequence[int],
    text: Mapping[str, Any] | None,
) -> nn.Module:
    """Return what guides propagation: the sound, or with `tokens="text"` words.

    Args:
        audio_encoder: Of `SoundTokens`; a registered name or a config is built.
        width: Channels of a token.
        tokens: "text", or as in `SoundTokens`.
        neighbours: Of `SoundTokens`.
        text: The options of `TextTokens`, without width.

    Raises:
        PropagationError: If there are options of text, but `tokens` is not "text".
    """
    if tokens == "text":
        return TextTokens(width, **(text or {}))
    if text is not None:
        raise PropagationError(
            f"Got text={dict(text)} with tokens={tokens!r}. Say tokens='text' to be guided by "
            "words, or leave `text` out."
        )
    if isinstance(audio_encoder, str | Mapping):
        audio_encoder = build(MODELS, audio_encoder, verb="conv_map")
    return SoundTokens(audio_encoder, width, tokens, neighbours)
