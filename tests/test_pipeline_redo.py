"""`redo`: only the segments that an edit changes are computed again."""

import json
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from make_media import write_long
from make_results import everything_in
from PIL import Image

from coprop_plugin import media, wrap
from coprop_plugin.adapters import CallableBackend
from coprop_plugin.batch import Job, Options, do_job
from coprop_plugin.errors import ControlPointError, MediaError
from coprop_plugin.media import MediaWarning, avsbench_palette
from coprop_plugin.pipeline import StreamedVideo, WindowLimits, redo
from coprop_plugin.propagation import as_propagator
from coprop_plugin.types import Clip, ControlPoints

FPS, NUM_FRAMES = 10, 60
PAINTED = np.zeros((48, 64), np.uint8)
PAINTED[4:20, 8:30] = 1


class RecordingModel:
    """Records the frames it is run on; its masks depend on frame and audio."""

    def __init__(self, context="frame", num_classes=1):
        self.context, self.num_classes = context, num_classes
        self.requested, self.audio_seen = [], []
        self._model = CallableBackend(self._answer, num_classes=num_classes)

    def _answer(self, frames, audio):
        loud = audio.abs().mean(1)[:, None, None, None]
        bright = frames.mean(1, keepdim=True) - 0.4 + loud
        rows = [bright * (k + 1 - self.num_classes / 2) for k in range(self.num_classes)]
        return torch.cat(rows, 1) if self.num_classes > 1 else bright

    def segment_keyframes(self, clip, indices):
        self.requested += [round(float(clip.times[i]) * FPS) for i in indices]
        self.audio_seen += clip.listening_times[list(indices)].tolist()
        return self._model.segment_keyframes(clip, indices)


class CountingFlow:
    """Optical flow that counts its steps."""

    def __init__(self):
        self._flow, self.steps = as_propagator("flow"), 0

    def hear(self, clip):
        return self._flow.hear(clip)

    def start(self, *inputs):
        return self._flow.start(*inputs)

    def step(self, *inputs):
        self.steps += 1
        return self._flow.step(*inputs)


@pytest.fixture(scope="module")
def video(scene, tmp_path_factory):
    return media.write_clip(scene.clip(fps=FPS), tmp_path_factory.mktemp("video") / "scene.mp4")


def in_windows(*args, **options):
    """Wrap a model that reads videos in windows of about a second."""
    model = wrap(*args, **dict(reanchor=None) | options)
    model.window_limits = WindowLimits(frames_bytes=1, context_s=1.0)
    return model


class FixedPoints:
    def __init__(self, points):
        self.points = points

    def propose(self, clip):
        return self.points


def at(*indices, **known):
    return ControlPoints.from_indices(indices, NUM_FRAMES, "given", **known)


def segmented(video, folder, points, context="frame", num_classes=1, **options):
    model = in_windows(
        RecordingModel(context, num_classes),
        control_points=FixedPoints(points),
        propagator=CountingFlow(),
    )
    outcome = do_job(model, Job(video, folder), Options(fps=FPS, overlay=False, **options))
    assert outcome.status == "done", outcome.error
    return folder


def redone(video, run, folder, points=None, context="frame", **options):
    """Return the result of `redo`, the frames the model was run on, and the number of steps."""
    model = in_windows(RecordingModel(context), propagator=CountingFlow())
    done = redo(model, video, run, folder, points=points, fps=FPS, overlay=False, **options)
    return done, model.backend.requested, model.propagator.steps


@pytest.fixture(scope="module")
def base(video, tmp_path_factory):
    return segmented(video, tmp_path_factory.mktemp("base") / "run", at(0, 20, 40))


@pytest.fixture
def run(base, tmp_path):
    """A result of three segments, to be edited."""
    return shutil.copytree(base, tmp_path / "run")


def pictures(folder, part="*"):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob(f"{part}/*.png")}


def differing(folder, other):
    mine, theirs = pictures(folder), pictures(other)
    assert mine.keys() == theirs.keys()
    return sorted({int(name[-9:-4]) for name in mine if mine[name] != theirs[name]})


@pytest.mark.parametrize(
    ("points", "recomputed", "requested"),
    [
        ((0, 15, 40), [range(15, 40)], [15]),
        ((0, 25, 40), [range(40)], [0, 25]),
        ((0, 40), [range(40)], [0]),
        ((0, 20, 40, 55), [range(55, 60)], [55]),
        ((0, 20, 30, 40), [range(30, 40)], [30]),
        ((0, 15, 40, 55), [range(15, 40), range(55, 60)], [15, 55]),
        ((0, 20, 40), [], []),
    ],
    ids=["earlier", "later", "removed", "at the end", "added", "two edits", "none"],
)
def test_only_the_segments_of_an_edited_control_point_are_computed(
    video, run, tmp_path, points, recomputed, requested
):
    done, ran_at, steps = redone(video, run, tmp_path / "new", at(*points))
    assert list(done.computed) == recomputed
    assert ran_at == requested
    assert steps == done.num_computed - len(requested)
    # Segmenting all of it with these points gives the very same pictures.
    fresh = segmented(video, tmp_path / "fresh", at(*points))
    assert differing(tmp_path / "new", fresh) == []
    inside = {t for segment in recomputed for t in segment}
    assert set(differing(tmp_path / "new", run)) <= inside


