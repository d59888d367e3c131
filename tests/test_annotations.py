"""Hand annotations: what is read and written, and what becomes of it."""

import json

import pytest
import torch
from make_avsbench import make_s4

from coprop_plugin import media
from coprop_plugin.benchmark import index_into
from coprop_plugin.benchmark.datasets import Keyframes
from coprop_plugin.control_points import FileProvider, as_provider
from coprop_plugin.errors import ControlPointError, ControlPointParseError, MediaError
from coprop_plugin.types import Annotation, Clip, Span

GIRL_AND_DOG = Annotation(
    (0.0, 1.25, 2.8, 4.0), (("girl",), (), ("dog", "girl"), None), duration_s=5.0
)


def clip(seconds=5, name="a"):
    return Clip(torch.zeros(seconds, 3, 8, 8), torch.zeros(16_000 * seconds), sampling="avsbench",
                name=name)  # fmt: skip


@pytest.mark.parametrize("kind", ["audacity", "textgrid", "rttm", "csv", "json"])
def test_what_is_written_is_read_again(kind, tmp_path):
    annotations = {"a": GIRL_AND_DOG, "b c": Annotation((0.0,), (("violin",),), 3.0)}
    path = tmp_path / ("out" if kind in ("audacity", "textgrid") else f"out.{kind}")
    files = media.write_annotations(path, annotations, kind)
    assert len(files) == (2 if path.suffix == "" else 1)
    found = media.read_annotations(path)
    if kind == "rttm":  # its names have no spaces
        found["b c"] = found.pop("b_c")
    for name, want in annotations.items():
        got = found[name]
        ends = [] if kind == "json" else [(want.duration_s, ())]
        assert [*zip(got.seconds, map(sounding, got.names), strict=True)] == [
            *zip(want.seconds, map(sounding, want.names), strict=True),
            *((s, frozenset(n)) for s, n in ends),
        ]
        own = clip(int(want.duration_s))
        assert got.control_points(own) == want.control_points(own)


def sounding(names):
    return None if names is None else frozenset(names)


AUDACITY = "0.5\t2.0\tdog\n\\\t100\t200\n2.0\t3.5\tdog, girl\n"
PRAAT_SHORT = '''File type = "ooTextFile"
Object class = "TextGrid"

0
5
<exists>
2
"IntervalTier"
"who"
0
5
3
0
0.5
""
0.5
2
"dog"
2
3.5
"say ""woof"""
"TextTier"
"clicks"
0
5
1
1.0
"click"
'''


