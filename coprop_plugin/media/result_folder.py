"""Writer of results folders: masks, probabilities, control points, an overlay."""

import os
import shutil
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coprop_plugin import __version__
from coprop_plugin.errors import MediaError
from coprop_plugin.media.container import refuse_missing
from coprop_plugin.media.folders import (
    PICTURE_FOLDERS,
    refuse_foreign,
    remove_all_but,
    write_json,
    writing,
)
from coprop_plugin.media.frame_folder import is_source
from coprop_plugin.media.frame_pictures import FramePictures
from coprop_plugin.media.masks import mask_digest, read_picture
from coprop_plugin.media.matte import save_alphas_of
from coprop_plugin.media.overlay import write_overlay
from coprop_plugin.media.overlay_thread import GrowingSpans, OverlayThread
from coprop_plugin.media.previous_result import PreviousResult, content_digest
from coprop_plugin.media.replace_folder import check_old, recover_folder, replace_folder
from coprop_plugin.media.result_json import FORMAT, is_result
from coprop_plugin.media.run_journal import Journal
from coprop_plugin.types import (
    Clip,
    ControlPoints,
    FrameResult,
    Sampling,
    SegmentationResult,
    Tracks,
    spans_of,
)


def save_result(
    result: SegmentationResult, folder: str | Path, *, overlay: bool = True, alpha: bool = False
) -> Path:
    """Write a whole result; see `SegmentationResult.save`.

    Raises:
        MediaError: If the folder cannot be written, or holds other files.
    """
    clip = result.clip
    with ResultWriter(
        folder, clip=clip, control_points=result.control_points, overlay=overlay, alpha=alpha
    ) as writer:
        for frame_result in result.frame_results:
            writer.write(frame_result)
    return writer.folder


