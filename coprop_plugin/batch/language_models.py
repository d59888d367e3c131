"""Language models, and the providers that ask them, as a command line names them."""

import hashlib
import inspect
from pathlib import Path
from typing import Any

from coprop_plugin.batch.import_names import find_callable
from coprop_plugin.batch.load import load_provider, read_json
from coprop_plugin.control_points.llm import CachedLLM, CallableAudioLLM, as_audio_llm
from coprop_plugin.control_points.prompts import DEFAULT
from coprop_plugin.control_points.retrieval import Store
from coprop_plugin.control_points.strategies import (
    OneStepProvider,
    RCPGProvider,
    ThreeStepProvider,
)
from coprop_plugin.errors import ArgumentError, AudioLLMError
from coprop_plugin.registry import AUDIO_LLMS, find, list_audio_llms
from coprop_plugin.types import AudioLLM, ControlPointProvider

_STRATEGIES: dict[str, type[OneStepProvider | ThreeStepProvider]] = {
    "one_step": OneStepProvider,
    "three_step": ThreeStepProvider,
}
RCPG = "rcpg"
STRATEGIES = (*_STRATEGIES, RCPG)
"""Names of the providers that ask a language model."""

_LLMS = (
    "Expected `qwen2_audio:ID` with a name on the Hugging Face Hub or a folder, "
    "`openai:URL#MODEL`, `file.py:name`, or a config as JSON."
)


def load_llm(spec: str, cache: str | Path | None = None) -> AudioLLM:
    """Return the language model that a command line names.

    Args:
        spec: `qwen2_audio:ID_OR_FOLDER`; `openai:URL#MODEL`, a server with OpenAI's interface;
            `file.py:name` or `module:name`, a function `(messages, waveform, sample_rate) -> str`,
            a client, or something that makes one when it is called without arguments; or a config
            as JSON.
        cache: Folder that keeps the answers; None keeps none.

    Raises:
        AudioLLMError: If it is none of these.
        AdapterError: If the file or the name in it does not exist.

    Example:
        >>> load_llm("openai:http://localhost:8000/v1#Qwen2-Audio").model_id
        'Qwen2-Audio'
    """
    llm = _llm_of(spec)
    return llm if cache is None else CachedLLM(llm, cache)


def _llm_of(spec: str) -> AudioLLM:
    if spec.lstrip().startswith("{"):
        return as_audio_llm(read_json(spec, "--llm", _LLMS))
    kind, colon, rest = spec.partition(":")
    if kind == "openai":
        url, _, model = rest.partition("#")
        if not url or not model:
            raise AudioLLMError(f"--llm {spec!r} lacks the address or the model. {_LLMS}")
        return as_audio_llm(dict(type="openai_compatible", base_url=url, model_id=model))
    if kind in list_audio_llms() and kind not in ("callable", "cached"):
        return find(AUDIO_LLMS, kind)(*([rest] if rest else []))
    if colon:
        return _of_file(spec)
    raise AudioLLMError(f"--llm {spec!r} is not a language model. {_LLMS}")


def _of_file(spec: str) -> AudioLLM:
    """Return the language model that is, or is made by, what a file defines."""
    found: Any = find_callable(spec, "--llm", _LLMS)
    if callable(found) and not hasattr(found, "chat") and _needs_nothing(found):
        found = found()
    if hasattr(found, "chat"):
        return found
    place, _, name = spec.rpartition(":")
    path = Path(place)
    # Stored answers are those of this code.
    code = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else ""
    return CallableAudioLLM(found, model_id=f"{path.name}:{name}", settings={"code": code})


def _needs_nothing(function: Any) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def language_provider(
    name: str,
    llm: AudioLLM | None,
    store: str | Path | None = None,
    prompts: str | Path | None = None,
) -> ControlPointProvider:
    """Return `one_step`, `three_step` or `rcpg` for a language model.

    Args:
        name: One of `STRATEGIES`.
        llm: The language model.
        store: Annotated examples, for `rcpg`, which needs them.
        prompts: A folder with your own texts; None for the paper's.

    Raises:
        ArgumentError: If there is no language model, or `rcpg` has no store.
        ControlPointError: If store or prompts cannot be read.
    """
    if llm is None:
        raise ArgumentError(
            f"{name!r} needs a language model, the argument `llm`: --llm openai:URL#MODEL, "
            "--llm qwen2_audio:ID, or a config with `llm` as --control-points."
        )
    texts = prompts or DEFAULT
    if name != RCPG:
        return _STRATEGIES[name](llm, prompts=texts)
    if store is None:
        raise ArgumentError(
            "'rcpg' needs annotated examples, the argument `store`: --store FILE, which `coprop "
            "anchor index DATASET -o FILE` writes. Without examples it is 'three_step'."
        )
    return RCPGProvider(llm, Store.load(store), prompts=texts)


def load_any_provider(
    spec: str,
    cache: Path | None = None,
    llm: str | None = None,
    store: Path | None = None,
    prompts: Path | None = None,
) -> ControlPointProvider:
    """Return the provider that a command line names, with the options of a language model.

    Args:
        spec: One of `STRATEGIES`, with `llm`; or as in `load_provider`.
        cache: Folder for the answers of its language model; None keeps none.
        llm: As in `load_llm`.
        store: As in `language_provider`.
        prompts: As in `language_provider`.

    Raises:
        CopropError: If there is no such provider, or one that asks no language model is given one.
    """
    if spec in STRATEGIES:
        return language_provider(
            spec, None if llm is None else load_llm(llm, cache), store, prompts
        )
    given = {"--llm": llm, "--store": store, "--prompts": prompts}
    unused = [option for option, value in given.items() if value is not None]
    if unused:
        raise ArgumentError(
            f"{', '.join(unused)} is for {', '.join(STRATEGIES)}, got the control points {spec!r}. "
            "Leave it out, or name one of these."
        )
    return load_provider(spec, cache)
