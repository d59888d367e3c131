"""The page to try it on: what it answers, and that Gradio can build it."""

import importlib.util
import json
import os
import tempfile
from html import unescape
from pathlib import Path

import make_media
import pytest
from make_listening import ScriptedEar, ScriptedEye

from coprop_plugin.control_points.listening import Listener
from coprop_plugin.errors import MediaError
from coprop_plugin.open_vocabulary import OpenVocabulary

PATH = Path(__file__).resolve().parent.parent / "examples" / "app.py"


@pytest.fixture
def app(monkeypatch):
    # It lowers limits in the environment: for this test alone.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    spec = importlib.util.spec_from_file_location("app", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOY = "bright pixels (a toy)"


def test_a_clip_becomes_a_line_a_video_and_a_report(app, tmp_path):
    video = make_media.plain(tmp_path / "my <clip>.mp4", seconds=2)
    told = []
    summary, painted, frame, words, kept = app.segment(
        str(video), TOY, "every_n", 2, lambda share, step: told.append((share, step))
    )
    assert summary.startswith("4 frames; control points at 0.00")
    assert (words, kept) == ("", None)
    assert Path(painted).stat().st_size > 0
    assert told[-1] == (1.0, "Propagating masks")
    assert {step for _, step in told} == {"Running the model", "Propagating masks"}
    # The page is inside a sandbox, and cannot end it.
    opening, page = frame.split(' srcdoc="', 1)
    assert 'sandbox="allow-scripts"' in opening
    assert page.count('"') == 1
    assert unescape(page).lstrip().lower().startswith("<!doctype html>")


def test_words_can_be_changed_and_segmented_again(app, tmp_path):
    video = make_media.plain(tmp_path / "plain.mp4", seconds=2)
    ear = ScriptedEar(dog=[0.9] * 2 + [0.0] * 2, cat=[0.0] * 2 + [0.9] * 2)
    eye = ScriptedEye(dog=[(0, 0, 8, 8)], cat=[(8, 8, 16, 16)], bird=[(0, 8, 8, 16)])
    app.MODELS["words"] = dict(
        model=OpenVocabulary(Listener(ear), eye), propagator="hold", reanchor=None
    )
    *_, words, kept = app.segment(str(video), "words", app.OWN, 2)
    content = json.loads(words)
    assert content["sounds"]["segments"] == {"0": ["dog"], "2": ["cat"]}
    content["sounds"]["segments"]["2"] = ["bird"]
    eye.calls.clear()
    edited = (str(video), "words", json.dumps(content), 2)
    summary, painted, *_, words, again = app.segment_again(*edited, kept)
    assert summary.startswith("4 frames; control points at 0.00, 1.00 s")
    assert Path(painted).is_file()
    assert json.loads(words)["sounds"]["classes"] == ["dog", "cat", "bird"]
    # Only the segment whose word was changed.
    assert (ear.calls, eye.calls) == (1, [("bird",)])
    # A run of another frame rate, or one that is deleted, is of no use.
    for other in (again._replace(fps=4), again._replace(folder=tmp_path / "none"), None):
        eye.calls.clear()
        app.segment_again(*edited, other)
        assert eye.calls == [("dog",), ("bird",)]
    with pytest.raises(app.TooMuchWork):
        app.segment_again(*edited[:2], edited[2].replace("bird", "cow"), 2, again, max_work_s=-1)


def test_presets_with_downloads_are_offered_if_the_owner_says_so(monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "COPROP_APP_PRESETS": "fast"})
    spec = importlib.util.spec_from_file_location("app", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [name for name in module.MODELS if name.startswith("fast")]
    assert not [name for name in module.MODELS if name.startswith("balanced")]


def test_uploads_that_are_too_much_are_refused(app, tmp_path):
    video = make_media.plain(tmp_path / "long.mp4", seconds=3)
    assert os.environ["COPROP_MAX_DURATION_S"] == "120"
    os.environ["COPROP_MAX_DURATION_S"] = "2"
    with pytest.raises(MediaError, match="seconds exceeds the limit of 2"):
        app.segment(str(video), TOY, "novelty", 2)


def test_runs_leave_nothing_but_a_video_that_is_deleted_later(app, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    video = make_media.plain(tmp_path / "plain.mp4", seconds=2)
    bad = make_media.text(tmp_path / "text.mp4")
    for _ in range(2):
        _, painted, page, *_ = app.segment(str(video), TOY, "every_n", 2)
        with pytest.raises(MediaError):
            app.segment(str(bad), TOY, "every_n", 2)
        assert str(tmp_path) not in unescape(page)
        left = [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]
        assert left == [Path(painted)]
        os.utime(painted, (0, 0))


def test_a_clip_that_takes_too_long_is_ended(app, tmp_path):
    video = make_media.plain(tmp_path / "plain.mp4", seconds=2)
    with pytest.raises(app.TooMuchWork, match="takes more than -1 s. Choose fewer frames"):
        app.segment(str(video), TOY, "every_n", 2, max_work_s=-1)


def test_visitors_see_limits_and_no_paths(app):
    assert "Clips of up to 2 minutes, 1080p and 200mb" in app.LIMITS
    video = "/tmp/gradio/3f/my clip.mp4"
    told = f"{video} cannot be opened, as in /tmp/coprop-1/result/masks/00001.png: 3/4 are missing."
    assert app.without_paths(told, video) == (
        "my clip.mp4 cannot be opened, as in 00001.png: 3/4 are missing."
    )


def test_the_page_is_built_and_calls_the_library(app, tmp_path):
    gradio = pytest.importorskip("gradio", reason="an extra: pip install '.[ui]'")
    page = app.build()
    assert isinstance(page, gradio.Blocks)
    video = make_media.plain(tmp_path / "plain.mp4", seconds=2)
    button, again = page.fns.values()
    summary, painted, frame, *_ = button.fn(str(video), TOY, "every_n", 2)
    assert summary.startswith("4 frames")
    assert Path(painted).is_file()
    assert "<iframe" in frame
    with pytest.raises(gradio.Error, match="Upload a clip first"):
        button.fn(None, TOY, "every_n", 2)
    with pytest.raises(gradio.Error, match="edited words cannot be read"):
        again.fn(str(video), TOY, "dog", 2, None)
    with pytest.raises(gradio.Error, match="cannot be opened as video"):
        button.fn(str(make_media.text(tmp_path / "text.mp4")), TOY, "every_n", 2)
