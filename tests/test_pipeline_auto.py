"""`reanchor="auto"`: predictions are checked against one another, and masks combined."""

import json
import weakref

import pytest
import torch
from stand_ins import AVSegFormer

from coprop_plugin import ControlPoints, CoProp, media, wrap
from coprop_plugin.batch import Job, Options, do_job, make_model
from coprop_plugin.errors import ControlPointError
from coprop_plugin.pipeline import (
    AutoOptions,
    MaskLogits,
    StreamedVideo,
    WindowLimits,
    agreement,
    combined,
    trusted_runs,
)
from coprop_plugin.pipeline.mask_doubt import mask_doubt
from coprop_plugin.pipeline.redo import redo
from coprop_plugin.pipeline.schedule import KeyframeSchedule
from coprop_plugin.pipeline.windows import ScheduledWindow, Window
from coprop_plugin.world import TruthBackend

FPS = 4


class SpoiledTruth(TruthBackend):
    """The truth, moved away at some times; records the times it is run at."""

    def __init__(self, scene, times=(), **options):
        super().__init__(scene, **options)
        self.times, self.requested = times, []

    def segment_keyframes(self, clip, indices):
        rows = super().segment_keyframes(clip, indices)
        times = clip.times[list(indices)].tolist()
        self.requested += times
        wrong = [
            row.roll((13, 21), (1, 2)) if t in self.times else row
            for row, t in zip(rows, times, strict=True)
        ]
        return torch.stack(wrong)


def auto(backend, **options):
    return wrap(backend, **dict(propagator="flow", reanchor="auto") | options)


def ious(result, scene, clip, ids="binary"):
    truth = scene.truth(clip, ids=ids)
    return torch.tensor([agreement(*pair) for pair in zip(result.masks, truth, strict=True)])


@pytest.fixture
def points(scene, clip):
    return ControlPoints(scene.control_points(clip).flags)


def test_first_frames_are_the_ends_and_one_a_second():
    times = torch.arange(40) / 4
    assert AutoOptions().first_frames(range(0, 11), times) == [0, 4, 8, 10]
    assert AutoOptions(seconds=2.0).first_frames(range(0, 11), times) == [0, 8, 10]
    assert AutoOptions().first_frames(range(3, 7), times) == [3, 5, 6]
    assert AutoOptions().first_frames(range(3, 5), times) == [3, 4]
    assert AutoOptions().first_frames(range(3, 4), times) == [3]


def test_masks_of_a_segment_are_let_go_of_one_by_one(clip):
    """At 1080p the views of a segment are hundreds of megabytes."""
    made = []

    def propagate(segments):
        rows = [
            [MaskLogits((1,), s.keyframe.logits.clone(), 1) for _ in s.frames] for s in segments
        ]
        made.extend(weakref.ref(masks) for row in rows for masks in row)
        return rows

    window = ScheduledWindow(Window.whole(clip), KeyframeSchedule(ControlPoints([1] * 24), [0.0]))
    segment = AutoOptions().segment(window, range(0, 9), clip, None, propagate)
    while frames := segment.requested:
        segment.add({t: MaskLogits((1,), torch.ones(1, *clip.size), 1) for t in frames})
    masks, alive = segment.masks, []
    del segment
    for _ in range(9):
        next(masks)
        alive.append(sum(ref() is not None for ref in made))
    assert alive[-1] == 0
    assert alive == sorted(alive, reverse=True)
    assert len(set(alive)) > 4


def runs_of(letters, step_s=0.5, doubts=None):
    """The trusted runs of predictions that agree where their letters do."""
    return trusted_runs(
        {t: t * step_s for t in range(len(letters))},
        lambda t, later: float(letters[t] == letters[later]),
        lambda t: doubts[t] if doubts else 0.0,
    )


@pytest.mark.parametrize(
    ("letters", "runs"),
    [
        ("aaaa", [[0, 1, 2, 3]]),
        ("aaba", [[0, 1, 3]]),
        ("aabb", [[0, 1], [2, 3]]),
        ("aaxyaa", [[0, 1, 4, 5]]),
        ("aabcbb", [[0, 1], [2, 4, 5]]),
        ("baaa", [[1, 2, 3]]),
        ("a", [[0]]),
    ],
)
def test_wrong_predictions_are_left_out_and_changes_are_found(letters, runs):
    assert runs_of(letters) == runs


def test_far_apart_a_lone_prediction_at_the_end_is_a_change_nearby_it_is_wrong():
    assert runs_of("aaab", step_s=1.0) == [[0, 1, 2], [3]]
    assert runs_of("aaab", step_s=0.5) == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("letters", "doubts", "runs"),
    [
        ("ab", (0, 0), [[0], [1]]),
        ("ab", (0, 1.5), [[0]]),
        ("ab", (1.5, 0), [[1]]),
        ("ab", (3, 3), [[0], [1]]),
        ("abb", (0, 3, 3), [[0], [1, 2]]),
        ("abc", (0, 3, 0), [[0], [2]]),
    ],
)
def test_of_predictions_that_agree_with_no_other_doubtful_ones_are_left_out(letters, doubts, runs):
    assert runs_of(letters, step_s=1.0, doubts=doubts) == runs


