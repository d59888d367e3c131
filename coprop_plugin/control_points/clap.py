"""Control points from CLAP: where the distribution of the audio's embeddings changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coprop_plugin.audio.resample import resample
from coprop_plugin.checkpoints.transformers_models import load_pretrained
from coprop_plugin.control_points.listening.boundaries import Moments
from coprop_plugin.control_points.listening.detectors import windows_at_hop
from coprop_plugin.control_points.listening.mel_rows import (
    ROWS_PER_SECOND,
    MelRows,
    waveform_around,
)
from coprop_plugin.control_points.novelty import AudioChanges, find_audio_changes
from coprop_plugin.errors import ControlPointError
from coprop_plugin.layers import checked_device, device_of
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints

_AT_ONCE = 16


@PROVIDERS.register_module(name=["ClapProvider", "clap"])
class ClapProvider:
    """Control points where the CLAP embedding of the audio changes, or a sound begins or ends.

    As `NoveltyProvider`, with the embeddings of windows by CLAP (Wu et al., arXiv:2211.06687v4)
    instead of spectral shapes: the embeddings are split where their distribution changes, silence
    is what stays near the quietest moment, and the log is the same.

    Args:
        model: An id or a folder of a `ClapModel`, loaded when it is first used; or a model.
        extractor: Its `ClapFeatureExtractor`, if `model` is a model.
        hop_s: From window to window.
        window_s: Length of a window; CLAP repeats it to its input length of ten seconds.
        local_files_only: Whether to download nothing.
        device: Device of the model; None is the CPU.

    Raises:
        ControlPointError: If hop or window are not above 0, or a model comes without extractor.

    Example:
        >>> ClapProvider("laion/clap-htsat-unfused").propose(clip)  # doctest: +SKIP
        ControlPoints([0, 3], num_frames=5, source='clap')
    """

    # `model` is a name before it is loaded; then a `ClapModel` of transformers, which has no types.
    model: Any

    def __init__(
        self,
        model: str | Path | Any = "laion/clap-htsat-unfused",
        extractor: Any = None,
        *,
        hop_s: float = 0.1,
        window_s: float = 0.5,
        local_files_only: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        if not (hop_s > 0 and window_s > 0):
            raise ControlPointError(
                f"Expected seconds above 0, got hop_s={hop_s} and window_s={window_s}."
            )
        if not isinstance(model, str | Path) and extractor is None:
            raise ControlPointError(
                f"Expected a model and its extractor, got a {type(model).__name__} alone. Give "
                "both, or the id or folder from which both are loaded."
            )
        self.model, self.extractor = model, extractor
        self.hop_s, self.window_s = hop_s, window_s
        self.local_files_only = local_files_only
        self.device = None if device is None else checked_device(device)

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames at which the audio changes.

        Raises:
            ClipError: If the clip has no waveform.
            CheckpointError: If the model cannot be loaded.
        """
        waveform, _ = waveform_around(clip)
        self.load_models()
        rate = self.extractor.sampling_rate
        waveform = resample(waveform, clip.sample_rate, rate)

        def features(rows: MelRows, start: int, stop: int, sounds: NDArray[np.bool_]) -> Moments:
            part = waveform[start * rate // ROWS_PER_SECOND : stop * rate // ROWS_PER_SECOND]
            windows = windows_at_hop(part, rate, self.hop_s, self.window_s)
            starts = np.round(np.arange(len(windows)) * self.hop_s * ROWS_PER_SECOND).astype(int)
            # A window is used if at least half of its hop has sound.
            shares = [hop.mean() if len(hop) else 0.0 for hop in np.split(sounds, starts)[1:]]
            used = np.flatnonzero(np.array(shares) > 0.5)
            embeddings = self.embed(windows[torch.from_numpy(used)])
            return Moments(embeddings, starts[used], 1 / self.hop_s)

        changes = find_audio_changes(clip, features)
        return _without_echoes(changes, self.window_s).points(clip, "clap")

    def load_models(self) -> None:
        """Load the model now; see `LazyPart`."""
        if not isinstance(self.model, str | Path):
            return
        source, local = self.model, self.local_files_only
        self.extractor = load_pretrained("ClapFeatureExtractor", source, local_files_only=local)
        model = load_pretrained("ClapModel", source, local_files_only=local)
        self.model = model.to(self.device)

    @torch.no_grad()
    def embed(self, windows: Tensor) -> NDArray[np.float64]:
        """Embed windows [N, samples]; returns [N, D], each of length 1."""
        self.load_models()
        width = self.model.config.projection_dim
        embeddings = [torch.zeros(0, width)]
        for start in range(0, len(windows), _AT_ONCE):
            part = windows[start : start + _AT_ONCE]
            inputs = self.extractor(
                list(part.numpy()), sampling_rate=self.extractor.sampling_rate, return_tensors="pt"
            ).to(device_of(self.model))
            # For models that fuse crops, the extractor marks a random window of a batch as longer.
            inputs["is_longer"] = torch.zeros_like(inputs["is_longer"], dtype=torch.bool)
            embeddings.append(self.model.get_audio_features(**inputs).pooler_output.float().cpu())
        together = torch.cat(embeddings).double().numpy()
        return together / np.linalg.norm(together, axis=1, keepdims=True).clip(1e-12)


def _without_echoes(changes: AudioChanges, window_s: float) -> AudioChanges:
    """Drop changes less than a window from a clearer one: windows around it hold both sounds."""
    groups: list[list[int]] = []
    for n, second in enumerate(changes.seconds):
        if groups and second - changes.seconds[groups[-1][0]] < window_s:
            groups[-1].append(n)
        else:
            groups.append([n])
    clearest = [max(group, key=lambda n: changes.boundaries[n].score) for group in groups]
    boundaries = [
        replace(changes.boundaries[n], state=changes.boundaries[group[-1]].state)
        for n, group in zip(clearest, groups, strict=True)
    ]
    return replace(changes, boundaries=boundaries, seconds=[changes.seconds[n] for n in clearest])
