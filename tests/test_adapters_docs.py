"""The examples in the adapters' docstrings run."""

import doctest
import importlib

import pytest

MODULES = [
    "avsegformer.deformable",
    "avsegformer.model",
    "callable",
    "catr.attention",
    "catr.model",
    "devices",
    "pictures",
    "recognise",
    "windows",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(f"coprop_plugin.adapters.{name}")
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed
