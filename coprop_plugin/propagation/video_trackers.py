"""SAM 2, SAM 3 and EdgeTAM of transformers as propagators."""

import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coprop_plugin.checkpoints.pretrained_models import checkpoint_of
from coprop_plugin.checkpoints.transformers_models import load_pretrained, transformers_class
from coprop_plugin.errors import CheckpointError, MissingExtraError, PropagationError, short_reason
from coprop_plugin.layers import as_rgb, device_of
from coprop_plugin.limits import CONFIG_BYTES, read_text
from coprop_plugin.propagation.geometry import check_keyframe, check_next_frame
from coprop_plugin.propagation.tracker_sessions import (
    FrameFeatures,
    TrackerMemory,
    encode_frames,
    run_frame,
    start_session,
)
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

TrackerDType = Literal["auto", "float32", "bfloat16", "float16"]
"""Of a tracker's numbers; "auto": bfloat16 on a GPU that has it, else float32."""

Rgb = tuple[float, float, float]


class VideoTracker(nn.Module):
    """A video tracker of transformers as a propagator: one session a segment, frame by frame.

    The keyframe's masks are its prompts; a control point begins a new session, in which all objects
    that sound from there on have theirs. Memory and time of a frame do not grow with the length of
    a segment: what no later frame reads is dropped. Time is linear in the number of objects; all of
    a class are one object. Audio is not used.

    An object whose score says that it is not in the picture has no mask; in each pixel the object
    with the highest logit wins.

    Args:
        checkpoint: A short name (`coprop weights list`), an id on the hub, or a folder of
            `save_pretrained`.
        dtype: Of its numbers, see `TrackerDType`.
        image_size: Side in pixels to which frames are resized; None is the checkpoint's, 1024 for
            SAM 2 and EdgeTAM, 1008 for SAM 3. Half of it takes less time
            and loses small objects.
        encode_ahead: Frames of a segment for which the image encoder runs at once.
        local_files_only: Whether to download nothing.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded, or is of another family.
        PropagationError: If `image_size` or `encode_ahead` do not fit it.
        MissingExtraError: If a package that the model needs is not installed.
    """

    default_checkpoint: ClassVar[str]
    families: ClassVar[Mapping[str, str]]
    """`model_type` of a checkpoint's config, and the first part of its classes' names."""
    normalisation: ClassVar[tuple[Rgb, Rgb]] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    """Mean and standard deviation of pixels."""

    takes_uint8 = True

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        dtype: TrackerDType = "auto",
        image_size: int | None = None,
        encode_ahead: int = 1,
        local_files_only: bool = False,
    ) -> None:
        super().__init__()
        self.checkpoint = checkpoint_of(checkpoint or self.default_checkpoint)
        self.dtype, self.encode_ahead = dtype, encode_ahead
        if dtype not in get_args(TrackerDType):
            raise PropagationError(
                f"Expected `dtype`, one of {', '.join(get_args(TrackerDType))}, got {dtype!r}."
            )
        if not isinstance(encode_ahead, int) or encode_ahead < 1:
            raise PropagationError(
                f"Expected `encode_ahead`, a number of frames from 1, got {encode_ahead!r}."
            )
        self._check_packages()
        options: dict[str, Any] = dict(local_files_only=local_files_only)
        config = load_pretrained("AutoConfig", self.checkpoint, **options)
        if config.model_type not in self.families:
            raise CheckpointError(self._another_family(config.model_type))
        family = self.families[config.model_type]
        config = getattr(config, "tracker_config", None) or config
        self.released_size = int(config.image_size)
        self._resize(config, image_size)
        self._session_class = transformers_class(f"{family}InferenceSession")
        self.model = load_pretrained(
            f"{family}Model", self.checkpoint, config=config, dtype=torch.float32, **options
        )
        self.image_size = int(self.model.config.image_size)

    def hear(self, clip: Clip) -> None:
        """Return None: the audio is not used."""
        return None

    def start(self, frame: Tensor, sound: Tensor | None, masks: Tensor) -> TrackerMemory:
        """Begin a segment with object ids `masks` [B, H, W].

        Raises:
            PropagationError: If frame and masks do not fit each other.
        """
        check_keyframe(frame, masks)
        self.set_dtype()
        num_objects = int(masks.max())
        shape = (len(frame), 1 + num_objects, *frame.shape[-2:])
        if not num_objects:
            return TrackerMemory([], shape)
        sessions = [
            start_session(self.model, self._session_class, ids, num_objects) for ids in masks
        ]
        for session, seen in zip(sessions, self._encode(frame), strict=True):
            run_frame(self.model, session, 0, seen)
        return TrackerMemory(sessions, shape)

    def step(self, memory: TrackerMemory, frame: Tensor, sound: Tensor | None) -> Tensor:
        """Propagate the masks to the next frame; returns logits `[B, 1 + n, H, W]`.

        Raises:
            PropagationError: If the frame is not of the keyframe's size.
        """
        check_next_frame(frame, memory.shape)
        if not memory.ahead:
            self.look_ahead(memory, frame[None], None)
        memory.frame += 1
        seen = memory.ahead.popleft()
        logits = torch.zeros(memory.shape, dtype=torch.float32, device=device_of(self))
        for n, (session, features) in enumerate(zip(memory.sessions, seen, strict=True)):
            small = run_frame(self.model, session, memory.frame, features)
            logits[n, 1:] = F.interpolate(small[None], memory.shape[-2:], mode="bilinear")[0]
        return logits

    def look_ahead(self, memory: TrackerMemory, frames: Tensor, sound: Tensor | None) -> None:
        """Encode the frames that `step` gets next, `[T, B, 3, H, W]`, at once.

        Raises:
            PropagationError: If frames do not fit the memory.
        """
        check_next_frame(frames[0], memory.shape)
        batch = len(memory.sessions)
        rows: list[list[FrameFeatures]] = [[] for _ in frames]
        if batch:
            seen = self._encode(frames.flatten(0, 1))
            rows = [seen[n : n + batch] for n in range(0, len(seen), batch)]
        memory.ahead.extend(rows)

    def first(self, memory: TrackerMemory, count: int) -> TrackerMemory:
        """Return the memory of the first `count` segments of a batch."""
        return memory.first(count)

    def pixels(self, frames: Tensor) -> Tensor:
        """Resize and normalise frames `[N, 3, H, W]` as the tracker's processor does."""
        side, place = (self.image_size, self.image_size), device_of(self)
        resized = F.interpolate(
            as_rgb(frames.to(place)).float(), side, mode="bilinear", antialias=True
        )
        mean, std = (torch.tensor(x, device=place)[:, None, None] for x in self.normalisation)
        return (resized - mean) / std

    def size_step(self, config: Any) -> int:
        """Return what `image_size` is a multiple of: the stride of the image encoder."""
        return 32

    def _encode(self, frames: Tensor) -> list[FrameFeatures]:
        return encode_frames(self.model, self.pixels(frames).to(self.model.dtype))

    def set_dtype(self) -> None:
        """Convert the weights to `dtype` if need be: "auto" depends on where they are."""
        dtype = torch.float32
        if self.dtype != "auto":
            dtype = getattr(torch, self.dtype)
        elif device_of(self).type == "cuda" and torch.cuda.is_bf16_supported():
            dtype = torch.bfloat16
        if self.model.dtype != dtype:
            self.model.to(dtype)

    def _resize(self, config: Any, image_size: int | None) -> None:
        """Have a config build the model for frames of another size; all weights still fit."""
        if image_size is None:
            return
        largest = int(config.image_size)
        is_number = isinstance(image_size, int) and not isinstance(image_size, bool)
        step = self.size_step(config)
        if not is_number or not 0 < image_size <= largest or image_size % step:
            raise PropagationError(
                f"Expected `image_size`, a multiple of {step} up to the checkpoint's "
                f"{largest}, got {image_size!r}."
            )
        set_image_size(config, image_size)

    def _check_packages(self) -> None:
        """Check that the packages which the model needs besides transformers are installed."""

    def _another_family(self, model_type: str) -> str:
        known = ", ".join(self.families)
        right = [name for name, kind in TRACKERS.items() if model_type in kind.families]
        advice = f"The propagators of transformers are {', '.join(TRACKERS)}."
        if right:
            advice = f"Use propagator='{right[0]}:{self.checkpoint}'."
        return (
            f"Expected a checkpoint of type {known}, got {self.checkpoint} of type {model_type!r}. "
            f"{advice}"
        )


