"""What the presets that name models download, and what they cost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coprop_plugin.checkpoints import PretrainedModel, find_pretrained
from coprop_plugin.checkpoints.pretrained_models import size_text
from coprop_plugin.pipeline.preset_options import PRESETS, Preset


@dataclass(frozen=True)
class PresetCost:
    """A preset that names models: for whom it is, what it downloads, what it costs.

    Args:
        name: The preset.
        title: For whom.
        cpu: What one CPU core takes.
        working_mb: Peak memory of the costliest part above that of the weights, in 10^6 bytes, on a
            CPU in float32; None where nobody has measured it. Frames and results come on top.
        gpu: Time and memory on a GPU; None where nobody has measured it.
    """

    name: Preset
    title: str
    cpu: str
    working_mb: int | None = None
    gpu: str | None = None

    @property
    def models(self) -> tuple[PretrainedModel, ...]:
        """The pretrained models that it downloads, each once."""
        return tuple(dict.fromkeys(self._parts))

    @property
    def _parts(self) -> list[PretrainedModel]:
        """The model of each part; one model may have two."""
        options = PRESETS[self.name]
        backend = options.backend if isinstance(options.backend, Mapping) else {}
        named = [*_texts(backend), options.propagator.rpartition(":")[2]]
        found = [find_pretrained(part) for text in named for part in text.split("+")]
        return [model for model in found if model is not None]

    @property
    def download_mb(self) -> int:
        """Size of the download in 10^6 bytes."""
        return sum(model.size_mb for model in self.models)

    @property
    def weights_mb(self) -> int:
        """What all weights take in memory, in float32, in 10^6 bytes."""
        # SAM 3's two parts share their image encoder, nearly all of the smaller one.
        once = {model for model in self.models if model.name == "sam3"}
        apart = [model for model in self._parts if model not in once]
        return sum(model.size_mb for model in (*apart, *once))

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return {
            "name": self.name,
            "title": self.title,
            "models": [model.checkpoint for model in self.models],
            "licences": list(dict.fromkeys(model.licence for model in self.models)),
            "download_mb": self.download_mb,
            "weights_mb": self.weights_mb,
            "working_mb": self.working_mb,
            "cpu": self.cpu,
            "gpu": self.gpu,
        }

    def __str__(self) -> str:
        models = "; ".join(map(str, self.models)) or "what ships, no download"
        working = "not measured" if self.working_mb is None else size_text(self.working_mb)
        sizes = f"Memory: working {working}."
        if self.models:
            sizes = (
                f"Download: {size_text(self.download_mb)}. Memory: weights "
                f"{size_text(self.weights_mb)}, working {working}."
            )
        return (
            f"{self.name}: {self.title}. Models: {models}. {sizes} CPU: {self.cpu}. GPU: "
            f"{self.gpu or 'not measured'}."
        )


def _texts(config: Any) -> Iterator[str]:
    """Yield all texts in a config."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, Mapping):
        for value in config.values():
            yield from _texts(value)


_NAMES = "3 s a second of sound for the names"
_TWICE_NAMED = "4 s a second of sound for the names"

PRESET_COSTS: tuple[PresetCost, ...] = (
    PresetCost(
        "offline",
        "the salient object, while there is sound; it does not know what sounds how",
        "1.1 s a keyframe, 0.1 s a frame",
        working_mb=272,
    ),
    PresetCost(
        "fast",
        "a laptop without GPU: names what sounds, coarse masks",
        f"{_NAMES}, 0.4 s a word in a keyframe, 0.1 s a frame",
        working_mb=88,
    ),
    PresetCost(
        "balanced",
        "a GPU: names what sounds, sharp masks, followed by SAM 2",
        f"{_TWICE_NAMED}, 15 s a keyframe, 8 s a frame and an object: use a GPU",
        working_mb=625,
    ),
    PresetCost(
        "best",
        "a GPU and SAM 3's licence: one model finds and follows",
        f"{_TWICE_NAMED}, 53 s a word in a keyframe; following was not measured: use a GPU",
        working_mb=762,
    ),
)
"""Processor seconds of one core: those of `examples/benchmarks/preset_cost.py`, whose models have
these sizes and random weights."""
