"""The page of a run in a real browser: it plays, seeks, compares, and asks for nothing outside."""

import json
import shutil

import pytest
from chromium import Chromium, find_chromium
from make_media import plain
from make_results import result_of
from make_runs import make_run

from coprop_plugin import media
from coprop_plugin.report import find_runs, write_report, write_reports
from coprop_plugin.types import ControlPoints

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="needs Chromium (Debian: apt-get install chromium)"
)
# Read from a copy: Chromium warns of canvases that are read again and again.
READ = """(id, x, y, width, height) => {
  const source = document.getElementById(id);
  const copy = new OffscreenCanvas(source.width, source.height);
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(source, 0, 0);
  return [...context.getImageData(x, y, width || copy.width, height || copy.height).data];
}"""
PAINTED = f"({READ})('masks', 0, 0).filter((value, k) => k % 4 === 3 && value).length"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def made(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    run, result = make_run(scene, folder)
    return folder, result, write_report(run, truth=folder / "truth")


@pytest.fixture
def shown(browser, made):
    browser.errors.clear()
    browser.requests.clear()
    browser.open(made[2].path)
    browser.until("video.readyState >= 2")
    yield browser
    assert browser.errors == []
    here = (made[0].resolve().as_uri(), "data:", "blob:")
    assert [url for url in browser.requests if not url.startswith(here)] == []


def settled(browser, frame):
    browser.until(f"!video.seeking && frameAt(video.currentTime) === {frame}")
    browser.until("[...pictures.values()].every((m) => [...m.values()].every((i) => i.complete))")
    browser.run("render()")


def text(browser, name):
    return browser.run(f"document.getElementById('{name}').textContent")


def test_it_plays_and_stops(shown):
    assert shown.run("video.paused")
    shown.run("document.getElementById('play').click()")
    shown.until("video.currentTime > 0.3")
    assert shown.run("document.getElementById('play').getAttribute('aria-label')") == "Pause"
    shown.press(" ")
    shown.until("video.paused")
    assert shown.run("video.webkitAudioDecodedByteCount") > 0
    assert shown.run("video.webkitVideoDecodedByteCount") > 0
    # The head stands where the video does.
    shown.until("Math.abs(parseFloat(timeline.head.style.left) - video.currentTime / 0.06) < 0.01")


def test_every_frame_shows_its_own_mask(shown, made):
    masks = made[1].masks > 0
    for frame in (0, 5, 9, 17, 22):
        shown.run(f"goTo({frame})")
        settled(shown, frame)
        assert shown.run(PAINTED) == int(masks[frame].sum())
        assert f"frame {frame} " in text(shown, "readout")
        share = float(masks[frame].double().mean()) * 100
        assert f"{share:.1f} % of the frame" in text(shown, "caption")


def test_keys_move_by_frames_and_control_points(shown, made):
    points: ControlPoints = made[1].control_points
    shown.press("ArrowRight")
    settled(shown, 1)
    shown.press("ArrowRight")
    settled(shown, 2)
    shown.press("ArrowLeft")
    settled(shown, 1)
    shown.press("n")
    settled(shown, points.indices[1])
    shown.press("n")
    settled(shown, points.indices[2])
    assert "control point" in text(shown, "said")
    shown.press("p")
    settled(shown, points.indices[1])
    shown.press("End")
    settled(shown, 23)
    shown.press("Home")
    settled(shown, 0)
    said = shown.run("document.getElementById('scrubber').getAttribute('aria-valuetext')")
    assert said.startswith("0.00 seconds, frame 0 · segment 1 of")


def test_a_click_on_the_timeline_seeks(shown):
    box = shown.run("(({left, top, width}) => [left, top, width])(plot.getBoundingClientRect())")
    shown.run("window.scrollTo(0, 0)")
    shown.click(box[0] + box[2] * 0.75, box[1] + 60)
    shown.until("!video.seeking && Math.abs(video.currentTime - 4.5) < 0.05")
    assert shown.run("document.querySelector('#points tr.now') !== null")
    shown.run("document.querySelector('#points tbody tr:nth-child(2) button').click()")
    shown.until("!video.seeking && frameAt(video.currentTime) === data.points[1].frame")


def test_masks_switch_off(shown, made):
    shown.run("goTo(5)")
    settled(shown, 5)
    assert shown.run(PAINTED) > 0
    shown.press("m")
    assert shown.run(PAINTED) == 0
    assert not shown.run("document.getElementById('showMasks').checked")


def test_the_bare_model_stands_beside_on_the_same_clock(shown):
    assert shown.run("beside.name") == "bare"
    assert not shown.run("document.getElementById('other').hidden")
    # Frame 9 has begun to sound otherwise; the bare model is late.
    shown.run("goTo(9)")
    settled(shown, 9)
    numbers = text(shown, "otherCaption")
    assert numbers == shown.run("figures(data.layers[1], 9)")
    assert numbers != text(shown, "caption")
    assert max(shown.run(f"({READ})('otherScreen', 20, 20, 1, 1).slice(0, 3)")) > 0
    shown.press("c")
    assert text(shown, "otherName") == "Truth"
    shown.press("c")
    assert shown.run("document.getElementById('other').hidden")


def test_whatever_can_be_pressed_has_a_name_and_is_reached_by_tab(shown):
    tree = shown.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "slider", "switch", "combobox", "radio", "link")
    found = [node for node in tree if node.get("role", {}).get("value") in roles]
    assert len(found) > 10
    assert [node for node in found if not node.get("name", {}).get("value")] == []
    reached = set()
    for _ in range(12):
        shown.press("Tab")
        reached.add(shown.run("document.activeElement.id || document.activeElement.name"))
    assert {"play", "previous", "next", "showMasks", "speed", "sound", "scrubber"} <= reached


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_sideways(shown, made, width):
    shown.open(made[2].path, width=width, height=800)
    shown.until("video.readyState >= 2")
    assert shown.run("document.documentElement.scrollWidth") <= width
    side_by_side = shown.run(
        "document.getElementById('other').getBoundingClientRect().left > innerWidth / 3"
    )
    assert side_by_side == (width > 700)


