"""Losses against plain loops over pixels."""

import math

import pytest
import torch
import torch.nn.functional as F

from coprop_plugin.errors import TrainingError
from coprop_plugin.keyframes import KeyframePrediction
from coprop_plugin.training.losses import (
    bootstrapped_cross_entropy,
    classes_there,
    hard_share,
    keyframe_losses,
    propagation_loss,
    segmentation_loss,
    soft_jaccard,
)


@pytest.fixture
def case():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 5, 4))
    labels[0, 0] = 255
    return torch.randn(2, 4, 5, 4), labels


def entropies(logits, labels):
    """Cross entropy of every known pixel of one sample, by hand."""
    found = []
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if labels[y, x] != 255:
                scores = [math.exp(v) for v in logits[:, y, x].tolist()]
                found.append(-math.log(scores[labels[y, x]] / sum(scores)))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_cross_entropy_counts_the_hardest_pixels(case, share):
    logits, labels = case
    means = []
    for b in range(2):
        found = entropies(logits[b], labels[b])
        found = found[: round(share * len(found))]
        means.append(sum(found) / len(found))
    expected = sum(means) / 2
    assert float(bootstrapped_cross_entropy(logits, labels, share)) == pytest.approx(expected, 1e-5)


def test_all_pixels_are_plain_cross_entropy(case):
    logits, labels = case[0], case[1] % 4
    torch.testing.assert_close(
        bootstrapped_cross_entropy(logits, labels), F.cross_entropy(logits, labels)
    )


def test_soft_jaccard_is_the_mean_over_ids_in_the_label(case):
    logits, labels = case
    means = []
    for b in range(2):
        known = labels[b] != 255
        probs = logits[b].softmax(0)[:, known]
        per_id = []
        for number in labels[b][known].unique().tolist():
            true = (labels[b][known] == number).float()
            shared = float((probs[number] * true).sum())
            per_id.append(1 - shared / (float(probs[number].sum() + true.sum()) - shared))
        means.append(sum(per_id) / len(per_id))
    assert float(soft_jaccard(logits, labels)) == pytest.approx(sum(means) / 2, abs=1e-5)


def test_unknown_pixels_change_nothing(case):
    logits, labels = case
    other = logits.clone()
    other[0, :, 0] += torch.randn(4, 4)
    assert propagation_loss(other, labels) == propagation_loss(logits, labels)
    unknown = torch.full_like(labels, 255)
    assert float(propagation_loss(logits, unknown)) == 0


def test_share_is_checked_and_falls_as_in_aot(case):
    with pytest.raises(TrainingError, match=r"e.g. 0\.15, got"):
        bootstrapped_cross_entropy(*case, share=0.0)
    assert [hard_share(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.15, 0.15])


@pytest.mark.parametrize("num_classes", [1, 3])
def test_segmentation_loss_by_hand(num_classes):
    torch.manual_seed(0)
    logits, masks = torch.randn(2, num_classes, 2, 3), torch.randint(0, 3, (2, 8, 12))
    total_entropy, jaccards = 0.0, []
    for b in range(2):
        shared = union = 0.0
        for y in range(2):
            for x in range(3):
                block = masks[b, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].flatten().tolist()
                if num_classes == 1:
                    on = 1 / (1 + math.exp(-logits[b, 0, y, x]))
                    probs, true = [1 - on, on], [block.count(0) / 16]
                    true.append(1 - true[0])
                else:
                    scores = [math.exp(v) for v in logits[b, :, y, x].tolist()]
                    probs = [s / sum(scores) for s in scores]
                    true = [block.count(c) / 16 for c in range(3)]
                total_entropy -= sum(t * math.log(p) for p, t in zip(probs, true, strict=True))
                for p, t in zip(probs[1:], true[1:], strict=True):
                    shared, union = shared + p * t, union + p + t - p * t
        jaccards.append(1 - (shared + 0.06) / (union + 0.06))
    expected = 4 * total_entropy / 12 + sum(jaccards) / 2
    assert float(segmentation_loss(logits, masks)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("num_classes", "weight"), [(1, 0.3), (3, 0.9)])
def test_keyframe_loss_weighs_its_parts(num_classes, weight):
    torch.manual_seed(0)
    masks = torch.randint(0, 3, (2, 8, 8))
    masks[1] = 0
    full, *layers, dense = (torch.randn(2, num_classes, n, n) for n in (8, 2, 2, 2, 2))
    sounding = torch.randn(2, max(1, num_classes - 1))
    losses = keyframe_losses(KeyframePrediction(full, sounding, tuple(layers), dense), masks)
    there = torch.tensor([[1.0], [0.0]]).expand_as(sounding)
    by_hand = {
        "loss_mask": segmentation_loss(full, masks),
        "loss_layers": 0.25 * sum(segmentation_loss(x, masks) for x in layers[:2]),
        "loss_dense": 0.5 * segmentation_loss(dense, masks),
        "loss_sounding": weight
        * -(there * sounding.sigmoid().log() + (1 - there) * (1 - sounding.sigmoid()).log()).mean(),
    }
    assert losses.keys() == by_hand.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, by_hand[name])


def test_classes_of_an_empty_mask_are_none():
    assert not classes_there(torch.zeros(2, 4, 4).long(), 5).any()
