"""Masks as `supervision.Detections`."""

from typing import Any

import numpy as np

from coprop_plugin.errors import MissingExtraError
from coprop_plugin.media.class_name_files import class_names
from coprop_plugin.media.masks import mask_box
from coprop_plugin.types import FrameResult, SegmentationResult


def to_supervision(result: SegmentationResult) -> list[Any]:
    """Return `supervision.Detections` per frame; see `SegmentationResult.to_supervision`.

    Raises:
        MissingExtraError: If supervision is not installed.
    """
    try:
        from supervision import Detections
    except ImportError as error:
        raise MissingExtraError(
            f"supervision cannot be imported ({error}). Install it: "
            "pip install 'coprop-plugin[supervision]'"
        ) from error
    return [_detections(frame, Detections) for frame in result.frame_results]


def _detections(frame: FrameResult, detections: Any) -> Any:
    mask, probs = frame.mask.cpu().numpy(), frame.sounding_prob.cpu().numpy()
    classes = np.unique(mask[mask > 0])
    if not len(classes):
        return detections.empty()
    masks = mask[None] == classes[:, None, None]
    names = class_names(frame.num_classes, known=frame.class_names)
    return detections(
        xyxy=np.array([mask_box(inside) for inside in masks], np.float32),
        mask=masks,
        class_id=classes.astype(int),
        confidence=np.array([probs[inside].mean() for inside in masks], np.float32),
        data={"class_name": np.array([names[k] for k in classes.tolist()])},
    )
