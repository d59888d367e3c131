"""Conformance runs: whether a backend, provider or propagator keeps the rules of its protocol.

`check_backend`, `check_provider` and `check_propagator` return a `ConformanceReport`, which prints
what was checked and what to change.
"""

from coprop_plugin.benchmark.conformance.backend_rules import OwnCall, check_backend
from coprop_plugin.benchmark.conformance.findings import ConformanceReport, Finding, PartKind
from coprop_plugin.benchmark.conformance.propagator_rules import check_propagator
from coprop_plugin.benchmark.conformance.provider_rules import check_provider

__all__ = [
    "ConformanceReport",
    "Finding",
    "OwnCall",
    "PartKind",
    "check_backend",
    "check_propagator",
    "check_provider",
]
