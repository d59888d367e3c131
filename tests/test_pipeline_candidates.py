"""Several candidate keyframes per segment: a wrong one is left out."""

from functools import partial

import pytest
import torch
from stand_ins import AVSegFormer

from coprop_plugin import Clip, ControlPoints, CoProp, media, wrap
from coprop_plugin.batch import make_model
from coprop_plugin.errors import ControlPointError
from coprop_plugin.pipeline import (
    CandidateOptions,
    MaskLogits,
    Segment,
    StreamedVideo,
    WindowLimits,
    agreement,
    confidence,
    propagate_batch,
)
from coprop_plugin.propagation import FlowPropagator, HoldPropagator
from coprop_plugin.world import TruthBackend

BOTH = dict(keyframe="confident", reanchor="uncertain")


class SpoiledTruth(TruthBackend):
    """The truth except at some times; records the times it is run at."""

    def __init__(self, scene, spoil, times, **options):
        super().__init__(scene, **options)
        self.spoil, self.times, self.requested = spoil, times, []

    def segment_keyframes(self, clip, indices):
        rows, spoiled = super().segment_keyframes(clip, indices), []
        for row, time_s in zip(rows, clip.times[list(indices)].tolist(), strict=True):
            self.requested.append(time_s)
            spoiled.append(self.spoil(row) if time_s in self.times else row)
        return torch.stack(spoiled)


def emptied(logits):
    return torch.where(torch.arange(len(logits))[:, None, None] == 0, 10.0, -10.0).expand_as(
        logits
    ) * (1 if len(logits) > 1 else -1)


def moved(logits):
    return logits.roll((13, 21), (1, 2))


def iou(result, truth):
    return torch.tensor([agreement(*pair) for pair in zip(result.masks, truth, strict=True)])


def times_of(clip, frames):
    return [float(clip.times[t]) for t in frames]


@pytest.fixture
def points(scene, clip):
    return ControlPoints(scene.control_points(clip).flags)


@pytest.mark.parametrize("semantic", [False, True])
@pytest.mark.parametrize("spoil", [emptied, moved])
def test_a_wrong_first_keyframe_is_replaced_by_another_candidate(
    scene, clip, points, spoil, semantic
):
    truth = scene.truth(clip, ids="class" if semantic else "binary")
    wrong = {float(clip.times[s.start]) for s in points.segments if truth[s.start].any()}
    scores = {}
    for keyframe in ("first", "confident"):
        backend = SpoiledTruth(scene, spoil, wrong, semantic=semantic)
        model = wrap(backend, control_points=points, propagator="flow", keyframe=keyframe)
        result = model.segment(clip)
        scores[keyframe] = float(iou(result, truth).mean())
        keyframes = [f.index for f in result.frame_results if f.is_keyframe]
        if keyframe == "confident":
            assert not set(times_of(clip, keyframes)) & wrong
            assert torch.equal(result.masks[keyframes], truth[keyframes])
    assert scores["first"] < 0.5
    assert scores["confident"] > 0.9


def test_the_chosen_keyframe_is_propagated_backward_and_forward(scene, clip):
    """The empty prediction at frame 0 is left out; frames 2 and 5 cover the segment."""
    backend = SpoiledTruth(scene, emptied, times_of(clip, [0]))
    flags = ControlPoints.from_indices([0], 8)
    options = dict(control_points=flags, propagator="hold", keyframe="confident")
    result = wrap(backend, **options).segment(clip[:8])
    assert sorted(set(backend.requested)) == times_of(clip, [0, 2, 5])
    assert [f.index for f in result.frame_results if f.is_keyframe] == [2, 5]
    truth = scene.truth(clip, ids="binary")
    for t, keyframe in zip(range(8), [2, 2, 2, 2, 5, 5, 5, 5], strict=True):
        assert torch.equal(result.masks[t], truth[keyframe])


