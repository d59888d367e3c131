"""Every form of answers of language models gives T flags, or the typed error."""

import contextlib
import random
import signal

import pytest

from coprop_plugin.control_points.parsing import flags_schema, parse_flags
from coprop_plugin.errors import ControlPointParseError

FLAGS = [1, 0, 0, 1, 0]

FORMS = {
    "list": "[1, 0, 0, 1, 0]",
    "no commas": "[1 0 0 1 0]",
    "schema": '{"control_points": [1, 0, 0, 1, 0]}',
    "fenced": "```json\n[1, 0, 0, 1, 0]\n```",
    "fenced with prose": "Sure!\n```python\nflags = [1, 0, 0, 1, 0]\n```\nAnything else?",
    "object in prose": 'Here it is: {"flags": [1, 0, 0, 1, 0]}. Done.',
    "python's dict": "{'control_points': [1, 0, 0, 1, 0]}",
    "prose": "The list of the 5 frames is [1, 0, 0, 1, 0], as asked.",
    "other lists beside": "Heard: [dog, girl], 2 sounds. The list: [1, 0, 0, 1, 0]",
    "booleans": "[true, false, false, true, false]",
    "strings": '["1", "0", "0", "1", "0"]',
    "decimals": "[1.0, 0.0, 0.0, 1.0, 0.0]",
    "comma at the end": "[1, 0, 0, 1, 0,]",
    "full-width": "列表：[1，0，0，1，0]。",
    "nested": "[[1, 0, 0, 1, 0]]",
    "said twice": "[1, 0, 0, 1, 0]\n\nSo the answer is [1, 0, 0, 1, 0].",
    "first flag 0": "[0, 0, 0, 1, 0]",
    "bare": "1, 0, 0, 1, 0",
    "bare in prose": "The categories are 1, 0, 0, 1, 0.",
    "bare with its length": "5 frames: 1, 0, 0, 1, 0",
    "bare lines": "1\n0\n0\n1\n0",
    "glued": "10010",
    "frames from 0": "[0, 3]",
    "frames from 1": "Control points: [1, 4]",
    "seconds": "[0, 2.8]",
    "clock": '["0:00", "0:03"]',
    "numbered": "1. 1\n2. 0\n3. 0\n4. 1\n5. 0",
    "numbered with words": "1: 1 (a dog)\n2: 0 - the same\n3: 0\n4: 1, a girl\n5: 0",
    "frame n": "Frame 1: 1, frame 2: 0, frame 3: 0, frame 4: 1, frame 5: 0",
    "frame n from 0": "frame 0: 1\nframe 1: 0\nframe 2: 0\nframe 3: 1\nframe 4: 0",
    "bold": "**Frame 1**: 1\n**Frame 2**: 0\n**Frame 3**: 0\n**Frame 4**: 1\n**Frame 5**: 0",
    "ordinals": "First frame: 1\nsecond frame: 0\n3rd frame: 0\n4th frame: 1\nFifth frame: 0",
    "yes and no": "frame 1: yes, frame 2: no, frame 3: no, frame 4: yes, frame 5: no",
    "object of frames": '{"1": 1, "2": 0, "3": 0, "4": 1, "5": 0}',
    "list of objects": str([{"frame": n, "flag": f} for n, f in enumerate(FLAGS)]).replace(
        "'", '"'
    ),
    "clock ranges": "0:00-0:03 a dog barks\n0:03-0:05 a girl sings",
    "bracketed ranges": "[0:00 - 0:03] dog\n[0:03 - 0:05] girl",
    "numbered ranges": "1. 0:00 – 0:03: dog\n2. 0:03 – 0:05: girl",
    "ranges of seconds": "0 to 2.8 seconds: dog; 2.8 to 5 seconds: girl",
    "short seconds": "dog: 0s-3s\ngirl: 3s-5s",
    "ranges without unit": "0-3: dog\n3-5: girl",
    "ranges that say the same": "0-1 s: dog\n1-2 s: dog\n2-3 s: dog\n3-4 s: girl\n4-5 s: girl",
    "ranges that overlap": "dog: 0-5 s\ngirl: 3-5 s",
    "frames n to m": "Frames 1-3: dog\nframes 4 to 5: girl",
    "half-open frames": "frames 0-3: dog\nframes 3-5: girl",
    "ranges in lines of JSON": '{"start": 0.0, "end": 3.0, "label": "dog"}\n'
    '{"start": 3, "end": 5, "label": "girl"}',
    "ranges in JSON": '[{"start": 0, "end": 3, "label": "dog"},'
    ' {"start": 3, "end": 5, "label": "girl"}]',
    "ranges in JSON in prose": 'Sure: {"id": 1, "begin": "0:00", "end": "0:02.8", '
    '"sounds": ["dog", "girl"]}, '
    '{"id": 2, "begin": "0:02.8", "end": "0:05", "sounds": ["dog"]}. Done.',
    "ranges in fenced lines of JSON": "Here:\n```jsonl\n"
    '{"start_time": 0, "end_time": 2, "event": "dog 1"}\n'
    '{"start_time": 2, "end_time": 3, "event": "dog 1"}\n'
    '{"start_time": 3, "end_time": 5, "event": "dog 2"}\n```',
    "ranges of frames in JSON": '{"segments": [{"start_frame": 1, "end_frame": 3, "label": "dog"},'
    ' {"start_frame": 4, "end_frame": 5, "label": "girl"}]}',
    "starts": "0:00 dog\n0:03 girl",
    "starts in seconds": "- 0 s: dog\n- 3 s: girl",
    "thought before": "<think>[1, 1, 1, 1, 1]?</think>[1, 0, 0, 1, 0]",
    "final answer": "At first [1, 1, 0, 0, 0].\n**Final answer:** [1, 0, 0, 1, 0]",
}


