"""From a name, a config or a function to an audio language model."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from coprop_plugin.control_points.llm.function import CallableAudioLLM
from coprop_plugin.registry import AUDIO_LLMS, build
from coprop_plugin.types import AudioLLM

LLMSource = AudioLLM | Callable[..., str] | str | Mapping[str, Any]
"""An `AudioLLM`, its registered name, its config, or a function `(messages, waveform, rate)`."""


def as_audio_llm(llm: LLMSource) -> AudioLLM:
    """Return the audio language model that a user names or hands in.

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
        return cast(AudioLLM, llm)
    if isinstance(llm, str | Mapping):
        return build(AUDIO_LLMS, llm, verb="chat")
    return CallableAudioLLM(cast(Callable[..., str], llm))
