"""The page of a run holds what the run holds, needs nothing else, and runs only its own script."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from make_media import plain
from make_results import result_of
from make_runs import Late, make_run
from PIL import Image
from typer.testing import CliRunner

from coprop_plugin import cli, media
from coprop_plugin.benchmark.metrics import mask_iou
from coprop_plugin.errors import MediaError, ReportError
from coprop_plugin.report import (
    PageVideo,
    film_strip,
    find_runs,
    read_run,
    reasons_of,
    render_run_page,
    write_report,
    write_reports,
)
from coprop_plugin.types import ControlPoints

EVIL = "<img src=x onerror=alert(1)>.mp4"
ANSWER = "</script><script>alert(1)</script>\n<b onclick='alert(1)'>1 0</b>"
VOID = {"meta", "link", "input", "img", "br", "path", "circle"}


class Page(HTMLParser):
    """A page taken apart: its tags, the text of its scripts by id, its visible text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.scripts, self.text, self._open = [], {}, "", []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop()[0] == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag, attrs = self._open[-1] if self._open else (None, {})
        if tag in ("script", "style"):
            self.scripts[attrs.get("id", tag)] = data
        else:
            self.text += data

    @property
    def data(self):
        return json.loads(self.scripts["data"])


@pytest.fixture(scope="module")
def made(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    run, result = make_run(scene, folder)
    report = write_report(run, truth=folder / "truth")
    return folder, result, report, Page(report.path)


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "made")
    (tmp_path / "made" / "run" / "report.html").unlink()
    return tmp_path / "made" / "run"


def rendered(run):
    """The page of a run without its video, which takes longest to make."""
    shown = PageVideo((48, 64), 6.0, torch.zeros(16_000), 16_000, "")
    path = run.parent / "rendered.html"
    path.write_text(render_run_page(read_run(run), shown, ("silent", "sounding")))
    return Page(path)


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


def test_the_page_holds_the_numbers_of_the_run(made):
    _, result, _, parsed = made
    data, ours = parsed.data, parsed.data["layers"][0]
    assert np.allclose(data["spans"], result.clip.spans.numpy())
    areas = (result.masks > 0).double().mean((1, 2)).numpy()
    assert areas.min() == 0 < areas.max()
    assert np.allclose(ours["areas"], areas, atol=1e-5)
    for confidence, mask, prob in zip(
        ours["confidence"], result.masks, result.probs[:, 0], strict=True
    ):
        sounds = mask > 0
        known = prob[sounds].mean() if sounds.any() else 1 - prob.max()
        assert confidence == pytest.approx(float(known), abs=1 / 255)
    points = result.control_points
    assert [(p["frame"], p["stop"]) for p in data["points"]] == [
        (segment.start, segment.stop) for segment in points.segments
    ]
    assert data["silent"] == points.silent.int().tolist()
    assert 1 in data["silent"]


def test_the_page_shows_the_very_masks(made):
    _, result, _, parsed = made
    bare = parsed.data["layers"][1]
    assert (bare["name"], parsed.data["layers"][2]["name"]) == ("bare", "truth")
    for uri, mask in zip(parsed.data["layers"][0]["masks"], result.masks.numpy(), strict=True):
        assert (uri == "") == (not mask.any())
        if uri:
            picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA")
            assert np.array_equal(np.array(picture)[..., 3] > 0, mask > 0)
    assert bare["masks"] != parsed.data["layers"][0]["masks"]


def test_the_page_holds_the_whole_video_with_its_sound(made, tmp_path):
    _, result, _, parsed = made
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(base64.b64decode(parsed.scripts["movie"]))
    info = media.probe(copy, fps=None)
    assert info.num_source_frames == 48
    waveform, sample_rate = media.read_waveform(copy)
    assert len(waveform) / sample_rate == pytest.approx(6, abs=0.1)
    assert waveform[:sample_rate].abs().max() > 0.05
    assert parsed.data["duration"] == pytest.approx(6, abs=0.01)
    loud = [abs(low) + abs(high) for low, high in parsed.data["wave"]]
    quiet = slice(int(len(loud) * 4.2 / 6), int(len(loud) * 4.8 / 6))
    assert max(loud) == pytest.approx(2, abs=0.3)
    assert max(loud[quiet]) < 0.1


