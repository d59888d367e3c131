"""What long-term memory gives up when it is full; the keyframe, its first frame, always stays.

A policy is asked for room before a frame is written into a full memory. It may change what is kept,
and answers with one place for each row of the batch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from coprop_plugin.errors import UnknownNameError

if TYPE_CHECKING:
    from coprop_plugin.propagation.memory import LongTermMemory

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


def policy(name: str) -> Callable[["LongTermMemory"], Tensor]:
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
