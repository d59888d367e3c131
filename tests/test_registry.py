"""Registries: lazy, listed, and found from any mmengine scope."""

import importlib.metadata

import pytest

from coprop_plugin import list_backends, list_propagators, list_providers, registry
from coprop_plugin.errors import UnknownNameError


def test_the_lists_hold_short_names():
    assert {"avsegformer", "catr", "tpavi", "callable", "mmseg"} <= set(list_backends())
    assert {"novelty", "cosine", "every_n", "oracle", "flags", "file"} <= set(list_providers())
    assert {"audio_insert", "flow", "hold"} <= set(list_propagators())


@pytest.mark.parametrize("config", ["nothing", dict(type="nothing"), dict(n=3)])
def test_unknown_names_list_the_known(config):
    with pytest.raises(UnknownNameError, match="cosine, .*every_n, .*novelty"):
        registry.build(registry.PROVIDERS, config, verb="propose")


def test_what_cannot_do_the_verb_counts_as_unknown():
    with pytest.raises(UnknownNameError, match="is not a registered propagator"):
        registry.build(registry.MODELS, "tpavi", verb="step")


@pytest.mark.parametrize(
    "name", ["os.system", "subprocess.Popen", "coprop_plugin.pipeline.wrap.wrap"]
)
def test_a_config_names_what_is_registered_and_nothing_else(name):
    with pytest.raises(UnknownNameError, match="is not a registered model"):
        registry.build(registry.MODELS, dict(type=name, args=["true"]))


def test_what_another_scope_has_registered_is_found_by_its_name():
    import mmseg.registry

    assert registry.find(registry.MODELS, "mmseg.FCNHead").__name__ == "FCNHead"
    assert mmseg.registry.MODELS.get("FCNHead") is registry.find(registry.MODELS, "mmseg.FCNHead")
    with pytest.raises(UnknownNameError, match="is not a registered propagator"):
        registry.find(registry.MODELS, "mmseg.FCNHead", verb="step")


@pytest.mark.parametrize("scope", ["coprop_plugin", "mmseg"])
def test_configs_build_while_another_scope_is_active(scope):
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(scope):
        built = registry.build(registry.PROVIDERS, dict(type="coprop_plugin.every_n", n=7))
        assert built.n == 7
        hold = registry.MODELS.build(dict(type="coprop_plugin.HoldPropagator"))
    assert hasattr(hold, "step")


def test_two_installed_stacks_are_warned_of(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    with pytest.warns(UserWarning, match="Both mmengine and onedl-mmengine are installed"):
        registry._warn_of_two_stacks()
