"""Default providers of `coprop anchor compare`."""

from functools import partial

from coprop_plugin.benchmark.compare_providers import NamedProvider
from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.scripted_llm import ErrorRates, ScriptedListener
from coprop_plugin.benchmark.untrained_models import untrained_clap, untrained_sed
from coprop_plugin.control_points.gate import GateProvider
from coprop_plugin.control_points.language.examples import flags_a_second
from coprop_plugin.control_points.llm import CallableAudioLLM
from coprop_plugin.control_points.resolve import as_provider
from coprop_plugin.errors import DatasetError
from coprop_plugin.types import ControlPointProvider, ControlPoints

_RATES = (ErrorRates(), ErrorRates(0.1, 0.1, 0.1), ErrorRates(0.3, 0.3, 0.3))


def default_providers(seed: int = 0) -> list[NamedProvider]:
    """Return providers that need no download.

    The true control points; the rules; the change detector; models with random weights; and a
    scripted language model that answers the truth with errors at known rates, alone and behind
    novelty's gate.

    Args:
        seed: Seed of the random weights and the scripted errors.

    Example:
        >>> [named.name for named in default_providers()][:4]
        ['flags', 'every_n', 'cosine', 'novelty']
    """
    names = ("every_n", "cosine", "novelty", "change_detector")
    shipped = [NamedProvider(name, as_provider(name)) for name in names]
    untrained = [
        NamedProvider("clap", untrained_clap(seed), "untrained"),
        NamedProvider("sed", untrained_sed(seed=seed), "untrained"),
    ]
    scripted = [
        NamedProvider("one_step", partial(_scripted, rates=rates, seed=seed), f"scripted, {rates}")
        for rates in _RATES
    ]
    gate = NamedProvider(
        "gate",
        lambda sample: GateProvider(_scripted(sample, rates=_RATES[0], seed=seed)),
        f"novelty, then scripted, {_RATES[0]}",
    )
    return [NamedProvider("flags", _truth, "the truth"), *shipped, *untrained, *scripted, gate]


def _truth(sample: Sample) -> ControlPointProvider:
    return as_provider(_true_points(sample))


def _true_points(sample: Sample) -> ControlPoints:
    if sample.control_points is None:
        raise DatasetError(f"The true control points of {sample.id} are unknown.")
    return sample.control_points


def _scripted(sample: Sample, *, rates: ErrorRates, seed: int) -> ControlPointProvider:
    """Return the provider with a scripted language model that knows the truth of a sample."""
    truth = flags_a_second(_true_points(sample), sample.clip)
    # A seed per clip, so that errors do not fall on the same frames.
    listener = ScriptedListener(truth, rates, seed=seed + sum(map(ord, sample.id)))
    llm = CallableAudioLLM(listener, model_id=f"scripted: {rates}")
    return as_provider(dict(type="one_step", llm=llm, window_s=None))
