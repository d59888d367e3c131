"""Adapter for AuralSAM2 (Liu et al., arXiv:2506.01015)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from coprop_plugin.adapters.calls import ModelCall, avsbench_clip, map_tensors
from coprop_plugin.adapters.class_channels import ClassChannelsBackend
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.pictures import DATASET_SIZE
from coprop_plugin.adapters.sound import check_sound_of_call
from coprop_plugin.audio.log_mel import clip_log_mel
from coprop_plugin.layers import resized
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip

_MASKS = "multistep_pred_multimasks_high_res"


@MODELS.register_module(name=["AuralSAM2Backend", "auralsam2"])
class AuralSAM2Backend(ClassChannelsBackend):
    """Backend for AuralSAM2: `model(frames, spect, prompts, sam_process) -> (outputs, features)`.

    A call is one clip. Its frames share their sounds, and SAM 2's memory goes from each to the
    next, so `"window"` context, five frames around the keyframe as in its evaluation, is the
    default; with `"frame"` a keyframe is a clip of two equal frames, of which the first counts: the
    model takes no clip of one.

    SAM 2 gives several masks a frame; the first one is taken, as upstream's evaluation does by
    default. In a drop-in call all masks of a frame that is not a keyframe are the propagated one.
    The model takes two channels of sound; clips have one here, which it gets twice.

    Args:
        model: The model, plain or inside `DataParallel`. VGGish is part of it.
        context: `"frame"` or `"window"`.
        input_size: Side, or height and width, of its input; None is that of its parameters, 1024.

    Raises:
        AdapterError: If the model is not built like AuralSAM2.
    """

    family = "AuralSAM2"
    parts = ("v_model", "aural_fuser", "param", "forward_frame")
    picture_options = dict(antialias=True, dataset_size=None, mode="bicubic")
    # A larger batch would be one clip for the model.
    frames_at_once = 1

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context = "window",
        input_size: int | Sequence[int] | None = None,
    ) -> None:
        side = int(self._checked(model).param.image_size)
        super().__init__(model, num_channels=1, context=context, input_size=input_size or side)

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> Tensor:
        return clip_log_mel(clip, indices).expand(-1, 2, -1, -1)

    def _run(self, pictures: Tensor, sound: Tensor, length: int, wanted: list[int]) -> Tensor:
        arguments = [pictures, sound, None, True]
        outputs = self._twice(arguments, 0) if length == 1 else self.network(*arguments)
        return self._native(self._rows_first(outputs, None))[wanted]

    def _twice(self, arguments: Sequence[Any], row: int) -> Any:
        """Run the model on one of its rows: a clip of two equal frames."""
        frames, spectrograms, *others = arguments
        return self.network(frames[[row, row]], spectrograms[[row, row]], *others)

    def unpack(self, *args: Any, **kwargs: Any) -> ModelCall:
        """Return the one clip of a call `(frames, spect, prompts, sam_process=False)`.

        Args:
            *args: Frames `[T, 3, H, W]`, normalised; the log-mels of their two channels of sound,
                `[T, 2, 96, 64]`; and prompts, which the model does not read.
            **kwargs: The same by name.

        Raises:
            AdapterError: If the model does not accept the arguments.
        """
        arguments = self._bind(args, kwargs)
        frames, spectrograms = arguments[:2]
        # They were enlarged from this size, which is enough to propagate at.
        pictures = interpolate(self._pictures(frames), DATASET_SIZE, mode="area")
        expected = "pair of log-mel examples [2, 96, 64]"
        check_sound_of_call(spectrograms, len(pictures), expected, self.family, 4)
        log_mel = spectrograms.detach().cpu().float().mean(1, keepdim=True)
        return ModelCall.of_clip(avsbench_clip(pictures, log_mel=log_mel), arguments)

    def _runs_whole(self, call: ModelCall, rows: list[int]) -> bool:
        # Frames share sounds and memory: the window of every keyframe is the whole clip.
        return self.context == "window"

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        ran = [self._rows_first(self._twice(call.arguments, row), call) for row in rows]
        return rows, map_tensors(lambda *pairs: torch.cat([pair[:1] for pair in pairs]), *ran)

    def _rows_first(self, raw: Any, call: ModelCall | None) -> Any:
        outputs, features = raw
        return map_tensors(lambda *rows: torch.cat(rows), *outputs), features

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        frames, features = outputs
        return [
            map_tensors(lambda rows, t=t: rows[t : t + 1], frames) for t in range(call.num_rows)
        ], features

    def _native(self, outputs: Any) -> Tensor:
        return outputs[0][_MASKS][0][:, :1]

    def _overwrite(self, outputs: Any, rows: list[int], logits: Tensor) -> None:
        masks = outputs[0][_MASKS][0]
        masks[rows] = resized(logits, masks.shape[-2:]).to(masks)