def test_a_painted_mask_is_propagated_to_the_end_of_its_segment(video, base, run, tmp_path):
    Image.fromarray(PAINTED * 255).save(run / "masks/00030.png")
    done, requested, steps = redone(video, run, tmp_path / "new")
    assert (list(done.computed), requested, steps) == ([range(30, 40)], [], 9)
    assert done.painted == (30,)
    new = tmp_path / "new"
    np.testing.assert_array_equal(media.read_mask(new / "masks/00030.png"), PAINTED)
    np.testing.assert_array_equal(media.read_mask(new / "probs/00030.png"), PAINTED * 255)
    assert Image.open(new / "masks/00030.png").mode == "P"
    assert differing(new, base) == list(range(30, 40))
    # The next mask is the painted one, moved a little, without holes.
    propagated = media.read_mask(new / "masks/00031.png") > 0
    assert (propagated & (PAINTED > 0)).sum() / (propagated | (PAINTED > 0)).sum() > 0.8


def test_a_painted_mask_is_kept_until_it_is_deleted(video, base, run, tmp_path):
    Image.fromarray(PAINTED).save(run / "masks/00020.png")
    second, requested, _ = redone(video, run, tmp_path / "second")
    assert (list(second.computed), requested) == ([range(20, 40)], [])
    third, requested, _ = redone(video, tmp_path / "second", tmp_path / "third", at(0, 20, 50))
    assert (list(third.computed), requested, third.painted) == ([range(20, 60)], [50], (20,))
    np.testing.assert_array_equal(media.read_mask(tmp_path / "third/masks/00020.png"), PAINTED)
    (tmp_path / "second/masks/00020.png").unlink()
    fourth, requested, _ = redone(video, tmp_path / "second", tmp_path / "fourth")
    assert (list(fourth.computed), requested, fourth.painted) == ([range(20, 40)], [20], ())
    assert differing(tmp_path / "fourth", base) == []


def test_a_mask_painted_in_a_silent_segment_is_propagated(video, tmp_path):
    silent = [0] * 20 + [1] * 20 + [0] * 20
    run = segmented(video, tmp_path / "run", at(0, 20, 40, silent=silent))
    assert not media.read_mask(run / "masks/00025.png").any()
    Image.fromarray(PAINTED).save(run / "masks/00025.png")
    done, requested, _ = redone(video, run, tmp_path / "new")
    assert (list(done.computed), requested) == ([range(25, 40)], [])
    assert media.read_mask(tmp_path / "new/masks/00039.png").any()


def test_missing_fields_of_new_points_are_taken_from_the_run(video, tmp_path):
    silent = [0] * 40 + [1] * 20
    points = at(0, 20, 40, silent=silent, starts_s=[0.0, 1.9, 3.95])
    run = segmented(video, tmp_path / "run", points)
    done, requested, _ = redone(video, run, tmp_path / "new", at(0, 10, 20, 40))
    assert (list(done.computed), requested) == ([range(10, 20)], [10])
    assert done.control_points.silent.tolist() == points.silent.tolist()
    assert done.control_points.starts_s.tolist() == [0.0, 1.0, 1.9, 3.95]
    with pytest.raises(ControlPointError, match="after the end .2.100 s. of frame 20"):
        redone(video, run, tmp_path / "x", at(0, 20, 40, starts_s=[0.0, 2.5, 3.95]))


def test_a_segment_is_recomputed_if_the_audio_of_its_keyframe_changes(video, tmp_path):
    """The audio window of a segment of half a second ends with the segment."""
    run = segmented(video, tmp_path / "run", at(0, 20, 25, 40))
    done, requested, _ = redone(video, run, tmp_path / "new", at(0, 20, 23, 40))
    assert (list(done.computed), requested) == ([range(20, 40)], [20, 23])
    fresh = segmented(video, tmp_path / "fresh", at(0, 20, 23, 40))
    assert differing(tmp_path / "new", fresh) == []


def test_models_with_context_are_run_again_on_neighbouring_keyframes(video, tmp_path):
    run = segmented(video, tmp_path / "run", at(0, 20, 28, 45), context="window")
    done, requested, _ = redone(video, run, tmp_path / "new", at(0, 20, 29, 45), context="window")
    assert (list(done.computed), requested) == ([range(20, 45)], [20, 29])


