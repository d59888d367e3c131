"""Alignment, onsets, offsets and control points; scores across ranks and inside mmengine."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from processes import start
from torch import distributed

from coprop_plugin.benchmark.metrics import (
    AlignmentScores,
    BoundaryScores,
    ControlPointScores,
    MaskScores,
    Outcome,
    aligned_frames,
    boundary_errors,
    mask_iou,
    match_in_order,
    matched_control_points,
    sounding_classes,
)
from coprop_plugin.errors import MetricError
from coprop_plugin.registry import METRICS
from coprop_plugin.types import Clip, ControlPoints, FrameResult, SegmentationResult


def row(*values):
    """One frame of a single line of pixels."""
    return torch.tensor(values).reshape(1, 1, -1)


def flags(text):
    return torch.tensor([int(c) for c in text])


def present(text):
    """A mask of one pixel a frame: which class sounds."""
    return flags(text).reshape(-1, 1, 1)


def aligned(said, truth):
    return aligned_frames(said, truth).flatten().tolist()


def test_two_empty_masks_are_aligned():
    assert aligned(row(0, 0), row(0, 0)) == [True, True, True]


def test_a_mask_in_silence_is_not_aligned_and_neither_is_silence_for_a_sound():
    assert aligned(row(0, 1), row(0, 0)) == [False, False, False]
    assert aligned(row(0, 0), row(0, 1)) == [False, False, False]


def test_an_iou_at_the_threshold_is_aligned():
    assert aligned(row(1, 1, 0, 0), row(1, 0, 0, 0)) == [True, True, False]


def test_the_right_place_with_the_wrong_class_is_not_aligned():
    assert aligned(row(2, 2, 0), row(1, 1, 0)) == [False, False, False]


def test_every_class_must_reach_the_threshold():
    assert aligned(row(1, 1, 1, 2, 1, 1), row(1, 1, 1, 2, 2, 2)) == [True, False, False]


def test_alignment_equals_a_loop_over_frames_and_classes():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, (40, 2, 3), generator=generator)
    said = torch.where(torch.rand(40, 2, 3, generator=generator) < 0.25, 0, truth)
    want = []
    for s, t in zip(said, truth, strict=True):
        classes = set(t.unique().tolist()) - {0}
        same = classes == set(s.unique().tolist()) - {0}
        ious = [((s == c) & (t == c)).sum() / ((s == c) | (t == c)).sum() for c in classes]
        want.append([same and all(iou >= threshold for iou in ious) for threshold in (0.3, 0.5)])
    found = aligned_frames(said, truth, (0.3, 0.5))
    assert found.T.tolist() == want
    assert 0 < found[1].sum() < found[0].sum() < 40


def test_alignment_rate_and_silent_false_positives_over_clips():
    scores = AlignmentScores()
    scores.update(Outcome(present("1101"), present("1100"), keyframes=flags("1010")))
    scores.update(Outcome(present("0"), present("0")))
    found = scores.compute()
    assert found["AR"] == found["AR@0.3"] == pytest.approx(4 / 5)
    assert found["silent_FPR"] == found["silent_area"] == pytest.approx(1 / 3)
    assert (found["AR_key"], found["AR_normal"]) == (1.0, 0.5)
    assert found["missed_rate"] == 0.0


def test_a_small_area_need_not_count_as_sounding():
    masks = torch.zeros(1, 10, 10).long()
    masks[0, 0, 0] = 1
    assert sounding_classes(masks).tolist() == [[True]]
    assert sounding_classes(masks, min_area=0.01).tolist() == [[False]]


def test_matching_is_the_best_of_all_matchings():
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        sizes = torch.randint(0, 5, (2,), generator=generator).tolist()
        true, said = ((torch.rand(n, generator=generator) * 6).sort()[0].tolist() for n in sizes)
        pairs = match_in_order(true, said, window=1.0)
        found = (-len(pairs), sum(abs(true[i] - said[j]) for i, j in pairs))
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        assert found == pytest.approx(best_by_trying_all(true, said, 1.0))


def best_by_trying_all(true, said, window):
    best = (0, 0.0)
    for size in range(1, min(len(true), len(said)) + 1):
        for chosen in itertools.combinations(range(len(true)), size):
            for partners in itertools.permutations(range(len(said)), size):
                gaps = [abs(true[i] - said[j]) for i, j in zip(chosen, partners, strict=True)]
                if max(gaps) <= window:
                    best = min(best, (-size, sum(gaps)))
    return best


TIMES = torch.tensor([0.5, 1.0, 2.0, 4.0, 4.5, 6.0])


def test_onsets_and_offsets_are_compared_in_seconds():
    onsets, offsets = boundary_errors(flags("001110"), flags("010010"), TIMES)
    assert onsets.errors_s == (1.0,)
    assert (onsets.missed, onsets.spurious) == (1, 0)
    assert offsets.errors_s == (0.0,)
    assert (offsets.missed, offsets.spurious) == (1, 0)


def test_early_is_below_zero():
    onsets, offsets = boundary_errors(flags("011000"), flags("001100"), TIMES)
    assert onsets.errors_s == (-1.0,)
    assert offsets.errors_s == (-0.5,)


def test_what_lies_on_both_edges_of_the_clip_is_no_boundary():
    onsets, offsets = boundary_errors(flags("111111"), flags("111111"), TIMES)
    assert (onsets.errors_s, onsets.missed, onsets.spurious) == ((), 0, 0)
    assert (offsets.errors_s, offsets.missed, offsets.spurious) == ((), 0, 0)


def test_late_from_the_first_frame_on_counts():
    onsets, offsets = boundary_errors(flags("01110"), flags("11111"), torch.arange(5.0))
    assert onsets.errors_s == (1.0,)
    assert offsets.errors_s == (-1.0,)


def test_what_lies_outside_the_window_is_missed_and_spurious():
    onsets, _ = boundary_errors(flags("0000010"), flags("0100000"), torch.arange(7.0), 2.0)
    assert (onsets.errors_s, onsets.missed, onsets.spurious) == ((), 1, 1)


def test_silence_throughout_has_no_boundaries():
    onsets, offsets = boundary_errors(flags("000"), flags("000"), torch.arange(3.0))
    assert onsets == offsets
    assert onsets.errors_s == ()


def test_boundaries_of_classes_and_of_anything():
    outcome = Outcome(present("1122"), present("1222"), num_classes=3)
    by_class, anything = BoundaryScores("class"), BoundaryScores("any")
    for scores in (by_class, anything):
        scores.update(outcome)
    assert by_class.compute()["onset_error_s"] == 1.0
    assert by_class.compute()["offset_bias_s"] == 1.0
    assert anything.compute()["onset_error_s"] is None
    assert anything.compute()["onset_matched"] == 0


def test_control_points_are_paired_one_to_one_without_frame_0():
    said, true = ControlPoints(flags("1011010")), ControlPoints(flags("1000101"))
    assert matched_control_points(said, true) == (0, 3, 2)
    assert matched_control_points(said, true, tolerance=1) == (2, 3, 2)
    crowd = ControlPoints(flags("1011100"))
    assert matched_control_points(crowd, ControlPoints(flags("1001000")), tolerance=1) == (1, 3, 1)


def test_precision_and_recall_are_over_all_points_of_all_clips():
    scores, masks = ControlPointScores(), present("0000000")
    for said, true in (("1010000", "1010000"), ("1111000", "1000001")):
        points = {
            "control_points": ControlPoints(flags(said)),
            "true_control_points": ControlPoints(flags(true)),
        }
        scores.update(Outcome(masks, masks, **points))
    scores.update(Outcome(masks, masks))
    found = scores.compute()
    assert found["precision@0"] == pytest.approx(1 / 4)
    assert found["recall@0"] == pytest.approx(1 / 2)
    assert found["F1@0"] == pytest.approx(1 / 3)
    assert found["num_clips"] == 2


def test_no_points_at_all_is_no_score():
    assert ControlPointScores().compute()["F1@0"] is None
    assert json.dumps(BoundaryScores().compute(), allow_nan=False)
    assert AlignmentScores().compute()["AR"] is None


def test_an_outcome_is_what_the_pipeline_said_beside_a_sample():
    probs = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    frames = [
        FrameResult(t, t + 0.5, (p[0] > 0.5).byte(), (1,), p, 1, t == 0)
        for t, p in enumerate(probs)
    ]
    clip = Clip(torch.rand(3, 3, 4, 4), times=torch.tensor([0.5, 1.5, 2.5]))
    result = SegmentationResult(clip, ControlPoints([1, 0, 0]), frames)
    sample = SimpleNamespace(
        id="a", masks=torch.ones(3, 4, 4).long(), labelled=None, control_points=None
    )
    outcome = Outcome.of(result, sample)
    assert outcome.keyframes.tolist() == [True, False, False]
    assert outcome.times.tolist() == [0.5, 1.5, 2.5]
    scores = MaskScores()
    scores.update(outcome)
    assert scores.compute()["M_J"] == pytest.approx(mask_iou(probs[:, 0], sample.masks))


def test_a_clip_counts_once():
    scores = AlignmentScores()
    for said, name in (("11", "a"), ("00", "a"), ("00", ""), ("00", "")):
        scores.update(dict(masks=present(said), truth=present("11"), id=name))
    assert scores.compute()["num_frames"] == 6
    assert scores.compute()["AR"] == 0.0
    scores.reset()
    assert scores.compute()["num_frames"] == 0


def random_scores(numbers, named=True):
    """Scores of some of five random clips."""
    probs = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    truth = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.5
    scores = MaskScores(clips_a_batch=2)
    for i in numbers:
        name = str(i) if named else ""
        scores.update(Outcome(probs[i] > 0.5, truth[i], probs[i, :, None], id=name))
    return scores.compute()


def score_as_rank(rank, store):
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    print(json.dumps(random_scores(([0, 2, 4], [1, 3, 0])[rank])))
    distributed.destroy_process_group()


def test_two_ranks_give_the_scores_of_one(tmp_path):
    store = tmp_path / "store"
    ranks = [start(tmp_path / f"rank{rank}", score_as_rank, rank, store) for rank in range(2)]
    found = [json.loads(process.wait().stdout) for process in ranks]
    assert found[0] == found[1] == pytest.approx(random_scores(range(5), named=False))


def test_metrics_are_built_from_configs_and_evaluated_by_mmengine():
    from mmengine.evaluator import Evaluator

    configs = [
        dict(type="coprop_plugin.MaskMetric", clips_a_batch=2),
        dict(type="coprop_plugin.SemanticMetric", num_classes=2, protocol="dataset"),
        dict(type="coprop_plugin.AlignmentMetric", prefix="when"),
        dict(type="coprop_plugin.BoundaryMetric"),
        dict(type="coprop_plugin.ControlPointMetric"),
    ]
    evaluator = Evaluator([METRICS.build(config) for config in configs])
    truth = present("0110")
    evaluator.process([Outcome(truth, truth), dict(masks=truth, truth=truth)])
    found = evaluator.evaluate(2)
    assert found["masks/M_J"] == pytest.approx(1.0)
    assert found["classes/mIoU"] == found["when/AR@0.7"] == 1.0
    assert found["boundaries/onset_error_s"] == 0.0
    assert "control_points/F1@0" not in found


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(masks=torch.zeros(4, 4).long()), r"\[T, H, W\] with T >= 1, got \[4, 4\]"),
        (dict(truth=torch.zeros(2, 4, 5).long()), r"\[2, 4, 5\].*Resize"),
        (dict(times=[0.0]), r"`times` with one entry for each of 2 frames, got shape \[1\]"),
        (
            dict(probs=torch.zeros(2, 3, 4, 4)),
            r"`probs` of.*\[2, 1, 4, 4\].*got \[2, 3, 4, 4\]",
        ),
        (dict(sound=1), "Expected an Outcome, or a mapping with masks and truth"),
    ],
)
def test_outcomes_that_cannot_be_compared_are_refused(fields, words):
    good = dict(masks=torch.zeros(2, 4, 4).long(), truth=torch.zeros(2, 4, 4).long())
    with pytest.raises(MetricError, match=words):
        MaskScores().update(good | fields)


def test_control_points_of_another_clip_are_refused():
    with pytest.raises(MetricError, match="2 predicted and 3 true"):
        matched_control_points(ControlPoints([1, 0]), ControlPoints([1, 0, 0]))
