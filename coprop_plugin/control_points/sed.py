"""Control points from sound-event detection: where the set of active categories changes."""

from pathlib import Path
from typing import Any

import torch

from coprop_plugin.control_points.listening.activity_spans import Spans, active_sets
from coprop_plugin.control_points.listening.detectors import Detector
from coprop_plugin.control_points.listening.listener import Listener, Names, as_listener
from coprop_plugin.control_points.listening.speech import SPEECH
from coprop_plugin.control_points.llm.resolve import LLMSource, as_audio_llm
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.types.timeline import change_frames, segment_starts_s, states_of_frames


@PROVIDERS.register_module(name=["SoundEventProvider", "sed"])
class SoundEventProvider:
    """Control points where the set of categories that a detector finds changes.

    Each category is active around the moments at which its probability reaches `threshold`, for as
    long as it stays above `release` (two thresholds, so that it does not flicker). Gaps shorter
    than 0.5 s are filled, activity shorter than 0.1 s is dropped. Frames are never marked silent: a
    detector does not know every sound.

    Args:
        detector: An id or a folder, see `load_detector`; or a detector. It is loaded when it is
            first used.
        categories: The categories to detect: names, or a function that returns those of a clip.
            None: those that `llm` names; without `llm`, all labels of an audio spectrogram
            transformer. PE-A-Frame needs categories.
        llm: Language model that names the categories of each clip if `categories` is None: an
            `AudioLLM`, its registered name, its config, or a function. If it names none, there is
            one segment.
        threshold: The probability that turns a category on. Released models are calibrated for
            0.3 to 0.5.
        release: The probability below which it is off; None is half of `threshold`.
        hop_s: From window to window, for detectors that label windows.
        window_s: Length of such a window.
        local_files_only: Whether to download nothing.
        device: Device of the detector; None is the CPU.

    Raises:
        ControlPointError: If the thresholds are not 0 < release <= threshold < 1.

    Example:
        >>> provider = SoundEventProvider("facebook/pe-a-frame-small", ["dog", "violin"])
        >>> provider.propose(clip).log["spans"]  # doctest: +SKIP
        {'dog': [[0.0, 2.04]], 'violin': [[1.96, 5.0]]}
    """

    def __init__(
        self,
        detector: str | Path | Detector = "facebook/pe-a-frame-small",
        categories: Names | None = None,
        llm: LLMSource | None = None,
        threshold: float = 0.3,
        release: float | None = None,
        *,
        hop_s: float = 0.25,
        window_s: float = 1.0,
        local_files_only: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        self.listener = Listener(
            detector,
            categories,
            llm=None if llm is None else as_audio_llm(llm),
            threshold=threshold,
            release=release,
            hop_s=hop_s,
            window_s=window_s,
            local_files_only=local_files_only,
            device=device,
            as_labels=True,
        )

    def load_models(self) -> None:
        """Load the detector now; see `LazyPart`."""
        self.listener.load_models()

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames at which the set of active categories changes.

        Raises:
            ClipError: If the clip has no waveform.
            CheckpointError: If the detector cannot be loaded.
            ControlPointError: If a detector that needs categories has none.
            AudioLLMError: If the language model gives no answer.
            ControlPointParseError: If its answer names no categories.
        """
        heard = self.listener.listen(clip)
        return _points(heard.spans, clip, "sed", {**heard.log})


@PROVIDERS.register_module(name=["ListenerProvider", "listener"])
class ListenerProvider:
    """Control points where the set of words that a `Listener` hears changes, and their names.

    As `SoundEventProvider`, with words for visible things instead of a detector's labels: "dog" is
    each of AudioSet's labels for sounds of dogs. The segments are named (`ControlPoints.sounds`),
    so that the backend `open_vocabulary` need not listen again.

    Args:
        detector: As for `Listener`, like the other arguments; or a `Listener`.
        **options: See `Listener`; not with a `Listener`.

    Raises:
        ControlPointError: If the options are not valid.

    Example:
        >>> ListenerProvider("speech").propose(clip).log["spans"]  # doctest: +SKIP
        {'person': [[0.32, 2.08]]}
    """

    def __init__(self, detector: str | Path | Detector | Listener, **options: Any) -> None:
        self.listener = as_listener(detector, **options)

    def load_models(self) -> None:
        """Load the detectors now; see `LazyPart`."""
        self.listener.load_models()

    def propose(self, clip: Clip) -> ControlPoints:
        """Return the frames at which the set of words changes.

        Raises:
            ClipError: If the clip has no waveform.
            CheckpointError: If the detector cannot be loaded.
            ControlPointError: If the detector does not know a word.
        """
        heard = self.listener.listen(clip)
        points = _points(heard.spans, clip, "listener", {**heard.log})
        return heard.name(points, clip)


@PROVIDERS.register_module(name=["SpeechProvider", "speech"])
class SpeechProvider(ListenerProvider):
    """Control points where speech begins and ends, found by silero-vad without a download.

    Alone it misses every other sound; as the expensive part of a `gate` it confirms or drops the
    uncertain changes of `novelty` in recordings of people.

    Args:
        threshold: The probability of speech that turns it on.
        release: The probability below which it is off; None is half of `threshold`.

    Example:
        >>> from coprop_plugin.control_points import as_provider
        >>> as_provider({"type": "gate", "expensive": "speech"}).expensive.listener.threshold
        0.5
    """

    def __init__(self, threshold: float = 0.5, release: float | None = None) -> None:
        super().__init__(SPEECH, threshold=threshold, release=release)


def _points(spans: Spans, clip: Clip, source: str, log: dict[str, Any]) -> ControlPoints:
    """Return the frames at which the set of active names changes."""
    boundaries, states = active_sets(spans)
    seen = states_of_frames(boundaries, clip, states)
    starts_s = segment_starts_s(boundaries, clip, states, seen)
    frames = change_frames(seen)
    return ControlPoints.from_indices(frames, clip.num_frames, source, log, starts_s=starts_s)
