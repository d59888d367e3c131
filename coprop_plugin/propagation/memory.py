"""All that an `AudioInsertPropagator` knows of a segment."""

from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


class LongTermMemory:
    """Keys and values of the frames that one block remembers, read without copying.

    Outside of training, frames are written into a buffer that grows by half when it is full, so
    that a write costs what one frame costs. Where gradients are recorded a buffer that changes
    would spoil them, and frames are concatenated.

    Args:
        limit: Most frames to keep; then each new one takes the place of the oldest but the
            keyframe, which stays. None keeps all, as AOT does.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._written = self._frame_tokens = 0

    @property
    def num_frames(self) -> int:
        """How many frames are kept."""
        return self._written if self.limit is None else min(self._written, self.limit)

    def write(self, keys: Tensor, values: Tensor) -> None:
        """Add the tokens of one frame, `[B, heads, H * W, C / heads]` each."""
        place = self._next_place()
        if self._keys is None:
            self._keys, self._values = keys, values
        elif place == 0:
            return
        elif torch.is_grad_enabled():
            old_keys, old_values = self.read()
            self._keys = _replaced(old_keys, keys, place)
            self._values = _replaced(old_values, values, place)
        else:
            self._keys = self._with_room(self._keys, keys.shape[2])
            self._values = self._with_room(self._values, keys.shape[2])
            where = slice(place * keys.shape[2], (place + 1) * keys.shape[2])
            self._keys[:, :, where], self._values[:, :, where] = keys, values
        self._frame_tokens = keys.shape[2]
        self._written += 1

    def read(self) -> tuple[Tensor, Tensor]:
        """Return keys and values of all tokens kept, `[B, heads, M, C / heads]`."""
        tokens = self.num_frames * self._frame_tokens
        return self._keys[:, :, :tokens], self._values[:, :, :tokens]

    def first(self, rows: int) -> "LongTermMemory":
        """Return the memory of the first rows of the batch axis; it takes over from this one."""
        kept = copy(self)
        kept._keys, kept._values = self._keys[:rows], self._values[:rows]
        return kept

    def _next_place(self) -> int:
        if self.limit is None or self._written < self.limit:
            return self._written
        return 1 + (self._written - 1) % (self.limit - 1) if self.limit > 1 else 0

    def _with_room(self, tokens: Tensor, new_tokens: int) -> Tensor:
        kept = self.num_frames
        full = (kept + 1) * new_tokens > tokens.shape[2] and kept != self.limit
        # The first frame is kept as it came and never written to: it may be someone else's.
        if kept > 1 and not full:
            return tokens
        room = kept + 1 + kept // 2
        room = room if self.limit is None else min(room, self.limit)
        return _grown(tokens[:, :, : kept * new_tokens], room * new_tokens)


def _replaced(tokens: Tensor, new: Tensor, place: int) -> Tensor:
    start = place * new.shape[2]
    return torch.cat([tokens[:, :, :start], new, tokens[:, :, start + new.shape[2] :]], dim=2)


def _grown(tokens: Tensor, room: int) -> Tensor:
    buffer = tokens.new_empty(*tokens.shape[:2], room, tokens.shape[3])
    buffer[:, :, : tokens.shape[2]] = tokens
    return buffer


@dataclass(eq=False)
class Memory:
    """What `start` returns and `step` updates; the network keeps nothing itself.

    Objects beyond the network's ten identities go in groups of ten, each of which is a clip of
    its own to everything behind the encoder: the batch axis below is `(b groups)`.

    Args:
        num_objects: n.
        batch: B.
        frame_size: Height and width of the frames.
        network_size: What the network sees of them.
        position: `[H, W, C]`, the place of every token.
        long_term: One for each block.
        short_term: Key and value of the last frame for each block, `[(B groups), H, W, C]`.
        has_sound: Whether the segment began with sound.
        frame: Frames since the keyframe.
        last_write: The last of them in long-term memory.
        guide: The memory of the guide, where there is one.
    """

    num_objects: int
    batch: int
    frame_size: tuple[int, int]
    network_size: tuple[int, int]
    position: Tensor
    long_term: list[LongTermMemory]
    short_term: list[tuple[Tensor, Tensor]]
    has_sound: bool
    frame: int = 0
    last_write: int = 0
    guide: Any = None

    def first(self, clips: int, guide: Any) -> "Memory":
        """Return the memory of the first clips alone; it takes over from this one."""
        rows = len(self.short_term[0][0]) // self.batch * clips
        return replace(
            self,
            batch=clips,
            long_term=[far.first(rows) for far in self.long_term],
            short_term=[(key[:rows], value[:rows]) for key, value in self.short_term],
            guide=guide,
        )