@pytest.mark.parametrize("enlarged", [1, 8])
def test_masks_are_doubtful_where_they_are_empty_or_off_the_edges(scene, clip, enlarged):
    size = [side * enlarged for side in clip.size]
    frame = torch.nn.functional.interpolate(clip.frames[:1].float(), size)[0]
    mask = scene.truth(clip, "binary")[0].repeat_interleave(enlarged, 0)
    mask = mask.repeat_interleave(enlarged, 1)
    moved = mask.roll((size[0] // 3, size[1] // 3), (0, 1))
    doubts = [mask_doubt(frame, each) for each in (mask, torch.ones_like(mask), mask & 0, moved)]
    assert doubts[:3] == [0.0, 0.0, 1.5]
    assert doubts[3] > 1.5


@pytest.mark.parametrize("num_classes", [1, 3])
def test_combined_masks_are_the_mean_of_probabilities(num_classes):
    torch.manual_seed(0)
    ids = [(1,), (1,)] if num_classes == 1 else [(0, 1), (0, 2)]
    masks = [MaskLogits(i, torch.randn(len(i), 4, 5), num_classes) for i in ids]
    mean = combined(masks, [1.0, 3.0]).result(0, 0.0, False)
    each = [mask.result(0, 0.0, False).probs for mask in masks]
    wanted = (0.25 * each[0] + 0.75 * each[1]).clamp(1e-5, 1 - 1e-5)
    torch.testing.assert_close(mean.probs, wanted / (1 if num_classes == 1 else wanted.sum(0)))
    nothing = MaskLogits((), torch.zeros(0, 4, 5), num_classes)
    half = combined([nothing, masks[1]], [1.0, 1.0]).result(0, 0.0, False)
    assert torch.allclose(half.sounding_prob, each[1][-1] / 2, atol=1e-4)
    assert combined([nothing, nothing], [1.0, 1.0]).class_ids == ()


@pytest.mark.parametrize("semantic", [False, True])
def test_a_wrong_prediction_does_no_harm(scene, clip, points, semantic):
    wrong = (1.0, 3.0)
    backend = SpoiledTruth(scene, wrong, semantic=semantic)
    result = auto(backend, control_points=points).segment(clip)
    ids = "class" if semantic else "binary"
    assert set(wrong) < set(backend.requested)
    assert float(ious(result, scene, clip, ids).min()) > 0.7
    for time_s in wrong:
        frame = result.frame_results[int(time_s * FPS)]
        assert (frame.is_keyframe, frame.origin.kind) == (False, "combined")
        assert "contradicts" in frame.origin.why


def test_one_of_two_predictions_that_looks_wrong_does_no_harm(scene):
    """A second apart they could be a change, too."""
    clip = scene.clip(fps=1)
    points = ControlPoints(scene.control_points(clip).flags)
    assert points.indices == [0, 2, 4, 5]
    result = auto(SpoiledTruth(scene, (0.0, 3.0)), control_points=points).segment(clip)
    assert float(ious(result, scene, clip).min()) > 0.6
    assert [frame.is_keyframe for frame in result.frame_results[:4]] == [False, True, True, False]


def test_a_change_without_a_control_point_is_found(scene, clip):
    """The flute stops and the drum begins at frame 8."""
    points = ControlPoints.from_indices([0, 16, 20], clip.num_frames)
    first = wrap(SpoiledTruth(scene), control_points=points, propagator="flow", reanchor=None)
    assert float(ious(first.segment(clip), scene, clip)[8:16].max()) == 0
    result = auto(SpoiledTruth(scene), control_points=points).segment(clip)
    assert float(ious(result, scene, clip).min()) > 0.7


def test_the_model_is_never_run_twice_on_a_frame_nor_in_silence(scene, clip, points):
    backend = SpoiledTruth(scene)
    result = auto(backend, control_points=points).segment(clip)
    assert len(backend.requested) == len(set(backend.requested)) < clip.num_frames / 2
    assert not any(4 <= time_s < 5 for time_s in backend.requested)
    kinds = [frame.origin.kind for frame in result.frame_results]
    assert kinds[16:20] == ["silent"] * 4
    assert {"combined", "carried", "predicted"} >= set(kinds[:16] + kinds[20:])


def test_at_one_frame_a_second_every_frame_is_predicted_once(scene):
    clip, backend = scene.clip(fps=1), SpoiledTruth(scene)
    result = auto(backend).segment(clip)
    sounding = [not result.control_points.is_silent(t) for t in range(clip.num_frames)]
    assert sorted(backend.requested) == clip.times[torch.tensor(sounding)].tolist()


@pytest.mark.parametrize("segment_batch", [1, 4])
def test_a_stream_equals_the_whole_clip(scene, tmp_path, segment_batch):
    path = media.write_clip(scene.clip(fps=12), tmp_path / "scene.mp4")
    options = dict(type="auto", segment_s=1.3)
    model = auto(SpoiledTruth(scene, (1.0, 3.0)), reanchor=options, segment_batch=segment_batch)
    model.window_limits = WindowLimits(frames_bytes=1, context_s=0.6)
    whole = model.segment(path, fps=FPS)
    for start, stop in ((0, None), (3, None), (9, 17)):
        video = StreamedVideo(path, FPS, limits=model.window_limits)
        streamed = list(model.stream_part(video, start=start, stop=stop))
        wanted = whole.frame_results[start:stop]
        for frame, other in zip(streamed, wanted, strict=True):
            assert (frame.index, frame.is_keyframe) == (other.index, other.is_keyframe)
            assert frame.origin == other.origin
            torch.testing.assert_close(frame.probs, other.probs)


def test_result_json_tells_how_each_mask_was_made_also_after_redo(scene, tmp_path):
    video = media.write_clip(scene.clip(fps=FPS), tmp_path / "scene.mp4")
    model = auto(SpoiledTruth(scene))
    outcome = do_job(model, Job(video, tmp_path / "run"), Options(fps=FPS, overlay=False))
    assert outcome.status == "done", outcome.error
    told = json.loads((tmp_path / "run" / "result.json").read_text())["frames"]
    frames = model.segment(video, fps=FPS).frame_results
    assert told == [frame.origin.to_dict() for frame in frames]
    mask = tmp_path / "run" / "masks" / "00021.png"
    mask.unlink()
    redo(model, video, tmp_path / "run", tmp_path / "new", fps=FPS, overlay=False)
    again = json.loads((tmp_path / "new" / "result.json").read_text())["frames"]
    assert again == told


def marked(frames):
    """Segment what is bright, but in blue frames what is dark."""
    blue = frames[:, 2].mean((1, 2)) > 0.9
    return torch.where(blue[:, None, None, None], -1.0, 1.0) * (frames[:, :1] * 20 - 10)


def test_the_drop_in_call_leaves_wrong_predictions_out():
    frames, shapes = torch.zeros(6, 3, 16, 16), []
    frames[:, :2, 4:9, 4:9] = 1
    frames[3, 2] = 1

    def recording(frames):
        shapes.append(len(frames))
        return marked(frames)

    backend = dict(type="CallableBackend", function=recording, audio="none")
    options = dict(control_points=[1, 0, 0, 0, 0, 0], propagator="hold", reanchor="auto")
    masks = CoProp(backend, **options)(frames)
    assert shapes == [6]
    assert all(torch.equal(row > 0, marked(frames)[0] > 0) for row in masks)


@torch.no_grad()
def test_the_drop_in_call_of_a_family_keeps_its_return_value():
    torch.manual_seed(0)
    module = AVSegFormer(T=5).eval()
    arguments = torch.rand(5, 1, 96, 64), torch.rand(5, 3, 32, 32)
    points = [1, 0, 0, 0, 0]
    model = wrap(module, control_points=points, propagator="hold", reanchor="auto")
    logits, feature = model(*arguments)
    own_logits, own_feature = module(*arguments)
    assert (logits.shape, feature.shape) == (own_logits.shape, own_feature.shape)
    assert torch.isfinite(logits).all()


def test_a_silent_segment_is_empty_in_the_drop_in_call(scene):
    module = AVSegFormer(T=5).eval()
    log_mel = torch.full((5, 1, 96, 64), -4.6)
    log_mel[:2] = torch.rand(2, 1, 96, 64)
    points = [1, 0, 1, 0, 0]
    model = wrap(module, control_points=points, propagator="hold", reanchor="auto")
    logits, _ = model(log_mel, torch.rand(5, 3, 32, 32))
    assert not (logits[2:] > 0).any()


def test_given_masks_are_carried(scene, tmp_path):
    path = media.write_clip(scene.clip(fps=12), tmp_path / "scene.mp4")
    mask = torch.zeros(48, 64, dtype=torch.long)
    mask[5:9, 5:9] = 1
    points = ControlPoints.from_indices([0, 8], 24)
    model = auto(SpoiledTruth(scene), propagator="hold", control_points=points)
    frames = list(model.stream_part(StreamedVideo(path, 4), given={8: mask}))
    assert all(torch.equal(frame.mask.long(), mask) for frame in frames[8:])
    assert [frame.origin.kind for frame in frames[8:10]] == ["given", "carried"]


@pytest.mark.parametrize(
    "wrong",
    [
        dict(reanchor=dict(type="auto", seconds=0)),
        dict(reanchor=dict(type="auto", agree=2)),
        dict(reanchor=dict(type="auto", threshold=0.5)),
        dict(reanchor="auto", keyframe="confident"),
    ],
)
def test_invalid_options_are_refused(scene, wrong):
    with pytest.raises(ControlPointError, match="seconds|agree|auto"):
        wrap(TruthBackend(scene), **wrong)


def test_options_from_the_command_line(tmp_path):
    path = tmp_path / "segmenters.py"
    path.write_text("def bright(frames, audio):\n    return frames[:, :1] - 0.5\n")
    model = make_model(f"{path}:bright", reanchor='{"type": "auto", "seconds": 2}')
    assert model.candidates == AutoOptions(seconds=2)
    assert make_model(f"{path}:bright", reanchor="auto").candidates == AutoOptions()
