"""Silence apart from control points, and presets."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from coprop_plugin import Clip, ControlPoints, media, wrap
from coprop_plugin.batch import chosen_backend, make_model
from coprop_plugin.cli import app
from coprop_plugin.control_points import OneStepProvider
from coprop_plugin.control_points.silent_segments import SilentSegments
from coprop_plugin.errors import AdapterError, ControlPointError
from coprop_plugin.open_vocabulary import OpenVocabulary
from coprop_plugin.pipeline.preset_costs import PRESET_COSTS
from coprop_plugin.pipeline.preset_options import PRESETS
from coprop_plugin.propagation import AppearancePropagator, AudioInsertPropagator
from coprop_plugin.world import TruthBackend


class Bright:
    """Marks everything; records the frames it is run on."""

    num_classes = 1

    def __init__(self):
        self.times = []

    def segment_keyframes(self, clip, indices):
        self.times += clip.times[list(indices)].tolist()
        return torch.ones(len(indices), 1, *clip.size)


def noise_then_silence(fps=1):
    waveform = torch.cat([torch.rand(32_000) - 0.5, torch.zeros(48_000)])
    return Clip(torch.rand(5 * fps, 3, 8, 8), waveform, 16_000, torch.arange(5 * fps) / fps)


def flags_file(tmp_path):
    path = tmp_path / "points.json"
    path.write_text("[1, 0, 1, 0, 0]")
    return str(path)


@pytest.mark.parametrize("source", ["list", "file", "points", "language model"])
def test_a_segment_without_sound_is_empty_whoever_found_the_points(source, tmp_path):
    flags = [1, 0, 1, 0, 0]
    points = {
        "list": lambda: flags,
        "file": lambda: flags_file(tmp_path),
        "points": lambda: ControlPoints(flags),
        "language model": lambda: OneStepProvider(lambda *args: str(flags)),
    }[source]()
    backend, clip = Bright(), noise_then_silence()
    options = dict(control_points=points, propagator="hold", reanchor=None)
    result = wrap(backend, **options).segment(clip)
    assert result.masks.flatten(1).any(1).tolist() == [True, True, False, False, False]
    assert backend.times == [0.0]
    kept = wrap(backend, silence="keep", **options).segment(clip)
    assert kept.masks.flatten(1).any(1).all()
    assert backend.times == [0.0, 0.0, 2.0]


def test_a_stream_judges_silence_too(tmp_path):
    video = media.write_clip(noise_then_silence(fps=4), tmp_path / "noise.mp4")
    options = dict(propagator="hold", reanchor=None)
    for provider in ("flags", "language model"):
        points = [int(t in (0, 8)) for t in range(20)]
        if provider == "language model":
            points = OneStepProvider(lambda *args: "[1, 0, 1, 0, 0]")
        frames = list(wrap(Bright(), control_points=points, **options).stream(video, fps=4))
        assert [bool(frame.mask.any()) for frame in frames] == [True] * 8 + [False] * 12


def test_the_providers_own_judgement_of_silence_counts():
    clip = noise_then_silence()
    points = ControlPoints([1, 0, 1, 0, 0], silent=[1, 1, 0, 0, 0])
    assert SilentSegments(clip).mark(points) is points


def test_silent_segments_need_audio_and_may_hold_short_sounds_of_their_neighbours():
    clip = noise_then_silence(fps=4)
    points = ControlPoints.from_indices([0, 7, 12], 20)
    # Of the second segment, 1.75 s to 3 s, a quarter of a second sounds.
    assert SilentSegments(clip).mark(points).silent[[0, 7, 12]].tolist() == [False, True, True]
    points = ControlPoints.from_indices([0, 5], 20)
    assert SilentSegments(clip).mark(points).silent[[0, 5]].tolist() == [False, False]
    # As far as points are final: the rest may hold another segment.
    assert SilentSegments(clip).mark(ControlPoints.from_indices([0], 20), 20).silent.sum() == 0
    late = replace(clip, waveform=clip.waveform.flip(0))
    points = ControlPoints.from_indices([0], 20)
    assert SilentSegments(late).mark(points).silent.sum() == 0
    assert SilentSegments(late).mark(points, known=10).silent.all()
    mute = Clip(torch.rand(2, 3, 8, 8))
    assert SilentSegments(mute).mark(ControlPoints([1, 0])).silent is None


def test_true_segments_of_a_scene_are_judged_as_its_truth_does(scene, clip):
    truth = scene.control_points(clip)
    judged = SilentSegments(clip).mark(ControlPoints(truth.flags))
    assert judged.silent.tolist() == truth.silent.tolist()


def test_presets(scene, clip):
    default, paper = wrap(TruthBackend(scene)), wrap(TruthBackend(scene), preset="paper")
    assert isinstance(default.propagator, AppearancePropagator)
    assert isinstance(paper.propagator, AudioInsertPropagator)
    assert (default.silence, paper.silence) == ("empty", "keep")
    assert (default.keyframe, default.reanchor) == ("first", "auto")
    # To choose keyframes otherwise is not to compare predictions a second time.
    assert wrap(TruthBackend(scene), keyframe="confident").reanchor is None
    assert wrap(TruthBackend(scene), reanchor=None).candidates is None
    assert (paper.keyframe, paper.reanchor, paper.candidates) == ("first", None, None)
    own = wrap(TruthBackend(scene), preset="paper", propagator="hold", reanchor=2.0)
    assert (type(own.propagator).__name__, own.reanchor) == ("HoldPropagator", 2.0)
    backend = Bright()
    wrap(backend, preset="paper", propagator="hold").segment(noise_then_silence())
    assert backend.times == [0.0, 2.0]


@pytest.mark.parametrize("wrong", [dict(preset="papers"), dict(silence="never")])
def test_unknown_presets_and_silences_are_refused(scene, wrong):
    with pytest.raises(ControlPointError, match=r"Expected .*(preset|silence)"):
        wrap(TruthBackend(scene), **wrong)


def test_presets_with_models_need_none_and_load_nothing_before_they_are_used():
    offline = wrap(preset="offline")
    assert type(offline.backend).__name__ == "SoundingObject"
    assert isinstance(offline.propagator, AppearancePropagator)
    fast = wrap(preset="fast")
    assert isinstance(fast.backend, OpenVocabulary)
    assert type(fast.provider).__name__ == "ChangeDetectorProvider"
    balanced = wrap(preset="balanced", propagator="hold")
    assert balanced.provider is balanced.backend.control_points
    assert wrap(Bright(), preset="fast").backend.num_classes == 1
    with pytest.raises(AdapterError, match="preset='paper'.*: offline, fast, balanced, best"):
        wrap(preset="paper")
    with pytest.raises(AdapterError, match="got none"):
        wrap()


def test_a_preset_downloads_each_model_once_and_says_what():
    costs = {cost.name: cost for cost in PRESET_COSTS}
    assert costs.keys() == {n for n, options in PRESETS.items() if options.backend is not None}
    assert costs["offline"].download_mb == 0
    names = [model.name for model in costs["balanced"].models]
    assert sorted(names) == ["ast", "owlv2", "pe_a_frame", "sam2_small"]
    assert "SAM License, to be accepted" in str(costs["best"])
    # SAM 2 small is two models in memory, SAM 3 one.
    assert costs["balanced"].weights_mb == costs["balanced"].download_mb + 184
    assert costs["best"].weights_mb == costs["best"].download_mb
    assert "Memory: weights 949 MB, working " in str(costs["fast"])
    listed = CliRunner().invoke(app, ["list", "presets", "--json"])
    rows = json.loads(listed.output)["presets"]
    assert [row["download_mb"] for row in rows] == [c.download_mb for c in PRESET_COSTS]
    text = CliRunner().invoke(app, ["list", "presets"]).output
    assert "fast: a laptop without GPU" in text
    assert "Download: 949 MB" in text


@pytest.mark.parametrize(
    ("backend", "preset", "words", "chosen"),
    [
        (None, "default", None, "sounding_object"),
        (None, "paper", None, "sounding_object"),
        (None, "offline", None, "sounding_object"),
        ("tpavi", "fast", None, "tpavi"),
        ("open_vocabulary", "default", "dog", {"type": "open_vocabulary", "words": ["dog"]}),
        (
            '{"type": "open_vocabulary", "finder": "sam3"}',
            "default",
            "a dog, violin",
            {"type": "open_vocabulary", "finder": "sam3", "words": ["dog", "violin"]},
        ),
        (None, "fast", "dog", {**PRESETS["fast"].backend, "words": ["dog"]}),
        (None, "best", None, PRESETS["best"].backend),
    ],
)
def test_a_command_line_chooses_the_model(backend, preset, words, chosen):
    found = chosen_backend(backend, preset, words)
    assert (json.loads(found) if found.startswith("{") else found) == chosen


def test_words_without_a_listener_are_refused():
    with pytest.raises(AdapterError, match="--words are for the backend open_vocabulary"):
        chosen_backend("tpavi", words="dog")
    with pytest.raises(AdapterError, match="'offline', does not know words.*'fast', 'balanced'"):
        chosen_backend(None, "offline", "dog")
    with pytest.raises(ControlPointError, match="Expected a preset, one of default"):
        chosen_backend(None, "quick")


def test_presets_from_the_command_line(tmp_path):
    path = tmp_path / "segmenters.py"
    path.write_text("def bright(frames, audio):\n    return frames[:, :1] - 0.5\n")
    model = make_model(f"{path}:bright", preset="paper", propagator="hold", silence="empty")
    assert (model.reanchor, model.silence) == (None, "empty")
    assert make_model(f"{path}:bright", reanchor="never").reanchor is None
