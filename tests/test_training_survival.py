"""Training runs survive kills, power cuts, copies, and typos in their configs."""

import os
import shutil
import signal
import time

import pytest
import torch
from processes import coprop_in_a_group, start
from toy_training import assert_same_weights, toy_config, train_in_another_process, with_hook

from coprop_plugin.errors import CheckpointError, TrainingError, UnknownNameError
from coprop_plugin.media import JsonLines
from coprop_plugin.training import read_config, train
from coprop_plugin.training.whole_checkpoints import last_whole_checkpoint

NAME = "world_keyframes_small"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of four steps, with checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp("training") / "run"
    train(toy_config(NAME, folder))
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it, which is resumed from its own files."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def resumed(folder):
    return train(toy_config(NAME, folder), resume=True)


@pytest.mark.parametrize("left", ["half", "nothing", "zeros", "no file"])
def test_a_damaged_last_checkpoint_is_passed_over_with_a_warning(finished, folder, left):
    last = folder / "iter_4.pth"
    content = last.read_bytes()
    if left == "no file":
        last.unlink()
    else:
        kept = {"half": content[: len(content) // 2], "nothing": b"", "zeros": bytes(len(content))}
        last.write_bytes(kept[left])
    with pytest.warns(UserWarning, match=r"iter_4.pth cannot be resumed .*from iter_2.pth instead"):
        weights = resumed(folder)
    assert_same_weights(finished / "weights.safetensors", weights, rtol=0, atol=0)
    assert torch.load(last, weights_only=False)["meta"]["iter"] == 4


def test_if_no_checkpoint_is_whole_an_error_says_so(folder):
    for path in folder.glob("iter_*.pth"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"iter_4.pth.*empty.*iter_2.*no other checkpoint"):
        resumed(folder)


def test_a_copied_folder_resumes_its_own_run_and_leaves_the_other_alone(finished, folder):
    assert (folder / "last_checkpoint").read_text() == "iter_4.pth"
    (folder / "last_checkpoint").write_text(str(finished / "iter_4.pth"))
    (folder / "iter_4.pth").write_bytes((folder / "iter_2.pth").read_bytes())
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    resumed(folder)
    assert (folder / "iter_4.pth").read_bytes() != (folder / "iter_2.pth").read_bytes()
    assert {path.name: path.stat().st_mtime_ns for path in finished.iterdir()} == before
    (folder / "last_checkpoint").write_text("")
    (folder / "iter_3.pth").write_bytes(b"")
    with pytest.raises(TrainingError, match="another run.*--resume"):
        train(toy_config(NAME, folder))
    resumed(folder)


def test_a_kill_while_the_only_checkpoint_is_replaced_leaves_one(finished, tmp_path):
    config = toy_config(NAME, tmp_path / "killed")
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    killed = with_hook(config, type="KillWhileSaving", step=4)
    done = train_in_another_process(tmp_path / "child", killed)
    assert done.returncode == -9, done.stderr[-2000:]
    names = {path.name for path in (tmp_path / "killed").glob("*iter*")}
    assert names == {"iter_2.pth", ".iter_4.pth.part"}
    again = toy_config(NAME, tmp_path / "killed")
    again.default_hooks.checkpoint.max_keep_ckpts = 1
    weights = train(again, resume=True)
    assert {path.name for path in (tmp_path / "killed").glob("*iter*")} == {"iter_4.pth"}
    assert_same_weights(finished / "weights.safetensors", weights, rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_to_all_processes_of_a_run_ends_it_quietly(tmp_path, kind, code):
    config = toy_config(NAME, tmp_path / "run", steps=100_000)
    config.train_dataloader.update(num_workers=2, persistent_workers=True)
    config.dump(tmp_path / "toy.py")
    process = start(tmp_path, coprop_in_a_group, ["train", str(tmp_path / "toy.py")])
    while process.returncode is None and not (tmp_path / "run" / "iter_4.pth").exists():
        time.sleep(0.05)
    os.killpg(process.pid, signal.Signals[kind])
    assert process.wait().returncode == code, process.stderr[-2000:]
    assert "Traceback" not in process.stderr
    assert last_whole_checkpoint(tmp_path / "run") is not None


def test_two_runs_do_not_share_a_folder(tmp_path):
    with (
        JsonLines(tmp_path / "training"),
        pytest.raises(TrainingError, match="Another process is writing"),
    ):
        train(toy_config(NAME, tmp_path))


PLACES = {
    "model.type": "KeyframeTraining",
    "train_dataloader.dataset.type": "WorldFrames",
    "train_dataloader.sampler.type": "InfiniteSampler",
    "train_dataloader.collate_fn.type": "pseudo_collate",
    "train_cfg.type": "IterBasedTrainLoop",
    "val_evaluator.0.type": "MaskMetric",
    "param_scheduler.0.type": "LinearLR",
    "optim_wrapper.type": "OptimWrapper",
    "optim_wrapper.optimizer.type": "AdamW",
    "default_hooks.checkpoint.type": "CheckpointHook",
    "custom_hooks.0.type": "AverageWeights",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_typo_in_a_config_is_answered_with_near_names(tmp_path, place):
    config = toy_config(NAME, tmp_path)
    config.train_dataloader.collate_fn = dict(type="pseudo_collate")
    config.val_evaluator = [dict(type="MaskMetric")]
    part = config
    *keys, last = place.split(".")
    for key in keys:
        part = part[int(key) if key.isdigit() else key]
    part[last] = f"{PLACES[place]}x"
    with pytest.raises(UnknownNameError, match=rf"Did you mean .*\b{PLACES[place]}\b") as caught:
        train(config)
    assert keys[0] in str(caught.value)


def test_a_typo_in_a_nested_part_is_answered_with_near_names(tmp_path):
    config = toy_config("world_propagator_small", tmp_path)
    config.train_dataloader.dataset.parts[0].type = "WorldClip"
    with pytest.raises(UnknownNameError, match=r"'WorldClip' is not.*Did you mean .*WorldClips\b"):
        train(config)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.optim_wrapper.optimizer.update(lr="1e-4"), "TypeError"),
        (lambda c: c.update(custom_hooks=["AverageWeights"]), r"dict\(type=...\)"),
        (lambda c: c.train_cfg.update(type=None), "type must be a str"),
    ],
)
def test_a_part_that_cannot_be_built_is_an_error_of_the_config(tmp_path, change, says):
    config = toy_config(NAME, tmp_path)
    change(config)
    with pytest.raises(TrainingError, match=says):
        train(config)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_configs_are_read_from_data_files(tmp_path, suffix):
    toy_config(NAME, tmp_path).dump(tmp_path / f"toy{suffix}")
    config = read_config(tmp_path / f"toy{suffix}", tmp_path / "run")
    assert config.model.type == "KeyframeTraining"
    config.optim_wrapper.optimizer.type = "AdamWx"
    with pytest.raises(UnknownNameError, match="AdamW"):
        train(config)
