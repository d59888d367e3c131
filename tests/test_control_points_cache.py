"""Answers are stored: each question is asked once, even if a process is killed."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from processes import start

from coprop_plugin.control_points.llm import CachedLLM, CallableAudioLLM
from coprop_plugin.errors import AudioLLMError
from coprop_plugin.registry import AUDIO_LLMS, build
from coprop_plugin.types import AudioLLM

ROOT = Path(__file__).resolve().parent.parent
QUESTION = [{"role": "user", "content": "What sounds here? Grüße"}]
SOUND = torch.linspace(-1, 1, 1600)


class Counting:
    def __init__(self):
        self.asked = []

    def __call__(self, messages, waveform, sample_rate, schema=None):
        self.asked.append((messages, waveform, sample_rate, schema))
        return f"answer {len(self.asked)} ä"


def cached(folder, function=None, **options):
    function = function or Counting()
    return CachedLLM(CallableAudioLLM(function, **{"model_id": "m", **options}), folder)


def stored(folder):
    """The lines of all files, by their key."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    return {record["key"]: record for record in map(json.loads, lines)}


def test_a_second_run_asks_nothing(tmp_path):
    first = cached(tmp_path)
    answers = [first.chat(QUESTION, SOUND * k, 16_000) for k in range(5)]
    assert (first.calls, first.hits) == (5, 0)
    second = cached(tmp_path)
    assert [second.chat(QUESTION, SOUND * k, 16_000) for k in range(5)] == answers
    assert (second.calls, second.hits) == (0, 5)
    assert isinstance(second, AudioLLM)


def test_everything_that_an_answer_depends_on_is_in_its_key(tmp_path):
    again = [{"role": "assistant", "content": "A dog."}, QUESTION[0]]
    schema = {"type": "array", "items": {"enum": [0, 1]}, "minItems": 5, "maxItems": 5}
    asked = [
        (cached(tmp_path), (QUESTION, SOUND, 16_000), {}),
        (cached(tmp_path), (QUESTION, SOUND, 8_000), {}),
        (cached(tmp_path), (QUESTION, SOUND[:-1], 16_000), {}),
        (cached(tmp_path), (QUESTION, -SOUND, 16_000), {}),
        (cached(tmp_path), ([{**QUESTION[0], "role": "system"}, QUESTION[0]], SOUND, 16_000), {}),
        (cached(tmp_path), (QUESTION + again, SOUND, 16_000), {}),
        (cached(tmp_path), (QUESTION, SOUND, 16_000), {"schema": schema}),
        (cached(tmp_path), (QUESTION, SOUND, 16_000), {"schema": {**schema, "minItems": 4}}),
        (cached(tmp_path, model_id="other"), (QUESTION, SOUND, 16_000), {}),
        (cached(tmp_path, settings={"seed": 1}), (QUESTION, SOUND, 16_000), {}),
    ]
    for llm, arguments, options in asked:
        llm.chat(*arguments, **options)
        assert llm.calls == 1
        llm.chat(*arguments, **options)
        assert (llm.calls, llm.hits) == (1, 1)
    assert len(stored(tmp_path)) == len(asked)


def test_the_model_gets_the_question_unchanged(tmp_path):
    function = Counting()
    cached(tmp_path, function).chat(QUESTION, SOUND, 16_000, schema={"type": "string"})
    [(messages, waveform, sample_rate, schema)] = function.asked
    assert messages == QUESTION
    assert torch.equal(waveform, SOUND)
    assert (sample_rate, schema) == (16_000, {"type": "string"})


def test_a_stored_answer_is_json_with_its_question(tmp_path):
    cached(tmp_path).chat(QUESTION, SOUND, 16_000)
    [(key, content)] = stored(tmp_path).items()
    assert content["answer"] == "answer 1 ä"
    assert content["question"]["messages"] == QUESTION
    assert content["question"]["model_id"] == "m"
    assert [path.stem for path in tmp_path.glob("*.jsonl")] == [key[0]]


