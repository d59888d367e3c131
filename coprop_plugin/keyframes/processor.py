"""The Keyframe Processor: segmentation of the sounding objects in one frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.audio.audio_encoders import build_audio_encoder
from coprop_plugin.audio.log_mel import clip_log_mel
from coprop_plugin.audio.text_encoder import SILENCE
from coprop_plugin.checkpoints import Pretrained
from coprop_plugin.errors import KeyframeError
from coprop_plugin.keyframes.cross_attention import EncoderLayer, SoundFusion, sine_code
from coprop_plugin.keyframes.frame_inputs import check_input, check_words
from coprop_plugin.keyframes.frame_tokens import FrameSound, FrameWords
from coprop_plugin.keyframes.mask_decoder import LayerPrediction, PixelDecoder, QueryDecoder
from coprop_plugin.layers.backbones import build_backbone
from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.layers.frame_batches import segment_in_batches
from coprop_plugin.layers.normalisation import normalise
from coprop_plugin.layers.picture_size import resized
from coprop_plugin.registry import MODELS
from coprop_plugin.types import AudioEncoder, Clip, checked_class_names

_SMALLEST = 32


@dataclass(frozen=True)
class KeyframePrediction:
    """Prediction of the Keyframe Processor, with the outputs that training needs.

    Attributes:
        logits: `[B, C, H, W]` float32, at the frames' size.
        sounding: `[B, O]` logits that each class of objects sounds and is visible; O is 1 for a
            binary head, C - 1 for a semantic one. No pixel of a class is more probable.
        layer_logits: `[B, C, h, w]` of each decoder layer including the last, before enlarging: h
            and w are about a quarter of H and W.
        dense_logits: `[B, C, h, w]` from the mask feature without queries, None outside training.
            For an auxiliary loss only, which trains the fused maps before the queries.
    """

    logits: Tensor
    sounding: Tensor
    layer_logits: tuple[Tensor, ...]
    dense_logits: Tensor | None = None


@MODELS.register_module(name=["KeyframeProcessor", "keyframe_processor"])
class KeyframeProcessor(Pretrained, nn.Module):
    """Eq. (2): segments the sounding objects, from a frame and the second of audio before it.

    Section 3.3 of Co-Prop: image and audio features, fused by cross-attention at each layer; a
    transformer encoder over the two coarsest layers with the audio tokens beside the pixels;
    audio-queried decoding. It is a `KeyframeBackend`, used as it is by `wrap`; with
    `control_points=dict(type="every_n", n=1)` it is a bare audio-visual segmentation model.

    The paper does not give layers and widths. Where F_a is one vector per frame in the paper we
    differ (see `FrameSound` and `SoundFusion`), and in how queries form masks (see `QueryDecoder`).

    Args:
        num_classes: C. 1 is a binary head; more is a semantic one, with 0 the background.
        class_names: Names of the classes for reports and exports, the background's first.
        backbone: Image backbone: "small", "resnet18", "resnet50", "pvt_v2_b0" to "pvt_v2_b5", or a
            mapping with options; see `build_backbone`.
        audio_encoder: A registered name ("SmallLogMelEncoder", "VGGish"), a config, or a module
            with their interface. Names and configs build untrained encoders.
        guidance: `"audio"`; or `"text"`, words in the place of audio (Table 4): the `words` of a
            clip, or the `categories` in `text`.
        text: Options of `TextEncoder`, where `guidance="text"`.
        width: Channels of tokens and queries, a multiple of 8.
        mask_width: Channels of the maps at strides 4 and 8 and of the mask feature, a multiple of
            8.
        num_queries: Number of queries; each may detect an object.
        encoder_layers: Transformer layers over the coarse maps.
        decoder_layers: Decoder layers.
        heads: Attention heads, in every attention.
        max_size: In `segment_keyframes`, frames with a longer long edge are shrunk to it, and the
            logits enlarged again. None for no limit.
        input_size: In `segment_keyframes`, height and width to which every frame is squashed, as
            in AVSBench with (224, 224). Takes precedence over `max_size`.
        frames_at_once: In `segment_keyframes`, maximum number of frames per batch.

    Raises:
        KeyframeError: If a number is out of range, channels do not divide among heads, or the
            number of class names is not the number of classes.
        UnknownNameError: If the backbone or the audio encoder is unknown.
        CheckpointError: If weights that `backbone` names cannot be loaded.

    Example:
        >>> import torch
        >>> processor = KeyframeProcessor(width=32, mask_width=16, num_queries=4).eval()
        >>> processor(torch.rand(1, 3, 45, 64), torch.zeros(1, 1, 96, 64)).shape
        torch.Size([1, 1, 45, 64])
    """

    context = "frame"
    """The prediction of a frame depends on that frame and its audio only."""

    def __init__(
        self,
        num_classes: int = 1,
        *,
        class_names: Sequence[str] | None = None,
        backbone: str | Mapping[str, Any] = "small",
        audio_encoder: str | Mapping[str, Any] | AudioEncoder = "SmallLogMelEncoder",
        guidance: Literal["audio", "text"] = "audio",
        text: Mapping[str, Any] | None = None,
        width: int = 128,
        mask_width: int = 64,
        num_queries: int = 12,
        encoder_layers: int = 2,
        decoder_layers: int = 3,
        heads: int = 4,
        max_size: int | None = 512,
        input_size: Sequence[int] | None = None,
        frames_at_once: int = 8,
    ) -> None:
        super().__init__()
        _check(num_classes, num_queries, decoder_layers, frames_at_once, (width, mask_width), heads)
        _check_sizes(max_size, input_size)
        self.class_names = checked_class_names(class_names, num_classes, KeyframeError)
        self.config: dict[str, Any] = dict(
            num_classes=num_classes,
            class_names=self.class_names,
            backbone=_without_pretrained(backbone),
            audio_encoder=audio_encoder,
            width=width,
            mask_width=mask_width,
            num_queries=num_queries,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers,
            heads=heads,
            max_size=max_size,
            input_size=None if input_size is None else tuple(input_size),
            frames_at_once=frames_at_once,
        )
        self.num_classes, self.max_size = num_classes, max_size
        self.input_size, self.frames_at_once = self.config["input_size"], frames_at_once
        self.sound: FrameSound | FrameWords
        if guidance == "text":
            self.sound = FrameWords(width, **(text or {}))
            self.config |= dict(guidance=guidance, text=text)
        else:
            self.sound = FrameSound(build_audio_encoder(audio_encoder), width)
        self.backbone = build_backbone(backbone)
        widths = (mask_width, mask_width, width, width)
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.GroupNorm(8, out))
            for wide, out in zip(self.backbone.widths, widths, strict=True)
        )
        self.fusions = nn.ModuleList(SoundFusion(out, width, heads) for out in widths)
        self.layer_code = nn.Parameter(torch.randn(2, width) * 0.5)
        self.encoder = nn.ModuleList(EncoderLayer(width, heads) for _ in range(encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.pixels = PixelDecoder(widths[:3], mask_width)
        self.queries = QueryDecoder(
            width,
            mask_width,
            num_queries,
            num_objects=max(1, num_classes - 1),
            layers=decoder_layers,
            heads=heads,
            background=num_classes > 1,
        )
        self.dense = nn.Conv2d(mask_width, num_classes, 1)

    def forward(
        self,
        frames: Tensor,
        log_mel: Tensor | None = None,
        words: Sequence[Sequence[str]] | None = None,
    ) -> Tensor:
        """Segment frames [B, 3, H, W] in [0, 1] with log-mels [B, 1, 96, 64]: [B, C, H, W]."""
        return self.predict(frames, log_mel, words).logits

    def predict(
        self,
        frames: Tensor,
        log_mel: Tensor | None = None,
        words: Sequence[Sequence[str]] | None = None,
    ) -> KeyframePrediction:
        """Segment frames, with the outputs that training needs.

        Args:
            frames: `[B, 3, H, W]`, RGB in [0, 1], of any size.
            log_mel: `[B, 1, 96, 64]`, the VGGish example of each frame.
            words: For text guidance, instead of log-mels: the names of what sounds in each frame,
                equally many for all.

        Raises:
            KeyframeError: If the shapes are not as above, or there are no words for text guidance.
        """
        size = frames.shape[-2:]
        if isinstance(self.sound, FrameWords):
            sound = self.sound(check_words(frames, words))
        else:
            sound = self.sound(check_input(frames, log_mel))
        maps = self._fused_maps(frames, sound)
        memory, coarse = self._encode(maps[2], maps[3], sound)
        feature = self.pixels([maps[0], maps[1], coarse])
        layers: list[LayerPrediction] = self.queries(sound, memory, feature)
        logits = F.interpolate(layers[-1].logits, size, mode="bilinear", align_corners=False)
        return KeyframePrediction(
            logits=logits,
            sounding=layers[-1].sounding,
            layer_logits=tuple(layer.logits for layer in layers),
            dense_logits=self.dense(feature).float() if self.training else None,
        )

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment the frames `indices` of `clip`, independently of one another.

        Always in eval mode and without gradients.

        Returns:
            Logits `[K, C, H, W]` float32 at the clip's size, on the module's device.

        Raises:
            ClipError: If an index lies outside the clip, or the clip has neither waveform nor
                log-mels.
            KeyframeError: If the processor is guided by text, and the clip has no words.
        """
        indices = clip.checked(indices)
        like = next(self.parameters())
        size = self._network_size(clip.size)

        def segment(batch: Sequence[int]) -> Tensor:
            frames = resized(clip.rgb(batch).to(like), size)
            if isinstance(self.sound, FrameWords):
                names = self.sound.texts.words_of(clip) or [SILENCE]
                return resized(self(frames, words=[names] * len(frames)), clip.size)
            return resized(self(frames, clip_log_mel(clip, batch).to(like)), clip.size)

        shape = (0, self.num_classes, *clip.size)
        empty = torch.zeros(shape, dtype=torch.float32, device=like.device)
        with torch.no_grad(), evaluating(self):
            return segment_in_batches(segment, indices, self.frames_at_once, empty)

    def _fused_maps(self, frames: Tensor, sound: Tensor) -> list[Tensor]:
        """Return the backbone's maps, reduced and fused with the sound, finest first."""
        height, width = (max(side, _SMALLEST) for side in frames.shape[-2:])
        frames = resized(frames, (height, width))
        maps = self.backbone(normalise(frames))
        layers = zip(maps, self.reduce, self.fusions, strict=True)
        return [fuse(reduce(x), sound) for x, reduce, fuse in layers]

    def _encode(self, fine: Tensor, coarse: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the maps at strides 16 and 32 together with the audio tokens.

        Returns:
            The pixels `[B, M, C]` of both with position codes, for the queries; and the finer map
            `[B, C, h, w]`.
        """
        maps = (fine, coarse)
        height, width = fine.shape[-2:]
        places = [
            sine_code(x.shape[-2], x.shape[-1], x.shape[1]).to(x) + code
            for x, code in zip(maps, self.layer_code, strict=True)
        ]
        place = torch.cat([*places, torch.zeros_like(sound[0])])
        pixels = [rearrange(x, "b c h w -> b (h w) c") for x in maps]
        tokens = torch.cat([*pixels, sound], dim=1)
        for layer in self.encoder:
            tokens = layer(tokens, place)
        tokens = self.encoder_norm(tokens)
        encoded = rearrange(tokens[:, : height * width], "b (h w) c -> b c h w", h=height)
        num_pixels = len(place) - sound.shape[1]
        return (tokens + place)[:, :num_pixels], fine + encoded

    def _network_size(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.input_size is not None:
            return self.input_size
        if self.max_size is None or max(size) <= self.max_size:
            return size
        scale = self.max_size / max(size)
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _check(
    num_classes: int,
    num_queries: int,
    decoder_layers: int,
    frames_at_once: int,
    widths: tuple[int, int],
    heads: int,
) -> None:
    if min(num_classes, num_queries, decoder_layers, frames_at_once) < 1:
        raise KeyframeError(
            "Expected 1 or more for each of num_classes, num_queries, decoder_layers and "
            f"frames_at_once, got {num_classes}, {num_queries}, {decoder_layers} and "
            f"{frames_at_once}. One class is a binary head, without a background class."
        )
    if any(width % 8 or width % heads for width in widths):
        raise KeyframeError(
            "Expected width and mask_width to be multiples of 8 and of heads, got "
            f"width={widths[0]}, mask_width={widths[1]}, heads={heads}. Use e.g. width=128, "
            "mask_width=64, heads=4."
        )


def _check_sizes(max_size: int | None, input_size: Sequence[int] | None) -> None:
    if input_size is not None and (len(input_size) != 2 or min(input_size) < 1):
        raise KeyframeError(
            f"Expected input_size to be height and width in pixels, e.g. (224, 224), or None for "
            f"the frames' own size, got {input_size}."
        )
    if max_size is not None and max_size < 1:
        raise KeyframeError(
            "Expected max_size to be the long edge in pixels, e.g. 512, or None for no limit, got "
            f"{max_size}."
        )


def _without_pretrained(backbone: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """Return the config of the backbone without weights, which are loaded afterwards."""
    if isinstance(backbone, str):
        return backbone
    return {name: value for name, value in backbone.items() if name != "pretrained"}