def test_silence_is_part_of_an_edit(video, run, tmp_path):
    done, requested, _ = redone(
        video, run, tmp_path / "new", at(0, 20, 40, silent=[0] * 40 + [1] * 20)
    )
    assert (list(done.computed), requested) == ([range(40, 60)], [])
    assert not media.read_mask(tmp_path / "new/masks/00050.png").any()


def test_a_result_can_be_redone_in_place(video, tmp_path):
    run = segmented(video, tmp_path / "run", at(0, 20, 40), bare=True, alpha=True)
    bare = pictures(run / "bare")
    kept = pictures(run, "alpha")
    points = json.loads((run / "control_points.json").read_text())
    (run / "control_points.json").write_text(
        json.dumps({"indices": [0, 20, 45], "num_frames": points["num_frames"]})
    )
    done, requested, _ = redone(video, run, run, alpha=True)
    assert (list(done.computed), requested) == ([range(20, 60)], [20, 45])
    assert pictures(run / "bare") == bare
    assert len(bare) == 2 * NUM_FRAMES
    assert pictures(run, "alpha").keys() == kept.keys()
    again, requested, _ = redone(video, run, tmp_path / "again")
    assert (again.computed, requested) == ((), [])


def test_redo_keeps_the_keyframes_of_reanchor(video, tmp_path):
    run = tmp_path / "run"
    backend, points = RecordingModel(), at(0, 20)
    model = in_windows(
        backend, control_points=FixedPoints(points), propagator=CountingFlow(), reanchor=1.0
    )
    do_job(model, Job(video, run), Options(fps=FPS, overlay=False))
    assert backend.requested == [0, 10, 20, 30, 40, 50]
    backend.requested.clear()
    Image.fromarray(PAINTED).save(run / "masks/00035.png")
    done = redo(model, video, run, tmp_path / "new", fps=FPS, overlay=False)
    assert (list(done.computed), backend.requested) == ([range(35, 40)], [])


def test_redo_with_candidates_equals_a_full_run(video, tmp_path):
    def with_candidates(points):
        return in_windows(
            RecordingModel(),
            control_points=FixedPoints(points),
            propagator="flow",
            keyframe="confident",
        )

    for name, wanted in (("run", at(0, 20, 40)), ("fresh", at(0, 15, 40))):
        job = Job(video, tmp_path / name)
        assert (
            do_job(with_candidates(wanted), job, Options(fps=FPS, overlay=False)).status == "done"
        )
    model, new = with_candidates(None), tmp_path / "new"
    done = redo(model, video, tmp_path / "run", new, points=at(0, 15, 40), fps=FPS, overlay=False)
    assert list(done.computed) == [range(40)]
    assert differing(new, tmp_path / "fresh") == []


