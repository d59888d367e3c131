"""The scores as mmengine metrics, for `val_evaluator` and `test_evaluator` of a config.

In `predict` mode the model returns one `Outcome` a clip, or a mapping of its fields.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from mmengine.evaluator import BaseMetric

from coprop_plugin.benchmark.metrics.clip_outcome import Outcome
from coprop_plugin.benchmark.metrics.mask_scores import MaskScores, SemanticScores
from coprop_plugin.benchmark.metrics.meter import Meter
from coprop_plugin.benchmark.metrics.timing_scores import (
    AlignmentScores,
    BoundaryScores,
    ControlPointScores,
)
from coprop_plugin.registry import METRICS


class MeterMetric(BaseMetric):
    """A `Meter` behind mmengine's interface; mmengine gathers the clips of all ranks.

    Args:
        collect_device: As in mmengine: `"cpu"` or `"gpu"`.
        prefix: Prefix of every name: `"test"` gives `test/M_J`.
        **options: Arguments of the meter.

    Example:
        >>> metric = METRICS.build(dict(type="MaskMetric", prefix="s4", clips_a_batch=4))
        >>> metric.meter.clips_a_batch
        4
    """

    meter_type: ClassVar[type[Meter[Any]]]

    def __init__(
        self, collect_device: str = "cpu", prefix: str | None = None, **options: Any
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.meter = self.meter_type(**options)

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Measure the clips of a batch."""
        for given in data_samples:
            self.results.append(self.meter.measure(Outcome.from_any(given)))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the scores that are numbers, which mmengine can log."""
        scores = self.meter.summarise(results)
        return {name: s for name, s in scores.items() if isinstance(s, int | float)}


@METRICS.register_module()
class MaskMetric(MeterMetric):
    """M_J and M_F, see `MaskScores`."""

    default_prefix = "masks"
    meter_type = MaskScores


@METRICS.register_module()
class SemanticMetric(MeterMetric):
    """mIoU and F per class, see `SemanticScores`."""

    default_prefix = "classes"
    meter_type = SemanticScores


@METRICS.register_module()
class AlignmentMetric(MeterMetric):
    """Alignment Rate and silent-frame false-positive rate, see `AlignmentScores`."""

    default_prefix = "alignment"
    meter_type = AlignmentScores


@METRICS.register_module()
class BoundaryMetric(MeterMetric):
    """Onset and offset errors, see `BoundaryScores`."""

    default_prefix = "boundaries"
    meter_type = BoundaryScores


@METRICS.register_module()
class ControlPointMetric(MeterMetric):
    """Precision, recall and F1 of control points, see `ControlPointScores`."""

    default_prefix = "control_points"
    meter_type = ControlPointScores
