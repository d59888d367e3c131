"""The client for Qwen's audio language models on this machine."""

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.control_points.llm.flag_tokens import flag_tokens, flags_wanted
from coprop_plugin.control_points.llm.messages import (
    at_rate,
    checked_messages,
    checked_waveform,
    with_sound,
)
from coprop_plugin.control_points.llm.qwen_loading import load_model, load_processor
from coprop_plugin.errors import AudioLLMError
from coprop_plugin.registry import AUDIO_LLMS


@AUDIO_LLMS.register_module(name=["QwenAudioLLM", "qwen2_audio"])
class QwenAudioLLM:
    """Asks a Qwen2-Audio, or the thinker of a Qwen2.5-Omni or Qwen3-Omni, through transformers.

    Qwen2-Audio-7B-Instruct is the model of the paper. Weights are loaded when the first question
    is asked; one question is answered at a time. Where a `schema` wants a list of T zeros and
    ones, the model can write nothing else.

    Args:
        model_id: A name on the Hugging Face Hub, or a folder with model and processor.
        revision: Of the repository on the Hub: a commit, for answers that can be repeated.
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
        device: "cuda:1", say; None: the first GPU, if any.
        device_map: How accelerate spreads the weights, "auto" say; instead of `device`.
        load_in_4bit: Quantize the weights to 4 bits. Like `device_map` it needs the extra `llm`.
        max_audio_s: The longest sound that is taken, in seconds: 30 is what Qwen2-Audio hears;
            Qwen2.5-Omni hears 300.
        max_new_tokens: Of an answer, at most.
        temperature: 0 is greedy decoding; above it answers are drawn.
        seed: Of the draw.

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
        dtype: str = "auto",
        device: str | None = None,
        device_map: str | dict[str, Any] | None = None,
        load_in_4bit: bool = False,
        max_audio_s: float = 30.0,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.model_id = str(model_id)
        self.max_audio_s = max_audio_s
        self.settings = {
            "revision": revision,
            "dtype": dtype,
            "load_in_4bit": load_in_4bit,
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        self._placement = {"device": device, "device_map": device_map}
        self._start()

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._processor: Any = None
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy, or a worker process, loads the weights for itself when it is asked.
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
                self._check_hearing(processor.feature_extractor.chunk_length)
                self._processor = processor
            return self._processor

    def _check_hearing(self, heard_s: float) -> None:
        # The feature extractor would cut what is longer, without a word.
        if self.max_audio_s > heard_s:
            raise AudioLLMError(
                f"Got max_audio_s={self.max_audio_s:g} for {self.model_id}, which hears "
                f"{heard_s:g} s at most. Give max_audio_s={heard_s:g}, or less."
            )

    @property
    def model(self) -> Any:
        """The network; loaded when first used."""
        with self._lock:
            if self._model is None:
                chosen = {key: self.settings[key] for key in ("revision", "dtype", "load_in_4bit")}
                self._model = load_model(self.model_id, **chosen, **self._placement)
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
            ClipError: If the waveform is none.
            AudioLLMError: If the waveform is longer than `max_audio_s`, the messages are none, or
                the model hears less than that or does not fit into memory.
            CheckpointError: If the model cannot be loaded.
            MissingExtraError: If a package is needed that is not installed.
        """
        messages = checked_messages(messages)
        waveform = checked_waveform(waveform, sample_rate, self.max_audio_s, self.model_id)
        inputs = self._inputs(messages, waveform, sample_rate)
        with self._lock, _within_memory(self.model_id), _seeded(self.settings["seed"]):
            inputs = inputs.to(self.model.device, self.model.dtype)
            length = inputs["input_ids"].shape[1]
            written = self.model.generate(**inputs, **self._decoding(length, schema))
        return self.processor.tokenizer.decode(
            written[0, length:], skip_special_tokens=True
        ).strip()

    def _inputs(
        self, messages: list[dict[str, str]], waveform: Tensor, sample_rate: int
    ) -> dict[str, Tensor]:
        processor = self.processor
        self._refuse_control_tokens(messages)
        # Only its place matters here: the samples themselves go to the processor.
        placed = with_sound(messages, {"type": "audio", "audio_url": "waveform"})
        text = processor.apply_chat_template(placed, add_generation_prompt=True, tokenize=False)
        if text.count(processor.audio_token) != 1:
            raise AudioLLMError(
                f"The chat template of {self.model_id} left {text.count(processor.audio_token)} "
                f"places for one sound: {text[:200]!r}. Take the processor that belongs to the "
                "model."
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
                        f"Got a message with the control token {token!r} of {self.model_id}: "
                        f"{message['content'][:160]!r}. Write plain text; the client adds the "
                        "tokens of turns and of sound."
                    )

    def _decoding(self, prompt_length: int, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        tokenizer = self.processor.tokenizer
        config = copy.deepcopy(self.model.generation_config)
        # A checkpoint brings its own way of sampling; a penalty on repeats would spoil flags.
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
        wanted = flags_wanted(schema)
        places = wanted and flag_tokens(tokenizer, *wanted)
        if places:
            config.max_new_tokens = len(places)
            decoding["prefix_allowed_tokens_fn"] = lambda _, ids: places[len(ids) - prompt_length]
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
            f"{model_id} does not fit into the memory of its device: {str(error)[:200]} Try "
            "dtype='bfloat16', load_in_4bit=True, device_map='auto', or a smaller model."
        ) from error
