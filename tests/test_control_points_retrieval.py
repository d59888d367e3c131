"""Example stores: how they are built, and which examples are found, never the query."""

import json
import wave
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from make_avsbench import CLASSES, make_avss, make_ms3, make_s4
from typer.testing import CliRunner

from coprop_plugin import cli
from coprop_plugin.control_points import Example, Query, Store, flags_a_second, from_masks
from coprop_plugin.control_points.language import alike, mentioned, normalised
from coprop_plugin.control_points.llm import audio_hash
from coprop_plugin.errors import ControlPointError
from coprop_plugin.types import Clip, ControlPoints
from coprop_plugin.world import KINDS


@dataclass
class Labelled:
    id: str
    clip: Clip
    control_points: Any = None
    category: str | None = None
    masks: Any = None


def clip_of(seed, seconds=5, **options):
    torch.manual_seed(seed)
    frames = torch.zeros(seconds, 3, 8, 8)
    return Clip(frames, 0.1 * torch.randn(16_000 * seconds), sampling="avsbench", **options)


def example(name, *categories, flags=(1, 0, 0, 1, 0), **options):
    return Example(name, categories, flags, float(len(flags)), **options)


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("playing_violin", "violin"),
        ("a fiddle", "violin"),
        ("Violins", "violin"),
        ("dog_barking", "dog"),
        ("horse_clip-clop", "horse"),
        ("female_singing", "woman"),
        ("ambulance_siren", "siren"),
        ("playing_theremin", "theremin"),
        ("dog house", "dog house"),
        ("playing", "playing"),
    ],
)
def test_categories_have_one_name(category, name):
    assert normalised(category) == name
    assert normalised(name) == name


def test_the_kinds_of_the_synthetic_world_are_distinct():
    names = [kind.name for kind in KINDS]
    assert [normalised(name) for name in names] == names


def test_the_paper_s_answer_names_its_categories():
    answer = (
        "There are two different types of audio in this segment, one for cello and the other for "
        "piano."
    )
    assert mentioned(answer) == ["cello", "piano"]


def test_longer_phrases_count_before_the_words_in_them():
    assert mentioned("a police car siren and a woman singing") == ["siren", "woman"]
    assert mentioned("cars, glasses") == ["car"]
    assert mentioned("a theremin", ["theremin"]) == ["theremin"]


def test_words_with_similar_spelling_are_found():
    assert alike("some hurdygurdy music", "hurdy-gurdy") > alike("gurdy", "hurdy-gurdy") > 0
    assert alike("a violin", "dog") == 0


def test_examples_are_those_with_most_categories_in_common():
    store = Store(
        [
            example("d", "dog"),
            example("cp", "cello", "piano"),
            example("p", "piano"),
            example("cpd", "cello", "piano", "dog"),
        ]
    )
    found = store.retrieve("One for cello, the other for pianos.", k=3)
    assert (found.by, found.categories) == ("category", ["cello", "piano"])
    assert [e.id for e in found.examples] == ["cp", "cpd", "p"]
    assert [e.id for e in store.retrieve("A puppy.", k=9).examples] == ["d", "cpd"]


def test_the_order_depends_on_nothing_else():
    examples = [example(f"{n:02d}", "dog", flags=(1,) * (1 + n % 4)) for n in range(20)]
    query = Query(duration_s=3.0)
    found = Store(examples).retrieve("a dog", query, k=4)
    assert [e.id for e in found.examples] == ["02", "06", "10", "14"]
    assert Store(reversed(examples)).retrieve("a dog", query, k=4) == found


def test_without_a_common_category_similar_spelling_decides():
    store = Store([example("h", "hurdy-gurdy"), example("d", "dog")])
    found = store.retrieve("It is a hurdygurdy.")
    assert (found.by, [e.id for e in found.examples]) == ("text", ["h"])


def test_without_similar_words_similar_timbre_decides():
    t = torch.arange(32_000) / 16_000
    tones = {"low": torch.sin(1_000 * t), "high": torch.sin(20_000 * t)}
    frames = torch.zeros(2, 3, 8, 8)
    samples = [
        Labelled(name, Clip(frames, tone, sampling="avsbench"), ControlPoints([1, 0]))
        for name, tone in tones.items()
    ]
    store = Store.build(samples)
    query = Query.of(Clip(frames, torch.sin(19_000 * t), sampling="avsbench"))
    found = store.retrieve("I do not know.", query, k=1)
    assert (found.by, [e.id for e in found.examples]) == ("sound", ["high"])
    assert store.retrieve("I do not know.").by == "nothing"


