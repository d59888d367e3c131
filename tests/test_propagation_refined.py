"""Propagation corrected by a small network: its cues, its training."""

import pytest
import torch
from make_assets import write_assets
from typer.testing import CliRunner

from coprop_plugin.cli import app
from coprop_plugin.errors import CheckpointError, DatasetError, PropagationError, TrainingError
from coprop_plugin.propagation import (
    AppearancePropagator,
    MaskRefiner,
    RefinedPropagator,
    as_propagator,
    load_mask_refiner,
    save_mask_refiner,
)
from coprop_plugin.propagation.refiner import CUES, cue_maps
from coprop_plugin.training import RefinerExamples, RefinerTraining, with_assets
from coprop_plugin.training.refiner_examples import recorded_cues
from coprop_plugin.training.refiner_stage import mirrored, recoloured, refiner_loss


def moving_square(num_frames=3, size=(48, 64), side=18):
    """Return frames [T, 3, H, W] and ids [T, H, W]: a red square that moves over dull noise."""
    torch.manual_seed(0)
    frames = (0.4 + 0.1 * torch.rand(3, *size)).repeat(num_frames, 1, 1, 1)
    masks = torch.zeros(num_frames, *size).long()
    skin = (torch.tensor([0.9, 0.1, 0.1])[:, None, None] + 0.1 * torch.rand(3, side, side)).clamp(
        0, 1
    )
    for t in range(num_frames):
        frames[t, :, 12 : 12 + side, 8 + 4 * t : 8 + 4 * t + side] = skin
        masks[t, 12 : 12 + side, 8 + 4 * t : 8 + 4 * t + side] = 1
    return frames, masks


def carried(propagator, frames, masks):
    memory = propagator.start(frames[:1], None, masks[:1])
    return [propagator.step(memory, frame[None], None) for frame in frames[1:]]


def test_untrained_weights_change_no_mask():
    frames, masks = moving_square()
    refined = carried(RefinedPropagator(MaskRefiner((8, 8)).eval()), frames, masks)
    plain = carried(AppearancePropagator(), frames, masks)
    torch.testing.assert_close(torch.stack(refined), torch.stack(plain))


def test_the_network_adds_to_the_log_odds():
    frames, masks = moving_square()
    refiner = MaskRefiner((8, 8)).eval()
    torch.nn.init.constant_(refiner.last.bias, -40.0)
    (found, *_) = carried(RefinedPropagator(refiner), frames, masks)
    assert not found.argmax(1).any()


def test_the_shipped_weights_follow_a_moving_square():
    frames, masks = moving_square()
    for logits, truth in zip(carried(RefinedPropagator(), frames, masks), masks[1:], strict=True):
        found = logits[0].argmax(0)
        assert ((found & truth).sum() / (found | truth).sum()).item() > 0.9


@pytest.mark.parametrize("size", [(4, 5), (11, 11), (2, 12)])
def test_frames_of_any_size_and_keyframes_without_objects_work(size):
    frames, masks = torch.rand(2, 3, *size), torch.zeros(2, *size).long()
    propagator = RefinedPropagator()
    (empty,) = carried(propagator, frames, masks)
    assert empty.shape == (1, 1, *size)
    masks[:, :2, :2] = 1
    (logits,) = carried(propagator, frames, masks)
    assert logits.shape == (1, 2, *size)
    assert torch.isfinite(logits).all()


def test_cues_are_bounded_maps_of_each_object():
    frames, masks = moving_square(2)
    masks[:, 40:, 50:] = 2
    propagator = RefinedPropagator(MaskRefiner((8, 8)).eval())
    clip = propagator.start(frames[:1], None, masks[:1]).clips[0]
    cues = propagator.look(clip, frames[1])
    odds = AppearancePropagator.odds(propagator, cues)
    maps = cue_maps(cues, odds)
    assert maps.shape == (2, CUES, 24, 32)
    assert maps.abs().max() <= 6
    # Colours and their change are of the frame: the same for both objects.
    torch.testing.assert_close(maps[0, 6:12], maps[1, 6:12])


def test_weights_are_saved_and_loaded(tmp_path):
    refiner = MaskRefiner((8, 12))
    torch.nn.init.normal_(refiner.last.weight)
    path = save_mask_refiner(refiner, tmp_path / "refiner.safetensors")
    loaded = load_mask_refiner(path)
    maps = torch.randn(1, CUES, 9, 12)
    torch.testing.assert_close(loaded(maps), refiner.eval()(maps))
    assert as_propagator({"type": "refined", "weights": path}).refiner.config == refiner.config
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="cut short"):
        RefinedPropagator(path)


def test_too_few_widths_are_refused():
    with pytest.raises(PropagationError, match="two or more positive widths"):
        MaskRefiner((8,))


def test_examples_are_the_frames_after_the_first():
    frames, masks = moving_square(3)
    odds, maps, truth = recorded_cues(frames, masks)
    assert maps.shape == (2, CUES, 24, 32)
    assert odds.shape == truth.shape == (2, 1, 24, 32)
    torch.testing.assert_close(maps[:, :1], 0.3 * odds)
    assert truth.sum((1, 2, 3)).tolist() == [81.0, 81.0]


