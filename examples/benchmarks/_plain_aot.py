"""A plain AOT loop on the weights of a propagator: the reference for speed measurements.

Attention matrices are made and kept until softmax is done, the windows of the short-term attention
are unfolded (or, faster, masked out of all pairs of pixels: `windows="dense"`), batch norms run by
themselves, memory is concatenated at each write, all eleven logits are upsampled to full size.
"""

import copy

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.propagation.attention import (
    LongTermAttention,
    SelfAttention,
    ShortTermAttention,
    join_heads,
    split_heads,
)
from coprop_plugin.propagation.encoders import Bottleneck, ResNet
from coprop_plugin.propagation.geometry import one_hot


def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax of all scores at once; `[B, heads, M, C]` each."""
    scores = query * query.shape[-1] ** -0.5 @ keys.mT
    return scores.softmax(-1) @ values


class PlainSelf(SelfAttention):
    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        placed = tokens + position
        parts = self.query(placed), self.key(placed), self.value(tokens)
        attended = attend(*(split_heads(x, self.heads) for x in parts))
        return self.project(join_heads(attended, tokens.shape[1]))


class PlainLongTerm(LongTermAttention):
    def forward(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        attended = attend(split_heads(query, self.heads), keys, values)
        return self.project(join_heads(attended, query.shape[1]))


class UnfoldedShortTerm(ShortTermAttention):
    """Copies a window of keys and of values for every pixel."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        height, width = query.shape[1:3]
        query = split_heads(query, self.heads)
        inside = self._unfold(key.new_ones(1, height, width, 1)).view(self.window**2, -1) > 0
        windows = "b (heads c o) p -> b heads c o p"
        key, value = (
            rearrange(self._unfold(x), windows, heads=self.heads, o=self.window**2)
            for x in (key, value)
        )
        scaled = (query * query.shape[-1] ** -0.5).mT[:, :, :, None]
        scores = (scaled * key).sum(2) + self._of_offsets(query).mT
        weights = scores.masked_fill(~inside, -torch.inf).softmax(2)
        attended = (weights[:, :, None] * value).sum(3).mT + weights.mT @ self.relative_value.mT
        return self.project(join_heads(attended, height))

    def _unfold(self, x: Tensor) -> Tensor:
        return F.unfold(rearrange(x, "b h w c -> b c h w"), self.window, padding=self.radius)

    def _of_offsets(self, query: Tensor) -> Tensor:
        weight = rearrange(self.relative_key_weight, "(heads o) c -> heads c o", heads=self.heads)
        bias = rearrange(self.relative_key_bias, "(heads o) -> heads 1 o", heads=self.heads)
        return query @ weight + bias


class DenseShortTerm(UnfoldedShortTerm):
    """Scores all pairs of pixels, and keeps those in the window: kinder than AOT's own fallback."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        height, width = query.shape[1:3]
        query, key, value = (split_heads(x, self.heads) for x in (query, key, value))
        y, x = (torch.arange(n, device=query.device) for n in (height, width))
        y, x = (rearrange(a, "h w -> (h w)") for a in torch.meshgrid(y, x, indexing="ij"))
        dy, dx = y[None] - y[:, None], x[None] - x[:, None]
        inside = (dy.abs() <= self.radius) & (dx.abs() <= self.radius)
        offset = ((dy + self.radius) * self.window + dx + self.radius).where(inside, 0)
        offset = offset.expand(*query.shape[:2], -1, -1)
        scores = query * query.shape[-1] ** -0.5 @ key.mT
        scores = scores + self._of_offsets(query).gather(-1, offset)
        weights = scores.masked_fill(~inside, -torch.inf).softmax(-1)
        of_offsets = weights.new_zeros(*weights.shape[:3], self.window**2)
        of_offsets.scatter_add_(-1, offset, weights)
        attended = weights @ value + of_offsets @ self.relative_value.mT
        return self.project(join_heads(attended, height))


class PlainBottleneck(Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class PlainResNet(ResNet):
    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)
            maps.append(x)
        return [*maps, x]


WINDOWS = {"unfold": UnfoldedShortTerm, "dense": DenseShortTerm}


class PlainLoop:
    """The loop of AOT's evaluation over one clip, on the weights of a propagator with ResNet.

    Args:
        propagator: Whose weights; without sound and guide.
        windows: How the short-term attention is done: "unfold" or "dense".
    """

    def __init__(self, propagator: AudioInsertPropagator, windows: str = "unfold") -> None:
        self.network = copy.deepcopy(propagator.network)
        self.gap = propagator.long_term_gap
        plain: dict[type, type] = {
            SelfAttention: PlainSelf,
            LongTermAttention: PlainLongTerm,
            ShortTermAttention: WINDOWS[windows],
            Bottleneck: PlainBottleneck,
            ResNet: PlainResNet,
        }
        for module in self.network.modules():
            module.__class__ = plain.get(type(module), type(module))

    def start(self, frame: Tensor, masks: Tensor, position: Tensor) -> None:
        """Begin with a keyframe [1, 3, H, W] of 16 n + 1 pixels a side."""
        self.position, self.num_objects = position, int(masks.max())
        self.since_write = 0
        _, tokens = self.network.encode(frame, None)
        _, self.near = self.network.begin(tokens, position, self._id_emb(masks))
        self.far = [self.network.by_head(*entry) for entry in self.near]

    def step(self, frame: Tensor) -> Tensor:
        """Carry the masks to the next frame; returns logits `[1, 1 + n, H, W]`."""
        maps, tokens = self.network.encode(frame, None)
        outputs, seen = [tokens], []
        for block, norm, far, near in zip(
            self.network.blocks, self.network.output_norms, self.far, self.near, strict=True
        ):
            tokens, key, content = block.look(tokens, self.position)
            tokens = block.propagate(tokens, key, far, near)
            outputs.append(norm(tokens))
            seen.append((key, content))
        decoded = self.network.decoder(outputs, maps)
        decoded[:, 1 + self.num_objects :] = -1e10
        logits = F.interpolate(decoded, frame.shape[-2:], mode="bilinear", align_corners=True)
        id_emb = self._id_emb(logits.softmax(1).argmax(1))
        self.near = self.network.remember(seen, id_emb)
        self.since_write += 1
        if self.since_write >= self.gap:
            self.write()
        return logits[:, : 1 + self.num_objects]

    def write(self) -> None:
        """Add the last frame to long-term memory."""
        self.since_write = 0
        new = [self.network.by_head(*entry) for entry in self.near]
        self.far = [
            tuple(torch.cat(pair, dim=2) for pair in zip(old, fresh, strict=True))
            for old, fresh in zip(self.far, new, strict=True)
        ]

    def _id_emb(self, masks: Tensor) -> Tensor:
        bank = self.network.identity.bank
        planes = one_hot(masks, self.network.identity.max_objects).to(bank.weight.dtype)
        return rearrange(bank(planes), "b c h w -> b h w c")
