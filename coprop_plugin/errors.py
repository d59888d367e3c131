"""Every error that this library raises on purpose.

A message says what was expected, what was given, and what to do. All of them are `CopropError`s,
and each is also the built-in error that a caller would expect.
"""

import difflib
from collections.abc import Iterable, Sequence


class CopropError(Exception):
    """Base of all errors raised by coprop_plugin."""


class ClipError(CopropError, ValueError):
    """Frames, audio or times that do not make a clip."""


class ClipWarning(UserWarning):
    """A clip that can be used, but not in the intended way."""


class MediaError(CopropError, ValueError):
    """A file that cannot be read as video with sound, or a result that cannot be written."""


class ControlPointError(CopropError, ValueError):
    """Control points that do not fit their clip."""


class ControlPointWarning(UserWarning):
    """Control points that can be used, but hardly as they were meant."""


class ControlPointParseError(ControlPointError):
    """An answer or a file from which no control points can be read."""


class AudioLLMError(CopropError, RuntimeError):
    """A language model that cannot be used or reached, or that gives no answer."""


class CutOffAnswerError(AudioLLMError):
    """An answer of a language model that reached the limit of its length."""


class AdapterError(CopropError, TypeError):
    """A model that no adapter, or more than one, can wrap; or a call that cannot be made."""


class AdapterWarning(UserWarning):
    """What a wrapped model returns can be used, but is hardly meant."""


class KeyframeError(CopropError, ValueError):
    """Frames, audio or options that the Keyframe Processor cannot use."""


class PropagationError(CopropError, ValueError):
    """Frames, masks or memory that the propagator cannot use."""


class CheckpointError(CopropError, ValueError):
    """Weights that do not fit their network, or a file without weights."""


class DownloadError(CheckpointError):
    """Weights that are not on this machine and cannot be downloaded."""


class DatasetError(CopropError, ValueError):
    """A data set with another layout than expected, or options that do not fit it."""


class DatasetWarning(UserWarning):
    """A file of a data set that can be used, but not in the intended way."""


class MetricError(CopropError, ValueError):
    """Predictions and truth that cannot be compared."""


class ReportError(CopropError, ValueError):
    """A run that cannot be reported: a folder without a result, or another run's video or truth."""


class DeviceError(CopropError, RuntimeError):
    """A device that this machine does not have, or that holds no numbers."""


class TrainingError(CopropError, ValueError):
    """Options, data or a config that cannot be used for training."""


class WorkerError(CopropError, RuntimeError):
    """A worker process failed to build its model."""


class LimitError(CopropError, ValueError):
    """A resource limit in the environment that is not a number; see the module `limits`."""


class UnknownNameError(CopropError, LookupError):
    """A name that is not registered; the message lists the registered ones."""


class ArgumentError(CopropError, TypeError):
    """A registered part that lacks an argument, or does not take one; the message names it."""


class MissingExtraError(CopropError, ImportError):
    """An optional package that is not installed; the message has the pip line."""


def short_reason(error: BaseException, limit: int | None = 300) -> str:
    r"""Return an error's message on one line, its class where the message is empty.

    Args:
        error: The error.
        limit: The length the message is cut to; None keeps all of it.

    Example:
        >>> short_reason(ValueError("broken\n  at line 3")), short_reason(KeyError())
        ('broken at line 3', 'KeyError')
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if limit is None or len(text) <= limit else f"{text[: limit - 3]}..."


def some_names(names: Sequence[str], limit: int = 8) -> str:
    """Return the first names of many, and the number of the others, for a message.

    Example:
        >>> some_names(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that names what is spelt nearly like a name; "" if nothing is.

    Example:
        >>> did_you_mean("AdamV", ["SGD", "Adam"])
        ' Did you mean Adam?'
    """
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""
