"""Reading video with sound: which frames, when, which way up, and with which sound."""

import warnings

import make_media
import numpy as np
import pytest
import torch
from make_media import (
    chirp,
    half,
    indices_of,
    plain,
    shift_of,
    steady,
    write_long,
    write_video,
)

from coprop_plugin.errors import MediaError
from coprop_plugin.media import (
    MediaWarning,
    open_video,
    open_video_at,
    probe,
    read_clip,
    read_waveform,
)
from coprop_plugin.media.video_source import VideoSource
from coprop_plugin.types import Clip

UNEVEN = [0, 0.033, 0.067, 0.1, 0.3, 0.8, 1.05, 1.8, 2.05, 2.967, 3.3, 3.8, 4.3, 4.8, 5.3, 5.8]


def on_screen(times, moment):
    return max(k for k, time_s in enumerate(times) if time_s <= moment + 1e-9)


@pytest.mark.parametrize("fps", [0.5, 1, 2, 4])
def test_frames_are_sampled_by_time_stamps(tmp_path, fps):
    path = write_video(tmp_path / "uneven.mp4", UNEVEN, chirp(5.9), last_s=0.1, in_order=True)
    clip = read_clip(path, fps=fps)
    moments = np.arange(0, 5.9, 1 / fps)
    assert indices_of(clip.frames) == [on_screen(UNEVEN, moment) for moment in moments]
    for time_s, moment in zip(clip.times.tolist(), moments, strict=True):
        shown = UNEVEN[on_screen(UNEVEN, moment)]
        # Its own time stamp, or the moment itself where the picture still stands.
        assert min(abs(time_s - shown), abs(time_s - moment)) < 1e-4


@pytest.mark.parametrize("in_order", [True, False])
def test_uneven_video_gives_six_frames_for_its_six_seconds(tmp_path, in_order):
    path = tmp_path / "uneven.mp4"
    write_video(path, UNEVEN, chirp(5.9), last_s=0.1, in_order=in_order)
    clip = read_clip(path)
    torch.testing.assert_close(
        clip.times, torch.tensor([0, 0.8, 1.8, 2.967, 3.8, 4.8]).double(), atol=1e-4, rtol=0
    )


def test_a_picture_that_stays_is_kept_again(tmp_path):
    path = write_video(tmp_path / "slides.mkv", [0, 2.5, 3.2], chirp(6), last_s=2.8)
    clip = read_clip(path)
    assert indices_of(clip.frames) == [0, 0, 0, 1, 2, 2]
    torch.testing.assert_close(clip.times, torch.tensor([0, 1, 2, 2.5, 3.2, 5]).double())


def test_every_frame_is_kept_without_fps(tmp_path):
    path = write_video(tmp_path / "uneven.mp4", UNEVEN, chirp(5.9))
    clip = read_clip(path, fps=None)
    assert indices_of(clip.frames) == list(range(len(UNEVEN)))
    torch.testing.assert_close(clip.times, torch.tensor(UNEVEN).double(), atol=1e-4, rtol=0)


def test_rounded_time_stamps_lose_no_frame(tmp_path):
    # Matroska knows milliseconds only: frame 2 at 30 fps is stamped 67 ms, after 2 / 30 s.
    path = write_video(tmp_path / "thirty.mkv", steady(1, 30), chirp(1))
    assert indices_of(read_clip(path, fps=30).frames) == [k % 30 for k in range(30)]


def test_ten_seconds_at_ntsc_rate_give_ten_frames(tmp_path):
    times = [k * 1001 / 30_000 for k in range(90)]
    path = write_video(tmp_path / "ntsc.mp4", times, chirp(3))
    assert len(read_clip(path)) == 3


@pytest.mark.parametrize(("rate", "frame_in_second"), [(12, 11), (24, 22), (25, 23), (30, 28)])
def test_avsbench_takes_the_last_sixteenth_of_each_second(tmp_path, rate, frame_in_second):
    path = write_video(tmp_path / "clip.mp4", steady(3, rate), chirp(3))
    clip = read_clip(path, sampling="avsbench")
    wanted = torch.tensor([s + frame_in_second / rate for s in range(3)]).double()
    torch.testing.assert_close(clip.times, wanted, atol=1e-4, rtol=0)
    assert clip.sampling == "avsbench"


def test_avsbench_takes_the_last_frame_past_the_end(tmp_path):
    path = write_video(tmp_path / "clip.mp4", steady(2.5, 12), chirp(2.5))
    clip = read_clip(path, sampling="avsbench")
    assert indices_of(clip.frames) == [11, 23, 29]