@pytest.mark.parametrize("propagator", [HoldPropagator(), FlowPropagator()])
def test_backward_propagation_equals_forward_on_reversed_frames(clip, scene, propagator):
    keyframe = MaskLogits.of_keyframe(TruthBackend(scene).segment_keyframes(clip, [7])[0])
    mirrored = Clip(clip.frames.flip(0), clip.waveform, clip.sample_rate, clip.times)
    last = clip.num_frames - 1
    ways = [
        Segment(clip, range(7, 1, -1), None, keyframe),
        Segment(mirrored, range(last - 7, last - 1), None, keyframe),
    ]
    back, forth = propagate_batch(propagator, 1, ways, at_once=1)
    assert len(back) == 6
    for one, other in zip(back, forth, strict=True):
        assert torch.equal(one.logits, other.logits)


def test_certain_predictions_cause_no_further_calls(scene, clip, points):
    backend = SpoiledTruth(scene, emptied, ())
    options = dict(propagator="flow", reanchor="uncertain", silence="keep")
    wrap(backend, control_points=points, **options).segment(clip)
    starts = set(times_of(clip, points.indices))
    silent = {t for t in times_of(clip, range(16, 20))}
    # The true mask of the silent segment is empty, without a `silent` flag: one more call.
    assert set(backend.requested) - silent == starts - silent
    assert len(backend.requested) == len(points.indices) + 1


def test_an_empty_prediction_in_a_sounding_segment_is_retried(scene, clip, points):
    backend = SpoiledTruth(scene, emptied, times_of(clip, [0, 8]))
    model = wrap(backend, control_points=points, propagator="flow", reanchor="uncertain")
    result = model.segment(clip)
    truth = scene.truth(clip, ids="binary")
    assert float(iou(result, truth).mean()) > 0.9
    assert len(backend.requested) <= 3 * len(points.indices)


class LosingConfidence(HoldPropagator):
    """Its confidence falls after three frames."""

    def start(self, frame, sound, masks):
        return [super().start(frame, sound, masks), 0]

    def step(self, memory, frame, sound):
        memory[1] += 1
        return memory[0] * (1.0 if memory[1] < 3 else 0.02)


def test_reanchor_uncertain_adds_a_keyframe_where_confidence_is_low(scene, clip):
    backend = SpoiledTruth(scene, emptied, ())
    points = ControlPoints.from_indices([0], 8)
    uncertain = dict(type="uncertain", extra=1, threshold=0.3)
    options = dict(control_points=points, propagator=LosingConfidence(), reanchor=uncertain)
    result = wrap(backend, **options).segment(clip[:8])
    assert len(backend.requested) == 2
    later = round(backend.requested[1] * 4)
    assert later >= 3
    assert [f.index for f in result.frame_results if f.is_keyframe] == [0, later]


def test_silent_segments_skip_the_backend(scene, clip):
    silent = torch.arange(clip.num_frames) >= 16
    points = ControlPoints.from_indices([0, 8, 16], clip.num_frames, silent=silent)
    backend = SpoiledTruth(scene, emptied, ())

    class FixedPoints:
        def propose(self, clip):
            return points

    result = wrap(backend, control_points=FixedPoints(), propagator="hold", **BOTH).segment(clip)
    assert max(backend.requested) < 4.0
    assert not result.masks[16:].any()
    assert [f.index for f in result.frame_results if f.is_keyframe][-1] == 16


@pytest.mark.parametrize("segment_batch", [1, 4])
def test_a_stream_equals_the_whole_clip(scene, tmp_path, segment_batch):
    """Also from a later start, with segments cut by `segment_s`, and in short windows."""
    path = media.write_clip(scene.clip(fps=12), tmp_path / "scene.mp4")
    backend = SpoiledTruth(scene, moved, [0.0, 1.0, 3.0])
    options = dict(keyframe=dict(type="confident", segment_s=1.3), reanchor="uncertain")
    model = wrap(backend, propagator="flow", segment_batch=segment_batch, **options)
    model.window_limits = WindowLimits(frames_bytes=1, context_s=0.6)
    whole = model.segment(path, fps=4)
    for start, stop in ((0, None), (3, None), (9, 17)):
        video = StreamedVideo(path, 4, limits=model.window_limits)
        streamed = list(model.stream_part(video, start=start, stop=stop))
        wanted = whole.frame_results[start:stop]
        assert [frame.index for frame in streamed] == [frame.index for frame in wanted]
        for frame, other in zip(streamed, wanted, strict=True):
            assert frame.is_keyframe == other.is_keyframe
            assert frame.time_s == other.time_s
            torch.testing.assert_close(frame.probs, other.probs)


