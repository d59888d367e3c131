"""Extracted frames with sound of their own, and arrays as other libraries hold them."""

import warnings

import numpy as np
import pytest
import torch
from make_media import indices_of, picture, pitches, tone, write_video
from PIL import Image
from typer.testing import CliRunner

from coprop_plugin import cli, media
from coprop_plugin.errors import ClipError, MediaError
from coprop_plugin.media import MediaWarning
from coprop_plugin.types import Clip

NUM = 12
FRAMES = np.stack([picture(k) for k in range(NUM)])
MODEL = "def model(frames, audio):\n    return frames[:, :1] - 0.2\n"


def write_frames(folder, name="frame_{}.png", first=1, count=NUM):
    folder.mkdir(parents=True)
    for k in range(count):
        Image.fromarray(picture(k)).save(folder / name.format(k + first))
    return folder


def write_sound(path, seconds=3.0, hertz=440):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, None, tone(hertz, seconds), acodec="pcm_s16le")


def test_a_folder_of_frames_is_a_clip(tmp_path):
    folder, sound = write_frames(tmp_path / "frames"), write_sound(tmp_path / "sound.wav")
    clip = Clip.from_frames(folder, sound, fps=4)
    # frame_10 comes after frame_9.
    assert indices_of(clip.frames) == list(range(NUM))
    assert clip.times.tolist() == [k / 4 for k in range(NUM)]
    assert pitches(clip.waveform, clip.sample_rate) == [44] * 12
    listed = Clip.from_frames(sorted(folder.iterdir())[:3], sound, fps=4)
    assert indices_of(listed.frames) == [0, 9, 10]


@pytest.mark.parametrize(
    ("frames", "sound"),
    [
        ("clip", "clip/audio.wav"),
        ("uid/frames", "uid/audio.wav"),
        ("a/clip", "a/clip.wav"),
        ("ms3_data/visual_frames/id", "ms3_data/audio_wav/train/id.wav"),
        ("s4_data/visual_frames/train/dog/id", "s4_data/audio_wav/train/dog/id.wav"),
    ],
)
def test_sound_is_found_where_datasets_keep_it(tmp_path, frames, sound):
    folder = write_frames(tmp_path / frames, "{}.mp4_1.png" if "ms3" in frames else "{}.jpg")
    write_sound(tmp_path / sound, seconds=NUM)
    clip = Clip.from_frames(folder, sampling="avsbench")
    assert pitches(clip.waveform, clip.sample_rate)[:4] == [44] * 4
    assert clip.times.tolist() == [k + 15 / 16 for k in range(NUM)]


def test_frames_without_sound_are_silent(tmp_path):
    with pytest.warns(MediaWarning, match="no audio file in or beside it"):
        clip = Clip.from_frames(write_frames(tmp_path / "frames"))
    assert not clip.waveform.any()


def test_missing_frames_and_a_wrong_rate_are_told(tmp_path):
    folder, sound = write_frames(tmp_path / "frames"), write_sound(tmp_path / "sound.wav")
    with pytest.warns(MediaWarning, match=r"last 12.00 s, but the audio 3.00 s.*--fps"):
        Clip.from_frames(folder, sound)
    (folder / "frame_5.png").unlink()
    with pytest.warns(MediaWarning, match="rise by 1 to 2"):
        Clip.from_frames(folder, sound, fps=4)


def test_frames_of_other_sizes_are_fitted(tmp_path):
    folder = write_frames(tmp_path / "frames")
    Image.fromarray(picture(3, 24, 64)).save(folder / "frame_4.png")
    clip = Clip.from_frames(folder, np.zeros(48_000, np.float32), fps=4)
    assert clip.size == (48, 64)
    rows = clip.frames[3].float().mean((0, 2))
    assert int((rows > 5).sum()) == pytest.approx(24, abs=2)


