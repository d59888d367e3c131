"""Around the models: frames stay bytes, threads write and read ahead, files stay the same."""

import io
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from make_media import plain, write_long
from make_results import clip_in_memory, frame_result, result_of
from PIL import Image

from coprop_plugin import wrap
from coprop_plugin.errors import MediaError
from coprop_plugin.media import ResultWriter, avsbench_palette, read_ahead, read_clip, write_overlay
from coprop_plugin.media.overlay_thread import GrowingSpans
from coprop_plugin.media.rewrite import Spans
from coprop_plugin.pipeline import StreamedVideo, WindowLimits
from coprop_plugin.pipeline.on_cpu import on_cpu
from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.registry import MODELS, build

BENCHMARKS = Path(__file__).resolve().parent.parent / "examples" / "benchmarks"
TOY = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)


class Items:
    """Counts what is taken of it, raises at `fails_at`, and notes its end."""

    def __init__(self, count, fails_at=None):
        self.taken, self.ended, self.count, self.fails_at = 0, False, count, fails_at

    def __call__(self):
        try:
            for k in range(self.count):
                if k == self.fails_at:
                    raise MediaError("half a file")
                self.taken = k + 1
                yield k
        finally:
            self.ended = True


def test_what_is_read_ahead_comes_in_order_and_ends():
    items = Items(100)
    assert list(read_ahead(items(), most=3)) == list(range(100))
    assert items.ended


def test_no_more_is_read_ahead_than_asked_for():
    items = Items(100)
    ahead = read_ahead(items(), most=3)
    for k in range(10):
        assert next(ahead) == k
        # Three wait, and one is in the thread's hand.
        assert items.taken <= k + 1 + 3 + 1
    ahead.close()
    assert items.ended
    assert items.taken < 100


def test_an_error_while_reading_ahead_comes_after_what_was_read():
    ahead = read_ahead(Items(9, fails_at=5)())
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(MediaError, match="half a file"):
        next(ahead)


@pytest.mark.parametrize("sampling", ["pts", "avsbench"])
def test_growing_spans_are_the_spans(sampling):
    clip = clip_in_memory(times=(0.9375, 1.9375, 2.9375, 3.9375), seconds=4)
    spans = torch.tensor([[0.0, 1], [1, 2], [2, 3], [3, 4]]).double()
    if sampling == "pts":
        spans = torch.stack([clip.times, clip.times + 1], dim=1)
    growing, whole = GrowingSpans(sampling), Spans(spans)
    for time_s in clip.times.tolist():
        growing.add(time_s)
    early = [t / 10 for t in range(29)]
    assert [growing.at(t) for t in early] == [whole.at(t) for t in early]
    growing.complete(spans)
    late = [t / 10 for t in range(60)]
    assert [growing.at(t) for t in late] == [whole.at(t) for t in late]


def test_an_overlay_behind_the_masks_is_the_one_made_afterwards(tmp_path):
    path = plain(tmp_path / "in.mp4", seconds=4)
    clip = read_clip(path, fps=2)
    result = result_of(clip)
    saved = result.save(tmp_path / "out")
    afterwards = write_overlay(
        tmp_path / "o.mp4", lambda t: result.masks[t].numpy(), clip.spans, source=path
    )
    assert (saved / "overlay.mp4").read_bytes() == afterwards.read_bytes()


def test_equal_masks_that_are_encoded_once_are_the_files_that_pillow_writes(tmp_path):
    frames = [frame_result(k, k / 2) for k in (0, 0, 1, 1, 0)]
    with ResultWriter(tmp_path / "out", overlay=False) as writer:
        for k, frame in enumerate(frames):
            writer.write(type(frame)(**{**vars(frame), "index": k}))
    for k, frame in enumerate(frames):
        mask = Image.fromarray(frame.mask.numpy())
        mask.putpalette(avsbench_palette().tobytes())
        probs = (frame.class_probs[0] * 255).round().byte().numpy()
        for part, image, level in (
            ("masks", mask, 6),
            ("probs", Image.fromarray(probs), 3),
        ):
            file = io.BytesIO()
            image.save(file, "PNG", compress_level=level)
            assert (tmp_path / "out" / part / f"{k:05d}.png").read_bytes() == file.getvalue()


def write_around_a_folder(folder):
    with ResultWriter(folder, overlay=False) as writer:
        writer.write(frame_result(0, 0.0))
        (folder.with_name(f".{folder.name}.part") / "masks" / "00001.png").mkdir()
        writer.write(frame_result(1, 0.5))


