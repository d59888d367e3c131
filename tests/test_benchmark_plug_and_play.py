"""The benchmark of models bare and with parts of Co-Prop, against the pipeline and the meters."""

import csv
import json
import time
from collections import Counter
from dataclasses import replace
from statistics import stdev

import numpy as np
import pytest
import torch
from processes import start

from coprop_plugin import Clip, ControlPoints, wrap
from coprop_plugin.benchmark import WorldOptions, WorldSamples, world_sets
from coprop_plugin.benchmark.datasets import Sample
from coprop_plugin.benchmark.metrics import (
    AlignmentScores,
    BoundaryScores,
    ControlPointScores,
    MaskScores,
    Outcome,
    SemanticScores,
)
from coprop_plugin.benchmark.plug_and_play import (
    Row,
    SharedKeyframes,
    default_rows,
    fingerprint,
    measured,
    plug_and_play,
    without_audio,
)
from coprop_plugin.errors import DatasetError, MediaError, MetricError, UnknownNameError
from coprop_plugin.types import BatchedPropagator, LookaheadPropagator

TINY = WorldOptions(size=(32, 48), num_frames=5)


@pytest.fixture(scope="module")
def samples():
    """Four scenes, and one that is the same throughout; rendered once for all tests."""
    scenes = WorldSamples(30, options=TINY)
    still = next(s for s in scenes if len(s.control_points) == 1 and s.masks.any())
    return [*(s for s in (scenes[i] for i in range(8)) if len(s.control_points) > 1)][:3] + [still]


class Reddish:
    """Finds what is red, and says `classes - 1` of it; counts what it is asked."""

    def __init__(self, num_classes=1, delay_s=0.0, fails_on=()):
        self.num_classes, self.delay_s, self.fails_on = num_classes, delay_s, fails_on
        self.asked = Counter()

    def segment_keyframes(self, clip, indices):
        frames, times = float(clip.frames.sum()), clip.listening_times
        self.asked.update((frames, i, float(times[i])) for i in indices)
        time.sleep(self.delay_s * len(indices))
        if self.asked.total() in self.fails_on:
            raise RuntimeError("out of\nluck")
        rgb = clip.rgb(list(indices))
        red = 8 * (rgb[:, :1] - rgb[:, 2:])
        if self.num_classes == 1:
            return red
        others = torch.zeros(len(red), self.num_classes - 2, *clip.size) - 9
        return torch.cat([-red, others, red], dim=1)


def parallel(samples, model, num_classes=1, **options):
    """The same by the public pipeline, clip by clip."""
    for sample in samples:
        points = options.get("control_points")
        given = dict(options)
        if callable(points):
            given["control_points"] = points(sample)
        result = wrap(model, **given).segment(sample.clip)
        yield Outcome.of(result, sample, num_classes)


def together(meter, outcomes):
    for outcome in outcomes:
        meter.update(outcome)
    return meter.compute()


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (
            "bare",
            dict(control_points=dict(type="every_n", n=1), propagator="hold", silence="keep"),
        ),
        ("cosine+hold", dict(control_points="cosine", propagator="hold", reanchor=None)),
        ("novelty+flow", dict(control_points="novelty", propagator="flow", reanchor=None)),
        (
            "oracle+flow",
            dict(control_points=lambda s: s.control_points, propagator="flow", reanchor=None),
        ),
        ("change_detector@auto+flow", dict(propagator="flow", reanchor="auto")),
        ("change_detector@confident+flow", dict(propagator="flow", keyframe="confident")),
        ("default", {}),
        ("paper", dict(preset="paper")),
    ],
)
def test_a_row_scores_what_the_pipeline_gives(samples, row, options):
    report = plug_and_play({"a": samples}, {"red": Reddish()}, [row])
    outcomes = list(parallel(samples, Reddish(), **options))
    said = report.scores("red", row)
    masks, timing = together(MaskScores(), outcomes), together(AlignmentScores(), outcomes)
    for name in ("M_J", "M_F", "M_J_key", "M_J_normal", "M_F_normal"):
        assert said.get(name) == pytest.approx(masks.get(name)), name
    for name in ("AR", "AR@0.3", "silent_FPR", "missed_rate", "AR_normal"):
        assert said[name] == pytest.approx(timing.get(name)), name
    bounds = together(BoundaryScores(), outcomes)
    assert said["onset_error_s"] == pytest.approx(bounds["onset_error_s"])
    assert said["offset_spurious"] == bounds["offset_spurious"]
    points = together(ControlPointScores(), outcomes)
    assert said["F1@1"] == (None if row == "bare" else pytest.approx(points["F1@1"]))


