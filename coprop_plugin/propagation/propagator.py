"""The Audio-Insert Propagator: masks carried from frame to frame, guided by the sound."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from coprop_plugin.checkpoints import Pretrained
from coprop_plugin.errors import PropagationError
from coprop_plugin.propagation import guidance
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
from coprop_plugin.propagation.memory import LongTermMemory, Memory, check_limits, eviction_policy
from coprop_plugin.propagation.network import PropagationNetwork
from coprop_plugin.propagation.presets import preset_shape
from coprop_plugin.propagation.text import condition
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import Clip


@MODELS.register_module(name=["AudioInsertPropagator", "audio_insert"])
class AudioInsertPropagator(Pretrained, nn.Module):
    """Eq. (3) and (7) of Co-Prop: AOT, with the sound of each frame let into its features.

    `start` with a keyframe's masks, then `step` frame by frame; all that is known of a video is in
    the memory that `start` returns. Sound is let in by `AudioInsert` (Eq. 6) and in the ID
    embedding (`Identity`); both begin as if they were not there, and with `sound=None` both are
    skipped. What the network does without sound is AOT's, to the last rounding.

    Frames may have any size: inside, sides are 16 n + 1 as AOT wants them, the long edge at most
    `max_size`. More than `max_objects` objects go in groups that share the encoder's maps and are
    merged as AOT merges them: backgrounds multiplied, objects side by side.

    Args:
        preset: One of `PRESETS` in `propagation.presets`; what is not None below overrides it.
        encoder: "r50", "mobilenetv2", or a mapping with options, `dict(type="r50", width=8)`.
        num_layers: Propagator Blocks.
        long_term_gap: Frames from one write into long-term memory to the next.
        max_memory_frames: Most frames in long-term memory, so that time and memory stay bounded
            in a segment of any length. AOT keeps all, which is `None`; the default differs from
            it after as many gaps. Like the next two it is an attribute, too, and may be set at
            any time; what has begun goes on as it began.
        memory_policy: What goes when long-term memory is full: "recent" (the oldest but the
            keyframe), "useful" (what was looked at least) or "merge" (the most alike become one).
        encode_ahead: How many frames the pipeline has encoded at once; see `look_ahead`.
        width: Channels of a token.
        num_heads: Of every attention.
        insert_layers: Where Eq. (6) lets the sound in; see `PropagationNetwork`.
        audio_identity: Whether the sound enters the ID embedding.
        audio_encoder: A registered name ("VGGish", "SmallLogMelEncoder"), a config, or a module
            with their interface. None hears clips that bring their VGGish embeddings along.
        audio_width: Channels of an audio token.
        tokens: As in `SoundTokens`; "embedding" with `residual=False` is Eq. (6) to the letter.
            "text" is guided by words instead (Table 4).
        residual: As in `AudioInsert`.
        neighbours: As in `SoundTokens`.
        text: Options of `TextTokens`, where `tokens="text"`.
        max_objects: Identities of the bank.
        max_size: Long edge in pixels, None for no limit.
        short_term_radius: Of the window in the frame before, in tokens of 16 pixels.
        drop_path: As in `PropagatorBlock`; 0.1 where AOT trains.
        guide: A registered propagator ("flow") or its config, whose answer the decoder corrects
            (see the module `guidance`); None for AOT alone.

    Raises:
        UnknownNameError: If there is no such preset, encoder or audio encoder.
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
        preset: str = "R50_AOTL",
        *,
        encoder: str | Mapping[str, Any] | None = None,
        num_layers: int | None = None,
        long_term_gap: int | None = None,
        max_memory_frames: int | None = 8,
        memory_policy: str = "useful",
        encode_ahead: int = 1,
        width: int = 256,
        num_heads: int = 8,
        insert_layers: Sequence[int] = (3,),
        audio_identity: bool = True,
        audio_encoder: str | Mapping[str, Any] | nn.Module | None = None,
        audio_width: int = 128,
        tokens: str = "map",
        residual: bool = True,
        neighbours: Sequence[int] = (-1, 0, 1),
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
        self.sound = None
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

    def hear(self, clip: Clip) -> Tensor | None:
        """Return the audio tokens of every frame, `[T, N, D]`; None if there is nothing to hear.

        No gradient is recorded; `self.sound(log_mel, times)` records one.
        """
        return None if self.sound is None else self.sound.hear(clip)

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> Memory:
        """Begin a segment.

        Args:
            frame: `[B, 3, H, W]` RGB in [0, 1].
            sound: `[B, N, D]`, rows of `hear`, or None for a segment without sound.
            masks: `[B, H, W]` object ids, 0 the background, 1..n; n is the highest id.

        Returns:
            The memory that `step` takes and updates.

        Raises:
            PropagationError: If frame, sound and masks do not fit each other.
        """
        check_keyframe(frame, masks)
        frame_size = tuple(frame.shape[-2:])
        size = network_size(*frame_size, self.max_size)
        _, tokens = self._encode(frame, sound, size)
        position = sine_position(*tokens.shape[1:]).to(tokens)
        memory = Memory(
            num_objects=int(masks.max()),
            batch=len(frame),
            frame_size=frame_size,
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
        """Carry the masks to the next frame, and remember it.

        Args:
            memory: As `start` returned it; updated in place.
            frame: `[B, 3, H, W]` RGB in [0, 1], of the keyframe's size.
            sound: `[B, N, D]`, or None if the segment began without sound.
            masks: `[B, H, W]` object ids to remember instead of the predicted ones (teacher
                forcing); 255 marks pixels of which nothing is known.

        Returns:
            Logits `[B, 1 + n, H, W]` at the frame's size, the background first.

        Raises:
            PropagationError: If frame, sound or masks do not fit the memory.
        """
        check_next_frame(frame, (memory.batch, *memory.frame_size))
        if (sound is not None) != memory.has_sound:
            raise PropagationError(
                f"Got a frame {'without' if memory.has_sound else 'with'} sound in a segment that "
                f"began {'with' if memory.has_sound else 'without'}; memory keys of the two do "
                "not match. Give sound to all frames of a segment or to none."
            )
        memory.frame += 1
        if not memory.ahead:
            self.look_ahead(memory, frame[None], None if sound is None else sound[None])
        maps, tokens = memory.ahead.popleft()
        tokens, *maps = (for_groups(x, self._groups(memory)) for x in (tokens, *maps))
        outputs, seen = self.network.carry(
            tokens, memory.position, memory.long_term, memory.short_term
        )
        if self.guide is not None:
            guided = guidance.bounded(self.guide.step(memory.guide, frame, None))
            maps[0] = guidance.shown(maps[0], guided, self._groups(memory))
        decoded = self.network.decoder(outputs, maps)
        # Nobody asks for identities beyond the objects that there are.
        asked = decoded[:, : 1 + min(memory.num_objects, self.max_objects)]
        asked = upsample(asked, memory.frame_size)
        logits = merge_groups(asked, memory.num_objects, self.max_objects)
        if self.guide is not None:
            trusted = upsample(decoded[:, -1:], memory.frame_size)
            logits = logits + guidance.trust(trusted, self._groups(memory)) * guided
        if masks is None:
            masks = logits.argmax(1)
        else:
            check_forced_masks(masks, frame, memory.num_objects)
        self._write(memory, self.network.remember(seen, self._id_emb(memory, masks, sound)))
        return logits

    def look_ahead(self, memory: Memory, frames: Tensor, sound: Tensor | None) -> None:
        """Encode several frames at once, before `step` is called with each of them.

        Args:
            memory: As `start` returned it.
            frames: `[T, B, 3, H, W]`: the frames that `step` gets next, in order.
            sound: `[T, B, N, D]`, their sound, or None.

        Raises:
            PropagationError: If frames or sound do not fit the memory.
        """
        check_next_frame(frames[0], (memory.batch, *memory.frame_size))
        at_once, heard = frames.flatten(0, 1), None if sound is None else sound.flatten(0, 1)
        maps, tokens = self._encode(at_once, heard, memory.network_size)
        each = zip(*(x.split(memory.batch) for x in maps), strict=True)
        memory.ahead.extend(zip(each, tokens.split(memory.batch), strict=True))

    def first(self, memory: Memory, clips: int) -> Memory:
        """Go on with the first clips of a batch alone: return their memory."""
        guide = None if self.guide is None else self.guide.first(memory.guide, clips)
        return memory.first(clips, guide)

    def _encode(
        self, frame: Tensor, sound: Tensor | None, size: tuple[int, int]
    ) -> tuple[list[Tensor], Tensor]:
        if sound is not None:
            check_sound(sound, len(frame), None if self.sound is None else self.sound.width)
        return self.network.encode(resize_frame(frame, size), sound)

    def _groups(self, memory: Memory) -> int:
        return num_groups(memory.num_objects, self.max_objects)

    def _id_emb(self, memory: Memory, masks: Tensor, sound: Tensor | None) -> Tensor:
        """Embed object ids [B, H, W], each group's apart; returns [(B groups), h, w, C]."""
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
