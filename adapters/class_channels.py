"""Base class of the adapters of models with an output channel per class, or one for a mask."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from coprop_plugin.adapters.calls import ModelCall
from coprop_plugin.adapters.class_scores import (
    channels_of_logits,
    logits_of_channels,
    logits_of_scores,
    scores_of_logits,
)
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.upstream import UpstreamBackend
from coprop_plugin.layers import resized


class ClassChannelsBackend(UpstreamBackend):
    """Backend of a family whose output has a channel for the background, or only one.

    A model of two channels, background and what sounds, is a binary one here. Channels are logits,
    or scores whose highest is taken.

    Args:
        model: The model, plain or inside `DataParallel`.
        num_channels: Channels of its output.
        context: `"frame"` or `"window"`.
        input_size: Side, or height and width, of the model's input; None is `released_size`.

    Attributes:
        gives_scores: Whether the output is scores of classes, all >= 0, instead of logits.
    """

    gives_scores = False

    def __init__(
        self,
        model: nn.Module,
        *,
        num_channels: int,
        context: Context,
        input_size: int | Sequence[int] | None,
    ) -> None:
        super().__init__(
            model, context=context, input_size=input_size, frames_per_clip=self.clip_length
        )
        self.num_channels = num_channels
        self.num_classes = 1 if num_channels == 2 else num_channels

    def _at_size(self, native: Tensor, size: Sequence[int]) -> Tensor:
        scaled = resized(native, size)
        return logits_of_scores(scaled) if self.gives_scores else logits_of_channels(scaled)

    def _overwrite(self, outputs: Any, rows: list[int], logits: Tensor) -> None:
        native = self._native(outputs)
        scaled = resized(logits, native.shape[-2:])
        if self.gives_scores:
            native[rows] = scores_of_logits(scaled).to(native)
        elif self.num_channels == 1:
            native[rows] = scaled.to(native)
        else:
            native[rows] = channels_of_logits(scaled).to(native)

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        return outputs