def test_changes_of_examples_keep_what_belongs_together():
    torch.manual_seed(0)
    maps = torch.rand(3, CUES, 6, 8)
    maps[:, 9:12] = maps[:, 6:9]
    changed = recoloured(maps)
    torch.testing.assert_close(changed[:, 9:12], changed[:, 6:9])
    assert not torch.equal(changed[:, 6:9], maps[:, 6:9])
    torch.testing.assert_close(changed[:, :6], maps[:, :6])
    shapes = set()
    for _ in range(20):
        one, other = mirrored(maps, maps.clone())
        assert torch.equal(one, other)
        shapes.add(tuple(one.shape[2:]))
    assert shapes == {(6, 8), (8, 6)}


def test_the_loss_is_least_for_the_truth():
    truth = torch.zeros(1, 1, 20, 20)
    truth[..., 5:12, 5:12] = 1
    right = refiner_loss(20 * (truth - 0.5), truth)
    assert right < 0.05
    assert right < refiner_loss(torch.zeros(1, 1, 20, 20), truth)
    assert refiner_loss(torch.zeros(1, 1, 20, 20), truth) < refiner_loss(-20 * (truth - 0.5), truth)


class Squares(torch.utils.data.Dataset):
    """Clips of a moving square, which has two halves; every third clip shows nothing."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        self.asked.append(index)
        frames, masks = moving_square(3, (24, 32), 8)
        masks[:, 16:] *= 2
        return dict(frames=frames.roll(index, -1), masks=masks * (index % 3 > 0))


def squares(**options):
    return RefinerExamples(dict(type=Squares), **dict(dict(kept=4, repeats=4), **options))


def test_an_example_depends_on_its_index_only():
    examples = squares()
    in_order = [examples[n] for n in range(24)][-1]
    for name, value in squares()[23].items():
        assert torch.equal(value, in_order[name])


def test_clips_are_used_several_times_and_then_replaced():
    examples = squares()
    assert all(examples[n]["truth"].any() for n in range(32))
    asked = examples.clips.asked
    # 32 items of clips that are used four times, of which every third is empty, and the last four.
    assert len(asked) == len(set(asked))
    assert max(asked) // 4 == 2


def test_clips_without_objects_are_refused_if_there_are_no_others():
    examples = squares()
    examples.clips = [dict(frames=torch.rand(2, 3, 9, 9), masks=torch.zeros(2, 9, 9).long())]
    with pytest.raises(DatasetError, match="first frame has an object"):
        examples[0]


def test_objects_are_propagated_apart_or_as_one():
    areas = {
        merged: {float(squares(merged=merged)[n]["truth"].sum()) for n in range(4)}
        for merged in (0.0, 1.0)
    }
    assert areas == {0.0: {8.0}, 1.0: {16.0}}


def test_examples_need_positive_numbers():
    with pytest.raises(DatasetError, match="of 1 or more, got .*0"):
        squares(kept=0)


def test_training_lowers_the_loss_and_exports_weights(tmp_path):
    torch.manual_seed(0)
    frames, masks = moving_square(3)
    _, maps, truth = recorded_cues(frames, masks)
    # Log-odds that say nothing, so that there is something to learn.
    odds = torch.zeros_like(truth)
    training = RefinerTraining(dict(widths=(8, 8)), bfloat16=True)
    optimizer = torch.optim.Adam(training.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        (loss,) = training(odds=odds, maps=maps, truth=truth).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    path = training.export(tmp_path / "refiner.safetensors")
    (outcome,) = RefinerTraining(weights=path).eval()(
        mode="predict", frames=frames[None], masks=masks[None]
    )
    assert outcome["masks"].shape == (3, 48, 64)


def test_clips_are_evaluated_and_examples_are_trained_on():
    frames, masks = moving_square(2)
    training = RefinerTraining(dict(widths=(8, 8)))
    with pytest.raises(TrainingError, match="without odds, maps, truth.*RefinerExamples"):
        training(frames=frames[None], masks=masks[None])
    with pytest.raises(TrainingError, match="without frames, masks"):
        training(mode="predict", odds=frames)


def test_material_is_for_configs_on_photographic_scenes():
    config = with_assets("mask_refiner", "pictures")
    assert config.test_dataloader.dataset.assets == "pictures"
    with pytest.raises(TrainingError, match="--assets out"):
        with_assets("world_keyframes_small", "pictures")


def test_it_is_trained_and_scored_by_commands(tmp_path):
    assets, work_dir = write_assets(tmp_path / "assets"), tmp_path / "run"
    clips = "train_dataloader.dataset.clips.parts"
    small = [
        *("--set", "model.refiner.widths=[8,8]"),
        *("--set", "train_cfg.max_iters=2"),
        *("--set", "train_dataloader.dataset.kept=2"),
        *(x for n in range(3) for x in ("--set", f"{clips}.{n}.size=[32,48]")),
        *(x for n in range(3) for x in ("--set", f"{clips}.{n}.num_frames=2")),
        *("--set", "train_dataloader.batch_size=2"),
        *("--set", "test_dataloader.dataset.size=[32,48]"),
        *("--set", "test_dataloader.dataset.num_frames=2"),
        *("--set", "test_dataloader.dataset.length=2"),
    ]
    common = ["mask_refiner", "--assets", str(assets), "--work-dir", str(work_dir), *small]
    trained = CliRunner().invoke(app, ["train", *common])
    assert trained.exit_code == 0, trained.output
    weights = trained.stdout.strip()
    scored = CliRunner().invoke(app, ["evaluate", *common, "--weights", weights, "--json"])
    assert scored.exit_code == 0, scored.output
    assert "M_J" in scored.stdout
    assert load_mask_refiner(weights).config == dict(widths=[8, 8])
