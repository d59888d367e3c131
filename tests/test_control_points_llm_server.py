"""The chat-completions client against a real server on this machine."""

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
from coprop_plugin.control_points.llm.http_post import Reply
from coprop_plugin.errors import AudioLLMError

QUESTION = [{"role": "system", "content": "Listen."}, {"role": "user", "content": "Which frames?"}]
SCHEMA = {"type": "object", "properties": {"control_points": {"type": "array"}}}
TONE = 0.5 * torch.sin(torch.arange(44_100) / 44_100 * 2 * torch.pi * 440)
KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COPROP_LLM_API_KEY", KEY)


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


def test_retry_after_is_waited_for():
    with ChatServer(says(429, retry_after="0.3"), answers("[1]")) as server:
        start = time.monotonic()
        assert ask(client(server)) == "[1]"
        assert time.monotonic() - start > 0.28


def test_retry_after_too_late_is_given_up_at_once():
    with ChatServer(says(429, b"quota", retry_after="3600")) as server:
        with pytest.raises(AudioLLMError, match="429, 'quota'.*come back in 3600 s"):
            ask(client(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("7", 7, 7), ("-1", 0, 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0), ("soon", None, None)],
)
def test_retry_after_is_seconds_or_a_date(value, low, high):
    assert Reply(429, {"retry-after": value}, "").wait_s == low == high


def test_retry_after_as_a_date_to_come():
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 95 < Reply(429, {"retry-after": date}, "").wait_s <= 100


def test_waits_double_vary_and_end(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with ChatServer(says(503)) as server:
        with pytest.raises(AudioLLMError, match=r"status 503.*attempt 6, the last"):
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
    with ChatServer(act) as server:
        start = time.monotonic()
        with pytest.raises(AudioLLMError, match=r"no complete answer within 0\.3 s"):
            ask(client(server, timeout_s=0.3, retries=1))
        assert time.monotonic() - start < 5
        assert len(server.requests) == 2


PAGE = b"<html><body><h1>Bad gateway</h1>" + b"x" * 1000


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (says(502, PAGE), r"status 502, '<html><body><h1>Bad gateway</h1>x{168}'"),
        (says(200, PAGE), "status 200, '<html>.*no chat completion.*Is `base_url` right"),
        (says(404), "status 404, 'without a word'.*end in /v1"),
        (says(401, b"no"), "status 401.*environment variable COPROP_LLM_API_KEY"),
        (says(301, location="https://other/"), "status 301.*Wanted status 200"),
        (says(200, b'{"choices": []}'), "status 200.*no chat completion"),
        (says(200, b'{"error": "overloaded"}'), "overloaded.*no chat completion"),
        (says(200, b"[" * 100_000), "no chat completion"),
        (says(200, b"\xff\xfe\x00"), "no chat completion"),
        (says(200, completion("[1, 0]")[:-9]), "no chat completion"),
        (says(200, b'{"choices": [{"message": "hi"}]}'), "no chat completion"),
        (answers(None), "message has no text.*max_tokens"),
        (answers(" \n"), "message has no text"),
        (stops_halfway, r"IncompleteRead.*more expected"),
        (hangs_up, "RemoteDisconnected"),
    ],
)
def test_what_is_no_answer_is_one_typed_error(act, words):
    with ChatServer(act) as server, pytest.raises(AudioLLMError, match=words) as caught:
        ask(client(server, retries=1))
    assert server.url in str(caught.value)
    assert len(str(caught.value)) < 700


def test_refusals_and_parts_are_answers():
    with ChatServer(
        answers(None, refusal="I cannot hear."),
        answers([{"type": "text", "text": "[1,"}, {"type": "text", "text": " 0]"}]),
    ) as server:
        assert ask(client(server)) == "I cannot hear."
        assert ask(client(server)) == "[1, 0]"


def test_an_endless_answer_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("coprop_plugin.control_points.llm.http_post._LARGEST_REPLY", 1000)
    with ChatServer(answers("x" * 2000)) as server:
        with pytest.raises(AudioLLMError, match="longer than 1000 bytes"):
            ask(client(server, retries=0))


def test_a_server_that_is_not_there():
    with ChatServer(answers("yes")) as server:
        pass
    with pytest.raises(AudioLLMError, match="ConnectionRefusedError.*Is the server up"):
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


def test_a_key_that_is_none_is_refused_without_being_shown(monkeypatch):
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
    with pytest.raises(AudioLLMError, match="Got (an|the) address") as caught:
        OpenAICompatibleLLM("some/model", url)
    assert "hunter2" not in str(caught.value)


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    with ChatServer(answers("yes")) as server:
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
        llm = OpenAICompatibleLLM("some/model", "http://model.invalid:8000/v1")
        assert ask(llm) == "yes"
    assert server.requests[0]["path"] == "http://model.invalid:8000/v1/chat/completions"
    assert server.requests[0]["headers"]["Host"] == "model.invalid:8000"


def test_https_is_spoken_to_https_servers():
    with ChatServer(answers("yes")) as server:
        llm = OpenAICompatibleLLM(
            "m", server.url.replace("http:", "https:"), retries=0, timeout_s=2
        )
        with pytest.raises(AudioLLMError, match="SSL|no complete answer"):
            ask(llm)
    assert not server.requests


def test_too_many_or_no_requests_at_once():
    with pytest.raises(AudioLLMError, match="concurrency=0; wanted 1 or more"):
        OpenAICompatibleLLM("m", concurrency=0)
