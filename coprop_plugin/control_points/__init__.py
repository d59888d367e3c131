"""Eq. (1): control points, the frames at which the set of sounding objects changes.

A provider has `propose(clip) -> ControlPoints`; `as_provider` makes one from a name or a config.
"""

from coprop_plugin.control_points.clap import ClapProvider
from coprop_plugin.control_points.ensemble import EnsembleProvider, count_votes
from coprop_plugin.control_points.gate import GateProvider, cut_out
from coprop_plugin.control_points.language.examples import Example, flags_a_second
from coprop_plugin.control_points.learned_changes import ChangeDetectorProvider
from coprop_plugin.control_points.listening.activity_spans import active_spans
from coprop_plugin.control_points.novelty import NoveltyProvider, find_audio_changes
from coprop_plugin.control_points.providers import (
    CosineProvider,
    EveryNProvider,
    FileProvider,
    FlagsProvider,
    OracleProvider,
    from_masks,
)
from coprop_plugin.control_points.resolve import ProviderSource, as_provider
from coprop_plugin.control_points.retrieval import Query, Retrieved, Store
from coprop_plugin.control_points.sed import (
    ListenerProvider,
    SoundEventProvider,
    SpeechProvider,
)
from coprop_plugin.control_points.strategies import (
    OneStepProvider,
    RCPGProvider,
    ThreeStepProvider,
)

__all__ = [
    "ChangeDetectorProvider",
    "ClapProvider",
    "CosineProvider",
    "EnsembleProvider",
    "EveryNProvider",
    "Example",
    "FileProvider",
    "FlagsProvider",
    "GateProvider",
    "NoveltyProvider",
    "OneStepProvider",
    "OracleProvider",
    "ProviderSource",
    "Query",
    "RCPGProvider",
    "Retrieved",
    "ListenerProvider",
    "SoundEventProvider",
    "SpeechProvider",
    "Store",
    "ThreeStepProvider",
    "active_spans",
    "as_provider",
    "count_votes",
    "cut_out",
    "find_audio_changes",
    "flags_a_second",
    "from_masks",
]
