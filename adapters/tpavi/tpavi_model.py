"""TPAVI (Zhou et al., arXiv:2207.05042): our own model, which runs the released weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn.functional import interpolate

from coprop_plugin.adapters.pictures import pair
from coprop_plugin.adapters.released import ReleasedModel
from coprop_plugin.adapters.sound import embedded, optional_audio_encoder
from coprop_plugin.adapters.tpavi.pixel_attention import PixelSoundAttention
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers import ModuleListOf, build_backbone

DILATIONS = (3, 6, 12, 18)


class DilatedSum(nn.Module):
    """Sum of 3x3 convolutions of several dilations over one map."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.branches: ModuleListOf[nn.Conv2d] = ModuleListOf(
            nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation)
            for dilation in DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, width, H, W]."""
        first, *others = self.branches
        total = first(x)
        for branch in others:
            total = total + branch(x)
        return total

    def mean(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the spatial mean [N, width, 1, 1] of `forward`, at little cost.

        A tap of a convolution reads a shifted map, so the mean over all places is that tap's
        weight times the mean of the part that stays inside.
        """
        total = x.new_zeros(())
        for branch in self.branches:
            assert branch.bias is not None
            rows, columns = (
                _inside(side, branch.dilation[0]).to(x) / side for side in x.shape[-2:]
            )
            seen = einsum(x, rows, columns, "n c h w, i h, j w -> n c i j")
            total = total + einsum(seen, branch.weight, "n c i j, o c i j -> n o") + branch.bias
        return rearrange(total, "n c -> n c 1 1")


def _inside(side: int, reach: int) -> Tensor:
    """Return which pixels each of the three taps along an axis reads, `[3, side]` bool."""
    places = torch.arange(side) - reach * torch.tensor([[-1], [0], [1]])
    return (places >= 0) & (places < side)


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions around a shortcut, after a ReLU.

    The released code applies the ReLU in place, so it affects the shortcut, too.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = x.relu()
        return x + self.second(self.first(x).relu())


class Merge(nn.Module):
    """One step of the decoder: join a map of this stride, refine, double the size."""

    def __init__(self, width: int, joins: bool) -> None:
        super().__init__()
        self.lateral = ResidualUnit(width) if joins else None
        self.refine = ResidualUnit(width)

    def forward(self, x: Tensor, lateral: Tensor | None = None) -> Tensor:
        """Map [N, C, H, W], and a map of that shape if it joins one, to [N, C, 2 H, 2 W]."""
        if self.lateral is not None:
            x = x + self.lateral(lateral)
        return interpolate(self.refine(x), scale_factor=2, mode="bilinear", align_corners=True)


