"""Adapters for COMBO (Yang et al., arXiv:2312.06462) and VCT (Huang et al., arXiv:2506.23623)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from coprop_plugin.adapters.calls import ModelCall, avsbench_clip
from coprop_plugin.adapters.class_channels import ClassChannelsBackend
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.devices import attributes
from coprop_plugin.adapters.pre_masks import PreMasks, pre_mask_pictures
from coprop_plugin.adapters.sound import check_sound_of_call
from coprop_plugin.adapters.upstream import look_through
from coprop_plugin.audio.log_mel import clip_log_mel
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers.normalisation import denormalise
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

_FLAGS = ("vid_temporal_mask_flag", "gt_temporal_mask_flag")
# Frames of the clips of AVSBench; of AVSBench-semantic some have 10.
_SHORT, _LONG = 5, 10


@MODELS.register_module(name=["COMBOBackend", "combo"])
class COMBOBackend(ClassChannelsBackend):
    """Backend for COMBO: `model(batched_inputs) -> [{"sem_seg": scores}, ...]`, one per frame.

    A clip is a dictionary as detectron2's data loader makes it with the released mapper. All
    frames of a batch share their sounds: the released code gives every frame's queries the sounds
    of all of them. So `"window"` context, five frames around the keyframe as in its evaluation, is
    the default; with `"frame"` a keyframe hears its own sound alone. AVSS has clips of five and of
    ten frames, and a window of the same.

    Args:
        model: The model, plain or inside `DataParallel`. VGGish is part of it.
        context: `"frame"` or `"window"`.
        pre_masks: Where pictures of a frame's objects come from, which models with `USE_PRE_SAM`
            take beside it: see `PreMasks`. In a drop-in call they are among the arguments.
        input_size: Side, or height and width, of its input; None is 224.

    Raises:
        AdapterError: If the model is not built like COMBO.
    """

    family = "COMBO"
    parts: tuple[str, ...] = (
        "backbone",
        "audio_backbone",
        "sem_seg_head",
        "use_pre_sam",
        "is_avss_data",
    )
    # A larger batch would mix the sounds of several keyframes.
    shares_sounds, frames_at_once = True, 1
    gives_scores = True
    picture_options: Mapping[str, Any] = dict(dataset_size=None)

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context = "window",
        pre_masks: PreMasks = None,
        input_size: int | Sequence[int] | None = None,
    ) -> None:
        num_channels = int(self._checked(model).sem_seg_head.num_classes)
        super().__init__(model, num_channels=num_channels, context=context, input_size=input_size)
        self.pre_masks = pre_masks
        self.is_semantic = bool(self.network.is_avss_data)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Tell whether a model has the parts of the released one, and not those of VCT."""
        return super().accepts(model) and not hasattr(look_through(model), "is_s4_data")

    def window_length(self, clip: Clip) -> int:
        """Return the number of frames of a window."""
        return _LONG if self.is_semantic and len(clip) > _SHORT else _SHORT

    def _model_input(self, clip: Clip, indices: list[int], device: torch.device) -> Tensor:
        pictures = super()._model_input(clip, indices, device)
        # It normalises pictures of 0 to 255 itself.
        return (denormalise(pictures) * 255).round()

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> tuple[Tensor, ...]:
        log_mel = clip_log_mel(clip, indices)
        if not self.network.use_pre_sam:
            return (log_mel,)
        pictures = pre_mask_pictures(self.pre_masks, clip, indices)
        if pictures.shape[-2:] != self.input_size:
            pictures = interpolate(pictures, self.input_size, mode="bilinear", antialias=True)
        return log_mel, (pictures.clamp(0, 1) * 255).round()

    def _run(self, pictures: Tensor, sound: Any, length: int, wanted: list[int]) -> Tensor:
        height, width = self.input_size
        batch = dict(images=pictures, audio_log_mel=sound[0], height=height, width=width)
        if len(sound) > 1:
            batch["pre_masks"] = sound[1]
        return self._call(self._frame_by_frame(batch))["sem_seg"][wanted]

    def _frame_by_frame(self, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return inputs of one frame each, which may be any number: clips must be of five."""
        rows = ("images", "audio_log_mel", "pre_masks")
        size = {name: batch[name] for name in ("height", "width") if name in batch}
        flags = {name: torch.ones(1) for name in _FLAGS} if self.is_semantic else {}
        # VCT for S4 reads a class that is for its loss.
        more = dict(category_label=batch.get("category_label", 0), **flags, **size)
        return [
            {name: batch[name][t : t + 1] for name in rows if name in batch} | more
            for t in range(len(batch["images"]))
        ]

    def unpack(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ModelCall:
        """Return the clips of a call `(batched_inputs)`.

        Args:
            batched_inputs: Per clip `images` `[T, 3, H, W]`, 0 to 255; `audio_log_mel`, and what
                else the released mapper gives.

        Raises:
            AdapterError: If they are not built like that.
        """
        clips, rows, start = [], [], 0
        for entry in _checked_inputs(batched_inputs):
            log_mel = entry["audio_log_mel"]
            if self.is_semantic:
                log_mel = log_mel[entry[_FLAGS[0]].flatten() != 0]
            length = len(entry["images"])
            check_sound_of_call(log_mel, length, "log-mel example", self.family)
            pictures = entry["images"].detach().cpu().float() / 255
            clips.append(avsbench_clip(pictures, log_mel=log_mel.detach().cpu().float()))
            rows.append(range(start, start + length))
            start += length
        return ModelCall(clips, rows, start, [batched_inputs])

    def _runs_whole(self, call: ModelCall, rows: list[int]) -> bool:
        # Where frames share sounds, the window of every keyframe is the whole batch.
        return self.context == "window" if self.shares_sounds else rows == call.real_rows

    def _run_whole(self, call: ModelCall) -> Any:
        return self._call(call.arguments[0])

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        inputs = [frame for entry in call.arguments[0] for frame in self._frame_by_frame(entry)]
        batches = [[row] for row in rows] if self.shares_sounds else [rows]
        outputs = [self._call([inputs[row] for row in batch])["sem_seg"] for batch in batches]
        return rows, {"sem_seg": torch.cat(outputs)}

    def _call(self, batched_inputs: Any) -> dict[str, Tensor]:
        # It notes the length of the last clip.
        with attributes(self.network, num_frames=None):
            scores = [output["sem_seg"] for output in self.network(batched_inputs)]
        if len({score.shape for score in scores}) > 1:
            raise AdapterError(
                f"Expected frames of one size in a call of {self.family}, got "
                f"{[list(score.shape[-2:]) for score in scores]}. Pass one clip per call."
            )
        return {"sem_seg": torch.stack(scores)}

    def _native(self, outputs: Any) -> Tensor:
        return outputs["sem_seg"]

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        return [{"sem_seg": scores} for scores in outputs["sem_seg"]]


@MODELS.register_module(name=["VCTBackend", "vct"])
class VCTBackend(COMBOBackend):
    """Backend for VCT, which is called as COMBO is, on 384 pixels; its masks have 224.

    Frames are independent, so `"frame"` context is exact and the default.

    Args:
        model: The model, plain or inside `DataParallel`. VGGish is part of it.
        context: `"frame"` or `"window"`; both give the same masks.
        pre_masks: As for COMBO.

    Raises:
        AdapterError: If the model is not built like VCT.
    """

    family = "VCT"
    parts = (*COMBOBackend.parts, "is_s4_data", "is_ms3_data")
    # A literal of the released code.
    released_size = 384
    shares_sounds, frames_at_once = False, 5

    def __init__(
        self, model: nn.Module, *, context: Context = "frame", pre_masks: PreMasks = None
    ) -> None:
        super().__init__(model, context=context, pre_masks=pre_masks)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Tell whether a model has the parts of the released one."""
        return super(COMBOBackend, cls).accepts(model)


def _checked_inputs(batched_inputs: Any) -> Sequence[Mapping[str, Any]]:
    names = ("images", "audio_log_mel")
    is_list = isinstance(batched_inputs, Sequence) and len(batched_inputs) > 0
    if not is_list or not all(isinstance(x, Mapping) and names[0] in x for x in batched_inputs):
        raise AdapterError(
            f"Expected a list of dictionaries with {' and '.join(names)}, one per clip, as the "
            f"released mapper makes them, got {type(batched_inputs).__name__}."
        )
    return batched_inputs
