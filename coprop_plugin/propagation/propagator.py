"""The Audio-Insert Propagator: audio-guided propagation of masks from frame to frame."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from coprop_plugin.checkpoints import Pretrained
from coprop_plugin.errors import PropagationError
from coprop_plugin.layers import as_rgb
from coprop_plugin.propagation import guidance
from coprop_plugin.propagation.audio_tokens import SoundTokens
from coprop_plugin.propagation.block import sine_position
from coprop_plugin.propagation.decoder import upsample
from coprop_plugin.propagation.geometry import (
    check_forced_masks,
    check_keyframe,
    check_next_frame,
    check_sound,
    network_size,
    resize_frame,
    resize_masks,
)
from coprop_plugin.propagation.groups import (
    for_groups,
    merge_groups,
    num_groups,
    split_into_groups,
)
from coprop_plugin.propagation.memory import (
    LongTermMemory,
    Memory,
    MemoryPolicy,
    check_limits,
    eviction_policy,
)
from coprop_plugin.propagation.network import PropagationNetwork
from coprop_plugin.propagation.presets import Preset, preset_shape
from coprop_plugin.propagation.text import Guidance, TextTokens, condition
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import AudioEncoder, Clip


@MODELS.register_module(name=["AudioInsertPropagator", "audio_insert"])
class AudioInsertPropagator(Pretrained, nn.Module):
    """Eq. (3) and (7) of Co-Prop: AOT, with the audio of each frame inserted into its features.

    `start` with a keyframe's masks, then `step` frame by frame; all state is in the memory that
    `start` returns. Audio enters by `AudioInsert` (Eq. 6) and in the ID embedding (`Identity`);
    both have no effect at initialisation, and with `sound=None` both are skipped. Without audio the
    network computes exactly AOT's function.

    Frames may have any size: inside, sides are 16 n + 1 as in AOT, the long edge at most
    `max_size`. More than `max_objects` objects are processed in groups that share the encoder's
    maps, and merged as in AOT: backgrounds multiplied, objects concatenated.

    Args:
        preset: One of AOT's sizes; the next three override it where they are not None.
        encoder: "r50", "mobilenetv2", "small", or a mapping with options, e.g.
            `dict(type="r50", width=8)`.
        num_layers: Number of Propagator Blocks.
        long_term_gap: Frames between writes into long-term memory.
        max_memory_frames: Maximum number of frames in long-term memory, which bounds time and
            memory for segments of any length. AOT keeps all, which is `None`; the default differs
            from it after as many gaps. Like the next two, it is an attribute that may be set at any
            time; segments that have begun keep their value.
        memory_policy: Eviction from a full long-term memory: "recent" (the oldest but the
            keyframe), "useful" (the least attended) or "merge" (the two most similar are merged).
        encode_ahead: Number of frames that the pipeline encodes at once; see `look_ahead`.
        width: Channels of a token.
        num_heads: Attention heads, in every attention.
        insert_layers: Layers with an Audio-Insert Block; see `PropagationNetwork`.
        audio_identity: Whether audio is part of the ID embedding.
        audio_encoder: A registered name ("VGGish", "SmallLogMelEncoder"), a config, or a module
            with their interface. None uses the VGGish embeddings of clips that have them.
        audio_width: Channels of an audio token.
        tokens: As in `SoundTokens`; "embedding" with `residual=False` is Eq. (6) literally. "text"
            is guided by text instead (Table 4).
        residual: As in `AudioInsert`.
        neighbours: As in `SoundTokens`.
        text: Options of `TextTokens`, where `tokens="text"`.
        max_objects: Number of identities in the bank.
        max_size: Long edge in pixels, None for no limit.
        short_term_radius: Radius of the window in the previous frame, in tokens of 16 pixels.
        drop_path: As in `PropagatorBlock`; 0.1 in AOT's training.
        guide: A registered propagator ("flow") or its config, whose prediction the decoder corrects
            (see the module `guidance`); None for AOT alone.

    Raises:
        UnknownNameError: If the preset, encoder or audio encoder is unknown.
        PropagationError: If layers, widths or tokens are not as above.

    Example:
        >>> import torch
        >>> toy = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
        >>> propagator = AudioInsertPropagator("AOTT", **toy).eval()
        >>> masks = torch.zeros(1, 40, 60).long()
        >>> masks[:, 10:20, 10:20] = 1
        >>> with torch.no_grad():
        ...     memory = propagator.start(torch.rand(1, 3, 40, 60), None, masks)
        ...     logits = propagator.step(memory, torch.rand(1, 3, 40, 60), None)
        >>> logits.shape
        torch.Size([1, 2, 40, 60])
    """

    def __init__(
        self,
        preset: Preset = "R50_AOTL",
        *,
        encoder: str | Mapping[str, Any] | None = None,
        num_layers: int | None = None,
        long_term_gap: int | None = None,
        max_memory_frames: int | None = 8,
        memory_policy: MemoryPolicy = "useful",
        encode_ahead: int = 1,
        width: int = 256,
        num_heads: int = 8,
        insert_layers: Sequence[int] = (3,),
        audio_identity: bool = True,
        audio_encoder: str | Mapping[str, Any] | AudioEncoder | None = None,
        audio_width: int = 128,
        tokens: Guidance = "map",
        residual: bool = True,
        neighbours: Sequence[int] = (-1, 0),
        text: Mapping[str, Any] | None = None,
        max_objects: int = 10,
        max_size: int | None = 1040,
        short_term_radius: int = 7,
        drop_path: float = 0.0,
        guide: str | Mapping[str, Any] | None = None,
    ) -> None:
        given = {name: x for name, x in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        shape = preset_shape(preset, encoder, num_layers, long_term_gap)
        self.config: dict[str, Any] = {**given, **shape}
        self.guide = None if guide is None else build(MODELS, guide, verb="step")
        self.long_term_gap = shape["long_term_gap"]
        self.max_memory_frames, self.memory_policy = max_memory_frames, memory_policy
        self.encode_ahead = encode_ahead
        self.max_objects, self.max_size = max_objects, max_size
        check_limits(self.long_term_gap, max_memory_frames, encode_ahead)
        eviction_policy(memory_policy)
        self.sound: SoundTokens | TextTokens | None = None
        if insert_layers or audio_identity:
            self.sound = condition(audio_encoder, audio_width, tokens, neighbours, text)
        self.network = PropagationNetwork(
            shape["encoder"],
            shape["num_layers"],
            width,
            num_heads,
            max_objects,
            audio_width=None if self.sound is None else self.sound.width,
            insert_layers=insert_layers,
            residual=residual,
            audio_identity=audio_identity,
            short_term_radius=short_term_radius,
            drop_path=drop_path,
            guided=guide is not None,
        )

    takes_uint8 = True

    def hear(self, clip: Clip) -> Tensor | None:
        """Return the audio tokens of every frame, `[T, N, D]`; None without usable audio.

        No gradient is recorded; `self.sound(log_mel, times)` records one.
        """
        return None if self.sound is None else self.sound.hear(clip)

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> Memory:
        """Begin a segment.

        Args:
            frame: `[B, 3, H, W]` RGB, uint8 or float in [0, 1].
            sound: Audio tokens `[B, N, D]`, rows of `hear`, or None for a segment without audio.
            masks: `[B, H, W]` object ids, 0 the background, 1..n; n is the highest id.

        Returns:
            The memory, for `step`.

        Raises:
            PropagationError: If frame, sound and masks do not fit each other.
        """
        check_keyframe(frame, masks)
        height, width = frame.shape[-2:]
        size = network_size(height, width, self.max_size)
        _, tokens = self._encode(frame, sound, size)
        position = sine_position(*tokens.shape[1:]).to(tokens)
        memory = Memory(
            num_objects=int(masks.max()),
            batch=len(frame),
            frame_size=(height, width),
            network_size=size,
            position=position,
            long_term=[
                LongTermMemory(self.max_memory_frames, self.memory_policy)
                for _ in self.network.blocks
            ],
            short_term=[],
            has_sound=sound is not None,
            guide=None if self.guide is None else self.guide.start(frame, None, masks),
        )
        id_emb = self._id_emb(memory, masks, sound)
        _, entries = self.network.begin(for_groups(tokens, self._groups(memory)), position, id_emb)
        self._write(memory, entries)
        return memory

    def step(
        self,
        memory: Memory,
        frame: Tensor,
        sound: Tensor | None,
        masks: Tensor | None = None,
    ) -> Tensor:
        """Propagate the masks to the next frame, and write it to memory.

        Args:
            memory: As `start` returned it; updated in place.
            frame: `[B, 3, H, W]` RGB as in `start`, of the keyframe's size.
            sound: `[B, N, D]`, or None if the segment began without audio.
            masks: `[B, H, W]` object ids to store instead of the predicted ones (teacher forcing);
                255 marks unlabelled pixels.

        Returns:
            Logits `[B, 1 + n, H, W]` at the frame's size, the background first.

        Raises:
            PropagationError: If frame, sound or masks do not fit the memory.
        """
        check_next_frame(frame, (memory.batch, *memory.frame_size))
        if (sound is not None) != memory.has_sound:
            raise PropagationError(
                f"Expected audio tokens {'' if memory.has_sound else 'to be None '}in a segment "
                f"that began {'with' if memory.has_sound else 'without'} audio, whose memory keys "
                "depend on it. Pass them for all frames of a segment or for none."
            )
        memory.frame += 1
        if not memory.ahead:
            self.look_ahead(memory, frame[None], None if sound is None else sound[None])
        maps, tokens = memory.ahead.popleft()
        tokens, *maps = (for_groups(x, self._groups(memory)) for x in (tokens, *maps))
        outputs, seen = self.network.propagate(
            tokens, memory.position, memory.long_term, memory.short_term
        )
        if self.guide is not None:
            guided = guidance.bounded(self.guide.step(memory.guide, frame, None))
            maps[0] = guidance.append_guide(maps[0], guided, self._groups(memory))
        decoded = self.network.decoder(outputs, maps)
        # Identities beyond the objects of the segment are not needed.
        used = decoded[:, : 1 + min(memory.num_objects, self.max_objects)]
        used = upsample(used, memory.frame_size)
        logits = merge_groups(used, memory.num_objects, self.max_objects)
        if self.guide is not None:
            trusted = upsample(decoded[:, -1:], memory.frame_size)
            logits = logits + guidance.trust(trusted, self._groups(memory)) * guided
        if masks is None:
            masks = logits.max(1).indices
        else:
            check_forced_masks(masks, frame, memory.num_objects)
        self._write(memory, self.network.remember(seen, self._id_emb(memory, masks, sound)))
        return logits

    def look_ahead(self, memory: Memory, frames: Tensor, sound: Tensor | None) -> None:
        """Encode several frames at once, before `step` is called with each of them.

        Args:
            memory: As `start` returned it.
            frames: `[T, B, 3, H, W]`: the next frames for `step`, in order.
            sound: `[T, B, N, D]`, their audio tokens, or None.

        Raises:
            PropagationError: If frames or sound do not fit the memory.
        """
        check_next_frame(frames[0], (memory.batch, *memory.frame_size))
        flat_sound = None if sound is None else sound.flatten(0, 1)
        maps, tokens = self._encode(frames.flatten(0, 1), flat_sound, memory.network_size)
        each = zip(*(x.split(memory.batch) for x in maps), strict=True)
        memory.ahead.extend(zip(each, tokens.split(memory.batch), strict=True))

    def first(self, memory: Memory, count: int) -> Memory:
        """Return the memory of the first `count` segments of a batch."""
        guide = None if self.guide is None else self.guide.first(memory.guide, count)
        return memory.first(count, guide)

    def _encode(
        self, frame: Tensor, sound: Tensor | None, size: tuple[int, int]
    ) -> tuple[list[Tensor], Tensor]:
        if sound is not None:
            check_sound(sound, len(frame), None if self.sound is None else self.sound.width)
        return self.network.encode(resize_frame(as_rgb(frame), size), sound)

    def _groups(self, memory: Memory) -> int:
        return num_groups(memory.num_objects, self.max_objects)

    def _id_emb(self, memory: Memory, masks: Tensor, sound: Tensor | None) -> Tensor:
        """Embed object ids [B, H, W] per group; returns [(B groups), h, w, C]."""
        masks = resize_masks(masks, memory.network_size)
        masks = split_into_groups(masks, memory.num_objects, self.max_objects)
        if sound is not None:
            sound = for_groups(sound, self._groups(memory))
        return self.network.identity(masks, sound)

    def _write(self, memory: Memory, entries: list[tuple[Tensor, Tensor]]) -> None:
        memory.short_term = entries
        if memory.frame and memory.frame - memory.last_write < self.long_term_gap:
            return
        memory.last_write = memory.frame
        for long_term, (key, value) in zip(memory.long_term, entries, strict=True):
            long_term.write(*self.network.by_head(key, value))
