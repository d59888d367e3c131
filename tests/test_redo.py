"""Edit and redo: only what an edit changes is computed again, the rest stays byte for byte."""

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
from coprop_plugin.batch.one_file import Job, Options, do_job
from coprop_plugin.errors import ControlPointError, MediaError
from coprop_plugin.media.masks import avsbench_palette
from coprop_plugin.pipeline import StreamedVideo, WindowLimits
from coprop_plugin.pipeline.redo import redo
from coprop_plugin.propagation import as_propagator
from coprop_plugin.types import Clip, ControlPoints

FPS, NUM_FRAMES = 10, 60
PAINTED = np.zeros((48, 64), np.uint8)
PAINTED[4:20, 8:30] = 1


class Noting:
    """Counts what is asked and what is carried; the answer depends on picture and sound."""

    def __init__(self, context="frame", num_classes=1):
        self.context, self.num_classes = context, num_classes
        self.asked, self.heard = [], []
        self._model = CallableBackend(self._answer, num_classes=num_classes)

    def _answer(self, frames, audio):
        loud = audio.abs().mean(1)[:, None, None, None]
        bright = frames.mean(1, keepdim=True) - 0.4 + loud
        rows = [bright * (k + 1 - self.num_classes / 2) for k in range(self.num_classes)]
        return torch.cat(rows, 1) if self.num_classes > 1 else bright

    def segment_keyframes(self, clip, indices):
        self.asked += [round(float(clip.times[i]) * FPS) for i in indices]
        self.heard += clip.listening_times[list(indices)].tolist()
        return self._model.segment_keyframes(clip, indices)


class Carrying:
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
    model = wrap(*args, **options)
    model.window_limits = WindowLimits(frames_bytes=1, context_s=1.0)
    return model


class Given:
    def __init__(self, points):
        self.points = points

    def propose(self, clip):
        return self.points


def at(*indices, **known):
    return ControlPoints.from_indices(indices, NUM_FRAMES, "given", **known)


def segmented(video, folder, points, context="frame", num_classes=1, **options):
    model = in_windows(
        Noting(context, num_classes), control_points=Given(points), propagator=Carrying()
    )
    done = do_job(model, Job(video, folder), Options(fps=FPS, overlay=False, **options))
    assert done.status == "done", done.error
    return folder


def redone(video, run, folder, points=None, context="frame", **options):
    """Redo; returns what `redo` says, the frames that were asked about, and the steps carried."""
    model = in_windows(Noting(context), propagator=Carrying())
    said = redo(model, video, run, folder, points=points, fps=FPS, overlay=False, **options)
    return said, model.backend.asked, model.propagator.steps


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
    ("points", "anew", "asked"),
    [
        ((0, 15, 40), [range(15, 40)], [15]),
        ((0, 25, 40), [range(40)], [0, 25]),
        ((0, 40), [range(40)], [0]),
        ((0, 20, 40, 50), [range(50, 60)], [50]),
        ((0, 20, 30, 40), [range(30, 40)], [30]),
        ((0, 15, 40, 50), [range(15, 40), range(50, 60)], [15, 50]),
        ((0, 20, 40), [], []),
    ],
    ids=["earlier", "later", "removed", "at the end", "added", "two edits", "none"],
)
def test_only_the_segments_of_an_edited_control_point_are_computed(
    video, run, tmp_path, points, anew, asked
):
    said, were_asked, steps = redone(video, run, tmp_path / "new", at(*points))
    assert list(said.computed) == anew
    assert were_asked == asked
    assert steps == said.num_computed - len(asked)
    # Segmenting all of it with these points gives the very same pictures.
    fresh = segmented(video, tmp_path / "fresh", at(*points))
    assert differing(tmp_path / "new", fresh) == []
    inside = {t for stretch in anew for t in stretch}
    assert set(differing(tmp_path / "new", run)) <= inside


def test_a_painted_mask_is_carried_on_and_nothing_before_it_changes(video, base, run, tmp_path):
    Image.fromarray(PAINTED * 255).save(run / "masks/00030.png")
    said, asked, steps = redone(video, run, tmp_path / "new")
    assert (list(said.computed), asked, steps) == ([range(30, 40)], [], 9)
    assert said.painted == (30,)
    new = tmp_path / "new"
    np.testing.assert_array_equal(media.read_mask(new / "masks/00030.png"), PAINTED)
    np.testing.assert_array_equal(media.read_mask(new / "probs/00030.png"), PAINTED * 255)
    assert Image.open(new / "masks/00030.png").mode == "P"
    assert differing(new, base) == list(range(30, 40))
    # The mask after it is the painted one, carried: a little farther, with no hole.
    carried = media.read_mask(new / "masks/00031.png") > 0
    assert (carried & (PAINTED > 0)).sum() / (carried | (PAINTED > 0)).sum() > 0.8