class ResultWriter:
    """Writes a result frame by frame, in bounded memory, as `stream()` yields it.

    - `masks/%05d.png`: 8 bit, pixel values are class ids; shown in AVSBench's colours.
    - `probs/%05d.png`: 8 bit, 255 times the probability that a pixel sounds.
    - `alpha/%05d.png`: with `alpha`, the frame with that probability as its alpha.
    - `overlay.mp4`: with `overlay`, see `write_overlay`.
    - `control_points.json`: can be edited and passed as control points.
    - `result.json`: describes the folder.

    Everything is written to a hidden folder next to the final one, which is renamed when it is
    complete and then replaces an earlier result. After an exception, or without any frame, nothing
    is left; with `resume`, complete segments stay in the hidden folder.

    Args:
        folder: Where to write.
        source: The video file; by default the clip's own. The overlay has its frames and audio.
        clip: The clip, if it is in memory; needed for overlay and alpha without a source.
        control_points: Can also be set later: see `write_points`, and the attribute
            `control_points`.
        sampling: How the frames were chosen; by default the clip's own, else `"pts"`.
        tracks: The tracks of the source to use; by default the clip's own.
        overlay: Whether to write `overlay.mp4`.
        alpha: Whether to write `alpha/`.
        about: Any JSON content that identifies the result; `read_about` returns it.
        resume: Whether to continue where a writer with the same `about` was interrupted, at the
            last keyframe that it reached; see `num_written` and `control_points`.
        reuse: A finished result of the same frames, from which `keep` copies.
        edited: Frames whose mask was edited by hand; recorded for later reuse of this result.

    Raises:
        MediaError: If the folder holds other files, or cannot be written; with `resume`, if
            another process is writing it.

    Example:
        >>> with ResultWriter("out", source="long.mp4") as writer:  # doctest: +SKIP
        ...     for frame_result in model.stream("long.mp4"):
        ...         writer.write(frame_result)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        source: str | Path | None = None,
        clip: Clip | None = None,
        control_points: ControlPoints | None = None,
        sampling: Sampling | None = None,
        tracks: Tracks | None = None,
        overlay: bool = True,
        alpha: bool = False,
        about: Mapping[str, Any] | None = None,
        resume: bool = False,
        reuse: PreviousResult | None = None,
        edited: Container[int] = (),
    ) -> None:
        self.folder = Path(folder)
        # A link is followed, or the rename would replace the link and leave what it points to.
        self._target = Path(os.path.realpath(folder))
        self._partial = self._target.with_name(f".{self._target.name}.part")
        source = source or (clip.source if clip is not None else None)
        self._source = Path(source) if source is not None and is_source(Path(source)) else None
        self._clip = clip
        self._sampling = sampling or (clip.sampling if clip is not None else "pts")
        self._tracks = tracks or (clip.tracks if clip is not None else Tracks())
        self._alpha = alpha
        self._about = dict(about or {})
        self._resume = resume
        self._journal: Journal | None = None
        self._reuse, self._edited = reuse, edited
        self._pictures = FramePictures(self._partial, self.folder, self._frame_written)
        self._overlay_thread = (
            OverlayThread(self._write_overlay, self._sampling) if overlay else None
        )
        self._shape: tuple[int, int, int] = (0, 0, 0)
        self._class_names: Sequence[str] | None = None
        self.times: list[float] = []
        self._origins: list[Any] = []
        self.control_points = control_points
        if source is not None and clip is None:
            refuse_missing(Path(source))
        if (overlay or alpha) and self._source is None and clip is None:
            raise MediaError(
                f"Expected a video for the overlay of {folder}, got {source or 'no source'}. Pass "
                "the source file or the clip, or overlay=False and alpha=False."
            )

    @property
    def num_written(self) -> int:
        """Number of written frames; with `resume`, the index of the frame to continue with."""
        return len(self.times)

    def __enter__(self) -> "ResultWriter":
        try:
            self._open()
        except BaseException:
            # `__exit__` will not be called.
            self._close()
            raise
        return self

    def _open(self) -> None:
        with writing(self.folder):
            recover_folder(self._target)
        refuse_foreign(self._target, self.folder)
        check_old(self._target, is_result)
        with writing(self.folder):
            if self._resume:
                self._open_journal()
            else:
                # Left by a killed run.
                shutil.rmtree(self._partial, ignore_errors=True)
            for name in PICTURE_FOLDERS[: 3 if self._alpha else 2]:
                (self._partial / name).mkdir(parents=True, exist_ok=True)
        if self._overlay_thread is not None:
            self._overlay_thread.start()
            for time_s in self.times:
                self._overlay_thread.add(time_s)

    def _open_journal(self) -> None:
        self._journal = journal = Journal(self._partial, self._about, self.folder)
        try:
            self._pictures.resume([self._digest_of(k) for k in range(len(journal.times))])
        except (MediaError, SyntaxError, ValueError):
            # Written, but not yet on the disk when the machine lost power.
            journal.start_over()
        self.times, self._shape = list(journal.times), journal.shape
        self._origins = list(journal.origins)
        self.control_points = journal.control_points or self.control_points
        kept = journal.file_names.union(PICTURE_FOLDERS[:2] if self.times else ())
        remove_all_but(self._partial, kept)

    def _digest_of(self, index: int) -> str:
        read_picture(self._partial / "probs", index)
        return mask_digest(read_picture(self._partial / "masks", index))

    def write_points(self, points: ControlPoints) -> None:
        """Set the control points; with `resume`, write them to the journal.

        Raises:
            MediaError: If they cannot be written.
        """
        self.control_points = points
        if self._journal is not None:
            self._journal.write_points(points)

    def write(self, frame_result: FrameResult, frame: Tensor | None = None) -> None:
        """Write the next frame's mask and probabilities, in a thread behind this one.

        Args:
            frame_result: Of frame 0, 1, 2, and so on: every index once, in order.
            frame: `[3, H, W]`, for `alpha`; by default taken from the clip or the source.

        Raises:
            MediaError: If a frame is missing, or the disk is full; the latter perhaps only when a
                later frame is written, or at the end.
        """
        index = self.num_written
        if self._journal is not None and frame_result.is_keyframe:
            self._pictures.wait()
            self._journal.write_complete(self.times, self._shape, self._origins)
        if frame_result.index != index:
            raise MediaError(
                f"Expected the result of frame {index} for {self.folder}, got that of frame "
                f"{frame_result.index}. Write every frame once, in order, starting with 0."
            )
        if self._alpha and frame is None and self._clip is not None:
            frame = self._clip.frames[index]
        self.times.append(float(frame_result.time_s))
        self._shape = (*frame_result.mask.shape, frame_result.num_classes)
        self._class_names = frame_result.class_names
        self._origins.append(frame_result.origin and frame_result.origin.to_dict())
        self._pictures.write(index, frame_result, frame if self._alpha else None)

    def keep(self, time_s: float) -> None:
        """Copy the next frame from the reused result.

        Args:
            time_s: Time stamp of the frame, in seconds.

        Raises:
            MediaError: If it cannot be copied, or the writer reuses no result.
        """
        reused = self._reuse
        if reused is None:
            raise MediaError("Expected a writer with `reuse=`, got one without. Call `write`.")
        index = self.num_written
        self.times.append(float(time_s))
        if reused.content["num_classes"] >= self._shape[2]:
            # Otherwise names were added since.
            self._shape = (*reused.size, reused.content["num_classes"])
            self._class_names = reused.content.get("class_names")
        self._origins.append(reused.origin(index))
        self._pictures.copy(lambda: reused.copy_frame(index, self._partial))

    def _frame_written(self, index: int) -> None:
        if self._overlay_thread is not None:
            self._overlay_thread.add(self.times[index])

    def _write_overlay(self, spans: GrowingSpans) -> None:
        def mask_of(index: int) -> np.ndarray:
            spans.wait_for(index)
            return self._pictures.mask(index)

        def class_names() -> Sequence[str] | None:
            # Of a binary model they say no more than its masks.
            return self._class_names if self._shape[2] > 1 else None

        write_overlay(
            self._partial / "overlay.mp4",
            mask_of,
            spans,
            source=self._source,
            clip=self._clip,
            tracks=self._tracks,
            class_names=class_names,
        )

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None:
                self._finish()
        finally:
            self._close()
            if self._journal is None or not self._journal.times:
                shutil.rmtree(self._partial, ignore_errors=True)

    def _close(self) -> None:
        self._pictures.close()
        if self._overlay_thread is not None:
            self._overlay_thread.close()
        if self._journal is not None:
            self._journal.close()

    def _finish(self) -> None:
        if not self.times:
            raise MediaError(
                f"Expected at least one frame for {self.folder}, got no frames; nothing was "
                "written. Check that the video has frames."
            )
        self._pictures.wait()
        times = torch.tensor(self.times, dtype=torch.float64)
        probs, alpha = self._partial / "probs", self._partial / "alpha"
        if self._alpha and self._source and len(os.listdir(alpha)) < self.num_written:
            with writing(self.folder):
                save_alphas_of(self._source, self.times, probs, alpha, self._tracks)
        if self._overlay_thread is not None:
            self._overlay_thread.finish(self._spans(times))
        with writing(self.folder):
            if self.control_points is not None:
                content = self.control_points.to_dict(times)
                write_json(self._partial / "control_points.json", content)
            if self._reuse is not None:
                self._reuse.copy_bare(self._partial)
            # Last, because it makes the folder a result.
            write_json(self._partial / "result.json", self._manifest())
            if self._journal is not None:
                self._journal.remove()
            replace_folder(self._partial, self._target, is_result)

    def _spans(self, times: Tensor) -> Tensor:
        return spans_of(times, self._sampling) if self._clip is None else self._clip.spans

    def _sounds(self) -> list[dict[str, Any]] | None:
        """Return what sounds in each segment by name, and what of it was not in the picture."""
        points = self.control_points
        if points is None or points.sounds is None:
            return None
        spans = self._spans(torch.tensor(self.times, dtype=torch.float64)).tolist()
        found = [origin or {} for origin in self._origins]
        return [
            {
                "start_s": round(spans[segment.start][0], 6),
                "end_s": round(spans[segment.stop - 1][1], 6),
                "names": list(points.sounds.named.get(segment.start, ())),
                "off_screen": list(found[segment.start].get("off_screen", ())),
            }
            for segment in points.segments
        ]

    def _manifest(self) -> dict[str, Any]:
        source = self._source or (self._clip.source if self._clip is not None else None)
        made_with = None if self.control_points is None else self.control_points.to_dict()
        return {
            "format": FORMAT,
            "version": __version__,
            "source": None if source is None else Path(source).name,
            "tracks": self._tracks.to_dict(),
            "size": list(self._shape[:2]),
            "orientation": "upright: the source's rotation tag is applied",
            "num_frames": self.num_written,
            "num_classes": self._shape[2],
            "class_names": self._class_names,
            # How each mask was made; see `MaskOrigin`.
            "frames": self._origins,
            "sounds": self._sounds(),
            "sampling": self._sampling,
            "times": [round(time_s, 6) for time_s in self.times],
            "about": self._about,
            # To detect later edits.
            "source_digest": self._source and content_digest(self._source),
            "made_with": made_with and {k: v for k, v in made_with.items() if k != "log"},
            "edited": [t for t in range(self.num_written) if t in self._edited],
            "digests": self._pictures.digests,
        }
