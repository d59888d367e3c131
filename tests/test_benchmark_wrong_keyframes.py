"""Benchmarks with a share of wrong predictions: which ones are wrong, and what they cost."""

import json
import math
import zlib
from statistics import fmean

import pytest
import torch

from coprop_plugin import Clip, ControlPoints
from coprop_plugin.benchmark import WorldOptions, WorldSamples
from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.metrics import frame_ious
from coprop_plugin.benchmark.plug_and_play import WrongKeyframes, plug_and_play
from coprop_plugin.errors import DatasetError

FRAMES = 120
WRONG = "red, 30 % wrong"


class Reddish:
    """Finds what is red, and says `classes - 1` of it."""

    def __init__(self, num_classes=1):
        self.num_classes = num_classes

    def segment_keyframes(self, clip, indices):
        rgb = clip.rgb(list(indices))
        red = 8 * (rgb[:, :1] - rgb[:, 2:])
        if self.num_classes == 1:
            return red
        others = torch.zeros(len(red), self.num_classes - 2, *clip.size) - 9
        return torch.cat([-red, others, red], dim=1)


@pytest.fixture(scope="module")
def clip():
    """A red square that does not move, in front of blue."""
    frames = torch.zeros(FRAMES, 3, 24, 30)
    frames[:, 2] = 0.5
    frames[:, 0, 9:15, 11:19] = 1.0
    return Clip(frames, torch.rand(FRAMES * 2_000) - 0.5, times=torch.arange(FRAMES) / 8)


def mask_of(logits):
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


@pytest.mark.parametrize("num_classes", [1, 4])
def test_as_many_predictions_are_wrong_as_was_asked(clip, num_classes):
    red = Reddish(num_classes)
    right = mask_of(red.segment_keyframes(clip, range(FRAMES)))
    logits = WrongKeyframes(red, 0.3, seed=3).segment_keyframes(clip, range(FRAMES))
    assert logits.shape == (FRAMES, num_classes, *clip.size)
    wrong = mask_of(logits)
    changed = (wrong != right).flatten(1).any(1)
    # Three deviations of a binomial distribution.
    spread = 3 * math.sqrt(FRAMES * 0.3 * 0.7)
    assert abs(int(changed.sum()) - 0.3 * FRAMES) < spread
    areas = {int((mask > 0).sum()) for mask in wrong[changed]}
    # Empty ones, moved ones, and blobs of any size.
    assert {0, 6 * 8} < areas
    assert set(wrong.unique().tolist()) <= set(range(max(2, num_classes)))
    # They do not doubt.
    assert float(logits[changed].abs().min()) > 8


def test_a_prediction_is_wrong_in_the_same_way_whatever_else_is_asked(clip):
    wrong = WrongKeyframes(Reddish(), 0.5, seed=1)
    whole = wrong.segment_keyframes(clip, range(20))
    assert torch.equal(wrong.segment_keyframes(clip, [3, 17]), whole[[3, 17]])
    assert torch.equal(wrong.segment_keyframes(clip[5:], [0, 2]), whole[[5, 7]])
    other = WrongKeyframes(Reddish(), 0.5, seed=2).segment_keyframes(clip, range(20))
    assert not torch.equal(other, whole)
    none = WrongKeyframes(Reddish(), 0.0, seed=1).segment_keyframes(clip, range(20))
    assert torch.equal(none, Reddish().segment_keyframes(clip, range(20)))


@pytest.mark.parametrize(("num_classes", "shown"), [(1, 1), (4, 3), (8, 5)])
def test_a_silent_object_may_be_marked_instead(clip, num_classes, shown):
    silent = torch.zeros(clip.size, dtype=torch.long)
    silent[:4, :4] = 5

    def objects(time_s):
        return [silent]

    options = dict(share=1.0, seed=0)
    masks = [
        mask_of(
            WrongKeyframes(Reddish(num_classes), silent_objects=known, **options).segment_keyframes(
                clip, range(40)
            )
        )
        for known in (objects, None)
    ]
    found = [(m == shown * (silent > 0)).flatten(1).all(1) for m in masks]
    assert 2 < int(found[0].sum()) < 25
    assert not found[1].any()