class Head(nn.Module):
    """Logits at twice the size of a map."""

    def __init__(self, width: int, widths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        wide, narrow = widths
        self.enter = nn.Conv2d(width, wide, 3, padding=1)
        self.narrow = nn.Conv2d(wide, narrow, 3, padding=1)
        self.leave = nn.Conv2d(narrow, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, num_classes, 2 H, 2 W]."""
        x = interpolate(self.enter(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.leave(self.narrow(x).relu())


class TPAVI(ReleasedModel):
    """Zhou et al.'s baseline: a pyramid decoder with attention to the audio of the whole clip.

    Call and results are those of the released models of all three subsets; see `load_released`.
    Unlike them it runs on any device, never builds the matrix of all pixels by all pixels, takes
    clips of any length, and does not modify maps after returning them.

    Args:
        num_classes: 1 for binary masks, 71 for AVSS.
        backbone: "resnet50", "pvt_v2_b5", or a mapping for another size; see
            `build_backbone`.
        width: Channels of the decoder.
        head_widths: Channels of the two maps before the logits.
        audio_bias: Whether the projection of the audio has a bias; False in AVSS.
        frames_per_clip: Frames of a clip, all of which attend to one another. The released code
            has 5 as a literal, also for AVSS, whose clips of ten frames are two groups.
        audio_encoder: None: the input is VGGish embeddings, as for the released models; a
            registered name ("SmallLogMelEncoder") or a config: the input is log-mels.
        input_size: Side, or height and width, of its training frames.

    Example:
        >>> import torch
        >>> toy = dict(type="resnet18", embedding_size=8, hidden_sizes=(8, 8, 16, 16))
        >>> model = TPAVI(backbone=toy, width=16, head_widths=(8, 8)).eval()
        >>> logits, maps, sounds = model(torch.rand(5, 3, 32, 64), torch.rand(5, 128))
        >>> logits.shape
        torch.Size([5, 1, 32, 64])
    """

    def __init__(
        self,
        num_classes: int = 1,
        *,
        backbone: str | Mapping[str, Any] = "resnet50",
        width: int = 256,
        head_widths: Sequence[int] = (128, 32),
        audio_bias: bool = True,
        frames_per_clip: int = 5,
        audio_encoder: str | Mapping[str, Any] | None = None,
        input_size: int | Sequence[int] = 224,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = dict(
            num_classes=num_classes,
            backbone=backbone if isinstance(backbone, str) else dict(backbone),
            width=width,
            head_widths=tuple(head_widths),
            audio_bias=audio_bias,
            frames_per_clip=frames_per_clip,
            audio_encoder=audio_encoder,
            input_size=pair(input_size),
        )
        self.num_classes, self.frames_per_clip = num_classes, frames_per_clip
        self.input_size = pair(input_size)
        self.audio_encoder = optional_audio_encoder(audio_encoder)
        audio_width = 128 if self.audio_encoder is None else self.audio_encoder.embedding_dim
        self.backbone = build_backbone(backbone, as_released=True)
        self.reduce: ModuleListOf[DilatedSum] = ModuleListOf(
            DilatedSum(wide, width) for wide in self.backbone.widths
        )
        self.attention = nn.ModuleList(
            PixelSoundAttention(width, audio_width, audio_bias=audio_bias)
            for _ in self.backbone.widths
        )
        # From stride 4 to stride 32; the last one, where the decoder begins, has nothing to join.
        self.merge = nn.ModuleList(Merge(width, joins) for joins in (True, True, True, False))
        self.head = Head(width, head_widths, num_classes)

    def forward(
        self,
        frames: Tensor,
        audio: Tensor,
        vid_temporal_mask_flag: Tensor | None = None,
        frames_per_clip: int | None = None,
        wanted: Sequence[int] | None = None,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Segment the frames of some clips.

        Args:
            frames: `[(b t), 3, H, W]`, normalised; sides in multiples of 32.
            audio: VGGish embeddings `[(b t), 128]`, or log-mels `[(b t), 1, 96, 64]` for a model
                with an audio encoder.
            vid_temporal_mask_flag: `[(b t)]`, 0 for padding, whose logits are zero; None: no
                padding.
            frames_per_clip: Another length of the clips of this call. 1 gives the released model's
                result for a frame that is repeated five times, at a fifth of the cost.
            wanted: Requested rows, in eval mode; None is all. The other rows of their clips are
                context, at little more than the cost of the backbone.

        Returns:
            Logits `[(b t), num_classes, H, W]`; four maps `[(b t), width, h, w]` at strides 4 to
            32, after the ReLU as in the released code, both of the rows `wanted` only, if given;
            four projected audio embeddings `[b, t, width]`.

        Raises:
            AdapterError: If the frames are not whole clips, or of an unsupported size.
        """
        length = frames_per_clip or self.frames_per_clip
        _check(frames, audio, length)
        audio = rearrange(embedded(self.audio_encoder, audio), "(b t) c -> b t c", t=length)
        rows = torch.arange(len(frames), device=frames.device)
        rows = rows if wanted is None else rows[list(wanted)]
        flag = vid_temporal_mask_flag
        flag = None if flag is None else rearrange(flag.to(frames), "n -> n 1 1 1")
        requested_flag = None if flag is None else flag[rows]

        maps, sounds = [], []
        stages = zip(self.backbone(frames), self.reduce, self.attention, strict=True)
        for x, reduce, attention in stages:
            if wanted is None:
                x = _unpadded(reduce(x), flag)
                means = x.mean((2, 3), keepdim=True)
            else:
                x, means = reduce(x[rows]), reduce.mean(x)
                x, means = _unpadded(x, requested_flag), _unpadded(means, flag)
            means = rearrange(means, "(b t) c 1 1 -> b t c", t=length)
            x, sound = attention(x, means, audio, rows)
            maps.append(_unpadded(x, requested_flag).relu())
            sounds.append(sound)

        x = None
        for merge, lateral in zip(reversed(self.merge), reversed(maps), strict=True):
            x = merge(lateral) if x is None else merge(x, lateral)
            x = _unpadded(x, requested_flag)
        return _unpadded(self.head(x), requested_flag), maps, sounds


def _unpadded(x: Tensor, flag: Tensor | None) -> Tensor:
    return x if flag is None else x * flag


def _check(frames: Tensor, audio: Tensor, length: int) -> None:
    if frames.ndim != 4 or len(frames) % length or frames.shape[-2] % 32 or frames.shape[-1] % 32:
        raise AdapterError(
            f"Expected frames [N, 3, H, W] for TPAVI, N a multiple of its {length} frames per "
            f"clip, H and W of 32, got {list(frames.shape)}. Resize them, or pass "
            "`frames_per_clip=1` for single frames."
        )
