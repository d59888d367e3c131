"""Audio tokens of each frame of a clip."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from coprop_plugin.audio.log_mel import clip_log_mel
from coprop_plugin.errors import PropagationError
from coprop_plugin.types import AudioEncoder, Clip

TokenKind = Literal["map", "embedding"]
"""What the audio tokens of a frame are made from; see `SoundTokens`."""

MAP_SIZE = (6, 4)
"""Times and bands of an audio encoder's map of one log-mel example [96, 64]."""
_CHUNK = 64
_PERIODS_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class SoundTokens(nn.Module):
    """Several audio tokens per frame, where Eq. (6) has one, F_a.

    With `tokens="map"`: one for each of the 6 x 4 places of the encoder's map of the frame's
    log-mel example, with learned codes of time and frequency, and one for the embedding of the
    frame and of each of its neighbours, with a code of the seconds between them. Beyond the ends of
    the clip, its first or last frame is repeated. With `tokens="embedding"`: F_a alone, unchanged.

    The audio of an example is defined in `coprop_plugin.audio.log_mel.clip_log_mel`: with either
    sampling the 0.975 s that end about 0.04 s after the frame.

    Args:
        encoder: None if clips have their own embeddings.
        width: D, the channels of a token, where `tokens="map"`.
        tokens: `"map"` or `"embedding"`.
        neighbours: Frames whose embeddings a frame gets, relative to it: (0,) is the paper's form.
            Positive ones lie ahead, which a live stream does not have.
        embedding_dim: Channels of the clips' embeddings, if there is no encoder.

    Raises:
        PropagationError: If `tokens` is neither.
    """

    def __init__(
        self,
        encoder: AudioEncoder | None,
        width: int,
        tokens: TokenKind = "map",
        neighbours: Sequence[int] = (-1, 0),
        embedding_dim: int = 128,
    ) -> None:
        super().__init__()
        if tokens not in get_args(TokenKind):
            raise PropagationError(f"Expected tokens 'map' or 'embedding', got {tokens!r}.")
        self.encoder, self.tokens, self.neighbours = encoder, tokens, tuple(neighbours)
        self.embedding_dim = embedding_dim if encoder is None else encoder.embedding_dim
        self.width = self.embedding_dim if tokens == "embedding" else width
        if tokens == "embedding":
            return
        if encoder is not None:
            self.from_map = nn.Linear(encoder.map_channels, width)
            self.time_code = nn.Parameter(torch.randn(MAP_SIZE[0], width) * 0.1)
            self.band_code = nn.Parameter(torch.randn(MAP_SIZE[1], width) * 0.1)
        self.from_embedding = nn.Linear(self.embedding_dim, width)
        self.lag_code = nn.Linear(2 * len(_PERIODS_S), width)
        self.norm = nn.LayerNorm(width)

    def forward(self, log_mel: Tensor, times: Tensor) -> Tensor:
        """Compute the tokens of all frames of a clip; gradients reach the encoder.

        Args:
            log_mel: `[T, 1, 96, 64]`.
            times: `[T]`, time stamps of the frames in seconds.

        Returns:
            `[T, N, D]`.

        Raises:
            PropagationError: If there is no encoder.
        """
        if self.encoder is None:
            raise PropagationError(
                "Expected an audio encoder for log-mels, got None. Use `hear(clip)` on a clip with "
                "an `audio_embedding`, or build the tokens with an encoder."
            )
        conv_map = self.encoder.conv_map(log_mel)
        return self._tokens(self.encoder.embed(conv_map), times, conv_map)

    @torch.no_grad()
    def hear(self, clip: Clip) -> Tensor | None:
        """Compute tokens `[T, N, D]` of a clip's audio, or None if it has no usable audio.

        Log-mels or the waveform go through the encoder; without an encoder or without either, the
        clip's `audio_embedding` is used if it has the right width.
        """
        like = next(self.parameters(), clip.times)
        if self.encoder is not None and (clip.log_mel is not None or clip.waveform is not None):
            chunks = clip_log_mel(clip).to(like).split(_CHUNK)
            maps = torch.cat([self.encoder.conv_map(chunk) for chunk in chunks])
            embeddings = torch.cat([self.encoder.embed(chunk) for chunk in maps.split(_CHUNK)])
            return self._tokens(embeddings, clip.times, maps)
        own = clip.audio_embedding
        if own is None or own.shape[1:] != (self.embedding_dim,):
            return None
        return self._tokens(own.to(like), clip.times)

    def _tokens(self, embeddings: Tensor, times: Tensor, conv_map: Tensor | None = None) -> Tensor:
        if self.tokens == "embedding":
            return embeddings[:, None]
        tokens = self._of_embeddings(embeddings, times)
        if conv_map is not None:
            tokens = torch.cat([self._of_map(conv_map), tokens], dim=1)
        return self.norm(tokens)

    def _of_map(self, conv_map: Tensor) -> Tensor:
        place = self.time_code[:, None] + self.band_code
        tokens = self.from_map(rearrange(conv_map, "t c time band -> t time band c")) + place
        return tokens.flatten(1, 2)

    def _of_embeddings(self, embeddings: Tensor, times: Tensor) -> Tensor:
        own = torch.arange(len(embeddings), device=embeddings.device)
        near = own[:, None] + own.new_tensor(self.neighbours)
        near = near.clamp(0, len(own) - 1)
        times = times.to(own.device)
        lags_s = (times[near] - times[:, None]).to(embeddings)
        periods_s = lags_s.new_tensor(_PERIODS_S)
        angles = repeat(lags_s, "t n -> t n p", p=len(periods_s)) / periods_s * 2 * torch.pi
        code = self.lag_code(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return self.from_embedding(F.layer_norm(embeddings, embeddings.shape[1:]))[near] + code
