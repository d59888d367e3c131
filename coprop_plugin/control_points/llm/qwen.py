"""Client for Qwen's audio language models on this machine."""

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from coprop_plugin.control_points.llm.flag_tokens import flag_tokens, requested_flags
from coprop_plugin.control_points.llm.messages import (
    at_rate,
    checked_messages,
    checked_waveform,
    with_audio,
)
from coprop_plugin.control_points.llm.qwen_loading import DType, load_model, load_processor
from coprop_plugin.errors import AudioLLMError, CutOffAnswerError
from coprop_plugin.registry import AUDIO_LLMS


@AUDIO_LLMS.register_module(name=["QwenAudioLLM", "qwen2_audio"])
class QwenAudioLLM:
    """A Qwen2-Audio, or the thinker of a Qwen2.5-Omni or Qwen3-Omni, through transformers.

    The paper uses "Qwen" and names no version; Qwen2-Audio-7B-Instruct is our default. Weights are
    loaded at the first `chat`; one question is answered at a time. If a `schema` asks for a list of
    T zeros and ones, decoding is constrained to that.

    Args:
        model_id: A name on the Hugging Face Hub, or a folder with model and processor.
        revision: Of the repository on the Hub; a commit makes answers reproducible.
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
        device: E.g. "cuda:1"; None: the first GPU, if any.
        device_map: How accelerate distributes the weights, e.g. "auto"; instead of `device`.
        load_in_4bit: Quantize the weights to 4 bits. Like `device_map` it needs the extra `llm`.
        max_audio_s: The longest audio that is accepted, in seconds. Qwen2-Audio takes 30 s,
            Qwen2.5-Omni 300 s.
        max_new_tokens: Maximum length of an answer; a longer one is an error.
        temperature: 0 is greedy decoding; above 0, answers are sampled.
        seed: Of the sampling.

    Example:
        >>> llm = QwenAudioLLM("Qwen/Qwen2-Audio-7B-Instruct", dtype="bfloat16")  # loads nothing
        >>> llm.settings["temperature"]
        0.0
    """

    name = "qwen2_audio"

    def __init__(
        self,
        model_id: str = "Qwen/Qwen2-Audio-7B-Instruct",
        *,
        revision: str | None = None,
        dtype: DType = "auto",
        device: str | None = None,
        device_map: str | Mapping[str, Any] | None = None,
        load_in_4bit: bool = False,
        max_audio_s: float = 30.0,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.model_id = str(model_id)
        self.max_audio_s: float | None = max_audio_s
        self.settings: Mapping[str, Any] = {
            "revision": revision,
            "dtype": dtype,
            "load_in_4bit": load_in_4bit,
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        self._device, self._device_map = device, device_map
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._processor: Any = None
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy, or a worker process, loads the weights itself at its first `chat`.
        own = {"_lock", "_processor", "_model"}
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def processor(self) -> Any:
        """Tokenizer, chat template and feature extractor; loaded when first used."""
        with self._lock:
            if self._processor is None:
                processor = load_processor(self.model_id, self.settings["revision"])
                self._check_max_audio(processor.feature_extractor.chunk_length)
                self._processor = processor
            return self._processor

    def _check_max_audio(self, limit_s: float) -> None:
        # The feature extractor would truncate longer audio silently.
        if self.max_audio_s is not None and self.max_audio_s > limit_s:
            raise AudioLLMError(
                f"max_audio_s={self.max_audio_s:g} exceeds the {limit_s:g} s that {self.model_id} "
                f"takes. Set max_audio_s={limit_s:g}, or less."
            )

    @property
    def model(self) -> Any:
        """The network; loaded when first used."""
        with self._lock:
            if self._model is None:
                self._model = load_model(
                    self.model_id,
                    self.settings["revision"],
                    dtype=self.settings["dtype"],
                    device=self._device,
                    device_map=self._device_map,
                    load_in_4bit=self.settings["load_in_4bit"],
                )
            return self._model

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
                `max_audio_s` exceeds what the model takes, or it does not fit into memory.
            CutOffAnswerError: If the answer is longer than `max_new_tokens`.
            CheckpointError: If the model cannot be loaded.
            MissingExtraError: If a package is missing.
        """
        messages = checked_messages(messages)
        waveform = checked_waveform(waveform, sample_rate, self.max_audio_s, self.model_id)
        inputs = self._inputs(messages, waveform, sample_rate)
        with self._lock, _within_memory(self.model_id), _seeded(self.settings["seed"]):
            inputs = inputs.to(self.model.device, self.model.dtype)
            length = inputs["input_ids"].shape[1]
            decoding = self._decoding(length, schema)
            output = self.model.generate(**inputs, **decoding)
        tokens = output[0, length:]
        text = cast(str, self.processor.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
        if int(tokens[-1]) not in decoding["generation_config"].eos_token_id:
            raise CutOffAnswerError(
                f"The answer of {self.model_id} was cut off after {len(tokens)} tokens, so what "
                f"there is may be an intermediate thought: {text[-160:]!r}. Raise `max_new_tokens`."
            )
        return text

    def _inputs(self, messages: list[dict[str, str]], waveform: Tensor, sample_rate: int) -> Any:
        """Return the processor's `BatchFeature`: token ids and audio features."""
        processor = self.processor
        self._refuse_control_tokens(messages)
        # Only its position matters here: the samples themselves go to the processor.
        placed = with_audio(messages, {"type": "audio", "audio_url": "waveform"})
        text = processor.apply_chat_template(placed, add_generation_prompt=True, tokenize=False)
        if text.count(processor.audio_token) != 1:
            raise AudioLLMError(
                f"The chat template of {self.model_id} has {text.count(processor.audio_token)} "
                f"audio tokens for one waveform: {text[:200]!r}. Use the processor that belongs to "
                "the model."
            )
        rate = processor.feature_extractor.sampling_rate
        samples = at_rate(waveform, sample_rate, rate).numpy()
        return processor(
            text=[text], audio=[samples], sampling_rate=rate, return_tensors="pt", padding=True
        )

    def _refuse_control_tokens(self, messages: list[dict[str, str]]) -> None:
        for message in messages:
            for token in self.processor.tokenizer.all_special_tokens:
                if token in message["content"]:
                    raise AudioLLMError(
                        f"Expected plain text, got a message with the control token {token!r} of "
                        f"{self.model_id}: {message['content'][:160]!r}. Remove it; the client "
                        "adds the tokens of turns and of audio."
                    )

    def _decoding(self, prompt_length: int, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        tokenizer = self.processor.tokenizer
        config = copy.deepcopy(self.model.generation_config)
        # Override the checkpoint's sampling options; a repetition penalty would distort flags.
        # These are the values that mean "off": None would mean the checkpoint's.
        config.repetition_penalty, config.no_repeat_ngram_size = 1.0, 0
        config.num_beams, config.top_k, config.top_p = 1, 50, 1.0
        config.do_sample = self.settings["temperature"] > 0
        config.temperature = self.settings["temperature"] if config.do_sample else 1.0
        config.max_new_tokens, config.max_length = self.settings["max_new_tokens"], None
        config.eos_token_id = sorted({*_ids(config.eos_token_id), *_ids(tokenizer.eos_token_id)})
        if config.pad_token_id is None:
            config.pad_token_id = (_ids(tokenizer.pad_token_id) or config.eos_token_id)[0]
        decoding: dict[str, Any] = {"generation_config": config}
        requested = requested_flags(schema)
        allowed = flag_tokens(tokenizer, *requested) if requested else None
        if allowed:
            allowed = [*allowed, config.eos_token_id]
            config.max_new_tokens = len(allowed)
            decoding["prefix_allowed_tokens_fn"] = lambda _, ids: allowed[len(ids) - prompt_length]
        return decoding

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_id!r}, {self.settings})"


def _ids(token_ids: int | Sequence[int] | None) -> list[int]:
    if token_ids is None:
        return []
    return [token_ids] if isinstance(token_ids, int) else list(token_ids)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


@contextmanager
def _within_memory(model_id: str) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise AudioLLMError(
            f"{model_id} does not fit into the memory of its device: {str(error)[:200]} Use "
            "dtype='bfloat16', load_in_4bit=True, device_map='auto', or a smaller model."
        ) from error