def test_it_is_light_or_dark_as_the_reader_has_it(shown, made):
    brightness = (
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)"
        ".reduce((sum, value) => sum + Number(value), 0)"
    )
    assert shown.run(brightness) > 600
    shown.open(made[2].path, scheme="dark")
    assert shown.run(brightness) < 150


def test_a_video_beside_the_page_plays(browser, made, tmp_path):
    shutil.copytree(made[0] / "run", tmp_path / "run")
    browser.errors.clear()
    video = made[0] / "made_up.mp4"
    browser.open(write_report(tmp_path / "run", video=video, embedded_bytes=0).path)
    browser.until("video.readyState >= 2")
    assert browser.run("video.currentSrc").endswith("/run/report.mp4")
    browser.run("goTo(5)")
    settled(browser, 5)
    assert browser.run(PAINTED) > 0
    assert browser.errors == []
    (tmp_path / "run" / "report.mp4").unlink()
    browser.open(tmp_path / "run" / "report.html")
    browser.until("!document.getElementById('failure').hidden")
    assert "report.mp4 must be in the same folder" in text(browser, "failure")


def test_an_answer_with_a_script_in_it_is_shown_and_not_run(browser, made, tmp_path):
    evil = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
    shutil.copytree(made[0] / "run", tmp_path / "run")
    points = tmp_path / "run" / "control_points.json"
    content = json.loads(points.read_text()) | {
        "source": evil,
        "log": {evil: evil, "notes": [evil]},
    }
    points.write_text(json.dumps(content))
    browser.errors.clear()
    browser.open(write_report(tmp_path / "run", video=made[0] / "made_up.mp4").path)
    browser.until("video.readyState >= 2")
    assert browser.run("document.querySelector('main').textContent").count(evil) > 4
    assert browser.run("window.ran") is None
    # And if one got in all the same, the page's policy would stop it.
    browser.run("document.body.appendChild(document.createElement('script')).text = 'ran = 1'")
    assert browser.run("window.ran") is None
    assert "Content Security Policy" in " ".join(browser.errors)


def test_the_table_sorts(browser, made, scene):
    out = made[0]
    make_run(scene, out / "another", name="another.mp4")
    runs = find_runs([out / "run", out / "another" / "run"])
    outcomes = list(write_reports(runs, table=out / "clips.html"))
    browser.errors.clear()
    browser.open(outcomes[-1].output)
    heading = "[...document.querySelectorAll('th button')].find((b) => b.textContent === 'Clip')"
    order = "rows.map((row) => Number(row.dataset.clip)).join()"
    names = "rows.map((row) => row.cells[0].textContent.trim()).join()"
    assert browser.run(order) == "0,1"
    browser.run(f"{heading}.click()")
    assert browser.run(names) == "another.mp4,made_up.mp4"
    browser.run(f"{heading}.click()")
    assert browser.run(names) == "made_up.mp4,another.mp4"
    assert browser.run("headings[0].getAttribute('aria-sort')") == "descending"
    browser.run("document.querySelector('tbody a').click()")
    browser.until("location.pathname.endsWith('/run/report.html') && document.readyState")
    assert browser.errors == []


def test_classes_that_sound_stand_out_in_the_legend(browser, tmp_path):
    video = plain(tmp_path / "in.mp4")
    result = result_of(media.read_clip(video), class_id=17, num_classes=71)
    browser.errors.clear()
    browser.open(write_report(result.save(tmp_path / "run", overlay=False)).path)
    browser.until("video.readyState >= 2")
    stands_out = "document.querySelector('.legend li').classList.contains('now')"
    for frame, sounds in ((0, True), (1, False), (2, True)):
        browser.run(f"goTo({frame})")
        settled(browser, frame)
        assert browser.run(stands_out) == sounds
    assert browser.errors == []
