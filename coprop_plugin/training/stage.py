"""What the stages of training have in common."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.logging import MessageHub, print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from coprop_plugin.audio.vggish import VGGish, load_vggish
from coprop_plugin.errors import TrainingError


class StageModel(BaseModel):
    """What the stages have in common: `forward` in two modes, and weights to take away."""

    wants: ClassVar[tuple[str, ...]] = ()
    data: ClassVar[str] = ""

    def forward(self, mode: str = "loss", **batch: Any) -> Any:
        """Return losses by name (`mode="loss"`), or one outcome a sample (`mode="predict"`).

        Raises:
            TrainingError: If `mode` is neither, or the batch is not what the stage trains on.
        """
        verb = {"loss": self.loss, "predict": self.predict}.get(mode)
        if verb is None:
            raise TrainingError(f"Got mode={mode!r}; say 'loss' or 'predict'.")
        missing = [name for name in self.wants if name not in batch]
        if missing:
            raise TrainingError(
                f"Got a batch of {', '.join(sorted(batch))} without {', '.join(missing)}. "
                f"{type(self).__name__} trains on {self.data}."
            )
        return verb(**batch)

    def loss(self, **batch: Any) -> dict[str, Tensor]:
        """Return losses by name; their sum is trained."""
        raise NotImplementedError

    def predict(self, **batch: Any) -> list[dict[str, Any]]:
        """Return the fields of one `Outcome` a sample."""
        raise NotImplementedError

    def export(self, path: str | Path) -> Path:
        """Write the weights of what was trained, as the library loads them; returns the path."""
        raise NotImplementedError


def begun(
    options: Mapping[str, Any] | nn.Module | None,
    weights: str | Path | None,
    build: Callable[[Mapping[str, Any]], nn.Module],
    load: Callable[[str | Path], nn.Module],
) -> nn.Module:
    """Return the network that a stage begins with.

    Args:
        options: Of its constructor, or the network itself. Beside `weights`, what is to be other
            than in the file: a head of other classes, further layers.
        weights: The file to begin with, or None to begin from scratch.
        build: Makes the network from options.
        load: Loads it from a file.

    Returns:
        The network. Of weights whose network was changed, those that still fit; the log names
        what begins untrained.

    Raises:
        TrainingError: If neither is given, or weights and a network that is built already.
    """
    if options is None and weights is None:
        raise TrainingError(
            "Got neither options to begin from scratch nor a file of weights to begin with; give "
            "one of them."
        )
    if weights is None:
        return build(options) if isinstance(options, Mapping) else options
    if options is not None and not isinstance(options, Mapping):
        raise TrainingError(
            f"Got a built {type(options).__name__} and the weights {weights}; load them into it "
            "yourself, or give the options that are to be other than in the file."
        )
    known = load(weights)
    if not options:
        return known
    changed = build({**known.config, **options})
    there = changed.state_dict()
    fits = {n: x for n, x in known.state_dict().items() if n in there and there[n].shape == x.shape}
    changed.load_state_dict(fits, strict=False)
    anew = ", ".join(sorted(there.keys() - fits.keys())) or "nothing"
    print_log(f"Begun with {weights}; untrained: {anew}.", logger="current")
    return changed


def as_rgb(frames: Tensor) -> Tensor:
    """Return uint8 frames as float RGB in [0, 1]; float ones as they are.

    Example:
        >>> as_rgb(torch.tensor([255], dtype=torch.uint8)).item()
        1.0
    """
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames


def training_progress() -> float:
    """Return how much of the running training is done, 0 to 1; 0 where none runs."""
    hub = MessageHub.get_current_instance()
    total = hub.runtime_info.get("max_iters") or 0
    return hub.runtime_info.get("iter", 0) / total if total else 0.0


def trained_part(model: nn.Module) -> StageModel:
    """Return the stage inside what a Runner trains, distributed or not."""
    return getattr(model, "module", model)


def begin_with_vggish(sound: nn.Module | None, weights: str | Path) -> None:
    """Fill the VGGish of what listens with its released weights.

    Args:
        sound: Has an `encoder`.
        weights: A file, or "released" to download them.

    Raises:
        TrainingError: If the encoder is another than VGGish, or there is none.
        CheckpointError: If the weights cannot be had.
    """
    encoder = getattr(sound, "encoder", None)
    if not isinstance(encoder, VGGish):
        raise TrainingError(
            f"Got vggish={str(weights)!r} for an audio encoder of type {type(encoder).__name__}. "
            "Say audio_encoder='VGGish', or leave vggish out."
        )
    released = load_vggish(None if weights == "released" else weights)
    encoder.load_state_dict(released.state_dict())
