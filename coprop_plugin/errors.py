"""Every error that this library raises on purpose.

A message says what came, what was wanted, and what to do now. All of them are `CopropError`s, and
each is also the built-in error that a caller would have expected.
"""


class CopropError(Exception):
    """Base of all errors raised by coprop_plugin."""


class ClipError(CopropError, ValueError):
    """Frames, sound or times that do not make a clip."""


class MediaError(CopropError, ValueError):
    """A file that cannot be read as video with sound, or a result that cannot be written."""


class ControlPointError(CopropError, ValueError):
    """Control points that do not fit their clip."""


class ControlPointParseError(ControlPointError):
    """An answer or a file from which no control points can be read."""


class AudioLLMError(CopropError, RuntimeError):
    """A language model that cannot be asked or reached, or that gives no answer."""


class AdapterError(CopropError, TypeError):
    """A model that no adapter, or more than one, can wrap; or a call that cannot be made."""


class KeyframeError(CopropError, ValueError):
    """Frames, sound or options that the Keyframe Processor cannot work with."""


class PropagationError(CopropError, ValueError):
    """Frames, masks or memory that the propagator cannot work with."""


class CheckpointError(CopropError, ValueError):
    """Weights that do not fit the network they are meant for, or a file that holds none."""


class DatasetError(CopropError, ValueError):
    """A data set that is not laid out as it should be, or options that make none."""


class DatasetWarning(UserWarning):
    """A file of a data set that can be used, but not as it was meant."""


class MetricError(CopropError, ValueError):
    """Predictions and truth that cannot be compared."""


class ReportError(CopropError, ValueError):
    """A run that cannot be shown: a folder without a result, a video or truth that is not its."""


class TrainingError(CopropError, ValueError):
    """Options, data or a config that cannot be trained with."""


class WorkerError(CopropError, RuntimeError):
    """A process that could not make the model it was to work with."""


class LimitError(CopropError, ValueError):
    """A resource limit in the environment that is no number; see the module `limits`."""


class UnknownNameError(CopropError, LookupError):
    """A name that no registry knows; the message lists the known ones."""


class MissingExtraError(CopropError, ImportError):
    """An optional package that is not installed; the message has the pip line."""
