"""What asks for too much is refused by name before memory is set aside, and can be allowed."""

import json
import re
import struct
import tracemalloc
import zipfile
import zlib

import make_media
import pytest
import torch
from make_media import chirp, steady, write_video
from PIL import Image
from safetensors.torch import save_file

from coprop_plugin import Clip, ControlPoints, limits
from coprop_plugin.benchmark.datasets import MS3, read_pictures
from coprop_plugin.checkpoints import read_weights
from coprop_plugin.control_points import FileProvider, Store
from coprop_plugin.errors import (
    CheckpointError,
    ControlPointError,
    DatasetError,
    LimitError,
    MediaError,
    PropagationError,
)
from coprop_plugin.keyframes import load_keyframe_processor
from coprop_plugin.media import (
    open_video,
    probe,
    read_clip,
    read_mask,
    read_painted_mask,
    read_waveform,
)
from coprop_plugin.pipeline import MaskLogits
from coprop_plugin.propagation.checkpoint import load


@pytest.fixture
def video(tmp_path):
    return make_media.plain(tmp_path / "plain.mp4", seconds=2)


@pytest.mark.parametrize(
    ("limit", "most", "says"),
    [
        (limits.PIXELS, 3000, "3,072 pixels per image"),
        (limits.DURATION_S, 1, r"1\.\d+ seconds"),
        (limits.FRAMES, 3, "4 frames"),
        (limits.CLIP_BYTES, 20_000, "27,648 bytes of images kept in memory"),
        (limits.SAMPLE_RATE, 8000, "16,000 samples per second"),
    ],
    ids=lambda x: getattr(x, "variable", None),
)
def test_a_video_past_a_limit_is_refused_and_can_be_allowed(video, limit, most, says, monkeypatch):
    monkeypatch.setenv(limit.variable, str(most))
    wanted = rf"{re.escape(str(video))}: {says} exceeds the limit of {most:,}.*{limit.variable}="
    with pytest.raises(MediaError, match=wanted):
        read_clip(video, fps=4)
    monkeypatch.setenv(limit.variable, "inf")
    assert len(read_clip(video, fps=4)) == 8


def test_frames_one_by_one_need_no_memory_for_all(video, monkeypatch):
    monkeypatch.setenv("COPROP_MAX_CLIP_BYTES", "20000")
    assert len(list(open_video(video, fps=4))) == len(probe(video, fps=4).times) == 8


def test_a_limit_that_is_no_number_is_refused(video, monkeypatch):
    for text in ("many", "0", "-1", "nan"):
        monkeypatch.setenv("COPROP_MAX_PIXELS", text)
        with pytest.raises(LimitError, match=f"COPROP_MAX_PIXELS='{text}'.*in the environment"):
            read_clip(video)


def test_a_sound_of_a_strange_rate_is_refused(tmp_path):
    path = make_media.nan_wav(tmp_path / "fast.wav", 0.1)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", 2**31 - 1)
    path.write_bytes(bytes(content))
    with pytest.raises(MediaError, match="2,147,483,647 samples per second"):
        read_waveform(path)


def test_a_long_video_without_sound_takes_no_memory_for_silence(tmp_path):
    path = write_video(tmp_path / "mute.mp4", steady(2))
    with pytest.warns(UserWarning, match="no audio track"):
        waveform, rate = read_waveform(path, duration_s=80_000, in_memory=10**6)
    assert len(waveform) == 80_000 * rate
    assert not waveform[-1000:].any()


def test_a_playlist_leads_to_no_other_file(tmp_path):
    write_video(tmp_path / "secret.ts", steady(1), chirp(1, 48_000), sample_rate=48_000)
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n"
    for name, text in {
        "list.mp4": f"{head}{tmp_path / 'secret.ts'}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile '{tmp_path / 'secret.ts'}'\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(MediaError, match=f"{name} cannot be opened"):
            read_clip(tmp_path / name)


def png_of(path, width, height):
    """Write a PNG that announces a size, with next to no data."""
    picture = Image.new("L", (1, 1))
    picture.save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    "read",
    [
        read_pictures.binary_mask,
        read_mask,
        lambda path: read_painted_mask(path, (4, 4), num_classes=1),
    ],
    ids=["data set", "result", "painted"],
)
def test_a_picture_that_announces_billions_of_pixels_is_refused_unread(read, tmp_path):
    path = png_of(tmp_path / "mask.png", 12_000, 12_000)
    tracemalloc.start()
    with pytest.raises(
        (DatasetError, MediaError), match="mask.png: 144,000,000 pixels.*COPROP_MAX_PIXELS"
    ):
        read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20


