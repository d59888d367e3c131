"""The pictures of a result's frames, written by a thread behind the one that makes them."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from coprop_plugin.media.encode import picture_of
from coprop_plugin.media.folders import writing
from coprop_plugin.media.masks import mask_digest, mask_png, picture_name, probs_png, read_mask
from coprop_plugin.media.matte import save_alpha
from coprop_plugin.types import FrameResult

Encoded = TypeVar("Encoded")

FRAMES_WAITING = 4
"""Most frames that wait to be written, which bounds memory."""

BYTES_WAITING = 48 * 2**20
"""Of their results, unless one frame's alone take more."""


class FramePictures:
    """Writes the masks and probabilities of frames in order, in a thread of its own.

    Consecutive frames often have the same mask, e.g. none where nothing sounds: it is encoded
    once.

    Args:
        folder: With the folders `masks`, `probs` and, if frames are given, `alpha`.
        name: The name of the result in messages.
        written: Called with the index of each frame after it was written, in that thread.

    Attributes:
        digests: Of the masks written so far, see `mask_digest`.
    """

    def __init__(self, folder: Path, name: Path, written: Callable[[int], None]) -> None:
        self._folder, self._name, self._written = folder, name, written
        self.digests: list[str] = []
        # Of each frame the first one of those before it with the same mask.
        self._alike: list[int] = []
        self._read = lru_cache(maxsize=1)(lambda k: read_mask(folder / "masks" / picture_name(k)))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="coprop-pictures")
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._mask = _LastEncoded(lambda mask: (mask_png(mask), mask_digest(mask)))
        self._probs = _LastEncoded(probs_png)

    def resume(self, digests: list[str]) -> None:
        """Go on after frames whose masks have these digests."""
        self.digests, self._alike = digests, list(range(len(digests)))

    def mask(self, index: int) -> np.ndarray:
        """Read the mask of a frame that is written: class ids `[H, W]` uint8."""
        return self._read(self._alike[index])

    def write(self, index: int, result: FrameResult, frame: Tensor | None = None) -> None:
        """Write a frame soon; returns at once unless as many wait already as may.

        Args:
            index: Of the frame.
            result: Its mask and probabilities.
            frame: `[3, H, W]`, for its `alpha`.

        Raises:
            MediaError: If this or an earlier frame cannot be written.
        """
        size = result.mask.nbytes + result.class_probs.nbytes
        self._do(lambda: self._write(index, result, frame), size)

    def copy(self, copy_frame: Callable[[], str]) -> None:
        """Call a function that writes a frame, after all before it; it returns the digest."""
        self._do(lambda: self._note(copy_frame()))

    def wait(self) -> None:
        """Wait until every frame is written.

        Raises:
            MediaError: If one cannot be written.
        """
        while self._waiting:
            self._waiting.popleft()[0].result()

    def close(self) -> None:
        """Write no more: what still waits is dropped."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _do(self, job: Callable[[], None], size: int = 0) -> None:
        self._waiting.append((self._thread.submit(self._named, job), size))
        while len(self._waiting) > 1 and self._too_many():
            self._waiting.popleft()[0].result()

    def _too_many(self) -> bool:
        held = sum(size for _, size in self._waiting)
        return len(self._waiting) > FRAMES_WAITING or held > BYTES_WAITING

    def _named(self, job: Callable[[], None]) -> None:
        with writing(self._name):
            job()
        self._written(len(self.digests) - 1)

    def _write(self, index: int, result: FrameResult, frame: Tensor | None) -> None:
        name = picture_name(index)
        probs = prob_bytes(result)
        last = self._mask.encoded
        png, digest = self._mask(result.mask.cpu().numpy().astype(np.uint8, copy=False))
        (self._folder / "masks" / name).write_bytes(png)
        (self._folder / "probs" / name).write_bytes(self._probs(probs))
        if frame is not None:
            save_alpha(picture_of(frame), probs, self._folder / "alpha", index)
        self._note(digest, same=self._mask.encoded is last)

    def _note(self, digest: str, same: bool = False) -> None:
        self._alike.append(self._alike[-1] if same else len(self._alike))
        self.digests.append(digest)


class _LastEncoded(Generic[Encoded]):
    """Encodes pictures, and remembers the last one.

    Args:
        encode: From a picture to what is remembered.

    Attributes:
        encoded: What it made of the last picture.
    """

    def __init__(self, encode: Callable[[np.ndarray], Encoded]) -> None:
        self._encode = encode
        self._picture: np.ndarray | None = None
        self.encoded: Encoded | None = None

    def __call__(self, picture: np.ndarray) -> Encoded:
        last = self._picture
        if self.encoded is None or last is None or not np.array_equal(last, picture):
            self.encoded = self._encode(picture)
            # A copy: the caller may use its memory for the next frame.
            self._picture = picture.copy()
        return self.encoded


def prob_bytes(result: FrameResult) -> np.ndarray:
    """Return 255 times the probability that each pixel sounds, `[H, W]` uint8."""
    probs = result.sounding_prob.cpu().numpy() * np.float32(255)
    return np.rint(probs, out=probs).astype(np.uint8)
