"""From clips of AVSBench's kind to batches."""

from dataclasses import replace

import pytest
import torch
from make_avsbench import CLASSES, make_avss, make_s4
from toy_training import TOY_PROCESSOR, TOY_PROPAGATOR, toy_avsbench_config

from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.metrics import Outcome
from coprop_plugin.errors import TrainingError
from coprop_plugin.training import (
    KeyframeTraining,
    PropagatorTraining,
    evaluate,
    read_config,
    train,
)
from coprop_plugin.training.affine_clips import affine_clips
from coprop_plugin.training.batches import labelled_frames, sounding_clips
from coprop_plugin.types import Clip

SIZE = (32, 32)
NAMES = tuple(CLASSES)


def sample(classes, labelled=(1, 1, 1, 1, 1), size=SIZE):
    """Frame t shows its number, and classes[t] in a corner of its mask."""
    frames = torch.stack([torch.full((3, *size), t, dtype=torch.uint8) for t in range(5)])
    masks = torch.zeros(5, *size).long()
    for t, number in enumerate(classes):
        masks[t, :8, :8] = number
    clip = Clip(frames, torch.rand(80_000) - 0.5, sampling="avsbench")
    return Sample("a", clip, masks, torch.tensor(labelled).bool(), num_classes=71)


def test_frames_without_a_label_are_left_out():
    batch = labelled_frames([sample([7] * 5), sample([5, 0, 0, 0, 0], (1, 0, 0, 0, 0))])
    assert batch["frame"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 0]
    assert batch["clip"].tolist() == [0, 0, 0, 0, 0, 1]
    assert batch["mask"].flatten(1).amax(1).tolist() == [7, 7, 7, 7, 7, 5]
    with pytest.raises(TrainingError, match="without a labelled frame"):
        labelled_frames([sample([0] * 5, (0,) * 5)])
    with pytest.raises(TrainingError, match="2 sizes.*224"):
        labelled_frames([sample([1] * 5), sample([1] * 5, size=(40, 32))])


def test_clips_begin_where_something_sounds():
    batch = sounding_clips([sample([0, 7, 7, 3, 7]), sample([9, 0, 0, 0, 0], (1, 0, 0, 0, 0))])
    assert batch["frames"][0, :, 0, 0, 0].tolist() == [1, 2, 3, 4, 4]
    assert batch["masks"][0, :, 0, 0].tolist() == [1, 1, 0, 1, 255]
    assert batch["masks"][1, :, 0, 0].tolist() == [1, 255, 255, 255, 255]
    assert (batch["times"].diff() > 0).all()
    assert not sounding_clips([sample([0] * 5)])["masks"].any()


def test_one_labelled_frame_makes_a_clip_that_moves():
    one = sample([7, 0, 0, 0, 0], (1, 0, 0, 0, 0))
    # A disc, bright where its mask is, so that picture and mask can be compared.
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    one.masks[0] = 7 * ((rows - 14) ** 2 + (columns - 18) ** 2 < 49)
    one.clip.frames[0] = (one.masks[0] > 0) * 200
    other = replace(one, id="b")
    batch = affine_clips([one, other])
    assert torch.equal(batch["masks"][0, 0], (one.masks[0] > 0).long())
    assert torch.equal(batch["frames"][0, 0], one.clip.frames[0])
    assert batch["masks"].unique().tolist() == [0, 1]
    for frames, masks in zip(batch["frames"], batch["masks"], strict=True):
        assert ((frames[:, 0] > 100).long() - masks).abs().float().mean() < 0.02
        moved = [int((a != b).sum()) for a, b in zip(masks, masks[1:], strict=False)]
        assert min(moved) > 5
    assert not torch.equal(batch["masks"][0], batch["masks"][1])
    again = affine_clips([other, one])
    assert torch.equal(again["frames"], batch["frames"].flip(0))
    torch.manual_seed(0)
    training = PropagatorTraining(TOY_PROPAGATOR)
    assert training(**batch)["loss_masks"].item() > 0.1
    unlabelled = replace(one, labelled=torch.zeros(5).bool())
    assert training(**affine_clips([unlabelled]))["loss_masks"].item() == 0


def test_frames_of_a_clip_are_scored_together():
    torch.manual_seed(0)
    training = KeyframeTraining(TOY_PROCESSOR).eval()
    batch = labelled_frames([sample([7] * 5), sample([5, 5, 0, 0, 0], (1, 1, 0, 0, 0))])
    with torch.no_grad():
        outcomes = [Outcome.from_any(x) for x in training(**batch, mode="predict")]
    assert [len(outcome.masks) for outcome in outcomes] == [5, 2]


def test_unknown_frames_are_neither_trained_nor_scored():
    torch.manual_seed(0)
    training = PropagatorTraining(TOY_PROPAGATOR)
    batch = sounding_clips([sample([9, 0, 0, 0, 0], (1, 0, 0, 0, 0))])
    assert training(**batch)["loss_masks"].item() == 0
    with torch.no_grad():
        (outcome,) = training.eval()(**batch, mode="predict")
    assert outcome["labelled"].tolist() == [True, False, False, False, False]
    assert Outcome.from_any(outcome).truth[1:].sum() == 0