@pytest.mark.parametrize("whole", [True, False], ids=["dataset", "folder"])
def test_the_command_line_takes_folders_of_frames(tmp_path, whole):
    frames = write_frames(tmp_path / "ms3/visual_frames/one")
    sound = write_sound(tmp_path / "ms3/audio_wav/test/one.wav", NUM / 4)
    (tmp_path / "m.py").write_text(MODEL)
    where = [str(frames.parent)] if whole else [str(frames), "--audio", str(sound)]
    arguments = ["run", *where, "--fps", "4", "--backend", f"{tmp_path / 'm.py'}:model"]
    arguments += ["-o", str(tmp_path / "out"), "--propagator", "hold", "-q", "--alpha"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", MediaWarning)
        done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    result = tmp_path / "out" / "one"
    assert len(list((result / "masks").iterdir())) == NUM
    overlay = media.read_clip(result / "overlay.mp4", fps=4)
    assert len(overlay) == NUM
    assert pitches(overlay.waveform, overlay.sample_rate)[:-1] == [44] * (NUM - 1)
    assert "skipped" in CliRunner().invoke(cli.app, [*arguments, "--json"]).output


def test_a_frame_that_cannot_be_read_is_named(tmp_path):
    folder = write_frames(tmp_path / "frames")
    (folder / "frame_3.png").write_text("no picture")
    with pytest.raises(MediaError, match=r"frame_3\.png cannot be read"):
        Clip.from_frames(folder, np.zeros(48_000, np.float32), fps=4)
    with pytest.raises(MediaError, match="gone.*does not exist"):
        Clip.from_frames(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="without pictures"):
        Clip.from_frames(tmp_path / "empty")


@pytest.mark.parametrize(
    "frames",
    [
        FRAMES,
        FRAMES[:, ::-1][:, ::-1],
        FRAMES.transpose(0, 3, 1, 2),
        torch.from_numpy(FRAMES),
        list(FRAMES),
        list(torch.from_numpy(FRAMES).permute(0, 3, 1, 2)),
        [Image.fromarray(frame) for frame in FRAMES],
        [Image.fromarray(frame).convert("RGBA") for frame in FRAMES],
    ],
    ids=["HWC", "flipped", "CHW", "tensor", "arrays", "tensors", "PIL", "PIL with alpha"],
)
def test_frames_in_any_form_are_the_same_clip(frames):
    clip = Clip(frames, torch.zeros(48_000))
    assert torch.equal(clip.frames, torch.from_numpy(FRAMES).permute(0, 3, 1, 2))
    assert Clip.of((frames, np.zeros(48_000), 16_000)).num_frames == NUM


def test_frames_of_opencv_are_turned():
    clip = Clip.from_frames(FRAMES[..., ::-1], fps=4, colours="bgr")
    assert torch.equal(clip.frames, torch.from_numpy(FRAMES).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "at least one frame"),
        (np.zeros((2, 3, 8, 3), np.uint8), "colours first or last.*as_tensor"),
        (FRAMES[0], r"frames\[None\]"),
        (np.zeros((2, 8, 8, 4), np.uint8), "alpha"),
        (np.zeros((2, 8, 8), np.uint8), "Expected frames"),
        (FRAMES.astype(np.int64), r"astype\('uint8'\)"),
        (FRAMES.astype(np.float32), "Divide 0..255 by 255"),
        ([FRAMES[0], FRAMES[1, :8]], "one size"),
        ("street", "as numbers"),
        ([None, None], "as numbers"),
        (None, "as numbers"),
    ],
)
def test_frames_that_are_ambiguous_are_refused_with_what_to_do(frames, message):
    with pytest.raises(ClipError, match=message):
        Clip(frames, torch.zeros(16_000))


SOUND = tone(440, 1.0)[0]


@pytest.mark.parametrize(
    "waveform",
    [
        SOUND,
        SOUND.astype(np.float64),
        np.stack([SOUND, SOUND]),
        np.stack([SOUND, SOUND], 1),
        (SOUND * 32768).round().astype(np.int16),
        (np.stack([SOUND, SOUND], 1) * 2**31).round().astype(np.int32),
        (SOUND * 128 + 128).round().astype(np.uint8),
        SOUND.tolist(),
        torch.from_numpy(SOUND)[None],
    ],
    ids=["float", "double", "CN", "NC", "int16", "int32", "uint8", "list", "1N"],
)
@pytest.mark.parametrize("rate", [16_000, 16_000.0, np.int64(16_000), torch.tensor(16_000)])
def test_sound_in_any_form_is_the_same_clip(waveform, rate):
    clip = Clip(FRAMES, waveform, rate)
    assert clip.sample_rate == 16_000
    assert type(clip.sample_rate) is int
    torch.testing.assert_close(clip.waveform, torch.from_numpy(SOUND), atol=0.005, rtol=0)


def test_channels_that_cancel_out_are_not_silence():
    with pytest.warns(UserWarning, match="cancel one another out"):
        clip = Clip(FRAMES, np.stack([SOUND, -SOUND]))
    assert clip.waveform.abs().max() > 0.2


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (np.zeros((2, 2)), 16_000, r"may be \[channels, samples\]"),
        (np.zeros((500, 600)), 16_000, r"may be \[channels, samples\]"),
        (np.zeros((1, 2, 600)), 16_000, "one by one"),
        (np.zeros(600, np.int64), 16_000, "largest value is not known"),
        (SOUND * 32768, 16_000, "int16 by 32768"),
        (np.full(600, np.nan), 16_000, "finite"),
        ("sound.wav", 16_000, "as numbers"),
        (SOUND, 16_000.5, "whole number"),
        (SOUND, "16k", "whole number"),
        (SOUND, None, "whole number"),
        (SOUND, float("nan"), "whole number"),
        (SOUND, -1, "whole number"),
        (SOUND, True, "whole number"),
    ],
)
def test_sound_that_is_ambiguous_is_refused_with_what_to_do(waveform, rate, message):
    with pytest.raises(ClipError, match=message):
        Clip(FRAMES, waveform, rate)
