"""Small videos of every kind, made on the spot: what tests of reading and writing feed on.

Written with PyAV directly, not with the library, so that both do not err together. Frame k is
grey, its brightness tells k; its top left corner is white, so that a turned frame shows.
"""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

STEP = 5
DARKEST = 30


def picture(index, height=48, width=64):
    """Return frame `index`, [H, W, 3] uint8."""
    frame = np.full((height, width, 3), DARKEST + STEP * (index % 30), np.uint8)
    frame[: height // 3, : width // 3] = 255
    return frame


def indices_of(frames):
    """Tell from [T, 3, H, W] which frames these are (modulo 30), by their last quarter."""
    corner = frames[..., -frames.shape[-2] // 4 :, -frames.shape[-1] // 4 :].float()
    return ((corner.mean((1, 2, 3)) - DARKEST) / STEP).round().int().tolist()


def chirp(seconds, sample_rate=16_000, channels=1):
    """Return a sweep whose shift would show, [channels, samples] float32."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    sweep = 0.4 * np.sin(2 * np.pi * (200 * t + 150 * t * t)) * (1 + np.sin(7 * t)) / 2
    return np.repeat(sweep[None], channels, 0).astype(np.float32)


def shift_of(heard, truth, sample_rate, most_s=0.1):
    """Return by how many samples `heard` lags behind `truth`, and how well they then agree."""
    heard, truth = np.asarray(heard), np.asarray(truth)
    length = min(len(heard), len(truth))
    most = int(most_s * sample_rate)
    middle = truth[most : length - most]
    shift = int(np.correlate(heard[:length], middle, "valid").argmax()) - most
    moved = heard[most + shift : length - most + shift]
    return shift, float(np.corrcoef(moved, middle)[0, 1])


def write_video(
    path,
    times,
    sound=None,
    *,
    sample_rate=16_000,
    layout="mono",
    size=(48, 64),
    sound_from_s=0.0,
    rotation=0,
    pix_fmt="yuv420p",
    acodec="aac",
    vcodec="libx264",
    index_in_front=False,
    in_order=False,
    last_s=None,
    video_from_s=0.0,
):
    """Write frames shown at `times` (seconds) with sound [channels, samples]; returns the path."""
    clock = Fraction(1, 90_000)
    options = {"movflags": "faststart"} if index_in_front else {}
    with av.open(str(path), "w", options=options) as out:
        packets = []
        if times is not None:
            video = out.add_stream(vcodec, rate=25)
            video.height, video.width = size
            video.pix_fmt = pix_fmt
            video.codec_context.time_base = clock
            if vcodec == "libx264":
                video.codec_context.options = {"crf": "12", "preset": "veryfast", "g": "12"}
                if in_order:
                    video.codec_context.options |= {"bf": "0"}
            if rotation:
                video.set_display_rotation(rotation)
        if sound is not None:
            audio = out.add_stream(acodec, rate=sample_rate, layout=layout)
        if times is not None:
            packets += _encoded_pictures(video, times, size, clock, last_s, video_from_s)
        if sound is not None:
            packets += _encoded_sound(audio, sound, sample_rate, layout, sound_from_s)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            out.mux(packet)
    return Path(path)


def _encoded_pictures(video, times, size, clock, last_s, from_s):
    gaps = np.diff(times).tolist()
    gaps.append(last_s or (gaps[-1] if gaps else 1 / 12))
    lengths = {}
    packets = []
    for index, time_s in enumerate(times):
        frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
        frame.pts = round((time_s + from_s) / clock)
        frame.time_base = clock
        lengths[frame.pts] = round(gaps[index] / clock)
        packets += video.encode(frame)
    packets += video.encode(None)
    for packet in packets:
        length = lengths[round(packet.pts * packet.time_base / clock)]
        packet.duration = round(length * clock / packet.time_base)
    return packets


def _encoded_sound(audio, sound, sample_rate, layout, from_s):
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
    frame.sample_rate = sample_rate
    frame.time_base = Fraction(1, sample_rate)
    frame.pts = 0
    resampler = av.AudioResampler(
        audio.format.name, layout, sample_rate, frame_size=audio.codec_context.frame_size or None
    )
    packets = []
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        packets += audio.encode(piece)
    packets += audio.encode(None)
    for packet in packets:
        packet.pts += round(from_s / packet.time_base)
        packet.dts += round(from_s / packet.time_base)
    return packets


def tone(hertz, seconds=2.0, sample_rate=16_000, channels=1):
    """Return a steady tone, [channels, samples] float32; silence for 0 Hz."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    wave = 0.3 * np.sin(2 * np.pi * hertz * t)
    return np.repeat(wave[None], channels, 0).astype(np.float32)


def pitches(waveform, sample_rate, piece_s=0.25):
    """Return the loudest frequency of each piece of a waveform, in tens of Hz; 0 for silence."""
    size = round(piece_s * sample_rate)
    pieces = np.asarray(waveform)[: len(waveform) // size * size].reshape(-1, size)
    spectra = np.abs(np.fft.rfft(pieces * np.hanning(size)))
    hertz = spectra.argmax(1) * sample_rate / size
    return np.where(np.abs(pieces).max(1) < 0.01, 0, np.round(hertz / 10)).astype(int).tolist()


def write_tracks(path, sizes, sounds, seconds=2, fps=12, sample_rate=16_000):
    """Write a file with several tracks.

    `sizes` has the height and width of each video track; `sounds` has, of each audio track, its
    hertz, language, disposition and number of channels.
    """
    with av.open(str(path), "w") as out:
        streams = []
        for height, width in sizes:
            video = out.add_stream("libx264", rate=fps)
            video.height, video.width, video.pix_fmt = height, width, "yuv420p"
            frames = [picture(k, height, width) for k in range(seconds * fps)]
            frames = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
            for k, frame in enumerate(frames):
                frame.pts, frame.time_base = k, Fraction(1, fps)
            streams.append((video, frames))
        for hertz, language, disposition, channels in sounds:
            layout = {1: "mono", 2: "stereo"}[channels]
            audio = out.add_stream("aac", rate=sample_rate, layout=layout)
            audio.metadata["language"] = language
            audio.disposition = disposition
            samples = tone(hertz, seconds, sample_rate, channels)
            streams.append((audio, _pieces(audio, samples, sample_rate, layout)))
        packets = [
            p for stream, frames in streams for f in [*frames, None] for p in stream.encode(f)
        ]
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            out.mux(packet)
    return Path(path)


def _pieces(audio, samples, sample_rate, layout):
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = sample_rate, Fraction(1, sample_rate), 0
    resampler = av.AudioResampler("fltp", layout, sample_rate, frame_size=1024)
    return [*resampler.resample(frame), *resampler.resample(None)]


def joined(path, parts):
    """Append files, e.g. transport streams, to one another."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def steady(seconds, fps=12):
    """Return the times of a steady frame rate."""
    return [k / fps for k in range(round(seconds * fps))]


def plain(path, seconds=3):
    """Write a well-formed video: 12 fps, 16 kHz mono."""
    return write_video(path, steady(seconds), chirp(seconds))


def empty(path):
    """Write a file of 0 bytes."""
    path.write_bytes(b"")
    return path


def text(path):
    """Write text under a video's name."""
    path.write_text("this is no video\n")
    return path


def png(path):
    """Write a picture under a video's name."""
    Image.fromarray(picture(0)).save(path, format="PNG")
    return path


def no_index(path):
    """Write a video cut off before its index."""
    content = plain(path).read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    return path


def half(path):
    """Write a video of 6 s with its index in front, of which the second half is missing."""
    write_video(path, steady(6), chirp(6), index_in_front=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def damaged(path):
    """Write a video of 3 s with random bytes in the middle of its data."""
    content = bytearray(plain(path).read_bytes())
    start = content.index(b"mdat") + 4
    stop = content.index(b"moov")
    noise = np.random.default_rng(0).integers(0, 256, (stop - start) // 2, dtype=np.uint8)
    begin = start + (stop - start) // 4
    content[begin : begin + len(noise)] = noise.tobytes()
    path.write_bytes(bytes(content))
    return path


def all_noise(path):
    """Write a video of 3 s whose data are random bytes throughout."""
    content = bytearray(plain(path).read_bytes())
    start, stop = content.index(b"mdat") + 4, content.index(b"moov") - 4
    noise = np.random.default_rng(0).integers(0, 256, stop - start, dtype=np.uint8)
    content[start:stop] = noise.tobytes()
    path.write_bytes(bytes(content))
    return path


def nan_wav(path, seconds=1, sample_rate=16_000):
    """Write a float WAV in which every thousandth sample is no number."""
    samples = chirp(seconds, sample_rate)[0]
    samples[::1000] = np.nan
    data = samples.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, sample_rate, 4 * sample_rate, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def write_long(path, seconds, fps=8, size=32):
    """A square that moves, and noise that comes and goes every ten seconds."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=fps)
        video.width = video.height = size
        audio = out.add_stream("aac", rate=16_000, layout="mono")
        for k in range(seconds * fps):
            picture = np.full((size, size, 3), 60, np.uint8)
            picture[8:20, k % 20 : k % 20 + 8] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, fps)
            out.mux(video.encode(frame))
            if k % fps == 0:
                loud = 0.3 if k // fps % 20 < 10 else 0.0
                noise = (rng.standard_normal((1, 16_000)) * loud).astype(np.float32)
                sound = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
                sound.pts, sound.rate = k // fps * 16_000, 16_000
                out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path
