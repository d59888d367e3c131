"""Training of the salient-object model, at toy size."""

import pytest
import torch
from make_assets import write_assets
from typer.testing import CliRunner

from coprop_plugin.cli import app
from coprop_plugin.errors import TrainingError
from coprop_plugin.keyframes import SoundingObject, load_sounding_object
from coprop_plugin.training import SoundingObjectTraining, with_assets

SIDE = 32
VALIDATION = [f"--set=val_{part}=None" for part in ("cfg", "dataloader", "evaluator")]


def stage(**options):
    torch.manual_seed(0)
    return SoundingObjectTraining(SoundingObject(input_size=SIDE), **options)


def batch(count=2):
    """Return frames whose left half sounds, and photographs."""
    torch.manual_seed(1)
    mask = torch.zeros(count, SIDE, SIDE).long()
    mask[..., : SIDE // 2] = 3
    frames, photos = torch.rand(2, count, 3, SIDE, SIDE)
    return dict(frame=frames, log_mel=torch.ones(count, 1, 96, 64), mask=mask, photo=photos)


def test_the_loss_on_photographs_is_least_where_nothing_was_forgotten():
    training, given = stage(), batch()
    before = training(**given)["loss_photo"]
    with torch.no_grad():
        training.model.saliency.fuse.bias += 2
    assert training(**given)["loss_photo"] > before + 0.1
    assert sorted(training(**given)) == ["loss_photo", "loss_scene"]


def test_frames_in_which_nothing_sounds_are_left_out():
    training, given = stage(), batch()
    loss = training(**given)["loss_scene"]
    silent = {name: torch.cat([value, torch.zeros_like(value)]) for name, value in given.items()}
    torch.testing.assert_close(training(**silent)["loss_scene"], loss)
    nothing = training(**{**given, "mask": torch.zeros_like(given["mask"])})["loss_scene"]
    nothing.backward()
    assert nothing == 0


def test_training_makes_what_sounds_more_salient():
    training, given = stage(photo_weight=0.0), batch()
    optimizer = torch.optim.Adam(training.model.parameters(), lr=1e-2)
    losses = []
    for _ in range(6):
        loss = sum(training(**given).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


def test_the_command_trains_from_a_folder_and_evaluates(tmp_path):
    folder = write_assets(tmp_path / "assets")
    small = [f"--set={part}_dataloader.dataset.size=({SIDE},{SIDE})" for part in ("train", "test")]
    small += ["--set=train_cfg.max_iters=1", "--set=train_cfg.val_interval=9"]
    small += [f"--set=model.model={{'input_size': {SIDE}}}", "--set=train_dataloader.batch_size=2"]
    small += ["--set=test_dataloader.dataset.length=2", *VALIDATION]
    command = ["salient_object", "--assets", str(folder), "--work-dir", str(tmp_path / "run")]
    done = CliRunner().invoke(app, ["train", *command, *small])
    assert done.exit_code == 0, done.output
    weights = tmp_path / "run" / "weights.safetensors"
    assert load_sounding_object(weights).input_size == SIDE
    done = CliRunner().invoke(app, ["evaluate", *command, f"--weights={weights}", *small])
    assert done.exit_code == 0, done.output
    assert "M_J" in done.stdout


def test_assets_need_a_config_that_uses_them(tmp_path):
    with pytest.raises(TrainingError, match="Leave --assets out, or use `salient_object`"):
        with_assets("world_keyframes_small", tmp_path)