def test_the_length_of_candidate_segments_is_bounded(scene, clip):
    points = ControlPoints.from_indices([0], 240)
    backend = dict(type="callable", function=lambda frames, audio: frames[:, :1])
    model = CoProp(backend, keyframe="confident", silence="keep")
    for size, fps, most in (((8, 8), 4, 20), ((1080, 1920), 24, 32)):
        frames = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(240, 3, *size)
        long = Clip(frames, torch.zeros(16_000), times=torch.arange(240) / fps)
        segments = model.schedule(points, long).segments
        assert max(map(len, segments)) == most
        assert [t for segment in segments for t in segment] == list(range(240))


def test_a_given_mask_is_propagated_unchanged(scene, tmp_path):
    path = media.write_clip(scene.clip(fps=12), tmp_path / "scene.mp4")
    mask = torch.zeros(48, 64, dtype=torch.long)
    mask[5:9, 5:9] = 1
    points = ControlPoints.from_indices([0, 8], 24)
    backend = SpoiledTruth(scene, emptied, ())
    model = wrap(backend, control_points=points, propagator="hold", **BOTH)
    frames = list(model.stream_part(StreamedVideo(path, 4), given={8: mask}))
    assert max(backend.requested) < 2.0
    assert all(torch.equal(frame.mask.long(), mask) for frame in frames[8:])


def marked(frames):
    """Segment what is bright, but in blue frames what is dark."""
    blue = frames[:, 2].mean((1, 2)) > 0.9
    return torch.where(blue[:, None, None, None], -1.0, 1.0) * (frames[:, :1] * 20 - 10)


def call_frames():
    frames = torch.zeros(6, 3, 16, 16)
    frames[:, :2, 4:9, 4:9] = 1
    frames[[0, 3], 2] = 1
    return frames


def test_the_drop_in_call_leaves_wrong_candidates_out():
    frames, shapes = call_frames(), []

    def recording(frames):
        shapes.append(len(frames))
        return marked(frames)

    options = dict(control_points=[1, 0, 0, 0, 0, 0], propagator="hold")
    backend = dict(type="CallableBackend", function=recording, audio="none")
    plain = CoProp(backend, reanchor=None, **options)(frames)
    assert torch.equal(plain[0], recording(frames)[0])
    assert not torch.equal(plain[5] > 0, recording(frames)[5] > 0)
    shapes.clear()
    recovered = CoProp(backend, keyframe=dict(type="confident", candidates=6), **options)(frames)
    assert shapes == [6]
    right = [1, 2, 4, 5]
    assert torch.equal(recovered[right], recording(frames)[right])
    assert all(torch.equal(row > 0, recovered[1] > 0) for row in recovered)


@torch.no_grad()
def test_the_drop_in_call_of_a_family_keeps_its_return_value():
    torch.manual_seed(0)
    module = AVSegFormer(T=5).eval()
    arguments = torch.rand(5, 1, 96, 64), torch.rand(5, 3, 32, 32)
    model = wrap(module, control_points=[1, 0, 0, 0, 0], propagator="hold", **BOTH)
    logits, feature = model(*arguments)
    own_logits, own_feature = module(*arguments)
    assert logits.shape == own_logits.shape
    assert feature.shape == own_feature.shape
    kept = [t for t in range(5) if torch.equal(logits[t], own_logits[t])]
    # Of the numbers that came out, those at keyframes are the model's own; here are no errors.
    assert kept
    assert torch.equal(feature[kept[0]], own_feature[kept[0]])


