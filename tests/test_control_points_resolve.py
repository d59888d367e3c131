"""From a name, a config or a file to a provider or a client, and what is missing in it."""

import inspect
import json

import pytest
from typer.testing import CliRunner

from coprop_plugin import cli, list_audio_llms, list_providers
from coprop_plugin.control_points import as_provider
from coprop_plugin.control_points.llm import CachedLLM, as_audio_llm, replace_llms
from coprop_plugin.errors import ArgumentError
from coprop_plugin.registry import AUDIO_LLMS, PROVIDERS, find


def required(kind):
    parameters = inspect.signature(kind).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


def built_or_refused(make, name, kind):
    """Build by the name alone; returns whether an argument was missing."""
    missing = required(kind)
    if not missing:
        assert make(name)
        return False
    with pytest.raises(
        ArgumentError, match=rf"'{name}' needs the argument.*Use a config"
    ) as caught:
        make(name)
    assert all(f"`{argument}`" in str(caught.value) for argument in missing)
    assert f'"type": "{name}"' in str(caught.value)
    return True


def test_a_provider_named_without_its_arguments_says_which_are_missing():
    refused = {n for n in list_providers() if built_or_refused(as_provider, n, find(PROVIDERS, n))}
    assert {"one_step", "three_step", "rcpg", "file", "flags", "oracle", "gate"} <= refused
    assert {"novelty", "change_detector", "every_n", "cosine", "sed", "clap"}.isdisjoint(refused)


def test_a_client_named_without_its_arguments_says_which_are_missing():
    refused = {
        n for n in list_audio_llms() if built_or_refused(as_audio_llm, n, find(AUDIO_LLMS, n))
    }
    assert refused == {"cached", "callable", "openai_compatible"}


def test_an_unknown_argument_is_named_with_the_known_ones():
    with pytest.raises(ArgumentError, match=r"'every_n' does not take the argument `m`.*are: n\."):
        as_provider({"type": "every_n", "m": 3})


def test_a_config_in_a_file_that_lacks_an_argument_says_which(tmp_path):
    path = tmp_path / "rcpg.json"
    path.write_text(json.dumps({"type": "rcpg", "k": 2}))
    with pytest.raises(ArgumentError, match="'rcpg' needs the argument `llm`"):
        as_provider(path)


def test_the_command_line_refuses_a_provider_without_its_argument():
    done = CliRunner().invoke(cli.app, ["bench", "--world", "1", "--rows", "rcpg+hold"])
    assert done.exit_code == 2
    assert "'rcpg' needs a language model, the argument `llm`" in " ".join(done.stderr.split())


def test_every_language_model_of_a_nested_provider_is_replaced(tmp_path):
    llm = dict(type="callable", function=lambda *_: "[1]", model_id="m")
    one = dict(type="one_step", llm=llm, fallback=dict(type="three_step", llm=llm))
    gate = dict(type="gate", expensive=dict(type="ensemble", providers=[one, "novelty"]))
    provider = as_provider(gate)
    replace_llms(provider, lambda client: CachedLLM(client, tmp_path))
    inner = provider.expensive.providers[0]
    assert isinstance(inner.llm, CachedLLM)
    assert isinstance(inner.fallback.llm, CachedLLM)
