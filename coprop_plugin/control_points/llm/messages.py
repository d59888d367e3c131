"""What every client checks before a model is asked, and where the sound goes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.audio.resample import resample
from coprop_plugin.errors import AudioLLMError, ClipError

ROLES = ("system", "user", "assistant")

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
    plain = []
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise AudioLLMError(
                f"Got the message {str(dict(message))[:160]}; wanted a `role` out of "
                f"{', '.join(ROLES)} and a `content` that is text. The sound goes into the "
                "argument `waveform`, the client puts it in its place."
            )
        plain.append({"role": role, "content": content})
    if not plain or plain[-1]["role"] != "user":
        raise AudioLLMError(
            f"Got messages of {[message['role'] for message in plain]}; the last one must be the "
            "user's, for it is the one to be answered."
        )
    return plain


def checked_waveform(
    waveform: Tensor, sample_rate: int, max_audio_s: float | None, model_id: str
) -> Tensor:
    """Return the waveform as float32 on the CPU.

    Args:
        waveform: `[samples]`, in [-1, 1].
        sample_rate: Of the waveform, in Hz.
        max_audio_s: The longest one that the model takes, in seconds, or None. A window whose ends
            were rounded to samples may be a millisecond longer.
        model_id: For the message.

    Raises:
        ClipError: If it is no mono waveform of finite numbers, or empty.
        AudioLLMError: If it is too long.
    """
    waveform = torch.as_tensor(waveform)
    if waveform.ndim != 1 or not waveform.is_floating_point() or len(waveform) == 0:
        raise ClipError(
            f"Got a waveform of shape {list(waveform.shape)} and {waveform.dtype}; wanted mono "
            "[samples], float in [-1, 1], at least one sample. `clip.waveform` is that."
        )
    if sample_rate <= 0 or not bool(waveform.isfinite().all()):
        raise ClipError(
            f"Got a waveform of {sample_rate} Hz, {int((~waveform.isfinite()).sum())} samples of "
            "which are NaN or infinite; wanted a rate above 0 and finite samples."
        )
    length_s = len(waveform) / sample_rate
    if max_audio_s is not None and length_s > max_audio_s + _ROUNDING_S:
        raise AudioLLMError(
            f"Got {length_s:.2f} s of sound for {model_id}, which takes {max_audio_s:g} s at most "
            "and would not hear the rest. Ask about windows of at most that length, one `chat` "
            "each; control-point providers do so with `max_audio_s`."
        )
    return waveform.detach().float().cpu()


def at_rate(waveform: Tensor, sample_rate: int, wanted: int, shortest_s: float = 0.1) -> Tensor:
    """Return the waveform at another rate, with silence behind it if it is very short.

    Audio encoders have no tokens for less than a few hundredths of a second.
    """
    waveform = resample(waveform, sample_rate, wanted)
    missing = round(shortest_s * wanted) - len(waveform)
    return torch.nn.functional.pad(waveform, (0, missing)) if missing > 0 else waveform


def with_sound(messages: Sequence[Mapping[str, str]], sound: Any) -> list[dict[str, Any]]:
    """Put the sound before the text of the first user message, in the form that chats have.

    Example:
        >>> with_sound([{"role": "user", "content": "What?"}], {"type": "audio"})[0]["content"]
        [{'type': 'audio'}, {'type': 'text', 'text': 'What?'}]
    """
    placed = [dict(message) for message in messages]
    first = next(message for message in placed if message["role"] == "user")
    first["content"] = [sound, {"type": "text", "text": first["content"]}]
    return placed
