"""Memory of a segment, and eviction policies of the long-term memory."""

from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from coprop_plugin.errors import PropagationError, UnknownNameError

MemoryPolicy = Literal["recent", "useful", "merge"]
"""Which frame the long-term memory evicts when it is full; see the functions of these names."""

NUM_QUERIES = 64
"""Number of tokens of a frame, approximately, whose attention is measured."""


def recent(memory: "LongTermMemory") -> Tensor:
    """Evict the oldest frame other than the keyframe."""
    return memory.written_at[:, 1:].argmin(1) + 1


def useful(memory: "LongTermMemory") -> Tensor:
    """Evict the frame with the least attention per write; the newest quarter is kept.

    As in XMem (Cheng and Schwing, arXiv:2207.07115v2), which measures it per token: the mean share
    of attention that a frame got at each write after its own.
    """
    writes = memory.written - memory.written_at
    kept = writes <= memory.limit_or_all // 4
    kept[:, 0] = True
    return (memory.attention / writes).masked_fill(kept, torch.inf).argmin(1)


def merge(memory: "LongTermMemory") -> Tensor:
    """Merge the two most similar neighbours in time into their mean, and evict the second.

    As MovieChat (Song et al., arXiv:2307.16449v4) and MA-LMM (He et al., arXiv:2404.05726v2) do
    with the tokens of a language model: keys are compared by their cosine, position by position. A
    merged frame is weighted by the number of its frames.
    """
    if memory.limit_or_all < 3:
        return recent(memory)
    order = memory.written_at.argsort(1)[:, 1:]
    rows = torch.arange(len(order), device=order.device)[:, None]
    keys, values = memory.keys, memory.values
    directions = F.normalize(keys, dim=-1)[rows, :, order]
    similarity = (directions[:, 1:] * directions[:, :-1]).sum(-1).mean((2, 3))
    first = similarity.argmax(1, keepdim=True)
    into, evicted = order.gather(1, first), order.gather(1, first + 1)
    weight = memory.merged
    share = weight.gather(1, evicted) / (weight.gather(1, evicted) + weight.gather(1, into))
    share = rearrange(share, "b n -> b n 1 1 1")
    for kept in (keys, values):
        kept[rows, :, into] = torch.lerp(
            kept[rows, :, into], kept[rows, :, evicted], share.to(kept)
        )
    weight.scatter_add_(1, into, weight.gather(1, evicted))
    return evicted[:, 0]


Evict = Callable[["LongTermMemory"], Tensor]
"""Returns the place of the frame to evict in each row of the batch, `[B]`."""

POLICIES: dict[MemoryPolicy, Evict] = dict(recent=recent, useful=useful, merge=merge)


def eviction_policy(name: MemoryPolicy) -> Evict:
    """Return a policy by its name.

    Raises:
        UnknownNameError: If the name is unknown.
    """
    if name not in POLICIES:
        raise UnknownNameError(
            f"{name!r} is not a memory_policy. Available: {', '.join(POLICIES)}. To evict nothing, "
            "as AOT, use `max_memory_frames=None`."
        )
    return POLICIES[name]


