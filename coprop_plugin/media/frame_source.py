"""What reading and rewriting need of a source of pictures."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from coprop_plugin.types import Tracks

Picture = TypeVar("Picture")


class FrameSource(Protocol[Picture]):
    """What sampling needs of a `VideoSource`; see there."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def frame_rate(self) -> float:
        """Average frames per second."""

    @property
    def start_s(self) -> float | None:
        """The container's own time at time 0."""

    @property
    def end_s(self) -> float:
        """End of the last picture."""

    @property
    def tick_s(self) -> float:
        """Step of the time stamps in seconds."""

    @property
    def num_frames(self) -> int:
        """Number of pictures so far."""

    @property
    def has_sound(self) -> bool:
        """Whether there is an audio stream."""

    @property
    def is_regular(self) -> bool:
        """Whether the file can be read from the middle."""

    def frames(self) -> Iterator[tuple[float, Picture]]:
        """Yield each picture with its time in seconds."""

    def picture(self, frame: Picture) -> np.ndarray:
        """Return a picture `[H, W, 3]` uint8 RGB."""


class OpenSource(FrameSource[Any], Protocol):
    """A video or a folder of frames that is open; see `VideoSource`."""

    @property
    def tracks(self) -> Tracks:
        """The tracks in use."""

    @property
    def pixel_aspect(self) -> Fraction:
        """Width over height of a pixel."""

    def frames_with_lengths(self) -> Iterator[tuple[float, float, Any]]:
        """Yield time, length and picture."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