@MODELS.register_module(name=["Sam2Propagator", "sam2"])
class Sam2Propagator(VideoTracker):
    """SAM 2 (Ravi et al., arXiv:2408.00714v2) as a propagator; see `VideoTracker`.

    The default checkpoint is SAM 2.1 tiny, a download of 156 MB. The same download is a `Sam2Model`
    of transformers, which turns boxes into masks.

    Example:
        >>> Sam2Propagator("facebook/sam2.1-hiera-large", image_size=512)  # doctest: +SKIP
    """

    default_checkpoint = "sam2"
    families = {"sam2_video": "Sam2Video"}


@MODELS.register_module(name=["Sam3Propagator", "sam3"])
class Sam3Propagator(VideoTracker):
    """The tracker of SAM 3 as a propagator; see `VideoTracker`.

    Its licence must be accepted on its page before it can be downloaded: 3.4 GB, which also hold
    the `Sam3Model` that turns phrases into masks.

    Example:
        >>> Sam3Propagator(dtype="bfloat16")  # doctest: +SKIP
    """

    default_checkpoint = "sam3"
    families = {"sam3_video": "Sam3TrackerVideo", "sam3_tracker_video": "Sam3TrackerVideo"}
    normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def size_step(self, config: Any) -> int:
        """Return what `image_size` is a multiple of: a patch."""
        return int(config.vision_config.backbone_config.patch_size)


