"""The network of the change detector: changes of the set of sounding sources, every 40 ms."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coprop_plugin.audio.log_mel import LOG_OFFSET
from coprop_plugin.checkpoints.native import load_module, save_module

FORMAT = "coprop_plugin.ChangeNetwork/1"
ROWS_PER_STEP = 4
STEP_S = 0.04
"""Time between two outputs of the network."""
FIRST_STEP_S = 0.0175
"""Time of the first output after the start of the first row: the middle of two rows' windows."""
_RANGE_DB = 60.0
_LEAST_GATE = 0.02
_QUIETEST = 1e-6


@dataclass(frozen=True)
class NetworkOutputs:
    """Outputs of the network for each step of a batch of sounds.

    Attributes:
        change: `[B, T]` logits: the set of sounding sources changes at this step.
        active: `[B, T]` logits: anything sounds.
        identity: `[B, T, C]` vectors of length 1, similar where the same set of sources sounds.
    """

    change: Tensor
    active: Tensor
    identity: Tensor


class ChangeNetwork(nn.Module):
    """Finds changes of the set of sounding sources in log-mels, in steps of 40 ms.

    Convolutions over time and frequency give one vector per step; dilated convolutions add context,
    and contrasts compare the sound before a step with the sound after it, at several scales, within
    bands and as a whole. An
    `identity` vector per step is trained to tell whether two steps have the same set of sources.

    Args:
        width: Channels per step.
        stem: Channels of the convolutions over time and frequency.
        band_features: Number of features that are compared in each band, after the first of them.
        band_scales: As `scales`, within bands.
        dilations: Dilations of the residual blocks, in groups; a contrast follows each group except
            the last.
        scales: Numbers of steps before and after each step that are compared.
        contrast_width: Number of features that are compared.
        identity_width: Length of an identity vector.

    Example:
        >>> network = ChangeNetwork(width=16, stem=(4, 4, 8), dilations=((1,), (1,)), scales=(2, 4))
        >>> network.eval()(torch.zeros(1, 100, 64), torch.zeros(1)).change.shape
        torch.Size([1, 25])
    """

    def __init__(
        self,
        width: int = 128,
        stem: Sequence[int] = (16, 32, 64),
        band_features: int = 6,
        band_scales: Sequence[int] = (6, 15, 40),
        dilations: Sequence[Sequence[int]] = ((1, 2), (1, 2, 4), (1, 2, 4), (1, 2)),
        scales: Sequence[int] = (5, 12, 25, 50),
        contrast_width: int = 48,
        identity_width: int = 32,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = dict(
            width=width,
            stem=list(stem),
            band_features=band_features,
            band_scales=list(band_scales),
            dilations=[list(group) for group in dilations],
            scales=list(scales),
            contrast_width=contrast_width,
            identity_width=identity_width,
        )
        contrast = BandContrast(stem[0], band_features, band_scales)
        self.stem = nn.Sequential(
            _SpectralBlock(2, stem[0], (2, 2)),
            contrast,
            _SpectralBlock(stem[0] + contrast.width, stem[1], (1, 2)),
            _SpectralBlock(stem[1], stem[2], (1, 2)),
        )
        self.project = nn.Linear(stem[-1] * 8, width)
        layers: list[ResidualBlock | Contrast] = []
        for number, group in enumerate(dilations):
            layers += [ResidualBlock(width, dilation) for dilation in group]
            if number < len(dilations) - 1:
                layers.append(Contrast(width, contrast_width, scales))
        self.layers = nn.ModuleList(layers)
        self.reach_s = (sum(layer.reach for layer in [contrast, *layers]) + 3) * STEP_S
        """How far before and after a step its outputs depend on the sound, in seconds."""
        self.norm = nn.BatchNorm1d(width)
        self.change = nn.Linear(width, 1)
        self.active = nn.Linear(width, 1)
        self.identity = nn.Linear(width, identity_width)
        self.scale = nn.Parameter(torch.tensor([8.0, -4.0]))
        self.calibration: Tensor
        self.register_buffer("calibration", torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]))

    def forward(self, log_mel: Tensor, peak_db: Tensor) -> NetworkOutputs:
        """Run the network on log-mels.

        Args:
            log_mel: `[B, rows, 64]`.
            peak_db: `[B]`, see `peak_level_db`.
        """
        x = self.stem(spectra(log_mel, peak_db))
        x = self.project(x.permute(0, 2, 1, 3).flatten(2)).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        x = F.relu(self.norm(x)).transpose(1, 2)
        identity = F.normalize(self.identity(x), dim=-1)
        return NetworkOutputs(self.change(x)[..., 0], self.active(x)[..., 0], identity)


class _SpectralBlock(nn.Sequential):
    def __init__(self, before: int, after: int, stride: tuple[int, int]) -> None:
        super().__init__(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
        )


class BandContrast(nn.Module):
    """Appends, for each band, how features of it differ before and after each step.

    A quiet source that joins a louder one changes few bands, which an average over bands hides.

    Args:
        channels: Channels of the input.
        features: Number of features that are compared.
        scales: Numbers of steps on each side.
    """

    def __init__(self, channels: int, features: int, scales: Sequence[int]) -> None:
        super().__init__()
        self.scales, self.reach = tuple(scales), max(scales)
        self.features = nn.Conv2d(channels, features, 1)
        self.width = features * len(self.scales)
        """Number of channels that are appended."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, C + width, T, bands]` for `[B, C, T, bands]`."""
        sums = _running_sums(self.features(x).tanh())
        parts = [x]
        for scale in self.scales:
            before, after = _sums_around(sums, scale)
            parts.append(((after - before) / scale).to(x.dtype))
        return torch.cat(parts, dim=1)