def test_first_picture_is_time_zero(tmp_path):
    sound = chirp(3)
    path = write_video(tmp_path / "late.mp4", steady(2), sound, video_from_s=0.5)
    clip = read_clip(path)
    assert clip.times.tolist() == [0, 1]
    shift, agreement = shift_of(clip.waveform, sound[0, 8000:], 16_000)
    assert abs(shift) <= 1
    assert agreement > 0.99


@pytest.mark.parametrize("fps", [None, 1, 3.5])
@pytest.mark.parametrize("kind", ["plain", "uneven", "damaged", "half"])
def test_streaming_gives_what_reading_gives(tmp_path, kind, fps):
    path = tmp_path / "clip.mp4"
    if kind == "uneven":
        write_video(path, UNEVEN, chirp(5.9))
    else:
        getattr(make_media, kind)(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MediaWarning)
        clip = read_clip(path, fps=fps)
        info = probe(path, fps=fps)
        stream = list(open_video(path, fps=fps))
        waveform, rate = read_waveform(path, start_s=info.start_s, duration_s=info.duration_s)
    assert [time_s for time_s, _ in stream] == clip.times.tolist() == info.times.tolist()
    assert torch.equal(torch.stack([frame for _, frame in stream]), clip.frames)
    assert info.size == clip.size
    assert rate == clip.sample_rate
    assert torch.equal(waveform, clip.waveform)


def test_clip_from_file_is_read_clip(tmp_path):
    path = plain(tmp_path / "clip with spaces.mp4", seconds=1)
    clip = Clip.from_file(path, fps=4)
    assert indices_of(clip.frames) == [0, 3, 6, 9]
    assert clip.source == path


@pytest.mark.parametrize(
    ("rotation", "white_corner"), [(90, "bottom left"), (180, "bottom right"), (-90, "top right")]
)
def test_a_rotation_tag_is_applied(tmp_path, rotation, white_corner):
    path = write_video(tmp_path / "phone.mp4", steady(1), chirp(1), rotation=rotation)
    clip = read_clip(path)
    turned = rotation != 180
    assert clip.size == ((64, 48) if turned else (48, 64))
    assert probe(path).size == clip.size
    frame = clip.frames[0].float().mean(0)
    corners = {
        "top left": frame[:8, :8],
        "top right": frame[:8, -8:],
        "bottom left": frame[-8:, :8],
        "bottom right": frame[-8:, -8:],
    }
    assert max(corners, key=lambda name: corners[name].mean()) == white_corner


@pytest.mark.parametrize(("size", "pix_fmt"), [((131, 223), "yuv444p"), ((16, 16), "yuv420p")])
def test_odd_and_tiny_sizes_are_kept(tmp_path, size, pix_fmt):
    path = write_video(tmp_path / "clip.mp4", steady(1), chirp(1), size=size, pix_fmt=pix_fmt)
    assert read_clip(path).size == size


def test_one_frame_is_a_clip_of_a_second(tmp_path):
    clip = read_clip(write_video(tmp_path / "one.mp4", [0], chirp(1), last_s=1 / 12))
    assert len(clip) == 1
    assert len(clip.waveform) == 16_000


def test_late_sound_keeps_its_start_time(tmp_path):
    sound = chirp(3)
    path = write_video(tmp_path / "late.mp4", steady(5), sound, sound_from_s=1)
    clip = read_clip(path)
    assert len(clip.waveform) == 5 * 16_000
    assert clip.waveform[:14_000].abs().max() < 1e-3
    assert clip.waveform[66_000:].abs().max() < 1e-3
    shift, agreement = shift_of(clip.waveform[16_000:64_000], sound[0], 16_000)
    assert abs(shift) <= 1
    assert agreement > 0.99


@pytest.mark.parametrize(("heard_s", "seen_s"), [(1, 3), (3, 1)])
def test_sound_is_as_long_as_the_video(tmp_path, heard_s, seen_s):
    sound = chirp(heard_s)
    clip = read_clip(write_video(tmp_path / "clip.mp4", steady(seen_s), sound))
    assert len(clip.waveform) == seen_s * 16_000
    assert clip.waveform[round(1.1 * 16_000) :].abs().max() < 1e-3 if heard_s < seen_s else True
    assert shift_of(clip.waveform, sound[0], 16_000)[1] > 0.99


def test_channels_are_averaged_not_summed(tmp_path):
    left = chirp(1, 44_100)
    sound = np.concatenate([left, np.zeros_like(left)])
    path = write_video(
        tmp_path / "clip.mkv",
        steady(1),
        sound,
        sample_rate=44_100,
        layout="stereo",
        acodec="pcm_s16le",
    )
    waveform, sample_rate = read_waveform(path, duration_s=1)
    assert sample_rate == 44_100
    np.testing.assert_allclose(waveform, left[0] / 2, atol=1e-4)