def test_classes_are_scored_where_the_truth_has_them(samples):
    report = plug_and_play({"a": samples}, {"red": Reddish(11)}, ["oracle+hold"])
    options = dict(control_points=lambda s: s.control_points, propagator="hold", reanchor=None)
    outcomes = list(parallel(samples, Reddish(11), 11, **options))
    said = report.scores("red", "oracle+hold")
    for name, protocol in (("class", "dataset"), ("avsbench", "avsbench")):
        wanted = together(SemanticScores(11, protocol), outcomes)
        assert said[f"{name}_mIoU"] == pytest.approx(wanted["mIoU"])
        assert said[f"{name}_F"] == pytest.approx(wanted["F"])
    assert said["M_J"] == pytest.approx(together(MaskScores(), outcomes)["M_J"])


def test_classes_count_as_one_where_the_truth_has_none(samples):
    binary = [replace(s, masks=(s.masks > 0).long(), num_classes=1) for s in samples]
    rows = ["bare", "oracle+hold+truth"]
    report = plug_and_play({"a": binary}, {"one": Reddish(), "many": Reddish(11)}, rows)
    one, many = (report.scores(name, "bare") for name in ("one", "many"))
    assert "class_mIoU" not in many
    assert one["M_J"] == pytest.approx(many["M_J"])
    assert one["M_J"] > 0
    assert one["missed_rate"] == many["missed_rate"] < 1
    truths = [report.scores(name, "oracle+hold+truth")["M_J"] for name in ("one", "many")]
    assert truths[0] == truths[1]


def test_other_classes_are_refused(samples):
    report = plug_and_play({"a": samples[:1]}, {"red": Reddish(5)}, ["bare"])
    assert "a model of 11 classes, as the clips have, or of 1" in report.failures[0]["error"]


def test_true_points_and_keyframes_of_what_stands_still_are_perfect():
    masks = torch.zeros(6, 24, 24).long()
    masks[:2, :9, :9], masks[4:, 12:, 12:] = 1, 2
    clip = Clip(torch.rand(6, 3, 24, 24), torch.rand(96_000) - 0.5)
    points = ControlPoints([1, 0, 1, 0, 1, 0])
    sample = Sample("a", clip, masks, torch.ones(6).bool(), 3, control_points=points)
    report = plug_and_play({"a": [sample]}, {"red": Reddish(3)}, ["oracle+hold+truth"])
    said = report.scores("red", "oracle+hold+truth")
    wanted = {"M_J": 1, "AR": 1, "AR@0.7": 1, "silent_FPR": 0, "onset_error_s": 0, "F1@0": 1}
    for name, value in wanted.items():
        assert said[name] == pytest.approx(value, abs=1e-6), name
    assert said["class_mIoU"] == 1
    assert [r["clips"] for r in report.results] == [1, 1, 0, 1, 0]


def test_a_model_is_run_once_for_each_frame(samples):
    red = Reddish()
    plug_and_play({"a": samples}, {"red": red}, default_rows([]))
    assert set(red.asked.values()) == {1}
    # A keyframe that hears another stretch is another one; without control points there is one.
    frames = sum(sample.num_frames for sample in samples)
    assert frames <= len(red.asked) < 2 * frames