def test_a_painted_mask_stays_a_beginning_until_it_is_deleted(video, base, run, tmp_path):
    Image.fromarray(PAINTED).save(run / "masks/00020.png")
    second, asked, _ = redone(video, run, tmp_path / "second")
    assert (list(second.computed), asked) == ([range(20, 40)], [])
    third, asked, _ = redone(video, tmp_path / "second", tmp_path / "third", at(0, 20, 50))
    assert (list(third.computed), asked, third.painted) == ([range(20, 60)], [50], (20,))
    np.testing.assert_array_equal(media.read_mask(tmp_path / "third/masks/00020.png"), PAINTED)
    (tmp_path / "second/masks/00020.png").unlink()
    fourth, asked, _ = redone(video, tmp_path / "second", tmp_path / "fourth")
    assert (list(fourth.computed), asked, fourth.painted) == ([range(20, 40)], [20], ())
    assert differing(tmp_path / "fourth", base) == []


def test_a_mask_painted_where_nothing_was_heard_sounds(video, tmp_path):
    silent = [0] * 20 + [1] * 20 + [0] * 20
    run = segmented(video, tmp_path / "run", at(0, 20, 40, silent=silent))
    assert not media.read_mask(run / "masks/00025.png").any()
    Image.fromarray(PAINTED).save(run / "masks/00025.png")
    said, asked, _ = redone(video, run, tmp_path / "new")
    assert (list(said.computed), asked) == ([range(25, 40)], [])
    assert media.read_mask(tmp_path / "new/masks/00039.png").any()


def test_what_new_points_do_not_say_is_taken_from_the_run(video, tmp_path):
    silent = [0] * 40 + [1] * 20
    points = at(0, 20, 40, silent=silent, starts_s=[0.0, 1.9, 3.95])
    run = segmented(video, tmp_path / "run", points)
    said, asked, _ = redone(video, run, tmp_path / "new", at(0, 10, 20, 40))
    assert (list(said.computed), asked) == ([range(10, 20)], [10])
    assert said.control_points.silent.tolist() == points.silent.tolist()
    assert said.control_points.starts_s.tolist() == [0.0, 1.0, 1.9, 3.95]
    with pytest.raises(ControlPointError, match="after the end .2.100 s. of frame 20"):
        redone(video, run, tmp_path / "x", at(0, 20, 40, starts_s=[0.0, 2.5, 3.95]))


def test_a_segment_changes_with_what_its_keyframe_hears(video, tmp_path):
    """A segment of half a second hears to its end, so its end decides what it hears."""
    run = segmented(video, tmp_path / "run", at(0, 20, 25, 40))
    said, asked, _ = redone(video, run, tmp_path / "new", at(0, 20, 23, 40))
    assert (list(said.computed), asked) == ([range(20, 40)], [20, 23])
    fresh = segmented(video, tmp_path / "fresh", at(0, 20, 23, 40))
    assert differing(tmp_path / "new", fresh) == []


def test_models_that_look_around_a_keyframe_are_asked_again_about_neighbours(video, tmp_path):
    run = segmented(video, tmp_path / "run", at(0, 20, 28, 45), context="window")
    said, asked, _ = redone(video, run, tmp_path / "new", at(0, 20, 29, 45), context="window")
    assert (list(said.computed), asked) == ([range(20, 45)], [20, 29])


def test_silence_is_part_of_an_edit(video, run, tmp_path):
    said, asked, _ = redone(video, run, tmp_path / "new", at(0, 20, 40, silent=[0] * 40 + [1] * 20))
    assert (list(said.computed), asked) == ([range(40, 60)], [])
    assert not media.read_mask(tmp_path / "new/masks/00050.png").any()


def test_a_result_can_be_redone_in_place(video, tmp_path):
    run = segmented(video, tmp_path / "run", at(0, 20, 40), bare=True, alpha=True)
    bare = pictures(run / "bare")
    kept = pictures(run, "alpha")
    points = json.loads((run / "control_points.json").read_text())
    (run / "control_points.json").write_text(
        json.dumps({"indices": [0, 20, 45], "num_frames": points["num_frames"]})
    )
    said, asked, _ = redone(video, run, run, alpha=True)
    assert (list(said.computed), asked) == ([range(20, 60)], [20, 45])
    assert pictures(run / "bare") == bare
    assert len(bare) == 2 * NUM_FRAMES
    assert pictures(run, "alpha").keys() == kept.keys()
    again, asked, _ = redone(video, run, tmp_path / "again")
    assert (again.computed, asked) == ((), [])


def test_the_model_is_asked_again_where_it_was(video, tmp_path):
    run = tmp_path / "run"
    backend, points = Noting(), at(0, 20)
    model = in_windows(backend, control_points=Given(points), propagator=Carrying(), reanchor=1.0)
    do_job(model, Job(video, run), Options(fps=FPS, overlay=False))
    assert backend.asked == [0, 10, 20, 30, 40, 50]
    backend.asked.clear()
    Image.fromarray(PAINTED).save(run / "masks/00035.png")
    said = redo(model, video, run, tmp_path / "new", fps=FPS, overlay=False)
    assert (list(said.computed), backend.asked) == ([range(35, 40)], [])


