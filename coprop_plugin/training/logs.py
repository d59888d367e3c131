"""TensorBoard curves of a training run."""

import importlib.util
from typing import Any

_TENSORBOARD = "TensorboardVisBackend"


def add_tensorboard(config: Any) -> str:
    """Write a run's curves for TensorBoard, if it is installed.

    They go to the work folder, for `tensorboard --logdir <work folder>`. A config with a visualizer
    of its own keeps it; only TensorBoard backends are removed where it is not installed.

    Args:
        config: An mmengine config; changed in place.

    Returns:
        A note for the user if there will be no curves, else "".
    """
    if importlib.util.find_spec("tensorboard") is not None:
        local, curves = dict(type="LocalVisBackend"), dict(type=_TENSORBOARD)
        config.setdefault("visualizer", dict(type="Visualizer", vis_backends=[local, curves]))
        return ""
    backends = config.get("visualizer", {}).get("vis_backends")
    if backends is not None:
        kept = [b for b in backends if not str(b["type"]).endswith(_TENSORBOARD)]
        config.visualizer.vis_backends = kept
    return (
        "TensorBoard is not installed: there will be a log but no curves. For curves: "
        '`pip install "coprop-plugin[train]"`.'
    )
