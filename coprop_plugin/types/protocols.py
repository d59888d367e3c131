"""Protocols of the four exchangeable parts, each with one verb, and what they may offer besides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from coprop_plugin.types.clip import Clip
from coprop_plugin.types.control_points import ControlPoints

Hook = Callable[[str, Any, int, int], None]
"""Called as `hook(step, artifact, done, total)`; step: control_points, keyframes, propagation."""


class UnpackedCall(list[Clip]):
    """The clips of one drop-in call of a wrapped model, and what their adapter must remember.

    A list of `Clip`s. Adapters subclass or fill it as they like; the pipeline iterates, and sets
    `combined` before `repack`.

    Attributes:
        combined: For each clip the keyframes whose masks are not the model's own alone: `repack`
            takes them from its `logits`, as those of other frames. Empty where there are none.
    """

    combined: Sequence[frozenset[int]] = ()

    def is_combined(self, clip: int, frame: int) -> bool:
        """Whether the mask of a clip's frame is not the model's own, though it was run there."""
        return bool(self.combined) and frame in self.combined[clip]


@runtime_checkable
class KeyframeBackend(Protocol):
    """Eq. (2): segments chosen frames. Any AVS model behind an adapter.

    A backend may have three attributes besides, which are read where they are there:

    - `class_names`: a name a class, the background's first; two names for a binary model. For
      reports and exports.
    - `context`: `"frame"` if the logits of a frame depend on that frame and its audio alone; then
      less is computed again after an edit (see `pipeline.redo`).
    - `frames_at_once`: the largest number of frames to segment in one call.
    """

    num_classes: int
    """C: 1 for binary models (sigmoid), else the number of classes with 0 the background."""

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment the frames `indices` of `clip`; returns logits `[K, C, H, W]` at its size.

        The whole clip is handed in so that an adapter may use context around a keyframe.
        """
        ...


@runtime_checkable
class NamingBackend(Protocol):
    """A backend whose classes are the names of what sounds in a clip."""

    control_points: "ControlPointProvider"
    """The provider that goes with it, used where none is named."""

    def name_sounds(self, clip: Clip, points: ControlPoints) -> ControlPoints:
        """Return control points with `sounds`: the names of the segments that lack them."""
        ...

    def for_clip(self, points: ControlPoints, times: Tensor) -> "ClipBackend":
        """Return the backend of one clip, whose classes are those of `points.sounds`.

        Args:
            points: Named control points of the whole clip.
            times: `[T]`, the time of every frame in seconds.
        """
        ...


@runtime_checkable
class SharingBackend(Protocol):
    """A backend that can use weights which a propagator holds already."""

    def share_model(self, propagator: "Propagator") -> None:
        """Use a propagator's weights where they are of the same checkpoint."""
        ...


class ClipBackend(KeyframeBackend, Protocol):
    """The backend of one clip.

    Attributes:
        found: What it found in the frames that it was run on, in JSON types, by frame of the clip.
    """

    found: dict[int, Mapping[str, Any]]


@runtime_checkable
class DropInBackend(KeyframeBackend, Protocol):
    """A backend that can also answer a call with the wrapped model's own signature.

    The adapters of released models are of this kind; a backend of your own need not be.
    """

    def unpack(self, *args: Any, **kwargs: Any) -> UnpackedCall:
        """Return the clips of a call with the wrapped model's own signature."""
        ...

    def segment_call(self, call: UnpackedCall, indices: Sequence[Sequence[int]]) -> list[Tensor]:
        """Run the wrapped model once on the keyframes of all clips of a call.

        Returns logits `[K_i, C, H, W]` for each clip, at the size of its frames. Where it is
        called several times, the last call counts for `repack`.
        """
        ...

    def repack(self, call: UnpackedCall, logits: Sequence[Tensor]) -> Any:
        """Return the wrapped model's own return value from logits `[T_i, C, H, W]` of each clip.

        At keyframes it holds the model's own numbers.
        """
        ...


@runtime_checkable
class RevisableCall(Protocol):
    """An unpacked call that can take keyframes back; spares a further `segment_call`."""

    def keep(self, keyframes: Sequence[Sequence[int]]) -> None:
        """Forget all keyframes of each clip but these."""
        ...


@runtime_checkable
class ControlPointProvider(Protocol):
    """Eq. (1): finds when the set of sounding objects changes."""

    def propose(self, clip: Clip) -> ControlPoints:
        """Return one flag a frame of `clip`. Its frames may be absent (all zero): use the audio."""
        ...


@runtime_checkable
class StreamingProvider(ControlPointProvider, Protocol):
    """A provider whose first control points are known early, so that a stream can begin."""

    def propose_ahead(self, clip: Clip) -> Iterator[tuple[ControlPoints, int]]:
        """Yield control points so far, and the number of frames for which they are final.

        The last ones are those of `propose`, final for all frames. Called in a thread.
        """
        ...


@runtime_checkable
class AudioEncoder(Protocol):
    """An `nn.Module` that encodes log-mel examples of audio in two steps, as VGGish does."""

    map_channels: int
    """Channels of a map."""

    embedding_dim: int
    """Channels of an embedding."""

    def conv_map(self, log_mel: Tensor) -> Tensor:
        """Encode log-mel examples `[N, 1, 96, 64]` into maps `[N, map_channels, 6, 4]`."""
        ...

    def embed(self, conv_map: Tensor) -> Tensor:
        """Embed maps; returns `[N, embedding_dim]`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name, as an `nn.Module` does."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Load weights by name, as an `nn.Module` does."""
        ...


@runtime_checkable
class LazyPart(Protocol):
    """A provider or backend whose pretrained models are loaded when they are first used."""

    def load_models(self) -> None:
        """Load them now, so that what is missing is known before the first clip.

        Raises:
            CheckpointError: If one cannot be loaded.
        """
        ...


@runtime_checkable
class AudioLLM(Protocol):
    """An audio language model alone, without prompts. May be called from several threads."""

    name: str
    """The kind of client, as it is registered, e.g. "qwen2_audio"."""

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

    It computes where its parameters are if it is an `nn.Module` with parameters, else on the CPU.
    Frames, masks and audio features come on that device, and logits are returned on it.
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


@runtime_checkable
class BatchedPropagator(Propagator, Protocol):
    """A propagator that can propagate several segments at once."""

    def first(self, memory: Any, clips: int) -> Any:
        """Return the memory of the first segments of a batch, to go on with them alone."""
        ...


@runtime_checkable
class UInt8Propagator(Propagator, Protocol):
    """A propagator whose `frame`s may also be uint8 in 0..255, as a decoder gives them.

    It is spared the conversion of frames that it converts in another way, or not at all.
    """

    takes_uint8: bool
    """Whether it takes them."""


@runtime_checkable
class LookaheadPropagator(Propagator, Protocol):
    """A propagator that can encode several frames of a segment at once, before their steps."""

    encode_ahead: int
    """How many frames to encode at once; 1 for one after the other."""

    def look_ahead(self, memory: Any, frames: Tensor, sound: Tensor | None) -> None:
        """Encode the frames that `step` gets next, `[T, B, 3, H, W]`, with their sound."""
        ...
