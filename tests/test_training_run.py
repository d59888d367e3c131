"""Whole runs: they end with weights, go on after a kill, and are the same on two processes."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_training import TOY_PROPAGATOR, toy_config

from coprop_plugin.errors import CheckpointError, TrainingError
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.propagation.checkpoint import load_propagator
from coprop_plugin.training.run import config_names, evaluate, read_config, train

ROOT = Path(__file__).resolve().parent.parent
CHILD = """
import os, sys
from mmengine.hooks import Hook
from coprop_plugin.registry import HOOKS
from coprop_plugin.training.run import train

@HOOKS.register_module()
class KillAtStep(Hook):
    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            os.kill(os.getpid(), 9)

train(sys.argv[1])
"""


def child(folder, config, *launcher):
    """Train in another process; returns the finished process."""
    folder.mkdir(exist_ok=True)
    script, file = folder / "child.py", folder / "config.py"
    script.write_text(CHILD)
    config.dump(file)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *launcher, str(script), str(file)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_same_weights(path, other, **tolerance):
    weights, others = load_file(path), load_file(other)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], **tolerance)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    name = "world_propagator_small"
    straight = train(toy_config(name, tmp_path / "straight"))
    killed = toy_config(name, tmp_path / "killed")
    killed.custom_hooks = [*killed.custom_hooks, dict(type="KillAtStep", step=3)]
    done = child(tmp_path / "child", killed)
    assert done.returncode == -9, done.stderr[-2000:]
    assert done.stdout == ""
    assert "eta:" in done.stderr
    again = toy_config(name, tmp_path / "killed")
    with pytest.raises(TrainingError, match="another run.*--resume"):
        train(again)
    first_checkpoint = tmp_path / "killed" / "iter_2.pth"
    written = first_checkpoint.stat().st_mtime_ns
    resumed = train(again, resume=True)
    assert first_checkpoint.stat().st_mtime_ns == written, "it began anew"
    assert_same_weights(straight, resumed, rtol=0, atol=0)
    assert load_propagator(resumed).config["audio_width"] == TOY_PROPAGATOR["audio_width"]


def test_weights_are_averaged_over_the_run(tmp_path):
    averaged = load_file(train(toy_config("world_keyframes_small", tmp_path / "with")))
    config = toy_config("world_keyframes_small", tmp_path / "without")
    config.custom_hooks = []
    last = load_file(train(config))
    assert any(not torch.equal(value, last[name]) for name, value in averaged.items())


def test_two_processes_train_as_one_does(tmp_path):
    def config(folder, batch_size):
        made = toy_config("world_keyframes_small", tmp_path / folder, steps=2)
        made.train_dataloader.batch_size = batch_size
        # Adam's first steps are as long for gradients that are rounding errors.
        made.optim_wrapper.optimizer = dict(type="SGD", lr=0.1, weight_decay=0.0)
        return made

    alone = train(config("alone", 4))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = child(tmp_path / "child", config("both", 2), *launcher)
    assert done.returncode == 0, done.stderr[-2000:]
    both = tmp_path / "both" / "weights.safetensors"
    assert_same_weights(alone, both, rtol=0, atol=1e-5)
    start = toy_config("world_keyframes_small", tmp_path / "start", steps=1)
    start.optim_wrapper.optimizer = dict(type="SGD", lr=0.0, weight_decay=0.0)
    with pytest.raises(AssertionError):
        assert_same_weights(alone, train(start), rtol=0, atol=1e-3)


def test_trained_weights_are_scored_on_the_test_split(tmp_path):
    config = toy_config("world_keyframes_small", tmp_path, steps=2)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        weights = train(config)
        scores = evaluate(config, weights, tmp_path / "scored")
        from_checkpoint = evaluate(config, tmp_path / "iter_2.pth", tmp_path / "scored")
    assert printed.getvalue() == ""
    assert 0 <= scores["masks/M_J"] <= 1
    assert scores == from_checkpoint
    assert not load_keyframe_processor(weights).training
    propagator = toy_config("world_propagator_small", tmp_path)
    with pytest.raises(CheckpointError, match="KeyframeProcessor"):
        evaluate(propagator, weights, tmp_path / "scored")


@pytest.mark.parametrize("name", config_names())
def test_our_configs_are_read(name, tmp_path):
    config = read_config(name)
    assert config.default_scope == "coprop_plugin"
    assert config.work_dir == f"work_dirs/{name}"
    assert read_config(name, tmp_path).work_dir == str(tmp_path)


def test_odd_calls_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="no config nothing.*world_keyframes_small"):
        train("nothing")
    with pytest.raises(TrainingError, match="without `model`"):
        train(dict(optim_wrapper={}))
    with pytest.raises(TrainingError, match="needed to train.*world_keyframes_small"):
        train(dict(model=dict(type="KeyframeTraining")), tmp_path)
    with pytest.raises(TrainingError, match="no file"):
        evaluate("world_keyframes_small", tmp_path / "weights.safetensors")
    (tmp_path / "broken.py").write_text("model = dict(")
    with pytest.raises(TrainingError, match="cannot be read as a config"):
        train(tmp_path / "broken.py")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="needs one"):
            train(toy_config("world_keyframes_small", tmp_path), amp=True)


def test_the_verbs_train_and_score(tmp_path):
    from typer.testing import CliRunner

    from coprop_plugin.cli import app

    file, folder = tmp_path / "toy.py", tmp_path / "run"
    toy_config("world_keyframes_small", folder, steps=2).dump(file)
    runner = CliRunner()
    done = runner.invoke(app, ["train", str(file), "--work-dir", str(folder)])
    assert done.exit_code == 0, done.output
    weights = done.stdout.strip()
    assert weights == str(folder / "weights.safetensors")
    again = runner.invoke(app, ["train", str(file), "--work-dir", str(folder)])
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    done = runner.invoke(app, ["evaluate", str(file), "--weights", weights, "--json"])
    assert set(json.loads(done.stdout)) >= {"masks/M_J", "alignment/AR"}
