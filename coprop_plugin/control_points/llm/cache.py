"""Answers of a language model are kept in files: asking again costs nothing."""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.control_points.llm.resolve import as_audio_llm
from coprop_plugin.errors import AudioLLMError
from coprop_plugin.registry import AUDIO_LLMS
from coprop_plugin.types import AudioLLM

FORMAT = "coprop.answer/1"


@AUDIO_LLMS.register_module(name=["CachedLLM", "cached"])
class CachedLLM:
    """Asks a language model only what it has not been asked before.

    An answer is kept under everything that it depends on: the samples of the sound and their rate,
    client, model id and settings, the schema, and the text of every message, so that a prompt that
    was changed is a new question whatever its version is called. Each answer is one readable JSON
    file, named after the hash of its question, that appears when it is whole: several processes
    and threads may share a folder, and a process that is killed loses the call in flight alone.
    Errors are not kept.

    Args:
        llm: An `AudioLLM`, or its name or config.
        folder: Where answers are kept; made if need be.

    Attributes:
        calls: How often the model was asked.
        hits: How often the answer was there.

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

    def __init__(self, llm: AudioLLM | str | Mapping[str, Any], folder: str | Path) -> None:
        self.llm, self.folder = as_audio_llm(llm), Path(folder)
        self.calls = self.hits = 0
        self._counting = threading.Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    @property
    def name(self) -> str:
        """The client's."""
        return self.llm.name

    @property
    def model_id(self) -> str:
        """The client's."""
        return self.llm.model_id

    @property
    def max_audio_s(self) -> float | None:
        """The client's."""
        return self.llm.max_audio_s

    @property
    def settings(self) -> Mapping[str, Any]:
        """The client's."""
        return self.llm.settings

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        waveform: Tensor,
        sample_rate: int,
        *,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the kept answer, or ask and keep it.

        Raises:
            AudioLLMError: If the model gives no answer, or it cannot be kept.
        """
        question = {
            "client": self.name,
            "model_id": self.model_id,
            "settings": dict(self.settings),
            "audio": audio_hash(waveform, sample_rate),
            "messages": [dict(message) for message in messages],
            "schema": None if schema is None else dict(schema),
        }
        path = self._path(question)
        answer = _kept_answer(path)
        if answer is None:
            answer = self.llm.chat(messages, waveform, sample_rate, schema=schema)
            _keep(path, {"format": FORMAT, "answer": answer, "question": question})
            with self._counting:
                self.calls += 1
        else:
            with self._counting:
                self.hits += 1
        return answer

    def _path(self, question: Mapping[str, Any]) -> Path:
        try:
            text = json.dumps(question, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AudioLLMError(
                f"Got settings or a schema of {self.model_id} that are not JSON ({error}), so that "
                "answers cannot be kept under them. Use names, numbers and lists of them."
            ) from error
        key = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.json"


def replace_llms(provider: Any, replaced: Callable[[AudioLLM], AudioLLM]) -> None:
    """Put another client in the place of every language model that a provider asks.

    Args:
        provider: A control-point provider; those that it asks in turn (`expensive`, `fallback`,
            `providers`) are searched, too.
        replaced: Makes the new client of the old one.

    Example:
        >>> from coprop_plugin.control_points.resolve import as_provider
        >>> replace_llms(as_provider("novelty"), lambda llm: CachedLLM(llm, "answers"))
    """
    if hasattr(getattr(provider, "llm", None), "chat"):
        provider.llm = replaced(provider.llm)
    asked = [getattr(provider, "expensive", None), getattr(provider, "fallback", None)]
    for other in [*asked, *getattr(provider, "providers", ())]:
        if other is not None:
            replace_llms(other, replaced)


def audio_hash(waveform: Tensor, sample_rate: int) -> str:
    """Return what tells one sound from another: a hash of its samples and their rate.

    Example:
        >>> audio_hash(torch.zeros(8), 16_000) == audio_hash(torch.zeros(8), 8_000)
        False
    """
    samples = waveform.detach().to("cpu", torch.float32).contiguous()
    digest = hashlib.sha256(f"{int(sample_rate)} {tuple(samples.shape)} ".encode())
    digest.update(samples.numpy().tobytes())
    return digest.hexdigest()


def _kept_answer(path: Path) -> str | None:
    """Return what a file holds; None if there is none, or a disk has damaged it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    answer = content.get("answer") if isinstance(content, dict) else None
    return answer if isinstance(answer, str) and content.get("format") == FORMAT else None


def _keep(path: Path, content: Mapping[str, Any]) -> None:
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of its own name, so that processes and threads with one question do not share it.
        handle, partial = tempfile.mkstemp(".part", ".", path.parent)
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        partial = None
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> AudioLLMError:
    return AudioLLMError(
        f"Answers cannot be kept in {path}: {error.strerror or error}. Name a folder that you may "
        "write to, on a disk with room."
    )
