"""`CoProp`: control points, keyframes and propagation together."""

import copy

import pytest
import torch
from torch import nn

from coprop_plugin import Clip, ControlPoints, CoProp, media, unwrap, wrap
from coprop_plugin.errors import AdapterError, ClipError, ControlPointError, UnknownNameError
from coprop_plugin.pipeline import WindowLimits
from coprop_plugin.world import TruthBackend


def plain(model, **options):
    """Wrap a model that is run at control points alone."""
    return wrap(model, **dict(reanchor=None) | options)


class RecordingTruth(TruthBackend):
    """The truth; records the times of the frames it is run on."""

    def __init__(self, scene, **kwargs):
        super().__init__(scene, **kwargs)
        self.times = []

    def segment_keyframes(self, clip, indices):
        self.times += clip.times[list(indices)].tolist()
        return super().segment_keyframes(clip, indices)


class UncallableProvider:
    """A provider that must not be called."""

    def propose(self, clip):
        raise AssertionError("called")


def truth_points(scene, clip):
    return scene.control_points(clip)


def test_keyframe_masks_are_those_of_the_backend(scene, clip):
    model = wrap(TruthBackend(scene), control_points=[1] * clip.num_frames)
    assert torch.equal(model.segment(clip).masks, scene.truth(clip, ids="binary"))


def test_the_backend_runs_on_keyframes_only(scene, clip):
    backend = RecordingTruth(scene)
    points = ControlPoints(truth_points(scene, clip).flags)
    result = plain(backend, control_points=points, silence="keep").segment(clip)
    assert backend.times == [result.times[i] for i in points.indices]
    assert [f.index for f in result.frame_results if f.is_keyframe] == points.indices


