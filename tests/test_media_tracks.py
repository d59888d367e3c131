"""Files with several tracks, with tracks that change, and with pictures that stay."""

import logging

import numpy as np
import pytest
import torch
from av.stream import Disposition
from make_media import chirp, indices_of, joined, pitches, steady, tone, write_tracks, write_video
from typer.testing import CliRunner

from coprop_plugin import cli, media
from coprop_plugin.errors import MediaError
from coprop_plugin.media import MediaWarning, probe, read_clip, read_waveform
from coprop_plugin.types import Clip, Tracks

DEFAULT, NONE, COMMENT = Disposition.default, Disposition(0), Disposition.comment
SMALL = [(48, 64)]


def heard(path, **options):
    clip = Clip.from_file(path, **options)
    return pitches(clip.waveform, clip.sample_rate)


@pytest.mark.parametrize(
    ("suffix", "sounds"),
    [
        ("mkv", [(0, "deu", NONE, 1), (440, "eng", DEFAULT, 1)]),
        ("mp4", [(300, "eng", COMMENT, 1), (440, "eng", NONE, 1)]),
        ("mkv", [(300, "eng", Disposition.visual_impaired, 1), (440, "eng", NONE, 1)]),
        ("mkv", [(300, "eng", DEFAULT, 1), (440, "eng", DEFAULT, 2)]),
    ],
    ids=["silent", "commentary", "description", "fewer channels"],
)
def test_the_audio_track_is_the_one_that_players_choose(tmp_path, suffix, sounds):
    path = write_tracks(tmp_path / f"two.{suffix}", SMALL, sounds)
    assert heard(path) == [44] * 8


@pytest.mark.parametrize("which", ["first", "last"])
def test_a_track_that_cannot_be_decoded_is_passed_over(tmp_path, which):
    sounds = [(440, "eng", NONE, 1)] * 2
    content = write_tracks(tmp_path / "two.mp4", SMALL, sounds).read_bytes()
    place = content.index(b"mp4a") if which == "first" else content.rindex(b"mp4a")
    path = tmp_path / "apac.mp4"
    path.write_bytes(content[:place] + b"apac" + content[place + 4 :])
    assert heard(path) == [44] * 8


def test_a_preview_is_not_the_video(tmp_path, caplog):
    path = write_tracks(tmp_path / "two.mp4", [(16, 16), (96, 128)], [(440, "eng", DEFAULT, 1)])
    with caplog.at_level(logging.INFO):
        assert read_clip(path).size == (96, 128)
    assert "video track 1 (und, h264, 128x96) of 2" in caplog.text
    assert Clip.from_file(path, video_track=0).size == (16, 16)


@pytest.mark.parametrize(("wanted", "pitch"), [(0, 30), ("0", 30), ("en", 44)])
def test_a_track_is_chosen_by_number_or_language(tmp_path, wanted, pitch):
    sounds = [(300, "deu", NONE, 1), (440, "eng", DEFAULT, 1)]
    path = write_tracks(tmp_path / "two.mkv", SMALL, sounds)
    assert heard(path, audio_track=wanted) == [pitch] * 8


@pytest.mark.parametrize("wanted", [2, "fra", ""])
def test_a_track_that_is_not_there_is_refused_with_those_that_are(tmp_path, wanted):
    path = write_tracks(tmp_path / "one.mkv", SMALL, [(440, "eng", DEFAULT, 1)])
    with pytest.raises(MediaError, match=r"audio track.*one\.mkv.*0 \(eng, aac, 1 channels"):
        Clip.from_file(path, audio_track=wanted)


def test_silence_that_players_choose_is_told(tmp_path):
    sounds = [(0, "deu", DEFAULT, 1), (440, "eng", NONE, 1)]
    path = write_tracks(tmp_path / "two.mkv", SMALL, sounds)
    with pytest.warns(MediaWarning, match="silent throughout.*--audio-track"):
        read_clip(path)


