"""AVSegFormer: our own network, which runs the released weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.adapters.avsegformer.head import (
    MaskFeature,
    MaskHead,
    PixelEncoder,
    QueryDecoder,
)
from coprop_plugin.adapters.avsegformer.wav_files import wav_log_mels
from coprop_plugin.adapters.pictures import pair
from coprop_plugin.adapters.released import ReleasedModel
from coprop_plugin.adapters.sound import embedded
from coprop_plugin.audio.audio_encoders import build_audio_encoder
from coprop_plugin.audio.log_mel import EXAMPLE_FRAMES, NUM_BANDS
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers.backbones import build_backbone
from coprop_plugin.registry import MODELS

BINARY_SIZE, SEMANTIC_SIZE = 512, 224


@MODELS.register_module(name=["AVSegFormer"])
class AVSegFormer(ReleasedModel):
    """Audio-visual segmentation with audio-conditioned queries (Gao et al., arXiv:2307.01146).

    Every frame is segmented by itself. Arguments and return value of the call are those of the
    released model, and the default sizes too; other sizes are for training from scratch. Unlike
    the released code, it takes single frames, runs on any device without a compiled op, and has no
    unused weights.

    Args:
        num_classes: C: 1 for binary masks (S4, MS3), 71 for AVSS, whose class 0 is the background.
        backbone: Image backbone: "resnet50" or "pvt_v2_b5" as released, or another size; see
            `build_backbone`.
        audio_encoder: A registered name ("VGGish", "SmallLogMelEncoder") or a config.
        width: Channels of tokens and queries, a multiple of 8.
        num_queries: Q.
        heads: Attention heads, in every attention.
        layers: Layers of the encoder, of the audio conditioning and of the decoder, each.
        points: Sampling points per encoder head and map.
        hidden: Hidden channels of the feed-forward parts of encoder and decoder, and of the mask
            head.
        listening_hidden: Hidden channels of the feed-forward parts of the audio conditioning.
        dropout: In encoder and decoder, during training.
        clip_length: Frames of a clip in a call of the released code: 5, and 10 for AVSS.
        freeze_audio: Compute no gradients for the audio encoder, as in the released training.
        input_size: Side, or height and width, of its training frames; None is the size at which
            the released models are evaluated: 512 for binary masks, 224 for AVSS.

    Raises:
        AdapterError: If a number is out of range, or channels do not divide among heads.
        UnknownNameError: If the backbone or the audio encoder is unknown.

    Example:
        >>> model = AVSegFormer(
        ...     backbone=dict(type="resnet18", embedding_size=8, hidden_sizes=(8, 8, 16, 16)),
        ...     audio_encoder=dict(type="SmallLogMelEncoder", width=4),
        ...     width=16, num_queries=4, heads=2, layers=1, hidden=32, listening_hidden=32,
        ... ).eval()
        >>> logits, mask_feature = model(torch.zeros(1, 1, 96, 64), torch.rand(1, 3, 64, 90))
        >>> logits.shape, mask_feature.shape
        (torch.Size([1, 1, 64, 92]), torch.Size([1, 16, 16, 23]))
    """

    def __init__(
        self,
        num_classes: int = 1,
        *,
        backbone: str | Mapping[str, Any] = "resnet50",
        audio_encoder: str | Mapping[str, Any] = "VGGish",
        width: int = 256,
        num_queries: int = 300,
        heads: int = 8,
        layers: int = 6,
        points: int = 4,
        hidden: int = 2048,
        listening_hidden: int = 1024,
        dropout: float = 0.1,
        clip_length: int = 5,
        freeze_audio: bool = True,
        input_size: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        _check(width, heads, dropout, num_classes, num_queries, layers, points, clip_length)
        self.config: dict[str, Any] = dict(
            num_classes=num_classes,
            backbone=backbone,
            audio_encoder=audio_encoder,
            width=width,
            num_queries=num_queries,
            heads=heads,
            layers=layers,
            points=points,
            hidden=hidden,
            listening_hidden=listening_hidden,
            dropout=dropout,
            clip_length=clip_length,
            freeze_audio=freeze_audio,
            input_size=None if input_size is None else pair(input_size),
        )
        released_size = BINARY_SIZE if num_classes == 1 else SEMANTIC_SIZE
        self.input_size = pair(input_size or released_size)
        self.num_classes, self.clip_length = num_classes, clip_length
        self.freeze_audio = freeze_audio
        self.backbone = build_backbone(backbone, as_released=True)
        encoder = build_audio_encoder(audio_encoder)
        self.audio_encoder = encoder
        self.project_audio = nn.Linear(encoder.embedding_dim, width)
        fine, *coarse = self.backbone.widths
        self.encoder = PixelEncoder(coarse, width, heads, layers, points, hidden, dropout)
        self.queries = QueryDecoder(
            num_queries, width, heads, layers, listening_hidden, hidden, dropout
        )
        self.mask_feature = MaskFeature(fine, width, heads)
        self.masks = MaskHead(num_classes, num_queries, width, hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all parts but the backbones as the released training does."""
        for part in (self.encoder, self.queries, self.mask_feature, self.masks):
            for name, parameter in part.named_parameters():
                # Offsets and codes have their own initialisation.
                if parameter.dim() > 1 and ".attention." not in name and "level_code" not in name:
                    nn.init.xavier_uniform_(parameter)

    def forward(
        self,
        audio: Tensor | Sequence[str | Path],
        frames: Tensor,
        vid_temporal_mask_flag: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Segment frames, each with its own audio.

        Args:
            audio: Log-mel examples `[N, 1, 96, 64]`, one per frame; or sound files, one per clip
                of `clip_length` frames.
            frames: `[N, 3, H, W]`, normalised by the mean and deviation of ImageNet, of any size.
            vid_temporal_mask_flag: `[N]`, 0 for padding, whose outputs are zero.

        Returns:
            Logits `[N, C, H', W']`, H' and W' the sides rounded up to fours; and the mask feature
            `[N, width, H' / 4, W' / 4]`.

        Raises:
            AdapterError: If the shapes are not as above, or a sound file is longer than a clip.
            MediaError: If a sound file cannot be read.
        """
        if not isinstance(audio, Tensor):
            audio = wav_log_mels(audio, self.clip_length).to(frames)
        check_call(audio, frames)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_audio):
            embedding = embedded(self.audio_encoder, audio)
        sound = self.project_audio(embedding)[:, None]
        maps = self.backbone(frames)
        real = None if vid_temporal_mask_flag is None else vid_temporal_mask_flag.view(-1, 1, 1, 1)
        if real is not None:
            maps = [x * real.to(x.dtype) for x in maps]
        fine, *coarse = maps
        pixels, encoded = self.encoder(coarse)
        queries = self.queries(sound, pixels)
        feature = self.mask_feature(fine, encoded, sound)
        logits = self.masks(feature, queries)
        if real is None:
            return logits, feature
        return logits * real.to(logits.dtype), feature * real.to(feature.dtype)


def _check(width: int, heads: int, dropout: float, *counts: int) -> None:
    if min(counts) < 1 or width % 8 or width % heads or not 0 <= dropout < 1:
        raise AdapterError(
            "Expected a width that is a multiple of 8 and of the heads, dropout in [0, 1), and "
            "num_classes, num_queries, layers, points and clip_length of 1 or more; got "
            f"width={width}, heads={heads}, dropout={dropout} and {list(counts)}. Use e.g. "
            "width=256, heads=8."
        )


def check_call(log_mel: Tensor, frames: Any) -> None:
    """Check log-mels and frames of a call.

    Raises:
        AdapterError: If they are not log-mels `[N, 1, 96, 64]` and frames `[N, 3, H, W]`.
    """
    came = list(frames.shape) if isinstance(frames, Tensor) else type(frames).__name__
    if (
        log_mel.shape[1:] != (1, EXAMPLE_FRAMES, NUM_BANDS)
        or not isinstance(frames, Tensor)
        or frames.ndim != 4
        or frames.shape[1] != 3
        or len(log_mel) != len(frames)
    ):
        raise AdapterError(
            f"Expected log-mels [N, 1, {EXAMPLE_FRAMES}, {NUM_BANDS}] first, one per frame, then "
            "normalised frames [N, 3, H, W] in a call of AVSegFormer, got log-mels "
            f"{list(log_mel.shape)} and frames {came}."
        )