def test_scores_are_those_of_the_benchmark(made, scene):
    folder, result, report, parsed = made
    truth = scene.truth(result.clip, ids="binary")
    assert report.score == pytest.approx(float(mask_iou(result.probs[:, 0], truth)), abs=1e-6)
    bare = torch.stack([torch.from_numpy(np.array(m)) for m in masks_in(folder / "run" / "bare")])
    assert report.bare_score == pytest.approx(float(mask_iou(bare.float(), truth)), abs=1e-6)
    assert abs(report.bare_score - report.score) > 0.1
    assert np.mean(parsed.data["layers"][0]["scores"]) == pytest.approx(report.score, abs=1e-4)


def masks_in(folder):
    return [Image.open(path) for path in sorted((folder / "masks").iterdir())]


def refused_urls(parsed):
    """URLs in attributes that are neither inside the page nor beside it."""
    return [
        value
        for _, attrs in parsed.tags
        for name, value in attrs.items()
        if name in ("src", "href", "action", "poster", "srcset", "xlink:href")
        and not value.startswith(("data:", "#", "./"))
    ]


def test_nothing_comes_from_outside(made):
    _, _, report, parsed = made
    assert refused_urls(parsed) == []
    text = report.path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?|wss?|ftp)://|url\(|@import", text)


