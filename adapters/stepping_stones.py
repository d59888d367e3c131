"""Adapter for AAVS and its semantic stage, Stepping-Stones (Ma et al., arXiv:2407.11820)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import interpolate

from coprop_plugin.adapters.calls import ModelCall, avsbench_clip, map_tensors
from coprop_plugin.adapters.class_channels import ClassChannelsBackend
from coprop_plugin.adapters.clip_context import Context
from coprop_plugin.adapters.devices import attributes
from coprop_plugin.adapters.pictures import DATASET_SIZE
from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.adapters.sound import VGGishFeatures
from coprop_plugin.adapters.upstream import look_through
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers import resized
from coprop_plugin.registry import MODELS
from coprop_plugin.types import Clip, KeyframeBackend

_BINARY = "post_process_binary_segmentation"
_SEMANTIC = "post_process_semantic_segmentation"
# What the released data loader gives one of per frame.
_PER_FRAME = (
    "pixel_values",
    "pixel_mask",
    "feat_aud",
    "mask_recs",
    "mask_labels",
    "class_labels",
)


@MODELS.register_module(name=["SteppingStonesBackend", "stepping_stones"])
class SteppingStonesBackend(ClassChannelsBackend):
    """Backend for AAVS (S4, MS3) and Stepping-Stones (AVSS): `model(batch) -> (loss, masks)`.

    A call is one clip, a dictionary as the released data loader makes it. The masks of a frame are
    two scores, of the background and of what sounds, or for AVSS class indices. The loss is that
    of the frames that the model was run on.

    The semantic model looks only where something sounds, by the masks of the binary one. Its own
    call reads them from the files in its `mask_path`; `segment` asks `first_stage`.

    Args:
        model: The model, plain or inside `DataParallel`.
        context: `"frame"` or `"window"`; frames are independent, so both give the same masks.
        first_stage: For the semantic model: the binary one, or a backend of any binary model.
        vggish: A VGGish module, the path of its weights, or None for the public weights, loaded
            when first needed.

    Raises:
        AdapterError: If the model is not built like AAVS, or `first_stage` is not a binary model.
    """

    family = "AAVS"
    parts = ("image_processor", "model", "audio_proj")
    # A literal of the released code.
    released_size = 384
    gives_scores = True
    picture_options = dict(antialias=True, dataset_size=None)

    def __init__(
        self,
        model: nn.Module,
        *,
        context: Context = "frame",
        first_stage: nn.Module | KeyframeBackend | None = None,
        vggish: nn.Module | str | Path | None = None,
    ) -> None:
        network = self._checked(model)
        self._name = _SEMANTIC if hasattr(network, "mask_path") else _BINARY
        stage = _binary(first_stage)
        if getattr(stage, "context", "frame") == "window":
            context = "window"
        # The last class of a query is "none of them".
        num_channels = network.model.class_predictor.out_features - 1
        super().__init__(model, num_channels=num_channels, context=context, input_size=None)
        self.audio_features, self.first_stage = VGGishFeatures(vggish), stage

    @classmethod
    def accepts(cls, model: Any) -> bool:
        """Tell whether a model has the parts of the released one, and its post-processing."""
        if not super().accepts(model):
            return False
        model = look_through(model)
        return hasattr(model.image_processor, _BINARY) and hasattr(model.model, "class_predictor")

    @property
    def _is_semantic(self) -> bool:
        return self._name == _SEMANTIC

    def _audio_inputs(self, clip: Clip, indices: list[int]) -> tuple[Tensor, ...]:
        embeddings = self.audio_features(clip, indices)
        if not self._is_semantic:
            return (embeddings,)
        if self.first_stage is None:
            raise AdapterError(
                "Expected a first stage for the semantic model of Stepping-Stones, which looks "
                "only where something sounds, got none. Give the binary model: "
                '`wrap(model, backend=dict(type="stepping_stones", first_stage=binary))`.'
            )
        logits = self.first_stage.segment_keyframes(clip, indices).cpu()
        # Upstream saves the masks of the first stage at this size.
        masks = resized(logits, DATASET_SIZE)[:, 0] > 0
        return embeddings, masks.to(embeddings)

    def _run(self, pictures: Tensor, sound: Any, length: int, wanted: list[int]) -> Tensor:
        embeddings, *masks = sound
        outputs = self.network.model(
            pixel_values=pictures,
            pixel_mask=torch.ones_like(pictures[:, 0], dtype=torch.long),
            prompt_features_projected=self.network.audio_proj(embeddings[None]),
            **(dict(audio_boost_mask=masks[0]) if masks else {}),
        )
        return _scores(outputs, self.input_size)[wanted]

    def unpack(self, batch_data: Mapping[str, Any]) -> ModelCall:
        """Return the one clip of a call `(batch_data)`.

        Args:
            batch_data: `pixel_values` `[T, 3, 384, 384]`, normalised; `feat_aud` `[T, 128]`,
                VGGish embeddings; and all else that the released data loader gives.

        Raises:
            AdapterError: If it is no such dictionary, or lengths disagree.
        """
        wanted = (*_PER_FRAME, "image_size")
        if not isinstance(batch_data, Mapping) or not all(name in batch_data for name in wanted):
            is_batch = isinstance(batch_data, Mapping)
            raise AdapterError(
                f"Expected a dictionary with {', '.join(wanted)} in a call of AAVS, as its data "
                f"loader makes it, got {sorted(batch_data) if is_batch else type(batch_data)}."
            )
        batch = dict(batch_data)
        for name, axes in (("pixel_values", 4), ("pixel_mask", 3), ("feat_aud", 2)):
            batch[name] = batch[name].reshape(-1, *batch[name].shape[1 - axes :])
        pictures = self._pictures(batch["pixel_values"])
        lengths = {name: len(batch[name]) for name in _PER_FRAME}
        if len(set(lengths.values())) > 1:
            raise AdapterError(f"Expected one of each per frame in a call of AAVS, got {lengths}.")
        sound = self.audio_features.of_call(batch["feat_aud"])
        return ModelCall.of_clip(avsbench_clip(pictures, name=str(batch["vid"]), **sound), [batch])

    def _run_whole(self, call: ModelCall) -> Any:
        return self._call(call.arguments[0])

    def _run_rows(self, call: ModelCall, rows: list[int]) -> tuple[list[int], Any]:
        batch = dict(call.arguments[0])
        for name in _PER_FRAME:
            some = batch[name]
            batch[name] = some[rows] if isinstance(some, Tensor) else [some[row] for row in rows]
        if not self._is_semantic:
            return rows, self._call(batch)
        masks = self.network.load_mask(batch["vid"], batch["subsets"])[rows]
        with attributes(self.network, load_mask=lambda *names: masks):
            return rows, self._call(batch)

    def _call(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Make the model's own call; outputs have rows first, and class scores are among them."""
        processor, heard = self.network.image_processor, []
        post_process = getattr(processor, self._name)

        def listen(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            heard.append(outputs)
            return post_process(outputs, *args, **kwargs)

        with attributes(processor, **{self._name: listen}):
            loss, masks = self.network(batch)
        masks = torch.stack(masks)
        scores = _scores(heard[0], masks.shape[-2:]) if self._is_semantic else masks
        rows = len(masks)
        return dict(
            loss=map_tensors(lambda x: x.detach()[None].expand(rows, *x.shape), loss),
            masks=masks,
            scores=scores,
        )

    def _native(self, outputs: Any) -> Tensor:
        return outputs["scores"]

    def _overwrite(self, outputs: Any, rows: list[int], logits: Tensor) -> None:
        super()._overwrite(outputs, rows, logits)
        scores = outputs["scores"][rows]
        outputs["masks"][rows] = scores.argmax(1) if self._is_semantic else scores

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        return map_tensors(lambda x: x[0], outputs["loss"]), list(outputs["masks"])


def _binary(first_stage: Any) -> KeyframeBackend | None:
    backend = None if first_stage is None else find_backend(first_stage)
    if backend is not None and backend.num_classes != 1:
        raise AdapterError(
            "Expected a binary model as first stage of Stepping-Stones, got "
            f"{type(first_stage).__name__} with {backend.num_classes} classes. Give the model for "
            "S4 or MS3."
        )
    return backend


def _scores(outputs: Any, size: Sequence[int]) -> Tensor:
    """Return the scores of classes `[N, C, *size]`: per class the sum of its queries' masks."""
    classes = outputs.class_queries_logits.softmax(-1)[..., :-1]
    scores = []
    # Frame by frame: 100 queries at the input's size take 60 MB.
    for chances, masks in zip(classes, outputs.masks_queries_logits, strict=True):
        probs = interpolate(masks[None], (384, 384), mode="bilinear").sigmoid()[0]
        summed = rearrange(chances.T @ probs.flatten(1), "c (h w) -> 1 c h w", h=384)
        scores.append(interpolate(summed, tuple(size), mode="bilinear"))
    return torch.cat(scores)
