"""Where the curves of a training run go besides the log."""

import importlib.util
from typing import Any

_TENSORBOARD = "TensorboardVisBackend"


def add_tensorboard(config: Any) -> str:
    """Have a run write its curves for TensorBoard too, if that is installed.

    They go to the work folder, for `tensorboard --logdir <work folder>`. A config that has a
    visualizer of its own keeps it; only what needs TensorBoard is taken out where there is none.

    Args:
        config: An mmengine config; changed in place.

    Returns:
        What to tell the user: that there are no such curves, and what to do; "" if there are.
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
        "TensorBoard is not installed, so that there is a log but no curves. For curves: "
        '`pip install "coprop-plugin[train]"`.'
    )