@pytest.mark.parametrize("damage", ["", "{", '{"format": "coprop.answer/2"}\n', "[1]\n", "\xff\n"])
def test_a_damaged_answer_is_asked_for_again(tmp_path, damage):
    cached(tmp_path).chat(QUESTION, SOUND, 16_000)
    [path] = tmp_path.glob("*.jsonl")
    path.write_text(damage, encoding="latin-1")
    llm = cached(tmp_path)
    assert llm.chat(QUESTION, SOUND, 16_000) == "answer 1 ä"
    assert llm.calls == 1
    assert cached(tmp_path).chat(QUESTION, SOUND, 16_000) == "answer 1 ä"


def test_a_file_of_answers_above_the_limit_of_text_is_not_read(tmp_path, monkeypatch):
    cached(tmp_path).chat(QUESTION, SOUND, 16_000)
    monkeypatch.setenv("COPROP_MAX_TEXT_BYTES", "100")
    with pytest.raises(
        AudioLLMError, match="jsonl.*exceeds the limit of 100.*COPROP_MAX_TEXT_BYTES"
    ):
        cached(tmp_path).chat(QUESTION, SOUND, 16_000)


def test_errors_are_not_stored(tmp_path):
    def failing(*_):
        raise AudioLLMError("busy")

    with pytest.raises(AudioLLMError, match="busy"):
        cached(tmp_path, failing).chat(QUESTION, SOUND, 16_000)
    assert cached(tmp_path).chat(QUESTION, SOUND, 16_000) == "answer 1 ä"


def test_it_has_the_name_and_settings_of_its_client(tmp_path):
    inner = dict(type="callable", function=Counting(), model_id="m", max_audio_s=30.0)
    llm = build(AUDIO_LLMS, dict(type="cached", llm=inner, folder=tmp_path))
    assert (llm.name, llm.model_id, llm.max_audio_s, llm.settings) == ("callable", "m", 30.0, {})


def test_a_folder_that_cannot_be_written_and_settings_that_are_not_json_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioLLMError, match="cannot be stored in .*file.*Name a folder"):
        cached(tmp_path / "file" / "folder")
    llm = cached(tmp_path / "answers", settings={"tensor": torch.zeros(1)})
    with pytest.raises(AudioLLMError, match="not JSON"):
        llm.chat(QUESTION, SOUND, 16_000)


def test_threads_share_a_folder(tmp_path):
    llm = cached(tmp_path, lambda messages, waveform, sample_rate: str(len(waveform)))
    lengths = [1 + n % 10 for n in range(80)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: llm.chat(QUESTION, SOUND[:n], 16_000), lengths))
    assert answers == [str(n) for n in lengths]
    assert llm.calls + llm.hits == 80


def ask(folder, path):
    """Ask about ten sounds, slowly, and note each call as it begins."""

    def slow(messages, waveform, sample_rate):
        with open(path, "a") as notes:
            notes.write(f"{len(waveform)}\n")
        time.sleep(0.1)
        return f"{len(waveform)} samples"

    llm = CachedLLM(CallableAudioLLM(slow, model_id="slow"), folder)
    for n in range(1, 11):
        assert llm.chat(QUESTION, torch.ones(n), 16_000) == f"{n} samples"
    print(llm.calls, llm.hits)


def work(tmp_path, name="printed"):
    return start(tmp_path / name, ask, tmp_path / "answers", tmp_path / "notes.txt")


def test_a_kill_loses_the_call_in_flight_alone(tmp_path):
    folder, notes = tmp_path / "answers", tmp_path / "notes.txt"
    process = work(tmp_path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if notes.exists() and len(notes.read_text().splitlines()) >= 5:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = len(notes.read_text().splitlines())
    kept = len(stored(folder))
    assert begun < 10, "killed in the middle"
    assert kept in (begun - 1, begun)
    again = work(tmp_path, "again").wait()
    assert again.stdout.split() == [str(10 - kept), str(kept)]
    assert len(notes.read_text().splitlines()) <= 11


def test_processes_share_a_folder(tmp_path):
    processes = [work(tmp_path, name) for name in ("one", "two")]
    counts = [process.wait().stdout.split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all(int(calls) + int(hits) == 10 for calls, hits in counts)
    assert len(stored(tmp_path / "answers")) == 10