def test_a_keyframe_with_other_words_is_another_one():
    class Guided:
        num_classes = 1

        def segment_keyframes(self, clip, indices):
            return torch.full((len(indices), 1, *clip.size), float(len(clip.words)))

    shared = SharedKeyframes(Guided())
    clip = Clip(torch.rand(2, 3, 16, 16), torch.zeros(32_000))
    for words in (["dog"], ["dog", "girl"], ["dog"]):
        logits = shared.segment_keyframes(replace(clip, words=words), [0])
        assert bool((logits == len(words)).all())


def test_the_cost_of_shared_work_counts_for_every_row(samples):
    one = samples[:1]
    report = plug_and_play({"a": one}, {"slow": Reddish(delay_s=0.05)}, ["bare", "oracle+hold"])
    keyframes = sum(not one[0].control_points.is_silent(i) for i in one[0].control_points.indices)
    assert 0 < keyframes < 5
    seconds = [report.scores("slow", row)["seconds"] for row in ("bare", "oracle+hold")]
    # The second row sleeps for none of its keyframes itself.
    assert seconds[0] >= 0.05 * 5
    assert seconds[1] >= 0.05 * keyframes


def measure_memory():
    def large():
        return torch.ones(64, 2**18).sum()

    _, baseline = measured(lambda: None)
    _, work = measured(large)
    _, small = measured(lambda: None)
    part, whole = measured(lambda: (large(), measured(lambda: None)[1])[1])
    _, other = measured(lambda: measured(large))
    if baseline.peak_mb is None:
        print("unknown")
        return
    assert work.peak_mb - baseline.peak_mb > 50
    assert small.peak_mb < work.peak_mb - 50
    assert (baseline + work).peak_mb == work.peak_mb
    assert whole.peak_mb - part.peak_mb > 50
    assert other.peak_mb - part.peak_mb > 50


def test_the_peak_of_memory_is_that_of_the_work(tmp_path):
    # In a process of its own: here freed memory of other tests may serve again.
    done = start(tmp_path, measure_memory).wait()
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "unknown":
        pytest.skip("this system does not tell")


def test_parts_may_be_measured_within_the_whole():
    part, whole = measured(lambda: measured(lambda: time.sleep(0.02))[1])
    assert part.seconds >= 0.02
    assert whole.without(part).seconds == pytest.approx(whole.seconds - part.seconds)


def test_sets_give_mean_and_spread(samples):
    sets = {"one": samples[:2], "two": samples[2:3]}
    report = plug_and_play(sets, {"red": Reddish()}, ["bare"])
    whole = next(r for r in report.results if r["part"] == "all")
    each = [plug_and_play({"a": s}, {"red": Reddish()}, ["bare"]) for s in sets.values()]
    each = [one.scores("red", "bare")["M_J"] for one in each]
    assert whole["clips"] == 3
    assert whole["mean"]["M_J"] == pytest.approx(sum(each) / 2)
    assert whole["std"]["M_J"] == pytest.approx(stdev(each))
    assert [whole["sets"][name]["M_J"] for name in sets] == each
    alone = plug_and_play({"one": samples[:1]}, {"red": Reddish()}, ["bare"])
    assert alone.results[0]["std"]["M_J"] is None


def test_parts_are_told_apart(samples):
    report = plug_and_play({"a": samples}, {"red": Reddish()}, ["bare"])
    clips = {result["part"]: result["clips"] for result in report.results}
    silent = sum(bool((s.masks.flatten(1).amax(1) == 0).any()) for s in samples)
    assert clips["all"] == 4
    assert (clips["changing"], clips["unchanging"]) == (3, 1)
    assert (clips["with_silence"], clips["without_silence"]) == (silent, 4 - silent)
    alone = plug_and_play({"a": samples[3:]}, {"red": Reddish()}, ["bare"])
    unchanging = report.scores("red", "bare", "unchanging")["M_J"]
    assert unchanging == alone.scores("red", "bare")["M_J"]


