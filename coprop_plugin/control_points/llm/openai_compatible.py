"""Client for servers with OpenAI's chat-completions interface."""

import base64
import io
import json
import logging
import threading
import wave
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from coprop_plugin.control_points.llm.http_post import MAX_REPLY_BYTES, ApiKey, Reply, Server
from coprop_plugin.control_points.llm.messages import (
    at_rate,
    checked_messages,
    checked_waveform,
    with_audio,
)
from coprop_plugin.errors import AudioLLMError, CutOffAnswerError
from coprop_plugin.registry import AUDIO_LLMS

_SCHEMA_WORDS = ("response_format", "schema", "structured", "guided", "grammar")

logger = logging.getLogger(__name__)


@AUDIO_LLMS.register_module(name=["OpenAICompatibleLLM", "openai_compatible"])
class OpenAICompatibleLLM:
    """Client for `POST {base_url}/chat/completions`: vLLM, SGLang, a hosted service.

    The audio is sent as a 16-bit wav (`input_audio`). A `schema` is sent as `response_format`; if
    the server rejects it, the request is repeated without it. Some servers accept a schema and
    ignore it, so check the replies in any case.

    Args:
        model_id: Name of the model on the server.
        base_url: The address before `/chat/completions`. It is not part of the cache key of
            `CachedLLM`: two servers of one model share their answers.
        api_key_env: The environment variable with the key, if the server needs one. It has its own
            name so that another service's key is not sent to a server by accident.
        max_audio_s: The longest audio that is sent, in seconds. Most audio encoders take 30 s, and
            servers truncate longer audio silently; give more, or None, if yours takes more.
        sample_rate: Of the wav that is sent, in Hz.
        max_tokens: Maximum length of a reply; a longer one is an error.
        temperature: 0 is greedy decoding.
        seed: None leaves it out, for servers that do not know it.
        extra_body: More fields of the request, as JSON; None removes a field:
            `{"max_tokens": None, "max_completion_tokens": 512}`.
        timeout_s: For one request as a whole, in seconds.
        retries: How often a request is repeated after a lost connection, a timeout, or a status
            408, 429 or 5xx.
        backoff_s: The first wait before a repeat; it doubles each time. `Retry-After` is honoured.
        max_wait_s: The longest wait; if a server asks for more, that is an error.
        concurrency: Maximum number of simultaneous requests of this client.
        max_reply_bytes: The longest reply that is read.

    Raises:
        AudioLLMError: If the address is not valid, or holds a user, a password or a query.

    Example:
        >>> llm = OpenAICompatibleLLM("Qwen/Qwen2-Audio-7B-Instruct", "http://localhost:8000/v1")
        >>> llm
        OpenAICompatibleLLM('Qwen/Qwen2-Audio-7B-Instruct', 'http://localhost:8000/v1')
    """

    name = "openai_compatible"

    def __init__(
        self,
        model_id: str,
        base_url: str = "http://localhost:8000/v1",
        *,
        api_key_env: str = "COPROP_LLM_API_KEY",
        max_audio_s: float | None = 30.0,
        sample_rate: int = 16_000,
        max_tokens: int = 512,
        temperature: float = 0.0,
        seed: int | None = 0,
        extra_body: Mapping[str, Any] | None = None,
        timeout_s: float = 120.0,
        retries: int = 4,
        backoff_s: float = 0.5,
        max_wait_s: float = 60.0,
        concurrency: int = 4,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        if concurrency < 1:
            raise AudioLLMError(f"Expected concurrency of 1 or more, got {concurrency}.")
        self.model_id = model_id
        self.base_url = base_url.rstrip("/")
        self.max_audio_s = max_audio_s
        self.concurrency = concurrency
        self.settings: Mapping[str, Any] = {
            "sample_rate": sample_rate,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "extra_body": dict(extra_body or {}),
        }
        self._server = Server(
            f"{self.base_url}/chat/completions",
            ApiKey(api_key_env),
            timeout_s=timeout_s,
            retries=retries,
            backoff_s=backoff_s,
            max_wait_s=max_wait_s,
            max_reply_bytes=max_reply_bytes,
        )
        self._slots = threading.BoundedSemaphore(concurrency)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_slots"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._slots = threading.BoundedSemaphore(self.concurrency)

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Answer the last message; see `coprop_plugin.types.AudioLLM`.

        Raises:
            ClipError: If the waveform is not valid.
            AudioLLMError: If the waveform is longer than `max_audio_s`, the messages are not valid,
                or the server gives no answer: with the address, the status, and the beginning of
                the reply.
            CutOffAnswerError: If the answer is longer than `max_tokens`.
        """
        messages = checked_messages(messages)
        waveform = checked_waveform(waveform, sample_rate, self.max_audio_s, self.model_id)
        rate = self.settings["sample_rate"]
        wav = base64.b64encode(wav_bytes(at_rate(waveform, sample_rate, rate), rate)).decode()
        audio = {"type": "input_audio", "input_audio": {"data": wav, "format": "wav"}}
        request = self._request(with_audio(messages, audio))
        with self._slots:
            reply = self._server.post({**request, **_response_format(schema)})
            if schema is not None and _rejects_schema(reply):
                logger.info("%s rejects response_format; retrying without it.", self.base_url)
                reply = self._server.post(request)
        return self._answer(reply)

    def _request(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        fields = {
            "model": self.model_id,
            "messages": messages,
            "temperature": self.settings["temperature"],
            "seed": self.settings["seed"],
            "max_tokens": self.settings["max_tokens"],
            **self.settings["extra_body"],
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _answer(self, reply: Reply) -> str:
        described = self._server.describe(reply)
        if reply.status != 200:
            raise self._server.error(described, self._advice(reply.status))
        try:
            choice = json.loads(reply.text)["choices"][0]
            message = choice["message"]
            text = _text_of(message.get("content")) or message.get("refusal")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._server.error(
                described,
                "The reply is not a chat completion, i.e. JSON with `choices`, the first of which "
                "has a `message`. Check `base_url` (it usually ends in /v1), and whether a proxy "
                "answers instead of the server.",
            ) from None
        if choice.get("finish_reason") in ("length", "max_tokens"):
            raise self._server.error(
                described,
                "The answer was cut off (`finish_reason` is `length`), so what there is may be an "
                "intermediate thought. Raise `max_tokens`.",
                CutOffAnswerError,
            )
        if not isinstance(text, str) or not text.strip():
            raise self._server.error(
                described,
                "The message has no text. Check that the model answers in `content`.",
            )
        return text.strip()

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            return f"Put a valid key into the environment variable {self._server.key.variable}."
        if status == 404:
            return "Check that `base_url` ends in /v1 and that the server has this model."
        if status in (400, 413, 422):
            return (
                "The server rejects the request: check that this model takes audio as "
                "`input_audio`, and of this length. `extra_body` adds or removes fields."
            )
        return "Expected status 200. Check that `base_url` is that of a chat-completions server."

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_id!r}, {self.base_url!r})"


def wav_bytes(waveform: Tensor, sample_rate: int) -> bytes:
    """Return a waveform `[samples]` in [-1, 1] as a mono wav file of 16 bits.

    Example:
        >>> import torch
        >>> wav_bytes(torch.zeros(8), 16_000)[:4]
        b'RIFF'
    """
    samples = (waveform.clamp(-1, 1) * 32767).round().short().numpy()
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(sample_rate)
        wav.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _response_format(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {}
    wanted = {"name": "answer", "strict": True, "schema": dict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}


def _rejects_schema(reply: Reply) -> bool:
    text = reply.text.lower()
    return reply.status in (400, 422) and any(word in text for word in _SCHEMA_WORDS)


def _text_of(content: Any) -> Any:
    # Some servers answer in parts, like the parts of a request.
    if not isinstance(content, list):
        return content
    return "".join(part.get("text", "") for part in content)
