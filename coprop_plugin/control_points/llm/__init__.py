"""Clients of audio language models: they carry questions and sound, and know no prompts.

Each has `chat(messages, waveform, sample_rate, schema=...)`, see `coprop_plugin.types.AudioLLM`.
"""

from coprop_plugin.control_points.llm.function import CallableAudioLLM
from coprop_plugin.control_points.llm.openai_compatible import OpenAICompatibleLLM
from coprop_plugin.control_points.llm.qwen import QwenAudioLLM
from coprop_plugin.control_points.llm.resolve import as_audio_llm

__all__ = ["CallableAudioLLM", "OpenAICompatibleLLM", "QwenAudioLLM", "as_audio_llm"]