class Stop(BaseException):
    """What a kill is to a process, to a test."""


def stop_after(number):
    def hook(step, record, done, total):
        assert step == "benchmark"
        if done == number:
            raise Stop

    return hook


def run(samples, out, model=None, **options):
    model = model or Reddish()
    rows = ["bare", "oracle+hold"]
    return plug_and_play({"a": samples}, {"red": model}, rows, out=out, **options), model


def test_a_killed_run_goes_on(samples, tmp_path):
    straight, _ = run(samples, None)
    with pytest.raises(Stop):
        run(samples, tmp_path, hook=stop_after(5))
    lines = tmp_path / "records.jsonl"
    whole = lines.read_text()
    assert len(whole.splitlines()) == 5
    # The kill came in the middle of the fifth line.
    lines.write_text(whole[:-40])
    resumed, model = run(samples, tmp_path)
    assert {frames for frames, *_ in model.asked} == {
        float(s.clip.frames.sum()) for s in samples[2:]
    }
    same = ("M_J", "M_F", "AR", "silent_FPR", "onset_error_s", "F1@0")
    for row in ("bare", "oracle+hold"):
        for part in ("all", "changing", "with_silence"):
            one, other = (r.scores("red", row, part) for r in (straight, resumed))
            assert {n: one.get(n) for n in same} == {n: other.get(n) for n in same}
    _, model = run(samples, tmp_path)
    assert not model.asked


def test_what_has_changed_is_computed_again(samples, tmp_path):
    def asked(model=None, **options):
        return run(samples[:1], tmp_path, model, **options)[1].asked.total()

    class Redder(Reddish):
        pass

    assert asked() > 0
    assert asked() == 0
    assert asked(settings={"size": 3}) > 0
    assert asked(Redder()) > 0
    assert asked() == 0
    assert asked(redo=True) > 0


def test_other_weights_are_another_model():
    layers = [torch.nn.Linear(2, 2) for _ in "ab"]
    assert fingerprint(layers[0]) != fingerprint(layers[1])
    layers[1].load_state_dict(layers[0].state_dict())
    assert fingerprint(layers[0]) == fingerprint(layers[1])
    assert fingerprint(layers[0].half()) != fingerprint(layers[1])


class Broken:
    """A data set whose second clip cannot be read."""

    def __init__(self, samples):
        self.samples, self.ids = samples, [sample.id for sample in samples]

    def __getitem__(self, index):
        if index == 1:
            raise DatasetError("no such picture")
        return self.samples[index]


def test_what_fails_is_listed_and_the_rest_goes_on(samples, tmp_path):
    broken = Broken(samples[:3])
    report, _ = run(broken, tmp_path, Reddish(fails_on=(5,)))
    assert [(f["clip"], f["row"]) for f in report.failures] == [
        (samples[0].id, "bare"),
        (samples[1].id, "bare"),
        (samples[1].id, "oracle+hold"),
    ]
    assert report.failures[0]["error"] == "RuntimeError: out of luck"
    assert report.failures[1]["error"] == "DatasetError: no such picture"
    counts = {r["row"]: r["clips"] for r in report.results if r["part"] == "all"}
    assert counts == {"bare": 1, "oracle+hold": 2}
    healed, _ = run(samples[:3], tmp_path)
    assert not healed.failures
    assert healed.results[0]["clips"] == 3


def test_true_points_must_be_known(samples):
    unknown = replace(samples[0], control_points=None)
    report = plug_and_play({"a": [unknown]}, {"red": Reddish()}, ["bare", "oracle+hold"])
    assert [f["row"] for f in report.failures] == ["oracle+hold"]
    assert "Leave out the rows with 'oracle'" in report.failures[0]["error"]
    parts = {r["part"]: r["clips"] for r in report.results if r["row"] == "bare"}
    assert parts["changing"] == parts["unchanging"] == 0


