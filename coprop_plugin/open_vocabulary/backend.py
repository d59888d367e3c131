"""The keyframe backend `open_vocabulary`: a listener names what sounds, a finder locates it."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from coprop_plugin.checkpoints import checkpoint_of
from coprop_plugin.control_points.listening.listener import Listener, as_listener
from coprop_plugin.control_points.listening.visible_words import VISIBLE
from coprop_plugin.control_points.sed import ListenerProvider
from coprop_plugin.errors import KeyframeError
from coprop_plugin.layers import checked_device
from coprop_plugin.open_vocabulary.finder_loading import load_finder
from coprop_plugin.open_vocabulary.instances import Finder, Instance
from coprop_plugin.open_vocabulary.motion import sounding_instances
from coprop_plugin.propagation import Sam3Propagator
from coprop_plugin.registry import MODELS
from coprop_plugin.types import (
    ABSENT_LOGIT,
    AVSBENCH_INSTANT_S,
    Clip,
    ControlPoints,
    Propagator,
    Sounds,
)

Among = Literal["all", "moving"]
"""Which of several instances of a word are taken; see `OpenVocabulary`."""

BACKGROUND = "background"
NOTHING = "nothing that has a name"
"""The one class of a clip in which nothing was named."""


@MODELS.register_module(name="open_vocabulary")
class OpenVocabulary:
    """Eq. (2) without an AVS model: what sounds, by name, and where that is in the picture.

    A `Listener` names what sounds in each segment; a `Finder` finds these words in the segment's
    keyframe. The classes of a clip are the words that are heard in it, or `words`, if they are
    given. Control points that name what sounds (`ControlPoints.sounds`) are taken at their word, so
    that the provider `listener`, or a person, and this backend need one pass over the sound
    together.

    A word that sounds and is not in the picture gives an empty mask, and is named as `off_screen`
    in `result.json`.

    Args:
        listener: Names what sounds: what `load_detector` takes ("ast", "pe_a_frame", "clap", an
            id, a folder, "speech"), the arguments of a `Listener` as a mapping, or a `Listener`.
        finder: Finds the words: what `load_finder` takes ("clipseg", "owlv2+sam2", "sam3"), or a
            `Finder`. Models are loaded when they are first used.
        words: The words to listen for, e.g. `["dog", "violin"]`: then these are the classes of
            every clip. None: about eighty visible things.
        instances: How many instances of a word are told apart, as classes "dog", "dog 2" from left
            to right in each keyframe; 1 makes one object of all.
        among: `"all"` instances of a word sound, or the `"moving"` one alone, whose motion goes
            with the sound, where that can be told.
        least_score: The score from which the finder's finds count; None is its own.
        device: Device of the models; None is a GPU if there is one.
        dtype: Precision of the finder's models, e.g. "bfloat16".
        local_files_only: Whether to download nothing.

    Attributes:
        control_points: The provider that shares the pass over the sound.

    Raises:
        KeyframeError: If an option is out of range.

    Example:
        >>> backend = OpenVocabulary("ast", "owlv2+sam2", words=["dog", "violin"])
        >>> backend.class_names
        ('background', 'dog', 'violin')
        >>> wrap(backend).segment("street.mp4")  # doctest: +SKIP
    """

    frames_at_once = 8

    def __init__(
        self,
        listener: str | Path | Mapping[str, Any] | Listener = "ast",
        finder: str | Path | Finder = "clipseg",
        words: Sequence[str] | None = None,
        *,
        instances: int = 1,
        among: Among = "all",
        least_score: float | None = None,
        device: torch.device | str | None = None,
        dtype: str = "float32",
        local_files_only: bool = False,
    ) -> None:
        if instances < 1 or among not in get_args(Among) or isinstance(words, str):
            raise KeyframeError(
                "Expected instances of 1 or more, among='all' or 'moving', and a list of words, "
                f"got {instances}, {among!r} and {words!r}."
            )
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise KeyframeError(f"Expected dtype as 'float32' or 'bfloat16', got {dtype!r}.")
        self.words = None if words is None else tuple(dict.fromkeys(words))
        self.listener = as_listener(
            listener, words=words, local_files_only=local_files_only, device=device
        )
        if words is not None and self.listener.words is None:
            self.listener = self.listener.with_words(words)
        self.control_points = ListenerProvider(self.listener)
        self._finder = finder
        self._tracker: Sam3Propagator | None = None
        self._loading: dict[str, Any] = dict(
            least_score=least_score, local_files_only=local_files_only
        )
        self._dtype, self._device = getattr(torch, dtype), device
        self.instances, self.among = instances, among

    @property
    def context(self) -> str | None:
        """`"frame"`, unless motion around the keyframe counts."""
        return "frame" if self.among == "all" else None

    @property
    def finder(self) -> Finder:
        """What finds the words; loaded when it is first used.

        Raises:
            CheckpointError: If it cannot be loaded.
        """
        if isinstance(self._finder, str | Path):
            place = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
            self._finder = load_finder(
                self._finder,
                device=place,
                dtype=self._dtype,
                tracker=self._tracker,
                **self._loading,
            )
        return self._finder

    def share_model(self, propagator: Propagator) -> None:
        """Use the image encoder of a `sam3` propagator of the finder's checkpoint: one in memory.

        Nothing happens with another propagator, or once the finder is loaded.
        """
        if not isinstance(propagator, Sam3Propagator) or not isinstance(self._finder, str | Path):
            return
        whole = propagator.image_size == propagator.released_size
        if whole and checkpoint_of(self._finder) == propagator.checkpoint:
            self._tracker = propagator

    def load_models(self) -> None:
        """Load the models now; see `LazyPart`."""
        self.listener.load_models()
        self.finder  # noqa: B018  # The property loads it.

    def to(self, device: torch.device | str) -> "OpenVocabulary":
        """Load the models on a device; those that are loaded already stay where they are."""
        self._device = self.listener.device = checked_device(device)
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes of any clip: of `words`, or of all visible things."""
        return class_names_of(self.words or tuple(VISIBLE), self.instances)

    @property
    def num_classes(self) -> int:
        """How many they are, with the background."""
        return len(self.class_names)

    def name_sounds(self, clip: Clip, points: ControlPoints) -> ControlPoints:
        """Return control points with the names of all segments; listens where one is missing."""
        sounds = points.sounds or Sounds({})
        if self.words is not None:
            sounds = replace(sounds, classes=tuple(dict.fromkeys([*self.words, *sounds.classes])))
        points = replace(points, sounds=sounds)
        if set(points.indices) <= set(sounds.named):
            return points
        known = clip.words if clip.words is not None else points.words
        if known is not None:
            # A language model or a person has named the clip as a whole.
            named = {t: sounds.named.get(t, tuple(known)) for t in points.indices}
            return replace(points, sounds=replace(sounds, named=named))
        heard = self.listener.listen(clip)
        return replace(heard.name(points, clip), log={**heard.log, **points.log})

    def for_clip(self, points: ControlPoints, times: Tensor) -> "ClipVocabulary":
        """Return the backend of one clip; see `NamingBackend`."""
        return ClipVocabulary(self, points, times)

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment frames of a clip without control points: each by what sounds in its window.

        Returns:
            Logits `[K, C, H, W]` of the classes of any clip.
        """
        indices = clip.checked(indices)
        if clip.words is not None:
            named = {t: tuple(clip.words) for t in indices}
        else:
            heard, ends_s = self.listener.listen(clip), clip.listening_times.tolist()
            named = {
                t: heard.between(ends_s[t] - AVSBENCH_INSTANT_S, ends_s[t] + 0.0375)
                for t in indices
            }
        known = self.words or tuple(VISIBLE)
        named = {t: tuple(w for w in words if w in known) for t, words in named.items()}
        flags = torch.ones(clip.num_frames)
        points = ControlPoints(flags, sounds=Sounds(named, classes=known))
        return self.for_clip(points, clip.times).segment_keyframes(clip, indices)


class ClipVocabulary:
    """The backend of one clip: its classes are the words of the clip.

    Args:
        parent: Finds the words.
        points: Named control points of the whole clip.
        times: `[T]`, of every frame in seconds.

    Attributes:
        found: By frame that was segmented: `objects`, the score and the boxes of each word; and
            `off_screen`, the words that sound and were not found.
    """

    def __init__(self, parent: OpenVocabulary, points: ControlPoints, times: Tensor) -> None:
        self._parent, self._points, self._times = parent, points, times
        self._sounds = points.sounds or Sounds({})
        self.class_names = class_names_of(self._sounds.classes, parent.instances)
        self.num_classes = len(self.class_names)
        self.context, self.frames_at_once = parent.context, parent.frames_at_once
        self.found: dict[int, Mapping[str, Any]] = {}

    def segment_keyframes(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Segment frames; returns logits `[K, C, H, W]`, 0 for the background."""
        logits = torch.full((len(indices), self.num_classes, *clip.size), ABSENT_LOGIT)
        logits[:, 0] = 0
        for row, index in zip(logits, clip.checked(indices), strict=True):
            self._fill(row, clip, index)
        return logits

    def names(self, frame: int) -> tuple[str, ...]:
        """Return what sounds in the segment that a frame of the whole clip lies in."""
        starts = self._points.indices
        start = starts[bisect_right(starts, frame) - 1]
        return self._sounds.named.get(start, ())

    def _end_s(self, frame: int) -> float:
        """Return when the segment of a frame ends: the time of the next one's first frame."""
        starts = self._points.indices
        following = starts[bisect_right(starts, frame) :]
        return float(self._times[following[0]]) if following else math.inf

    def _fill(self, row: Tensor, clip: Clip, index: int) -> None:
        """Write the logits of one frame, and note what was found."""
        frame = int((self._times - clip.times[index]).abs().argmin())
        words = self.names(frame)
        objects, off_screen = {}, []
        for word, instances in self._instances(clip, index, frame, words).items():
            if not instances:
                off_screen.append(word)
                continue
            objects[word] = {
                "score": round(max(one.score for one in instances), 3),
                "boxes": [[round(n, 1) for n in one.box] for one in instances],
            }
            first = self.class_names.index(word)
            for n, one in enumerate(instances):
                place = first + min(n, self._parent.instances - 1)
                inside = one.logits.to(row).clamp(ABSENT_LOGIT, -ABSENT_LOGIT)
                row[place] = torch.maximum(row[place], inside)
        self.found[frame] = {"objects": objects, "off_screen": off_screen}

    def _instances(
        self, clip: Clip, index: int, frame: int, words: Sequence[str]
    ) -> dict[str, list[Instance]]:
        """Return the instances of each word that sounds, from left to right if they count."""
        drawn = self._sounds.boxes.get(frame, {})
        if not words and not drawn:
            return {}
        finder, picture = self._parent.finder, clip.rgb([index])[0]
        sought = [word for word in words if word not in drawn]
        found = dict(zip(sought, finder.find(picture, sought) if sought else (), strict=True))
        if self._parent.among == "moving":
            until_s = self._end_s(frame)
            found = {w: sounding_instances(clip, index, e, until_s) for w, e in found.items()}
        found |= {w: finder.in_boxes(picture, w, boxes) for w, boxes in drawn.items() if boxes}
        if self._parent.instances > 1:
            found = {w: sorted(each, key=lambda one: one.box[0]) for w, each in found.items()}
        return {word: found.get(word, []) for word in dict.fromkeys([*words, *found])}


def class_names_of(words: Sequence[str], instances: int = 1) -> tuple[str, ...]:
    """Return the names of the classes of some words, the background first.

    Example:
        >>> class_names_of(["dog", "cat"], instances=2)
        ('background', 'dog', 'dog 2', 'cat', 'cat 2')
    """
    numbered = [
        word if n == 1 else f"{word} {n}" for word in words for n in range(1, instances + 1)
    ]
    return (BACKGROUND, *(numbered or [NOTHING]))