@pytest.mark.parametrize("propagator", ["hold", "flow"])
def test_an_empty_keyframe_makes_its_segment_empty_without_propagation(scene, clip, propagator):
    class Counting(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.steps = inner, 0

        def hear(self, clip):
            return self.inner.hear(clip)

        def start(self, *args):
            return self.inner.start(*args)

        def step(self, *args):
            self.steps += 1
            return self.inner.step(*args)

    model = plain(
        TruthBackend(scene),
        control_points=ControlPoints(truth_points(scene, clip).flags),
        propagator=propagator,
    )
    model.propagator = Counting(model.propagator)
    result = model.segment(clip)
    empty = [s for s in result.control_points.segments if not result.masks[s.start].any()]
    assert len(empty) == 1
    assert not result.masks[list(empty[0])].any()
    full = sum(len(s) - 1 for s in result.control_points.segments if s not in empty)
    assert model.propagator.steps == full


def test_silent_segments_are_empty_and_skip_the_backend(scene, clip):
    backend = RecordingTruth(scene)
    flags = torch.zeros(clip.num_frames, dtype=torch.bool)
    flags[[0, 10]] = True
    silent = torch.arange(clip.num_frames) < 10
    result = plain(backend, control_points=ControlPoints(flags, silent=silent)).segment(clip)
    assert not result.masks[:10].any()
    assert backend.times == [result.times[10]]


@pytest.mark.parametrize("sampling", ["pts", "avsbench"])
def test_keyframe_audio_is_that_of_its_own_segment(sampling):
    audio_seen = []

    def recording(frames, audio):
        audio_seen.extend(audio.abs().mean(1).tolist())
        return frames[:, :1]

    fps = 4 if sampling == "pts" else 1
    waveform = torch.cat([torch.zeros(32_000), torch.ones(8_000), torch.zeros(24_000)])
    times = torch.arange(4 * fps) / fps + (15 / 16 if sampling == "avsbench" else 0)
    clip = Clip(torch.rand(4 * fps, 3, 8, 8), waveform, 16_000, times, sampling=sampling)
    flags = torch.zeros(4 * fps, dtype=torch.bool)
    flags[[0, 2 * fps, 3 * fps]] = True
    plain(recording, backend="callable", control_points=flags, silence="keep").segment(clip)
    # The second segment sounds in its first half; an audio window is 0.975 s long.
    assert audio_seen == pytest.approx([0, 0.5 / 0.975, 0], abs=0.06)


def test_keyframe_audio_windows_start_at_starts_s_and_end_with_the_clip():
    points = ControlPoints([1, 1, 0, 0, 1], starts_s=[0.0, 1.4, 4.2])
    audio_seen = []

    class RecordingModel:
        num_classes = 1

        def segment_keyframes(self, clip, indices):
            audio_seen.extend(clip.listening_times[list(indices)].tolist())
            return torch.ones(len(indices), 1, *clip.size)

    class Given:
        def propose(self, clip):
            return points

    noise = torch.rand(80_000) - 0.5
    clip = Clip(torch.rand(5, 3, 8, 8), noise, 16_000, sampling="avsbench")
    plain(RecordingModel(), control_points=Given(), propagator="hold").segment(clip)
    # Frame 0: its own second. Frame 1: the second after starts_s. Frame 4: cut at the clip's end.
    assert audio_seen == pytest.approx([15 / 16, 1.4 + 15 / 16, 5.0])
    audio_seen.clear()
    clip = Clip(torch.rand(5, 3, 8, 8), noise, 16_000, torch.arange(5.0))
    plain(RecordingModel(), control_points=Given(), propagator="hold", reanchor=2).segment(clip)
    # The model runs on frame 3, too.
    assert audio_seen == pytest.approx([15 / 16, 1.4 + 15 / 16, 3 + 15 / 16, 5.0])


def test_reanchor_runs_the_model_again_within_long_segments(scene, clip):
    points = ControlPoints.from_indices([0, 18], clip.num_frames, silent=[0] * 18 + [1] * 6)
    backend = RecordingTruth(scene)

    class Given:
        def propose(self, clip):
            return points

    result = wrap(backend, control_points=Given(), reanchor=1.0).segment(clip)
    assert backend.times == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [f.index for f in result.frame_results if f.is_keyframe] == [0, 4, 8, 12, 16, 18]
    assert result.control_points is points
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(ControlPointError, match="reanchor"):
            wrap(backend, reanchor=wrong)


def test_segment_bare_centres_audio_on_each_frame(scene, clip):
    audio_seen = []

    class RecordingModel(TruthBackend):
        def segment_keyframes(self, clip, indices):
            audio_seen.extend(clip.listening_times[list(indices)].tolist())
            return super().segment_keyframes(clip, indices)

    model = wrap(RecordingModel(scene), control_points=UncallableProvider())
    result = model.segment_bare(clip)
    assert audio_seen == clip.times.tolist()
    assert torch.equal(result.masks, scene.truth(clip, ids="binary"))
    assert all(frame.is_keyframe for frame in result.frame_results)


def test_semantic_masks_keep_their_class(scene, clip):
    points = ControlPoints(truth_points(scene, clip).flags)
    model = wrap(TruthBackend(scene, semantic=True), control_points=points, propagator="hold")
    result = model.segment(clip)
    truth = scene.truth(clip, ids="class")
    keyframes = points.indices
    assert torch.equal(result.masks[keyframes], truth[keyframes])
    assert set(result.masks.unique().tolist()) == {0, 3, 5}
    assert result.probs.shape == (clip.num_frames, 11, *clip.size)
    assert torch.equal(result.probs.argmax(1)[keyframes], truth[keyframes])


def test_stream_equals_segment(scene, tmp_path):
    path = media.write_clip(scene.clip(fps=12), tmp_path / "scene.mp4")
    model = wrap(TruthBackend(scene))
    model.window_limits = WindowLimits(frames_bytes=1, context_s=0.6)
    whole = model.segment(path, fps=4)
    streamed = list(model.stream(path, fps=4))
    assert [frame.index for frame in streamed] == list(range(len(whole.times)))
    assert [frame.time_s for frame in streamed] == whole.times.tolist()
    assert torch.equal(torch.stack([frame.mask for frame in streamed]).long(), whole.masks)
    for frame, other in zip(streamed, whole.frame_results, strict=True):
        torch.testing.assert_close(frame.probs, other.probs)


def test_hooks_are_called_at_each_step(scene, clip):
    seen = []
    model = wrap(TruthBackend(scene), control_points=dict(type="every_n", n=8))
    model.segment(clip, hook=lambda step, artifact, done, total: seen.append((step, done, total)))
    assert seen[0] == ("control_points", 1, 1)
    assert ("keyframes", 3, 3) in seen
    assert seen[-1] == ("propagation", clip.num_frames, clip.num_frames)


def test_flags_replace_the_provider(scene, clip):
    flags = [1] + [0] * (clip.num_frames - 1)
    model = wrap(TruthBackend(scene), control_points=flags)
    assert model.segment(clip).control_points.indices == [0]
    with pytest.raises(ControlPointError, match=f"{clip.num_frames - 1}"):
        model.segment(clip[1:])
    with pytest.raises(AssertionError, match="called"):
        wrap(TruthBackend(scene), control_points=UncallableProvider()).segment(clip)


def test_a_wrong_number_of_flags_is_refused(scene, clip):
    class Short:
        def propose(self, clip):
            return ControlPoints([1, 0], source="short")

    with pytest.raises(ControlPointError, match="one flag a frame.*24 frames, got 2 from 'short'"):
        wrap(TruthBackend(scene), control_points=Short()).segment(clip)


def test_logits_of_a_wrong_shape_are_refused(scene, clip):
    class Small(TruthBackend):
        def segment_keyframes(self, clip, indices):
            return super().segment_keyframes(clip, indices)[..., ::2]

    with pytest.raises(AdapterError, match="from Small for 1 keyframes.*, got"):
        plain(Small(scene), control_points=dict(type="every_n", n=100)).segment(clip)


def test_unwrap_returns_the_same_unchanged_object(clip):
    class Segmenter(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.BatchNorm2d(1))

        def forward(self, frames, audio):
            return self.net(frames)

    module = Segmenter().train()
    module.net[1].eval()
    flags = [m.training for m in module.modules()]
    weights = copy.deepcopy(module.state_dict())
    model = wrap(module, backend="callable", control_points=dict(type="every_n", n=4))
    model.segment(clip)
    assert unwrap(model) is module
    assert [m.training for m in module.modules()] == flags
    assert all(torch.equal(module.state_dict()[k], v) for k, v in weights.items())
    with pytest.raises(AdapterError, match="made by `wrap`, got a Segmenter"):
        unwrap(module)
    with pytest.raises(AdapterError, match="wrapped already"):
        wrap(model)


def test_sources_are_clips_tuples_or_paths(scene, clip):
    model = wrap(TruthBackend(scene), control_points=dict(type="every_n", n=100))
    assert model.segment((clip.frames, clip.waveform, 16_000)).masks.shape[0] == clip.num_frames
    with pytest.raises(ClipError, match="got a int"):
        model.segment(3)


def test_unknown_names_list_the_known(scene):
    with pytest.raises(UnknownNameError, match="novelty"):
        wrap(TruthBackend(scene), control_points="novel")
    with pytest.raises(UnknownNameError, match="hold"):
        wrap(TruthBackend(scene), propagator="carrier_pigeon")


def test_mmengine_builds_it_without_an_import():
    from mmengine.registry import MODELS

    config = dict(
        type="coprop_plugin.CoProp",
        backend=dict(type="CallableBackend", function=lambda frames, audio: frames[:, :1] - 0.5),
        control_points=dict(type="every_n", n=2),
        propagator=dict(type="HoldPropagator"),
    )
    model = MODELS.build(config)
    assert isinstance(model, CoProp)
    clip = Clip(torch.rand(4, 3, 16, 16), torch.zeros(64_000))
    assert model.segment(clip).control_points.indices == [0, 2]


def test_calling_a_backend_without_a_call_is_refused(scene, clip):
    with pytest.raises(AdapterError, match=r"model.segment\(clip\)"):
        wrap(TruthBackend(scene))(clip)


class Batches:
    """A backend that records the batch size of each call."""

    num_classes = 1

    def __init__(self):
        self.sizes = []

    def segment_keyframes(self, clip, indices):
        self.sizes.append(len(indices))
        return clip.rgb(indices).mean(1, keepdim=True) - 0.5


@pytest.mark.parametrize(("own", "most"), [(None, 16), (3, 3), (64, 64)])
def test_keyframe_batches_are_bounded(own, most):
    backend = Batches()
    if own is not None:
        backend.frames_at_once = own
    clip = Clip(torch.rand(100, 3, 8, 8), torch.rand(100 * 16_000) - 0.5, 16_000)
    every = dict(type="every_n", n=1)
    for keyframe in ("first", "confident"):
        backend.sizes.clear()
        model = wrap(backend, control_points=every, propagator="hold", keyframe=keyframe)
        assert model.segment(clip).masks.shape == (100, 8, 8)
        assert max(backend.sizes) == most
        assert sum(backend.sizes) == 100
    backend.sizes.clear()
    model.segment_bare(clip)
    assert max(backend.sizes) == most


class Holding:
    """A backend that has a module, without being one."""

    num_classes = 1

    def __init__(self, network):
        self.network = network

    def segment_keyframes(self, clip, indices):
        raise NotImplementedError


class Idle(nn.Linear):
    """A propagator with parameters, which never runs."""

    def hear(self, clip):
        return None

    def start(self, frame, sound, masks):
        raise NotImplementedError

    def step(self, memory, frame, sound):
        raise NotImplementedError


def test_the_propagator_runs_on_the_device_of_the_backends_model(caplog):
    def device(backend, **options):
        model = wrap(backend, propagator=Idle(1, 1), **options)
        return next(model.propagator.parameters()).device.type

    default = "cuda" if torch.cuda.is_available() else "cpu"
    with caplog.at_level("INFO"):
        assert device(Holding(nn.Linear(2, 2))) == "cpu"
        assert device(Holding(None)) == default
        assert device(Holding(nn.Linear(2, 2, device=default)), device="cpu") == "cpu"
    reasons = [record.getMessage() for record in caplog.records if "propagator" in record.message]
    assert [reason.split("(")[1][:6] for reason in reasons] == ["beside", "the de", "as ask"]


@pytest.mark.parametrize(
    "model",
    [
        dict(type="subprocess.Popen", args="true"),
        dict(type="torch.nn.Linear", in_features=1, out_features=1),
        dict(type="KeyframeProcessor", backbone=dict(type="subprocess.Popen", args="true")),
        dict(type="KeyframeProcessor", parts=[dict(type="os.system", command="true")]),
    ],
)
def test_a_config_names_registered_models_only(model):
    with pytest.raises(UnknownNameError, match="is not|registered"):
        CoProp(dict(type="CallableBackend", model=model, function=None))
