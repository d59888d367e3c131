"""A video of any length as a row of short clips, with enough context on both sides."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from coprop_plugin.pipeline.schedule import Asked
from coprop_plugin.types import Clip, Sampling

# What a window may look at before its first and after its last own frame: the clip length of the
# models we wrap (five frames, a second apart) on either side.
CONTEXT_S = 5.0
# Of all pictures that are held, unless their context alone takes more.
FRAMES_BYTES = 32 * 2**20
# No window is longer, so that memory does not grow with the length of a video of small frames.
WINDOW_S = 60.0
# Longer sound is on disk: 4 MB, or a minute at 16 kHz.
SOUND_SAMPLES = 2**20
# Where in its second AVSBench takes a frame, and so how much of it the frame hears.
FRAME_IN_ITS_SECOND_S = 15 / 16


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a video, and the stretch in the middle of it that is its own.

    Args:
        clip: The frames that may be looked at.
        start: Index in the video of the clip's first frame.
        frames: Indices in the video of the window's own frames, half-open.
    """

    clip: Clip
    start: int
    frames: range

    @classmethod
    def whole(cls, clip: Clip) -> "Window":
        """Return the window that is a whole clip."""
        return cls(clip, 0, range(clip.num_frames))

    def hearing_segments(self, asked: Asked, frames: Iterable[int] | None = None) -> Clip:
        """Return the clip in which each frame that is asked about hears its own segment.

        A frame's sound is the 0.975 s before it, as released models were trained; at a control
        point that would be the segment before, or with AVSBench's sampling, which takes frames at
        the end of their second, some of it. So frames listen to the 0.975 s that begin with what
        they stand for, not before their segment begins, or to what comes before them where that is
        later; and to the end of the segment at most.

        Args:
            asked: What is asked.
            frames: The frames that are asked about; by default those that `asked` knows.
        """
        spans, heard_at = self.clip.spans, self.clip.times.clone()
        last = self.start + self.clip.num_frames
        begins_s, segments = asked.points.starts_s, asked.points.segments
        for index in asked.indices if frames is None else frames:
            if not self.start <= index < last or index in asked.given:
                continue
            k = asked.segment_of(index)
            t, end = index - self.start, min(segments[k].stop, last) - self.start
            start_s, end_s = float(spans[t, 0]), float(spans[end - 1, 1])
            if begins_s is not None:
                start_s = max(start_s, float(begins_s[k]))
                end_s = min([end_s, *begins_s[k + 1 : k + 2].tolist()])
            heard_at[t] = min(max(float(heard_at[t]), start_s + FRAME_IN_ITS_SECOND_S), end_s)
        return replace(self.clip, heard_at=heard_at)


def stream_windows(
    path: str | Path, fps: float | None, sampling: Sampling, ahead_s: float = 0.0
) -> tuple[Clip, Iterator[Window]]:
    """Open a video file for reading in windows.

    Args:
        path: A video file.
        fps: Frames a second to read; None takes all.
        sampling: See `Clip.from_file`.
        ahead_s: How many seconds behind its own frames a window is to have the context of, too.

    Returns:
        The whole video as a clip whose pictures are absent (all zero, no memory), for whoever
        only listens; and its windows, which cover every frame once and are read as they come.
        The pictures of a window are overwritten by those of the next one.

    Raises:
        MediaError: If the file cannot be read.
    """
    from coprop_plugin import media

    video = media.probe(path, fps=fps, sampling=sampling)
    waveform, sample_rate = media.read_waveform(
        path, start_s=video.start_s, duration_s=video.duration_s, in_memory=SOUND_SAMPLES
    )
    shape = (len(video.times), 3, *video.size)
    no_pictures = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(shape)
    sound = Clip(
        no_pictures, waveform, sample_rate, video.times, sampling=sampling, source=Path(path)
    )
    frames = media.open_video(path, fps=fps, sampling=sampling)
    return sound, _windows(sound, (frame for _, frame in frames), CONTEXT_S + ahead_s)


def _windows(sound: Clip, frames: Iterator[Tensor], context_s: float) -> Iterator[Window]:
    height, width = sound.size
    context = _frames_within(sound.times, context_s)
    longest = _frames_within(sound.times, WINDOW_S)
    own = max(context, min(FRAMES_BYTES // (3 * height * width) - 2 * context, longest))
    # In one place from the first window to the last: what is freed and taken anew for each of them
    # makes a process grow.
    room = min(own + 2 * context, sound.num_frames)
    pictures = torch.empty(room, 3, height, width, dtype=torch.uint8)
    first, read = 0, 0
    for start in range(0, sound.num_frames, own):
        stop = min(start + own, sound.num_frames)
        begin, end = max(0, start - context), min(stop + context, sound.num_frames)
        for index in range(begin, read):
            pictures[index - begin] = pictures[index - first]
        for index in range(read, end):
            pictures[index - begin] = next(frames)
        first, read = begin, end
        clip = replace(sound[begin:end], frames=pictures[: end - begin])
        yield Window(clip, begin, range(start, stop))


def _frames_within(times: Tensor, seconds: float) -> int:
    """How many frames at most lie within some seconds after any frame."""
    ends = torch.searchsorted(times, times + seconds, right=True)
    return int((ends - torch.arange(len(times))).max())
