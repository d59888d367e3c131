"""VGGish, the audio encoder of all AVSBench models."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.checkpoints import read_weights
from coprop_plugin.errors import CheckpointError, some_names
from coprop_plugin.registry import MODELS

WEIGHTS_URL = (
    "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"
)
WEIGHTS_VARIABLE = "COPROP_VGGISH"
"""Environment variable for the path of the weights."""

# Channels of the 3x3 convolutions; None is a 2x2 max-pool.
_LAYOUT = (64, None, 128, None, 256, 256, None, 512, 512, None)


@MODELS.register_module(name=["VGGish", "vggish"])
class VGGish(nn.Module):
    """The convolutional network of Hershey et al. (arXiv:1609.09430v2), as released by AudioSet.

    Parameter names are those of the torchvggish file. As in AVSBench there is no PCA and no
    quantisation, and the embedding goes through a last ReLU: it is never negative.

    Example:
        >>> VGGish()(torch.zeros(2, 1, 96, 64)).shape
        torch.Size([2, 128])
    """

    map_channels = 512
    embedding_dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*_convolutions())
        self.embeddings = nn.Sequential(
            nn.Linear(6 * 4 * self.map_channels, 4096),
            nn.ReLU(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, self.embedding_dim),
            nn.ReLU(),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Embed log-mel examples `[N, 1, 96, 64]`; returns `[N, 128]`, >= 0."""
        return self.embed(self.conv_map(log_mel))

    def conv_map(self, log_mel: Tensor) -> Tensor:
        """Return the map before the linear layers, `[N, 512, 6, 4]`: time, then frequency."""
        return self.features(log_mel)

    def embed(self, conv_map: Tensor) -> Tensor:
        """Return the embedding `[N, 128]` of a map `[N, 512, 6, 4]`."""
        # The weights come from TensorFlow, which keeps channels last.
        return self.embeddings(rearrange(conv_map, "n c time band -> n (time band c)"))


def _convolutions() -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 1
    for width in _LAYOUT:
        if width is None:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return layers


def load_vggish(weights: str | Path | None = None) -> VGGish:
    """Build a VGGish with released weights, frozen and in eval mode.

    Args:
        weights: A `.pth` or `.safetensors` file with torchvggish's parameter names. None: the
            file that the environment variable `COPROP_VGGISH` names; without one, torchvggish's
            release (288 MB), downloaded once into torch's hub cache.

    Returns:
        The network on the CPU, in float32.

    Raises:
        CheckpointError: If the file is missing, damaged, not a plain state dict, or does not fit;
            or if the download fails. No code in a file is executed.

    Example:
        >>> load_vggish("vggish-10086976.pth").training  # doctest: +SKIP
        False
    """
    weights = weights or os.environ.get(WEIGHTS_VARIABLE) or None
    state = _download() if weights is None else _read(Path(weights))
    origin = WEIGHTS_URL if weights is None else str(weights)
    # Drawing 72 million random numbers that are overwritten at once takes longer than reading.
    with torch.device("meta"):
        network = VGGish()
    _refuse_misfits(state, network.state_dict(), origin)
    network.load_state_dict(state, assign=True)
    return network.float().requires_grad_(False).eval()


def _download() -> Mapping[str, Any]:
    try:
        return torch.hub.load_state_dict_from_url(
            WEIGHTS_URL, map_location="cpu", check_hash=True, weights_only=True, progress=False
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"VGGish's weights are not on this machine and could not be downloaded ({error}). "
            f"Fetch {WEIGHTS_URL} and put it into {Path(torch.hub.get_dir()) / 'checkpoints'}, "
            f"or give the file with `load_vggish(weights=...)` or the environment variable "
            f"{WEIGHTS_VARIABLE}."
        ) from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return read_weights(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} VGGish's weights are torchvggish's vggish-10086976.pth ({WEIGHTS_URL}), or "
            "the same as .safetensors; give the file with `load_vggish(weights=...)` or the "
            f"environment variable {WEIGHTS_VARIABLE}."
        ) from error


def _refuse_misfits(state: Mapping[str, Any], wanted: Mapping[str, Tensor], origin: str) -> None:
    """Raise unless `state` holds exactly the wanted names with the wanted shapes."""
    missing = [name for name in wanted if name not in state]
    unknown = [str(name) for name in state if name not in wanted]
    misshapen = [
        f"{name} {list(getattr(state[name], 'shape', []))} for {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and getattr(state[name], "shape", None) != tensor.shape
    ]
    if missing or unknown or misshapen:
        parts = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
        found = "; ".join(
            f"{what}: {some_names(names, 6)}" for what, names in parts.items() if names
        )
        raise CheckpointError(
            f"Expected the names of torchvggish's file, {WEIGHTS_URL}, in {origin}, got others "
            f"({found}). Strip any prefix such as 'vggish.' first."
        )