class Listening:
    """A propagator that masks everything with audio, and nothing without."""

    def hear(self, clip):
        return torch.ones(clip.num_frames, 1)

    def start(self, frame, sound, masks):
        return masks

    def step(self, memory, frame, sound):
        logits = torch.zeros(1, 2, *memory.shape[1:])
        logits[:, 1] = -9.0 if sound is None else 9.0
        return logits


@pytest.mark.parametrize("suffix", ["no-audio", "deaf"])
def test_a_propagator_can_be_run_without_audio(suffix):
    masks = torch.ones(4, 24, 24).long()
    clip = Clip(torch.rand(4, 3, 24, 24), torch.rand(64_000) - 0.5)
    sample = Sample(
        "a", clip, masks, torch.ones(4).bool(), control_points=ControlPoints([1, 0, 0, 0])
    )
    rows = ["oracle+audio+truth", f"oracle+audio-{suffix}+truth"]
    propagators = {"audio": Listening()}
    report = plug_and_play({"a": [sample]}, {"red": Reddish()}, rows, propagators=propagators)
    names = ("oracle+audio+truth", "oracle+audio-no-audio+truth")
    scores = [report.scores("red", name) for name in names]
    assert [s["M_J"] for s in scores] == pytest.approx([1.0, 0.25])
    assert [s["missed_rate"] for s in scores] == [0.0, 0.75]


class Batched(Listening):
    """Propagates several segments at once."""

    def first(self, memory, clips):
        return memory[:clips]


class Lookahead(Listening):
    """Encodes frames ahead, and notes the audio that it is given with them."""

    encode_ahead = 3

    def __init__(self):
        self.noted = []

    def look_ahead(self, memory, frames, sound):
        self.noted.append((len(frames), sound))


class Both(Batched, Lookahead):
    """Does both."""


@pytest.mark.parametrize("kind", [Listening, Batched, Lookahead, Both])
def test_a_propagator_without_audio_can_do_what_it_can_with_audio(kind):
    propagator = kind()
    wrapped = without_audio(propagator)
    for protocol in (BatchedPropagator, LookaheadPropagator):
        assert isinstance(wrapped, protocol) == isinstance(propagator, protocol)
    if isinstance(wrapped, BatchedPropagator):
        assert wrapped.first(torch.arange(4), 2).tolist() == [0, 1]
    if isinstance(wrapped, LookaheadPropagator):
        assert wrapped.encode_ahead == 3
        wrapped.look_ahead(None, torch.zeros(3, 1, 3, 8, 8), torch.ones(3, 1))
        assert propagator.noted == [(3, None)]


def test_rows_are_those_of_table_2_and_more():
    rows = default_rows(["learned"])
    assert rows[0] == "bare"
    assert rows[1:7] == [
        "cosine+hold",
        "novelty+hold",
        "novelty+flow",
        "novelty+appearance",
        "novelty+learned-no-audio",
        "novelty+learned",
    ]
    assert rows[-1] == "oracle+learned+truth"
    assert default_rows([])[-2:] == ["oracle+flow+truth", "oracle+appearance+truth"]
    assert all(Row.of(row).name == row for row in rows)
    for bad in (
        "novelty",
        "novelty@auto:x+hold",
        "novelty@never+hold",
        "novelty+hold+false",
        "+hold",
        "novelty+",
        "nonsense+hold",
    ):
        with pytest.raises(UnknownNameError, match="PROPAGATOR"):
            Row.of(bad)


