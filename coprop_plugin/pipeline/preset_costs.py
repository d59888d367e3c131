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
        memory_gb: Memory that its weights take in float32, and working memory on top, about.
        cpu_s: Seconds of one CPU core: a fixed part for each second of video, for each word in a
            keyframe, and for each propagated frame and object.
        gpu_s: The same on a GPU; None where nobody has measured it.
    """

    name: Preset
    title: str
    memory_gb: float
    cpu_s: str
    gpu_s: str | None = None

    @property
    def models(self) -> tuple[PretrainedModel, ...]:
        """The pretrained models that it downloads, each once."""
        options = PRESETS[self.name]
        backend = options.backend if isinstance(options.backend, Mapping) else {}
        named = [*_texts(backend), options.propagator.rpartition(":")[2]]
        found = [find_pretrained(part) for text in named for part in text.split("+")]
        return tuple(dict.fromkeys(model for model in found if model is not None))

    @property
    def download_mb(self) -> int:
        """Size of the download in 10^6 bytes."""
        return sum(model.size_mb for model in self.models)

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return {
            "name": self.name,
            "title": self.title,
            "models": [model.checkpoint for model in self.models],
            "licences": list(dict.fromkeys(model.licence for model in self.models)),
            "download_mb": self.download_mb,
            "memory_gb": self.memory_gb,
            "cpu_s": self.cpu_s,
            "gpu_s": self.gpu_s,
        }

    def __str__(self) -> str:
        models = "; ".join(map(str, self.models)) or "what ships, no download"
        download = f" Download: {size_text(self.download_mb)}." if self.models else ""
        return (
            f"{self.name}: {self.title}. Models: {models}.{download} Memory: about "
            f"{self.memory_gb:g} GB. CPU: {self.cpu_s}. GPU: {self.gpu_s or 'not measured'}."
        )


def _texts(config: Any) -> Iterator[str]:
    """Yield all texts in a config."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, Mapping):
        for value in config.values():
            yield from _texts(value)


PRESET_COSTS: tuple[PresetCost, ...] = (
    PresetCost(
        "offline",
        "the salient object, while there is sound; it does not know what sounds how",
        0.6,
        "0.3 s a keyframe, 0.02 s a frame",
    ),
    PresetCost(
        "fast",
        "a laptop without GPU: names what sounds, coarse masks",
        2.0,
        "4.5 s a second of video, 1.7 s a word in a keyframe, 0.02 s a frame",
    ),
    PresetCost(
        "balanced",
        "a GPU: names what sounds, sharp masks, followed by SAM 2",
        4.5,
        "4.5 s a second of video for the names alone; use a GPU",
    ),
    PresetCost(
        "best",
        "a GPU and SAM 3's licence: one model finds and follows",
        7.0,
        "4.5 s a second of video for the names alone; use a GPU",
    ),
)
"""Costs of the presets, from models of these sizes with random weights; see `docs/any_video.md`."""