# Those of MS3 run in `test_train_avsbench`; other configs change parts that are toys here.
@pytest.mark.parametrize("stage", ["keyframes", "keyframes_1b", "propagator"])
@pytest.mark.parametrize("subset", ["s4", "avss"])
def test_configs_of_avsbench_train_in_its_layout(subset, stage, tmp_path):
    if subset == "s4":
        root = make_s4(tmp_path / "data", {"x": ("cat", "train"), "y": ("cat", "val")}, SIZE)
    else:
        clips = {
            "s": ("s", "v1s", "train", [2]),
            "m": ("m", "v1m", "train", [1, 1, 2, 2, 2]),
            "two": ("two", "v2", "val", [1] * 10),
        }
        root = make_avss(tmp_path / "data", clips, SIZE)
    config = toy_avsbench_config(f"{subset}_{stage}", root, tmp_path / "run")
    weights = train(config)
    config.test_dataloader = config.val_dataloader
    scores = evaluate(config, weights, tmp_path / "scores")
    assert 0 <= scores["classes/mIoU" if subset == "avss" else "masks/M_J"] <= 1
    assert ("classes/F" in scores) == (subset == "avss")


@pytest.mark.parametrize("name", ["s4", "ms3", "avss"])
@pytest.mark.parametrize("stage", ["keyframes", "keyframes_1b"])
def test_each_set_has_configs_of_both_backbones(name, stage):
    pvt, resnet = (read_config(f"{name}_{stage}{suffix}") for suffix in ("", "_r50"))
    for part in ("train", "val", "test"):
        assert pvt[f"{part}_dataloader"] == resnet[f"{part}_dataloader"]
    if stage == "keyframes":
        assert resnet.model.processor.backbone == dict(
            type="resnet50", pretrained="microsoft/resnet-50"
        )
        assert pvt.model.processor.backbone.type == "pvt_v2_b5"
        assert pvt.model.processor.num_classes == (71 if name == "avss" else 1)
    else:
        assert pvt.train_dataloader.dataset.provider == f"points/{name}_train.json"
        for config, suffix in ((pvt, ""), (resnet, "_r50")):
            first = f"work_dirs/{name}_keyframes{suffix}"
            assert config.model == dict(
                type="KeyframeTraining", weights=f"{first}/weights.safetensors"
            )
            assert read_config(f"{name}_keyframes{suffix}").work_dir == first


def test_values_of_a_config_are_changed_by_name():
    config = read_config("ms3_keyframes", overrides={"train_cfg.max_epochs": 3})
    assert config.train_cfg.max_epochs == 3
    for wrong in ("trian_cfg.max_epochs", "train_cfg.max_epochs.x"):
        with pytest.raises(TrainingError, match="does not fit the config.*train_cfg.max_epochs"):
            read_config("ms3_keyframes", overrides={wrong: 3})


def test_objects_that_are_not_in_the_first_frame_are_not_in_the_target():
    """Binary masks would call the girl by the dog's number; class labels do not."""
    clip = sample([2, 2, 3, 3, 3])
    batch = sounding_clips([replace(clip, labels=clip.masks, class_names=NAMES)])
    assert batch["masks"][0, :, 0, 0].tolist() == [1, 1, 0, 0, 0]
    assert batch["classes"].tolist() == [[0, 2]]
    assert batch["words"] == ["dog, girl"]
    assert "words" not in sounding_clips([clip])


def test_semantic_outcomes_have_class_numbers():
    torch.manual_seed(0)
    training = PropagatorTraining(TOY_PROPAGATOR).eval()
    two = sample([7] * 5)
    two.masks[:, 16:24, 16:24] = 9
    batch = sounding_clips([two, sample([3] * 5)])
    assert (batch["num_classes"], batch["classes"].tolist()) == (71, [[0, 7, 9], [0, 3, 0]])
    with torch.no_grad():
        outcomes = [Outcome.from_any(x) for x in training(**batch, mode="predict")]
    found = [set(outcome.masks.unique().tolist()) for outcome in outcomes]
    assert found[0] <= {0, 7, 9}
    assert found[1] <= {0, 3}
    assert torch.equal(outcomes[0].truth, two.masks)
    assert torch.equal(outcomes[0].masks[0], two.masks[0])
    assert outcomes[1].num_classes == 71


def test_clips_with_several_labelled_frames_are_not_animated():
    whole, one = sample([7] * 5), sample([7, 0, 0, 0, 0], (1, 0, 0, 0, 0))
    assert torch.equal(affine_clips([whole])["frames"][0], whole.clip.frames)
    batch = affine_clips([whole, replace(one, id="v1s")])
    assert (batch["masks"] != 255).all()
    torch.manual_seed(0)
    assert PropagatorTraining(TOY_PROPAGATOR)(**affine_clips([one]))["loss_masks"].item() > 0


def test_only_vggish_takes_its_weights():
    with pytest.raises(TrainingError, match="got SmallLogMelEncoder.*audio_encoder='VGGish'"):
        KeyframeTraining(TOY_PROCESSOR, vggish="released")