@pytest.mark.parametrize("seconds", [[0.5, 1.25], [1.25, 0.5]])
def test_a_file_that_does_not_begin_at_0_keeps_its_times(seconds, tmp_path):
    named = {0.5: ["dog"], 1.25: ["girl"]}
    content = {"seconds": seconds, "names": [named[s] for s in seconds]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = media.read_annotations(tmp_path / "a.json")["a"]
    assert found == Annotation((0.0, 0.5, 1.25), (None, ("dog",), ("girl",)))
    # Control points begin with the first frame, wherever it stands.
    (tmp_path / "a.json").write_text(json.dumps({"num_frames": 2, "seconds": [0.9375, 1.9375]}))
    assert media.read_annotations(tmp_path / "a.json")["a"].seconds == (0.0, 1.9375)


def test_files_of_other_programs_are_read(tmp_path):
    (tmp_path / "a.txt").write_text(AUDACITY)
    found = media.read_annotations(tmp_path / "a.txt")["a"]
    assert found.seconds == (0.0, 0.5, 2.0, 3.5)
    assert found.names == ((), ("dog",), ("dog", "girl"), ())
    (tmp_path / "p.txt").write_text("1.5\t1.5\tdog\n3\t3\t\n")
    points = media.read_annotations(tmp_path / "p.txt")["p"]
    assert (points.seconds, points.names) == ((0.0, 1.5, 3.0), (None, ("dog",), None))
    # As Praat saves what is not ASCII.
    (tmp_path / "b.TextGrid").write_bytes(PRAAT_SHORT.replace("dog", "Hühner").encode("utf-16"))
    found = media.read_annotations(tmp_path / "b.TextGrid")["b"]
    assert found.seconds == (0.0, 0.5, 2.0, 3.5)
    assert found.names == ((), ("Hühner",), ('say "woof"',), ())
    (tmp_path / "many.rttm").write_text(
        ";; comment\nSPKR-INFO x 1 <NA> <NA> <NA> unknown anna <NA> <NA>\n"
        "SPEAKER x 1 0.5 1.5 <NA> <NA> anna <NA> <NA>\n"
        "SPEAKER x 1 1.0 1.0 <NA> <NA> bob <NA> <NA>\n"
        "SPEAKER y 1 0 2 <NA> <NA> bob <NA> <NA>\n"
    )
    found = media.read_annotations(tmp_path / "many.rttm")
    assert found["x"].seconds == (0.0, 0.5, 1.0, 2.0)
    assert found["x"].names == ((), ("anna",), ("anna", "bob"), ())
    assert set(media.read_annotations(tmp_path)) == {"a", "p", "b", "x", "y"}


def test_sounding_times_of_lu_avs_are_read(tmp_path):
    # In frames, as in its `seg_test.json`; of other keys nothing is read.
    dog = {"segment": [30, 84], "label": "dog", "label_id": 3}
    girl = {"segment": [75, 150], "label": "girl", "label_id": 9}
    content = {
        "a_1": {"fps": 30.0, "duration": 6.5, "subset": "test", "annotations": [dog, girl]},
        "b": {"fps": 25, "duration": 3.0, "annotations": []},
    }
    path = tmp_path / "seg_test.json"
    path.write_text(json.dumps(content))
    found = media.read_annotations(path)
    names = ((), ("dog",), ("dog", "girl"), ("girl",), ())
    assert found["a_1"] == Annotation((0.0, 1.0, 2.5, 2.8, 5.0), names, 6.5)
    assert found["b"] == Annotation((0.0,), ((),), 3.0)
    for wrong in ({"fps": 0}, {"annotations": [{"segment": [3], "label": "dog"}]}):
        path.write_text(json.dumps({"a": content["a_1"] | wrong}))
        with pytest.raises(MediaError, match="seg_test.json.*(above 0|not an annotation)"):
            media.read_annotations(path)


def test_a_second_dog_is_a_change_though_the_name_stays():
    """Category, timbre and quantity: the paper's prompt."""
    found = Annotation.of_spans([Span(0, 2, "dog"), Span(2, 4, "dog"), Span(1, 4, "dog")])
    assert (found.seconds, set(found.names[:3])) == ((0.0, 1.0, 2.0, 4.0), {("dog",)})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "1.0\tx\n", "a.txt is not an annotation .audacity."),
        ("a.txt", "5\t1\tdog\n-1\t2\tdog", "a.txt: Expected spans that begin at 0"),
        ("a.TextGrid", 'File type = "ooTextFile"\nObject class = "Pitch"', "Expected a TextGrid"),
        ("a.TextGrid", PRAAT_SHORT[:90], "Expected a TextGrid"),
        ("a.rttm", "nothing\n", "lines that begin with SPEAKER"),
        ("a.csv", "clip,start_s\na,0\n", "no column 'end_s'"),
        ("a.csv", "clip,start_s,end_s,categories\na,zero,1,dog\n", "not an annotation .csv."),
        ("a.json", '{"clips": {"a": {"seconds": ["x"]}}}', '"seconds" as a list of numbers'),
        ("a.json", '{"clips": {"a": {"seconds": [0], "names": [[1]]}}}', '"names" as one list'),
        ("a.json", "[", "not an annotation .json."),
        ("a.doc", "", "no suffix of an annotation"),
    ],
)
def test_files_that_are_none_are_refused_by_name(name, content, words, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises((MediaError, ControlPointError), match=words) as caught:
        media.read_annotations(tmp_path / name)
    assert name in str(caught.value)


def test_a_clips_name_does_not_lead_out_of_the_folder(tmp_path):
    for name in ("../x", "a/b", "a\\b"):
        with pytest.raises(MediaError, match="cannot be a file name.*csv"):
            media.write_annotations(tmp_path / "out", {name: GIRL_AND_DOG}, "audacity")


def test_label_tracks_are_control_points(tmp_path):
    (tmp_path / "street.txt").write_text(AUDACITY)
    provider = as_provider(str(tmp_path / "street.txt"))
    assert provider.propose(clip(name="other")).indices == [0, 2, 3]
    media.write_annotations(tmp_path / "many.csv", {"a": GIRL_AND_DOG}, "csv")
    points = FileProvider(tmp_path / "many.csv").propose(clip())
    assert points.indices == [0, 1, 3, 4]
    with pytest.raises(ControlPointError, match="none of 'b'"):
        FileProvider(tmp_path / "many.csv").propose(clip(name="b"))
    (tmp_path / "odd.rttm").write_text("x")
    with pytest.raises(ControlPointParseError, match="SPEAKER"):
        FileProvider(tmp_path / "odd.rttm").propose(clip())


def test_hand_annotations_make_examples_of_s4s_training_clips(tmp_path):
    """Only their first frame is labelled, so their changes are not in the data."""
    root = make_s4(tmp_path / "s4", {"x": ("cat", "train"), "y": ("dog", "train")})
    annotations = {"x": Annotation((0.0, 2.8), (("cat",), ())), "y": Annotation((0.0,), (None,))}
    made = index_into(tmp_path / "store.jsonl", str(root), annotations=annotations)
    assert [(e.id, e.categories, e.control_points) for e in made.store] == [
        ("x", ("cat",), (1, 0, 0, 1, 0)),
        ("y", ("dog",), (1, 0, 0, 0, 0)),  # the name is the data set's
    ]
    assert not made.skipped
    # And keyframes of stage 1b, where they have a label.
    media.write_annotations(tmp_path / "hand.json", annotations, "json")
    config = dict(type="S4", root=str(root), split="train")
    assert Keyframes(config, str(tmp_path / "hand.json")).frames == ((0, 0), (1, 0))


def test_annotations_of_videos_make_examples(tmp_path):
    from typer.testing import CliRunner

    from coprop_plugin.cli import app
    from coprop_plugin.world import Scene

    (tmp_path / "videos").mkdir()
    scene = Scene.made_up(seed=1, duration_s=4.0, size=(32, 32))
    media.write_clip(scene.clip(fps=4), tmp_path / "videos" / "street.mp4")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "street.txt").write_text("0\t1.9\tdog\n1.9\t4\tgirl\n")
    words = ["anchor", "index", tmp_path / "videos", "--annotations", tmp_path / "labels", "-o",
             tmp_path / "store.jsonl"]  # fmt: skip
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    (line,) = (tmp_path / "store.jsonl").read_text().splitlines()
    made = json.loads(line)
    assert (made["categories"], made["control_points"]) == (["dog", "woman"], [1, 0, 1, 0])