@pytest.mark.parametrize("answer", FORMS.values(), ids=FORMS)
def test_forms_are_read(answer):
    assert parse_flags(answer, 5) == FLAGS


UNREADABLE = {
    "": "is empty",
    "I'm sorry, but I cannot listen to audio.": "is a refusal",
    "A dog barks and then a girl sings.": "has no list of 5 flags",
    "[1, 0, 0]": "has 3 flags instead of 5",
    "[1, 0, 0, 1, 0, 1]": "has 6 flags instead of 5",
    "1, 0, 0, 1": "has 4 flags instead of 5",
    "[1, 0, 0, 1, 0] or [1, 1, 0, 1, 0]": "2 lists that differ",
    "[1, 0, 0, 1, 0": "no end",
    "[1, 1, 2, 2, 1]": "neither flags nor rising frames",
    "[1, 2, 3, 4, 5]": "only numbers the frames",
    "[2, 4]": "neither flags nor rising frames from 0 or 1",
    "[0, 5]": "neither flags nor rising frames",
    "[0, 1]": "2 flags instead of 5",
    "[1, 0, dog, 1, 0]": "mixes numbers and words",
    "[1, 0, 0, null, 0]": "mixes numbers and words",
    "[-1, 0, 0, 1, 0]": "neither flags",
    "[1.5, 3.0]": "do not rise from 0",
    "frame 1: 1\nframe 4: 1": "numbers the frames .1, 4., which are not all",
    "frame 2: 1, frame 3: 0, frame 4: 1, frame 5: 0, frame 6: 1": "not all of them",
    "frame 1: 1, frame 1: 0, frame 2: 0, frame 3: 0, frame 4: 1, frame 5: 0": "two different",
    '{"1": 1, "1": 0, "2": 0, "3": 0, "4": 1, "5": 0}': "two different flags",
    '{"1":1,"2":0,"3":0,"4":1,"5":0,"list":[1,1,1,1,1]}': "a list and numbered frames that differ",
    "0:00-0:02 dog\n0:03-0:05 girl": "a second is missing between its ranges",
    "frames 1-2: dog\nframes 4-5: girl": "do not cover every frame",
    "2-4: dog": "do not cover every frame",
    "5-3 s: dog": "run backwards",
    "0-9 s: dog": "end after 5 s",
    '{"start": 1, "end": 3, "label": "dog"}': "do not cover every frame",
    '{"start_s": 0, "end_s": 2}\n{"start_s": 3, "end_s": 5}': "a second is missing",
    '{"start": 0, "end": 3, "change": 1}': "another value, 'change'",
    '{"start_frame": 1, "end_s": 3, "label": "dog"}': "mix frames and seconds",
    "0-3 s: dog, 3-5 s: girl": "several ranges in one line",
    "0-3 s: 2 dogs\n3-5 s: girl": "has other numbers besides",
    "It changes at 3 seconds.": "has no list",
    "3 s: girl": "do not rise from 0",
    "7 sounds: 1, 0, 0, 1, 0": "has other numbers besides",
    "5, 1, 0, 0, 1, 0": "has other numbers besides",
    "1, 0, 0, 1, 0, 5": "has other numbers besides",
    "1, 0, 0, 1, 0.5": "has other numbers besides",
    "1, 0, 0, 1, 0th": "run into other characters",
}


