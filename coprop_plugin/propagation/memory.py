"""All that an `AudioInsertPropagator` knows of a segment."""

from dataclasses import dataclass

import torch
from torch import Tensor


class LongTermMemory:
    """Keys and values of all frames that one block remembers, read without copying.

    Nothing is ever evicted. Outside of training, frames are written into a buffer that grows by
    half when it is full, so that a write costs what one frame costs. Where gradients are
    recorded a buffer that changes would spoil them, and frames are concatenated.
    """

    def __init__(self) -> None:
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._frames = self._tokens = 0

    @property
    def num_frames(self) -> int:
        """How many frames were written."""
        return self._frames

    def write(self, keys: Tensor, values: Tensor) -> None:
        """Add the tokens of one frame, `[B, heads, H * W, C / heads]` each."""
        if self._keys is None:
            self._keys, self._values = keys, values
        elif torch.is_grad_enabled():
            self._keys = torch.cat([self._keys[:, :, : self._tokens], keys], dim=2)
            self._values = torch.cat([self._values[:, :, : self._tokens], values], dim=2)
        else:
            self._write_into_buffer(keys, values)
        self._tokens += keys.shape[2]
        self._frames += 1

    def read(self) -> tuple[Tensor, Tensor]:
        """Return keys and values of all tokens written, `[B, heads, M, C / heads]`."""
        return self._keys[:, :, : self._tokens], self._values[:, :, : self._tokens]

    def _write_into_buffer(self, keys: Tensor, values: Tensor) -> None:
        new_tokens = keys.shape[2]
        end = self._tokens + new_tokens
        # The first frame is kept as it came and never written to: it may be someone else's.
        if self._frames == 1 or end > self._keys.shape[2]:
            room = self._tokens + new_tokens * (1 + self._frames // 2)
            self._keys = _grown(self._keys[:, :, : self._tokens], room)
            self._values = _grown(self._values[:, :, : self._tokens], room)
        self._keys[:, :, self._tokens : end] = keys
        self._values[:, :, self._tokens : end] = values


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