@MODELS.register_module(name=["EdgeTAMPropagator", "edgetam"])
class EdgeTAMPropagator(VideoTracker):
    """EdgeTAM (Zhou et al., arXiv:2501.07256v1), a small SAM 2, as a propagator.

    See `VideoTracker`. Its image encoder is timm's, which needs torchvision:
    `pip install "coprop-plugin[edgetam]"`.

    Example:
        >>> EdgeTAMPropagator()  # doctest: +SKIP
    """

    default_checkpoint = "edgetam"
    families = {"edgetam_video": "EdgeTamVideo"}

    def size_step(self, config: Any) -> int:
        """Return what `image_size` is a multiple of: memory keeps a square of latents a frame."""
        return max(32, 16 * math.isqrt(config.perceiver_resampler_num_latents_2d))

    def _check_packages(self) -> None:
        """Check that timm can be imported.

        Raises:
            MissingExtraError: If it cannot.
        """
        try:
            importlib.import_module("timm")
        except (ImportError, RuntimeError) as error:
            # torchvision that was built for another torch raises a RuntimeError.
            raise MissingExtraError(
                "EdgeTAM's image encoder is timm's, which cannot be imported: "
                f'{short_reason(error)} Run `pip install "coprop-plugin[edgetam]"`; install '
                "torchvision from where torch was installed from."
            ) from error


TRACKERS: dict[str, type[VideoTracker]] = {
    "sam2": Sam2Propagator,
    "sam3": Sam3Propagator,
    "edgetam": EdgeTAMPropagator,
}
"""The propagators of transformers by their short names."""


def tracker_config(source: str) -> dict[str, str] | None:
    """Return the config of the propagator that "NAME:CHECKPOINT" or a checkpoint's folder names.

    Example:
        >>> tracker_config("sam2:facebook/sam2.1-hiera-large")
        {'type': 'sam2', 'checkpoint': 'facebook/sam2.1-hiera-large'}
        >>> tracker_config("flow") is None
        True
    """
    name, colon, checkpoint = source.partition(":")
    if colon and checkpoint and name in TRACKERS:
        return {"type": name, "checkpoint": checkpoint}
    model_type = _model_type(Path(source))
    for name, kind in TRACKERS.items():
        if model_type in kind.families:
            return {"type": name, "checkpoint": source}
    return None


def _model_type(folder: Path) -> str | None:
    """Return the `model_type` of a checkpoint of transformers; None for anything else."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(read_text(path, CheckpointError, CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    found = content.get("model_type") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def set_image_size(config: Any, side: int) -> None:
    """Change a tracker's config for frames of another side; the shapes of weights stay.

    Args:
        config: Of a SAM 2, EdgeTAM or SAM 3 tracker.
        side: In pixels.
    """
    config.image_size = side
    if isinstance(getattr(type(config), "image_size", None), property):
        return  # SAM 3's config adapts the rest.
    sizes = [[side // stride] * 2 for stride in (4, 8, 16)]
    config.prompt_encoder_config.image_size = side
    config.vision_config.backbone_feature_sizes = sizes
    config.memory_attention_rope_feat_sizes = sizes[-1]
    backbone = config.vision_config.backbone_config
    if hasattr(backbone, "image_size"):
        backbone.image_size = [side, side]