@pytest.mark.parametrize("from_python", [True, False])
def test_the_overlay_keeps_the_chosen_tracks(tmp_path, from_python):
    sounds = [(300, "deu", DEFAULT, 1), (440, "eng", NONE, 1)]
    path = write_tracks(tmp_path / "two.mkv", [(48, 64), (32, 32)], sounds)
    clip = Clip.from_file(path, audio_track="eng", video_track=1)
    options = dict(clip=clip) if from_python else dict(source=path, tracks=Tracks(1, "eng"))
    overlay = media.write_overlay(
        tmp_path / "overlay.mp4",
        lambda t: np.zeros((32, 32), np.uint8),
        clip.spans,
        **options,
    )
    assert read_clip(overlay).size == (32, 32)
    assert heard(overlay)[:-1] == [44] * 7


def test_sound_of_another_file_replaces_that_of_the_video(tmp_path):
    path = write_video(tmp_path / "v.mp4", steady(2), tone(300))
    sound = write_video(tmp_path / "s.wav", None, tone(440), acodec="pcm_s16le")
    clip = Clip.from_file(path, audio=sound)
    assert pitches(clip.waveform, clip.sample_rate) == [44] * 8
    spans = clip.spans
    overlay = media.write_overlay(
        tmp_path / "o.mp4",
        lambda t: np.zeros((48, 64), np.uint8),
        spans,
        source=path,
        tracks=clip.tracks,
    )
    assert heard(overlay)[:-1] == [44] * 7


def transport_stream(path, sample_rate=48_000, channels=1, from_s=0.0, seconds=2, **options):
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    return write_video(
        path,
        steady(seconds),
        tone(440, seconds, sample_rate, channels),
        sample_rate=sample_rate,
        layout=layout,
        sound_from_s=from_s,
        video_from_s=from_s,
        **options,
    )


@pytest.mark.parametrize(
    ("rates", "second_from_s"), [((22_050, 48_000), 0.0), ((48_000, 24_000), 2.0)]
)
def test_joined_streams_have_one_rate_and_the_right_pitch(tmp_path, rates, second_from_s):
    parts = [
        transport_stream(tmp_path / "a.ts", rates[0]),
        transport_stream(tmp_path / "b.ts", rates[1], from_s=second_from_s),
    ]
    clip = read_clip(joined(tmp_path / "joined.ts", parts), fps=4)
    assert clip.sample_rate == 48_000
    assert len(clip) == 16
    assert pitches(clip.waveform, 48_000)[:-1] == [44] * 15
    loudness = clip.waveform[:-4800].unfold(0, 480, 480).abs().amax(1)
    # An encoder begins with up to two packets of padding.
    assert int((loudness < 0.2).sum()) <= 8
    # Control points are found at the same times, without decoding.
    assert torch.equal(probe(tmp_path / "joined.ts", fps=4, decode=False).times, clip.times)


def test_joined_streams_keep_their_pitch_in_the_overlay(tmp_path):
    parts = [
        transport_stream(tmp_path / "a.ts", 24_000, acodec="aac"),
        transport_stream(tmp_path / "b.ts", 48_000, acodec="aac"),
    ]
    path = joined(tmp_path / "joined.ts", parts)
    clip = read_clip(path)
    overlay = media.write_overlay(
        tmp_path / "o.mp4", lambda t: np.zeros((48, 64), np.uint8), clip.spans, source=path
    )
    assert heard(overlay)[:15] == [44] * 15


def test_channels_that_change_keep_their_level(tmp_path):
    def centre(sound):
        sound[[0, 1, 3, 4, 5]] = 0
        return sound

    parts = []
    for number, channels in enumerate((6, 2, 1)):
        sound = tone(440, 2, 48_000, channels)
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
        parts.append(
            write_video(
                tmp_path / f"{number}.ts",
                steady(2),
                centre(sound) if channels == 6 else sound,
                sample_rate=48_000,
                layout=layout,
                acodec="ac3",
            )
        )
    waveform, _ = read_waveform(joined(tmp_path / "joined.ts", parts), duration_s=6)
    levels = [float(waveform[int(s * 48_000) :][:24_000].std()) for s in (0.7, 2.7, 4.7)]
    assert levels == pytest.approx([0.3 / 2**0.5] * 3, rel=0.05)


