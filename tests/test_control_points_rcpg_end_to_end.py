"""`rcpg` through the real clients: a tiny Qwen2-Audio, and a server over HTTP."""

import json
import warnings

import pytest
import tiny_qwen
import torch
from chat_server import ChatServer, answers

from coprop_plugin.control_points import Example, RCPGProvider, Store, as_provider
from coprop_plugin.control_points.llm import QwenAudioLLM
from coprop_plugin.control_points.parsing import flags_schema
from coprop_plugin.types import Clip

MAX_AUDIO_S = 4
STORE = Store([Example("d", ("dog",), (1, 0, 1, 0), 4.0), Example("p", ("piano",), (1, 0), 2.0)])


@pytest.fixture
def clip():
    torch.manual_seed(1)
    frames = torch.zeros(7, 3, 8, 8)
    return Clip(frames, 0.2 * torch.randn(7 * 8_000), 8_000, sampling="avsbench")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = tiny_qwen.qwen2_audio(tiny_qwen.tokenizer(), MAX_AUDIO_S)
    # Untrained weights give the same answer to any audio; larger ones do not.
    for parameter in model.parameters():
        parameter.data.mul_(8)
    return tiny_qwen.save(model, tmp_path_factory.mktemp("qwen2_audio"), MAX_AUDIO_S)


def test_a_tiny_qwen2_audio_gives_one_flag_per_frame(folder, clip):
    def proposed():
        llm = QwenAudioLLM(folder, max_audio_s=MAX_AUDIO_S, max_new_tokens=6)
        return RCPGProvider(llm, STORE, fallback=None, overlap_s=1).propose(clip)

    points = proposed()
    # Seven seconds are two windows of four; nothing had to be asked twice.
    assert [window["seconds"] for window in points.log["windows"]] == [[0, 4], [3, 7]]
    for window in points.log["windows"]:
        assert [turn["prompt"] for turn in window["conversation"]] == [
            "rcpg_describe",
            "rcpg_categories",
            "rcpg_list",
        ]
        answer = json.loads(window["conversation"][-1]["answer"])
        assert len(answer["control_points"]) == 4
        assert window["eq_5"]["flags"][1:] == answer["control_points"][1:]
        assert window["eq_4"]["by"] in ("category", "text", "sound", "nothing")
    assert points.source == "rcpg"
    again = proposed()
    assert again == points
    assert again.log == points.log


@pytest.mark.parametrize(
    "last",
    ['{"control_points": [1, 0, 0, 1, 0, 0, 1]}', "Sure! The list is [1, 0, 0, 1, 0, 0, 1]."],
    ids=["schema honoured", "schema ignored"],
)
def test_a_server_is_asked_by_config(last, clip, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "store.jsonl").write_text(STORE.text())
    with ChatServer(answers("Barks."), answers("A dog."), answers(last)) as server:
        config = dict(
            type="rcpg",
            llm=dict(type="openai_compatible", model_id="some/model", base_url=server.url),
            store=str(tmp_path / "store.jsonl"),
        )
        (tmp_path / "rcpg.json").write_text(json.dumps(config))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            points = as_provider(tmp_path / "rcpg.json").propose(clip)
    assert points.indices == [0, 3, 6]
    bodies = [request["body"] for request in server.requests]
    assert [len(body["messages"]) for body in bodies] == [1, 3, 5]
    assert bodies[2]["response_format"]["json_schema"]["schema"] == flags_schema(7)
    assert "dog, 4 frames: [1, 0, 1, 0]" in bodies[2]["messages"][-1]["content"]
    assert "input_audio" in json.dumps(bodies[2]["messages"][0])
