"""Comparisons of logits, and of a model's own return values."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.benchmark.conformance.findings import Verdict


def same_logits(one: Tensor, other: Tensor, tolerance: float, when: str) -> Verdict:
    """Compare logits; `when` ends the sentence "They differ by ... of their spread"."""
    if one.shape != other.shape:
        return Verdict(
            "failed", f"Their shape is {list(other.shape)}, not {list(one.shape)}, {when}."
        )
    spread = max(float(one.float().std()), 1e-6)
    difference = float((one.float() - other.float()).abs().max()) / spread
    if not difference <= tolerance:
        return Verdict("failed", f"Logits differ by {difference:.2g} of their spread {when}.")
    return Verdict("passed", f"differ by {difference:.1g} of their spread" if difference else "")


def first_difference(expected: Any, found: Any, place: str) -> str:
    """Return how two nested return values differ; "" if they are equal."""
    if isinstance(expected, Tensor):
        if not isinstance(found, Tensor) or found.shape != expected.shape:
            got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            return f"Expected {place} of shape {list(expected.shape)}, got {got}."
        if found.dtype != expected.dtype or not torch.equal(found, expected):
            return f"{place[0].upper()}{place[1:]} differs from the model's."
        return ""
    if type(expected) is not type(found):
        return f"Expected {place} of type {type(expected).__name__}, got {type(found).__name__}."
    if isinstance(expected, Mapping):
        pairs = [(f"{place}[{key!r}]", expected[key], found.get(key)) for key in expected]
    elif isinstance(expected, list | tuple):
        if len(expected) != len(found):
            return f"Expected {len(expected)} parts of {place}, got {len(found)}."
        pairs = [
            (f"{place}[{i}]", a, b) for i, (a, b) in enumerate(zip(expected, found, strict=True))
        ]
    else:
        return ""
    return next((text for p, a, b in pairs if (text := first_difference(a, b, p))), "")