def test_pictures_of_another_size_keep_their_aspect(tmp_path):
    parts = [
        transport_stream(tmp_path / "a.ts", size=(96, 128)),
        transport_stream(tmp_path / "b.ts", size=(48, 128)),
        transport_stream(tmp_path / "c.ts", size=(96, 64)),
    ]
    clip = read_clip(joined(tmp_path / "joined.ts", parts), fps=2)
    assert clip.size == (96, 128)
    shown = [(frame.float().mean(0) > 15).float() for frame in clip.frames]
    rows = [int((mask.mean(1) > 0.3).sum()) for mask in shown]
    columns = [int((mask.mean(0) > 0.3).sum()) for mask in shown]
    assert (rows[1], columns[1]) == (96, 128)
    assert (rows[6], columns[6]) == (pytest.approx(48, abs=2), 128)
    assert (rows[-1], columns[-1]) == (96, pytest.approx(64, abs=2))


@pytest.mark.filterwarnings("ignore:.*has no audio track")
@pytest.mark.parametrize(
    ("suffix", "times", "has_sound"),
    [("mp4", [0, 5], True), ("mkv", [0], True), ("mp4", [0, 5], False), ("mkv", [0], False)],
)
def test_the_last_picture_stays_to_the_end(tmp_path, suffix, times, has_sound):
    path = tmp_path / f"slides.{suffix}"
    # Programs often store the length of a moving picture for the last one.
    last_s = 1 / 25 if has_sound else 10 - times[-1]
    write_video(path, times, chirp(10) if has_sound else None, last_s=last_s, in_order=True)
    clip = read_clip(path)
    assert len(clip) == 10
    assert indices_of(clip.frames) == [k >= 5 and len(times) > 1 for k in range(10)]
    assert len(clip.waveform) == pytest.approx(10 * clip.sample_rate, rel=0.01)
    assert torch.equal(probe(path, decode=False).times, clip.times)


def test_a_picture_that_stays_is_found_from_the_middle(tmp_path):
    path = write_video(tmp_path / "s.mp4", [0, 0.5, 1, 4], chirp(8), last_s=0.04, in_order=True)
    info = probe(path, fps=2)
    frames = list(media.open_video_at(info, 0))
    assert len(frames) == len(info.times) == 16
    for start in (1, 5, 9, 15):
        again = list(media.open_video_at(info, start))
        assert all(torch.equal(*pair) for pair in zip(again, frames[start:], strict=True))


def test_moving_pictures_end_where_they_end(tmp_path):
    path = write_video(tmp_path / "moving.mp4", steady(2), chirp(6))
    assert len(read_clip(path)) == 2


def test_half_a_sampled_frame_is_left_out(tmp_path):
    path = write_video(tmp_path / "v.mp4", steady(2.75), chirp(2.75))
    assert [len(read_clip(path, fps=fps)) for fps in (0.25, 1, 2, 12)] == [1, 3, 6, 33]


def test_the_command_line_chooses_tracks(tmp_path):
    sounds = [(300, "deu", DEFAULT, 1), (440, "eng", NONE, 1)]
    path = write_tracks(tmp_path / "two.mkv", SMALL, sounds)
    run = CliRunner().invoke
    assert run(cli.app, ["anchor", str(path), "--audio-track", "eng"]).exit_code == 0
    done = run(cli.app, ["anchor", str(path), "--audio-track", "fra"])
    assert done.exit_code == 1
    assert "0 (deu, aac, 1 channels, default), 1 (eng, aac" in done.output
    done = run(cli.app, ["anchor", str(path), "--video-track", "3"])
    assert done.exit_code == 1
    assert "Expected the video track '3'" in done.output
    assert "h264, 64x48" in done.output


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / "link.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'gone.mp4'}\n")
    (tmp_path / "m.py").write_text("def model(frames, audio):\n    return frames[:, :1]\n")
    model = ["--backend", f"{tmp_path / 'm.py'}:model", "-o", str(tmp_path / "out")]
    for name, words in (
        (tmp_path / "link.mp4", "nowhere.mp4, which"),
        (tmp_path / "list.txt", "gone.mp4 does not"),
        ("https://example.org/a.mp4", "example.org/a.mp4 is an address, not a file"),
    ):
        for command in (["run", *model], ["anchor"]):
            done = CliRunner().invoke(cli.app, [*command, str(name)])
            assert done.exit_code == 1
            assert words in " ".join(done.output.split())
