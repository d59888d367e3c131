"""What the stages of training have in common."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor, nn

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


def check_one_given(**given: Any) -> None:
    """Refuse a call in which not just one of some arguments is given.

    Raises:
        TrainingError: If none is, or several are.
    """
    if sum(value is not None for value in given.values()) != 1:
        raise TrainingError(
            f"Got {', '.join(n for n, v in given.items() if v is not None) or 'nothing'}; wanted "
            f"one of {' and '.join(given)}: options to begin from scratch, or a file to begin with."
        )


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
