"""torchrun on two processes has the losses of one process, and ends with its weights."""

import json

import pytest
import torch
from make_avsbench import make_ms3
from safetensors.torch import load_file
from toy_training import (
    assert_same_weights,
    on_two_processes,
    toy_avsbench_config,
    toy_config,
    train_in_another_process,
    with_hook,
)

from coprop_plugin.training import train


def world_keyframes(work_dir, root):
    return toy_config("world_keyframes_small", work_dir, steps=2)


def ms3_propagator(work_dir, root):
    if not root.exists():
        clips = {name: ("train", "11011") for name in "abcd"}
        make_ms3(root, clips | {"v": ("val", "01100")}, (32, 32))
    config = toy_avsbench_config("ms3_propagator", root, work_dir, epochs=2)
    # What is drawn at random differs from process to process.
    config.model.update(audio_dropout=0.0)
    return config


@pytest.mark.parametrize("stage", [world_keyframes, ms3_propagator])
def test_two_processes_have_the_losses_of_one(stage, tmp_path):
    def config(name, batch_size):
        made = stage(tmp_path / name, tmp_path / "data")
        made.train_dataloader.batch_size = batch_size
        # Adam's first steps are as long for gradients that are rounding errors.
        made.optim_wrapper.optimizer = dict(type="SGD", lr=0.1, weight_decay=0.0)
        path, start = tmp_path / f"{name}.jsonl", tmp_path / f"{name}_start.safetensors"
        return with_hook(made, type="RecordLoss", path=str(path), start=str(start))

    def losses(name):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    alone = train(config("alone", 4))
    done = train_in_another_process(tmp_path / "child", config("both", 2), on_two_processes)
    assert done.returncode == 0, done.stderr[-3000:]
    both = tmp_path / "both" / "weights.safetensors"
    # The path of the weights, once.
    assert done.stdout.split() == [str(both)]
    steps = len(losses("alone"))
    assert steps > 1
    assert [size for size, _ in losses("alone")] == [1] * steps
    assert [size for size, _ in losses("both")] == [2] * steps
    assert [loss for _, loss in losses("both")] == pytest.approx(
        [loss for _, loss in losses("alone")], abs=1e-4
    )
    assert_same_weights(alone, both, rtol=0, atol=1e-5)
    untrained = load_file(tmp_path / "both_start.safetensors")
    moved = [
        float((value - untrained[name]).abs().max()) for name, value in load_file(both).items()
    ]
    assert max(moved) > 1e-3, "nothing was learned, so nothing was shown"
    assert torch.isfinite(torch.tensor(moved)).all()