def test_control_points_of_a_billion_frames_are_refused(tmp_path):
    with pytest.raises(ControlPointError, match="10,000,000,000 frames.*COPROP_MAX_FRAMES"):
        ControlPoints.from_dict({"indices": [0], "num_frames": 10**10})


def test_texts_past_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("COPROP_MAX_TEXT_BYTES", "30")
    path = tmp_path / "long.json"
    path.write_text(json.dumps([1] + [0] * 99))
    clip = Clip(torch.zeros(100, 3, 4, 4), torch.zeros(1600))
    for read, error in (
        (lambda: FileProvider(path).propose(clip), ControlPointError),
        (lambda: Store.load(path), ControlPointError),
        (lambda: MS3(tmp_path, meta=path), DatasetError),
    ):
        with pytest.raises(error, match="long.json: 300 bytes of text.*COPROP_MAX_TEXT_BYTES"):
            read()


def test_a_zip_bomb_is_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("COPROP_MAX_WEIGHTS_BYTES", "1e6")
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data/0", bytes(10**7))
    assert path.stat().st_size < 20_000
    with pytest.raises(CheckpointError, match="bomb.pth: 10,000,000 bytes of weights"):
        read_weights(path)


def test_a_tensor_larger_than_its_file_is_refused(tmp_path):
    path = tmp_path / "wide.pth"
    torch.save({"a": torch.zeros(1).expand(10**11)}, path)
    with pytest.raises(CheckpointError, match="wide.pth: 400,000,000,000 bytes of weights"):
        read_weights(path)


@pytest.mark.parametrize(
    ("format", "config"),
    [
        ("KeyframeProcessor/1", {"width": 10**8}),
        ("KeyframeProcessor/1", {"encoder_layers": 10**9}),
        ("KeyframeProcessor/1", {"num_classes": 10**9}),
        ("AudioInsertPropagator/1", {"num_layers": 10**9}),
        ("AudioInsertPropagator/1", {"encoder": {"type": "r50", "blocks": [10**9, 1, 1]}}),
    ],
)
def test_a_file_cannot_ask_for_a_network_larger_than_itself(tmp_path, format, config):
    path = tmp_path / "tiny.safetensors"
    about = {"format": f"coprop_plugin.{format}", "config": json.dumps(config)}
    save_file({"a": torch.zeros(1)}, path, metadata=about)
    read = load_keyframe_processor if "Keyframe" in format else load
    with pytest.raises(CheckpointError, match="far larger than the 1 tensors it holds"):
        read(path)


@pytest.mark.parametrize(
    ("format", "config"),
    [
        ("KeyframeProcessor/1", {"audio_encoder": {"type": "builtins.open", "file": "ran"}}),
        ("KeyframeProcessor/1", {"audio_encoder": "os.abort"}),
        ("AudioInsertPropagator/1", {"guide": {"type": "pathlib.Path.touch", "self": "ran"}}),
        ("AudioInsertPropagator/1", {"audio_encoder": "os.abort"}),
    ],
)
def test_a_config_in_weights_runs_nothing(tmp_path, format, config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    about = {"format": f"coprop_plugin.{format}", "config": json.dumps(config)}
    save_file({"a": torch.zeros(1)}, "bad.safetensors", metadata=about)
    read = load_keyframe_processor if "Keyframe" in format else load
    with pytest.raises(CheckpointError, match="cannot be built: .*is not a registered"):
        read("bad.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.safetensors"]


def test_more_classes_than_a_mask_holds_are_refused():
    kept = MaskLogits.of_keyframe(torch.eye(256)[:, :, None])
    assert kept.mask.flatten().tolist() == list(range(256))
    with pytest.raises(PropagationError, match="at most 256 classes.*got 257"):
        MaskLogits.of_keyframe(torch.zeros(257, 2, 2))
