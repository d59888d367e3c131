"""All that an `AudioInsertPropagator` knows of a segment."""

from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from coprop_plugin.errors import PropagationError, UnknownNameError

ASKING = 64
"""How many tokens of a frame, about, are asked which frames they look at."""


def recent(memory: "LongTermMemory") -> Tensor:
    """Give up the oldest frame: the keyframe and the newest stay."""
    return memory.written_at[:, 1:].argmin(1) + 1


def useful(memory: "LongTermMemory") -> Tensor:
    """Give up what was looked at least, for as long as it is there; the newest quarter stays.

    Usefulness is the share of attention that a frame got at each write since its own, on average,
    as in XMem (Cheng and Schwing, arXiv:2207.07115v2), there for each token.
    """
    writes = memory.written - memory.written_at
    stays = writes <= memory.limit // 4
    stays[:, 0] = True
    return (memory.looked_at / writes).masked_fill(stays, torch.inf).argmin(1)


def merge(memory: "LongTermMemory") -> Tensor:
    """Make one frame of the two neighbours in time that are most alike: their mean.

    As MovieChat (Song et al., arXiv:2307.16449v4) and MA-LMM (He et al., arXiv:2404.05726v2) do
    with the tokens of a language model: keys are compared by their cosine, place by place. A frame
    that stands for several counts as so many.
    """
    if memory.limit < 3:
        return recent(memory)
    order = memory.written_at.argsort(1)[:, 1:]
    rows = torch.arange(len(order), device=order.device)[:, None]
    keys, values = memory.keys, memory.values
    directions = F.normalize(keys, dim=-1)[rows, :, order]
    alike = (directions[:, 1:] * directions[:, :-1]).sum(-1).mean((2, 3))
    first = alike.argmax(1, keepdim=True)
    into, away = order.gather(1, first), order.gather(1, first + 1)
    weight = memory.stands_for
    share = weight.gather(1, away) / (weight.gather(1, away) + weight.gather(1, into))
    for kept in (keys, values):
        kept[rows, :, into] = torch.lerp(
            kept[rows, :, into], kept[rows, :, away], rearrange(share, "b n -> b n 1 1 1").to(kept)
        )
    weight.scatter_add_(1, into, weight.gather(1, away))
    return away[:, 0]


POLICIES: dict[str, Callable[["LongTermMemory"], Tensor]] = dict(
    recent=recent, useful=useful, merge=merge
)


def eviction_policy(name: str) -> Callable[["LongTermMemory"], Tensor]:
    """Return a policy by its name.

    Raises:
        UnknownNameError: If there is none of that name.
    """
    if name not in POLICIES:
        raise UnknownNameError(
            f"Got memory_policy={name!r}; there are {', '.join(POLICIES)}. To forget nothing, as "
            "AOT, say `max_memory_frames=None`."
        )
    return POLICIES[name]


