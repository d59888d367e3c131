"""Tracks of rectangles on a coarse grid, true and predicted, in AVISeg's classes."""

import random
from dataclasses import dataclass

import torch

HEIGHT, WIDTH, FRAMES = 9, 16, 5


@dataclass
class Scene:
    """Classes, confidence and boxes of tracks: left, top, right, bottom; None where silent."""

    truth: list
    predicted: list
    confidence: list
    true_boxes: list
    boxes: list

    def masks(self, boxes, t):
        """Masks [N, H, W] of frame t."""
        masks = torch.zeros(len(boxes), HEIGHT, WIDTH)
        for mask, track in zip(masks, boxes, strict=True):
            if track[t]:
                left, top, right, bottom = track[t]
                mask[top:bottom, left:right] = 1
        return masks


def make_scenes(seed, videos=4):
    """Videos of up to three instances of up to three classes, and imperfect predictions of them."""
    draw = random.Random(seed)
    return [_scene(draw) for _ in range(videos)]


def _box(draw):
    left, top = draw.randrange(WIDTH - 6), draw.randrange(HEIGHT - 4)
    return left, top, left + draw.randrange(2, 7), top + draw.randrange(2, 5)


def _scene(draw):
    truth, true_boxes, boxes, predicted = [], [], [], []
    for _ in range(draw.randrange(1, 4)):
        truth.append(draw.randrange(1, 4))
        predicted.append(truth[-1] if draw.random() < 0.9 else draw.randrange(1, 4))
        box = _box(draw)
        steady = draw.random() < 0.7
        track = [box if steady or draw.random() < 0.7 else None for _ in range(FRAMES)]
        true_boxes.append(track)
        boxes.append([_guess(draw, box) for box in track])
    if draw.random() < 0.3:
        predicted.append(draw.randrange(1, 4))
        boxes.append([_box(draw) if draw.random() < 0.3 else None for _ in range(FRAMES)])
    confidence = [round(draw.random(), 3) for _ in predicted]
    return Scene(truth, predicted, confidence, true_boxes, boxes)


def _guess(draw, box):
    if box is None or draw.random() < 0.05:
        return None
    left, top, right, bottom = box
    return max(0, left - draw.randrange(2)), top, right, bottom
