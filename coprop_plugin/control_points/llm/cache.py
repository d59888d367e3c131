"""Cache of a language model's answers in JSON lines, shared by processes."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from coprop_plugin.control_points.llm.resolve import LLMSource, as_audio_llm
from coprop_plugin.errors import AudioLLMError
from coprop_plugin.media.json_lines import JsonLines
from coprop_plugin.registry import AUDIO_LLMS
from coprop_plugin.types import AudioLLM, ControlPointProvider

FORMAT = "coprop.answer/2"


@AUDIO_LLMS.register_module(name=["CachedLLM", "cached"])
class CachedLLM:
    """An audio language model whose answers are stored, so that each question is asked once.

    The key of an answer is everything that it depends on: the samples of the audio and their rate,
    client, model id and settings, the schema, and the text of every message; an edited prompt is
    therefore a new question, whatever its version is called. Answers are JSON lines in 16 files,
    named after the first digit of their key. Several processes and threads may share a folder, and
    a killed process loses only the call in flight. Errors are not stored.

    Args:
        llm: An `AudioLLM`, its registered name, its config, or a function.
        folder: Where answers are stored; made if it does not exist.

    Attributes:
        calls: How often the model was called.
        hits: How often the answer was stored already.

    Raises:
        AudioLLMError: If the folder cannot be made.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> llm = CachedLLM(dict(type="callable", function=lambda *_: "a dog"), folder)
        >>> question = [{"role": "user", "content": "What sounds here?"}]
        >>> [llm.chat(question, torch.zeros(16_000), 16_000) for _ in range(2)], llm.calls
        (['a dog', 'a dog'], 1)
    """

    def __init__(self, llm: LLMSource, folder: str | Path) -> None:
        self.llm, self.folder = as_audio_llm(llm), Path(folder)
        self.name, self.model_id = self.llm.name, self.llm.model_id
        self.max_audio_s, self.settings = self.llm.max_audio_s, self.llm.settings
        self.calls = self.hits = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioLLMError(
                f"Answers cannot be stored in {self.folder}: {error.strerror or error}. Name a "
                "folder that may be written, on a disk with room."
            ) from error
        self._files = {
            digit: JsonLines(self.folder / f"{digit}.jsonl", AudioLLMError)
            for digit in "0123456789abcdef"
        }
        self._answers: dict[str, str] = {}
        self._lock = threading.Lock()

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the stored answer, or call the model and store its answer.

        Raises:
            AudioLLMError: If the model gives no answer, or it cannot be stored.
        """
        question = {
            "client": self.name,
            "model_id": self.model_id,
            "settings": dict(self.settings),
            "audio": audio_hash(waveform, sample_rate),
            "messages": [dict(message) for message in messages],
            "schema": None if schema is None else dict(schema),
        }
        key = self._key(question)
        answer = self._stored(key)
        if answer is not None:
            with self._lock:
                self.hits += 1
            return answer
        answer = self.llm.chat(messages, waveform, sample_rate, schema=schema)
        record = {"format": FORMAT, "key": key, "answer": answer, "question": question}
        self._files[key[0]].append(record)
        with self._lock:
            self._answers[key] = answer
            self.calls += 1
        return answer

    def _key(self, question: Mapping[str, Any]) -> str:
        try:
            text = json.dumps(question, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AudioLLMError(
                f"The settings or the schema of {self.model_id} are not JSON ({error}), so its "
                "answers have no key. Use texts, numbers and lists of them."
            ) from error
        return hashlib.sha256(text.encode()).hexdigest()

    def _stored(self, key: str) -> str | None:
        with self._lock:
            if key not in self._answers:
                # Other processes may have stored it meanwhile.
                records = self._files[key[0]].read_new()
                self._answers |= {r["key"]: r["answer"] for r in records if _is_answer(r)}
            return self._answers.get(key)


def _is_answer(record: Mapping[str, Any]) -> bool:
    texts = (record.get("key"), record.get("answer"))
    return record.get("format") == FORMAT and all(isinstance(text, str) for text in texts)


@runtime_checkable
class UsesLLM(Protocol):
    """A provider that calls a language model."""

    llm: AudioLLM


@runtime_checkable
class UsesProviders(Protocol):
    """A provider that calls other providers."""

    @property
    def providers(self) -> Sequence[ControlPointProvider]:
        """The providers that it calls."""
        ...


def replace_llms(
    provider: ControlPointProvider, replacement: Callable[[AudioLLM], AudioLLM]
) -> None:
    """Replace every language model that a provider calls, in place.

    Args:
        provider: A control-point provider; the `providers` that it calls are searched, too.
        replacement: Makes the new client from the old one.

    Example:
        >>> from coprop_plugin.control_points import as_provider
        >>> replace_llms(as_provider("novelty"), lambda llm: CachedLLM(llm, "answers"))
    """
    if isinstance(provider, UsesLLM) and hasattr(provider.llm, "chat"):
        provider.llm = replacement(provider.llm)
    if isinstance(provider, UsesProviders):
        for other in provider.providers:
            replace_llms(other, replacement)


def audio_hash(waveform: Tensor, sample_rate: int) -> str:
    """Return a hash of the samples of a waveform and their rate.

    Example:
        >>> audio_hash(torch.zeros(8), 16_000) == audio_hash(torch.zeros(8), 8_000)
        False
    """
    samples = waveform.detach().to("cpu", torch.float32).contiguous()
    digest = hashlib.sha256(f"{int(sample_rate)} {tuple(samples.shape)} ".encode())
    digest.update(samples.numpy().tobytes())
    return digest.hexdigest()
