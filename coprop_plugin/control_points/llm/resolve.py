"""Which audio language model a user means."""

from collections.abc import Callable, Mapping
from typing import Any

from coprop_plugin.control_points.llm.function import CallableAudioLLM
from coprop_plugin.registry import AUDIO_LLMS, build
from coprop_plugin.types import AudioLLM


def as_audio_llm(llm: str | Mapping[str, Any] | AudioLLM | Callable[..., str]) -> AudioLLM:
    """Return the client that is meant.

    Args:
        llm: A registered name, a config with `type`, a client, or a function
            `(messages, waveform, sample_rate) -> str`.

    Raises:
        UnknownNameError: If a name is not registered.
        AudioLLMError: If it is none of these.

    Example:
        >>> as_audio_llm({"type": "openai_compatible", "model_id": "Qwen2-Audio"}).name
        'openai_compatible'
    """
    if hasattr(llm, "chat"):
        return llm
    if isinstance(llm, str | Mapping):
        return build(AUDIO_LLMS, llm, verb="chat")
    return CallableAudioLLM(llm)