def test_where_several_answers_decide_the_result_is_that_of_a_whole_run(video, tmp_path):
    def recovering(points):
        return in_windows(
            Noting(), control_points=Given(points), propagator="flow", keyframe="confident"
        )

    for name, wanted in (("run", at(0, 20, 40)), ("fresh", at(0, 15, 40))):
        job = Job(video, tmp_path / name)
        assert do_job(recovering(wanted), job, Options(fps=FPS, overlay=False)).status == "done"
    model, new = recovering(None), tmp_path / "new"
    said = redo(model, video, tmp_path / "run", new, points=at(0, 15, 40), fps=FPS, overlay=False)
    assert list(said.computed) == [range(40)]
    assert differing(new, tmp_path / "fresh") == []


FORMS = {
    "colours": lambda mask: Image.fromarray(avsbench_palette()[mask]),
    "see-through": lambda mask: Image.fromarray(
        np.dstack([avsbench_palette()[np.maximum(mask, 1)], 255 * (mask > 0).astype(np.uint8)])
    ),
    "grey": Image.fromarray,
    "another palette": lambda mask: Image.fromarray(avsbench_palette()[mask]).quantize(3),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_classes", [1, 71])
def test_masks_may_be_saved_in_any_form(tmp_path, form, num_classes):
    from coprop_plugin.media.masks import read_painted_mask

    mask = PAINTED * (1 if num_classes == 1 else 7)
    if num_classes > 1:
        mask[30:40, 40:60] = 70
    if form == "see-through":
        rgba = np.dstack([avsbench_palette()[mask], 255 * (mask > 0).astype(np.uint8)])
        rgba[mask == 0, :3] = 255
        Image.fromarray(rgba).save(tmp_path / "a.png")
    else:
        FORMS[form](mask).save(tmp_path / "a.png")
    read = read_painted_mask(tmp_path / "a.png", (48, 64), num_classes)
    np.testing.assert_array_equal(read, mask)


def test_what_is_no_mask_is_refused(tmp_path):
    from coprop_plugin.media.masks import read_painted_mask

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


def test_results_of_something_else_are_refused(scene, video, run, tmp_path):
    new = tmp_path / "new"
    with pytest.raises(MediaError, match="holds no finished result to reuse.*OUT/<name"):
        redone(video, tmp_path / "nothing", new)
    other = media.write_clip(scene.clip(fps=FPS)[:30], tmp_path / "other.mp4")
    with pytest.raises(MediaError, match="is of another video .scene.mp4.*same video"):
        redone(other, run, new)
    model = in_windows(Noting(), propagator="hold")
    with pytest.raises(MediaError, match="60 frames where these options give 30.*another fps"):
        redo(model, video, run, new, fps=5)
    with pytest.raises(MediaError, match="one of 1 classes, not of 71"):
        redo(wrap(Noting(num_classes=71), propagator="hold"), video, run, new, fps=FPS)
    content = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**content, "version": "0.0.1"}))
    with pytest.raises(MediaError, match="version 0.0.1, this is"):
        redone(video, run, new)
    del content["digests"]
    (run / "result.json").write_text(json.dumps(content))
    with pytest.raises(MediaError, match="does not say how.*--redo"):
        redone(video, run, new)
    assert not new.exists()


def test_the_same_video_elsewhere_is_the_same_video(video, run, tmp_path):
    moved = shutil.copyfile(video, tmp_path / "renamed.mp4")
    assert redone(moved, run, tmp_path / "new", at(0, 20, 40))[0].computed == ()


def test_a_saved_result_is_reused_too(video, tmp_path):
    model = in_windows(
        Noting(), control_points=at(0, 20, 40).flags.int().tolist(), propagator="flow"
    )
    result = model.segment(video, fps=FPS)
    result.save(tmp_path / "run", overlay=False)
    said, asked, _ = redone(video, tmp_path / "run", tmp_path / "new", at(0, 20, 50))
    assert (list(said.computed), asked) == ([range(20, 60)], [20, 50])
    assert "control_points.json" in everything_in(tmp_path / "new")
    memory = replace(Clip.from_file(video, fps=FPS), source=None)
    model.segment(memory).save(tmp_path / "memory", overlay=False)
    with pytest.raises(MediaError, match="another video"):
        redone(video, tmp_path / "memory", tmp_path / "x")


def test_ten_edits_cost_one_probe(video, tmp_path, monkeypatch):
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
        said, _, _ = redone(video, folder, tmp_path / f"new{number}")
        assert len(said.computed) == edits
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
