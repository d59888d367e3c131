"""Broken and unusual files: what is wrong is said, with the file's name, and nothing crashes."""

import os
import re
import warnings

import av
import make_media
import numpy as np
import pytest
import torch
from make_media import chirp, indices_of, plain, steady, write_video
from PIL import Image

from coprop_plugin.errors import MediaError
from coprop_plugin.media import MediaWarning, open_video, probe, read_clip, read_waveform


@pytest.mark.parametrize("read", [read_clip, probe, lambda path: next(open_video(path))])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "is empty"),
        ("text", "cannot be opened as video"),
        ("png", "single image"),
        ("no_index", "cannot be opened as video.*cut off"),
        ("nan_wav", "no video, only audio"),
        ("all_noise", "none of its pictures|cannot be opened"),
    ],
)
def test_what_is_no_video_is_refused_by_name(tmp_path, kind, message, read):
    path = getattr(make_media, kind)(tmp_path / "bad name.mp4")
    with pytest.raises(MediaError, match=f"{re.escape(str(path))}.*({message})") as caught:
        read(path)
    # The last sentence is something that the reader can do.
    assert re.search(r"\b(Check|Download|Name|use)\b", str(caught.value))


def test_an_animated_webp_is_refused_as_one(tmp_path):
    pictures = [Image.fromarray(make_media.picture(k)) for k in range(3)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=100)
    with pytest.raises(MediaError, match="a.webp is an animated WebP.*Convert it to GIF or mp4"):
        read_clip(tmp_path / "a.webp")
    pictures[0].save(tmp_path / "b.webp")
    with pytest.raises(MediaError, match="b.webp is a single image"):
        read_clip(tmp_path / "b.webp")


@pytest.mark.parametrize("transfer", [16, 18])
def test_pictures_of_hdr_are_read_with_a_warning(tmp_path, transfer):
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p10le"
        video.codec_context.color_trc = transfer
        for k in range(3):
            out.mux(video.encode(av.VideoFrame.from_ndarray(make_media.picture(k))))
        out.mux(video.encode(None))
    with pytest.warns(MediaWarning, match="phone.mp4 is HDR video.*convert it to SDR"):
        assert indices_of(read_clip(path, fps=None).frames) == [0, 1, 2]


def test_sound_alone_is_no_video(tmp_path):
    path = write_video(tmp_path / "song.mp4", None, chirp(1))
    with pytest.raises(MediaError, match="song.mp4 holds no video, only audio"):
        read_clip(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(MediaError, match="The file .*nowhere.mp4 does not exist"):
        read_clip(tmp_path / "nowhere.mp4")


def test_a_folder_is_no_video(tmp_path):
    with pytest.raises(MediaError, match="got the folder"):
        read_clip(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match="pipe.*Save the stream first"):
        read_clip(tmp_path / "pipe.mp4")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="no such file on this system")
def test_a_file_that_cannot_be_read_is_named(tmp_path):
    # Not by chmod: the superuser reads everything but the first byte of a process.
    (tmp_path / "secret.mp4").symlink_to("/proc/self/mem")
    with pytest.raises(MediaError, match="secret.mp4 cannot be read .Input/output error"):
        read_clip(tmp_path / "secret.mp4")


def test_a_truncated_file_gives_the_part_that_is_there(tmp_path):
    path = make_media.half(tmp_path / "half.mp4")
    with pytest.warns(MediaWarning, match=r"half.mp4 declares 72 frames \(6.00 s\)") as caught:
        clip = read_clip(path)
    says = re.search(r"only (\d+) frames \((.*) s\) could be read", str(caught[0].message))
    num_read, length_s = int(says[1]), float(says[2])
    assert 24 <= num_read < 60
    assert clip.times.tolist() == list(range(len(clip)))
    assert len(clip) - 1 < length_s <= len(clip)
    assert len(clip.waveform) == pytest.approx(length_s * 16_000, abs=160)


def test_a_damaged_file_gives_what_can_be_read(tmp_path):
    path = make_media.damaged(tmp_path / "damaged.mp4")
    with pytest.warns(MediaWarning, match="damaged.mp4 declares .*damaged pieces"):
        clip = read_clip(path)
    assert 1 <= len(clip) <= 3
    assert torch.isfinite(clip.waveform).all()


def test_a_matroska_file_that_is_cut_off_is_warned_of(tmp_path):
    """Its streams declare no duration; the file has it in their tags."""
    path = write_video(tmp_path / "cut.mkv", steady(6))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(MediaWarning, match=r"cut.mkv declares 6.00 s of video, but only \d+ frames"):
        assert 1 <= len(read_clip(path)) < 6


@pytest.mark.parametrize("lost", [0, 100])
def test_a_transport_stream_that_ends_within_a_packet_is_warned_of(tmp_path, lost):
    path = write_video(tmp_path / "cut.ts", steady(3), chirp(3))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - lost])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_clip(path)
    said = [str(one.message) for one in caught if "cut off" in str(one.message)]
    assert len(said) == (lost > 0)
    assert all("cut.ts ends within a packet" in text for text in said)


def test_a_video_without_sound_is_silent(tmp_path):
    path = write_video(tmp_path / "mute.mp4", steady(3))
    with pytest.warns(MediaWarning, match="mute.mp4 has no audio track.*Continuing with silence"):
        clip = read_clip(path)
    assert len(clip) == 3
    assert clip.sample_rate == 16_000
    assert len(clip.waveform) == 48_000
    assert not clip.waveform.any()


def test_a_still_picture_has_no_waveform(tmp_path):
    path = write_video(tmp_path / "mute.mp4", steady(1))
    with pytest.raises(MediaError, match="no audio track.*Name a file with audio"):
        read_waveform(path)


def test_samples_that_are_no_numbers_become_silence(tmp_path):
    path = make_media.nan_wav(tmp_path / "nan.wav")
    with pytest.warns(MediaWarning, match="nan.wav: 16 audio samples are NaN"):
        waveform, sample_rate = read_waveform(path)
    truth = chirp(1)[0]
    truth[::1000] = 0
    assert sample_rate == 16_000
    np.testing.assert_array_equal(waveform, truth)


def test_a_playlist_does_not_reach_out(tmp_path):
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError, match="list.mp4"):
        read_clip(path)


def test_what_is_well_formed_gives_no_warning(tmp_path):
    path = plain(tmp_path / "plain.mp4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_clip(path)) == 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_any_damage_ends_in_a_clip_or_a_media_error(tmp_path, name):
    content = write_video(tmp_path / name, steady(1), chirp(1, 48_000), sample_rate=48_000)
    content = content.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for turn in range(24):
        damaged = bytearray(content)
        where, length = int(rng.integers(len(content))), int(rng.integers(1, 2000))
        if turn % 3 == 0:
            del damaged[where:]
        elif turn % 3 == 1:
            del damaged[where : where + length]
        else:
            noise = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
            damaged[where : where + length] = noise[: len(content) - where]
        (tmp_path / name).write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                clip = read_clip(tmp_path / name, fps=4)
            except MediaError:
                outcomes.add("error")
                continue
            # However wild its time stamps are: a file of one second does not become long.
            assert len(clip) < 300
            assert probe(tmp_path / name, fps=4).times.tolist() == clip.times.tolist()
            outcomes.add("clip")
    assert outcomes == {"clip", "error"}
