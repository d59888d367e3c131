"""Text tokens instead of audio tokens: the text-guided variant of Table 4."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coprop_plugin.audio.audio_encoders import build_audio_encoder
from coprop_plugin.audio.text_encoder import Categories, TextEncoder
from coprop_plugin.errors import PropagationError
from coprop_plugin.propagation.audio_tokens import SoundTokens
from coprop_plugin.types import AudioEncoder, Clip

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
        model: As in `TextEncoder`, like the others.
        categories: Sounding categories of clips that have no `words`.
        template: The text for a category.
        embedding_dim: Channels of the model's projected embeddings.
        local_files_only: Whether to download nothing.

    Raises:
        PropagationError: If the categories are a single string, or the template has no `{}`.
    """

    def __init__(
        self,
        width: int,
        model: str | Path = "openai/clip-vit-base-patch32",
        categories: Categories | None = None,
        template: str = "the sound of a {}",
        embedding_dim: int = 512,
        local_files_only: bool = False,
    ) -> None:
        super().__init__()
        self.texts = TextEncoder(
            model, categories, template, embedding_dim, local_files_only, error=PropagationError
        )
        self.width = width
        self.from_text = nn.Linear(embedding_dim, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, categories: Sequence[str], num_frames: int) -> Tensor:
        """Compute tokens `[T, N, D]` of N categories; gradients reach the projection."""
        if isinstance(categories, Tensor | str):
            raise PropagationError(
                "Expected names of categories for a propagator that is guided by text, got a "
                f"{type(categories).__name__}. Train it on the result of `hear(clip)`, or on audio "
                "with tokens='map'."
            )
        embeddings = self.texts.embed(categories).to(self.from_text.weight)
        return self.norm(self.from_text(embeddings)).expand(num_frames, -1, -1)

    @torch.no_grad()
    def hear(self, clip: Clip) -> Tensor | None:
        """Compute tokens `[T, N, D]` of the words of a clip, or None if nothing sounds.

        Raises:
            PropagationError: If the clip has no words; or the model's embeddings have another
                width.
            CheckpointError: If the model cannot be loaded.
        """
        words = self.texts.words_of(clip)
        return self(words, clip.num_frames) if words else None


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
