"""Clients of audio language models, without prompts; see `coprop_plugin.types.AudioLLM`.

Each has `chat(messages, waveform, sample_rate, schema=...)`.
"""

from coprop_plugin.control_points.llm.cache import CachedLLM, audio_hash, replace_llms
from coprop_plugin.control_points.llm.flag_tokens import flag_tokens, requested_flags
from coprop_plugin.control_points.llm.function import CallableAudioLLM
from coprop_plugin.control_points.llm.messages import at_rate, with_audio
from coprop_plugin.control_points.llm.openai_compatible import OpenAICompatibleLLM
from coprop_plugin.control_points.llm.qwen import QwenAudioLLM
from coprop_plugin.control_points.llm.qwen_loading import load_model, load_processor
from coprop_plugin.control_points.llm.resolve import LLMSource, as_audio_llm

__all__ = [
    "CachedLLM",
    "CallableAudioLLM",
    "LLMSource",
    "OpenAICompatibleLLM",
    "QwenAudioLLM",
    "as_audio_llm",
    "at_rate",
    "audio_hash",
    "flag_tokens",
    "load_model",
    "load_processor",
    "replace_llms",
    "requested_flags",
    "with_audio",
]