FORMS = {
    "colours": lambda mask: Image.fromarray(avsbench_palette()[mask]),
    "transparent": lambda mask: Image.fromarray(
        np.dstack([avsbench_palette()[np.maximum(mask, 1)], 255 * (mask > 0).astype(np.uint8)])
    ),
    "grey": Image.fromarray,
    "another palette": lambda mask: Image.fromarray(avsbench_palette()[mask]).quantize(3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_classes", [1, 71])
def test_painted_masks_are_read_in_any_image_mode(tmp_path, form, num_classes):
    from coprop_plugin.media import read_painted_mask

    mask = PAINTED * (1 if num_classes == 1 else 7)
    if num_classes > 1:
        mask[30:40, 40:60] = 70
    if form == "transparent":
        rgba = np.dstack([avsbench_palette()[mask], 255 * (mask > 0).astype(np.uint8)])
        rgba[mask == 0, :3] = 255
        Image.fromarray(rgba).save(tmp_path / "a.png")
    else:
        FORMS[form](mask).save(tmp_path / "a.png")
    read = read_painted_mask(tmp_path / "a.png", (48, 64), num_classes)
    np.testing.assert_array_equal(read, mask)


@pytest.mark.parametrize("form", ["smooth", "jpeg", "colour"])
def test_smooth_edges_of_a_mask_of_one_class_are_warned_of(tmp_path, form):
    from coprop_plugin.media import read_painted_mask

    grey = PAINTED * 255
    image = Image.fromarray(grey).resize((32, 24)).resize((64, 48), Image.Resampling.BILINEAR)
    image = {"smooth": image, "jpeg": Image.fromarray(grey), "colour": image.convert("RGB")}[form]
    image.save(tmp_path / "a.png", format="JPEG" if form == "jpeg" else "PNG")
    with pytest.warns(MediaWarning, match=r"a.png has \d+ pixels .* count as sounding"):
        read_painted_mask(tmp_path / "a.png", (48, 64), 1)


def test_invalid_painted_masks_are_refused(tmp_path):
    from coprop_plugin.media import read_painted_mask

    path = tmp_path / "a.png"
    Image.new("RGB", (64, 48), (1, 2, 3)).save(path)
    with pytest.raises(MediaError, match=r"colour \(1, 2, 3\), which stands for no class. Paint"):
        read_painted_mask(path, (48, 64), 71)
    Image.new("L", (64, 48), 90).save(path)
    with pytest.raises(MediaError, match="classes 0 to 70, got pixels of class 90"):
        read_painted_mask(path, (48, 64), 71)
    with pytest.raises(MediaError, match="Expected a mask of 32 x 24 .*got 64 x 48"):
        read_painted_mask(path, (24, 32), 1)
    path.write_text("not a picture")
    with pytest.raises(MediaError, match="cannot be read as an image.*delete it"):
        read_painted_mask(path, (48, 64), 1)


def test_results_of_another_video_or_model_are_refused(scene, video, run, tmp_path):
    new = tmp_path / "new"
    with pytest.raises(MediaError, match="holds no finished result to reuse.*OUT/<name"):
        redone(video, tmp_path / "nothing", new)
    other = media.write_clip(scene.clip(fps=FPS)[:30], tmp_path / "other.mp4")
    with pytest.raises(MediaError, match="is of another video .scene.mp4.*same video"):
        redone(other, run, new)
    model = in_windows(RecordingModel(), propagator="hold")
    with pytest.raises(MediaError, match="60 frames where these options give 30.*another fps"):
        redo(model, video, run, new, fps=5)
    with pytest.raises(MediaError, match="one of 1 classes, not of 71"):
        redo(wrap(RecordingModel(num_classes=71), propagator="hold"), video, run, new, fps=FPS)
    content = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**content, "version": "0.0.1"}))
    with pytest.raises(MediaError, match="version 0.0.1, this is"):
        redone(video, run, new)
    del content["digests"]
    (run / "result.json").write_text(json.dumps(content))
    with pytest.raises(MediaError, match="does not say how.*--redo"):
        redone(video, run, new)
    assert not new.exists()


def test_a_renamed_video_is_recognised(video, run, tmp_path):
    moved = shutil.copyfile(video, tmp_path / "renamed.mp4")
    assert redone(moved, run, tmp_path / "new", at(0, 20, 40))[0].computed == ()


def test_a_result_saved_from_python_can_be_redone(video, tmp_path):
    model = in_windows(
        RecordingModel(), control_points=at(0, 20, 40).flags.int().tolist(), propagator="flow"
    )
    result = model.segment(video, fps=FPS)
    result.save(tmp_path / "run", overlay=False)
    done, requested, _ = redone(video, tmp_path / "run", tmp_path / "new", at(0, 20, 50))
    assert (list(done.computed), requested) == ([range(20, 60)], [20, 50])
    assert "control_points.json" in everything_in(tmp_path / "new")
    memory = replace(Clip.from_file(video, fps=FPS), source=None)
    model.segment(memory).save(tmp_path / "memory", overlay=False)
    with pytest.raises(MediaError, match="another video"):
        redone(video, tmp_path / "memory", tmp_path / "x")


def test_ten_edits_probe_the_video_once(video, tmp_path, monkeypatch):
    """The file is opened a few times to find its frames and audio, and once for each edit."""
    run = segmented(video, tmp_path / "run", at(*range(0, 60, 3)))
    opened, opens = [], av.open
    monkeypatch.setattr(av, "open", lambda *args, **kw: opened.append(args) or opens(*args, **kw))
    counts = []
    for number, edits in ((1, 1), (2, 10)):
        folder = shutil.copytree(run, tmp_path / f"edited{number}")
        for k in range(edits):
            (folder / "masks" / f"{6 * k:05d}.png").unlink()
        opened.clear()
        done, _, _ = redone(video, folder, tmp_path / f"new{number}")
        assert len(done.computed) == edits
        counts.append(len(opened))
    assert counts[1] - counts[0] == 9
    assert counts[0] <= 4


def test_an_edit_at_the_end_reads_no_more_frames_than_one_before(tmp_path):
    """Frames are sought, not decoded from the first one on."""
    long = write_long(tmp_path / "long.mp4", 60, fps=FPS)
    stream = StreamedVideo(long, FPS, limits=WindowLimits(frames_bytes=1, context_s=1.0))
    frames, counts = Clip.from_file(long, fps=FPS).frames, []
    for start in (0, 290, 580):
        count = 0
        for window in stream.windows(start, start + 20):
            first, count = window.start, count + window.clip.num_frames
            assert torch.equal(window.clip.frames, frames[first : first + window.clip.num_frames])
        counts.append(count)
    assert counts[2] <= counts[1]
