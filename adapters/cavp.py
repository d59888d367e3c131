"""Adapter for CAVP (Chen et al., arXiv:2304.02970)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from coprop_plugin.adapters.calls import ModelCall, avsbench_clip
from coprop_plugin.adapters.class_channels import ClassChannelsBackend
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.decibel_mel import as_log_mel, decibel_mel
from coprop_plugin.adapters.sound import check_sound_of_call, seconds_of
from coprop_plugin.errors import AdapterError
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip


@MODELS.register_module(name=["CAVPBackend", "cavp"])
class CAVPBackend(ClassChannelsBackend):
    """Backend for CAVP: `model(image, audio, eval_mode=True) -> (logits, features, parts)`.

    Its sound is a spectrogram of its own, made of the frame's whole second; see `decibel_mel`. A
    model of two classes is a binary one here.

    Upstream's evaluation calls the model for every single frame. A drop-in call is one clip: pass
    all its frames at once, else there is nothing to propagate.

    Args:
        model: The model, plain or inside `DataParallel`.
        context: `"frame"` or `"window"`; frames are independent, so both give the same masks.
        input_size: Side, or height and width, of its input; None is 224, as the released weights.

    Raises:
        AdapterError: If the model is not built like CAVP.
    """

    family = "CAVP"
    parts = ("segment", "cross_att", "visual_projector", "audio_backbone")
    picture_options = dict(antialias=True, dataset_size=None, mode="bicubic")

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context = "frame",
        input_size: int | Sequence[int] | None = None,
    ) -> None:
        head = self._checked(model).segment.upsample
        # In OCR the head is the classifier.
        classifier = getattr(head, "classifier", head)
        super().__init__(
            model, num_channels=classifier.out_channels, context=context, input_size=input_size
        )

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> Tensor:
        return decibel_mel(seconds_of(clip, indices))

    def _run(self, pictures: Tensor, sound: Tensor, length: int, wanted: list[int]) -> Tensor:
        return self.network(pictures, sound, eval_mode=True)[0][wanted]

    def unpack(self, *args: Any, **kwargs: Any) -> ModelCall:
        """Return the one clip of a call `(image, audio, eval_mode=True)`.

        Args:
            *args: Frames `[T, 3, H, W]`, normalised, and their spectrograms `[T, 1, 96, 64]`.
            **kwargs: The same by name.

        Raises:
            AdapterError: If the model does not accept the arguments, or this is its call for
                training.
        """
        arguments = self._bind(args, kwargs)
        frames, audio, _, _, eval_mode, _ = arguments
        if not eval_mode:
            raise AdapterError(
                "Expected CAVP's call for evaluation, got the one for training. Pass "
                "`eval_mode=True`, or call the model itself."
            )
        pictures = self._pictures(frames)
        check_sound_of_call(audio, len(pictures), "spectrogram [1, 96, 64]", "CAVP", 4)
        clip = avsbench_clip(pictures, log_mel=as_log_mel(audio.detach().cpu()))
        return ModelCall.of_clip(clip, arguments)

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        frames, audio, *others = call.arguments
        return rows, self.network(frames[rows], audio[rows], *others)