@pytest.mark.parametrize("answer", UNREADABLE)
def test_ambiguous_answers_are_errors(answer):
    with pytest.raises(ControlPointParseError, match=UNREADABLE[answer]) as caught:
        parse_flags(answer, 5)
    assert repr(answer) in str(caught.value)
    assert "Ask again" in str(caught.value)


def test_a_long_answer_is_quoted_shortened_and_without_control_characters():
    with pytest.raises(ControlPointParseError) as caught:
        parse_flags("\x1b[2J" + "no idea " * 1_000, 5)
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


def test_times_become_flags_by_what_covers_most_of_a_frame():
    assert parse_flags("0-2.4 s: dog\n2.4-5 s: girl", 5) == [1, 0, 1, 0, 0]
    assert parse_flags("0-2.6 s: dog\n2.6-5 s: girl", 5) == [1, 0, 0, 1, 0]
    # A click of 0.2 s prevails in no frame; a sound with silence around it begins and ends.
    assert parse_flags("dog: 0-5 s\nclick: 2.1-2.3 s", 5) == [1, 0, 0, 0, 0]
    assert parse_flags("a dog barks from 2 to 4 seconds", 5) == [1, 0, 1, 0, 1]


def test_frames_may_have_another_length_than_a_second():
    assert parse_flags("0:00-0:04 dog\n0:04-0:06 girl", 3, frame_s=2.0) == [1, 0, 1]
    assert parse_flags("[0, 1.1]", 5, frame_s=0.5) == [1, 0, 1, 0, 0]


@pytest.mark.parametrize("num_frames", [1, 2, 7, 30])
def test_the_schema_wants_what_is_read(num_frames):
    wanted = flags_schema(num_frames)["properties"]["control_points"]
    assert wanted["minItems"] == wanted["maxItems"] == num_frames
    flags = [1, *(n % 2 for n in range(num_frames - 1))]
    assert parse_flags(f'{{"control_points": {flags}}}', num_frames) == flags


# Generated answers: true flags in a form of the grammar, then damaged.


def as_list(rng, flags):
    words = rng.choice([str, lambda f: f"{f}.0", lambda f: f'"{f}"', lambda f: str(bool(f))])
    between = [", ", ",", ",\n  "] + [" "] * (words is str)
    inside = rng.choice(between).join(map(words, flags))
    return rng.choice(["[{}]", "```json\n[{}]\n```", "The list: [{}].", "'flags': [{}]"]).format(
        inside
    )


