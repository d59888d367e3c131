"""Clients of audio language models: what all of them refuse, and the one for any function."""

import copy
import json
import pickle

import pytest
import torch

from coprop_plugin import list_audio_llms
from coprop_plugin.control_points.llm import (
    CallableAudioLLM,
    as_audio_llm,
    at_rate,
    with_audio,
)
from coprop_plugin.errors import AudioLLMError, ClipError, CopropError, UnknownNameError
from coprop_plugin.registry import AUDIO_LLMS, build
from coprop_plugin.types import AudioLLM

QUESTION = [{"role": "user", "content": "What sounds here?"}]
SECOND = torch.zeros(16_000)


def scripted(messages, waveform, sample_rate):
    return f"{len(messages)} messages, {len(waveform)} samples at {sample_rate} Hz"


def test_every_client_is_registered_and_meets_the_protocol():
    assert {"callable", "openai_compatible", "qwen2_audio"} <= set(list_audio_llms())
    for name, options in {
        "callable": dict(function=scripted),
        "openai_compatible": dict(model_id="any"),
        "qwen2_audio": {},
    }.items():
        llm = build(AUDIO_LLMS, dict(type=name, **options), verb="chat")
        assert isinstance(llm, AudioLLM)
        assert llm.name == name
        assert llm.model_id
        assert json.loads(json.dumps(llm.settings)) == llm.settings
        for other in (copy.deepcopy(llm), pickle.loads(pickle.dumps(llm))):
            assert (other.model_id, other.settings) == (llm.model_id, llm.settings)


def test_a_client_is_meant_by_name_config_object_or_function():
    llm = as_audio_llm(scripted)
    assert as_audio_llm(llm) is llm
    assert llm.model_id.endswith(".scripted")
    assert as_audio_llm("qwen2_audio").model_id == "Qwen/Qwen2-Audio-7B-Instruct"
    assert as_audio_llm(dict(type="coprop_plugin.callable", function=len)).function is len
    with pytest.raises(UnknownNameError, match="callable, openai_compatible, qwen2_audio"):
        as_audio_llm("gpt")
    with pytest.raises(AudioLLMError, match="cannot be called"):
        as_audio_llm(3)


def test_a_function_gets_the_conversation_and_the_sound_as_they_are():
    llm = CallableAudioLLM(scripted)
    answer = llm.chat(QUESTION, torch.zeros(100), 8_000)
    assert answer == "1 messages, 100 samples at 8000 Hz"


def test_a_function_gets_the_schema_only_if_it_takes_one():
    def constrained(messages, waveform, sample_rate, schema=None):
        return json.dumps(schema)

    wish = {"type": "array"}
    assert CallableAudioLLM(constrained).chat(QUESTION, SECOND, 16_000, schema=wish) == (
        '{"type": "array"}'
    )
    assert CallableAudioLLM(scripted).chat(QUESTION, SECOND, 16_000, schema=wish)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda *a: 1 / 0, "raised ZeroDivisionError: division by zero. Fix it"),
        (
            lambda *a: None,
            "Expected the model's answer as text, but the function mine returned a NoneType",
        ),
    ],
)
def test_a_failing_function_is_an_audio_llm_error(function, words):
    with pytest.raises(AudioLLMError, match=words):
        CallableAudioLLM(function, "mine").chat(QUESTION, SECOND, 16_000)


def test_errors_of_this_library_pass_through():
    def fails(*_):
        raise CopropError("as it is")

    with pytest.raises(CopropError, match="^as it is$"):
        CallableAudioLLM(fails).chat(QUESTION, SECOND, 16_000)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], r"end with the user's, .*got the roles \[\]"),
        ([*QUESTION, {"role": "assistant", "content": "A dog."}], "end with the user's"),
        ([{"role": "tool", "content": "x"}], "Expected a `role` of system, user, assistant"),
        ([{"role": "user", "content": [{"type": "text"}]}], "a text as `content`"),
    ],
)
def test_other_messages_are_refused(messages, words):
    with pytest.raises(AudioLLMError, match=words):
        CallableAudioLLM(scripted).chat(messages, SECOND, 16_000)


@pytest.mark.parametrize(
    "waveform",
    [torch.zeros(2, 8), torch.zeros(0), torch.zeros(8).short(), torch.tensor([torch.nan])],
)
def test_other_waveforms_are_refused(waveform):
    with pytest.raises(ClipError, match="Expected a (mono waveform|sample rate above 0)"):
        CallableAudioLLM(scripted).chat(QUESTION, waveform, 16_000)


def test_audio_longer_than_the_limit_is_refused_and_audio_of_the_limit_is_not():
    llm = CallableAudioLLM(scripted, "short", max_audio_s=2.0)
    # A window that was cut at times, not at samples, may have a sample more.
    assert llm.chat(QUESTION, torch.zeros(2 * 44_100 + 1), 44_100)
    with pytest.raises(
        AudioLLMError, match=r"2\.01 s of audio exceeds the 2 s that short takes.*window"
    ):
        llm.chat(QUESTION, torch.zeros(2 * 44_100 + 441), 44_100)


def test_the_audio_goes_into_the_first_user_message_and_nothing_is_changed():
    messages = [
        {"role": "system", "content": "Listen."},
        *QUESTION,
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": "When?"},
    ]
    before = copy.deepcopy(messages)
    placed = with_audio(messages, "audio")
    assert messages == before
    assert [m["content"] for m in placed] == [
        "Listen.",
        ["audio", {"type": "text", "text": "What sounds here?"}],
        "A dog.",
        "When?",
    ]


def test_very_short_audio_is_padded_with_silence():
    heard = at_rate(torch.ones(160), 16_000, 16_000)
    assert len(heard) == 1_600
    assert heard.count_nonzero() == 160
