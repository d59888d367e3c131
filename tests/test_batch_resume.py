"""Interrupted runs are resumed with the same result."""

import json
import multiprocessing

import pytest
import torch
from make_results import clip_in_memory, everything_in, frame_result

from coprop_plugin import media, wrap
from coprop_plugin.batch import Job, Options, do_job
from coprop_plugin.errors import ControlPointError, MediaError
from coprop_plugin.media import ResultWriter
from coprop_plugin.pipeline import StreamedVideo, WindowLimits
from coprop_plugin.types import ControlPoints
from coprop_plugin.world import TruthBackend

EVERY_5 = {"type": "every_n", "n": 5}


class Killed(BaseException):
    """Stands in for a kill without ending the test."""


class KilledAt(TruthBackend):
    """The truth; raises `Killed` at time `last`."""

    def __init__(self, scene, last=None):
        super().__init__(scene)
        self.last, self.requested = last, []

    def segment_keyframes(self, clip, indices):
        times = clip.times[list(indices)]
        if self.last is not None and bool((times >= self.last).any()):
            raise Killed
        self.requested += times.tolist()
        return super().segment_keyframes(clip, indices)


def in_windows(*args, **options):
    """Wrap a model that reads videos in windows of about a second, as if frames were large."""
    model = wrap(*args, **dict(reanchor=None) | options)
    model.window_limits = WindowLimits(frames_bytes=1, context_s=1.0)
    return model


@pytest.fixture
def video(scene, tmp_path):
    return media.write_clip(scene.clip(fps=8), tmp_path / "scene.mp4")


def contents(folder):
    return {name: (folder / name).read_bytes() for name in everything_in(folder)}


@pytest.mark.parametrize(
    ("points", "reanchor"),
    [("novelty", None), (EVERY_5, None), ("novelty", dict(type="auto", segment_s=1.0))],
)
def test_a_resumed_run_equals_an_uninterrupted_one(scene, video, tmp_path, points, reanchor):
    def model(backend):
        return in_windows(backend, control_points=points, reanchor=reanchor)

    options = Options(fps=8, alpha=True, overlay=False)
    whole = do_job(model(KilledAt(scene)), Job(video, tmp_path / "a"), options)
    assert whole.status == "done", whole.error
    folder, partial = tmp_path / "b", tmp_path / ".b.part"
    with pytest.raises(Killed):
        do_job(model(KilledAt(scene, 4.0)), Job(video, folder), options)
    assert not folder.exists()
    # A kill may cut anything short: the last pictures, the journal, an overlay.
    last = sorted((partial / "masks").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:20])
    with (partial / "journal.jsonl").open("a") as file:
        file.write('{"times": [1.0, 2')
    (partial / ".overlay.1.part.mp4").write_text("half")
    backend = KilledAt(scene)
    again = do_job(model(backend), Job(video, folder), options)
    assert again.to_dict() == {**whole.to_dict(), "output": str(folder)}
    assert contents(folder) == contents(tmp_path / "a")
    # The model is run from the last keyframe on only.
    assert min(backend.requested) > 1.0
    assert not partial.exists()


@pytest.mark.parametrize("damaged", ["journal", "header", "values", "mask", "prob"])
def test_damaged_partial_results_are_computed_again(scene, video, tmp_path, damaged):
    folder, partial = tmp_path / "out", tmp_path / ".out.part"
    options = Options(fps=8, overlay=False)
    with pytest.raises(Killed):
        do_job(
            in_windows(KilledAt(scene, 4.0), control_points=EVERY_5), Job(video, folder), options
        )
    journal = partial / "journal.jsonl"
    if damaged == "journal":
        *lines, lost, last = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join([*lines, b"\0" * len(lost), b"\n", last]))
    elif damaged == "header":
        journal.write_bytes(b"\xff" * 100)
    elif damaged == "values":
        journal.write_bytes(journal.read_bytes() + b'{"times": ["x"], "shape": []}\n')
    else:
        (partial / f"{damaged}s" / "00003.png").write_bytes(b"")
    backend = KilledAt(scene)
    done = do_job(in_windows(backend, control_points=EVERY_5), Job(video, folder), options)
    assert done.status == "done", done.error
    assert min(backend.requested) == 0.0
    whole = do_job(
        in_windows(KilledAt(scene), control_points=EVERY_5), Job(video, tmp_path / "b"), options
    )
    assert whole.status == "done"
    assert contents(folder) == contents(tmp_path / "b")


def test_other_settings_start_over(scene, video, tmp_path):
    folder = tmp_path / "out"
    model = in_windows(KilledAt(scene, 4.0), control_points=EVERY_5)
    with pytest.raises(Killed):
        do_job(model, Job(video, folder), Options(fps=8, overlay=False))
    for options in (Options(fps=4, overlay=False), Options(fps=8, overlay=False, redo=True)):
        backend = KilledAt(scene)
        done = do_job(in_windows(backend, control_points=EVERY_5), Job(video, folder), options)
        assert done.status == "done"
        assert min(backend.requested) == 0.0


def test_a_stream_resumes_at_a_keyframe(scene, video):
    model = in_windows(TruthBackend(scene), control_points=EVERY_5, propagator="flow")
    whole = list(model.stream(video, fps=8))
    rest = list(model.stream_part(StreamedVideo(video, 8), start=15))
    assert [frame.index for frame in rest] == list(range(15, 48))
    for frame, other in zip(rest, whole[15:], strict=True):
        assert torch.equal(frame.class_probs, other.class_probs)
    with pytest.raises(ControlPointError, match="start=16 is not a keyframe.*15"):
        list(model.stream_part(StreamedVideo(video, 8), start=16))
    with pytest.raises(ControlPointError, match="48 frames, got 3"):
        list(model.stream_part(StreamedVideo(video, 8), ControlPoints([1, 0, 0])))


def _try_to_write(folder, queue):
    try:
        with ResultWriter(folder, clip=clip_in_memory(), overlay=False, resume=True):
            queue.put("written")
    except MediaError as error:
        queue.put(str(error))


def test_a_result_has_one_writer_at_a_time(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with ResultWriter(tmp_path / "a", clip=clip_in_memory(), overlay=False, resume=True) as writer:
        other = context.Process(target=_try_to_write, args=(tmp_path / "a", queue))
        other.start()
        assert f"Another process is writing {tmp_path / 'a'}. Wait" in queue.get(timeout=60)
        other.join()
        writer.write(frame_result(0, 0.0))
    assert json.loads((tmp_path / "a" / "result.json").read_text())["num_frames"] == 1
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["masks", "probs", "result.json"]