class ResidualBlock(nn.Module):
    """A residual block with one dilated convolution over time."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.reach = dilation
        self.norm = nn.BatchNorm1d(width)
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return steps of the same shape, `[B, C, T]`."""
        return x + self.mix(F.relu(self.conv(F.relu(self.norm(x)))))


class Contrast(nn.Module):
    """A residual block that compares the sound before each step with the sound after it.

    Features are averaged over some steps before and as many from the step on, weighted by a gate,
    so that pauses do not count. It is a learned form of `find_change_points`, which compares means
    of fixed features.

    Args:
        width: Channels per step.
        contrast_width: Number of features.
        scales: Numbers of steps on each side.
    """

    def __init__(self, width: int, contrast_width: int, scales: Sequence[int]) -> None:
        super().__init__()
        self.scales, self.reach = tuple(scales), max(scales)
        self.norm = nn.BatchNorm1d(width)
        self.features = nn.Conv1d(width, contrast_width, 1)
        self.gate = nn.Conv1d(width, 1, 1)
        self.mix = nn.Conv1d((contrast_width + 2) * len(self.scales), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return steps of the same shape, `[B, C, T]`."""
        inner = F.relu(self.norm(x))
        gate = self.gate(inner).sigmoid()
        weighted = torch.cat([gate * self.features(inner).tanh(), gate], dim=1)
        sums = _running_sums(weighted)
        parts = []
        for scale in self.scales:
            before, after = _sums_around(sums, scale)
            means = [
                part[:, :-1] / (part[:, -1:] + _LEAST_GATE * scale) for part in (before, after)
            ]
            parts += [(means[0] - means[1]).abs(), before[:, -1:] / scale, after[:, -1:] / scale]
        return x + self.mix(torch.cat(parts, dim=1))


def _running_sums(values: Tensor) -> Tensor:
    """Return the sums of the first 0 to T steps of values `[B, C, T, ...]`, in float32."""
    # Sums in half precision are too coarse to tell means apart.
    return torch.cat([torch.zeros_like(values[:, :, :1]), values], dim=2).float().cumsum(2)


def _sums_around(sums: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Return the sums over `scale` steps before, and from each step on, of running sums.

    Args:
        sums: `[B, C, T + 1, ...]`, the first one 0.
        scale: The number of steps; steps beyond the ends count as 0.

    Returns:
        Two tensors `[B, C, T, ...]`.

    Example:
        >>> before, after = _sums_around(torch.tensor([[[0.0, 1.0, 2.0, 4.0]]]), 2)
        >>> before.tolist(), after.tolist()
        ([[[0.0, 1.0, 2.0]]], [[[2.0, 3.0, 2.0]]])
    """
    steps = sums.shape[2] - 1
    places = torch.arange(steps, device=sums.device)
    here = sums[:, :, :-1]
    first = sums[:, :, (places - scale).clamp_min(0)]
    last = sums[:, :, (places + scale).clamp_max(steps)]
    return here - first, last - here


def spectra(log_mel: Tensor, peak_db: Tensor) -> Tensor:
    """Return the network's two input channels for log-mels, `[B, 2, ceil(rows / 2), 64]`.

    Rows of 20 ms: the level relative to the loud parts of the sound, and relative to the loudest
    band of the same row, which does not depend on the level. Both are 1 at 0 dB and -1 at -60 dB.
    """
    mel = (log_mel.exp() - LOG_OFFSET).clamp_min(_QUIETEST)
    if mel.shape[1] % 2:
        mel = torch.cat([mel, mel[:, -1:]], dim=1)
    decibel = 20 * torch.log10((mel[:, ::2] + mel[:, 1::2]) / 2)
    below = (decibel - peak_db[:, None, None]) / (_RANGE_DB / 2) + 1
    shape = (decibel - decibel.amax(-1, keepdim=True)) / (_RANGE_DB / 2) + 1
    return torch.stack([below.clamp(-1, 1.5), shape.clamp(-1, 1)], dim=1)


def peak_level_db(log_mel: Tensor) -> Tensor:
    """Return the level of the loud parts of log-mels `[..., rows, 64]`, in dB: `[...]`.

    The 95th percentile of the rows' loudest bands.
    """
    return 20 * torch.log10(_loudest(log_mel).quantile(0.95, dim=-1))


def step_levels_db(log_mel: Tensor) -> Tensor:
    """Return the level of the loudest band in each step of log-mels `[rows, 64]`, in dB: `[T]`.

    Example:
        >>> step_levels_db(torch.full((6, 64), 0.01).log())
        tensor([-120., -120.])
    """
    loudest = F.pad(_loudest(log_mel), (0, -len(log_mel) % ROWS_PER_STEP))
    return 20 * torch.log10(loudest.view(-1, ROWS_PER_STEP).amax(dim=1))


def _loudest(log_mel: Tensor) -> Tensor:
    """Return the magnitude of each row's loudest band, `[..., rows]`."""
    return (log_mel.amax(-1).exp() - LOG_OFFSET).clamp_min(_QUIETEST)


def save_change_network(network: ChangeNetwork, path: str | Path) -> Path:
    """Write weights and constructor arguments to a safetensors file; returns the path.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    return save_module(network, network.config, path, FORMAT)


def load_change_network(path: str | Path) -> ChangeNetwork:
    """Load a file of `save_change_network`, strictly both ways.

    Raises:
        CheckpointError: If the file is missing, damaged, of another format, or does not fit the
            network that it describes.
    """
    return load_module(path, FORMAT, ChangeNetwork)
