"""Long videos in bounded memory: frames in windows, audio in a file on disk."""

import gc
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from make_media import write_long

from coprop_plugin import media, wrap
from coprop_plugin.adapters.sound import waveform_of
from coprop_plugin.audio.log_mel import clip_log_mel
from coprop_plugin.audio.resample import resample, resample_range
from coprop_plugin.control_points import NoveltyProvider
from coprop_plugin.errors import MediaError
from coprop_plugin.pipeline import WindowLimits, read_audio

SMALL = WindowLimits(frames_bytes=1, context_s=1.0, audio_samples=1000)

ROOT = Path(__file__).resolve().parent.parent


def on_disk(waveform, factor=1.0):
    file = media.WaveformFile(len(waveform))
    file.write(-3, np.concatenate([np.ones(3, np.float32), waveform.numpy(), [9.0]]))
    file.scale(factor)
    return file.tensor()


def is_mapped(waveform):
    """Whether a tensor's memory is that of a file."""
    address = waveform.data_ptr()
    ranges = re.findall(
        r"^(\w+)-(\w+) .*coprop-|^(\w+)-(\w+) .*/#\d+ \(deleted\)",
        Path("/proc/self/maps").read_text(),
        re.M,
    )
    bounds = [[int(part, 16) for part in found if part] for found in ranges]
    return any(first <= address < last for first, last in bounds)


def test_a_waveform_on_disk_is_a_plain_tensor():
    waveform = torch.rand(1000) - 0.5
    mapped = on_disk(waveform)
    assert type(mapped) is torch.Tensor
    assert torch.equal(mapped, waveform)
    assert torch.equal(on_disk(waveform, factor=2.0), waveform * 2)
    mapped[0] = 5.0
    assert mapped[0] == 5.0
    assert len(media.WaveformFile(0).tensor()) == 0


def test_the_file_of_a_waveform_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mapped = on_disk(torch.rand(1000))
    part = mapped[10:20].clone(), mapped[10:20]
    del mapped
    assert torch.equal(*part)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk to write to")
def test_a_full_disk_is_reported(monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda prefix: Path("/dev/full").open("wb"))
    with pytest.raises(MediaError, match="1,000 audio samples cannot be written.*TMPDIR"):
        media.WaveformFile(1000)


