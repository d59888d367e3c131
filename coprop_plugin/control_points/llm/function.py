"""Client for any Python function."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from coprop_plugin.control_points.llm.messages import checked_messages, checked_waveform
from coprop_plugin.errors import AudioLLMError, CopropError
from coprop_plugin.registry import AUDIO_LLMS


@AUDIO_LLMS.register_module(name=["CallableAudioLLM", "callable"])
class CallableAudioLLM:
    """An audio language model behind a function `(messages, waveform, sample_rate) -> str`.

    If the function has a parameter `schema`, it is passed as a keyword, too.

    Args:
        function: The function; it is called from several threads if the caller uses several.
        model_id: Part of the key under which answers are cached. Change it when the function
            changes. None: the function's full name.
        max_audio_s: The longest audio that it takes, in seconds, or None.
        settings: What else its answers depend on, as JSON, e.g. a seed; never a secret.

    Raises:
        AudioLLMError: If `function` cannot be called.

    Example:
        >>> import torch
        >>> def length(messages, waveform, sample_rate):
        ...     return f"{len(waveform) / sample_rate} s of audio."
        >>> llm = CallableAudioLLM(length, model_id="length-1")
        >>> llm.chat([{"role": "user", "content": "What sounds here?"}], torch.zeros(8_000), 16_000)
        '0.5 s of audio.'
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
                "Expected a function (messages, waveform, sample_rate) -> str, got a "
                f"{type(function).__name__}, which cannot be called."
            )
        kind = function if hasattr(function, "__qualname__") else type(function)
        self.function = function
        self.model_id = model_id or f"{kind.__module__}.{kind.__qualname__}"
        self.max_audio_s = max_audio_s
        self.settings: Mapping[str, Any] = dict(settings or {})
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
            ClipError: If the waveform is not valid.
            AudioLLMError: If the function raises, or returns no text.
        """
        messages = checked_messages(messages)
        waveform = checked_waveform(waveform, sample_rate, self.max_audio_s, self.model_id)
        keywords = {"schema": schema} if self._takes_schema else {}
        try:
            answer = self.function(messages, waveform, sample_rate, **keywords)
        except CopropError:
            raise
        except Exception as error:
            raise AudioLLMError(
                f"The function {self.model_id} raised {type(error).__name__}: {error}. Fix it, or "
                "name a fallback provider."
            ) from error
        if not isinstance(answer, str):
            raise AudioLLMError(
                f"Expected the model's answer as text, but the function {self.model_id} returned a "
                f"{type(answer).__name__}."
            )
        return answer

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model_id={self.model_id!r})"


def _takes(function: Callable[..., Any], keyword: str) -> bool:
    try:
        return keyword in inspect.signature(function).parameters
    except (TypeError, ValueError):  # builtins may have no signature
        return False