def as_json(rng, flags):
    key = rng.choice(["control_points", "flags", "list", "answer"])
    return rng.choice(["", "Sure: "]) + f'{{"{key}": {flags}}}'


def as_numbered(rng, flags):
    base = rng.choice([0, 1])
    form = rng.choice(["frame {}: {}", "{}. {}", "Frame {} = {}", "{}: {} (a dog)", "- {}: {}"])
    return "\n".join(form.format(t + base, flag) for t, flag in enumerate(flags))


def as_ranges(rng, flags):
    edges = [t for t, flag in enumerate(flags) if flag or t == 0] + [len(flags)]
    form = rng.choice(["0:{:02d}-0:{:02d} {}", "{} to {} seconds: {}", "[{}.0s - {}.0s] {}"])
    return "\n".join(
        form.format(a, b, "dog" * (n + 1))
        for n, (a, b) in enumerate(zip(edges, edges[1:], strict=False))
    )


def as_bare(rng, flags):
    return rng.choice([", ", " ", "\n"]).join(map(str, flags)) + rng.choice(["", "."])


GRAMMAR = [as_list, as_json, as_numbered, as_ranges, as_bare]
PIECES = ["[", "]", "{", "}", "```", '"', ":", "-", ",", "1", "0", "2", "s", "frame ", "0:03", "\n"]
PIECES += ["</think>", "final answer", "٣", "½", "\x00", "\ud800", "İ", "9" * 30, "1e999", "NaN"]


def mutated(rng, text):
    """Damage an answer in one of the ways that occur."""
    place = rng.randrange(len(text) + 1)
    kind = rng.randrange(7)
    if kind == 0:
        return text[:place]
    if kind == 1:
        return text[place:]
    if kind == 2:
        return text[:place] + rng.choice(PIECES) + text[place:]
    if kind == 3:
        return text[:place] + text[place + rng.randrange(1, 4) :]
    if kind == 4:
        return text + rng.choice(["\n", " ", ""]) + text
    if kind == 5:
        return "".join(rng.sample(text, len(text)))
    return text.upper()


def noise(rng):
    if rng.random() < 0.5:
        return rng.randbytes(rng.randrange(120)).decode(rng.choice(["latin-1", "utf-16"]), "ignore")
    return "".join(rng.choices(PIECES, k=rng.randrange(40)))


def test_8_000_answers_give_the_flags_meant_or_valid_ones_or_the_typed_error():
    rng = random.Random(0)
    read = errors = 0
    for number in range(8_000):
        num_frames = rng.choice([3, 5, 10, 12])
        flags = [1, *rng.choices([0, 1], k=num_frames - 1)]
        clean = number % 4 == 0
        text = noise(rng) if number % 10 == 1 else rng.choice(GRAMMAR)(rng, flags)
        for _ in range(0 if clean else rng.randrange(1, 4)):
            text = mutated(rng, text)
        try:
            found = parse_flags(text, num_frames)
        except ControlPointParseError:
            assert not clean, text
            errors += 1
            continue
        read += 1
        assert len(found) == num_frames, text
        assert found[0] == 1, text
        assert all(type(flag) is int and flag in (0, 1) for flag in found), text
        assert not clean or found == flags, text
    # Both happen often, or this would prove little.
    assert min(read, errors) > 2_000


@pytest.mark.parametrize("length", [0, 1, 3, 4, 6, 9])
def test_a_list_of_another_length_is_never_stretched_or_cut(length):
    rng = random.Random(length)
    for _ in range(200):
        # A 1 after the first place, or `[1]` and `[0, 1]` would be all there is.
        flags = [1, *rng.choices([0, 1], k=max(0, length - 1))][:length]
        text = rng.choice([as_list, as_json, as_bare, as_numbered])(rng, flags)
        with pytest.raises(ControlPointParseError):
            parse_flags(text, 5)


