"""What finds words in a picture: boxes turned into masks, SAM 3, CLIPSeg."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from coprop_plugin.layers import device_of, normalise
from coprop_plugin.open_vocabulary.instances import (
    Instance,
    boxes_of,
    cut_to_box,
    without_doubles,
)
from coprop_plugin.open_vocabulary.phrase_boxes import PhraseDetector, as_array, on_device
from coprop_plugin.propagation import Sam3Propagator
from coprop_plugin.types import Box

_BOXES_AT_ONCE = 16


class BoxFinder:
    """Words to boxes by a detector, boxes to masks by SAM 2.

    Args:
        detector: Finds boxes.
        model: A `Sam2Model`: also what a checkpoint of the propagator `sam2` holds.
        model_id: Its name in logs.
        most: Most instances of a word.
    """

    def __init__(self, detector: PhraseDetector, model: Any, model_id: str, most: int = 10) -> None:
        self.detector, self.model, self.most = detector, model, most
        self.model_id = f"{detector.model_id}+{model_id}"

    def find(self, picture: Tensor, words: Sequence[str]) -> list[list[Instance]]:
        """Return the instances of each word in a picture `[3, H, W]`, the surest first."""
        found = self.detector.boxes(picture, words)
        kept = [without_doubles(boxes, scores, self.most) for boxes, scores in found]
        chosen = torch.cat([boxes[k] for (boxes, _), k in zip(found, kept, strict=True)])
        masks = iter(self._masks(picture, chosen))
        return [
            [Instance(_as_box(boxes[n]), float(scores[n]), next(masks)) for n in k]
            for (boxes, scores), k in zip(found, kept, strict=True)
        ]

    def in_boxes(self, picture: Tensor, word: str, boxes: Sequence[Box]) -> list[Instance]:
        """Return the mask of each of some boxes."""
        masks = self._masks(picture, torch.tensor(boxes).float())
        return [
            Instance(box, 1.0, cut_to_box(mask, box))
            for box, mask in zip(boxes, masks, strict=True)
        ]

    @torch.no_grad()
    def _masks(self, picture: Tensor, boxes: Tensor) -> list[Tensor]:
        """Return logits `[H, W]` for each of some boxes `[N, 4]` in pixels."""
        if not len(boxes):
            return []
        weights = next(self.model.parameters())
        height, width = picture.shape[-2:]
        side = int(self.model.config.prompt_encoder_config.image_size)
        pixels = normalise(resized(picture.to(weights.device), side)).to(weights.dtype)
        # Once a picture; then a light pass for each part of the boxes.
        seen = self.model.get_image_embeddings(pixels)
        scale = torch.tensor([side / width, side / height] * 2)
        parts = [
            self.model(
                image_embeddings=seen,
                input_boxes=(part * scale)[None].to(weights),
                multimask_output=False,
            ).pred_masks[0]
            for part in boxes.split(_BOXES_AT_ONCE)
        ]
        logits = interpolate(torch.cat(parts).float(), (height, width), mode="bilinear")
        return list(logits[:, 0])


class Sam3Finder:
    """SAM 3 (arXiv:2511.16719): a phrase to the masks of all its instances, without boxes.

    Args:
        model: A `Sam3Model`.
        tokenizer: Its tokenizer.
        model_id: Its name in logs.
        least_score: Instances below this score are left out.
        most: Most instances of a word.
    """

    def __init__(
        self, model: Any, tokenizer: Any, model_id: str, least_score: float = 0.5, most: int = 10
    ) -> None:
        self.model, self.tokenizer, self.model_id = model, tokenizer, model_id
        self.least_score, self.most = least_score, most
        self._tracker: Sam3Propagator | None = None

    def use_image_encoder(self, tracker: Sam3Propagator) -> None:
        """Use the image encoder of a tracker of the same checkpoint, which is then held once."""
        self._tracker = tracker
        self.model.vision_encoder.backbone = tracker.model.vision_encoder.backbone

    @torch.no_grad()
    def find(self, picture: Tensor, words: Sequence[str]) -> list[list[Instance]]:
        """Return the instances of each word in a picture `[3, H, W]`, the surest first."""
        if self._tracker is not None:
            # A tracker settles its precision when it begins, and may be moved at any time.
            self._tracker.set_dtype()
            self.model.to(device_of(self._tracker), self._tracker.model.dtype)
        weights = next(self.model.parameters())
        side = int(self.model.config.vision_config.backbone_config.image_size)
        pixels = resized(picture.to(weights.device), side) * 2 - 1
        # Once a picture, then a pass for each word.
        seen = self.model.get_vision_features(pixels.to(weights.dtype))
        return [self._instances(seen, word, picture.shape[-2:]) for word in words]

    def _instances(self, seen: Any, word: str, size: Sequence[int]) -> list[Instance]:
        length = int(self.model.config.text_config.max_position_embeddings)
        text = self.tokenizer(
            word, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).to(device_of(self.model))
        outputs = self.model(
            vision_embeds=seen, input_ids=text.input_ids, attention_mask=text.attention_mask
        )
        scores = (outputs.pred_logits[0].sigmoid() * outputs.presence_logits[0].sigmoid()).float()
        order = scores.argsort(descending=True)[: self.most]
        order = order[scores[order] >= self.least_score]
        if not len(order):
            return []
        masks = outputs.pred_masks[:, order].float()
        logits = interpolate(masks, tuple(size), mode="bilinear")[0]
        return instances_of(logits, scores[order].tolist())

    def in_boxes(self, picture: Tensor, word: str, boxes: Sequence[Box]) -> list[Instance]:
        """Return what SAM 3 finds of a word in each box, or the box itself."""
        return _in_boxes(self.find(picture, [word])[0], picture, boxes)


class ClipSegFinder:
    """CLIPSeg (Lüddecke and Ecker, arXiv:2112.10003v2): the light one, a coarse mask a word.

    It does not tell instances apart, and its masks have 352 pixels a side.

    Args:
        model: A `CLIPSegForImageSegmentation`.
        processor: Its `CLIPSegProcessor`.
        model_id: Its name in logs.
        least_score: The probability above which a pixel belongs to a word.
    """

    def __init__(self, model: Any, processor: Any, model_id: str, least_score: float = 0.4) -> None:
        self.model, self.processor, self.model_id = model, processor, model_id
        self.least_score = least_score

    def find(self, picture: Tensor, words: Sequence[str]) -> list[list[Instance]]:
        """Return one instance for each word that is anywhere in a picture `[3, H, W]`."""
        logits = self._logits(picture, words)
        return [
            instances_of(row[None], [float(score)])
            for row, score in zip(logits, self._scores(logits), strict=True)
        ]

    def in_boxes(self, picture: Tensor, word: str, boxes: Sequence[Box]) -> list[Instance]:
        """Return what belongs to a word in each box, or the box itself."""
        return _in_boxes(self.find(picture, [word])[0], picture, boxes)

    @torch.no_grad()
    def _logits(self, picture: Tensor, words: Sequence[str]) -> Tensor:
        """Return logits `[words, H, W]`, above 0 where a pixel reaches `least_score`."""
        inputs = self.processor(
            text=[f"a {word}" for word in words],
            images=[as_array(picture)] * len(words),
            padding=True,
            return_tensors="pt",
        )
        # For one word the model leaves out the first axis.
        side = inputs["pixel_values"].shape[-2:]
        logits = self.model(**on_device(inputs, self.model)).logits.reshape(len(words), 1, *side)
        logits = interpolate(logits.float(), tuple(picture.shape[-2:]), mode="bilinear")[:, 0]
        return logits - torch.logit(torch.tensor(self.least_score))

    def _scores(self, logits: Tensor) -> Tensor:
        """Return the highest probability of each word."""
        return (logits.flatten(1).amax(1) + torch.logit(torch.tensor(self.least_score))).sigmoid()


def resized(picture: Tensor, side: int) -> Tensor:
    """Return a picture `[3, H, W]` as `[1, 3, side, side]`; its aspect is not kept."""
    return interpolate(picture[None].float(), (side, side), mode="bilinear", antialias=True)


def instances_of(logits: Tensor, scores: Sequence[float]) -> list[Instance]:
    """Return the instances of masks `[N, H, W]` that are not empty."""
    kept = [n for n in range(len(logits)) if bool((logits[n] > 0).any())]
    boxes = boxes_of(logits[kept] > 0)
    return [Instance(box, scores[n], logits[n]) for n, box in zip(kept, boxes, strict=True)]


def _in_boxes(found: list[Instance], picture: Tensor, boxes: Sequence[Box]) -> list[Instance]:
    nothing = torch.full(tuple(picture.shape[-2:]), -1.0)
    merged = torch.stack([one.logits for one in found]).amax(0) if found else nothing
    return [Instance(box, 1.0, cut_to_box(merged, box)) for box in boxes]


def _as_box(corners: Tensor) -> Box:
    left, top, right, bottom = (round(n, 1) for n in corners.tolist())
    return left, top, right, bottom
