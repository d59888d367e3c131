"""Propagation by optical flow and appearance, without weights."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch

from coprop_plugin.benchmark.plug_and_play import fingerprint
from coprop_plugin.errors import PropagationError
from coprop_plugin.propagation import AppearancePropagator, FlowPropagator
from coprop_plugin.propagation.appearance import CHANNELS, PixelClassifier, describe_pixels
from coprop_plugin.propagation.optical_flow import RecentFlows
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import Propagator

RED, GREEN, BLUE = (
    torch.tensor(colour)[:, None, None] for colour in ((0.9, 0.1, 0.1), (0.1, 0.8, 0.2), (0, 0, 1))
)

GRAINY = np.random.default_rng(0).integers(0, 255, (12, 16), np.uint8).repeat(4, 0).repeat(4, 1)


def scene(places, colours=(RED,), size=(64, 96), side=20):
    """Return frames [T, 1, 3, H, W] and ids [T, 1, H, W]: squares over a dull, textured ground.

    `places[t][n]` is the top left corner of square n in frame t, None where it is not visible.
    """
    torch.manual_seed(0)
    ground = 0.4 + 0.1 * torch.rand(3, *size)
    frames = ground.repeat(len(places), 1, 1, 1)
    masks = torch.zeros(len(places), *size).long()
    skins = [(c + 0.1 * torch.rand(3, side, side)).clamp(0, 1) for c in colours]
    for t, corners in enumerate(places):
        for number, (corner, skin) in enumerate(zip(corners, skins, strict=True), start=1):
            if corner is None:
                continue
            rows, columns = (slice(c, c + side) for c in corner)
            frames[t, :, rows, columns], masks[t, rows, columns] = skin, number
    return frames[:, None], masks[:, None]


def propagated(propagator, frames, masks):
    memory = propagator.start(frames[0], None, masks[0])
    return [propagator.step(memory, frame, None).argmax(1) for frame in frames[1:]]


def iou(one, other):
    return ((one & other).sum() / (one | other).sum().clamp(1)).item()


def test_it_is_registered_and_needs_no_audio():
    propagator = build(MODELS, "appearance")
    assert isinstance(propagator, Propagator)
    assert propagator.hear(None) is None


def test_masks_stay_where_nothing_moves():
    frames, masks = scene([[(10, 10), (30, 60)]] * 3, (RED, GREEN))
    for found in propagated(AppearancePropagator(), frames, masks):
        assert iou(found == 1, masks[0] == 1) > 0.85
        assert iou(found == 2, masks[0] == 2) > 0.85


def test_an_object_that_jumps_is_found_by_its_appearance():
    frames, masks = scene([[(10, 5)], [(35, 70)]])
    (found,) = propagated(AppearancePropagator(), frames, masks)
    (flown,) = propagated(FlowPropagator(), frames, masks)
    assert iou(found.bool(), masks[1].bool()) > 0.75
    assert iou(flown.bool(), masks[1].bool()) < 0.3


def test_an_object_that_leaves_is_found_again():
    frames, masks = scene([[(10, 5)], [None], [None], [(30, 60)]])
    found = propagated(AppearancePropagator(), frames, masks)
    assert found[1].float().mean() < 0.02
    assert iou(found[-1].bool(), masks[-1].bool()) > 0.75


def test_an_object_that_passes_in_front_is_left_out():
    places = [[(20, 40), (20, 4 * t)] for t in range(10)]
    frames, masks = scene(places, (RED, BLUE))
    found = propagated(AppearancePropagator(), frames, (masks == 1).long())[-1]
    passer = (masks[-1] == 2) & (masks[-1] != 1)
    assert (found.bool() & passer).sum() < 0.1 * passer.sum()


def test_a_batch_equals_its_clips_one_by_one():
    frames, masks = scene([[(10, 10 + 2 * t)] for t in range(4)])
    pair = torch.cat([frames, frames.flip(-1)], 1), torch.cat([masks, masks.flip(-1)], 1)
    propagator = AppearancePropagator(learn_rate=0.1)
    together = propagator.start(pair[0][0], None, pair[1][0])
    alone = propagator.start(frames[0].flip(-1), None, masks[0].flip(-1))
    for frame in pair[0][1:3]:
        logits = propagator.step(together, frame, None)
        torch.testing.assert_close(logits[1:], propagator.step(alone, frame[1:], None))
    left = propagator.first(together, 1)
    assert propagator.step(left, frames[3], None).shape == (1, 2, 64, 96)


def test_probabilities_sum_to_one():
    frames, masks = scene([[(10, 10), (30, 60)]] * 2, (RED, GREEN))
    propagator = AppearancePropagator()
    logits = propagator.step(propagator.start(frames[0], None, masks[0]), frames[1], None)
    torch.testing.assert_close(logits.softmax(1).sum(1), torch.ones(1, 64, 96))
    assert torch.isfinite(logits).all()


def test_a_keyframe_without_objects_stays_empty():
    frames, masks = scene([[(10, 10)]] * 2)
    (found,) = propagated(AppearancePropagator(), frames, torch.zeros_like(masks))
    assert not found.any()


@pytest.mark.parametrize("size", [(4, 5), (11, 11), (2, 12), (300, 40)])
def test_frames_of_any_size_work(size):
    masks = torch.zeros(1, *size).long()
    masks[:, :2, :2] = 1
    propagator = AppearancePropagator()
    memory = propagator.start(torch.rand(1, 3, *size), None, masks)
    logits = propagator.step(memory, torch.rand(1, 3, *size), None)
    assert logits.shape == (1, 2, *size)
    assert torch.isfinite(logits).all()


def test_a_frame_of_another_size_is_refused():
    frames, masks = scene([[(10, 10)]] * 2)
    propagator = AppearancePropagator()
    memory = propagator.start(frames[0], None, masks[0])
    with pytest.raises(PropagationError, match="1 clips at 64x96, like the keyframe"):
        propagator.step(memory, frames[1, ..., :32], None)


def test_pixels_are_described_by_lab_its_blurs_and_its_deviation():
    looks = describe_pixels(torch.full((3, 40, 60), 0.5))
    assert looks.shape == (20, 30, CHANNELS)
    # Gray has no colour and nothing around it: L* of sRGB 0.5 is 53.4.
    np.testing.assert_allclose(looks[..., [0, 3, 6]], 0.534, atol=2e-3)
    np.testing.assert_allclose(looks[..., 9:], 0, atol=1e-3)


def test_the_classifier_is_a_weighted_ridge_regression():
    torch.manual_seed(0)
    looks = torch.rand(1, 50, CHANNELS).numpy()
    shares = torch.nn.functional.one_hot(torch.arange(50) % 2)[None].movedim(-1, 0).float()
    classifier = PixelClassifier(1, num_features=16)
    classifier.learn(looks, shares)
    features = classifier._features(torch.from_numpy(looks[0]))
    rows, targets = features / 50**0.5, (2 * shares[:, 0].T - 1) / 50**0.5
    stacked = torch.cat([rows, 0.002**0.5 * torch.eye(16)])
    wanted = torch.linalg.lstsq(stacked, torch.cat([targets, torch.zeros(16, 2)])).solution
    probs = (3 * features @ wanted).softmax(1).T.reshape(2, 1, 50)
    torch.testing.assert_close(classifier.probs(looks), probs, atol=1e-3, rtol=1e-3)


def test_the_learn_rate_weighs_later_examples():
    looks = torch.rand(1, 40, CHANNELS).numpy()
    shares = torch.ones(2, 1, 40) * torch.tensor([0.0, 1.0])[:, None, None]
    shares[:, :, :20] = torch.tensor([1.0, 0.0])[:, None, None]
    classifier = PixelClassifier(1)
    classifier.learn(looks, shares)
    before = classifier.probs(looks)
    classifier.learn(looks, shares.flip(0), rate=0.0)
    torch.testing.assert_close(classifier.probs(looks), before)
    classifier.learn(looks, shares.flip(0), rate=1.0)
    torch.testing.assert_close(classifier.probs(looks), before.flip(0), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("make", [AppearancePropagator, FlowPropagator])
def test_the_same_again_gives_the_same_and_is_the_same_part(make):
    """Flows that are kept change neither masks nor what a benchmark's records are known by."""
    frames, masks = scene([[(10, 10 + 2 * t)] for t in range(3)])
    propagator = make()
    before = fingerprint(propagator)
    first = propagated(propagator, frames, masks)
    again = propagated(propagator, frames.clone(), masks)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert fingerprint(propagator) == before


def test_recent_flows_tell_pictures_of_one_colour_apart_by_their_shape():
    flows = RecentFlows("fast")
    for shape in ((32, 24), (24, 32)):
        black = np.zeros(shape, np.uint8)
        assert flows.between(black, black).shape == (*shape, 2)


def test_recent_flows_are_computed_once_and_the_oldest_forgotten():
    frames = [np.roll(GRAINY, 2 * t, axis=1) for t in range(4)]
    flows = RecentFlows("medium", most_bytes=2 * GRAINY.size * 8)
    for now, before in ((1, 0), (0, 1), (3, 1)):
        flow = flows.between(frames[now], frames[before])
        assert flows.between(frames[now].copy(), frames[before]) is flow
        assert np.median(flow[..., 0]) == pytest.approx(2 * (before - now), abs=0.3)
        assert len(flows.kept) <= 2
    assert len(deepcopy(flows).kept) == 0
    assert len(pickle.loads(pickle.dumps(flows)).kept) == 0
