"""Loads what finds words in pictures; the model types in the configs select the classes."""

from pathlib import Path
from typing import Any

import torch

from coprop_plugin.checkpoints import checkpoint_of, load_pretrained
from coprop_plugin.errors import CheckpointError
from coprop_plugin.layers import checked_device
from coprop_plugin.open_vocabulary.finders import BoxFinder, ClipSegFinder, Sam3Finder
from coprop_plugin.open_vocabulary.instances import Finder
from coprop_plugin.open_vocabulary.phrase_boxes import (
    GroundingDinoDetector,
    Owlv2Detector,
    PhraseDetector,
)
from coprop_plugin.propagation import Sam3Propagator

_EXPECTED = (
    "Expected a finder: CLIPSeg ('clipseg'), SAM 3 ('sam3'), or a detector and SAM 2 with a plus "
    "between them ('owlv2+sam2', 'grounding_dino+sam2_small'); each a short name, an id on the hub "
    "or a folder"
)


def load_finder(
    source: str | Path,
    *,
    least_score: float | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    local_files_only: bool = False,
    tracker: Sam3Propagator | None = None,
) -> Finder:
    """Load a finder.

    Args:
        source: `"clipseg"`, `"sam3"`, or `"DETECTOR+SAM2"`, e.g. `"owlv2+sam2"`; short names, ids
            on the hub, or folders.
        least_score: The score from which something counts; None is the finder's own.
        device: Device of its models; None is the CPU.
        dtype: Precision of its models.
        local_files_only: Whether to download nothing.
        tracker: A propagator of the same checkpoint of SAM 3, whose image encoder the finder then
            uses; device and precision are the tracker's.

    Raises:
        CheckpointError: If there are no such models, or of other types.
        DeviceError: If this machine has no such device.
    """
    place = checked_device(device or "cpu")
    options: dict[str, Any] = {} if least_score is None else dict(least_score=least_score)

    def model(kind: str, name: str) -> Any:
        return load_pretrained(kind, name, local_files_only=local_files_only).to(place, dtype)

    def part(kind: str, name: str) -> Any:
        return load_pretrained(kind, name, local_files_only=local_files_only)

    first, plus, second = str(source).partition("+")
    first, second = checkpoint_of(first), checkpoint_of(second)
    kind = part("AutoConfig", first).model_type
    if plus:
        detector: PhraseDetector
        if kind == "owlv2":
            owl = model("Owlv2ForObjectDetection", first)
            detector = Owlv2Detector(owl, part("Owlv2Processor", first), first, **options)
        elif kind == "grounding-dino":
            dino = model("GroundingDinoForObjectDetection", first)
            processor = part("GroundingDinoProcessor", first)
            detector = GroundingDinoDetector(dino, processor, first, **options)
        else:
            raise CheckpointError(f"{_EXPECTED}; got {first!r} of type {kind!r} as the detector.")
        masks = part("AutoConfig", second).model_type
        if masks not in ("sam2", "sam2_video"):
            raise CheckpointError(f"{_EXPECTED}; got {second!r} of type {masks!r} for the masks.")
        return BoxFinder(detector, model("Sam2Model", second), second)
    if kind == "clipseg":
        clipseg = model("CLIPSegForImageSegmentation", first)
        return ClipSegFinder(clipseg, part("CLIPSegProcessor", first), first, **options)
    if kind in ("sam3", "sam3_video"):
        tokenizer = part("AutoTokenizer", first)
        finder = Sam3Finder(part("Sam3Model", first), tokenizer, first, **options)
        if tracker is None:
            finder.model.to(place, dtype)
        else:
            finder.use_image_encoder(tracker)
        return finder
    raise CheckpointError(f"{_EXPECTED}; got {first!r} of type {kind!r}.")
