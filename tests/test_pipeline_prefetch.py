"""Control points are prefetched: the language model works while earlier frames are segmented."""

import threading

import pytest
import torch
from chat_server import ChatServer, after, answers
from make_media import write_long

from coprop_plugin import ControlPoints, wrap
from coprop_plugin.control_points import OneStepProvider
from coprop_plugin.control_points.llm import OpenAICompatibleLLM
from coprop_plugin.errors import AudioLLMError, ControlPointError
from coprop_plugin.pipeline import (
    PrefetchedControlPoints,
    StreamedVideo,
    WindowLimits,
    read_audio,
)

SECONDS, FPS = 60, 4
# Windows of ten seconds that overlap by two.
WINDOWS = 8


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Noise for ten seconds, silence for ten, and so on."""
    return write_long(tmp_path_factory.mktemp("ahead") / "long.mp4", SECONDS, fps=FPS)


SMALL = WindowLimits(frames_bytes=1, context_s=1.0, audio_samples=1000)


class ScriptedLLM:
    """Tells sound from silence each second; `before(k)` is called before answer k."""

    name, model_id, max_audio_s, settings = "scripted", "stub", None, {}

    def __init__(self, before=lambda k: None):
        self.before, self.calls = before, 0

    def chat(self, messages, waveform, sample_rate, *, schema=None):
        self.calls += 1
        answer = self.before(self.calls - 1)
        seconds = waveform.split(sample_rate)
        loud = [float(second.abs().mean()) > 0.01 for second in seconds]
        flags = [1, *(int(a != b) for a, b in zip(loud, loud[1:], strict=False))]
        return answer or str(flags)


def provider_of(llm, **options):
    return OneStepProvider(llm, window_s=10.0, overlap_s=2.0, **options)


def wrapped(provider, **options):
    bright = lambda frames, audio: frames.mean(1, keepdim=True) - 0.5  # noqa: E731
    options = dict(propagator="hold", control_points=provider, reanchor=None) | options
    model = wrap(bright, backend="callable", **options)
    model.window_limits = SMALL
    return model


def same(ours, theirs):
    assert [frame.index for frame in ours] == [frame.index for frame in theirs]
    for frame, other in zip(ours, theirs, strict=True):
        assert frame.is_keyframe == other.is_keyframe
        assert torch.equal(frame.class_probs, other.class_probs)


def audio_of(video, fps=FPS):
    return read_audio(video, fps, limits=SMALL)


def calls_about(unread):
    """Return the numbers of the calls about some windows; an unreadable answer is retried once."""
    window_of = [k for k in range(WINDOWS) for _ in range(2 if k in unread else 1)]
    return {call for call, window in enumerate(window_of) if window in unread}


@pytest.mark.parametrize("fps", [1, FPS])
@pytest.mark.parametrize("unread", [(), (0, 1), (2,), range(WINDOWS)])
def test_final_control_points_do_not_change_later(video, fps, unread):
    sound, silent = audio_of(video, fps), calls_about(unread)
    llm_stub = ScriptedLLM(lambda k: "I cannot hear." if k in silent else None)
    provider = provider_of(llm_stub, fallback={"type": "every_n", "n": 9})
    *parts, (last, settled) = provider.propose_ahead(sound)
    llm_stub.calls = 0
    whole = provider.propose(sound)
    assert settled == sound.num_frames
    assert last == whole
    assert last.log == whole.log
    for points, known in parts:
        assert 0 < known < sound.num_frames
        assert points.indices == [i for i in last.indices if i < known]
        if len(points) > 1:
            assert torch.equal(points.starts_s, last.starts_s[: len(points)])
    # As long as nothing could be read, all may be left to the fallback; the last part is `last`.
    before = next((k for k in range(WINDOWS) if k not in unread), WINDOWS)
    assert len(parts) == max(0, WINDOWS - 1 - before)
    assert [known for _, known in parts] == sorted({known for _, known in parts})


def test_frames_are_returned_while_the_model_works(video):
    seen = threading.Event()

    def wait(k):
        # A stream that made all calls first would wait here for a frame that never comes.
        assert k < 3 or seen.wait(60)

    llm_stub = ScriptedLLM()
    provider = provider_of(llm_stub)
    whole = list(wrapped(provider.propose(audio_of(video))).stream(video, fps=FPS))
    llm_stub.calls, llm_stub.before, artifacts = 0, wait, []
    stream = wrapped(provider).stream(video, fps=FPS, hook=lambda *call: artifacts.append(call))
    first = next(stream)
    # One answer was needed, one is queued, and one more is being computed.
    assert llm_stub.calls <= 4
    seen.set()
    same([first, *stream], whole)
    assert llm_stub.calls == WINDOWS
    (points,) = (artifact for step, artifact, *_ in artifacts if step == "control_points")
    assert points.log["calls"] == WINDOWS


def test_a_resumed_stream_prefetches_too(video):
    provider = provider_of(ScriptedLLM())
    whole = list(wrapped(provider).stream(video, fps=FPS))
    start = [frame.index for frame in whole if frame.is_keyframe][3]
    rest = wrapped(provider).stream_part(StreamedVideo(video, FPS, limits=SMALL), start=start)
    same(list(rest), whole[start:])


@pytest.mark.parametrize("reanchor", ["auto", "uncertain"])
def test_segments_whose_predictions_are_compared_are_prefetched_too(video, reanchor):
    provider = provider_of(ScriptedLLM())
    model = wrapped(provider, reanchor=reanchor)
    points = provider.propose(audio_of(video))
    whole = list(model.stream_part(StreamedVideo(video, FPS, limits=SMALL), points))
    same(list(model.stream(video, fps=FPS)), whole)
    rest = model.stream_part(StreamedVideo(video, FPS, limits=SMALL), start=21)
    same(list(rest), whole[21:])


def test_an_error_is_raised_after_the_frames_before_it(video):
    def fails(k):
        if k == 4:
            raise AudioLLMError("The server is gone.")

    whole = list(wrapped(provider_of(ScriptedLLM())).stream(video, fps=FPS))
    stream, frames = wrapped(provider_of(ScriptedLLM(fails))).stream(video, fps=FPS), []
    with pytest.raises(AudioLLMError, match="gone"):
        frames.extend(stream)
    # The fourth answer settles what comes before the fifth window, which begins at 32 s.
    assert 28 * FPS < len(frames) < 32 * FPS
    same(frames, whole[: len(frames)])


def test_closing_a_stream_stops_the_prefetching(video):
    llm_stub = ScriptedLLM()
    stream = wrapped(provider_of(llm_stub)).stream(video, fps=FPS)
    next(stream)
    stream.close()
    for thread in threading.enumerate():
        if thread.name == "coprop-prefetch":
            thread.join(60)
            assert not thread.is_alive()
    assert llm_stub.calls <= 4


def test_a_server_gets_one_request_at_a_time(video):
    with ChatServer(after(0.2, answers(str([1] + [0] * 9)))) as server:
        llm = OpenAICompatibleLLM("stub", server.url)
        stream = wrapped(provider_of(llm)).stream(video, fps=FPS)
        next(stream)
        requests = len(server.requests)
        frames = sum(1 for _ in stream)
    assert requests <= 4
    assert len(server.requests) == WINDOWS
    assert server.most_at_once == 1
    assert frames == SECONDS * FPS - 1


class Ending:
    """A provider that yields some points and then ends, or yields none at all."""

    def __init__(self, *parts):
        self.parts = parts

    def propose(self, clip):
        return ControlPoints.from_indices([0], clip.num_frames)

    def propose_ahead(self, clip):
        for final in self.parts:
            yield self.propose(clip), final


@pytest.mark.parametrize(("parts", "after"), [((), 0), ((40,), 40)])
def test_a_provider_that_ends_early_is_an_error(video, parts, after):
    """Without the check the stream would wait forever."""
    frames = []
    with pytest.raises(ControlPointError, match=f"Ending.propose_ahead.*240.*ended after {after}"):
        frames.extend(wrapped(Ending(*parts)).stream(video, fps=FPS))
    assert len(frames) <= after


def test_an_error_is_raised_each_time(video):
    prefetched = PrefetchedControlPoints(Ending(), audio_of(video))
    for _ in range(2):
        with pytest.raises(ControlPointError, match="ended after 0"):
            prefetched.until(1)
    prefetched.close()