def test_opposite_channels_are_noticed(tmp_path):
    left = chirp(2)
    sound = np.concatenate([left, -left])
    path = write_video(tmp_path / "clip.mp4", steady(2), sound, layout="stereo")
    with pytest.warns(MediaWarning, match="cancel one another"):
        clip = read_clip(path)
    shift, agreement = shift_of(clip.waveform, left[0], 16_000)
    assert shift == 0
    assert abs(agreement) > 0.99


def test_sound_in_the_centre_channel_alone_keeps_its_level(tmp_path):
    sound = np.zeros((6, 48_000 * 2), np.float32)
    sound[2] = chirp(2, 48_000)
    path = write_video(tmp_path / "c.mp4", steady(2), sound, sample_rate=48_000, layout="5.1")
    clip = read_clip(path)
    assert clip.sample_rate == 48_000
    assert shift_of(clip.waveform, sound[2], 48_000)[1] > 0.99
    np.testing.assert_allclose(clip.waveform.std(), sound[2].std(), rtol=0.05)


def test_the_files_own_rate_is_kept(tmp_path):
    sound = chirp(2, 8000)
    clip = read_clip(write_video(tmp_path / "c.mp4", steady(2), sound, sample_rate=8000))
    assert clip.sample_rate == 8000
    assert shift_of(clip.waveform, sound[0], 8000)[1] > 0.99


def test_silence_is_silence(tmp_path):
    path = write_video(tmp_path / "c.mp4", steady(2), np.zeros((1, 32_000), np.float32))
    assert read_clip(path).waveform.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "acodec", "sample_rate"),
    [
        ("c.mkv", "libopus", 48_000),
        ("c.mov", "pcm_s16le", 16_000),
        ("c.flv", "aac", 44_100),
        ("c.ts", "aac", 16_000),
    ],
)
def test_any_container_will_do(tmp_path, name, acodec, sample_rate):
    sound = chirp(2, sample_rate)
    path = tmp_path / name
    write_video(path, steady(2, 25), sound, sample_rate=sample_rate, acodec=acodec)
    clip = read_clip(path)
    assert len(clip) == 2
    shift, agreement = shift_of(clip.waveform, sound[0], sample_rate)
    assert abs(shift) <= sample_rate / 1000
    assert agreement > 0.97


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (dict(fps=0), "None to keep every frame.*fps=0"),
        (dict(fps=float("nan")), "fps=nan"),
        (dict(fps=2, sampling="avsbench"), "Expected fps=1"),
        (dict(sampling="middle"), "'pts' or 'avsbench'"),
    ],
)
def test_sampling_that_cannot_be_is_refused(tmp_path, wanted, message):
    with pytest.raises(MediaError, match=message):
        read_clip(tmp_path / "any.mp4", **wanted)


@pytest.mark.parametrize(
    ("fps", "sampling"), [(1, "pts"), (8, "pts"), (None, "pts"), (1, "avsbench")]
)
def test_reading_begins_in_the_middle_without_decoding_what_is_before(tmp_path, fps, sampling):
    """Key frames lie a second apart; from the last of them up to the start is decoded, no more."""
    path = write_long(tmp_path / "long.mp4", 30, fps=12)
    info = probe(path, fps, sampling)
    assert info.is_regular
    frames = [frame for _, frame in open_video(path, fps, sampling)]
    for start in (1, len(frames) // 2, len(frames) - 1):
        again = list(open_video_at(info, start))
        assert len(again) == len(frames) - start
        assert all(torch.equal(*pair) for pair in zip(again, frames[start:], strict=True))
    with VideoSource(path, quiet=True) as source:
        assert source.seek(25.0, info.start_s)
        first, _ = next(source.frames())
        assert 23.5 < first <= 25.0
        assert sum(1 for _ in source.frames()) < 7 * 12


@pytest.mark.parametrize(
    ("fps", "sampling"), [(1, "pts"), (5, "pts"), (None, "pts"), (1, "avsbench")]
)
@pytest.mark.parametrize("make", [plain, half])
def test_times_from_packets_are_those_of_decoded_frames(tmp_path, make, fps, sampling):
    path = make(tmp_path / "video.mp4") or tmp_path / "video.mp4"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MediaWarning)
        decoded, packets = (probe(path, fps, sampling, decode=d) for d in (True, False))
    assert torch.equal(decoded.times, packets.times)
    assert (decoded.size, decoded.start_s) == (packets.size, packets.start_s)
    assert decoded.duration_s == pytest.approx(packets.duration_s)
