"""A clip: frames and the audio that belongs to them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, Union, get_args

import torch
from torch import Tensor

from coprop_plugin.choices import Sampling
from coprop_plugin.errors import ClipError
from coprop_plugin.types.array_forms import (
    ColourOrder,
    checked_rate,
    frames_tensor,
    row_tensor,
    waveform_tensor,
)
from coprop_plugin.types.timeline import avsbench_times
from coprop_plugin.types.tracks import Track, Tracks

Source: TypeAlias = Union[str, Path, "Clip", tuple[Any, Any, int]]
"""A file, a clip, or (frames, waveform, sample_rate) to make one of."""


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """Frames of a video and the audio that belongs to them, on one clock.

    Frames and waveform are checked once: `dataclasses.replace` and slices do not check again what
    they take over.

    Args:
        frames: `[T, 3, H, W]`, RGB, uint8 in 0..255 or float in [0, 1]. Arrays `[T, H, W, 3]` and
            lists of frames or of PIL images are converted; see also `from_frames`.
        waveform: `[samples]`, mono, float in [-1, 1]; sample 0 is time 0. None where only
            `log_mel` or `audio_embedding` is known, as in a drop-in call. Several channels are
            averaged, and int16, int32 and uint8 scaled.
        sample_rate: Of the waveform, in Hz.
        times: `[T]`, when each frame is shown, in seconds, rising. By default every frame stands
            15/16 into its even share of the audio, which for one frame a second is what AVSBench
            does; without a waveform, or with `"avsbench"` sampling, it is `t + 15/16`.
        sampling: `"avsbench"` if a frame was taken at s + 15/16 s and stands for second s;
            `"pts"` if it stands for the time from its own time stamp to the next.
        log_mel: `[T, 1, 96, 64]`, the VGGish example of each frame, if it is known already.
        audio_embedding: `[T, 128]`, the VGGish embedding of each frame, if it is known already.
        heard_at: `[T]`, when the audio window of each frame ends, in seconds: its VGGish window is
            the 0.975 s that end 0.0375 s later. By default `times`. Not used with `"avsbench"`
            sampling.
        words: What sounds in the clip, by name, for networks that are guided by text; () if
            nothing does, None if it is not known.
        source: The file that the clip was read from.
        tracks: The tracks of that file.
        name: The name of the clip; by default its source's name without suffix.
        native: The arguments of a wrapped model's own call, for that model's adapter.

    Raises:
        ClipError: If shapes, types or ranges are not as above.

    Example:
        >>> import torch
        >>> clip = Clip(torch.rand(5, 3, 32, 32), torch.zeros(80_000), 16_000)
        >>> clip.num_frames, clip.size, [round(t, 4) for t in clip.times.tolist()[:2]]
        (5, (32, 32), [0.9375, 1.9375])
    """

    frames: Tensor
    waveform: Tensor | None = None
    sample_rate: int = 16_000
    times: Tensor = None  # type: ignore[assignment]  # `__post_init__` fills in the default
    sampling: Sampling = field(default="pts", kw_only=True)
    log_mel: Tensor | None = field(default=None, kw_only=True)
    audio_embedding: Tensor | None = field(default=None, kw_only=True)
    heard_at: Tensor | None = field(default=None, kw_only=True)
    words: Sequence[str] | None = field(default=None, kw_only=True)
    source: Path | None = field(default=None, kw_only=True)
    tracks: Tracks = field(default=Tracks(), kw_only=True)
    name: str | None = field(default=None, kw_only=True)
    native: Any = field(default=None, kw_only=True)
    # What was checked already, which `dataclasses.replace` hands on.
    _valid: tuple[Tensor | None, Tensor | None] = field(default=(None, None), kw_only=True)

    def __post_init__(self) -> None:
        frames, waveform = self._valid
        if self.frames is None or self.frames is not frames:
            self._set("frames", frames_tensor(self.frames))
        if self.waveform is not None and self.waveform is not waveform:
            self._set("waveform", waveform_tensor(self.waveform))
        if self.waveform is not None:
            self._set("sample_rate", checked_rate(self.sample_rate))
        self._set("_valid", (self.frames, self.waveform))
        times = self._default_times() if self.times is None else self.times
        self._set("times", _checked_times(times, self.num_frames))
        self._check_rows()
        if isinstance(self.words, str):
            raise ClipError(f"Expected words as a list of names, got {self.words!r}. Use [...].")
        if self.name is None and self.source is not None:
            self._set("name", Path(self.source).stem)
        if self.sampling not in get_args(Sampling):
            raise ClipError(f"Expected sampling='pts' or 'avsbench', got {self.sampling!r}.")

    def _check_rows(self) -> None:
        for name in ("log_mel", "audio_embedding", "heard_at"):
            given = getattr(self, name)
            if given is None:
                continue
            if not isinstance(given, Tensor):
                self._set(name, given := row_tensor(given, name))
            if given.ndim == 0 or len(given) != self.num_frames:
                raise ClipError(
                    f"Expected one row of {name} for each of {self.num_frames} frames, got shape "
                    f"{list(given.shape)}. Repeat the last row or cut the rest."
                )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _default_times(self) -> Tensor:
        share_s = 1.0
        if self.sampling == "pts" and self.waveform is not None and len(self.waveform):
            share_s = len(self.waveform) / self.sample_rate / self.num_frames
        return avsbench_times(self.num_frames) * share_s

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        fps: float | None = 1.0,
        sampling: Sampling = "pts",
        *,
        audio_track: Track | None = None,
        video_track: Track | None = None,
        audio: str | Path | None = None,
    ) -> "Clip":
        """Read a video file with its audio.

        Args:
            path: Any container that FFmpeg reads, with a video and an audio stream.
            fps: Frames to keep per second of video; None keeps every frame.
            sampling: `"pts"`: for each k, the frame that is on screen at k / fps. `"avsbench"`:
                AVSBench's preprocessing, one frame a second at s + 15/16 s (`fps` must be 1).
            audio_track: Number (0 the first) or language of an audio track; None chooses as
                players do, see `Tracks`.
            video_track: Likewise, of a video track.
            audio: A file whose audio to use instead of the video's own.

        Returns:
            The clip, upright (a rotation tag is applied), at the file's own size.

        Raises:
            MediaError: If the file is missing, empty, damaged, or lacks a stream; it names the
                file and the reason.
        """
        from coprop_plugin import media

        sound = None if audio is None else Path(audio)
        tracks = Tracks(video_track, audio_track, sound)
        return media.read_clip(path, fps=fps, sampling=sampling, tracks=tracks)

    @classmethod
    def from_frames(
        cls,
        frames: Any,
        audio: Any = None,
        fps: float = 1.0,
        *,
        sample_rate: int = 16_000,
        sampling: Sampling = "pts",
        colours: ColourOrder = "rgb",
    ) -> "Clip":
        """Make a clip of extracted frames and their audio.

        Args:
            frames: A folder of numbered pictures; a list of their files; a list of PIL images or
                of arrays; or an array `[T, H, W, 3]` or `[T, 3, H, W]`.
            audio: A file, or a waveform as `Clip` takes it. None: of a folder the file in or beside
                it, also in AVSBench's layout; else silence.
            fps: Frames per second.
            sample_rate: Of a waveform, in Hz.
            sampling: `"avsbench"` for frames that AVSBench's scripts extracted, one a second.
            colours: `"bgr"` for arrays from OpenCV.

        Returns:
            The clip; frame k is shown at k / fps.

        Raises:
            ClipError: If frames or audio are in none of these forms.
            MediaError: If a file cannot be read.

        Example:
            >>> pictures = [torch.zeros(8, 8, 3, dtype=torch.uint8)] * 4
            >>> Clip.from_frames(pictures, torch.zeros(2, 32_000), fps=2)
            Clip(4 frames of 8x8, 2.00 s at 16000 Hz)
        """
        from coprop_plugin import media

        if not fps > 0 or (sampling == "avsbench" and fps != 1):
            raise ClipError(
                f"Expected fps above 0, and fps=1 with sampling='avsbench', got fps={fps}."
            )
        sound = Path(audio) if isinstance(audio, str | Path) else None
        known = {} if audio is None or sound else {"waveform": audio, "sample_rate": sample_rate}
        listed = isinstance(frames, list | tuple) and len(frames) > 0
        if isinstance(frames, str | Path) or (
            listed and all(isinstance(path, str | Path) for path in frames)
        ):
            return replace(media.read_frames(frames, fps, sampling, Tracks(sound=sound)), **known)
        pictures = frames_tensor(frames, colours)
        duration_s = len(pictures) / fps
        times = torch.arange(len(pictures), dtype=torch.float64) / fps
        if sampling == "avsbench":
            times = avsbench_times(len(pictures))
        if sound is not None:
            waveform, sample_rate = media.read_waveform(sound, duration_s=duration_s)
            known = {"waveform": waveform, "sample_rate": sample_rate}
        elif audio is None:
            known = {"waveform": torch.zeros(round(duration_s * sample_rate))}
        return cls(pictures, times=times, sampling=sampling, **known)

    @classmethod
    def of(cls, source: Source, fps: float | None = 1.0, sampling: Sampling = "pts") -> "Clip":
        """Return `source` as a clip: a clip as it is, a file read, a tuple checked.

        Raises:
            ClipError: If it is none of a path, a clip, and (frames, waveform, sample_rate).
            MediaError: If it is a file that cannot be read.
        """
        if isinstance(source, Clip):
            return source
        if isinstance(source, str | Path):
            return cls.from_file(source, fps=fps, sampling=sampling)
        if isinstance(source, tuple | list) and len(source) == 3:
            return cls(*source)
        raise ClipError(
            "Expected a path, a Clip, or a tuple (frames [T, 3, H, W], waveform [samples], "
            f"sample_rate), got a {type(source).__name__}."
        )

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.frames.shape[-2], self.frames.shape[-1]

    @property
    def spans(self) -> Tensor:
        """The time each frame stands for: `[T, 2]`, start and end in seconds, half-open.

        With `"avsbench"` sampling a frame stands for the second at whose end it was taken;
        otherwise for the time from its own time stamp to the next.
        """
        return spans_of(self.times, self.sampling)

    @property
    def listening_times(self) -> Tensor:
        """`heard_at`, or `times` where it is not set: `[T]` seconds."""
        return self.times if self.heard_at is None else self.heard_at

    def checked(self, indices: Iterable[int]) -> list[int]:
        """Return frame indices as a list of ints.

        Raises:
            ClipError: If one lies outside the clip.
        """
        indices = [int(index) for index in indices]
        if any(not 0 <= index < self.num_frames for index in indices):
            raise ClipError(
                f"Expected frame indices from 0 to {self.num_frames - 1}, got {indices[:16]} for a "
                f"clip of {self.num_frames} frames. If they are seconds, multiply by the frame "
                "rate."
            )
        return indices

    def rgb(self, indices: Sequence[int] | slice = slice(None)) -> Tensor:
        """Return the chosen frames as float32 RGB in [0, 1], `[K, 3, H, W]`."""
        frames = self.frames[indices if isinstance(indices, slice) else list(indices)]
        return frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()

    def waveform_at(
        self, sample_rate: int, start: int | None = None, stop: int | None = None
    ) -> Tensor:
        """Return the waveform resampled to `sample_rate` Hz, `[samples]` float32.

        Args:
            sample_rate: In Hz.
            start: First sample of the resampled waveform to return, with `stop`; samples outside
                the waveform are left out. Only the part that is needed is read and resampled.
            stop: See `start`.

        Raises:
            ClipError: If the clip has no waveform.
        """
        if self.waveform is None:
            raise ClipError(
                "This clip has no waveform, only what a wrapped model was called with. Use "
                "`segment()` with a file or a Clip, or a provider that needs no waveform."
            )
        from coprop_plugin.audio.resample import resample, resample_range

        if start is not None and stop is not None:
            return resample_range(self.waveform, self.sample_rate, sample_rate, start, stop)
        return resample(self.waveform, self.sample_rate, sample_rate)

    def __repr__(self) -> str:
        height, width = self.size
        sound = "no waveform"
        if self.waveform is not None:
            sound = f"{len(self.waveform) / self.sample_rate:.2f} s at {self.sample_rate} Hz"
        origin = f", {self.source.name!r}" if self.source is not None else ""
        return f"Clip({self.num_frames} frames of {width}x{height}, {sound}{origin})"

    def __len__(self) -> int:
        return self.num_frames

    def __getitem__(self, frames: slice) -> "Clip":
        """Return a clip of consecutive frames; audio and clock stay those of the whole."""
        start, stop, step = frames.indices(self.num_frames)
        if step != 1 or start >= stop:
            raise ClipError(
                f"Expected a slice of at least one frame with step 1, got {frames} for a clip of "
                f"{self.num_frames} frames."
            )
        rows = {
            name: getattr(self, name)[start:stop]
            for name in ("frames", "times", "log_mel", "audio_embedding", "heard_at")
            if getattr(self, name) is not None
        }
        # Rows of checked frames need no check.
        return replace(self, **rows, native=None, _valid=(rows["frames"], self.waveform))


def spans_of(times: Tensor, sampling: Sampling) -> Tensor:
    """Return `Clip.spans` of frames at some times, `[T]` seconds: `[T, 2]`."""
    if sampling == "avsbench":
        starts = times.floor()
        return torch.stack([starts, starts + 1], dim=1)
    gaps = times.diff()
    last_gap = gaps.median() if len(gaps) else torch.tensor(1.0, dtype=torch.float64)
    ends = torch.cat([times[1:], (times[-1] + last_gap)[None]])
    return torch.stack([times, ends], dim=1)


def _checked_times(times: Any, num_frames: int) -> Tensor:
    try:
        times = torch.as_tensor(times, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ClipError(
            f"Expected one time in seconds for each of {num_frames} frames, got a "
            f"{type(times).__name__} ({error})."
        ) from error
    if times.shape != (num_frames,) or not bool((times.diff() > 0).all()):
        raise ClipError(
            f"Expected one time in seconds for each of {num_frames} frames, strictly rising, got "
            f"{times.tolist()[:8]}."
        )
    return times