@pytest.mark.parametrize("from_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_resample_range_is_a_range_of_resample(from_hz):
    waveform = torch.rand(from_hz * 3, generator=torch.Generator().manual_seed(0)) - 0.5
    whole = resample(waveform, from_hz, 16_000)
    for start, stop in ((0, 10), (-5, 3000), (16_001, 23_456), (47_000, 60_000), (50_000, 60_000)):
        part = resample_range(waveform, from_hz, 16_000, start, stop)
        torch.testing.assert_close(part, whole[max(0, start) : stop], rtol=0, atol=1e-7)


@pytest.mark.parametrize("sampling", ["pts", "avsbench"])
def test_audio_on_disk_gives_the_same_results_as_in_memory(scene, sampling):
    clip = scene.clip(fps=1, sampling=sampling)
    clip = replace(clip, waveform=torch.cat([clip.waveform] * 5)[: 28 * clip.sample_rate])
    clip = replace(clip, frames=clip.frames[[0] * 30], times=torch.arange(30) + 15 / 16)
    stored = replace(clip, waveform=on_disk(clip.waveform))
    points, same = NoveltyProvider().propose(clip), NoveltyProvider().propose(stored)
    assert points == same
    assert points.log["boundaries"] == same.log["boundaries"]
    late = [7, 12, 29]
    torch.testing.assert_close(clip_log_mel(stored, late), clip_log_mel(clip, late))
    torch.testing.assert_close(waveform_of(stored[5:], late[:2]), waveform_of(clip[5:], late[:2]))


def test_long_audio_is_read_to_disk(tmp_path, scene):
    path = media.write_clip(scene.clip(fps=4), tmp_path / "scene.mp4")
    short, long = read_audio(path, 4), read_audio(path, 4, limits=SMALL)
    assert [is_mapped(short.waveform), is_mapped(long.waveform)] == [False, True]
    assert torch.equal(long.waveform, short.waveform)


def test_long_silence_takes_no_memory(tmp_path, scene):
    path = media.write_clip(replace(scene.clip(fps=4), waveform=None), tmp_path / "mute.mp4")
    with pytest.warns(media.MediaWarning, match="no audio track"):
        sound = read_audio(path, 4, limits=SMALL)
    assert is_mapped(sound.waveform)
    assert len(sound.waveform) == 6 * 16_000
    assert not sound.waveform.any()
    assert NoveltyProvider().propose(sound).silent.all()


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_a_stream_equals_the_whole_video(tmp_path, scene, sample_rate):
    clip = scene.clip(fps=4)
    sound = resample(clip.waveform, clip.sample_rate, sample_rate)
    clip = replace(clip, waveform=sound, sample_rate=sample_rate)
    path = media.write_clip(clip, tmp_path / "scene.mp4")
    audio_seen = []

    def level(frames, audio):
        audio_seen.append(audio.flatten(1).mean(1))
        return frames.mean(1, keepdim=True) - 0.5 + audio_seen[-1].reshape(-1, 1, 1, 1) / 20

    model = wrap(level, backend="callable", propagator="flow")
    whole = model.segment(path, fps=4)
    model.window_limits = SMALL
    artifacts = {}
    stream = model.stream(
        path, fps=4, hook=lambda step, artifact, *_: artifacts.update({step: artifact})
    )
    for frame, other in zip(stream, whole.frame_results, strict=True):
        assert frame.is_keyframe == other.is_keyframe
        torch.testing.assert_close(frame.class_probs, other.class_probs, rtol=0, atol=1e-6)
    points = artifacts["control_points"]
    assert len(points) > 1
    assert points == whole.control_points
    assert torch.equal(points.starts_s, whole.control_points.starts_s)
    assert points.log == whole.control_points.log


GROWTH = """
import json, re, sys
from pathlib import Path
from coprop_plugin import wrap
from coprop_plugin.pipeline import WindowLimits

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

model = wrap(lambda frames, audio: frames.mean(1, keepdim=True) - 0.5, backend="callable",
             propagator="flow", control_points=sys.argv[2])
model.window_limits = WindowLimits(audio_samples=100_000)
peaks = [peak_kb()]
for frame in model.stream(sys.argv[1], fps=8):
    if frame.index in (0, 199, 1999):
        peaks.append(peak_kb())
    if frame.index == 0:
        # Reset the peak: finding control points takes more memory than the frames.
        Path("/proc/self/clear_refs").write_text("5")
print(json.dumps([frame.index, *peaks]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("control_points", ["change_detector", "novelty"])
def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path, control_points):
    path = write_long(tmp_path / "long.mp4", 250, size=112)
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(path), control_points],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    last, before, finding, early, late = json.loads(done.stdout)
    assert last == 1999
    # The pictures of 1800 frames are 68 MB, decoded ones that wait for the garbage collector 30,
    # the sound 14.
    assert late - early < 2 * 1024, (early, late)
    # Libraries that are loaded meanwhile and the first segment take 250 MB; all seven matrices of a
    # minute's moments in `novelty`, or the features of all 250 s, would be 170 more.
    assert finding - before < 320 * 1024, (before, finding)


def test_decoded_frames_leave_no_reference_cycles(tmp_path):
    path = write_long(tmp_path / "short.mp4", 2)
    gc.collect()
    gc.disable()
    try:
        frames = sum(1 for _ in media.open_video(path, fps=8))
        alive = [thing for thing in gc.get_objects() if type(thing) is av.VideoFrame]
    finally:
        gc.enable()
    assert frames == 16
    assert alive == []
