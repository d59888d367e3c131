"""Calibration of a change detector: of the changes with probability 0.8, 8 in 10 should be real."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from torch import Tensor

from coprop_plugin.control_points.listening.change_decoding import (
    NUM_CLUES,
    Array,
    Steps,
    candidates,
    clues,
    find_changes,
    identity_scale,
    set_calibration,
)
from coprop_plugin.control_points.listening.change_network import ChangeNetwork, peak_level_db
from coprop_plugin.registry import DATASETS, HOOKS
from coprop_plugin.training.change_stage import ChangeDetectorTraining
from coprop_plugin.training.hooks import averaged

_NEAR_STEPS = 5.0
_ROUNDS = 3


@torch.no_grad()
def calibrate(network: ChangeNetwork, items: Iterable[Mapping[str, Tensor]]) -> list[float]:
    """Fit the weights of the clues, by logistic regression over the candidates of mixtures.

    Which candidates are left depends on the weights, so the fit is repeated.

    Args:
        network: A network in eval mode, on the CPU; its `calibration` is set.
        items: Mixtures of `SoundMixtures` with boundaries, of sources that are not trained on.

    Returns:
        The weights.
    """
    pairs = []
    for item in items:
        log_mel = item["log_mel"][None]
        steps = Steps.of(network(log_mel, peak_level_db(log_mel)), item["log_mel"])
        pairs.append((steps, item["boundaries"].double().numpy()))
    weights = network.calibration.tolist()
    for round_ in range(_ROUNDS):
        rows: list[Array] = []
        labels: list[float] = []
        for steps, truth in pairs:
            kept = [candidates(steps.change)]
            if round_:
                kept += [
                    [change.peak for change in find_changes(steps, network, threshold)]
                    for threshold in (0.2, 0.5)
                ]
            for places in kept:
                rows += [
                    clues(steps, places, n, identity_scale(network)) for n in range(len(places))
                ]
                labels += _labels(places, truth)
        if rows:
            weights = _fitted(torch.from_numpy(np.stack(rows)), torch.tensor(labels))
            set_calibration(network, weights)
    return weights


def _labels(places: list[int], truth: Array) -> list[float]:
    """Return 1 for each candidate that is a true change, else 0; each change counts once."""
    free = set(truth.tolist())
    labels = [0.0] * len(places)
    nearest_first = sorted(
        (abs(place - true), n, true) for n, place in enumerate(places) for true in free
    )
    for distance, n, true in nearest_first:
        if distance <= _NEAR_STEPS and labels[n] == 0 and true in free:
            labels[n] = 1.0
            free.remove(true)
    return labels


@torch.enable_grad()
def _fitted(rows: Tensor, labels: Tensor) -> list[float]:
    weights = torch.zeros(1 + NUM_CLUES, dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        logits = weights[0] + rows @ weights[1:]
        loss = F.binary_cross_entropy_with_logits(logits, labels.double())
        loss = loss + 1e-3 * (weights[1:] ** 2).sum()
        loss.backward()
        return loss.item()

    optimiser.step(closure)
    return weights.detach().tolist()


@HOOKS.register_module()
class CalibrateChanges(Hook):
    """Calibrates the trained network at the end of a run, on mixtures of other sources.

    Args:
        dataset: A config of `SoundMixtures`.

    Example:
        >>> CalibrateChanges(dict(type="SoundMixtures", folder="sounds", split="val")).dataset
        {'type': 'SoundMixtures', 'folder': 'sounds', 'split': 'val'}
    """

    priority = "VERY_LOW"

    def __init__(self, dataset: Mapping[str, Any]) -> None:
        self.dataset = dict(dataset)

    def after_train(self, runner: Any) -> None:
        """Calibrate the averaged weights, or those of the last step without an `EMAHook`."""
        stage = averaged(runner)
        if not isinstance(stage, ChangeDetectorTraining):
            return
        network = stage.network
        training, device = network.training, network.scale.device
        items = DATASETS.build(self.dataset)
        weights = calibrate(network.eval().cpu(), (items[n] for n in range(len(items))))
        network.train(training).to(device)
        runner.logger.info(f"Calibrated: {[round(weight, 3) for weight in weights]}")
