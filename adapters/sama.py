"""Adapter for SAMA-AVS (Liu et al., arXiv:2305.11019)."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from coprop_plugin.adapters.calls import ModelCall, avsbench_clip
from coprop_plugin.adapters.class_channels import ClassChannelsBackend
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.devices import attributes
from coprop_plugin.adapters.pictures import DATASET_SIZE
from coprop_plugin.adapters.sound import check_sound_of_call
from coprop_plugin.audio.log_mel import clip_log_mel
from coprop_plugin.layers import device_of
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip


@MODELS.register_module(name=["SAMABackend", "sama"])
class SAMABackend(ClassChannelsBackend):
    """Backend for SAMA-AVS: `model.infer(frames, log_mel) -> logits`.

    Its call is `infer`, so a model wrapped with this adapter has an `infer`, too; calling it does
    the same. A call is one clip.

    Args:
        model: The model, plain or inside `DataParallel`. VGGish is part of it.
        context: `"frame"` or `"window"`; frames are independent, so both give the same masks.

    Raises:
        AdapterError: If the model is not built like SAMA-AVS.
    """

    family = "SAMA-AVS"
    call_name, passed_names = "infer", ("device",)
    parts = ("image_encoder", "mask_decoder", "audio_encoder", "inp_size", "infer")
    # Segment Anything's pictures of 1024 pixels.
    frames_at_once = 2

    def __init__(self, model: nn.Module, *, context: Context = "frame") -> None:
        side = int(self._checked(model).inp_size)
        super().__init__(model, num_channels=1, context=context, input_size=side)

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> Tensor:
        return clip_log_mel(clip, indices)

    def _run(self, pictures: Tensor, sound: Tensor, length: int, wanted: list[int]) -> Tensor:
        return self._infer(pictures, sound)[wanted]

    def _infer(self, frames: Tensor, log_mel: Tensor) -> Tensor:
        # It sends its input to a device that it noted when it was built, and keeps its features.
        with attributes(self.network, device=device_of(self.network), features=None):
            return self.network.infer(frames, log_mel)

    def unpack(self, *args: Any, **kwargs: Any) -> ModelCall:
        """Return the one clip of a call `infer(frames, log_mel)`.

        Args:
            *args: Frames `[T, 3, H, W]`, normalised, and their log-mels `[T, 1, 96, 64]`.
            **kwargs: The same by name.

        Raises:
            AdapterError: If the model does not accept the arguments.
        """
        frames, log_mel = self._bind(args, kwargs)
        # They were enlarged from this size, which is enough to propagate at.
        pictures = interpolate(self._pictures(frames), DATASET_SIZE, mode="area")
        check_sound_of_call(log_mel, len(pictures), "log-mel example [1, 96, 64]", "SAMA-AVS", 4)
        clip = avsbench_clip(pictures, log_mel=log_mel.detach().cpu().float())
        return ModelCall.of_clip(clip, [frames, log_mel])

    def _run_whole(self, call: ModelCall) -> Any:
        return (self._infer(*call.arguments),)

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        frames, log_mel = call.arguments
        return rows, (self._infer(frames[rows], log_mel[rows]),)

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        return outputs[0]
