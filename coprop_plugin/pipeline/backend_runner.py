"""Puts frames to the wrapped model."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from coprop_plugin.errors import AdapterError
from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.pipeline.schedule import Asked
from coprop_plugin.pipeline.windows import Window
from coprop_plugin.types import Clip, Hook, KeyframeBackend, checked_class_names

# Logits of one batch of keyframes are kept under this, so that 71 classes of a large picture fit.
KEYFRAME_LOGITS_BYTES = 256 * 2**20


class Asker:
    """Asks a wrapped model about frames, Eq. (2): in eval mode, as many at once as memory allows.

    Args:
        backend: The model.
    """

    def __init__(self, backend: KeyframeBackend) -> None:
        self.backend = backend

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the model calls its classes, if it says so.

        Raises:
            AdapterError: If there is not one name for each.
        """
        names = getattr(self.backend, "class_names", None)
        return checked_class_names(names, self.backend.num_classes, AdapterError)

    def frames_at_once(self, clip: Clip) -> int:
        """Return how many frames of a clip's size to ask about in one go."""
        height, width = clip.size
        return max(1, KEYFRAME_LOGITS_BYTES // (4 * self.backend.num_classes * height * width))

    def ask(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Return the model's logits `[K, C, H, W]` of frames of a clip.

        Raises:
            AdapterError: If it gives logits of another shape.
        """
        with torch.no_grad(), evaluating(self.backend):
            logits = self.backend.segment_keyframes(clip, indices)
        wanted = (len(indices), self.backend.num_classes, *clip.size)
        if tuple(logits.shape) != wanted:
            raise AdapterError(
                f"Got logits of shape {list(logits.shape)} from {type(self.backend).__name__} for "
                f"{len(indices)} keyframes; wanted {list(wanted)}: [K, num_classes, H, W] at the "
                "clip's own size."
            )
        return logits

    def keyframes(self, window: Window, asked: Asked, hook: Hook | None) -> Iterator[Tensor | None]:
        """Yield the logits `[C, H, W]` of each keyframe of a window, None where silent."""
        at_once = self.frames_at_once(window.clip)
        indices = [i for i in asked.bounds[:-1] if i in window.frames]
        waiting = [i for i in indices if asked.is_put_to_model(i) and i >= asked.first_put]
        # Whoever goes on asks about the same frames at once, as their number may change a last bit.
        while waiting[:at_once] and waiting[:at_once][-1] < asked.start:
            waiting = waiting[at_once:]
        heard = window.hearing_segments(asked)
        batch: dict[int, Tensor] = {}
        for index in (i for i in indices if i >= asked.start):
            if not batch and asked.is_put_to_model(index):
                chosen, waiting = waiting[:at_once], waiting[at_once:]
                logits = self.ask(heard, [i - window.start for i in chosen])
                batch = dict(zip(chosen, logits, strict=True))
                batch = {i: row for i, row in batch.items() if i >= asked.start}
                if hook:
                    done = asked.indices.index(chosen[-1]) + 1
                    hook("keyframes", {"indices": chosen, "logits": logits}, done, len(asked))
            yield batch.pop(index, asked.given_logits(index, self.backend.num_classes))
