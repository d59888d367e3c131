"""The control-point providers that `coprop bench` and its relatives name."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coprop_plugin.batch import load_any_provider
from coprop_plugin.batch.language_models import STRATEGIES
from coprop_plugin.errors import ControlPointError
from coprop_plugin.types import AudioLLM, ControlPointProvider


@dataclass(frozen=True)
class LanguageOptions:
    """The options of providers that ask a language model.

    Args:
        llm: See `load_llm`.
        store: Annotated examples of `rcpg`.
        prompts: Folder with your own prompts.
        cache: Folder for answers, of any provider's language model; None keeps none.
    """

    llm: str | None = None
    store: Path | None = None
    prompts: Path | None = None
    cache: Path | None = None


def providers_of(
    specs: Sequence[str], rows: Sequence[str], language: LanguageOptions
) -> tuple[dict[str, ControlPointProvider], dict[str, Any]]:
    """Load the control-point providers of a command line.

    Args:
        specs: `[NAME=]PROVIDER`, see `load_any_provider`.
        rows: Names of rows; those with a provider that asks a language model get it.
        language: Options of language models.

    Returns:
        The providers by name, and what they depend on.

    Raises:
        ControlPointError: If two have the same name.
        CopropError: If one cannot be built.
    """
    named = [named_provider(spec) for spec in specs]
    given = [name for name, _ in named]
    named += [
        (points, points)
        for points in dict.fromkeys(row.split("+")[0].partition("@")[0] for row in rows)
        if points in STRATEGIES and points not in given
    ]
    providers: dict[str, ControlPointProvider] = {}
    for name, spec in named:
        if name in providers:
            raise ControlPointError(
                f"There are two providers named {name!r}. Name them: NAME={spec}."
            )
        providers[name] = _load(spec, language)
    return providers, {name: about_provider(provider) for name, provider in providers.items()}


def _load(spec: str, language: LanguageOptions) -> ControlPointProvider:
    if spec not in STRATEGIES:
        return load_any_provider(spec, language.cache)
    return load_any_provider(spec, language.cache, language.llm, language.store, language.prompts)


def named_provider(spec: str) -> tuple[str, str]:
    """Split [NAME=]PROVIDER; a config in braces may contain `=`, too.

    Example:
        >>> named_provider("mine=rules.py:mine"), named_provider("rules.py:mine")
        (('mine', 'rules.py:mine'), ('rules.py:mine', 'rules.py:mine'))
    """
    name, equals, rest = spec.partition("=")
    if equals and name.replace("_", "").replace("-", "").isalnum():
        return name, rest
    if not spec.startswith("{"):
        return spec, spec
    try:
        config = json.loads(spec)
    except (ValueError, RecursionError):
        return spec, spec  # `load_provider` reports what is wrong with it.
    return str(config.get("type", spec)), spec


def about_provider(provider: ControlPointProvider) -> dict[str, Any]:
    """Return what a provider's control points depend on, as JSON, for a report."""
    about: dict[str, Any] = {"type": type(provider).__name__}
    about |= getattr(provider, "settings", {})
    llm: AudioLLM | None = getattr(provider, "llm", None)
    if llm is not None:
        about["llm"] = {
            "client": llm.name,
            "model_id": llm.model_id,
            "settings": dict(llm.settings),
        }
    return about
