"""The four exchangeable parts of the method, each known by its one verb."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from coprop_plugin.types.clip import Clip
from coprop_plugin.types.control_points import ControlPoints

Hook = Callable[[str, Any, int, int], None]
"""Called as `hook(step, artifact, done, total)`; step: control_points, keyframes, propagation."""


class UnpackedCall(list):
    """The clips of one drop-in call of a wrapped model, and what their adapter must remember.

    A list of `Clip`s. Adapters subclass or fill it as they like; the pipeline only iterates.
    """


@runtime_checkable
class KeyframeBackend(Protocol):
    """Eq. (2): says what sounds in chosen frames. Any AVS model behind an adapter."""

    num_classes: int
    """C: 1 for binary models (sigmoid), else the number of classes with 0 the background."""

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment the frames `indices` of `clip`; returns logits `[K, C, H, W]` at its size.

        The whole clip is handed in so that an adapter may use context around a keyframe.
        """
        ...

    # A backend may say what its classes are called, for reports and exports: `class_names`, a list
    # of a name a class, the background's first; two names for a binary model.
    #
    # A backend whose answer about a frame depends on that frame and its sound alone may say so,
    # `context = "frame"`; then less is done again after an edit (`coprop_plugin.pipeline.redo`).
    #
    # An adapter for a family of models has three methods more; a backend of your own needs none:
    #
    #   accepts(model) -> bool                static; by structure, never by class name
    #   unpack(*args, **kwargs) -> UnpackedCall
    #       the clips of a call with the wrapped model's own signature
    #   segment_call(call, indices) -> list[Tensor]
    #       one call of the wrapped model for all keyframes of all clips of that call:
    #       logits [K_i, C, H, W] per clip, at the size of the clip's frames; the last one counts
    #       (`call.keep(indices)`, where there is one, spares another: only these are keyframes)
    #   repack(call, logits) -> Any
    #       from logits [T_i, C, H, W] per clip the wrapped model's own return value,
    #       its own numbers at keyframes


@runtime_checkable
class ControlPointProvider(Protocol):
    """Eq. (1): says when the set of sounding objects changes."""

    def propose(self, clip: Clip) -> ControlPoints:
        """Return one flag a frame of `clip`. Pictures may be absent (all zero): only listen."""
        ...

    # A slow provider may have one method more, for streams, which then begin before it is done:
    #
    #   propose_ahead(clip) -> Iterator[tuple[ControlPoints, int]]
    #       control points as far as they are known, and for how many frames they hold; at last
    #       those of `propose`, which hold for all. Called in a thread


@runtime_checkable
class AudioLLM(Protocol):
    """An audio language model alone, without prompts. May be called from several threads."""

    name: str
    """The kind of client, as it is registered: "qwen2_audio", say."""

    model_id: str
    """Which model answers; with `name` and `settings`, what answers are kept under."""

    max_audio_s: float | None
    """The longest waveform that `chat` takes, in seconds; longer ones raise. None: no limit."""

    settings: Mapping[str, Any]
    """What else an answer depends on, as JSON: seed, temperature, dtype; never a secret."""

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Answer the last message.

        Args:
            messages: `{"role": "system" | "user" | "assistant", "content": text}`, oldest first.
            waveform: `[samples]` in [-1, 1], what the conversation is about. The client puts it
                into the first user message.
            sample_rate: Of the waveform, in Hz.
            schema: A JSON schema of the wanted answer. A wish: clients that can hold the model to
                it do, others ignore it, so answers are to be checked all the same.

        Raises:
            AudioLLMError: If the waveform is too long, or no answer can be had.
        """
        ...


@runtime_checkable
class Propagator(Protocol):
    """Eq. (3) and (7): carries masks from frame to frame.

    Object ids are 0 for the background, then 1..n. All that it knows of a video is in the memory
    that `start` returns and `step` updates; the propagator itself holds no state.
    """

    def hear(self, clip: Clip) -> Tensor | None:
        """Return what `start` and `step` take as `sound`, one row a frame `[T, ...]`, or None."""
        ...

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> Any:
        """Begin a segment; returns its memory.

        Args:
            frame: `[B, 3, H, W]` RGB in [0, 1].
            sound: Rows of `hear`, `[B, ...]`, or None.
            masks: `[B, H, W]` int64 object ids, 0 the background, 1..n; n is the highest one.
        """
        ...

    def step(self, memory: Any, frame: Tensor, sound: Tensor | None) -> Tensor:
        """Carry the masks to the next frame; returns logits `[B, 1 + n, H, W]`."""
        ...
