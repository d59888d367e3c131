"""CATR: our own network, which runs the released weights on any device, also on single frames."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from coprop_plugin.adapters.catr.clip_encoder import ClipEncoder
from coprop_plugin.adapters.catr.frame_attention import (
    EmbeddingTokens,
    EncoderLayer,
    QueryDecoder,
    sine_places,
)
from coprop_plugin.adapters.catr.mask_features import MaskDecoder
from coprop_plugin.adapters.pictures import pair
from coprop_plugin.adapters.released import ReleasedModel
from coprop_plugin.adapters.sound import embedded, optional_audio_encoder
from coprop_plugin.adapters.tpavi.tpavi_model import DilatedSum
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers.backbones import build_backbone


class CATR(ReleasedModel):
    """Combinatorial-dependence audio-queried transformer (Li et al., arXiv:2309.09709).

    The network of the released code, which differs from the paper: queries attend to the tokens
    of each frame, its pixels and the five audio tokens of its clip; mask features come from the
    pixels of a clip fused with its audio. Every query predicts a mask and a score that this is the
    sounding object.

    Arguments and return value are those of the released model. Single frames are accepted, too:
    `T = 1` computes the result of a clip that repeats the frame and its audio five times, at a
    fifth of the cost. Unused parts of the released model are left out.

    Args:
        backbone: Image backbone, a name or a config of `build_backbone`.
        width: Channels of the transformer, a multiple of 64.
        heads: Attention heads within a frame and of the queries.
        fusion_heads: Attention heads between pixels and audio.
        hidden: Hidden channels of the feed-forward parts, within a frame and of the queries.
        clip_hidden: The same over a clip.
        layers: Encoder layers within a frame; there are always three over a clip.
        decoder_layers: Decoder layers, each with a prediction.
        num_queries: Q.
        mask_width: Channels of the mask features.
        clip_length: Frames of a clip, and audio tokens that every frame attends to.
        dropout: During training.
        audio_encoder: None: the input is VGGish embeddings, as for the released models; a
            registered name ("SmallLogMelEncoder") or a config: the input is log-mels.
        input_size: Side, or height and width, of its training frames.

    Example:
        >>> model = CATR(
        ...     dict(type="pvt_v2_b0", depths=(1, 1, 1, 1)), width=64, hidden=64, clip_hidden=64
        ... ).eval()
        >>> frames, sounds = torch.rand(2, 1, 3, 64, 96), torch.rand(2, 1, 128)
        >>> masks, scores = model.answer(frames, sounds)[-1]
        >>> masks.shape, scores.shape
        (torch.Size([2, 1, 50, 4, 6]), torch.Size([2, 1, 50, 2]))
    """

    def __init__(
        self,
        backbone: str | Mapping[str, Any] = "pvt_v2_b5",
        *,
        width: int = 256,
        heads: int = 8,
        fusion_heads: int = 8,
        hidden: int = 2048,
        clip_hidden: int = 2048,
        layers: int = 3,
        decoder_layers: int = 3,
        num_queries: int = 50,
        mask_width: int = 64,
        clip_length: int = 5,
        dropout: float = 0.1,
        audio_encoder: str | Mapping[str, Any] | None = None,
        input_size: int | Sequence[int] = 448,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = dict(
            backbone=backbone if isinstance(backbone, str) else dict(backbone),
            width=width,
            heads=heads,
            fusion_heads=fusion_heads,
            hidden=hidden,
            clip_hidden=clip_hidden,
            layers=layers,
            decoder_layers=decoder_layers,
            num_queries=num_queries,
            mask_width=mask_width,
            clip_length=clip_length,
            dropout=dropout,
            audio_encoder=audio_encoder,
            input_size=pair(input_size),
        )
        self.clip_length, self.input_size = clip_length, pair(input_size)
        self.audio_encoder = optional_audio_encoder(audio_encoder)
        audio_width = 128 if self.audio_encoder is None else self.audio_encoder.embedding_dim
        self.backbone = build_backbone(backbone, as_released=True)
        # Strides 8, 16 and 32.
        self.reduce = nn.ModuleList(DilatedSum(c, width) for c in self.backbone.widths[1:])
        self.enter = nn.Conv2d(width, width, 1)
        self.hear = EmbeddingTokens(width, dropout, audio_width)
        self.frame_layers = nn.ModuleList(
            EncoderLayer(width, heads, hidden, dropout) for _ in range(layers)
        )
        self.clip_encoder = ClipEncoder(width, heads, fusion_heads, clip_hidden, dropout)
        self.decoder = QueryDecoder(width, heads, hidden, decoder_layers, num_queries, dropout)
        self.mask_decoder = MaskDecoder(width, mask_width)
        self.kernel = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, mask_width)
        )
        self.score = nn.Linear(width, 2)

    def forward(
        self, video_samples: Any, audio_pad: Tensor, x: Tensor, audio_feature: Tensor
    ) -> dict[str, Any]:
        """Segment clips; arguments have the names of the released model's.

        Args:
            video_samples: `.tensors` `[T, B, 3, H, W]`, of which only the shape is used, and
                `.mask` `[T, B, H, W]` bool, True for padding.
            audio_pad: `[B, T]` bool, all False.
            x: Frames `[(t b), 3, H, W]`, normalised.
            audio_feature: VGGish embeddings `[(b t), 128]`, or log-mels `[(b t), 1, 96, 64]`
                for a model with an audio encoder.

        Returns:
            `pred_masks`, logits `[T, B, Q, H / 16, W / 16]`, `pred_is_referred`,
            `[T, B, Q, 2]`, whose softmax has the score of a query in channel 0, and
            `aux_outputs`, a list of the same from earlier decoder layers.

        Raises:
            AdapterError: If T is neither 1 nor `clip_length`, lengths disagree, or audio is
                padded.
        """
        length, clips = video_samples.tensors.shape[:2]
        if audio_pad.any():
            raise AdapterError(
                "CATR cannot leave out padded audio. Pass the audio of "
                f"{self.clip_length} frames per clip; repeat the last one if there are fewer."
            )
        if len(x) != length * clips or len(audio_feature) != length * clips:
            raise AdapterError(
                "Expected frames [(t b), 3, H, W] and VGGish embeddings [(b t), 128] in a call of "
                f"CATR, got {len(x)} frames and {len(audio_feature)} embeddings for {clips} clips "
                f"of {length} frames."
            )
        outside = video_samples.mask.to(x.device)
        predictions = self.answer(
            rearrange(x, "(t b) c h w -> b t c h w", b=clips),
            rearrange(audio_feature, "(b t) ... -> b t ...", b=clips),
            outside.transpose(0, 1) if outside.any() else None,
        )
        *earlier, last = (
            {
                "pred_masks": rearrange(masks, "b t ... -> t b ..."),
                "pred_is_referred": rearrange(scores, "b t ... -> t b ..."),
            }
            for masks, scores in predictions
        )
        return last | {"aux_outputs": earlier}

    def answer(
        self,
        frames: Tensor,
        sounds: Tensor,
        outside: Tensor | None = None,
        wanted: Sequence[int] | None = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Predict masks and scores; control flow does not depend on values, so it compiles whole.

        Args:
            frames: `[B, T, 3, H, W]`, normalised.
            sounds: VGGish embeddings `[B, T, 128]`, or log-mels `[B, T, 1, 96, 64]`.
            outside: `[B, T, H, W]` bool, True for padding; None if there is none.
            wanted: Requested rows of the flat `(b t)`; None is all. The other rows of their clips
                are context, without a prediction of their own.

        Returns:
            For each decoder layer, mask logits `[B, T, Q, H / 16, W / 16]` and scores
            `[B, T, Q, 2]`; for K requested rows, `[K, 1, Q, ...]`.

        Raises:
            AdapterError: If T is neither 1 nor `clip_length`.
        """
        clips, length = frames.shape[:2]
        if length not in (1, self.clip_length):
            raise AdapterError(
                f"Expected clips of {self.clip_length} frames, as in training, or single frames "
                f"in a call of CATR, got {length} frames. Repeat the last frame of a shorter clip."
            )
        _, eighth, sixteenth, coarsest = self.backbone(rearrange(frames, "b t ... -> (b t) ..."))
        eighth, sixteenth, coarsest = (
            reduce(maps)
            for reduce, maps in zip(self.reduce, (eighth, sixteenth, coarsest), strict=True)
        )
        pixels = rearrange(self.enter(eighth), "(b t) c h w -> b t (h w) c", b=clips)
        sounds = embedded(self.audio_encoder, sounds.flatten(0, 1))
        audio = rearrange(self.hear(sounds), "(b t) c -> b t c", b=clips)
        if length == 1:
            audio = repeat(audio, "b 1 c -> b n c", n=self.clip_length)
        place, hidden = self._layout(audio, eighth.shape[-2:], outside)

        feature = self.clip_encoder(pixels, audio, place, eighth.shape[-2], hidden)

        tokens = torch.cat([pixels, repeat(audio, "b n c -> b t n c", t=length)], dim=2)
        tokens, place = tokens.flatten(0, 1), place.flatten(0, 1)
        hidden = None if hidden is None else hidden.flatten(0, 1)
        if wanted is not None:
            # From here on, frames are independent.
            rows = list(wanted)
            feature, coarsest, sixteenth, tokens = (
                x[rows] for x in (feature, coarsest, sixteenth, tokens)
            )
            place = place if len(place) == 1 else place[rows]
            hidden = None if hidden is None else hidden[rows]
            clips = len(rows)

        feature = self.mask_decoder(feature, coarsest, sixteenth)
        feature = rearrange(feature, "(b t) c h w -> b t c h w", b=clips)
        for layer in self.frame_layers:
            tokens = layer(tokens, place, hidden)
        predictions = []
        for queries in self.decoder(tokens, place, hidden):
            queries = rearrange(queries, "(b t) q c -> b t q c", b=clips)
            masks = einsum(self.kernel(queries), feature, "b t q c, b t c h w -> b t q h w")
            predictions.append((masks, self.score(queries)))
        return predictions

    def _layout(
        self, audio: Tensor, size: tuple[int, int], outside: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return position codes of the tokens of every frame, zero for audio, and their padding."""
        if outside is None:
            picture = torch.zeros(1, 1, *size, dtype=torch.bool, device=audio.device)
        else:
            picture = interpolate(outside.float(), size, mode="nearest").bool()
        frames = picture.shape[1]
        place = sine_places(picture.flatten(0, 1), audio.shape[-1]).to(audio)
        place = pad(place, (0, 0, 0, self.clip_length))
        place = rearrange(place, "(b t) s c -> b t s c", t=frames)
        hidden = None if outside is None else pad(picture.flatten(2), (0, self.clip_length))
        return place, hidden
