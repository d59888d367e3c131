"""J, F, mIoU: equal to AVSBench's own numbers, and every quirk of theirs on purpose."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from coprop_plugin.benchmark.metrics import (
    MaskScores,
    Outcome,
    SemanticScores,
    class_counts,
    class_scores,
    f_curves,
    f_measure,
    frame_ious,
    frame_miou,
    mask_iou,
    precision_recall,
)
from coprop_plugin.errors import MetricError

with np.load(Path(__file__).parent / "golden" / "metrics.npz") as file:
    GOLDEN = {key: file[key] for key in file.files}
META = json.loads(str(GOLDEN.pop("meta")))
BINARY, BATCHES = META["binary"]["cases"], META["binary"]["batches"]
SEMANTIC = META["semantic"]["cases"]


def golden(key):
    return torch.from_numpy(GOLDEN[key])


def golden_probs(key):
    scale = int(key.rsplit("_", 1)[1])
    return torch.sigmoid(golden(key).float() / scale)


def near(value):
    return pytest.approx(value, abs=1e-6, nan_ok=True)


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def random_masks(*shape, seed=0, classes=2):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("case", BINARY)
def test_j_and_f_equal_avsbench(case):
    probs, truth = golden_probs(f"binary/{case}/logits_times_24"), golden(f"binary/{case}/target")
    want = BINARY[case]
    assert mask_iou(probs, truth) == near(want["mask_iou"])
    assert f_measure(probs, truth) == near(want["f_measure"])
    assert frame_ious(probs, truth).tolist() == near(want["mask_iou_by_frame"])
    frames = [f_measure(p[None], t[None]) for p, t in zip(probs, truth, strict=True)]
    assert frames == near(want["f_measure_by_frame"])


@pytest.mark.parametrize("case", [case for case in BINARY if f"binary/{case}/recall" in GOLDEN])
def test_precision_and_recall_curves_equal_avsbench(case):
    probs, truth = golden_probs(f"binary/{case}/logits_times_24"), golden(f"binary/{case}/target")
    for curve, name in zip(precision_recall(probs, truth), ("precision", "recall"), strict=True):
        torch.testing.assert_close(
            curve.float(), golden(f"binary/{case}/{name}"), atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("batch", BATCHES)
def test_collected_j_and_f_equal_avsbench_for_every_batch_size(batch):
    probs, truth = golden_probs("binary/batches/logits_times_12"), golden("binary/batches/target")
    scores = MaskScores(clips_a_batch=int(batch))
    for p, t in zip(probs, truth, strict=True):
        scores.update(Outcome((p > 0.5)[None], t[None], p[None, None]))
    found = scores.compute()
    assert found["M_J"] == near(BATCHES[batch]["mask_iou"])
    assert found["M_F"] == near(BATCHES[batch]["f_measure"])
    # One batch of everything is the data set.
    assert found["F_dataset"] == near(BATCHES["12"]["f_measure"])
    assert found["J_frames"] == near(BATCHES["12"]["mask_iou"])


@pytest.mark.parametrize("case", SEMANTIC)
def test_class_scores_equal_avsbench(case):
    said = golden(f"semantic/{case}/prediction").long()
    truth = golden(f"semantic/{case}/target").long()
    want = SEMANTIC[case]
    counts = class_counts(said, truth, 71)
    sums = zip(class_scores(counts), ("iou_sum", "f_sum", "class_count"), strict=True)
    for rows, name in sums:
        # Upstream adds up 20 frames in float32.
        torch.testing.assert_close(
            rows.double().sum(0), golden(f"semantic/{case}/{name}"), atol=1e-6, rtol=1e-6
        )
    assert frame_miou(counts).tolist() == near(want["miou_by_frame"])
    scores = SemanticScores(71, "avsbench", pad_to=None)
    scores.update(Outcome(said, truth, num_classes=71))
    found = scores.compute()
    assert found["mIoU"] == near(want["miou"])
    assert found["mIoU_noBg"] == near(want["miou_no_last_class"])
    assert found["F"] == near(want["f_score"])
    assert found["F_noBg"] == near(want["f_score_no_last_class"])
    assert found["mIoU_present"] == near(want["miou_present_classes"])


def test_curves_equal_one_comparison_a_threshold():
    probs, truth = noise(3, 16, 16), random_masks(3, 16, 16, seed=1) > 0
    probs[0, 0, :3] = torch.tensor([0.0, 1.0, 0.5])
    curve = f_curves(probs, truth)
    for k, threshold in enumerate(torch.linspace(0, 1, 255)):
        said = probs >= threshold
        hits = (said & truth).flatten(1).sum(1)
        precision, recall = hits / said.flatten(1).sum(1), hits / truth.flatten(1).sum(1)
        want = 1.3 * precision * recall / (0.3 * precision + recall)
        torch.testing.assert_close(curve[:, k].float(), want.nan_to_num(0), atol=1e-6, rtol=0)


def test_a_probability_of_one_half_is_not_predicted():
    probs = torch.sigmoid(torch.tensor([[[0.0, 1e-9, 1e-3, -1.0]]]))
    assert frame_ious(probs, torch.tensor([[[0, 0, 1, 0]]])).item() == near(1.0)


def test_an_empty_truth_scores_the_share_of_empty_pixels():
    probs, truth = noise(4, 10, 10), torch.zeros(4, 10, 10)
    want = [1 - (p > 0.5).float().mean().item() for p in probs]
    assert frame_ious(probs, truth).tolist() == near(want)


@pytest.mark.parametrize("share", [0.01, 0.25, 0.7])
def test_f_never_falls_below_its_floor_of_threshold_zero(share):
    truth = torch.zeros(1, 10, 10)
    truth.view(-1)[: int(share * 100)] = 1
    probs = torch.where(truth > 0, 0.0, noise(1, 10, 10))
    assert f_measure(probs, truth) >= 1.3 * share / (0.3 * share + 1) - 1e-6
    assert f_measure(torch.zeros(1, 10, 10), truth) == near(1.3 * share / (0.3 * share + 1))


@pytest.mark.parametrize("probs", [torch.zeros(5, 6, 6), noise(5, 6, 6), torch.ones(5, 6, 6)])
def test_f_of_a_batch_of_empty_truths_is_zero_whatever_is_predicted(probs):
    assert f_measure(probs, torch.zeros(5, 6, 6)) == 0.0


def test_frames_with_an_empty_truth_do_not_count_in_f():
    probs, truth = noise(5, 12, 12), random_masks(5, 12, 12)
    truth[[1, 3]] = 0
    kept = [0, 2, 4]
    assert f_measure(probs, truth) == near(f_measure(probs[kept], truth[kept]))


def test_m_f_depends_on_the_batch_size_and_f_of_the_dataset_does_not():
    probs, truth = noise(6, 12, 12), random_masks(6, 12, 12, seed=5)
    truth[4:] = 0
    found = []
    for clips_a_batch in (1, 6):
        scores = MaskScores(clips_a_batch)
        for p, t in zip(probs, truth, strict=True):
            scores.update(Outcome((p > 0.5)[None], t[None], p[None, None]))
        found.append(scores.compute())
    assert found[0]["M_F"] < found[1]["M_F"] - 0.1
    assert found[0]["F_dataset"] == near(found[1]["F_dataset"])


def test_m_j_is_the_mean_of_batches_and_not_of_frames():
    scores = MaskScores(clips_a_batch=1)
    full = torch.ones(4, 4, 4).long()
    scores.update(Outcome(full, full))
    scores.update(Outcome(full[:1] * 0, full[:1]))
    assert scores.compute()["M_J"] == near(0.5)
    assert scores.compute()["J_frames"] == near(0.8)


def test_key_and_normal_frames_are_scored_apart():
    probs, truth = noise(5, 8, 8), random_masks(5, 8, 8)
    key = torch.tensor([True, False, False, True, False])
    scores = MaskScores()
    scores.update(Outcome(probs > 0.5, truth, probs[:, None], keyframes=key))
    scores.update(Outcome(truth[:1], truth[:1], keyframes=key[:1]))
    found = scores.compute()
    assert found["M_J_key"] == near((mask_iou(probs[key], truth[key]) + 1) / 2)
    assert found["M_F_normal"] == near(f_measure(probs[~key], truth[~key]))
    assert found["num_frames_key"], found["num_frames_normal"] == (3, 3)
    assert found["num_clips_normal"] == 1


def test_only_labelled_frames_are_scored():
    masks, truth = torch.ones(5, 4, 4), torch.zeros(5, 4, 4)
    truth[0] = 1
    outcome = Outcome(masks.long(), truth.long(), labelled=torch.tensor([1, 0, 0, 0, 0]))
    scores = MaskScores()
    scores.update(outcome)
    assert scores.compute()["M_J"] == near(1.0)


def semantic(said, truth, **options):
    scores = SemanticScores(**options)
    scores.update(Outcome(said, truth, num_classes=options["num_classes"]))
    return scores.compute()


def test_absent_classes_pull_avsbench_miou_down_to_4_of_71():
    truth = random_masks(5, 16, 16, classes=4)
    found = semantic(truth, truth, num_classes=71, protocol="avsbench")
    assert found["mIoU"] == near(4 / 71)
    assert found["mIoU_present"] == near(1.0)
    assert semantic(truth, truth, num_classes=71, protocol="dataset")["mIoU"] == near(1.0)


def test_avsbench_without_background_drops_the_last_class():
    truth = random_masks(5, 16, 16, classes=4)
    said = torch.where(truth == 0, 1, truth)
    avsbench = semantic(said, truth, num_classes=4, protocol="avsbench", pad_to=None)
    assert avsbench["mIoU_noBg"] == near(np.mean(avsbench["per_class"]["IoU"][:-1]))
    dataset = semantic(said, truth, num_classes=4, protocol="dataset")
    assert dataset["mIoU_noBg"] == near(np.mean(dataset["per_class"]["IoU"][1:]))


def test_avsbench_counts_padding_as_perfect_background():
    said, truth = random_masks(5, 8, 8, classes=3), random_masks(5, 8, 8, seed=1, classes=3)
    padding = torch.zeros(5, 8, 8).long()
    by_hand = semantic(
        torch.cat([said, padding]), torch.cat([truth, padding]), num_classes=3, pad_to=None
    )
    padded = semantic(said, truth, num_classes=3)
    bare = semantic(said, truth, num_classes=3, pad_to=None)
    assert padded["mIoU"] == near(by_hand["mIoU"])
    assert padded["mIoU"] > bare["mIoU"]


def test_avsbench_ignores_which_frames_are_labelled():
    said, truth = random_masks(5, 8, 8, classes=3), random_masks(5, 8, 8, seed=1, classes=3)
    labelled = torch.tensor([True, False, False, False, False])
    found = []
    for protocol in ("avsbench", "dataset"):
        scores = SemanticScores(3, protocol, pad_to=None)
        scores.update(Outcome(said, truth, num_classes=3, labelled=labelled))
        found.append(scores.compute()["mIoU"])
    assert found[0] == near(semantic(said, truth, num_classes=3, pad_to=None)["mIoU"])
    assert found[1] == near(
        semantic(said[:1], truth[:1], num_classes=3, protocol="dataset")["mIoU"]
    )


def test_dataset_miou_equals_a_confusion_matrix():
    said, truth = random_masks(6, 9, 9, classes=5), random_masks(6, 9, 9, seed=1, classes=5)
    said[said == 3] = 0
    matrix = torch.zeros(7, 7)
    for s, t in zip(said.flatten(), truth.flatten(), strict=True):
        matrix[t, s] += 1
    iou = matrix.diag() / (matrix.sum(0) + matrix.sum(1) - matrix.diag())
    scores = SemanticScores(7, "dataset")
    for frames in (slice(0, 2), slice(2, 6)):
        scores.update(Outcome(said[frames], truth[frames], num_classes=7))
    found = scores.compute()
    assert found["mIoU"] == near(iou[:5].mean().item())
    assert found["per_class"]["IoU"][5:] == [None, None]


def test_scores_can_be_written_as_json():
    truth = torch.zeros(2, 4, 4).long()
    for scores in (MaskScores(), SemanticScores(3), SemanticScores(3, "dataset")):
        assert json.loads(json.dumps(scores.compute(), allow_nan=False)) is not None
        scores.update(Outcome(truth, truth, num_classes=3, keyframes=torch.tensor([1, 0])))
        assert json.loads(json.dumps(scores.compute(), allow_nan=False)) is not None


def test_logits_are_refused():
    with pytest.raises(MetricError, match="got -1 to 2.*sigmoid"):
        mask_iou(torch.tensor([[[-1.0, 2.0]]]), torch.ones(1, 1, 2))


def test_nan_is_refused():
    with pytest.raises(MetricError, match="NaN"):
        f_measure(torch.tensor([[[float("nan"), 0.5]]]), torch.ones(1, 1, 2))


def test_other_sizes_are_refused():
    with pytest.raises(MetricError, match=r"\[1, 4, 4\].*\[1, 8, 8\].*Resize"):
        mask_iou(torch.zeros(1, 4, 4), torch.zeros(1, 8, 8))


def test_classes_above_the_last_are_refused():
    with pytest.raises(MetricError, match=r"classes 0..70.*got 0..255.*masks > 0"):
        class_counts(torch.tensor([[[0, 255]]]), torch.tensor([[[0, 1]]]), 71)


def test_unknown_protocols_are_refused():
    with pytest.raises(MetricError, match="'avsbench' or 'dataset'"):
        SemanticScores(protocol="upstream")
