"""Detectors of phrases of the transformers package: OWLv2 and Grounding DINO, words to boxes."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from coprop_plugin.layers import device_of

Found = tuple[Tensor, Tensor]
"""Boxes `[N, 4]` in pixels, and their scores `[N]` in [0, 1]."""


class PhraseDetector(Protocol):
    """Finds boxes of words in a picture."""

    model_id: str
    """Its name in logs."""

    def boxes(self, picture: Tensor, words: Sequence[str]) -> list[Found]:
        """Return the boxes of each word in a picture `[3, H, W]`."""
        ...


class Owlv2Detector:
    """OWLv2 (Minderer et al., arXiv:2306.09683v3): one query a word.

    Args:
        model: An `Owlv2ForObjectDetection`.
        processor: Its `Owlv2Processor`.
        model_id: Its name in logs.
        least_score: Boxes below this score are left out.
    """

    def __init__(self, model: Any, processor: Any, model_id: str, least_score: float = 0.2) -> None:
        self.model, self.processor, self.model_id = model, processor, model_id
        self.least_score = least_score

    @torch.no_grad()
    def boxes(self, picture: Tensor, words: Sequence[str]) -> list[Found]:
        """Return the boxes of each word in a picture `[3, H, W]`."""
        text = [[f"a photo of a {word}" for word in words]]
        inputs = self.processor(text=text, images=[as_array(picture)], return_tensors="pt")
        outputs = self.model(**on_device(inputs, self.model))
        scores = outputs.logits[0].float().sigmoid()
        # Boxes are shares of a square that has the picture in its upper left corner.
        boxes = _corners(outputs.pred_boxes[0].float()) * max(picture.shape[-2:])
        return _by_word(boxes, scores, self.least_score, picture.shape[-2:])


class GroundingDinoDetector:
    """Grounding DINO (Liu et al., arXiv:2303.05499v5): all words in one text.

    The score of a word is that of the best token between its two full stops: what the processor
    makes of the tokens is text, in which words may be joined or cut.

    Args:
        model: A `GroundingDinoForObjectDetection`.
        processor: Its `GroundingDinoProcessor`.
        model_id: Its name in logs.
        least_score: Boxes below this score are left out.
    """

    def __init__(self, model: Any, processor: Any, model_id: str, least_score: float = 0.3) -> None:
        self.model, self.processor, self.model_id = model, processor, model_id
        self.least_score = least_score

    @torch.no_grad()
    def boxes(self, picture: Tensor, words: Sequence[str]) -> list[Found]:
        """Return the boxes of each word in a picture `[3, H, W]`."""
        text = " ".join(f"a {word.lower().replace('.', ' ')}." for word in words)
        inputs = self.processor(images=[as_array(picture)], text=text, return_tensors="pt")
        spans = _spans(inputs["input_ids"][0].tolist(), self.processor.tokenizer)
        if len(spans) < len(words) and len(words) > 1:
            # The text was cut to the model's length, or a full stop was lost in it.
            return [found for word in words for found in self.boxes(picture, [word])]
        outputs = self.model(**on_device(inputs, self.model))
        tokens = outputs.logits[0].float().sigmoid()
        scores = torch.stack([tokens[:, span].amax(1) for span in spans[: len(words)]], dim=1)
        height, width = picture.shape[-2:]
        scale = torch.tensor([width, height, width, height]).to(tokens)
        boxes = _corners(outputs.pred_boxes[0].float()) * scale
        return _by_word(boxes, scores, self.least_score, picture.shape[-2:])


def as_array(picture: Tensor) -> Any:
    """Return a picture `[3, H, W]` in [0, 1] as processors take it: `[H, W, 3]` uint8."""
    return (picture * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def on_device(inputs: Any, model: Any) -> dict[str, Tensor]:
    """Return a processor's tensors on a model's device, numbers in its precision."""
    device, dtype = device_of(model), next(model.parameters()).dtype
    return {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in inputs.items()
    }


def _spans(ids: list[int], tokenizer: Any) -> list[list[int]]:
    """Return the places of the tokens of each phrase, which end with a full stop."""
    end = tokenizer.convert_tokens_to_ids(".")
    spans: list[list[int]] = []
    current: list[int] = []
    for place, token in enumerate(ids):
        if token == end:
            spans, current = [*spans, current] if current else spans, []
        elif token not in tokenizer.all_special_ids:
            current.append(place)
        elif token == tokenizer.unk_token_id:
            current.append(place)
    spans = [*spans, current] if current else spans
    return spans or [list(range(len(ids)))]


def _corners(boxes: Tensor) -> Tensor:
    """Turn centres and sizes into corners, `[N, 4]`."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _by_word(boxes: Tensor, scores: Tensor, least: float, size: Sequence[int]) -> list[Found]:
    """Give each box to the word that it fits best; leave out those that fit none.

    Args:
        boxes: `[N, 4]` corners in pixels.
        scores: `[N, words]`.
        least: The least score.
        size: Height and width of the picture.
    """
    height, width = size
    limits = torch.tensor([width, height, width, height]).to(boxes)
    boxes = torch.minimum(boxes.clamp_min(0), limits)
    best, word = scores.max(1)
    whole = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    rows = [(word == n) & (best >= least) & whole for n in range(scores.shape[1])]
    return [(boxes[row].cpu(), best[row].cpu()) for row in rows]
