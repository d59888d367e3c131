"""The keyframe model that ships for real video: the salient object, while there is sound."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from coprop_plugin.audio.log_mel import SILENCE, clip_log_mel
from coprop_plugin.audio.silero import speech_at, speech_is_found
from coprop_plugin.checkpoints.native import SHIPPED, load_module, save_module
from coprop_plugin.errors import KeyframeError
from coprop_plugin.keyframes.frame_inputs import check_input
from coprop_plugin.keyframes.person_head import PersonHead
from coprop_plugin.layers.eval_mode import evaluating
from coprop_plugin.layers.frame_batches import segment_in_batches
from coprop_plugin.layers.nested_unet import NestedUNet
from coprop_plugin.layers.normalisation import normalise
from coprop_plugin.layers.picture_size import resized
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

FORMAT = "coprop_plugin.SoundingObject/1"
WEIGHTS = SHIPPED / "sounding_object.safetensors"
"""Trained by the authors of U²-Net on photographs; see `weights/README.md`."""

_SILENCE = 1e-3
"""Mean mel magnitude of a silent example: about -60 dB of full scale."""
_SMALLEST_PROB = 1e-3
_MOSTLY = 0.5


@MODELS.register_module(name=["SoundingObject", "sounding_object"])
class SoundingObject(nn.Module):
    """Eq. (2) without training: the salient object of a frame, while there is sound.

    A salient-object network, U²-Net's small variant (1.1 million parameters), which has seen
    photographs; a frame whose second of audio is silent stays empty. It knows nothing of what the
    sound is: of several visible objects it marks those that stand out, whether they sound or not.
    For a video of one person speaking, one instrument or one animal that is often the right one.
    With `people`, of separate things it marks those that look like people, if any do, while
    silero-vad hears speech, where that is installed.

    Args:
        input_size: Height and width in pixels to which frames are resized for the network; it was
            trained at 320. Fewer are faster and coarser.
        frames_at_once: In `segment_keyframes`, maximum number of frames per batch on a GPU. On a
            CPU it is one frame, which takes a quarter of the memory of five and no more time.
        people: Whether it has a person head, which `examples/data/person_head.py` fits; the
            weights that ship have none.

    Raises:
        KeyframeError: If a number is below 32 or 1.

    Example:
        >>> import torch
        >>> model = SoundingObject(input_size=64)
        >>> loud = torch.ones(1, 1, 96, 64)
        >>> model(torch.rand(1, 3, 45, 80), loud).shape
        torch.Size([1, 1, 45, 80])
    """

    num_classes = 1
    class_names = ("background", "sounding object")
    context = "frame"
    """The prediction of a frame depends on that frame and its audio only."""

    def __init__(
        self, input_size: int = 320, frames_at_once: int = 8, people: bool = False
    ) -> None:
        super().__init__()
        if input_size < 32 or frames_at_once < 1:
            raise KeyframeError(
                "Expected input_size to be 32 pixels or more and frames_at_once 1 or more, got "
                f"{input_size} and {frames_at_once}."
            )
        self.config = dict(input_size=input_size, frames_at_once=frames_at_once, people=people)
        self.input_size, self.frames_at_once = input_size, frames_at_once
        self.saliency = NestedUNet()
        # It is fitted by itself, never by gradients through the network.
        self.person = PersonHead(NestedUNet.map_channels).requires_grad_(False) if people else None

    def forward(self, frames: Tensor, log_mel: Tensor, speech: Tensor | None = None) -> Tensor:
        """Segment frames.

        Args:
            frames: `[B, 3, H, W]`, RGB in [0, 1], of any size.
            log_mel: `[B, 1, 96, 64]`, the VGGish example of each frame.
            speech: `[B]` bool, whether it is speech; None if that is not known.

        Returns:
            Logits `[B, 1, H, W]`, in [-7, 7], float32 at least; -7 everywhere in a frame without
            sound.

        Raises:
            KeyframeError: If the shapes are not as above.
        """
        check_input(frames, log_mel)
        relative, maps = self.relative_salience(frames)
        if self.person is not None and speech is not None:
            for number in speech.nonzero().flatten().tolist():
                of_frame = [values[number] for values in maps]
                relative[number, 0] = self.person.people_only(relative[number, 0], of_frame)
        probs = torch.where(_sounds(log_mel), relative, torch.zeros_like(relative))
        return resized(torch.logit(probs, eps=_SMALLEST_PROB), frames.shape[-2:])

    def salience(self, frames: Tensor) -> Tensor:
        """Return the network's own logits of frames `[B, 3, H, W]`, whether there is sound or not.

        Returns:
            `[B, 1, S, S]`, S being the input size; what is trained.
        """
        return self.saliency(self._pixels(frames))

    def relative_salience(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return what stands out of frames `[B, 3, H, W]`, and the maps that tell what it is.

        Returns:
            `[B, 1, S, S]` in [0, 1], and seven maps `[B, 64, h, w]` for the person head.
        """
        saliency, maps = self.saliency(self._pixels(frames), with_maps=True)
        # In bfloat16 the largest probability would be 1, and its logit infinite.
        saliency = saliency.to(torch.promote_types(saliency.dtype, torch.float32)).sigmoid()
        # As its authors use it: relative to the most and least salient pixel of the frame.
        low, high = saliency.amin((1, 2, 3), True), saliency.amax((1, 2, 3), True)
        return (saliency - low) / (high - low).clamp_min(1e-6), maps

    def _pixels(self, frames: Tensor) -> Tensor:
        small = resized(frames, (self.input_size, self.input_size))
        brightest = small.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        # With channels last a CPU takes a quarter less time.
        return normalise(small / brightest).contiguous(memory_format=torch.channels_last)

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment the frames `indices` of `clip`, independently of one another.

        Always in eval mode and without gradients.

        Returns:
            Logits `[K, 1, H, W]` float32 at the clip's size, on the module's device.

        Raises:
            ClipError: If an index lies outside the clip, or the clip has neither waveform nor
                log-mels.
        """
        indices = clip.checked(indices)
        like = next(self.parameters())

        def segment(batch: Sequence[int]) -> Tensor:
            log_mel, speech = clip_log_mel(clip, batch).to(like), self._speech(clip, batch)
            return self(clip.rgb(batch).to(like), log_mel, speech).float()

        empty = torch.zeros(0, 1, *clip.size, device=like.device)
        with torch.no_grad(), evaluating(self):
            at_once = 1 if like.device.type == "cpu" else self.frames_at_once
            return segment_in_batches(segment, indices, at_once, empty)

    def _speech(self, clip: Clip, indices: Sequence[int]) -> Tensor | None:
        """Whether frames hear speech, `[K]` bool; None if that cannot be known or used."""
        if self.person is None or clip.waveform is None or not speech_is_found():
            return None
        return speech_at(clip, indices) > _MOSTLY


def save_sounding_object(
    model: SoundingObject, path: str | Path, dtype: torch.dtype | None = None
) -> Path:
    """Save weights and constructor arguments to a safetensors file; returns the path.

    Args:
        model: The model, on any device.
        path: The file; its folder is created if missing.
        dtype: `torch.float16` halves the file size; None keeps the weights as they are.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    return save_module(model, model.config, path, FORMAT, dtype)


def load_sounding_object(path: str | Path | None = None) -> SoundingObject:
    """Load a file that `save_sounding_object` wrote; every weight must fit.

    Args:
        path: The file; None for the weights that come with the library.

    Returns:
        The model on the CPU, in eval mode and float32.

    Raises:
        CheckpointError: If the file is missing, damaged, of another model, or does not fit.

    Example:
        >>> load_sounding_object().class_names
        ('background', 'sounding object')
    """
    return load_module(WEIGHTS if path is None else path, FORMAT, SoundingObject)


def _sounds(log_mel: Tensor) -> Tensor:
    """Whether examples `[B, 1, 96, 64]` hold sound, `[B, 1, 1, 1]` bool."""
    magnitude = log_mel.exp() - math.exp(SILENCE)
    return magnitude.mean((1, 2, 3), keepdim=True) > _SILENCE
