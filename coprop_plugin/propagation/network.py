"""AOT's network with Audio-Insert Blocks, for one frame at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from einops import rearrange
from torch import Tensor, nn

from coprop_plugin.errors import PropagationError
from coprop_plugin.layers import ModuleListOf, normalise
from coprop_plugin.propagation.attention import split_heads
from coprop_plugin.propagation.audio_insert import AudioInsert
from coprop_plugin.propagation.block import PropagatorBlock
from coprop_plugin.propagation.decoder import Decoder, initialise
from coprop_plugin.propagation.encoders import build_encoder
from coprop_plugin.propagation.identity import Identity
from coprop_plugin.propagation.memory import LongTermMemory


class PropagationNetwork(nn.Module):
    """Encoder, Audio-Insert Blocks, Propagator Blocks, decoder; without memory of its own.

    Section 3.4 of Co-Prop on AOT (Yang et al., arXiv:2106.02638v3). Audio is inserted into the
    encoder's maps F^l of `insert_layers`: 0, 1, 2 are the maps at strides 4, 8, 16, which feed the
    decoder; 3 is the last map after projection, which feeds the blocks and the decoder. (3,) is the
    paper's 1-layer variant, (0, 1, 2, 3) its 4-layer variant (Table 5). The projection takes the
    encoder's last map before any insertion. Channel counts are the encoder's: [24, 32, 96, 256] in
    A.2 are MobileNetV2's, ResNet-50 has [256, 512, 1024, 256].

    Args:
        encoder: A name or a mapping as `build_encoder` takes it.
        num_layers: Propagator Blocks.
        width: C of the tokens, a multiple of 16 and of `num_heads`.
        num_heads: Attention heads, in every attention.
        max_objects: Number of identities in the bank.
        audio_width: D of the audio tokens; None for a network without audio.
        insert_layers: Layers with an Audio-Insert Block.
        residual: As in `AudioInsert`.
        audio_identity: Whether audio is part of the ID embedding.
        short_term_radius: Radius of the short-term window, in tokens.
        drop_path: As in `PropagatorBlock`.
        guided: Whether the decoder corrects a guide; see `guidance`.

    Raises:
        PropagationError: If widths are not divisible, or a layer does not exist.
    """

    def __init__(
        self,
        encoder: str | Mapping[str, Any],
        num_layers: int,
        width: int,
        num_heads: int,
        max_objects: int,
        audio_width: int | None,
        insert_layers: Sequence[int] = (3,),
        residual: bool = True,
        audio_identity: bool = True,
        short_term_radius: int = 7,
        drop_path: float = 0.0,
        guided: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder)
        widths = (*self.encoder.widths[:3], width)
        _check_widths(width, num_heads, insert_layers, widths)
        self.heads = num_heads
        self.projector = nn.Conv2d(self.encoder.widths[3], width, 1)
        inserts = {}
        if audio_width is not None:
            inserts = {
                str(layer): AudioInsert(widths[layer], audio_width, num_heads, residual)
                for layer in sorted(set(insert_layers))
            }
        self.inserts = nn.ModuleDict(inserts)
        self.blocks: ModuleListOf[PropagatorBlock] = ModuleListOf(
            PropagatorBlock(width, num_heads, short_term_radius, drop_path)
            for _ in range(num_layers)
        )
        self.output_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_layers))
        # One more input channel for a guide's mask, and one more output for its weight.
        finest, *coarser = widths[:3]
        self.decoder = Decoder(
            width, num_layers + 1, (finest + guided, *coarser), 1 + max_objects + guided
        )
        identity_width = audio_width if audio_identity else None
        self.identity = Identity(width, max_objects, identity_width, num_heads)
        for part in (self.projector, self.blocks, self.decoder):
            initialise(part)
        nn.init.orthogonal_(self.identity.bank.weight, gain=17**-2)

    def encode(self, frame: Tensor, sound: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Encode frames [B, 3, H, W] in [0, 1], insert audio tokens [B, N, D] or None.

        Returns:
            The maps at strides 4, 8, 16, `[B, C_s, H / s, W / s]`, and tokens `[B, h, w, C]`.
        """
        *maps, last = self.encoder(normalise(frame).to(self.projector.weight.dtype))
        maps.append(self.projector(last))
        if sound is not None:
            for layer, insert in self.inserts.items():
                pixels = rearrange(maps[int(layer)], "b c h w -> b h w c")
                maps[int(layer)] = rearrange(insert(pixels, sound), "b h w c -> b c h w")
        return maps[:3], rearrange(maps[3], "b c h w -> b h w c")

    def compile(self, **options: Any) -> None:
        """Compile, in place, the parts with constant shapes: all but the attention to memory.

        Names of weights do not change. Worth its minute of compilation on a GPU; for CPUs see
        `docs/performance.md`.

        Args:
            **options: Options of `torch.compile`.

        Example:
            >>> propagator.network.compile(mode="max-autotune")  # doctest: +SKIP
        """
        self.encoder.compile(**options)
        self.decoder.compile(**options)
        for block in self.blocks:
            block.self_attention.compile(**options)
            block.feed_forward.compile(**options)

    def begin(
        self, tokens: Tensor, position: Tensor, id_emb: Tensor
    ) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Process a keyframe, with itself as memory.

        Returns:
            Token maps for the decoder, and key and value of each block, `[B, h, w, C]`.
        """
        outputs, memory = [tokens], []
        for block, norm in zip(self.blocks, self.output_norms, strict=True):
            tokens, key, content = block.look(tokens, position)
            value = block.remember(content, id_emb)
            tokens = block.propagate(tokens, key, self.by_head(key, value), (key, value))
            outputs.append(norm(tokens))
            memory.append((key, value))
        return outputs, memory

    def propagate(
        self,
        tokens: Tensor,
        position: Tensor,
        long_term: Sequence[LongTermMemory],
        short_term: Sequence[tuple[Tensor, Tensor]],
    ) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Propagate the memory to a frame: Eq. (7).

        Returns:
            Token maps for the decoder, and key and content of each block, `[B, h, w, C]`.
        """
        outputs, seen = [tokens], []
        for block, norm, far, near in zip(
            self.blocks, self.output_norms, long_term, short_term, strict=True
        ):
            tokens, key, content = block.look(tokens, position)
            tokens = block.propagate(tokens, key, far.read(), near)
            outputs.append(norm(tokens))
            seen.append((key, content))
        return outputs, seen

    def remember(
        self, seen: Sequence[tuple[Tensor, Tensor]], id_emb: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the memory of a propagated frame from its ID embedding: E^t of Eq. (7)."""
        return [
            (key, block.remember(content, id_emb))
            for block, (key, content) in zip(self.blocks, seen, strict=True)
        ]

    def by_head(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Lay out key and value [B, h, w, C] for long-term memory: [B, heads, h * w, C / heads]."""
        return split_heads(key, self.heads), split_heads(value, self.heads)


def _check_widths(
    width: int, heads: int, insert_layers: Sequence[int], widths: Sequence[int]
) -> None:
    unknown = [layer for layer in insert_layers if layer not in range(4)]
    if unknown:
        raise PropagationError(
            "Expected insert_layers among 0, 1, 2 (the encoder's maps at strides 4, 8, 16) and 3 "
            f"(the projected map), got {tuple(insert_layers)}. The paper's 1-layer variant is (3,)."
        )
    if width % 16 or width % heads:
        raise PropagationError(
            "Expected a width that is a multiple of 16 (group norms) and of num_heads, got "
            f"width={width} and num_heads={heads}. AOT has 256 and 8."
        )
    odd = [widths[layer] for layer in insert_layers if min(widths[layer], 256) % heads]
    if odd:
        raise PropagationError(
            f"Expected num_heads to divide the channels of the insert_layers, got {heads} and maps "
            f"of {odd} channels. Use fewer heads, or leave those layers out."
        )
