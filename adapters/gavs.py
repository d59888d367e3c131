"""Adapter for GAVS (Wang et al., arXiv:2309.07929)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coprop_plugin.adapters.calls import ModelCall, avsbench_clip
from coprop_plugin.adapters.class_channels import ClassChannelsBackend
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.devices import attributes
from coprop_plugin.adapters.sam_pictures import sam_input, sam_size, undo_sam_input
from coprop_plugin.adapters.sound import VGGishFeatures
from coprop_plugin.adapters.upstream import look_through
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers import device_of, resized
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip


@MODELS.register_module(name=["GAVSBackend", "gavs"])
class GAVSBackend(ClassChannelsBackend):
    """Backend for GAVS: `model(batch) -> (masks, scores, losses)`, lists with one of each a frame.

    A call is one clip, a tuple as the released data loader makes it. Frames keep their aspect
    ratio, and their channels are blue, green, red, as that loader reads them. Scores and losses
    between keyframes are those of their segment's keyframe.

    Args:
        model: The model, plain or inside `DataParallel`.
        context: `"frame"` or `"window"`; frames are independent, so both give the same masks.
        vggish: A VGGish module, the path of its weights, or None for the public weights, loaded
            when first needed.

    Raises:
        AdapterError: If the model is not built like GAVS.
    """

    family = "GAVS"
    parts = ("model_v", "model_t", "config", "decode_with_pmp")
    # Its pictures are large, and it takes them one by one.
    frames_at_once = 1

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context = "frame",
        vggish: nn.Module | str | Path | None = None,
    ) -> None:
        side = int(self._checked(model).model_v.image_encoder.img_size)
        super().__init__(model, num_channels=1, context=context, input_size=side)
        self.audio_features = VGGishFeatures(vggish)

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Tell whether a model has the parts of the released one, Segment Anything's among them."""
        if not super().accepts(model):
            return False
        sam = look_through(model).model_v
        return all(hasattr(sam, part) for part in ("image_encoder", "prompt_encoder"))

    def _model_input(self, clip: Clip, indices: list[int], device: torch.device) -> Tensor:
        return sam_input(clip, indices, self.input_size[0], device)

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> Tensor:
        return self.audio_features(clip, indices)

    def _run(self, pictures: Tensor, sound: Tensor, length: int, wanted: list[int]) -> Tensor:
        """Return masks of the padded square, `[K, 1, h, w]`."""
        network, masks = self.network, []
        with attributes(network, device=pictures.device):
            for row in wanted:
                embedding = network.model_v.image_encoder(pictures[row : row + 1])
                masks.append(network.decode_with_pmp(embedding, sound[row : row + 1])[0])
        return torch.cat(masks)

    def _at_size(self, native: Tensor, size: Sequence[int]) -> Tensor:
        within = sam_size(size, self.input_size[0])
        return self.network.model_v.postprocess_masks(native, within, tuple(size))

    def _clip_logits(self, call: ModelCall, clip: Clip, rows: list[int]) -> Tensor:
        # The masks of a call have no padding any more.
        masks = torch.stack([self._native(call.outputs[row]) for row in rows])
        return resized(masks.float(), clip.size)

    def unpack(self, batch_data: Any, vid_temporal_mask_flag: Any = None) -> ModelCall:
        """Return the one clip of a call `(batch_data)`.

        Args:
            batch_data: Records of the frames, their ground truth, and what else the released data
                loader gives.
            vid_temporal_mask_flag: Ignored, as by the model.

        Raises:
            AdapterError: If `batch_data` is not built like that.
        """
        records = batch_data[0] if isinstance(batch_data, Sequence) and batch_data else None
        names = ("image", "audio", "input_size", "original_size")
        if not isinstance(records, Sequence) or not all(_has(record, names) for record in records):
            raise AdapterError(
                "Expected a tuple of frames' records, ground-truth masks, name and category in a "
                f"call of GAVS, as its data loader makes it; each record with {', '.join(names)}. "
                f"Got a {type(batch_data).__name__}."
            )
        size = tuple(int(extent) for extent in records[0]["original_size"])
        pictures = torch.cat(
            [record["image"].reshape(1, 3, *self.input_size) for record in records]
        )
        sound = torch.stack([record["audio"].reshape(-1) for record in records])
        clip = avsbench_clip(
            undo_sam_input(pictures.detach().cpu().float(), size),
            name=_name(batch_data[2]),
            **self.audio_features.of_call(sound),
        )
        return ModelCall.of_clip(clip, list(batch_data))

    def _run_whole(self, call: ModelCall) -> Any:
        return self._run_rows(call, list(range(call.num_rows)))[1]

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        records, truths, *others = call.arguments
        batch = ([records[row] for row in rows], [truths[row] for row in rows], *others)
        with attributes(self.network, device=device_of(self.network)):
            masks, scores, losses = self.network(batch)
        # In double precision, a score is the same number again in `_restore`.
        numbers = torch.tensor(scores, dtype=torch.float64)
        return rows, (torch.cat(masks), numbers, torch.stack(losses))

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        masks, scores, losses = outputs
        return list(masks.split(1)), scores.tolist(), list(losses)


def _has(record: Any, names: Sequence[str]) -> bool:
    return isinstance(record, Mapping) and all(name in record for name in names)


def _name(vid: Any) -> str:
    """Return the clip's name, which the data loader puts in a list."""
    return str(vid if isinstance(vid, str) else vid[0])
