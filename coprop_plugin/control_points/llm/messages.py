"""Messages and audio of a chat: the checks that all clients share, and where the audio goes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from coprop_plugin.audio.resample import resample
from coprop_plugin.errors import AudioLLMError, ClipError

Role = Literal["system", "user", "assistant"]
"""Who wrote a message."""

_ROUNDING_S = 1e-3


def checked_messages(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the messages as plain dicts.

    Args:
        messages: `{"role": ..., "content": text}`, oldest first, the last one the user's.

    Raises:
        AudioLLMError: If they are not that.

    Example:
        >>> checked_messages([{"role": "user", "content": "What sounds here?"}])
        [{'role': 'user', 'content': 'What sounds here?'}]
    """
    plain: list[dict[str, str]] = []
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if not (role in get_args(Role) and isinstance(role, str) and isinstance(content, str)):
            raise AudioLLMError(
                f"Expected a `role` of {', '.join(get_args(Role))} and a text as `content`, got "
                f"the message {str(dict(message))[:160]}. Pass the audio as `waveform`; the client "
                "adds it to the messages."
            )
        plain.append({"role": role, "content": content})
    if not plain or plain[-1]["role"] != "user":
        raise AudioLLMError(
            "Expected messages that end with the user's, which is the one to answer, got the roles "
            f"{[message['role'] for message in plain]}."
        )
    return plain


def checked_waveform(
    waveform: Tensor, sample_rate: int, max_audio_s: float | None, model_id: str
) -> Tensor:
    """Return the waveform as float32 on the CPU.

    Args:
        waveform: `[samples]`, in [-1, 1].
        sample_rate: Of the waveform, in Hz.
        max_audio_s: The longest one that the model takes, in seconds, or None. One millisecond more
            is allowed, for windows whose ends were rounded to samples.
        model_id: For the message.

    Raises:
        ClipError: If it is not a mono waveform of finite numbers, or empty.
        AudioLLMError: If it is too long.
    """
    waveform = torch.as_tensor(waveform)
    if waveform.ndim != 1 or not waveform.is_floating_point() or len(waveform) == 0:
        raise ClipError(
            "Expected a mono waveform [samples], float in [-1, 1], with at least one sample, got "
            f"shape {list(waveform.shape)} and {waveform.dtype}. Pass `clip.waveform`."
        )
    if sample_rate <= 0 or not bool(waveform.isfinite().all()):
        raise ClipError(
            f"Expected a sample rate above 0 and finite samples, got {sample_rate} Hz and a "
            f"waveform with {int((~waveform.isfinite()).sum())} NaN or infinite samples."
        )
    length_s = len(waveform) / sample_rate
    if max_audio_s is not None and length_s > max_audio_s + _ROUNDING_S:
        raise AudioLLMError(
            f"{length_s:.2f} s of audio exceeds the {max_audio_s:g} s that {model_id} takes; it "
            "would ignore the rest. Split the audio into windows of at most that length, one "
            "`chat` each; control-point providers do so, by `max_audio_s`."
        )
    return waveform.detach().float().cpu()


def at_rate(waveform: Tensor, sample_rate: int, wanted: int, shortest_s: float = 0.1) -> Tensor:
    """Return the waveform at another rate, padded with silence to `shortest_s`.

    Audio encoders have no tokens for less than a few hundredths of a second.
    """
    waveform = resample(waveform, sample_rate, wanted)
    missing = round(shortest_s * wanted) - len(waveform)
    return torch.nn.functional.pad(waveform, (0, missing)) if missing > 0 else waveform


def with_audio(messages: Sequence[Mapping[str, str]], audio: object) -> list[dict[str, Any]]:
    """Insert the audio before the text of the first user message, as chat templates expect it.

    Example:
        >>> with_audio([{"role": "user", "content": "What?"}], {"type": "audio"})[0]["content"]
        [{'type': 'audio'}, {'type': 'text', 'text': 'What?'}]
    """
    placed: list[dict[str, Any]] = [dict(message) for message in messages]
    first = next(message for message in placed if message["role"] == "user")
    first["content"] = [audio, {"type": "text", "text": first["content"]}]
    return placed