def test_invalid_calls_are_refused(samples, tmp_path):
    with pytest.raises(UnknownNameError, match="No trained propagator was given.*flow"):
        plug_and_play({"a": samples}, {"red": Reddish()}, ["novelty+learned"], propagators={})
    for nothing in (
        ({}, {"red": Reddish()}),
        ({"a": []}, {"red": Reddish()}),
        ({"a": samples}, {}),
    ):
        with pytest.raises(DatasetError, match="nothing to do"):
            plug_and_play(*nothing)
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot be written"):
        run(samples, tmp_path / "file")
    report = plug_and_play({"a": samples[:1]}, {"red": Reddish()}, ["bare"])
    with pytest.raises(UnknownNameError, match="There are red bare"):
        report.scores("blue", "bare")


def test_a_report_is_saved_printed_and_drawn(samples, tmp_path):
    from PIL import Image

    from coprop_plugin.report import bench_plot, calls_plot

    sets = {"one": samples[:2], "two": samples[2:]}
    rows = ["bare", "novelty+hold"]
    about = {"weights": "none"}
    report = plug_and_play(sets, {"red": Reddish(), "many": Reddish(11)}, rows, about=about)
    report.save(tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["about"]["sets"] == {"one": 2, "two": 2}
    assert content["about"]["weights"] == "none"
    assert content["about"]["versions"]["torch"] == torch.__version__
    with (tmp_path / "report.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(content["results"]) == 4 * 5
    bare = report.scores("red", "bare")
    assert float(lines[0]["M_J"]) == bare["M_J"]
    assert lines[0]["class_mIoU"] == ""
    text = str(report)
    assert f"{bare['M_J']:.3f}±" in text
    assert "novelty+hold" in text
    assert max(map(len, text.splitlines())) < 140
    picture = bench_plot(report.results, tmp_path / "bars.png", title="four clips")
    pixels = torch.from_numpy(np.array(Image.open(picture).convert("RGB"))).flatten(0, 1)
    for colour in ((138, 138, 138), (227, 119, 168)):
        assert int((pixels == torch.tensor(colour)).all(1).sum()) > 1000
    picture = calls_plot(report.results, tmp_path / "calls.png", title="four clips")
    assert len(np.unique(np.array(Image.open(picture)).reshape(-1, 4), axis=0)) > 20
    with pytest.raises(MetricError, match="without"):
        calls_plot([], tmp_path / "none.png")


def test_another_default_is_another_row(samples, tmp_path, monkeypatch):
    from coprop_plugin.pipeline.preset_options import PRESETS

    def asked():
        red = Reddish()
        plug_and_play({"a": samples[:1]}, {"red": red}, ["default"], out=tmp_path)
        return red.asked.total()

    assert asked() > 0
    assert asked() == 0
    monkeypatch.setitem(PRESETS, "default", replace(PRESETS["default"], silence="keep"))
    assert asked() > 0


def test_scenes_in_which_nothing_changes_are_told_apart():
    every = WorldSamples(30, options=TINY)
    still = WorldSamples(3, options=replace(TINY, unchanging=True))
    expected = [s.id for s in every if len(s.control_points) == 1]
    assert still.ids == expected[:3]
    assert all(len(sample.control_points) == 1 for sample in still)


def test_scenes_are_of_the_test_split_and_shared_by_no_two_sets():
    sets = world_sets(5, 2, TINY)
    names = [name for samples in sets.values() for name in samples.ids]
    assert len(set(names)) == 10
    sample = list(sets.values())[1][4]
    assert sample.id == names[9] == "scene-2009"
    assert sample.clip.sampling == "avsbench"
    assert (sample.masks.shape, sample.num_classes) == ((5, 32, 48), 11)
    fast = WorldSamples(1, options=WorldOptions((32, 48), 12, 4.0, "pts"))[0]
    assert fast.clip.times.tolist() == [t / 4 for t in range(12)]
    for wrong in (dict(length=0), dict(length=1001), dict(length=5, first=998)):
        with pytest.raises(DatasetError, match="test split, which has 1000"):
            WorldSamples(**wrong)
    for wrong in (dict(fps=4), dict(size=(8, 8)), dict(num_frames=0)):
        with pytest.raises(DatasetError, match="Expected"):
            WorldOptions(**wrong)
