"""The examples in docstrings of training and of the data it learns from."""

import doctest
import importlib

import pytest

MODULES = [
    "coprop_plugin.training.family_losses",
    "coprop_plugin.training.family_stage",
    "coprop_plugin.training.hooks",
    "coprop_plugin.training.losses",
    "coprop_plugin.training.keyframe_stage",
    "coprop_plugin.training.propagator_stage",
    "coprop_plugin.training.run",
    "coprop_plugin.training.stage",
    "coprop_plugin.world.clips",
    "coprop_plugin.world.frames",
    "coprop_plugin.world.seconds",
    "coprop_plugin.world.splits",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.attempted
    assert not result.failed
