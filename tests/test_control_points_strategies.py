"""Language-model strategies: the conversation, its log, long audio, and failures."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from typer.testing import CliRunner

import coprop_plugin as coprop
from coprop_plugin import cli, media
from coprop_plugin.control_points import (
    Example,
    OneStepProvider,
    RCPGProvider,
    Store,
    ThreeStepProvider,
    as_provider,
    flags_a_second,
)
from coprop_plugin.control_points.language import (
    AudioWindow,
    audio_between,
    merged,
    question_spans,
    windows_of,
)
from coprop_plugin.control_points.parsing import flags_schema
from coprop_plugin.errors import (
    AudioLLMError,
    ClipError,
    ControlPointError,
    ControlPointParseError,
    CutOffAnswerError,
    UnknownNameError,
)
from coprop_plugin.types import Clip, ControlPoints

RATE = 1_000
LIST = "[1, 0, 0, 1, 0]"


class Scripted:
    """Gives its answers in order, then the last one forever; records the questions."""

    name, model_id, settings = "scripted", "script-1", {"seed": 7}

    def __init__(self, *answers, max_audio_s=None):
        self.answers, self.max_audio_s = list(answers), max_audio_s
        self.asked = []

    def chat(self, messages, waveform, sample_rate, *, schema=None):
        self.asked.append(([dict(m) for m in messages], len(waveform) / sample_rate, schema))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Listening(Scripted):
    """Answers by level: a frame is new if its median differs from that of the frame before."""

    def chat(self, messages, waveform, sample_rate, *, schema=None):
        super().chat(messages, waveform, sample_rate, schema=schema)
        if schema is None:
            return "A level."
        count = schema["properties"]["control_points"]["minItems"]
        edges = [round(len(waveform) * n / count) for n in range(count + 1)]
        levels = [round(float(waveform[a:b].median()), 3) for a, b in pairwise(edges)]
        flags = [1, *(int(a != b) for a, b in pairwise(levels))]
        return json.dumps({"control_points": flags})


def five_frames(**options):
    torch.manual_seed(0)
    waveform = 0.1 * torch.randn(5 * RATE)
    return Clip(torch.zeros(5, 3, 8, 8), waveform, RATE, sampling="avsbench", **options)


def levels(per_second, fps=1.0, lag_s=0.0):
    """A clip whose sound has one level each second, shown at `fps`."""
    waveform = torch.tensor(per_second).repeat_interleave(RATE).float() / 100 + 0.01
    num_frames = int(len(per_second) * fps)
    times = torch.arange(num_frames, dtype=torch.float64) / fps + lag_s
    nothing = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(num_frames, 3, 8, 8)
    return Clip(nothing, waveform, RATE, times)


STORE = Store(
    [
        Example("cp", ("cello", "piano"), (1, 0, 1, 0, 0), 5.0),
        Example("d", ("dog",), (1, 1, 1, 1, 1), 5.0),
        Example("long", ("piano",), (1,) + (0,) * 9, 10.0),
    ]
)


# The conversation.


def test_rcpg_is_one_conversation():
    llm = Scripted("Live music.", "One for cello and the other for piano.", LIST)
    points = RCPGProvider(llm, STORE, k=2).propose(five_frames())
    assert (points.indices, points.source) == ([0, 3], "rcpg")
    first, second, third = (messages for messages, _, _ in llm.asked)
    assert [m["role"] for m in third] == ["user", "assistant", "user", "assistant", "user"]
    assert third[:3] == second
    assert second[:1] == first
    assert first[0]["content"] == "Please briefly describe the content of this audio."
    assert third[1]["content"] == "Live music."
    # [D_q, x]: the examples before the question, in one message.
    shown, question = third[-1]["content"].split("\n\n")
    assert shown.splitlines()[1:] == [
        "cello and piano, 5 frames: [1, 0, 1, 0, 0]",
        "piano, 10 frames: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]",
    ]
    assert "evenly divided into five frames" in question
    assert [schema for _, _, schema in llm.asked] == [None, None, flags_schema(5)]
    assert {seconds for _, seconds, _ in llm.asked} == {5.0}


def test_equations_4_and_5_can_be_traced_in_the_log():
    answers = ["Live music.", "One for cello and the other for piano.", f"Here: {LIST}"]
    points = RCPGProvider(Scripted(*answers), STORE, k=2).propose(five_frames(name="long"))
    log = json.loads(json.dumps(points.to_dict()))["log"]
    assert log["llm"] == {"client": "scripted", "model_id": "script-1", "settings": {"seed": 7}}
    assert log["prompts"].startswith("paper-1-")
    (window,) = log["windows"]
    assert [turn["answer"] for turn in window["conversation"]] == answers
    assert window["eq_4"]["q"] == ["cello", "piano"]
    assert window["eq_4"]["by"] == "category"
    assert [e["id"] for e in window["eq_4"]["D_q"]] == ["cp"]
    assert window["eq_4"]["left_out"] == ["long"]
    assert window["eq_5"]["D_q"] == ["cp"]
    assert window["eq_5"]["x"] in window["conversation"][-1]["question"]
    assert window["eq_5"]["flags"] == log["flags"] == [1, 0, 0, 1, 0]
    assert log["calls"] == 3


def test_one_step_asks_once_and_three_step_three_times():
    one, three = Scripted(LIST), Scripted("A dog.", "Two.", LIST)
    assert OneStepProvider(one).propose(five_frames()).indices == [0, 3]
    assert ThreeStepProvider(three).propose(five_frames()).indices == [0, 3]
    assert [len(one.asked), len(three.asked)] == [1, 3]
    assert three.asked[2][0][-1] == one.asked[0][0][0]


@pytest.mark.parametrize("store", [None, Store()])
def test_rcpg_without_examples_asks_the_questions_of_three_step(store):
    rcpg, three = Scripted("A dog.", "Two.", LIST), Scripted("A dog.", "Two.", LIST)
    points = RCPGProvider(rcpg, store).propose(five_frames())
    assert points == ThreeStepProvider(three).propose(five_frames())
    assert rcpg.asked == three.asked
    assert "store is empty" in points.log["windows"][0]["note"]


def test_rcpg_that_finds_nothing_asks_without_examples():
    llm = Scripted("Hm.", "Nothing I know.", LIST)
    points = RCPGProvider(llm, STORE).propose(five_frames())
    assert points.log["windows"][0]["eq_4"]["by"] == "nothing"
    assert llm.asked[2][0][-1]["content"].startswith("When the category")


def test_own_prompts_are_used(tmp_path):
    (tmp_path / "one_step_list.txt").write_text("$count flags, please, up to the $ordinal.")
    llm = Scripted(LIST)
    provider = OneStepProvider(llm, prompts=tmp_path)
    provider.propose(five_frames())
    assert llm.asked[0][0][0]["content"] == "5 flags, please, up to the fifth."
    assert provider.settings["prompts"] != OneStepProvider(llm).settings["prompts"]


# Failures.


def test_after_an_unreadable_answer_the_question_is_repeated_once():
    llm = Scripted("[1, 0, 0]", LIST)
    points = OneStepProvider(llm).propose(five_frames())
    assert (points.indices, points.source) == ([0, 3], "one_step")
    repair = llm.asked[1][0]
    assert repair[1] == {"role": "assistant", "content": "[1, 0, 0]"}
    assert "its list has 3 flags instead of 5" in repair[2]["content"]
    turns = points.log["windows"][0]["conversation"]
    assert turns[0]["unread"] == "its list has 3 flags instead of 5"
    assert turns[1]["flags"] == [1, 0, 0, 1, 0]


def test_then_the_fallback_is_used_and_logged():
    llm = Scripted("I cannot listen to audio.")
    points = OneStepProvider(llm, fallback=[1, 1, 0, 0, 1]).propose(five_frames())
    assert (points.indices, points.source) == ([0, 1, 4], "given")
    assert len(llm.asked) == points.log["calls"] == 2
    assert points.log["strategy"] == "one_step"
    assert "it is a refusal" in points.log["notes"][0]
    assert "Used the fallback, flags." in points.log["notes"][0]


def test_without_a_fallback_it_is_an_error_that_quotes_the_answer():
    with pytest.raises(ControlPointParseError, match="'no idea'"):
        OneStepProvider(Scripted("no idea"), fallback=None).propose(five_frames())


def test_an_answer_that_was_cut_off_goes_to_the_fallback():
    def endless(messages, waveform, sample_rate):
        raise CutOffAnswerError("cut off after 512 tokens")

    points = OneStepProvider(endless, fallback=[1, 1, 0, 0, 1]).propose(five_frames())
    assert points.indices == [0, 1, 4]
    assert "cut off after 512 tokens" in points.log["notes"][0]
    with pytest.raises(CutOffAnswerError, match="cut off"):
        OneStepProvider(endless, fallback=None).propose(five_frames())


def test_errors_of_the_client_are_not_hidden():
    def broken(messages, waveform, sample_rate):
        raise RuntimeError("out of memory")

    with pytest.raises(AudioLLMError, match="out of memory"):
        OneStepProvider(broken).propose(five_frames())


def test_a_clip_without_waveform_goes_to_the_fallback():
    clip = Clip(torch.zeros(3, 3, 8, 8), audio_embedding=torch.eye(3, 128))
    llm = Scripted(LIST)
    points = OneStepProvider(llm, fallback="cosine").propose(clip)
    assert (points.indices, points.source) == ([0, 1, 2], "cosine")
    assert "has no waveform" in points.log["notes"][0]
    with pytest.raises(ClipError, match="needs a clip with a waveform.*fallback"):
        OneStepProvider(llm, fallback=None).propose(clip)
    assert not llm.asked


@pytest.mark.parametrize("fallback", ["novelty", None])
def test_the_model_is_not_asked_about_silence(fallback):
    llm = Scripted(LIST)
    clip = Clip(torch.zeros(5, 3, 8, 8), torch.zeros(80_000))
    points = OneStepProvider(llm, fallback=fallback).propose(clip)
    assert points.indices == [0]
    assert not llm.asked
    assert "silent throughout" in points.log["notes"][0]


def test_the_model_is_not_asked_about_a_single_frame():
    llm = Scripted(LIST)
    clip = Clip(torch.zeros(1, 3, 8, 8), torch.rand(16_000))
    assert OneStepProvider(llm).propose(clip).indices == [0]
    assert not llm.asked


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (dict(window_s=0), "window_s=0"),
        (dict(overlap_s=-1), "overlap_s=-1"),
        (dict(prompts="nowhere"), "Expected prompts='paper-1' or a folder"),
        (dict(store=STORE, k=0), "1 or more, got k=0"),
        (dict(store="no.jsonl"), "coprop anchor index"),
    ],
)
def test_options_out_of_range_are_refused(options, reason):
    with pytest.raises(ControlPointError, match=reason):
        RCPGProvider(Scripted(LIST), **options)


def test_unknown_clients_are_refused():
    with pytest.raises(UnknownNameError, match="qwen3000"):
        OneStepProvider("qwen3000")


# Long audio, and any frame rate.


@pytest.mark.parametrize("count", [2, 5, 30, 31, 33, 59, 61, 200])
@pytest.mark.parametrize(("limit", "overlap"), [(2, 5), (3, 1), (10, 0), (30, 5), (None, 5)])
def test_windows_fit_cover_and_overlap(count, limit, overlap):
    spans = [(float(t), t + 1.0) for t in range(count)]
    windows = windows_of(spans, limit, overlap)
    assert windows[0].start == 0
    assert windows[-1].stop == count
    assert all(len(w) == min(count, limit or count) for w in windows)
    assert all(a.start < b.start < a.stop < b.stop for a, b in pairwise(windows))
    if limit == 30:
        assert all(a.stop - b.start >= 5 for a, b in pairwise(windows))


def test_windows_of_less_than_two_frames_are_refused():
    with pytest.raises(ControlPointError, match="at least two frames"):
        windows_of([(0.0, 1.0), (1.0, 2.0)], 1.5, 0.0)


def test_there_is_no_control_point_at_the_edge_of_a_window():
    steady = levels([3] * 47)
    llm = Listening("", max_audio_s=10)
    points = OneStepProvider(llm, overlap_s=3).propose(steady)
    assert points.indices == [0]
    assert len(llm.asked) > 4
    assert all(seconds <= 10 for _, seconds, _ in llm.asked)


def test_windows_give_what_one_window_would():
    rng = random.Random(1)
    for trial in range(60):
        truth = [rng.choice([0, 0, 0, 1]) for _ in range(rng.randrange(3, 70))]
        clip = levels([sum(truth[: t + 1]) % 9 for t in range(len(truth))])
        llm = Listening("", max_audio_s=rng.choice([2, 3, 5, 10, 30]))
        options = dict(overlap_s=rng.choice([0, 1, 5]), refine=trial < 6)
        points = OneStepProvider(llm, **options).propose(clip)
        assert points.flags.int().tolist() == [1, *truth[1:]], trial


def test_a_change_that_two_windows_place_a_frame_apart_is_one():
    windows = [AudioWindow(0, 8), AudioWindow(4, 12)]
    for change in range(5, 7):
        first = [int(t in (0, change)) for t in range(8)]
        for late in (-1, 0, 1):
            second = [int(t in (4, change + late)) for t in range(4, 12)]
            assert sum(merged(windows, [first, second])) == 2


def test_only_the_window_that_cannot_be_read_falls_back():
    class Refusing(Listening):
        def chat(self, messages, waveform, sample_rate, *, schema=None):
            answer = super().chat(messages, waveform, sample_rate, schema=schema)
            return "Sorry." if float(waveform[-1]) > 0.05 else answer

    clip = levels([0] * 7 + [1] * 7 + [9] * 4)
    always = [1] * 18
    points = OneStepProvider(Refusing(""), window_s=10, overlap_s=2, fallback=always).propose(clip)
    assert points.source == "one_step+flags"
    assert [window["seconds"] for window in points.log["windows"]] == [[0, 10], [8, 18]]
    assert len(points.log["notes"]) == 1
    assert points.flags.int().tolist() == [1, 0, 0, 0, 0, 0, 0, 1, 0] + [1] * 9


@pytest.mark.parametrize("fps", [0.5, 1.0, 2.0, 8.0, 25.0, 29.97])
def test_any_frame_rate_is_asked_about_by_the_second(fps):
    clip = levels([1, 1, 1, 4, 4, 4, 4, 2, 2, 2], fps)
    llm = Listening("")
    points = OneStepProvider(llm, refine=False).propose(clip)
    count = llm.asked[0][2]["properties"]["control_points"]["minItems"]
    assert count == 10 or fps < 1
    # In frames whose spans begin nearest to 3 and 7 s.
    wanted = [0, *(int((clip.spans[:, 0] - s).abs().argmin()) for s in (3.0, 7.0))]
    assert points.indices == wanted


def test_the_question_covers_exactly_the_audio():
    frames = torch.zeros(5, 3, 8, 8)
    by_default = Clip(frames, torch.rand(5 * RATE), RATE)
    assert question_spans(by_default) == [(float(t), t + 1.0) for t in range(5)]
    avsbench = Clip(frames, torch.rand(5 * RATE), RATE, sampling="avsbench")
    assert question_spans(avsbench) == question_spans(by_default)
    # AVSBench's frames are seconds, whether or not their audio is complete.
    assert question_spans(replace(avsbench, waveform=torch.rand(4_400))) == question_spans(avsbench)
    # Audio that ends long before the frames do is followed by silence.
    short = Clip(frames, torch.rand(2 * RATE), RATE, sampling="avsbench")
    assert len(question_spans(short)) == 5
    part = audio_between(short.waveform, RATE, 1.0, 4.0)
    assert len(part) == 3 * RATE
    assert not part[RATE:].any()
    # A part of a longer clip is asked about alone.
    part = levels(list(range(20)))[12:16]
    assert question_spans(part) == [(float(t), t + 1.0) for t in range(12, 16)]
    assert len(question_spans(levels([1], fps=8))) == 2


def at_8_fps(scene):
    """A scene without its frames, and the true control points."""
    times = torch.arange(int(8 * scene.duration_s), dtype=torch.float64) / 8
    nothing = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(len(times), 3, 8, 8)
    clip = Clip(nothing, scene.waveform(), 16_000, times)
    return clip, scene.control_points(clip)


def test_refining_keeps_a_change_at_its_moment(scene):
    # Flute to drum at 2 s, nothing from 4 s, both from 5 s.
    clip, truth = at_8_fps(scene)
    points = OneStepProvider(Scripted(str(flags_a_second(truth, clip)))).propose(clip)
    assert len(points) == len(truth) == 4
    assert all(abs(a - b) <= 1 for a, b in zip(points.indices, truth.indices, strict=True))
    assert len(points.log["refined_s"]) == 3


def test_refining_finds_what_lies_between_seconds():
    from coprop_plugin.world import made_up_scene

    def error(provider, clip, truth):
        found = provider.propose(clip).indices[1:]
        return sum(min((abs(t - f) for f in found), default=8) for t in truth.indices[1:])

    errors = {True: 0, False: 0}
    for seed in range(1_000, 1_010):
        clip, truth = at_8_fps(made_up_scene(seed, (8, 8), off_screen=0.0))
        llm = Scripted(str(flags_a_second(truth, clip)))
        for refine in errors:
            errors[refine] += error(OneStepProvider(llm, refine=refine), clip, truth)
    assert errors[True] < 0.6 * errors[False]


def test_with_as_many_frames_as_the_question_the_answer_is_kept():
    truth = [1, 1, 0, 1, 0, 0, 1, 0]
    torch.manual_seed(0)
    for sampling in ("avsbench", "pts"):
        times = torch.arange(8) + (15 / 16 if sampling == "avsbench" else 0.0)
        clip = Clip(torch.zeros(8, 3, 8, 8), torch.rand(8_000), RATE, times, sampling=sampling)
        points = OneStepProvider(Scripted(str(truth))).propose(clip)
        assert points.flags.int().tolist() == truth
        assert len(points.log["refined_s"]) == 3


def test_a_segment_begins_at_the_moment_within_its_first_frame():
    # A tone from 2.3 s on, one frame a second: the frame of second 2 is the new tone's.
    t = torch.arange(80_000) / 16_000
    tones = 0.3 * torch.where(t < 2.3, torch.sin(2_000 * t), torch.sin(9_000 * t))
    clip = Clip(torch.zeros(5, 3, 8, 8), tones, sampling="avsbench")
    points = OneStepProvider(Scripted("[1, 0, 1, 0, 0]")).propose(clip)
    assert points.indices == [0, 2]
    assert points.starts_s.tolist() == pytest.approx([0, 2.3], abs=0.05)
    plain = OneStepProvider(Scripted("[1, 0, 1, 0, 0]"), refine=False).propose(clip)
    assert plain.indices == [0, 2]
    assert plain.starts_s is None
    # A sound that begins before the frame is there from the start of the frame.
    early = replace(clip, waveform=torch.cat([tones[9_600:], tones[-9_600:]]))
    points = OneStepProvider(Scripted("[1, 0, 1, 0, 0]")).propose(early)
    assert points.starts_s.tolist() == [0, 2]


# By name, by config, by file.


def test_they_are_registered():
    assert {"one_step", "three_step", "rcpg"} <= set(coprop.list_providers())


def test_a_wrapped_model_takes_a_config(tmp_path):
    (tmp_path / "store.jsonl").write_text(STORE.text())
    config = dict(
        type="rcpg",
        llm=dict(type="callable", function=lambda messages, waveform, rate: LIST, model_id="m"),
        store=str(tmp_path / "store.jsonl"),
        k=1,
    )
    model = coprop.wrap(
        lambda frames, audio: frames[:, :1] - 0.5,
        backend="callable",
        control_points=config,
        propagator="hold",
    )
    result = model.segment(five_frames())
    assert result.control_points.indices == [0, 3]
    assert result.control_points.log["llm"]["model_id"] == "m"
    folder = result.save(tmp_path / "out", overlay=False)
    kept = json.loads((folder / "control_points.json").read_text())
    assert kept["log"]["windows"][0]["conversation"][2]["answer"] == LIST


def test_settings_hold_everything_that_the_flags_depend_on():
    plain = RCPGProvider(Scripted(LIST), STORE).settings
    json.dumps(plain)
    changes = [dict(k=1), dict(refine=False), dict(window_s=9), dict(overlap_s=1)]
    changes += [dict(fallback=None), dict(store=Store(list(STORE)[:2]))]
    for change in changes:
        assert RCPGProvider(Scripted(LIST), **{"store": STORE, **change}).settings != plain


def test_a_json_file_holds_a_config_or_control_points(tmp_path):
    config = tmp_path / "points.json"
    config.write_text(json.dumps({"type": "every_n", "n": 3}))
    assert as_provider(str(config)).n == 3
    assert as_provider(config).n == 3
    config.write_text(json.dumps(ControlPoints([1, 0, 0, 1, 0]).to_dict()))
    assert as_provider(config).propose(five_frames()).indices == [0, 3]


def test_the_command_line_takes_a_config_in_a_file(tmp_path, scene):
    video, config = tmp_path / "a.mp4", tmp_path / "ask.json"
    media.write_clip(scene.clip(fps=4), video)
    config.write_text(json.dumps({"type": "one_step", "llm": "nobody"}))
    arguments = ["anchor", str(video), "--control-points", str(config)]
    refused = CliRunner().invoke(cli.app, arguments)
    assert refused.exit_code == 2
    assert "'nobody'" in refused.stderr
    config.write_text(json.dumps({"type": "every_n", "n": 2}))
    done = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["control_points"]["indices"] == [0, 2, 4]