@pytest.mark.parametrize(
    "wrong",
    [
        dict(keyframe="best"),
        dict(keyframe=dict(type="confident", frames=3)),
        dict(keyframe=dict(type="confident", candidates=0)),
        dict(reanchor="often"),
        dict(reanchor=True),
        dict(reanchor=dict(type="uncertain", seconds=0)),
        dict(reanchor=dict(type="uncertain", threshold=2)),
    ],
)
def test_invalid_candidate_options_are_refused(scene, wrong):
    name = next(iter(wrong))
    with pytest.raises(ControlPointError, match=f"{name}|candidates|threshold"):
        wrap(TruthBackend(scene), **wrong)


def test_candidate_options_from_the_command_line(tmp_path):
    path = tmp_path / "segmenters.py"
    path.write_text("def bright(frames, audio):\n    return frames[:, :1] - 0.5\n")
    made = partial(make_model, f"{path}:bright", propagator="hold")
    assert made(reanchor="never").candidates is None
    assert made(reanchor="1.5").candidates is None
    assert made(reanchor="uncertain").candidates == CandidateOptions(1, 2, 0.5)
    five = made(keyframe='{"type": "confident", "candidates": 5}', reanchor="1.5")
    assert five.candidates == CandidateOptions(5, 2, None, 1.5)
    with pytest.raises(ControlPointError, match="--keyframe .*is not JSON"):
        made(keyframe="{confident}")


def test_candidates_that_cannot_be_compared_are_all_kept_except_empty_ones(scene, clip):
    """With a propagator that loses every object at once there is no evidence against any."""

    class SwappingClasses(HoldPropagator):
        def step(self, memory, frame, sound):
            return memory.flip(1)

    points = ControlPoints.from_indices([0], 8)
    backend = SpoiledTruth(scene, emptied, times_of(clip, [2]))
    confident = dict(type="confident", candidates=3, extra=0)
    model = wrap(backend, control_points=points, propagator=SwappingClasses(), keyframe=confident)
    result = model.segment(clip[:8])
    assert [f.index for f in result.frame_results if f.is_keyframe] == [0, 5]


def test_candidates_are_spread_evenly_and_at_most_seconds_apart():
    times = torch.arange(20) / 4
    assert CandidateOptions(3).first_frames(range(0, 12), times) == [0, 4, 8]
    assert CandidateOptions(3).first_frames(range(5, 7), times) == [5, 6]
    assert CandidateOptions(1, seconds=1.0).first_frames(range(2, 12), times) == [2, 6, 10]
    assert CandidateOptions(2, seconds=1.0).first_frames(range(0, 12), times) == [0, 4, 6, 10]


def test_agreement_is_the_iou_of_two_masks():
    one = torch.tensor([[0, 1, 2, 2]])
    assert agreement(one, one) == 1
    assert agreement(one, torch.tensor([[0, 1, 1, 0]])) == pytest.approx(1 / 3)
    assert agreement(one, torch.zeros(1, 4)) == 0
    assert agreement(torch.zeros(1, 4), torch.zeros(1, 4)) == 1


@pytest.mark.parametrize("num_classes", [1, 3])
def test_confidence_is_the_expected_iou(num_classes):
    """Compared with true masks drawn from the probabilities."""
    torch.manual_seed(0)
    logits = torch.randn(num_classes, 30, 40) * 2
    if num_classes > 1:
        logits[0] += 1
    masks = MaskLogits(tuple(range(num_classes)) if num_classes > 1 else (1,), logits, num_classes)
    sounding = logits.sigmoid()[0] if num_classes == 1 else 1 - logits.softmax(0)[0]
    inside, overlaps = masks.mask > 0, []
    for _ in range(200):
        drawn = torch.rand_like(sounding) < sounding
        overlaps.append(float((drawn & inside).sum() / (drawn | inside).sum()))
    assert confidence(masks) == pytest.approx(sum(overlaps) / len(overlaps), abs=0.01)


def test_confidence_of_an_empty_mask_is_that_of_its_likeliest_pixel():
    logits = torch.full((1, 4, 4), -9.0)
    assert confidence(MaskLogits((1,), logits, 1)) > 0.99
    logits[0, 1, 1] = -0.01
    assert confidence(MaskLogits((1,), logits, 1)) == pytest.approx(0.5, abs=0.01)
    assert confidence(MaskLogits((), logits[:0], 1)) == 1
