"""Whole runs: they end with weights, and go on after a kill."""

import contextlib
import io
import json

import pytest
import torch
from make_avsbench import make_ms3
from safetensors.torch import load_file
from toy_training import (
    TOY_PROPAGATOR,
    assert_same_weights,
    toy_avsbench_config,
    toy_config,
    train_in_another_process,
    with_hook,
)

from coprop_plugin.errors import CheckpointError, TrainingError
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.propagation import load_propagator
from coprop_plugin.training import config_names, evaluate, read_config, train


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    name = "world_propagator_small"
    straight = train(toy_config(name, tmp_path / "straight"))
    killed = with_hook(toy_config(name, tmp_path / "killed"), type="KillAtStep", step=3)
    done = train_in_another_process(tmp_path / "child", killed)
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


def test_a_run_on_ms3_killed_within_an_epoch_is_resumed(tmp_path):
    clips = {name: ("train", "11111") for name in "abcd"}
    root = make_ms3(tmp_path / "data", clips | {"v": ("val", "01100")}, (32, 32))

    def config(folder):
        made = toy_avsbench_config("ms3_keyframes", root, tmp_path / folder, epochs=2)
        made.train_dataloader.batch_size = 2
        return made

    straight = train(config("straight"))
    killed = with_hook(config("killed"), type="KillAtStep", step=3)
    done = train_in_another_process(tmp_path / "child", killed)
    assert done.returncode == -9, done.stderr[-2000:]
    assert (tmp_path / "killed" / "epoch_1.pth").is_file()
    assert not (tmp_path / "killed" / "epoch_2.pth").exists()
    resumed = train(config("killed"), resume=True)
    assert_same_weights(straight, resumed, rtol=0, atol=0)


def test_weights_are_averaged_over_the_run(tmp_path):
    averaged = load_file(train(toy_config("world_keyframes_small", tmp_path / "with")))
    config = toy_config("world_keyframes_small", tmp_path / "without")
    config.custom_hooks = []
    last = load_file(train(config))
    assert any(not torch.equal(value, last[name]) for name, value in averaged.items())


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


def test_invalid_calls_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="no config nothing.*world_keyframes_small"):
        train("nothing")
    with pytest.raises(TrainingError, match="without `model`"):
        train(dict(optim_wrapper={}))
    with pytest.raises(TrainingError, match="needed to train.*world_keyframes_small"):
        train(dict(model=dict(type="KeyframeTraining")), tmp_path)
    with pytest.raises(TrainingError, match="no file"):
        evaluate("world_keyframes_small", tmp_path / "weights.safetensors")
    config = toy_config("world_propagator_small", tmp_path / "parts")
    del config.train_dataloader.dataset["parts"]
    with pytest.raises(TrainingError, match=r"InterleavedDataset.__init__.*'parts'.*in the config"):
        train(config)
    (tmp_path / "broken.py").write_text("model = dict(")
    with pytest.raises(TrainingError, match="cannot be read as a config"):
        train(tmp_path / "broken.py")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="needs a GPU"):
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


class Opens:
    """What a hostile checkpoint holds beside its weights: a file is made when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path):
    path = tmp_path / "best.pth"
    torch.save({"state_dict": {}, "meta": Opens(str(tmp_path / "ran"))}, path)
    config = toy_config("world_keyframes_small", tmp_path / "scored")
    with pytest.raises(CheckpointError, match="more than tensors.*nothing in it was run"):
        evaluate(config, path, tmp_path / "scored")
    assert not (tmp_path / "ran").exists()