def test_objects_that_do_not_sound_are_known_in_the_world():
    sample = WorldSamples(1, options=WorldOptions(size=(32, 48), num_frames=4))[0]
    for time_s, truth in zip(sample.clip.times.tolist(), sample.masks, strict=True):
        masks = sample.silent_objects(time_s)
        assert masks
        sounding = set(truth.unique().tolist())
        for mask in masks:
            assert len(mask.unique()) == 2
            assert not sounding & set(mask.unique().tolist()) - {0}


@pytest.fixture(scope="module")
def sample(clip):
    truth = mask_of(Reddish().segment_keyframes(clip, range(FRAMES)))
    points = ControlPoints([1] + [0] * (FRAMES - 1))
    known = torch.ones(FRAMES, dtype=torch.bool)
    return Sample("a", clip, truth, known, 1, control_points=points)


def test_each_model_is_scored_a_second_time(sample, tmp_path):
    rows = ["bare", "oracle+hold", "oracle@confident+hold"]
    report = plug_and_play({"a": [sample]}, {"red": Reddish()}, rows, wrong=0.3, out=tmp_path)
    assert not report.failures
    assert [r["backend"] for r in report.results if r["part"] == "all"] == ["red"] * 3 + [WRONG] * 3
    alone = plug_and_play({"a": [sample]}, {"red": Reddish()}, rows)
    for row in rows:
        one, other = (r.scores("red", row) for r in (report, alone))
        assert (one["M_J"], one["calls"]) == (other["M_J"], other["calls"])
    lines = {line["row"]: line for line in report.losses}
    bare = lines["bare"]
    assert bare["M_J"] == (1.0, report.scores(WRONG, "bare")["M_J"])
    assert bare["lost"] == pytest.approx(1 - bare["M_J"][1])
    assert 0.1 < bare["lost"] < 0.4
    assert bare["of_bare"] == 1
    confident = lines["oracle@confident+hold"]
    # 120 frames are 15 s: with three candidates every five seconds, none is lost.
    assert confident["lost"] < bare["lost"] / 3
    assert confident["of_bare"] == pytest.approx(confident["lost"] / bare["lost"])
    text = str(report)
    assert "With 30 % of the predictions wrong" in text
    assert WRONG in text
    assert max(map(len, text.splitlines())) < 140
    report.save(tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["about"]["wrong"] == 0.3
    assert content["losses"][0]["lost"] == bare["lost"]
    again = plug_and_play({"a": [sample]}, {"red": Reddish()}, rows, wrong=0.3, out=tmp_path)
    assert again.losses == report.losses
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 6


def test_the_bare_model_loses_what_its_wrong_masks_lose(sample):
    report = plug_and_play({"a": [sample]}, {"red": Reddish()}, ["bare"], wrong=0.5)
    # Another clip has other wrong predictions.
    wrong = WrongKeyframes(Reddish(), 0.5, seed=zlib.crc32(b"a"))
    masks = mask_of(wrong.segment_keyframes(sample.clip, range(FRAMES)))
    wanted = fmean(frame_ious(masks.float(), sample.masks).tolist())
    assert report.scores("red, 50 % wrong", "bare")["M_J"] == pytest.approx(wanted)


def test_without_wrong_predictions_there_is_no_table_of_losses(sample):
    report = plug_and_play({"a": [sample]}, {"red": Reddish()}, ["bare"])
    assert report.losses == []
    assert "wrong" not in str(report)
    assert report.about["wrong"] == 0


@pytest.mark.parametrize("share", [-0.1, 30])
def test_a_share_is_between_0_and_1(sample, share):
    with pytest.raises(DatasetError, match="0.3"):
        plug_and_play({"a": [sample]}, {"red": Reddish()}, ["bare"], wrong=share)