@torch.no_grad()
def attention_shares(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the share of a frame's attention for each frame in memory.

    Measured on about `NUM_QUERIES` of its tokens, evenly spread.

    Args:
        queries: Queries of the frame, `[B, heads, N, C]`.
        keys: `[B, heads, frames, N, C]`.

    Returns:
        `[B, frames]`; rows sum to 1.
    """
    sampled = queries[:, :, :: max(queries.shape[2] // NUM_QUERIES, 1)]
    scores = sampled * sampled.shape[-1] ** -0.5 @ keys.flatten(2, 3).mT
    shares = scores.float().softmax(-1).unflatten(-1, keys.shape[2:4])
    return shares.sum(-1).mean((1, 2))


def check_limits(gap: int, limit: int | None, ahead: int) -> None:
    """Check that gap, memory limit, and number of frames to encode at once are at least 1.

    Raises:
        PropagationError: If one is not; the limit may be None.
    """
    if min(gap, ahead, 1 if limit is None else limit) < 1:
        raise PropagationError(
            "Expected 1 or more for each of long_term_gap, max_memory_frames and encode_ahead, got "
            f"{gap}, {limit} and {ahead}. For the keyframe alone use `max_memory_frames=1`, for no "
            "limit None."
        )


class LongTermMemory:
    """Keys and values of the frames in one block's memory, read without copying.

    Frames are written into a buffer that grows by half when it is full, so that a write has the
    cost of one frame; where gradients are recorded, into a copy of it. At the limit a policy evicts
    a frame, separately for each row of the batch.

    Args:
        limit: Maximum number of frames, including the keyframe, which is never evicted. None keeps
            all, as AOT does.
        policy: Which frame is evicted for a new one.

    Attributes:
        written: Number of frames written.
        written_at: The number of each frame kept, `[B, limit]` from 0. This and the following
            exist only with a limit.
        attention: The attention to each frame since, a share of 1 per write, `[B, limit]`.
        merged: Number of frames that each is the mean of, `[B, limit]`.
    """

    written_at: Tensor
    attention: Tensor
    merged: Tensor
    _keys: Tensor
    _values: Tensor

    def __init__(self, limit: int | None = None, policy: MemoryPolicy = "recent") -> None:
        self.limit = limit
        self.written = 0
        self._evict, self._measures_attention = eviction_policy(policy), policy == "useful"

    @property
    def num_frames(self) -> int:
        """Number of frames kept."""
        return min(self.written, self.limit_or_all)

    @property
    def limit_or_all(self) -> int:
        """The limit, or the number of frames written where there is none."""
        return self.written if self.limit is None else self.limit

    @property
    def keys(self) -> Tensor:
        """Keys of the frames kept, `[B, heads, frames, H * W, C / heads]`."""
        return self._keys[:, :, : self.num_frames]

    @property
    def values(self) -> Tensor:
        """Values of the frames kept, `[B, heads, frames, H * W, C / heads]`."""
        return self._values[:, :, : self.num_frames]

    def write(self, keys: Tensor, values: Tensor) -> None:
        """Add the tokens of one frame, `[B, heads, H * W, C / heads]` each."""
        if not self.written:
            self._keys, self._values = keys[:, :, None], values[:, :, None]
            if self.limit is not None:
                exact: dict[str, Any] = dict(dtype=torch.float32, device=keys.device)
                self.attention = torch.zeros(len(keys), self.limit, **exact)
                self.written_at = torch.zeros_like(self.attention, dtype=torch.long)
                self.merged = torch.ones_like(self.attention)
        elif self.limit != 1:
            self._add(keys, values)
        self.written += 1

    def read(self) -> tuple[Tensor, Tensor]:
        """Return keys and values of all tokens kept, `[B, heads, M, C / heads]`."""
        return self.keys.flatten(2, 3), self.values.flatten(2, 3)

    def first(self, rows: int) -> "LongTermMemory":
        """Return the memory of the first rows of the batch; this one must not be used any more."""
        kept = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(kept, name, value[:rows])
        return kept

    def _add(self, keys: Tensor, values: Tensor) -> None:
        if torch.is_grad_enabled():
            # The gradient of attention needs the buffer as it was.
            self._keys, self._values = self._keys.clone(), self._values.clone()
        rows = torch.arange(len(keys), device=keys.device)
        if self.limit is not None and self._measures_attention:
            self.attention[:, : self.num_frames] += attention_shares(keys, self.keys)
        if self.num_frames == self.limit:
            place = self._evict(self)
        else:
            self._keys, self._values = self._with_room(self._keys), self._with_room(self._values)
            place = torch.full_like(rows, self.num_frames)
        self._keys[rows, :, place], self._values[rows, :, place] = keys, values
        if self.limit is not None:
            self.written_at[rows, place] = self.written
            self.attention[rows, place], self.merged[rows, place] = 0, 1

    def _with_room(self, frames: Tensor) -> Tensor:
        """Return a buffer with room for one more frame: the given one if it has room."""
        kept = self.num_frames
        if kept < frames.shape[2]:
            return frames
        room = kept + 1 + kept // 2
        room = room if self.limit is None else min(room, self.limit)
        buffer = frames.new_empty(*frames.shape[:2], room, *frames.shape[3:])
        buffer[:, :, :kept] = frames
        return buffer


@dataclass(eq=False)
class Memory:
    """Memory of a segment: `start` returns it, `step` updates it.

    Objects beyond the network's ten identities are processed in groups of ten, each of which is a
    clip of its own for everything after the encoder: the batch axis below is `(b groups)`.

    Args:
        num_objects: n.
        batch: B.
        frame_size: Height and width of the frames.
        network_size: Height and width of the network's input.
        position: `[H, W, C]`, position codes of the tokens.
        long_term: Long-term memory of each block.
        short_term: Key and value of the last frame for each block, `[(B groups), H, W, C]`.
        has_sound: Whether the segment has audio.
        frame: Number of frames since the keyframe.
        last_write: The last of them in long-term memory.
        guide: Memory of the guide, if any.
        ahead: Maps and tokens of the next frames, encoded ahead.
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
    ahead: deque[tuple[Sequence[Tensor], Tensor]] = field(default_factory=deque)

    def first(self, count: int, guide: Any) -> "Memory":
        """Return the memory of the first segments; this one must not be used any more."""
        rows = len(self.short_term[0][0]) // self.batch * count
        return replace(
            self,
            batch=count,
            long_term=[far.first(rows) for far in self.long_term],
            short_term=[(key[:rows], value[:rows]) for key, value in self.short_term],
            guide=guide,
            ahead=deque(([x[:count] for x in maps], tokens[:count]) for maps, tokens in self.ahead),
        )