def test_only_our_own_script_may_run(made):
    _, _, _, parsed = made
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv"))
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(parsed.scripts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert [a for _, a in parsed.tags if "style" in a or any(n.startswith("on") for n in a)] == []


def test_names_and_answers_are_text_and_nothing_else(run):
    edit(run / "result.json", source=EVIL)
    window = {
        "seconds": [0, 6],
        "conversation": [{"question": EVIL, "answer": ANSWER, "flags": [1, 0]}],
    }
    log = {"windows": [window], "notes": [ANSWER], EVIL: EVIL}
    edit(run / "control_points.json", log=log, source="<script>alert(2)</script>")
    page_path = write_report(run, video=run.parent / "made_up.mp4").path
    parsed = Page(page_path)
    assert [attrs for tag, attrs in parsed.tags if tag == "img" or "onclick" in attrs] == []
    assert len([tag for tag, _ in parsed.tags if tag == "script"]) == 3
    assert parsed.data["name"] == EVIL
    assert ANSWER in parsed.data["points"][0]["reasons"][1][1]
    # Neither can the data end its script early, nor a value be taken for a template.
    assert not re.search("[<>&\u2028]", parsed.scripts["data"])
    for text in (EVIL, ANSWER, "<script>alert(2)</script>"):
        assert text in parsed.text


def test_a_very_deep_or_long_log_is_cut(run):
    deep = "x"
    for _ in range(200):
        deep = {"in": deep}
    edit(run / "control_points.json", log={"deep": deep, "answer": "y" * 300_000})
    parsed = rendered(run)
    assert parsed.text.count("in …") == 1
    # Three folds of the page, twelve of the log.
    assert [tag for tag, _ in parsed.tags].count("details") == 3 + 12
    assert "300000 characters in total" in parsed.text
    assert 20_000 <= parsed.text.count("y") < 21_000


def test_a_log_shows_whole_texts_and_short_lists(run):
    log = {"flags": [1, 0], "windows": [{"answer": "a\nb"}, {}], "nothing": {}, "none": []}
    edit(run / "control_points.json", log=log)
    parsed = rendered(run)
    text = "".join(parsed.text.split("Provider log")[1].split("Options of the run")[0].split())
    assert "flags1,0" in text
    assert "windows1answerab2nothing" in text
    assert "nothingnothing" in text
    assert "nonenone" in text


@pytest.mark.parametrize("notes", [3, {"a": 1}, "one"])
def test_edited_notes_do_no_harm(run, notes):
    edit(run / "control_points.json", log={"notes": notes})
    parsed = rendered(run)
    assert [attrs for _, attrs in parsed.tags if attrs.get("role") == "note"] == []


def test_a_film_strip_needs_sound(made, tmp_path):
    _, result, _, _ = made
    assert film_strip(result, tmp_path / "strip.png").stat().st_size > 10_000
    mute = replace(result, clip=replace(result.clip, waveform=None))
    with pytest.raises(ReportError, match="clip with a waveform"):
        film_strip(mute, tmp_path / "mute.png")


def test_a_large_video_lies_beside_the_page(run):
    parsed = Page(write_report(run, embedded_bytes=0).path)
    assert "movie" not in parsed.scripts
    assert parsed.data["beside"] == "report.mp4"
    assert media.probe(run / "report.mp4", fps=None).num_source_frames == 48
    write_report(run)
    assert not (run / "report.mp4").exists()


def test_without_the_source_the_overlay_is_shown(made, run, tmp_path):
    (run.parent / "made_up.mp4").unlink()
    with pytest.raises(ReportError, match=r"made_up\.mp4 was not found.*--video"):
        write_report(run)
    shutil.copy(made[0] / "made_up.mp4", run / "overlay.mp4")
    parsed = Page(write_report(run).path)
    assert parsed.data["painted"]
    assert not any(parsed.data["layers"][0]["masks"])
    assert any(parsed.data["layers"][1]["masks"])
    assert "painted in" in parsed.text


def test_a_video_without_sound_has_a_page(made, tmp_path):
    _, result, _, _ = made
    video = media.write_clip(replace(result.clip, waveform=None), tmp_path / "mute.mp4")
    result.save(tmp_path / "run", overlay=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = Page(write_report(tmp_path / "run", video=video).path).data
    assert {tuple(pair) for pair in data["wave"]} == {(0, 0)}
    assert data["spectrogram"].startswith("data:image/png")


def test_truth_of_another_clip_is_refused(run):
    (run.parent / "truth" / "clip_0003.png").unlink()
    with pytest.raises(ReportError, match=r"for each of 24 frames, got 23 .*--fps"):
        write_report(run, truth=run.parent / "truth")


def test_a_bare_result_of_other_frames_is_refused(run):
    edit(run / "bare" / "result.json", times=[0.0] * 24)
    with pytest.raises(ReportError, match="other time stamps.*--bare"):
        write_report(run)


def test_control_points_of_another_clip_are_refused(run):
    (run / "control_points.json").write_text(json.dumps({"flags": [1, 0]}))
    with pytest.raises(ReportError, match="2 flags for a result of 24 frames"):
        write_report(run)


def test_what_is_no_result_is_refused(tmp_path):
    with pytest.raises(ReportError, match="no finished result.*coprop run"):
        write_report(tmp_path)
    with pytest.raises(ReportError, match="does not contain any"):
        find_runs([tmp_path])


def test_a_result_with_report_and_bare_masks_is_still_ours(run, made):
    write_report(run)
    made[1].save(run, overlay=False)
    assert not (run / "report.html").exists()
    (run / "bare").mkdir()
    (run / "bare" / "diary.txt").write_text("mine")
    with pytest.raises(MediaError, match="bare/diary.txt"):
        made[1].save(run, overlay=False)


@pytest.fixture
def runs(scene, made, tmp_path):
    """Two runs, the second of which is as good as the bare model."""
    folder = tmp_path / "out"
    shutil.copytree(made[0] / "run", folder / "good")
    make_run(scene, tmp_path / "worse", backend=Late)
    shutil.copytree(tmp_path / "worse" / "run", folder / "#javascript:alert(1)")
    shutil.copy(made[0] / "made_up.mp4", folder)
    for name in ("good", "#javascript:alert(1)"):
        shutil.copytree(made[0] / "truth", tmp_path / "truth" / name)
    return folder


def test_the_table_has_the_worst_clip_first(runs):
    outcomes = list(write_reports(find_runs([runs]), truth=runs.parent / "truth"))
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    parsed = Page(outcomes[-1].output)
    scores = [clip["score"] for clip in parsed.data["clips"]]
    assert scores == sorted(scores)
    assert scores[0] < scores[1]
    links = [attrs["href"] for tag, attrs in parsed.tags if tag == "a"]
    assert links == ["./%23javascript%3Aalert%281%29/report.html", "./good/report.html"]
    assert refused_urls(parsed) == []
    assert [a["aria-sort"] for t, a in parsed.tags if "aria-sort" in a] == ["ascending"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are Unicode")
def test_a_name_that_is_not_utf_8_is_shown_and_linked(runs):
    edit(runs / "good" / "result.json", source="t\udce4nze.mp4")
    shutil.copy(runs / "made_up.mp4", os.fsencode(runs) + b"/t\xe4nze.mp4")
    os.rename(runs / "good", os.fsencode(runs) + b"/t\xe4nze")
    outcomes = list(write_reports(find_runs([runs])))
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    parsed = Page(outcomes[-1].output)
    assert "./t%E4nze/report.html" in [attrs["href"] for tag, attrs in parsed.tags if tag == "a"]
    assert "t?nze" in parsed.text


def test_without_truth_the_least_confident_clip_is_first(runs):
    doubtful = sorted((runs / "good" / "probs").iterdir())[3]
    Image.fromarray(np.full((48, 64), 100, np.uint8)).save(doubtful)
    parsed = Page(list(write_reports(find_runs([runs])))[-1].output)
    assert parsed.data["columns"][1] == "least_confidence"
    confidence = [clip["least_confidence"] for clip in parsed.data["clips"]]
    assert confidence[0] == pytest.approx(100 / 255, abs=0.01)
    assert confidence[0] < confidence[1]


def coprop(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def test_a_run_that_cannot_be_shown_does_not_stop_the_rest(runs):
    shutil.rmtree(runs / "good" / "probs")
    done = coprop("report", runs, "--json")
    assert done.exit_code == 1
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [outcome["status"] for outcome in outcomes] == ["done", "failed", "done"]
    assert "--redo" in outcomes[1]["error"]
    assert coprop("report", runs, "--video", runs / "made_up.mp4").exit_code == 2


def test_run_writes_its_report_and_the_bare_models_masks(made, tmp_path):
    model = tmp_path / "bright.py"
    model.write_text("def bright(frames, audio):\n    return frames.mean(1, keepdim=True) - 0.5\n")
    options = ("run", made[0] / "made_up.mp4", "--backend", f"{model}:bright", "-q", "--json")
    options = (*options, "-o", tmp_path / "out", "--no-overlay")
    assert coprop(*options).exit_code == 0
    folder = tmp_path / "out" / "made_up"
    assert not (folder / "bare").exists()
    done = coprop(*options, "--report", "--bare")
    assert json.loads(done.stdout)["status"] == "skipped"
    layers = Page(folder / "report.html").data["layers"]
    assert [layer["name"] for layer in layers] == ["coprop", "bare"]
    assert len(layers[1]["areas"]) == 6
    assert coprop(*options, "--redo").exit_code == 0
    assert not (folder / "report.html").exists()


SPANS = [(float(t), float(t + 1)) for t in range(6)]


def reasons(log, source="some", index=3):
    points = ControlPoints.from_indices([0, index], 6, source, log)
    return [tuple(reason) for reason in reasons_of(points, SPANS)[1]]


def test_each_provider_says_why():
    boundary = {"second": 3.2, "rule": "onset", "score": 2.5}
    heard = ("novelty", "a sound begins at 3.20 s, score 2.5")
    assert reasons({"boundaries": [boundary]}, "novelty") == [heard]
    assert reasons({"boundaries": [boundary | {"kept": False}]})[0][1].startswith("proposed this")
    assert (
        "0.42, the threshold 0.9"
        in reasons({"similarity": [1, 1, 0.42, 1, 1], "threshold": 0.9})[0][1]
    )
    assert reasons({"spans": {"dog": [[3.1, 5.0]], "cat": [[0.0, 2.8]]}}, "sed") == [
        ("sed", "dog begins at 3.10 s"),
        ("sed", "cat ends at 2.80 s"),
    ]
    members = [
        {"source": "novelty", "indices": [0, 3], "log": {"boundaries": [boundary]}},
        {"source": "cosine", "indices": [0, 1], "log": {}},
    ]
    vote = {"frame": 3, "share": 0.5, "voters": [0]}
    assert reasons({"votes": [vote], "members": members}, "ensemble") == [
        ("ensemble", "novelty of 2 voted for it: 50%"),
        heard,
    ]


def test_what_a_language_model_answered_is_quoted():
    window = {"seconds": [0, 6], "conversation": [{"answer": "1 0 0 1 0 0", "flags": [1]}]}
    assert reasons({"windows": [window]}, "rcpg") == [
        ("rcpg", "for 0 to 6 s the model answered “1 0 0 1 0 0”")
    ]
    inner = {"windows": [window | {"seconds": [0, 4]}]}
    asked = {"frames": [2, 6], "source": "one_step", "log": inner}
    assert reasons({"asked": [asked]}, "gate")[0][0] == "one_step"
    assert reasons({"asked": [asked | {"frames": [4, 6]}]}, "gate")[0][0] == "gate"


@pytest.mark.parametrize(
    "log",
    [
        {"boundaries": 3},
        {"boundaries": [{"second": "soon"}, None]},
        {"members": [{"indices": [3], "log": 7}]},
        {"windows": [{"seconds": "all"}, {"seconds": [0, 6], "conversation": "?"}]},
        {"asked": [{"frames": []}, {"frames": "ab"}, {"frames": ["a", "b"]}]},
        {"spans": {"dog": 3, "cat": [[1]]}},
        {"votes": [{"frame": 3, "voters": 1}]},
        {"similarity": "no"},
        {"fallback_log": []},
        {"boundaries": [{"second": 3.0, "score": {}}]},
    ],
)
def test_edited_logs_do_no_harm(log):
    assert reasons(log)


@pytest.fixture
def semantic(tmp_path):
    """A run of a model of 71 classes: a dog in every other frame."""
    video = plain(tmp_path / "in.mp4")
    return result_of(media.read_clip(video), class_id=17, num_classes=71).save(tmp_path / "run")


def test_classes_are_named_in_the_colours_of_their_masks(semantic, made):
    parsed = Page(write_report(semantic).path)
    entries = [attrs for tag, attrs in parsed.tags if tag == "li" and "data-class" in attrs]
    assert entries == [{"data-class": "17"}]
    assert "dog" in parsed.text
    colour = "#" + bytes(media.class_colours()[17].tolist()).hex()
    assert [a["fill"] for tag, a in parsed.tags if tag == "circle"] == [colour]
    assert parsed.data["layers"][0]["classes"] == [[17], [], [17]]
    # A model of one class needs no legend.
    assert not [attrs for _, attrs in made[3].tags if attrs.get("class") == "legend"]


def test_class_names_are_text(semantic, tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps([f"class {k} {EVIL}" for k in range(71)]))
    done = CliRunner().invoke(cli.app, ["report", str(semantic), "--classes", str(names)])
    assert done.exit_code == 0, done.output
    parsed = Page(semantic / "report.html")
    assert f"class 17 {EVIL}" in parsed.text
    assert not [tag for tag, _ in parsed.tags if tag == "img"]
    names.write_text("[]")
    with pytest.raises(MediaError, match="Expected 71 names .*, got 0"):
        write_report(semantic, classes=names)
