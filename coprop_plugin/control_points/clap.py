"""Control points from CLAP: where the embedding of what is heard changes its distribution."""

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
    ROWS_A_SECOND,
    SoundRows,
    waveform_around,
)
from coprop_plugin.control_points.novelty import heard_changes
from coprop_plugin.errors import ControlPointError
from coprop_plugin.layers.eval_mode import device_of
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints

_AT_ONCE = 16


@PROVIDERS.register_module(name=["ClapProvider", "clap"])
class ClapProvider:
    """Puts control points where CLAP hears something else, or where a sound begins or ends.

    As `NoveltyProvider`, with the embeddings of windows by CLAP (Wu et al., arXiv:2211.06687v4) in
    place of spectral shapes: the distribution of embeddings is cut where it changes, silence is
    what stays near the quietest moment, and the log is the same.

    Args:
        model: An id or a folder of a `ClapModel`, loaded when it is first asked; or a model.
        extractor: Its `ClapFeatureExtractor`, if `model` is a model.
        hop_s: From window to window.
        window_s: Length of a window; CLAP repeats it to the ten seconds that it is made for.
        local_files_only: Whether to fetch nothing.
        device: Where the model is to run; None is the CPU.

    Raises:
        ControlPointError: If hop or window are not above 0, or a model comes without extractor.

    Example:
        >>> ClapProvider("laion/clap-htsat-unfused").propose(clip)  # doctest: +SKIP
        ControlPoints([0, 3], num_frames=5, source='clap')
    """

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
                f"Got hop_s={hop_s} and window_s={window_s}; wanted seconds, both above 0."
            )
        if not isinstance(model, str | Path) and extractor is None:
            raise ControlPointError(
                f"Got a {type(model).__name__} without its extractor; wanted both, or the id or "
                "folder from which both are loaded."
            )
        self.model, self.extractor = model, extractor
        self.hop_s, self.window_s = hop_s, window_s
        self.local_files_only, self.device = local_files_only, device

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames at which the sound changes.

        Raises:
            ClipError: If the clip has no waveform.
            CheckpointError: If the model cannot be loaded.
        """
        waveform, _ = waveform_around(clip)
        self._load()
        rate = self.extractor.sampling_rate
        waveform = resample(waveform, clip.sample_rate, rate)

        def listen(rows: SoundRows, start: int, stop: int, sounds: NDArray[np.bool_]) -> Moments:
            stretch = waveform[start * rate // ROWS_A_SECOND : stop * rate // ROWS_A_SECOND]
            windows = windows_at_hop(stretch, rate, self.hop_s, self.window_s)
            first_rows = np.round(np.arange(len(windows)) * self.hop_s * ROWS_A_SECOND).astype(int)
            # A window is heard if there is sound in the hop that it stands for.
            shares = [
                part.mean() if len(part) else 0.0 for part in np.split(sounds, first_rows)[1:]
            ]
            heard = np.flatnonzero(np.array(shares) > 0.5)
            embeddings = self._embed(windows[torch.from_numpy(heard)])
            return Moments(embeddings, first_rows[heard], 1 / self.hop_s)

        return heard_changes(clip, listen).points(clip, "clap")

    def _load(self) -> None:
        if not isinstance(self.model, str | Path):
            return
        source, options = self.model, dict(local_files_only=self.local_files_only)
        self.extractor = load_pretrained("ClapFeatureExtractor", source, **options)
        self.model = load_pretrained("ClapModel", source, **options).to(self.device)

    @torch.no_grad()
    def _embed(self, windows: Tensor) -> NDArray[np.float64]:
        """Embed windows [N, samples]; returns [N, D], each of length 1."""
        width = self.model.config.projection_dim
        embeddings = [torch.zeros(0, width)]
        for start in range(0, len(windows), _AT_ONCE):
            part = windows[start : start + _AT_ONCE]
            inputs = self.extractor(
                list(part.numpy()), sampling_rate=self.extractor.sampling_rate, return_tensors="pt"
            ).to(device_of(self.model))
            # The extractor calls one window of a batch long, by chance, where models fuse crops.
            inputs["is_longer"] = torch.zeros_like(inputs["is_longer"], dtype=torch.bool)
            embeddings.append(self.model.get_audio_features(**inputs).pooler_output.float().cpu())
        together = torch.cat(embeddings).double().numpy()
        return together / np.linalg.norm(together, axis=1, keepdims=True).clip(1e-12)
