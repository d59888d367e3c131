"""Training of the change detector, as an mmengine model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coprop_plugin.control_points.listening.change_decoding import (
    FoundChange,
    Steps,
    find_changes,
)
from coprop_plugin.control_points.listening.change_network import (
    FIRST_STEP_S,
    STEP_S,
    ChangeNetwork,
    NetworkOutputs,
    load_change_network,
    peak_level_db,
    save_change_network,
)
from coprop_plugin.registry import MODELS
from coprop_plugin.training.stage import StageModel, begun
from coprop_plugin.types import ControlPoints
from coprop_plugin.types.timeline import change_frames, states_of_spans

SCORED_FPS = 8
"""Frames per second at which changes are scored."""
_CHANGE_WEIGHT = 3.0
_POSITIVE_WEIGHT = 3.0
_PAIR_STRIDE = 4
_PEAK_JITTER_DB = 4.0


@MODELS.register_module()
class ChangeDetectorTraining(StageModel):
    """Trains a `ChangeNetwork` on mixtures whose sounding sources are known.

    A batch holds `log_mel` `[B, rows, 64]`, `change` and `state` `[B, T]`, see `SoundMixtures`.
    Three losses: cross-entropy of changes, of activity, and of whether two steps of a mixture have
    the same set of sources, for all pairs of every fourth step.

    Args:
        network: Options of `ChangeNetwork`, or a network.
        weights: Safetensors of a network to start from; `network` then lists the options that
            differ from the file, if any.
        bfloat16: Whether the network computes in bfloat16 during training; a third faster on CPUs
            with AMX. The weights stay float32.

    Raises:
        TrainingError: If neither is given.

    Example:
        >>> options = dict(width=16, stem=(4, 4, 8), dilations=((1,), (1,)), scales=(2, 4))
        >>> training = ChangeDetectorTraining(options)
        >>> batch = dict(log_mel=torch.zeros(2, 100, 64), change=torch.zeros(2, 25))
        >>> sorted(training(**batch, state=torch.zeros(2, 25).long()))
        ['loss_active', 'loss_change', 'loss_identity']
    """

    wants = ("log_mel", "change", "state")
    data = "mixtures of recordings: SoundMixtures"

    def __init__(
        self,
        network: Mapping[str, Any] | ChangeNetwork | None = None,
        weights: str | Path | None = None,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.bfloat16 = bfloat16
        self.network: ChangeNetwork = begun(
            network, weights, lambda options: ChangeNetwork(**options), load_change_network
        )
        self.network.train()

    def loss(self, log_mel: Tensor, change: Tensor, state: Tensor, **_: Any) -> dict[str, Tensor]:
        """Return the losses of a batch."""
        # Blocks of 30 s have louder peaks than mixtures of 10 s.
        peak_db = peak_level_db(log_mel)
        peak_db = peak_db + _PEAK_JITTER_DB * torch.randn_like(peak_db).abs()
        with torch.autocast(log_mel.device.type, torch.bfloat16, enabled=self.bfloat16):
            outputs = self.network(log_mel, peak_db)
        outputs = NetworkOutputs(
            outputs.change.float(), outputs.active.float(), outputs.identity.float()
        )
        return {
            "loss_change": _CHANGE_WEIGHT * change_loss(outputs.change, change),
            "loss_active": F.binary_cross_entropy_with_logits(outputs.active, (state > 0).float()),
            "loss_identity": identity_loss(self.network, outputs, change, state),
        }

    def predict(self, log_mel: Tensor, state: Tensor, **_: Any) -> list[dict[str, Any]]:
        """Return an outcome for each mixture, at `SCORED_FPS`."""
        outputs = self.network(log_mel, peak_level_db(log_mel))
        parts = (x.cpu()[:, None] for x in (outputs.change, outputs.active, outputs.identity))
        rows = zip(*parts, log_mel, state.cpu(), strict=True)
        return [
            _outcome(find_changes(Steps.of(NetworkOutputs(*one), mel), self.network), true)
            for *one, mel, true in rows
        ]

    def export(self, path: str | Path) -> Path:
        """Save the network, for `ChangeDetectorProvider(weights=path)`; returns the path."""
        return save_change_network(self.network, path)


def _outcome(found: Sequence[FoundChange], state: Tensor) -> dict[str, Any]:
    """Return the fields of an `Outcome`: control points alone, found and true."""
    num_frames = max(1, int(len(state) * STEP_S * SCORED_FPS))
    times = torch.arange(num_frames, dtype=torch.float64) / SCORED_FPS
    spans = [(time_s, time_s + 1 / SCORED_FPS) for time_s in times.tolist()]
    true = (state.diff().nonzero().flatten() + 0.5).tolist()
    points = [
        ControlPoints.from_indices(
            change_frames(states_of_spans([FIRST_STEP_S + STEP_S * x for x in steps], spans)),
            num_frames,
        )
        for steps in ([change.step for change in found], true)
    ]
    nothing = torch.zeros(num_frames, 1, 1, dtype=torch.long)
    return dict(
        masks=nothing,
        truth=nothing,
        times=times,
        control_points=points[0],
        true_control_points=points[1],
    )


def change_loss(logits: Tensor, change: Tensor) -> Tensor:
    """Return the cross-entropy of changes `[B, T]`; they are rare and weighted higher."""
    weight = 1 + (_POSITIVE_WEIGHT - 1) * change
    each = F.binary_cross_entropy_with_logits(logits, change, reduction="none")
    return (weight * each).mean()


def identity_loss(
    network: ChangeNetwork, outputs: NetworkOutputs, change: Tensor, state: Tensor
) -> Tensor:
    """Return the cross-entropy of pairs of steps having the same set of sources.

    Pairs of equal and of different sets have the same weight; steps at a change are left out.
    """
    vectors, states = outputs.identity[:, ::_PAIR_STRIDE], state[:, ::_PAIR_STRIDE]
    clear = change[:, ::_PAIR_STRIDE] < 0.05
    logits = network.scale[0] * vectors @ vectors.transpose(1, 2) + network.scale[1]
    same = states[:, :, None] == states[:, None]
    counted = (clear[:, :, None] & clear[:, None]).float()
    each = F.binary_cross_entropy_with_logits(logits, same.float(), reduction="none")
    equal, other = (
        (each * pairs).sum() / pairs.sum().clamp_min(1)
        for pairs in (counted * same, counted * ~same)
    )
    return equal + other
