"""Text tokens instead of audio tokens: the text-guided variant of Table 4."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coprop_plugin.audio.audio_encoders import build_audio_encoder
from coprop_plugin.checkpoints.transformers_models import load_pretrained
from coprop_plugin.errors import CheckpointError, PropagationError
from coprop_plugin.propagation.audio_tokens import SoundTokens
from coprop_plugin.types import AudioEncoder, Clip

_TEXT_MODELS = {
    "clip": "CLIPTextModelWithProjection",
    "clip_text_model": "CLIPTextModelWithProjection",
    "clap": "ClapTextModelWithProjection",
    "clap_text_model": "ClapTextModelWithProjection",
}

Categories = Sequence[str] | Mapping[str, Sequence[str]] | Callable[[Clip], Sequence[str]]
"""Names for every clip, or by the clip's name, or a function of the clip."""

Guidance = Literal["map", "embedding", "text"]
"""What guides propagation: audio tokens (`TokenKind`), or text."""


class TextTokens(nn.Module):
    """Tokens of the sounding categories: one per category, the same in every frame of a clip.

    The paper compares this with audio (Table 4), with categories from Qwen, and finds it worse; it
    does not name its text encoder. Here it is that of CLIP or CLAP: the projected embedding of each
    category, normalised to length 1, goes through a trained projection. The encoder is frozen, not
    part of the network's weights, and loaded on first use.

    Args:
        width: D, the channels of a token.
        model: An id or a folder of a CLIP or CLAP model with its tokenizer.
        categories: Sounding categories: names for every clip, or by the clip's `name`, or a
            function of the clip, e.g. one that queries a language model. A function cannot be
            saved.
        template: The text for a category, with `{}` for its name.
        embedding_dim: Channels of the model's projected embeddings.
        local_files_only: Whether to download nothing.

    Raises:
        PropagationError: If the categories are a single string, or the template has no `{}`.
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
                "Expected categories to be a list of names, or such lists by the clip's name, and "
                f"template a text with {{}} in it, got {categories!r} and {template!r}."
            )
        self.width, self.embedding_dim = width, embedding_dim
        self.model, self.categories, self.template = str(model), categories, template
        self.local_files_only = local_files_only
        self.from_text = nn.Linear(embedding_dim, width)
        self.norm = nn.LayerNorm(width)
        self._known: dict[str, Tensor] = {}
        # In a tuple, so that it is not a submodule.
        self._encoder: tuple[Any, Any] | None = None

    def forward(self, categories: Sequence[str], num_frames: int) -> Tensor:
        """Compute tokens `[T, N, D]` of N categories; gradients reach the projection."""
        if isinstance(categories, Tensor | str):
            raise PropagationError(
                "Expected names of categories for a propagator that is guided by text, got a "
                f"{type(categories).__name__}. Train it on the result of `hear(clip)`, or on audio "
                "with tokens='map'."
            )
        embeddings = self._embeddings(categories).to(self.from_text.weight)
        return self.norm(self.from_text(embeddings)).expand(num_frames, -1, -1)

    @torch.no_grad()
    def hear(self, clip: Clip) -> Tensor | None:
        """Compute tokens `[T, N, D]` of the categories of a clip, or None if there are none.

        Raises:
            PropagationError: If the categories are listed by name, but not for this clip; or the
                model's embeddings have another width.
            CheckpointError: If the model cannot be loaded.
        """
        categories = self._categories_of(clip)
        return self(categories, clip.num_frames) if categories else None

    def _categories_of(self, clip: Clip) -> list[str]:
        if callable(self.categories):
            return list(self.categories(clip))
        if not isinstance(self.categories, Mapping):
            return list(self.categories)
        if clip.name is None or clip.name not in self.categories:
            raise PropagationError(
                f"The clip {clip.name!r} is not among the categories of {len(self.categories)} "
                f"clips ({', '.join(list(self.categories)[:4])} ...). Add it, with [] if nothing "
                "sounds; for a drop-in call use `with coprop_plugin.naming(*names):`."
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
                f"Expected text embeddings of {self.embedding_dim} channels from {self.model}, got "
                f"{embeddings.shape[1]}. Use `embedding_dim={embeddings.shape[1]}`, or the model "
                "that the propagator was trained with."
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


def condition(
    audio_encoder: str | Mapping[str, Any] | AudioEncoder | None,
    width: int,
    tokens: Guidance,
    neighbours: Sequence[int],
    text: Mapping[str, Any] | None,
) -> "SoundTokens | TextTokens":
    """Build the tokens that guide propagation: audio, or with `tokens="text"` text.

    Args:
        audio_encoder: As in `SoundTokens`; a registered name or a config is built.
        width: Channels of a token.
        tokens: "text", or as in `SoundTokens`.
        neighbours: As in `SoundTokens`.
        text: The options of `TextTokens`, without width.

    Raises:
        PropagationError: If text options are given, but `tokens` is not "text".
    """
    if tokens == "text":
        return TextTokens(width, **(text or {}))
    if text is not None:
        raise PropagationError(
            f"text={dict(text)} needs tokens='text', got tokens={tokens!r}. Use tokens='text' for "
            "text guidance, or leave `text` out."
        )
    encoder = None if audio_encoder is None else build_audio_encoder(audio_encoder)
    return SoundTokens(encoder, width, tokens, neighbours)
