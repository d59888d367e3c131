"""Curves of a training run: for TensorBoard where it is installed, else a note."""

import importlib.util

import pytest
from mmengine import Config
from toy_training import toy_config

from coprop_plugin.training import evaluate, logs, train

CURVES = dict(type="TensorboardVisBackend")


@pytest.fixture
def without_tensorboard(monkeypatch):
    find_spec = importlib.util.find_spec

    def find(name, *rest):
        return None if name == "tensorboard" else find_spec(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_without_tensorboard_a_run_says_so_and_goes_on(without_tensorboard, tmp_path, capfd):
    config = toy_config("world_keyframes_small", tmp_path, steps=1)
    config.visualizer = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend"), CURVES])
    weights = train(config)
    assert 'pip install "coprop-plugin[train]"' in capfd.readouterr().err
    assert list(tmp_path.rglob("scalars.json"))
    assert evaluate(config, weights, tmp_path / "scores")


def test_with_tensorboard_configs_get_curves_unless_they_say_otherwise(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    config = Config(dict(model={}))
    assert logs.add_tensorboard(config) == ""
    assert CURVES in config.visualizer.vis_backends
    own = Config(dict(visualizer=dict(type="Visualizer", vis_backends=[])))
    assert logs.add_tensorboard(own) == ""
    assert own.visualizer.vis_backends == []


def test_the_curves_can_be_read(tmp_path):
    pytest.importorskip("tensorboard", reason='needs `pip install "coprop-plugin[train]"`')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(toy_config("world_keyframes_small", tmp_path, steps=3))
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    curves = EventAccumulator(str(events.parent)).Reload()
    assert [point.step for point in curves.Scalars("loss")] == [1, 2, 3]
    assert "masks/M_J" in curves.Tags()["scalars"]