@torch.no_grad()
def attention_shares(queries: Tensor, keys: Tensor) -> Tensor:
    """Return what share of its attention a frame gives to each frame in memory.

    About `ASKING` of its tokens are asked, evenly spread.

    Args:
        queries: Of the frame, `[B, heads, N, C]`.
        keys: `[B, heads, frames, N, C]`.

    Returns:
        `[B, frames]`, rows that add up to 1.
    """
    asking = queries[:, :, :: max(queries.shape[2] // ASKING, 1)]
    scores = asking * asking.shape[-1] ** -0.5 @ keys.flatten(2, 3).mT
    shares = scores.float().softmax(-1).unflatten(-1, keys.shape[2:4])
    return shares.sum(-1).mean((1, 2))


def check_limits(gap: int, limit: int | None, ahead: int) -> None:
    """Refuse a gap, a limit of memory, or a number of frames to encode at once, below 1.

    Raises:
        PropagationError: If one is; the limit may be None.
    """
    if min(gap, ahead, 1 if limit is None else limit) < 1:
        raise PropagationError(
            f"Got long_term_gap={gap}, max_memory_frames={limit} and encode_ahead={ahead}; each is "
            "1 or more. For the keyframe alone say `max_memory_frames=1`, for no limit None."
        )


class LongTermMemory:
    """Keys and values of the frames that one block remembers, read without copying.

    Frames are written into a buffer that grows by half when it is full, so that a write costs what
    one frame costs; where gradients are recorded, into a copy of it. At its limit memory forgets by
    a policy, each row of the batch for itself.

    Args:
        limit: Most frames to keep, the keyframe, which always stays, among them. None keeps all,
            as AOT does.
        policy: Which frame makes room for a new one: a name of `POLICIES`.

    Attributes:
        written: How many frames were written.
        written_at: The number of each frame kept, `[B, limit]` from 0; where there is a limit, as
            what follows.
        looked_at: The attention each got since, a share of 1 a write, `[B, limit]`.
        stands_for: How many frames each is the mean of, `[B, limit]`.
    """

    def __init__(self, limit: int | None = None, policy: str = "recent") -> None:
        self.limit = limit
        self.written = 0
        self._make_room, self._asks = eviction_policy(policy), policy == "useful"
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    @property
    def num_frames(self) -> int:
        """How many frames are kept."""
        return self.written if self.limit is None else min(self.written, self.limit)

    @property
    def keys(self) -> Tensor:
        """Of the frames kept, `[B, heads, frames, H * W, C / heads]`."""
        return self._keys[:, :, : self.num_frames]

    @property
    def values(self) -> Tensor:
        """Of the frames kept, `[B, heads, frames, H * W, C / heads]`."""
        return self._values[:, :, : self.num_frames]

    def write(self, keys: Tensor, values: Tensor) -> None:
        """Add the tokens of one frame, `[B, heads, H * W, C / heads]` each."""
        if self._keys is None:
            self._keys, self._values = keys[:, :, None], values[:, :, None]
            if self.limit is not None:
                self.looked_at = torch.zeros(len(keys), self.limit, device=keys.device)
                self.written_at = torch.zeros_like(self.looked_at, dtype=torch.long)
                self.stands_for = torch.ones_like(self.looked_at)
        elif self.limit != 1:
            self._add(keys, values)
        self.written += 1

    def read(self) -> tuple[Tensor, Tensor]:
        """Return keys and values of all tokens kept, `[B, heads, M, C / heads]`."""
        return self.keys.flatten(2, 3), self.values.flatten(2, 3)

    def first(self, rows: int) -> "LongTermMemory":
        """Return the memory of the first rows of the batch axis; it takes over from this one."""
        kept = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(kept, name, value[:rows])
        return kept

    def _add(self, keys: Tensor, values: Tensor) -> None:
        if torch.is_grad_enabled():
            # What attention looked at is needed for its gradient.
            self._keys, self._values = self._keys.clone(), self._values.clone()
        rows, place = torch.arange(len(keys), device=keys.device), self.num_frames
        if self.limit is not None and self._asks:
            self.looked_at[:, :place] += attention_shares(keys, self.keys)
        if place == self.limit:
            place = self._make_room(self)
        else:
            self._keys, self._values = self._with_room(self._keys), self._with_room(self._values)
            place = torch.full_like(rows, place)
        self._keys[rows, :, place], self._values[rows, :, place] = keys, values
        if self.limit is not None:
            self.written_at[rows, place] = self.written
            self.looked_at[rows, place], self.stands_for[rows, place] = 0, 1

    def _with_room(self, frames: Tensor) -> Tensor:
        """Return a buffer in which there is room for one frame more, this one if there is."""
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
        ahead: Maps and tokens of frames that come next and are encoded already.
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

    def first(self, clips: int, guide: Any) -> "Memory":
        """Return the memory of the first clips alone; it takes over from this one."""
        rows = len(self.short_term[0][0]) // self.batch * clips
        return replace(
            self,
            batch=clips,
            long_term=[far.first(rows) for far in self.long_term],
            short_term=[(key[:rows], value[:rows]) for key, value in self.short_term],
            guide=guide,
            ahead=deque(([x[:clips] for x in maps], tokens[:clips]) for maps, tokens in self.ahead),
        )