def test_the_query_is_never_found_by_content():
    samples = [
        Labelled(f"x{n}", clip_of(n), ControlPoints([1, 0, 1, 0, 0]), "dog") for n in range(4)
    ]
    store = Store.build(samples)
    for sample in samples:
        renamed = replace(sample.clip, frames=torch.rand(5, 3, 16, 16))
        found = store.retrieve("a dog", Query.of(renamed), k=9)
        assert found.left_out == [sample.id]
        assert sample.id not in [e.id for e in found.examples]
        assert len(found.examples) == 3


@pytest.mark.parametrize("source", ["s4/x2.wav", "avss/v2/x2/audio.wav", "elsewhere/x2.mp4", "x2"])
def test_the_query_is_never_found_by_name(source, tmp_path):
    store = Store([example(f"x{n}", "dog") for n in range(4)])
    # E.g. compressed again: other samples, the same clip.
    query = Query.of(clip_of(7, source=tmp_path / source))
    assert [e.id for e in store.retrieve("a dog", query, k=9).examples] == ["x0", "x1", "x3"]
    named = Query.of(clip_of(7, name="x2"))
    assert store.retrieve("a dog", named, k=9).left_out == ["x2"]


def test_a_store_comes_back_from_its_file(tmp_path):
    samples = [
        Labelled("a", clip_of(1), ControlPoints([1, 0, 1, 0, 0]), "playing_violin"),
        Labelled("b", clip_of(2), None, "dog"),
        Labelled("c", Clip(torch.zeros(5, 3, 8, 8)), ControlPoints([1, 0, 0, 0, 0])),
    ]
    skipped = {}
    store = Store.build(samples, skipped=skipped.__setitem__)
    assert "not every frame" in skipped["b"]
    assert "no waveform" in skipped["c"]
    path = tmp_path / "store.jsonl"
    path.write_text(store.text() + "\n" + store.text().replace('"a"', '"z"'))
    both = Store.load(path)
    assert [e.id for e in both] == ["a", "z"]
    assert both.examples[0] == store.examples[0]
    assert store.examples[0].categories == ("violin",)
    assert store.examples[0].content == audio_hash(samples[0].clip.waveform, 16_000)
    assert store.version != both.version


def test_lines_may_be_written_by_hand(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"categories": ["Dogs", "girl"], "control_points": [1, 0, 0, 1, 0]}\n')
    (only,) = Store.load(path)
    assert (only.categories, only.duration_s) == (("dog", "woman"), 5.0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2 is not an example"),
        ("[]", "not a JSON object"),
        ('{"categories": "dog", "control_points": [1]}', '"categories" is not a list'),
        ('{"categories": [], "control_points": [1, 2]}', "not a list of 0 and 1"),
        ('{"categories": [], "control_points": [0, 1]}', "the first of"),
        ('{"categories": [], "control_points": [1], "embedding": 3}', "line 2"),
        ('{"categories": ["\\ud800"], "control_points": [1]}', "surrogates not allowed"),
    ],
)
def test_other_lines_are_named(tmp_path, line, reason):
    path = tmp_path / "store.jsonl"
    path.write_text(f'{{"categories": [], "control_points": [1]}}\n{line}\n')
    with pytest.raises(ControlPointError, match=reason):
        Store.load(path)


def test_the_error_of_a_missing_store_gives_the_command_that_makes_one(tmp_path):
    with pytest.raises(ControlPointError, match="coprop anchor index DATASET -o"):
        Store.load(tmp_path / "none.jsonl")


def test_control_points_of_any_rate_become_flags_a_second():
    times = torch.arange(40, dtype=torch.float64) / 8
    clip = Clip(torch.zeros(40, 3, 8, 8), torch.zeros(80_000), times=times)
    # At 1.375 s and 3.625 s: seconds 1 and 4 sound mostly new.
    points = ControlPoints.from_indices([0, 11, 29], 40)
    assert flags_a_second(points, clip) == [1, 1, 0, 0, 1]
    # An object of a quarter of a second prevails in no second, so the one before it continues.
    masks = torch.zeros(40, 1, 1, dtype=torch.long)
    masks[18:20] = 1
    assert flags_a_second(from_masks(masks), clip) == [1, 0, 0, 0, 0]


