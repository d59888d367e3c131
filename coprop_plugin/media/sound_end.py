"""The end of the last picture, where still pictures stop before the sound."""

from collections import Counter
from pathlib import Path

import av

from coprop_plugin.media.choose_tracks import choose_audio
from coprop_plugin.media.container import max_jump_s, open_container, packets_of
from coprop_plugin.types import Tracks

# A picture that stays so long is a still: moving pictures come more often.
STILL_S = 0.5


def end_of_last_still(path: Path, tracks: Tracks, start_s: float, end_s: float) -> float:
    """Return when the last picture ends that stays while the sound goes on.

    Slide shows, songs with a cover and screen recordings have a picture only where something
    changes. Players show the last one until the sound ends, although files often record the length
    of a moving picture for it.

    Args:
        path: The video file.
        tracks: Which audio belongs to it.
        start_s: The container's own time of the first picture.
        end_s: End of the last picture according to the file, in seconds from the first one.

    Returns:
        `end_s`, or a later end of the sound.
    """
    sound = path if tracks.sound is None else tracks.sound
    with open_container(sound) as container:
        stream = choose_audio(container, sound, tracks)
        if stream is None or stream.time_base is None:
            return end_s
        zero_s = start_s if tracks.sound is None else _start_s(stream)
        declared_s = _declared_end_s(container, stream)
        if declared_s is not None and declared_s - zero_s <= end_s:
            return end_s
        # A damaged file may announce any length: what counts is what is there.
        latest_s = end_s
        for packet in packets_of(container, stream, Counter()):
            if packet.pts is not None:
                stop_s = float((packet.pts + (packet.duration or 0)) * stream.time_base) - zero_s
                if stop_s <= latest_s + max_jump_s(container):
                    latest_s = max(latest_s, stop_s)
        return latest_s


def _start_s(stream: av.AudioStream) -> float:
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _declared_end_s(container: av.container.InputContainer, stream: av.AudioStream) -> float | None:
    if stream.duration:
        return _start_s(stream) + float(stream.duration * (stream.time_base or 0))
    if container.duration:
        return ((container.start_time or 0) + container.duration) / av.time_base
    return None