def test_a_frame_that_cannot_be_written_is_an_error_at_the_end(tmp_path):
    with pytest.raises(MediaError, match="cannot be written"):
        write_around_a_folder(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def interrupt(folder, video):
    with ResultWriter(folder, source=video) as writer:
        writer.write(frame_result(0, 0.0))
        raise KeyboardInterrupt


def test_no_thread_of_a_writer_is_left(tmp_path):
    path = plain(tmp_path / "in.mp4", seconds=2)
    before = threading.active_count()
    result_of(read_clip(path)).save(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path / "b", path)
    assert threading.active_count() == before
    assert not (tmp_path / ".b.part").exists()


def propagators():
    torch.manual_seed(0)
    yield from (build(MODELS, dict(type=name)) for name in ("hold", "flow", "appearance"))
    yield AudioInsertPropagator("R50_AOTL", **TOY, guide="flow").eval()


@torch.no_grad()
def test_bytes_and_floats_are_propagated_alike():
    frames = torch.randint(0, 256, (3, 1, 3, 49, 65), dtype=torch.uint8)
    masks = torch.zeros(1, 49, 65).long()
    masks[:, 10:30, 10:30] = 1
    for propagator in propagators():
        assert propagator.takes_uint8
        both = []
        for pictures in (frames, frames.float() / 255):
            memory = propagator.start(pictures[0], None, masks)
            both.append([propagator.step(memory, picture, None) for picture in pictures[1:]])
        for of_bytes, of_floats in zip(*both, strict=True):
            assert torch.equal(of_bytes, of_floats)


class Noting:
    """Hold, and the type of every frame that it gets."""

    def __init__(self, takes_uint8):
        self.hold, self.seen = build(MODELS, dict(type="hold")), set()
        if takes_uint8 is not None:
            self.takes_uint8 = takes_uint8

    def hear(self, clip):
        return None

    def start(self, frame, sound, masks):
        self.seen.add(frame.dtype)
        return self.hold.start(frame, sound, masks)

    def step(self, memory, frame, sound):
        self.seen.add(frame.dtype)
        return self.hold.step(memory, frame, sound)


def everywhere(frames, audio):
    return torch.ones(len(frames), 1, 8, 8)


@pytest.mark.parametrize(
    ("takes_uint8", "expected"),
    [(None, torch.float32), (False, torch.float32), (True, torch.uint8)],
)
def test_only_propagators_that_take_bytes_get_them(takes_uint8, expected):
    propagator = Noting(takes_uint8)
    model = wrap(everywhere, backend="callable", control_points="every_n", propagator=propagator)
    frames = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    model.segment((frames, torch.rand(64_000) - 0.5, 16_000))
    assert propagator.seen == {expected}


def test_results_on_the_cpu_are_passed_on_at_once():
    made = []

    def results():
        for k in range(3):
            made.append(k)
            yield frame_result(k, float(k))

    for k, result in enumerate(on_cpu(results())):
        assert made == list(range(k + 1))
        assert result.index == k


def test_plumbing_is_measured_by_stages(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    import plumbing

    out = tmp_path / "plumbing.json"
    command = ["plumbing", "--frames", "30", "--size", "64x48", "--rounds", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    plumbing.main()
    (run,) = json.loads(out.read_text())
    stages = ["decode", "decode + hold", "masks + probs", "overlay", "whole run"]
    assert list(run["ms_a_frame"]) == stages
    assert all(stage["cpu"] > 0 for stage in run["ms_a_frame"].values())
    assert np.isfinite(run["ms_a_frame"]["overlay"]["wall"])


def test_the_table_for_a_gpu_says_what_it_had_no_time_for(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_table

    out = tmp_path / "gpu.json"
    command = ["gpu", "--device", "cpu", "--cases", "33x49:1", "--budget", "0", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    gpu_table.main()
    (run,) = json.loads(out.read_text())
    assert run["cells"] == []
    assert len(run["missing"]) == len(list(gpu_table.cells(None)))
    before = torch.backends.cudnn.allow_tf32
    with gpu_table.precisely("float32", "cpu"):
        cell = gpu_table.measured("ours, memory of 8", (33, 49), 1, "cpu", 0.0, None)
    assert cell["fps"] > 0
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("ahead", [0, 3])
def test_without_context_a_window_has_its_own_frames_and_those_ahead(tmp_path, ahead):
    path = write_long(tmp_path / "long.mp4", 12, fps=4)
    frames, limits = read_clip(path, fps=4).frames, WindowLimits(frames_bytes=1, context_s=1.0)
    video = StreamedVideo(path, 4, limits=limits)
    for start, stop in ((0, None), (20, None), (20, 30)):
        covered = []
        for window in video.windows(start, stop, ahead, with_context=False):
            covered += window.frames
            # At high rates frames of the context would take most of the memory.
            assert len(window.frames) <= max(ahead, 2)
            right = range(window.frames.start, min(window.frames.stop + ahead, len(frames)))
            own = slice(right.start - window.start, right.stop - window.start)
            assert torch.equal(window.clip.frames[own], frames[right.start : right.stop])
            last = window.start + window.clip.num_frames
            assert torch.equal(window.clip.times, video.audio.times[window.start : last])
        assert covered[-1] == (len(frames) if stop is None else stop) - 1
        assert covered == list(range(covered[0], covered[-1] + 1))
        assert covered[0] <= start
