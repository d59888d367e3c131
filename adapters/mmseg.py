"""Adapter for segmentors of mmsegmentation, which take images only."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coprop_plugin.adapters.devices import borrow_model
from coprop_plugin.adapters.upstream import look_through
from coprop_plugin.errors import AdapterError
from coprop_plugin.layers import resized, segment_in_batches
from coprop_plugin.registry import MODELS
from coprop_plugin.types import ABSENT_LOGIT, Clip

# A probability of 2e-9: low enough never to win, safe in half precision.

ChannelOrder = Literal["bgr", "rgb"]
"""Order of the colour channels that a segmentor's data preprocessor takes."""


@MODELS.register_module(name=["MMSegBackend", "mmseg"])
class MMSegBackend(nn.Module):
    """Backend around any mmsegmentation segmentor; audio is used by the control points only.

    The segmentor's own data preprocessor normalises the frames.

    Args:
        model: A segmentor, as `mmseg.apis.init_model` makes it, or an mmengine config of one.
        class_ids: Which of its classes may sound. None: its classes as they are, its class 0 the
            background. A list: those classes together against all others, so that masks are
            binary. A mapping from its classes to ours (1, 2, ...): all others are background.
        channel_order: Input of the data preprocessor: `"bgr"`, as from mmseg's own loader, or
            `"rgb"` for segmentors trained with another loader.
        frames_at_once: Maximum number of frames per call.

    Raises:
        AdapterError: If the model is not a segmentor, or does not have the classes of `class_ids`.

    Example:
        >>> MMSegBackend(segmentor, class_ids=[15])  # doctest: +SKIP
        >>> MMSegBackend(segmentor, class_ids={15: 1, 12: 2}).num_classes  # doctest: +SKIP
        3
    """

    def __init__(
        self,
        model: nn.Module | Mapping[str, Any],
        *,
        class_ids: Sequence[int] | Mapping[int, int] | None = None,
        channel_order: ChannelOrder = "bgr",
        frames_at_once: int = 4,
    ) -> None:
        super().__init__()
        if isinstance(model, Mapping):
            model = _build(model)
        if not self.accepts(model):
            raise AdapterError(
                f"{type(model).__name__} is not an mmsegmentation segmentor: it lacks "
                "`encode_decode`, `data_preprocessor` or `decode_head`."
            )
        self.model = model
        if channel_order not in ("bgr", "rgb"):
            raise AdapterError(f"Expected channel_order 'bgr' or 'rgb', got {channel_order!r}.")
        self.channel_order = channel_order
        self.frames_at_once = frames_at_once
        native = _num_outputs(look_through(model).decode_head)
        self.binary = not isinstance(class_ids, Mapping) and (class_ids is not None or native == 1)
        self.class_of = _class_table(class_ids, native)
        self.num_classes = 1 if self.binary else max(self.class_of) + 1
        self.class_names = None if self.binary else _names(look_through(model), self.class_of)

    @staticmethod
    def accepts(model: Any) -> bool:
        """Tell whether a model has the parts of an mmsegmentation segmentor."""
        model = look_through(model)
        parts = ("encode_decode", "predict", "data_preprocessor", "decode_head")
        return isinstance(model, nn.Module) and all(hasattr(model, part) for part in parts)

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment the frames `indices` of `clip`.

        Returns:
            Logits `[K, C, H, W]` float32 at the clip's size, on the model's device.

        Raises:
            ClipError: If an index lies outside the clip.
        """
        indices = clip.checked(indices)

        def segment(batch: Sequence[int]) -> Tensor:
            with borrow_model(look_through(self.model)) as device:
                native = self._native(clip.rgb(batch).to(device)).float()
                return resized(self._regroup(native), clip.size)

        empty = torch.zeros(0, self.num_classes, *clip.size, dtype=torch.float32)
        return segment_in_batches(segment, indices, self.frames_at_once, empty)

    def _native(self, frames: Tensor) -> Tensor:
        """Run RGB frames [K, 3, H, W] in [0, 1]; returns logits [K, N, H, W], padding cut off."""
        from mmseg.structures import SegDataSample

        network = look_through(self.model)
        preprocessor = network.data_preprocessor
        inputs = frames * 255
        if self.channel_order == "bgr":
            inputs = inputs.flip(1)
        height, width = frames.shape[-2:]
        size = {"ori_shape": (height, width), "img_shape": (height, width)}
        samples = [SegDataSample(metainfo=size | {"pad_shape": (height, width)}) for _ in frames]
        data = preprocessor({"inputs": list(inputs), "data_samples": samples}, False)
        metas = [sample.metainfo for sample in data["data_samples"]]
        run = getattr(network, "inference", network.encode_decode)
        logits = run(data["inputs"], metas)
        return _without_padding(logits, data["inputs"].shape[-2:], metas[0])

    def _regroup(self, logits: Tensor) -> Tensor:
        """Sum the probabilities of the segmentor's classes `[K, N, h, w]` that form one of ours.

        In logits, where a sum is a logsumexp; sigmoid or softmax of the result are the sums.
        """
        as_they_are = not self.binary and self.class_of == list(range(len(self.class_of)))
        if logits.shape[1] == 1 or as_they_are:
            return logits
        ours = [
            [theirs for theirs, mine in enumerate(self.class_of) if mine == one]
            for one in range(max(self.class_of) + 1)
        ]
        sums = torch.stack(
            [
                logits[:, theirs].logsumexp(1) if theirs else logits.amin(1) + ABSENT_LOGIT
                for theirs in ours
            ],
            dim=1,
        )
        return sums[:, 1:] - sums[:, :1] if self.binary else sums


def _build(config: Mapping[str, Any]) -> nn.Module:
    from mmengine import ConfigDict
    from mmseg.registry import MODELS as SEGMENTORS

    return SEGMENTORS.build(ConfigDict(config))


def _num_outputs(head: Any) -> int:
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    return int(getattr(head, "out_channels", None) or head.num_classes)


def _class_table(class_ids: Any, native: int) -> list[int]:
    """Return our class of each of the segmentor's classes."""
    if class_ids is None:
        return list(range(native))
    pairs = dict(class_ids) if isinstance(class_ids, Mapping) else dict.fromkeys(class_ids, 1)
    if not pairs or native == 1 or not all(0 <= theirs < native for theirs in pairs):
        raise AdapterError(
            f"Expected class_ids among the segmentor's classes 0 to {native - 1}"
            f"{', and none for a binary segmentor' if native == 1 else ''}; got {class_ids}."
        )
    if not all(mine >= 0 for mine in pairs.values()):
        raise AdapterError(
            f"Expected our classes to be 0 (background), 1, 2, ..., got class_ids={class_ids}."
        )
    return [pairs.get(theirs, 0) for theirs in range(native)]


def _names(network: nn.Module, class_of: Sequence[int]) -> tuple[str, ...] | None:
    """Return the names of our classes, from the data set that the segmentor was trained on."""
    theirs = (getattr(network, "dataset_meta", None) or {}).get("classes")
    if theirs is None or len(theirs) != len(class_of):
        return None
    names = [
        "/".join(name for name, mine in zip(theirs, class_of, strict=True) if mine == one)
        for one in range(max(class_of) + 1)
    ]
    as_they_are = list(class_of) == list(range(len(class_of)))
    return tuple(names if as_they_are else ["background", *names[1:]])


def _without_padding(logits: Tensor, size: Sequence[int], meta: Mapping[str, Any]) -> Tensor:
    """Crop the padding that the data preprocessor added to frames that are now of `size`."""
    # mmseg has two names for it. A head's output has its own stride, hence shares of the size.
    padding = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
    left, right, top, bottom = padding
    height, width = logits.shape[-2:]
    rows = slice(round(top / size[0] * height), height - round(bottom / size[0] * height))
    columns = slice(round(left / size[1] * width), width - round(right / size[1] * width))
    return logits[..., rows, columns]
