"""`coprop anchor annotate`: its page, and that every change is saved."""

import base64
import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
import wave
from html import unescape
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from coprop_plugin import media
from coprop_plugin.batch import AnnotationServer
from coprop_plugin.errors import MediaError
from coprop_plugin.types import Clip
from coprop_plugin.world import Scene


@pytest.fixture(scope="module")
def clip():
    return Scene.made_up(seed=3, duration_s=3.0, size=(32, 48)).clip(fps=2)


@pytest.fixture
def server(clip, tmp_path):
    def broken():
        raise MediaError("b.mp4 has no sound.")

    clips = {"a": lambda: clip, "<b>": broken}
    with AnnotationServer(clips, tmp_path / "made.json", ["dog", "girl"]) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def ask(url, body=None, **headers):
    headers = {"Content-Type": "application/json"} | headers if body is not None else headers
    request = urllib.request.Request(url, None if body is None else body.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_page_shows_a_clip_and_plays_it(server, clip):
    status, page = ask(server.url)
    assert status == 200
    content = json.loads(re.search(rb'id="data">(.*?)</script>', page)[1])
    assert content == {"clips": ["a", "<b>"], "done": [False, False], "names": ["dog", "girl"]}
    assert "connect-src 'self'" in unescape(page.decode())
    status, body = ask(f"{server.url}clips/0")
    view = json.loads(body)
    assert (view["duration_s"], view["seconds"], view["names"]) == (3.0, [0.0], [None])
    assert len(view["frames"]) == clip.num_frames
    for source in (*view["frames"], view["spectrogram"]):
        Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))).load()
    with wave.open(BytesIO(ask(f"{server.url}audio/0")[1])) as sound:
        assert sound.getnframes() / sound.getframerate() == 3.0


def test_every_change_is_saved_and_read_again(server, clip):
    body = json.dumps({"seconds": [0, 1.25], "names": [["dog"], []]})
    assert ask(f"{server.url}points/0", body)[0] == 200
    (name, made), *_ = media.read_annotations(server.out).items()
    assert (name, made.seconds, made.names) == ("a", (0.0, 1.25), (("dog",), ()))
    assert made.duration_s == 3.0
    # It is a file of control points, too.
    from coprop_plugin.control_points import FileProvider

    named = Clip(clip.frames, clip.waveform, clip.sample_rate, times=clip.times, name="a")
    assert FileProvider(server.out).propose(named).indices == [0, 2]
    with AnnotationServer({"a": lambda: clip}, server.out) as again:
        assert again.view(0)["seconds"] == [0.0, 1.25]
        assert '"done":[true]' in again.page()
        assert '"names":["dog"]' in again.page()


@pytest.mark.parametrize(
    "body",
    [
        "[",
        "[]",
        '{"seconds": [0, "x"]}',
        '{"seconds": [0], "names": [["a"], []]}',
        '{"seconds": [0, NaN], "names": [null, null]}',
        '{"seconds": [0, 99], "names": [null, null]}',
    ],
)
def test_what_is_no_annotation_is_refused_and_nothing_is_saved(server, body):
    assert ask(f"{server.url}points/0", body)[0] == 400
    assert not server.out.exists()


def test_a_clip_that_cannot_be_read_says_why(server):
    assert ask(f"{server.url}clips/1") == (400, b"b.mp4 has no sound.")


def test_only_who_knows_the_address_is_served(server):
    root = server.url.rsplit("/", 2)[0]
    good = '{"seconds": [0]}'
    assert ask(root + "/")[0] == 404
    assert ask(root + "/guess/points/0", good)[0] == 404
    # A page elsewhere: under another name, or without the type that browsers ask leave for.
    assert ask(server.url, Host="evil.example")[0] == 404
    assert ask(f"{server.url}points/0", good, **{"Content-Type": "text/plain"})[0] == 400
    for path in ("clips/2", "clips/-1", "clips/x", "clips", "nothing/0", "points/0"):
        assert ask(server.url + path)[0] == 400
    assert not server.out.exists()
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_keys_set_name_and_remove_points_and_each_change_is_saved():
    """The page's own script, on a stand-in for a browser's page."""
    script = files("coprop_plugin.report") / "templates" / "annotate.js"
    keys = (
        "1 Shift+ArrowRight Shift+ArrowRight Enter 2 0 type:owl [ ] Delete Shift+ArrowRight Enter"
    )
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("annotate_dom.js")), str(script), *keys.split(), " "],
        capture_output=True,
        text=True,
        check=True,
    )
    made = json.loads(done.stdout)
    # Clip 0 is done already, so that the page opens the other one.
    assert {path for path, _ in made["saved"]} == {"points/1"}
    assert [(body["seconds"], body["names"]) for _, body in made["saved"]] == [
        ([0], [["dog"]]),
        ([0, 2], [["dog"], None]),
        ([0, 2], [["dog"], ["girl"]]),
        ([0, 2], [["dog"], []]),
        ([0, 2], [["dog"], ["owl"]]),
        ([0], [["dog"]]),
        ([0, 3], [["dog"], None]),
    ]
    assert made["shown"] == ["dog", "?"]
    assert made["playing"]


def test_annotations_are_converted(tmp_path):
    from typer.testing import CliRunner

    from coprop_plugin.cli import app

    (tmp_path / "a.txt").write_text("0\t1.5\tdog\n1.5\t3\tgirl\n")
    words = ["anchor", "convert", tmp_path / "a.txt", "-f", "textgrid", "-o", tmp_path / "praat"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "praat" / "a.TextGrid")
    made = media.read_annotations(tmp_path / "praat")["a"]
    assert made.names[:2] == (("dog",), ("girl",))
