"""The chat-completions client against a real server on this machine."""

import asyncio
import base64
import io
import json
import logging
import time
import traceback
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from chat_server import (
    ChatServer,
    after,
    answers,
    completion,
    hangs_up,
    says,
    stops_halfway,
    trickles,
    trickles_headers,
)

from coprop_plugin.control_points.llm import OpenAICompatibleLLM
from coprop_plugin.errors import AudioLLMError, CutOffAnswerError

QUESTION = [{"role": "system", "content": "Listen."}, {"role": "user", "content": "Which frames?"}]
SCHEMA = {"type": "object", "properties": {"control_points": {"type": "array"}}}
TONE = 0.5 * torch.sin(torch.arange(44_100) / 44_100 * 2 * torch.pi * 440)
KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COPROP_LLM_API_KEY", KEY)


@pytest.fixture
def slept(monkeypatch):
    """Waits are recorded, not slept."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def client(server, **options):
    chosen = {"timeout_s": 5.0, "backoff_s": 0.01, "retries": 2, **options}
    return OpenAICompatibleLLM("some/model", server.url, **chosen)


def ask(llm, **options):
    return llm.chat(QUESTION, TONE, 44_100, **options)


def test_the_request_has_the_fields_that_servers_want():
    with ChatServer(answers(" [1, 0]\n")) as server:
        assert ask(client(server, seed=7, max_tokens=99)) == "[1, 0]"
    [request] = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["Content-Type"] == "application/json"
    assert request["headers"]["Authorization"] == f"Bearer {KEY}"
    body = request["body"]
    system, user = body.pop("messages")
    assert body == {"model": "some/model", "temperature": 0.0, "seed": 7, "max_tokens": 99}
    assert system == QUESTION[0]
    assert user["role"] == "user"
    assert user["content"][1] == {"type": "text", "text": "Which frames?"}
    assert user["content"][0]["type"] == "input_audio"
    assert user["content"][0]["input_audio"]["format"] == "wav"


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_the_sound_arrives_as_a_wav_of_the_right_length_rate_and_tone(rate):
    with ChatServer(answers("yes")) as server:
        ask(client(server, sample_rate=rate))
    content = server.requests[0]["body"]["messages"][1]["content"]
    with wave.open(io.BytesIO(base64.b64decode(content[0]["input_audio"]["data"]))) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (rate, 1, 2)
        assert wav.getnframes() == rate
        samples = np.frombuffer(wav.readframes(rate), "<i2")
    assert np.abs(np.fft.rfft(samples)).argmax() == 440
    assert 0.49 < np.abs(samples[100:-100]).max() / 32767 < 0.51


def test_fields_can_be_added_and_taken_out():
    extra = {"max_tokens": None, "max_completion_tokens": 5}
    with ChatServer(answers("yes")) as server:
        llm = client(server, seed=None, extra_body=extra)
        ask(llm)
    assert llm.settings["extra_body"] == extra
    body = server.requests[0]["body"]
    assert body["max_completion_tokens"] == 5
    assert not {"max_tokens", "seed"} & body.keys()


def test_without_a_key_none_is_sent(monkeypatch):
    monkeypatch.delenv("COPROP_LLM_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ChatServer(answers("yes")) as server:
        ask(client(server))
        assert "Authorization" not in server.requests[0]["headers"]
        ask(client(server, api_key_env="OPENAI_API_KEY"))
        assert server.requests[1]["headers"]["Authorization"] == f"Bearer {KEY}"


def test_a_schema_is_sent_as_response_format_whether_or_not_it_is_honoured():
    with ChatServer(answers('{"control_points": [1]}'), answers("I hear a dog.")) as server:
        assert ask(client(server), schema=SCHEMA) == '{"control_points": [1]}'
        assert ask(client(server), schema=SCHEMA) == "I hear a dog."
    for request in server.requests:
        sent = request["body"]["response_format"]
        assert sent["type"] == "json_schema"
        assert sent["json_schema"]["schema"] == SCHEMA


def test_a_server_that_refuses_the_schema_is_asked_once_more_without():
    refusal = says(400, b'{"error": {"message": "response_format is not supported"}}')
    with ChatServer(refusal, answers("[1]")) as server:
        assert ask(client(server), schema=SCHEMA) == "[1]"
    first, second = (request["body"] for request in server.requests)
    first.pop("response_format")
    assert first == second


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_other_complaints_are_not_asked_again(schema):
    with ChatServer(says(400, b"audio is too long")) as server:
        with pytest.raises(AudioLLMError, match=r"chat/completions: status 400.*audio is too long"):
            ask(client(server), schema=schema)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "first",
    [says(429, b"slow down"), says(503), says(500, b"<html>"), hangs_up, stops_halfway],
    ids=["429", "503", "500", "hangs up", "stops halfway"],
)
def test_what_passes_is_tried_again(first):
    with ChatServer(first, answers("[1]")) as server:
        assert ask(client(server)) == "[1]"
    assert len(server.requests) == 2


def in_seconds(seconds):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds))


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("-1", 0, 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
        (in_seconds(100_000), 90_000, 100_000),
        ("soon", 0, 0),
    ],
    ids=["seconds", "negative", "a date in the past", "a date", "nonsense"],
)
def test_retry_after_is_seconds_or_a_date(value, low, high, slept):
    with ChatServer(says(429, retry_after=value), answers("[1]")) as server:
        assert ask(client(server, max_wait_s=1e6)) == "[1]"
    (waited,) = slept
    # As many clients must not repeat at the same moment, a little is added.
    assert low <= waited <= high + 0.015


def test_retry_after_above_the_longest_wait_is_an_error_at_once(slept):
    with ChatServer(says(429, b"quota", retry_after="3600")) as server:
        message = r"429, 'quota'.*asked to retry after 3600 s \(Retry-After\).*max_wait_s=60"
        with pytest.raises(AudioLLMError, match=message):
            ask(client(server))
    assert len(server.requests) == 1
    assert not slept


def test_waits_double_vary_and_end(slept):
    with ChatServer(says(503)) as server:
        with pytest.raises(AudioLLMError, match=r"status 503.*Gave up after 6 attempts"):
            ask(client(server, retries=5, backoff_s=1.0, max_wait_s=6.0))
    assert len(server.requests) == 6
    for n, waited in enumerate(slept):
        assert min(6.0, 0.5 * 2**n) <= waited <= min(6.0, 1.5 * 2**n)
    assert slept[0] != slept[1] / 2


@pytest.mark.parametrize(
    "act",
    [after(3, answers("late")), trickles, trickles_headers],
    ids=["silent", "trickling", "trickling headers"],
)
def test_the_deadline_is_for_all_of_the_answer(act):
    # A deadline for each byte alone would never pass while bytes trickle.
    with ChatServer(act) as server:
        with pytest.raises(AudioLLMError, match=r"no complete reply within 0\.3 s"):
            ask(client(server, timeout_s=0.3, retries=1))
        assert len(server.requests) == 2


PAGE = b"<html><body><h1>Bad gateway</h1>" + b"x" * 1000


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (says(502, PAGE), r"status 502, '<html><body><h1>Bad gateway</h1>x{168}'"),
        (says(200, PAGE), "status 200, '<html>.*not a chat completion.*Check `base_url`"),
        (says(404), "status 404, an empty reply.*ends in /v1"),
        (says(401, b"no"), "status 401.*environment variable COPROP_LLM_API_KEY"),
        (says(301, location="https://other/"), "status 301.*Expected status 200"),
        (says(200, b'{"choices": []}'), "status 200.*not a chat completion"),
        (says(200, b'{"error": "overloaded"}'), "overloaded.*not a chat completion"),
        (says(200, b"[" * 100_000), "not a chat completion"),
        (says(200, b"\xff\xfe\x00"), "not a chat completion"),
        (says(200, completion("[1, 0]")[:-9]), "not a chat completion"),
        (says(200, b'{"choices": [{"message": "hi"}]}'), "not a chat completion"),
        (answers(None), "message has no text.*`content`"),
        (says(200, completion("[1, 0]").replace(b'"stop"', b'"length"')), "cut off.*max_tokens"),
        (answers(" \n"), "message has no text"),
        (stops_halfway, "peer closed connection without sending complete message"),
        (hangs_up, "Server disconnected"),
    ],
)
def test_a_reply_without_an_answer_is_one_typed_error(act, words):
    with ChatServer(act) as server, pytest.raises(AudioLLMError, match=words) as caught:
        ask(client(server, retries=1))
    assert server.url in str(caught.value)
    assert len(str(caught.value)) < 700


def test_an_answer_that_is_cut_off_has_an_error_of_its_own():
    cut = completion("<think>[1, 0]").replace(b'"stop"', b'"length"')
    with ChatServer(says(200, cut)) as server, pytest.raises(CutOffAnswerError, match="max_tokens"):
        ask(client(server, retries=0))


def test_refusals_and_parts_are_answers():
    with ChatServer(
        answers(None, refusal="I cannot hear."),
        answers([{"type": "text", "text": "[1,"}, {"type": "text", "text": " 0]"}]),
    ) as server:
        assert ask(client(server)) == "I cannot hear."
        assert ask(client(server)) == "[1, 0]"


def test_an_endless_reply_does_not_fill_the_memory():
    with ChatServer(trickles) as server:
        with pytest.raises(AudioLLMError, match="the reply exceeds 10 bytes"):
            ask(client(server, retries=0, timeout_s=60, max_reply_bytes=10))


def test_a_server_that_is_not_there():
    with ChatServer(answers("yes")) as server:
        pass
    with pytest.raises(
        AudioLLMError, match="ConnectionRefusedError.*Check that the server is running"
    ):
        ask(client(server, retries=1))


def test_eight_threads_share_the_slots_of_one_client():
    with ChatServer(after(0.05, answers("[1]"))) as server, ThreadPoolExecutor(8) as pool:
        llm = client(server, concurrency=3)
        found = list(pool.map(lambda _: ask(llm), range(16)))
    assert found == ["[1]"] * 16
    assert len(server.requests) == 16
    assert server.most_at_once == 3


def test_a_failed_call_gives_its_slot_back():
    with ChatServer(says(400), says(400), answers("[1]")) as server:
        llm = client(server, concurrency=1)
        for _ in range(2):
            with pytest.raises(AudioLLMError):
                ask(llm)
        assert ask(llm) == "[1]"


@pytest.mark.parametrize(
    "act",
    [says(401, f"Incorrect API key: {KEY}".encode()), says(503, KEY.encode()), hangs_up, trickles],
)
def test_the_key_is_nowhere(act, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with ChatServer(act) as server:
        llm = client(server, retries=1, timeout_s=0.2)
        with pytest.raises(AudioLLMError) as caught:
            ask(llm, schema=SCHEMA)
    assert server.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    places = "".join(
        ["".join(told.format()), repr(caught.value.__dict__), repr(llm), repr(vars(llm))]
        + [json.dumps(llm.settings), caplog.text, *capfd.readouterr()]
    )
    assert KEY not in places
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_key_with_a_line_break_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("COPROP_LLM_API_KEY", "sk-one\nsk-two")
    with ChatServer(answers("yes")) as server:
        with pytest.raises(AudioLLMError, match="COPROP_LLM_API_KEY holds characters") as caught:
            ask(client(server))
    assert "sk-" not in str(caught.value)
    assert not server.requests


@pytest.mark.parametrize(
    "url",
    ["https://me:hunter2@host/v1", "https://host/v1?key=hunter2", "me:hunter2@host", "host:x/v1"],
)
def test_addresses_with_secrets_in_them_are_refused_without_being_shown(url):
    with pytest.raises(AudioLLMError, match="Expected an address") as caught:
        OpenAICompatibleLLM("some/model", url)
    assert "hunter2" not in str(caught.value)


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    with ChatServer(answers("yes")) as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
        llm = OpenAICompatibleLLM("some/model", "http://model.invalid:8000/v1")
        assert ask(llm) == "yes"
    assert server.requests[0]["path"] == "http://model.invalid:8000/v1/chat/completions"
    assert server.requests[0]["headers"]["Host"] == "model.invalid:8000"


def test_a_redirect_is_not_followed_with_the_key():
    with ChatServer(answers("yes")) as other, ChatServer(says(307, location=other.url)) as server:
        with pytest.raises(AudioLLMError, match="status 307"):
            ask(client(server))
    assert not other.requests


@pytest.mark.parametrize(
    ("name", "value"),
    [("all_proxy", "socks5://me:hunter2@127.0.0.1:9"), ("no_proxy", "127.0.0.1,::1,fe80::/10")],
)
def test_proxies_of_other_protocols_and_exceptions_change_nothing(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    with ChatServer(answers("yes")) as server:
        assert ask(client(server, retries=0)) == "yes"


@pytest.mark.parametrize("proxy", ["socks5://me:hunter2@127.0.0.1:9", "http://me:hunter2@host:x"])
def test_a_proxy_that_cannot_be_used_is_a_typed_error_without_its_password(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy)
    llm = OpenAICompatibleLLM("m", "http://model.invalid/v1", retries=0)
    with pytest.raises(AudioLLMError, match="model.invalid/v1/chat/completions: .*") as caught:
        ask(llm)
    assert "hunter2" not in str(caught.value)


def test_a_client_works_inside_a_running_event_loop():
    async def notebook():
        return ask(llm)

    with ChatServer(answers("yes")) as server:
        llm = client(server)
        assert asyncio.run(notebook()) == "yes"


def test_https_is_used_for_https_addresses():
    with ChatServer(answers("yes")) as server:
        llm = OpenAICompatibleLLM(
            "m", server.url.replace("http:", "https:"), retries=0, timeout_s=2
        )
        with pytest.raises(AudioLLMError, match="SSL|no complete reply"):
            ask(llm)
    assert not server.requests


def test_too_many_or_no_requests_at_once():
    with pytest.raises(AudioLLMError, match="concurrency of 1 or more, got 0"):
        OpenAICompatibleLLM("m", concurrency=0)
