"""Base class of the training stages, and their initial weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from mmengine.logging import MessageHub, print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from coprop_plugin.audio.vggish import VGGish, load_vggish
from coprop_plugin.errors import TrainingError
from coprop_plugin.types import AudioEncoder

Mode = Literal["loss", "predict"]
"""What a stage computes of a batch; `Runner` uses both."""


class Rebuildable(Protocol):
    """A network that keeps its constructor arguments."""

    config: dict[str, Any]

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name, as an `nn.Module` does."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:
        """Load weights by name, as an `nn.Module` does."""
        ...


Network = TypeVar("Network", bound=Rebuildable)


class StageModel(BaseModel):
    """Base class of the stages: `forward` in two modes, and `export` of the weights.

    Attributes:
        loss: Returns losses by name, from the fields of a batch; their sum is trained.
        predict: Returns the fields of one `Outcome` per sample.
        wants: Names that a batch must have.
        wants_to_predict: Those of a batch to predict, if they differ.
        data: Description of the data sets with such batches, for messages.
    """

    wants: ClassVar[tuple[str, ...]] = ()
    wants_to_predict: ClassVar[tuple[str, ...]] = ()
    data: ClassVar[str] = ""
    loss: Callable[..., dict[str, Tensor]]
    predict: Callable[..., list[dict[str, Any]]]

    def forward(self, mode: Mode = "loss", **batch: Any) -> Any:
        """Return losses by name (`mode="loss"`), or one outcome per sample (`mode="predict"`).

        Raises:
            TrainingError: If `mode` is neither, or the batch does not fit the stage.
        """
        verb = {"loss": self.loss, "predict": self.predict}.get(mode)
        if verb is None:
            raise TrainingError(f"Expected mode 'loss' or 'predict', got {mode!r}.")
        wanted = self.wants if mode == "loss" else self.wants_to_predict or self.wants
        missing = [name for name in wanted if name not in batch]
        if missing:
            raise TrainingError(
                f"The batch of {', '.join(sorted(batch))} is without {', '.join(missing)}. "
                f"{type(self).__name__} trains on {self.data}."
            )
        return verb(**batch)

    def export(self, path: str | Path) -> Path:
        """Save the trained weights in the library's format; returns the path."""
        raise NotImplementedError


def begun(
    options: Mapping[str, Any] | Network | None,
    weights: str | Path | None,
    build: Callable[[Mapping[str, Any]], Network],
    load: Callable[[str | Path], Network],
) -> Network:
    """Return the initial network of a stage.

    Args:
        options: Options of its constructor, or the network itself. With `weights`, the options
            that differ from the file: a head of other classes, more layers.
        weights: The file to start from, or None to start from scratch.
        build: Builds the network from options.
        load: Loads it from a file.

    Returns:
        The network. If options differ from the file, it has the weights that still fit; the log
        names the untrained ones.

    Raises:
        TrainingError: If neither is given, or weights together with an existing network.
    """
    if options is None and weights is None:
        raise TrainingError(
            "Expected options to train from scratch, or a file of weights to start from, got "
            "neither. Pass one of them."
        )
    if options is not None and not isinstance(options, Mapping):
        if weights is None:
            return options
        raise TrainingError(
            f"Expected options beside the weights {weights}, got an existing "
            f"{type(options).__name__}. Load the weights into it yourself, or pass the options "
            "that differ from the file."
        )
    if weights is None:
        return build(options or {})
    known = load(weights)
    if not options:
        return known
    changed = build({**known.config, **options})
    there = changed.state_dict()
    fits = {n: x for n, x in known.state_dict().items() if n in there and there[n].shape == x.shape}
    changed.load_state_dict(fits, strict=False)
    untrained = ", ".join(sorted(there.keys() - fits.keys())) or "nothing"
    print_log(f"Weights loaded from {weights}; untrained: {untrained}.", logger="current")
    return changed


def training_progress() -> float:
    """Return the progress of the current training run, 0 to 1; 0 outside a run."""
    hub = MessageHub.get_current_instance()
    total = hub.runtime_info.get("max_iters") or 0
    return hub.runtime_info.get("iter", 0) / total if total else 0.0


def trained_part(model: nn.Module) -> StageModel:
    """Return the stage inside a Runner's model, distributed or not."""
    part: Any = getattr(model, "module", model)
    return part


def load_vggish_into(encoder: AudioEncoder | None, weights: str | Path) -> None:
    """Initialise a VGGish audio encoder from released weights.

    Args:
        encoder: The audio encoder.
        weights: A file, or "released" to download them.

    Raises:
        TrainingError: If the encoder is not VGGish.
        CheckpointError: If the weights cannot be loaded.
    """
    if not isinstance(encoder, VGGish):
        raise TrainingError(
            f"vggish={str(weights)!r} needs a VGGish audio encoder, got {type(encoder).__name__}. "
            "Use audio_encoder='VGGish', or leave vggish out."
        )
    released = load_vggish(None if weights == "released" else weights)
    encoder.load_state_dict(released.state_dict())
