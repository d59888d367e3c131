"""Clips and overlays as files: what comes back is what went in, at its time, with its sound."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from make_media import chirp, indices_of, picture, plain, shift_of, steady, write_video
from make_results import clip_in_memory, result_of

from coprop_plugin.errors import MediaError
from coprop_plugin.media import (
    class_colours,
    open_video,
    paint,
    probe,
    read_clip,
    read_mask,
    read_waveform,
    write_clip,
    write_overlay,
    write_text,
)
from coprop_plugin.media.encode import VideoWriter
from coprop_plugin.media.video_formats import PRORES_4444
from coprop_plugin.types import Clip


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 44_100])
def test_a_written_clip_comes_back(tmp_path, sample_rate):
    clip = clip_in_memory((0, 0.1, 0.5, 0.9, 1.7), sample_rate=sample_rate)
    back = read_clip(write_clip(clip, tmp_path / "clip.mp4"), fps=None)
    torch.testing.assert_close(back.times, clip.times, atol=2e-5, rtol=0)
    assert indices_of(back.frames) == [0, 1, 2, 3, 4]
    assert (back.frames.float() - clip.frames.float()).abs().mean() < 3
    assert back.sample_rate == sample_rate
    # An AAC encoder has a run-in of about a thousand samples; it must not show.
    shift, agreement = shift_of(back.waveform, clip.waveform, sample_rate)
    assert shift == 0
    assert agreement > 0.99


def cores():
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


@pytest.mark.skipif(len(cores()) < 2, reason="has one core anyway")
def test_a_written_clip_is_the_same_on_any_number_of_cores(tmp_path):
    # H.264 is cut into threads from a few hundred lines on, and bytes depend on how many.
    clip, before = clip_in_memory(size=(480, 640)), cores()
    many = write_clip(clip, tmp_path / "many.mp4").read_bytes()
    try:
        os.sched_setaffinity(0, {min(before)})
        one = write_clip(clip, tmp_path / "one.mp4").read_bytes()
    finally:
        os.sched_setaffinity(0, before)
    assert one == many


def test_the_last_frame_of_a_written_clip_keeps_its_length(tmp_path):
    path = write_clip(clip_in_memory(), tmp_path / "clip.mp4")
    assert probe(path).duration_s == pytest.approx(2.0, abs=1e-3)


def test_float_frames_and_a_rate_unknown_to_aac_are_written_too(tmp_path):
    clip = Clip(torch.rand(3, 3, 31, 33), torch.zeros(22_000), 22_000)
    back = read_clip(write_clip(clip, tmp_path / "clip.mp4"), fps=None)
    assert back.size == (32, 34)
    assert len(back) == 3


def test_colours_come_back(tmp_path):
    colours = torch.tensor([[220, 60, 30], [30, 200, 90], [40, 70, 230]], dtype=torch.uint8)
    for height in (64, 736):
        frames = colours[:, :, None, None].expand(-1, -1, height, 64).contiguous()
        clip = Clip(frames, torch.zeros(16_000))
        back = read_clip(write_clip(clip, tmp_path / "clip.mp4"), fps=None)
        assert (back.frames.float().mean((2, 3)) - colours).abs().max() < 4


def sounding(frame):
    """Whether the square is painted: grey no longer."""
    spot = frame[:, 36, 50].float()
    return bool(spot.max() - spot.min() > 30)


def test_every_source_frame_shows_the_mask_of_its_span(tmp_path):
    times = [0, 0.04, 0.4, 0.7, 1.02, 1.5, 1.9, 2.2, 2.9]
    path = write_video(tmp_path / "in.mp4", times, chirp(3.3), in_order=True, last_s=0.4)
    result = result_of(read_clip(path, fps=1))
    folder = result.save(tmp_path / "out")
    shown = list(open_video(folder / "overlay.mp4", fps=None))
    assert [round(time_s, 3) for time_s, _ in shown] == times
    spans = result.clip.spans
    for time_s, frame in shown:
        index = int((spans[:, 0] <= time_s + 1e-4).sum()) - 1
        assert sounding(frame) == (index % 2 == 0), time_s
        assert int(indices_of(frame[None, :, :12, -16:])[0]) == times.index(round(time_s, 3))


@pytest.mark.parametrize("from_s", [0, 0.25])
@pytest.mark.parametrize(
    ("name", "acodec", "kept"),
    [("a.mp4", "aac", "aac"), ("a.mov", "pcm_s16le", "aac"), ("a.mkv", "libopus", "opus")],
)
def test_the_overlay_has_the_sources_sound(tmp_path, name, acodec, kept, from_s):
    rate = 48_000
    path = tmp_path / name
    sound = chirp(2, rate, channels=2)
    write_video(
        path,
        steady(2),
        sound,
        sample_rate=rate,
        layout="stereo",
        acodec=acodec,
        sound_from_s=from_s,
    )
    clip = read_clip(path)
    write_overlay(tmp_path / "o.mp4", lambda _: np.ones((48, 64)), clip.spans, source=path)
    with av.open(str(tmp_path / "o.mp4")) as overlay:
        audio = overlay.streams.audio[0]
        assert audio.codec_context.name == kept
        assert audio.layout.nb_channels == 2
    waveform, sample_rate = read_waveform(tmp_path / "o.mp4", duration_s=2)
    assert sample_rate == rate
    shift, agreement = shift_of(waveform, clip.waveform, rate)
    assert abs(shift) <= rate / 1000
    assert agreement > 0.99
    if name == "a.mp4":
        # The very packets of the source.
        assert torch.equal(waveform, clip.waveform)


def test_sound_that_mp4_refuses_is_encoded_again(tmp_path):
    # A recording glued to itself: its time stamps go back in the middle.
    recording = plain(tmp_path / "recording.ts", seconds=2).read_bytes()
    path = tmp_path / "in.ts"
    path.write_bytes(recording * 2)
    clip = read_clip(path)
    assert len(clip) == 4
    write_overlay(tmp_path / "o.mp4", lambda _: np.ones((48, 64)), clip.spans, source=path)
    waveform, sample_rate = read_waveform(tmp_path / "o.mp4", duration_s=4)
    assert shift_of(waveform, clip.waveform, sample_rate)[1] > 0.99
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.ts", "o.mp4", "recording.ts"]


def test_the_overlay_stands_upright(tmp_path):
    path = write_video(tmp_path / "phone.mp4", steady(1), chirp(1), rotation=-90)
    clip = read_clip(path)
    assert clip.size == (64, 48)
    folder = result_of(clip).save(tmp_path / "out")
    back = read_clip(folder / "overlay.mp4")
    assert back.size == (64, 48)
    assert (back.frames[0, :, :16, -16:].float() - 255).abs().mean() < 8
    assert read_mask(folder / "masks/00000.png").shape == (64, 48)


def test_the_overlay_has_the_shape_of_pixels_that_only_the_container_knows(tmp_path):
    path = tmp_path / "anamorphic.mov"
    with VideoWriter(path, PRORES_4444) as writer:
        writer.pixel_aspect = Fraction(4, 3)
        for t in range(2):
            writer.add(np.full((48, 64, 4), 90, np.uint8), t / 2, 0.5)
    folder = result_of(read_clip(path)).save(tmp_path / "out")
    with av.open(str(folder / "overlay.mp4")) as overlay:
        assert overlay.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_an_odd_overlay_grows_by_a_pixel(tmp_path):
    path = write_video(tmp_path / "odd.mp4", steady(1), chirp(1), size=(49, 63), pix_fmt="yuv444p")
    folder = result_of(read_clip(path)).save(tmp_path / "out")
    assert probe(folder / "overlay.mp4").size == (50, 64)
    assert read_mask(folder / "masks/00000.png").shape == (49, 63)


def test_a_silent_file_has_a_silent_overlay(tmp_path):
    path = write_video(tmp_path / "mute.mp4", steady(1))
    with pytest.warns(UserWarning, match="with silence"):
        clip = read_clip(path)
    folder = result_of(clip).save(tmp_path / "out")
    assert not probe(folder / "overlay.mp4").has_sound


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="clip.mp4 cannot be written"):
        write_clip(clip_in_memory(), tmp_path / "file" / "clip.mp4")
    with pytest.raises(MediaError, match="a.txt cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "text")


def test_paint_leaves_the_silent_background_alone():
    before = picture(3, 60, 80)
    mask = np.zeros((60, 80), np.uint8)
    mask[30:50, 40:70] = 5
    after = paint(before, mask)
    changed = (before != after).any(-1)
    assert changed[30:50, 40:70].all()
    # One dark pixel around it, nothing farther away.
    changed[29:51, 39:71] = False
    assert not changed.any()
    assert np.array_equal(paint(before, np.zeros((60, 80), np.uint8)), before)


def test_a_legend_names_the_classes_that_are_shown():
    ground = np.full((240, 320, 3), 200, np.uint8)
    mask = np.zeros((240, 320), np.uint8)
    mask[20:60, 20:60], mask[20:60, 200:260] = 1, 3
    names = ("background", "dog", "cat", "violin")
    plain, named = paint(ground, mask), paint(ground, mask, names)
    where = (plain != named).any(2)
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    # In the lower left corner: a dark plate with a row for each class that is shown.
    assert (rows[-1], columns[0]) == (233, 6)
    assert len(rows) == 5 + 2 * (11 + 5) + 1
    colours = {tuple(pixel) for pixel in named[where].tolist()}
    shown = class_colours()
    for class_id, is_there in ((1, True), (2, False), (3, True)):
        assert (tuple(shown[class_id].tolist()) in colours) == is_there
    assert paint(ground, mask * 0, names) is ground
    small = paint(ground[:100], mask[:100], names)
    assert np.array_equal(small, paint(ground[:100], mask[:100]))
    long = paint(ground, mask, ("", "d" * 500, "", "v" * 500))
    assert long.shape == ground.shape


def test_paint_brings_a_mask_to_the_pictures_size():
    mask = np.zeros((6, 8), np.uint8)
    mask[3:, 4:] = 1
    after = paint(picture(0, 60, 80), mask)
    assert (after[32:, 42:].std(-1) > 10).all()
    assert (after[:28].std(-1) == 0).all()


@pytest.mark.parametrize("tag", [1, 6])
def test_an_overlay_has_the_colours_and_tags_of_its_source(tmp_path, tag):
    """A small video in BT.709: its colours are not those of other small videos."""
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10, options={"crf": "4"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.colorspace = tag
        for _ in range(3):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane, value in zip(frame.planes, (110, 112, 146), strict=True):
                np.frombuffer(plane, np.uint8)[:] = value
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    mask = np.zeros((48, 64), np.uint8)
    mask[32:, 48:] = 3
    write_overlay(tmp_path / "o.mp4", lambda _: mask, torch.tensor([[0.0, 1.0]]), source=path)
    with av.open(str(tmp_path / "o.mp4")) as overlay:
        shown = next(overlay.decode(video=0))
        assert shown.colorspace == tag
        stored = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size) for p in shown.planes]
        assert [round(float(p[2:12, 2:12].mean())) for p in stored] == [110, 112, 146]
        painted = shown.to_ndarray(format="rgb24")[38:46, 54:62].mean((0, 1))
        with av.open(str(path)) as source:
            before = next(source.decode(video=0)).to_ndarray(format="rgb24")
        expected = paint(before, mask)[38:46, 54:62].mean((0, 1))
        assert np.abs(painted - expected).max() < 6


def test_classes_can_be_told_apart():
    colours = class_colours()[1:71].astype(int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1)
    assert apart[~np.eye(70, dtype=bool)].min() > 24
    assert np.abs(np.diff(colours, axis=0)).sum(-1).min() > 100