HARD = {
    "brackets": "[" * 100_000,
    "braces": '{"a":' * 20_000,
    "nested": "[" * 900 + "1" + "]" * 900,
    "run": "1 0 " * 50_000 + "x",
    "blanks": " " * 200_000 + "1",
    "lines": "\n" * 200_000 + "1. 1",
    "dashes": "0-" * 100_000,
    "ranges": "0:00-0:03 " * 20_000,
    "frames": "frame " * 40_000,
    "numbers": "1" * 200_000,
    "fences": "```" * 60_000,
    "ranges in JSON": '{"start":0,"end":1}\n' * 6_000,
    "thoughts": "</think>" * 20_000,
    "open list": "[" + "1, " * 60_000,
}


@pytest.fixture
def own_cpu_limit():
    """Interrupt what computes for too long; waiting for a busy machine does not count."""

    def interrupt(signum, frame):
        raise TimeoutError("Parsing is not linear in the length of the answer")

    @contextlib.contextmanager
    def limit(seconds):
        before = signal.signal(signal.SIGVTALRM, interrupt)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    return limit


@pytest.mark.parametrize("text", HARD.values(), ids=HARD)
def test_hard_answers_are_refused_in_linear_time(text, own_cpu_limit):
    """A quadratic pattern takes minutes of computing for these, a linear one less than 0.1 s."""
    with own_cpu_limit(20), pytest.raises(ControlPointParseError):
        parse_flags(text, 5)


@pytest.mark.parametrize(
    "answer",
    [
        "<think>maybe [1,1,0,0,0] hmm",
        "<Thinking>maybe [1,1,0,0,0]",
        "[THINK] [1,1,0,0,0]",
        "<reasoning effort='high'>[1,1,0,0,0]",
        "<think>a</think>\n<think>[1,1,0,0,0]",
        "<|channel|>analysis<|message|>[1,1,0,0,0]",
    ],
)
def test_thinking_that_is_cut_off_is_not_an_answer(answer):
    with pytest.raises(ControlPointParseError, match="thinking was cut off"):
        parse_flags(answer, 5)


@pytest.mark.parametrize(
    "answer",
    [
        "<Thinking>maybe [1,1,0,0,0]</Thinking>[1,0,0,1,0]",
        "[THINK][1,1,0,0,0][/THINK] [1,0,0,1,0]",
        "<reasoning>[1,1,0,0,0]</reasoning>\n[1,0,0,1,0]",
        "it was [1,1,0,0,0]</think>[1,0,0,1,0]",
        "<|channel|>analysis<|message|>[1,1,0,0,0]<|end|><|start|>assistant"
        "<|channel|>final<|message|>[1,0,0,1,0]",
        '{"frame": 0, "flag": 1}\n{"frame": 1, "flag": 0}\n{"frame": 2, "flag": 0}\n'
        '{"frame": 3, "flag": 1}\n{"frame": 4, "flag": 0}',
        "1\n00:00:00,000 --> 00:00:03,000\nA dog.\n\n2\n00:00:03,000 --> 00:00:05,000\nA girl",
        "WEBVTT\n\n00:00.000 --> 00:03.000\na dog\n\n00:03.000 --> 00:05.000 align:start\na girl",
        "| Frame | Sound | Change |\n|---|---|:---:|\n| 1 | dog | 1 |\n| 2 | dog | 0 |\n"
        "| 3 | dog | 0 |\n| 4 | girl | 1 |\n| 5 | girl | 0 |",
        "Here it is:\n\n| Time | Sound |\n| --- | --- |\n| 0:00-0:03 | dog |\n| 0:03-0:05 | girl |",
        "| Start | End | Sound |\n|--|--|--|\n| 0:00 | 0:03 | dog |\n| 0:03 | 0:05 | girl |",
    ],
)
def test_answers_in_markup_are_read(answer):
    assert parse_flags(answer, 5) == [1, 0, 0, 1, 0]
