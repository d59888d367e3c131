"""From clips of AVSBench's kind to batches."""

from dataclasses import replace

import pytest
import torch
from make_avsbench import make_avss, make_ms3, make_s4
from toy_training import TOY_PROCESSOR, TOY_PROPAGATOR, toy_avsbench_config

from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.metrics import Outcome
from coprop_plugin.errors import TrainingError
from coprop_plugin.training.affine_clips import affine_clips
from coprop_plugin.training.batches import labelled_frames, sounding_clips
from coprop_plugin.training.models import KeyframeTraining, PropagatorTraining
from coprop_plugin.training.run import config_names, evaluate, train
from coprop_plugin.types import Clip

SIZE = (32, 32)


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


@pytest.mark.parametrize(
    "name", [name for name in config_names() if name.startswith(("s4", "ms3", "avss"))]
)
def test_configs_of_avsbench_train_in_its_layout(name, tmp_path):
    if name.startswith("s4"):
        root = make_s4(tmp_path / "data", {"x": ("cat", "train"), "y": ("cat", "val")}, SIZE)
    elif name.startswith("avss"):
        clips = {
            "s": ("s", "v1s", "train", [2]),
            "m": ("m", "v1m", "train", [1, 1, 2, 2, 2]),
            "two": ("two", "v2", "val", [1] * 10),
        }
        root = make_avss(tmp_path / "data", clips, SIZE)
    else:
        clips = {"x": ("train", "00111"), "y": ("train", "11000"), "z": ("val", "01100")}
        root = make_ms3(tmp_path / "data", clips, SIZE)
    config = toy_avsbench_config(name, root, tmp_path / "run")
    weights = train(config)
    config.test_dataloader = config.val_dataloader
    scores = evaluate(config, weights, tmp_path / "scores")
    name = "classes/mIoU" if name == "avss_keyframes" else "masks/M_J"
    assert 0 <= scores[name] <= 1


def test_only_vggish_takes_its_weights():
    with pytest.raises(TrainingError, match="got SmallLogMelEncoder.*audio_encoder='VGGish'"):
        KeyframeTraining(TOY_PROCESSOR, vggish="released")