def test_two_samples_with_one_id_are_refused():
    samples = [Labelled("a", clip_of(n), ControlPoints([1, 0, 0, 0, 0])) for n in range(2)]
    with pytest.raises(ControlPointError, match="two samples with the id 'a'"):
        Store.build(samples)


# The command.


def index(*arguments):
    return CliRunner().invoke(cli.app, ["anchor", "index", *map(str, arguments), "--json"])


def test_a_store_of_the_world(tmp_path):
    done = index("world", "--scenes", 4, "-o", tmp_path / "w.jsonl")
    assert done.exit_code == 0, done.output
    store = Store.load(tmp_path / "w.jsonl")
    assert len(store) == 4
    assert set(store.vocabulary) <= {kind.name for kind in KINDS}
    assert all(len(e.control_points) == 10 and len(e.embedding) == 128 for e in store)


def test_a_store_of_avsbench(tmp_path):
    make_s4(tmp_path / "s4", {"a": ("dog_barking", "test"), "b": ("cat_meowing", "train")})
    done = index(tmp_path / "s4", "--split", "all", "-o", tmp_path / "s4.jsonl")
    assert done.exit_code == 0, done.output
    assert "1 clip left out: not every frame is labelled" in done.stderr
    (only,) = Store.load(tmp_path / "s4.jsonl")
    assert (only.id, only.categories) == ("a", ("dog",))

    make_ms3(tmp_path / "ms3", {"a": ("train", "01011"), "b": ("test", "11111")})
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"a": ["cello", "piano"]}))
    done = index(tmp_path / "ms3", "--categories", names, "-o", tmp_path / "ms3.jsonl")
    assert done.exit_code == 0, done.output
    (only,) = Store.load(tmp_path / "ms3.jsonl")
    assert (only.categories, only.control_points) == (("cello", "piano"), (1, 1, 1, 1, 0))


def write_wav(path):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(torch.randint(-9_000, 9_000, (80_000,)).numpy().astype("<i2").tobytes())


def test_a_store_of_one_s_own_clips(tmp_path):
    write_wav(tmp_path / "mine.wav")
    lines = [
        {"clip": "mine.wav", "categories": ["puppy", "girl"], "seconds": [0, 2.8]},
        {"clip": "gone.wav", "categories": ["dog"], "seconds": [0]},
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = index(tmp_path / "clips.jsonl", "-o", tmp_path / "store.jsonl")
    assert done.exit_code == 1
    assert "line 2" in done.stderr
    (only,) = Store.load(tmp_path / "store.jsonl")
    assert (only.id, only.categories) == ("mine", ("dog", "woman"))
    assert only.control_points == (1, 0, 0, 1, 0)


def test_what_is_no_data_set_is_refused(tmp_path):
    done = index(tmp_path / "nothing")
    assert done.exit_code == 2
    assert "Expected the folder of S4, MS3 or AVSS" in done.stderr
    (tmp_path / "clips.jsonl").write_text('{"clip": 3}')
    done = index(tmp_path / "clips.jsonl")
    assert (done.exit_code, "line 1 is not a clip" in done.stderr) == (2, True)
    write_wav(tmp_path / "mine.wav")
    (tmp_path / "clips.jsonl").write_text('{"clip": "mine.wav", "categories": [{}], "seconds": []}')
    done = index(tmp_path / "clips.jsonl")
    assert (done.exit_code, '"categories" is not a list of names' in done.stderr) == (2, True)


def test_classes_in_masks_are_categories(tmp_path):
    assert CLASSES[2:4] == ["dog", "girl"]
    make_avss(tmp_path, {"u": ("v", "v1m", "train", [0, 2, 2, 3, 3])})
    done = index(tmp_path, "-o", tmp_path / "store.jsonl")
    assert done.exit_code == 0, done.output
    (only,) = Store.load(tmp_path / "store.jsonl")
    assert (only.id, only.control_points) == ("u", (1, 1, 0, 1, 0))
    assert set(only.categories) == {"dog", "woman"}


def test_samples_with_class_masks_need_only_the_names_of_the_classes():
    masks = torch.zeros(5, 8, 8, dtype=torch.long)
    masks[1:, :4], masks[3:, 4:] = 2, 3
    sample = Labelled("a", clip_of(1), from_masks(masks), masks=masks)
    (only,) = Store.build([sample], classes=CLASSES)
    assert (only.categories, only.control_points) == (("dog", "woman"), (1, 1, 0, 1, 0))
