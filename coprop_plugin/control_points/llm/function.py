"""The client for any Python function."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from coprop_plugin.control_points.llm.messages import checked_messages, checked_waveform
from coprop_plugin.errors import AudioLLMError, CopropError
from coprop_plugin.registry import AUDIO_LLMS


@AUDIO_LLMS.register_module(name=["CallableAudioLLM", "callable"])
class CallableAudioLLM:
    """Asks a function `(messages, waveform, sample_rate) -> str`, another library's model say.

    If the function has a parameter `schema`, it is called with that keyword too.

    Args:
        function: What to call; from several threads, if the caller uses several.
        model_id: What its answers are kept under. Change it when the function answers otherwise.
            None: the function's full name.
        max_audio_s: The longest sound that it takes, in seconds, or None.
        settings: What else its answers depend on, as JSON: a seed, say; never a secret.

    Raises:
        AudioLLMError: If `function` cannot be called.

    Example:
        >>> import torch
        >>> def deaf(messages, waveform, sample_rate):
        ...     return f"{len(waveform) / sample_rate} s of something."
        >>> llm = CallableAudioLLM(deaf, model_id="deaf-1")
        >>> llm.chat([{"role": "user", "content": "What sounds here?"}], torch.zeros(8_000), 16_000)
        '0.5 s of something.'
    """

    name = "callable"

    def __init__(
        self,
        function: Callable[..., str],
        model_id: str | None = None,
        max_audio_s: float | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise AudioLLMError(
                f"Got a {type(function).__name__}, which cannot be called; wanted a function "
                "(messages, waveform, sample_rate) -> str."
            )
        kind = function if hasattr(function, "__qualname__") else type(function)
        self.function = function
        self.model_id = model_id or f"{kind.__module__}.{kind.__qualname__}"
        self.max_audio_s = max_audio_s
        self.settings = dict(settings or {})
        self._takes_schema = _takes(function, "schema")

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Return what the function returns.

        Raises:
            ClipError: If the waveform is none.
            AudioLLMError: If the function raises, or returns no text.
        """
        messages = checked_messages(messages)
        waveform = checked_waveform(waveform, sample_rate, self.max_audio_s, self.model_id)
        wish = {"schema": schema} if self._takes_schema else {}
        try:
            answer = self.function(messages, waveform, sample_rate, **wish)
        except CopropError:
            raise
        except Exception as error:
            raise AudioLLMError(
                f"The function {self.model_id} raised {type(error).__name__}: {error}. Mend it, or "
                "name a provider to fall back on."
            ) from error
        if not isinstance(answer, str):
            raise AudioLLMError(
                f"The function {self.model_id} returned a {type(answer).__name__}; wanted the "
                "model's answer as text."
            )
        return answer

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model_id={self.model_id!r})"


def _takes(function: Callable[..., Any], keyword: str) -> bool:
    try:
        return keyword in inspect.signature(function).parameters
    except (TypeError, ValueError):  # builtins may have no signature
        return False
