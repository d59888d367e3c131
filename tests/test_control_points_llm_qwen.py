"""Qwen2-Audio and the Omni thinkers, tiny and untrained, through the real processor."""

import copy
import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny_qwen
import torch
from safetensors.torch import load_file, save_file

from coprop_plugin.audio.resample import resample
from coprop_plugin.control_points.llm import (
    QwenAudioLLM,
    flag_tokens,
    load_model,
    load_processor,
    requested_flags,
)
from coprop_plugin.control_points.parsing import flags_schema
from coprop_plugin.errors import (
    AudioLLMError,
    CheckpointError,
    ClipError,
    CutOffAnswerError,
    MissingExtraError,
)

CONVERSATION = [
    {"role": "system", "content": "You hear well."},
    {"role": "user", "content": "What sounds here?"},
    {"role": "assistant", "content": "A dog, then a girl."},
    {"role": "user", "content": "When?"},
]
NOISE = 0.1 * torch.randn(48_000, generator=torch.Generator().manual_seed(0))


# Released models take 30 s; their encoders process all of it however short the audio is.
MAX_AUDIO_S = 4


def flag_list(num_flags):
    items = {"type": "integer", "enum": [0, 1]}
    return {"type": "array", "items": items, "minItems": num_flags, "maxItems": num_flags}


@pytest.fixture(scope="module")
def model():
    made = tiny_qwen.qwen2_audio(tiny_qwen.tokenizer(), MAX_AUDIO_S)
    # Untrained weights give the same answer to any audio; larger ones do not.
    for parameter in made.parameters():
        parameter.data.mul_(8)
    # A released checkpoint samples, and penalises repetition.
    made.generation_config.update(do_sample=True, top_p=0.5, top_k=20, temperature=0.7)
    made.generation_config.update(repetition_penalty=1.5, no_repeat_ngram_size=3)
    return made


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return tiny_qwen.save(model, tmp_path_factory.mktemp("qwen2_audio"), MAX_AUDIO_S)


@pytest.fixture(scope="module")
def llm(folder):
    return client(folder)


def client(folder, **options):
    return QwenAudioLLM(folder, **{"max_audio_s": MAX_AUDIO_S, "max_new_tokens": 6, **options})


def greedy(model, processor, text, waveform, choices=None, steps=5):
    """The plainest loop: the likeliest token, among the allowed ones, one forward each."""
    inputs = processor(
        text=[text], audio=[waveform.numpy()], sampling_rate=16_000, return_tensors="pt"
    )
    ids, _ = inputs.pop("input_ids"), inputs.pop("attention_mask")
    length = ids.shape[1]
    for step in range(len(choices) if choices else steps):
        with torch.no_grad():
            logits = model(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **inputs
            ).logits[0, -1]
        allowed = choices[step] if choices else range(len(logits))
        best = max(allowed, key=lambda token: float(logits[token]))
        if best == processor.tokenizer.eos_token_id:
            break
        ids = torch.cat([ids, torch.tensor([[best]])], dim=1)
    return processor.tokenizer.decode(ids[0, length:], skip_special_tokens=True).strip()


PROMPT = (
    "<|im_start|>system\nYou hear well.<|im_end|>\n"
    "<|im_start|>user\nAudio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\nWhat sounds here?<|im_end|>\n"
    "<|im_start|>assistant\nA dog, then a girl.<|im_end|>\n"
    "<|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\n"
)


def test_an_answer_is_what_greedy_decoding_by_hand_says(llm, model):
    expected = greedy(model, tiny_qwen.processor(MAX_AUDIO_S), PROMPT, NOISE)
    assert llm.chat(CONVERSATION, NOISE, 16_000) == expected


def test_an_answer_that_reaches_its_limit_is_an_error(folder):
    llm = client(folder)
    llm.model.generation_config.forced_eos_token_id = None
    with pytest.raises(CutOffAnswerError, match=r"cut off after 6 tokens.*Raise `max_new_tokens`"):
        llm.chat(CONVERSATION, NOISE, 16_000)
    flags = json.loads(llm.chat(CONVERSATION, NOISE, 16_000, schema=flag_list(9)))
    assert len(flags) == 9


@pytest.mark.parametrize("num_flags", [1, 5, 10, 31])
def test_constrained_decoding_gives_exactly_t_flags(llm, num_flags):
    flags = json.loads(llm.chat(CONVERSATION, NOISE, 16_000, schema=flag_list(num_flags)))
    assert len(flags) == num_flags
    assert set(flags) <= {0, 1}
    answer = llm.chat(CONVERSATION, NOISE, 16_000, schema=flags_schema(num_flags))
    assert len(json.loads(answer)["control_points"]) == num_flags


def test_the_flags_are_the_likelier_ones(llm, model):
    processor = tiny_qwen.processor(MAX_AUDIO_S)
    choices = flag_tokens(processor.tokenizer, 10)
    expected = greedy(model, processor, PROMPT, NOISE, choices)
    assert llm.chat(CONVERSATION, NOISE, 16_000, schema=flag_list(10)) == expected
    assert {"0", "1"} <= set(expected)


def test_other_audio_gives_other_answers(llm):
    tone = 0.9 * torch.sin(torch.arange(48_000) * 0.3)
    assert llm.chat(CONVERSATION, tone, 16_000) != llm.chat(CONVERSATION, NOISE, 16_000)


def test_without_a_schema_for_flags_nothing_is_constrained(llm):
    free = llm.chat(CONVERSATION, NOISE, 16_000)
    for schema in ({}, {"type": "object", "properties": {}}, {"type": "string"}):
        assert llm.chat(CONVERSATION, NOISE, 16_000, schema=schema) == free
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(free)


def test_any_sample_rate_is_resampled_to_that_of_the_model(llm):
    at_44 = 0.1 * torch.randn(88_200, generator=torch.Generator().manual_seed(1))
    assert llm.chat(CONVERSATION, at_44, 44_100) == llm.chat(
        CONVERSATION, resample(at_44, 44_100, 16_000), 16_000
    )


def test_save_pretrained_and_reload_by_path_gives_the_same(llm, tmp_path):
    llm.model.save_pretrained(tmp_path)
    llm.processor.save_pretrained(tmp_path)
    again = client(str(tmp_path))
    assert again.chat(CONVERSATION, NOISE, 16_000) == llm.chat(CONVERSATION, NOISE, 16_000)


def test_more_than_thirty_seconds_are_refused_and_thirty_are_not(tmp_path):
    thirty = torch.zeros(30 * 8_000)
    llm = QwenAudioLLM(tiny_qwen.save(tiny_qwen.qwen2_audio(tiny_qwen.tokenizer()), tmp_path))
    llm.settings["max_new_tokens"] = 1
    assert isinstance(llm.chat(CONVERSATION, thirty, 8_000), str)
    with pytest.raises(AudioLLMError, match=r"30\.50 s of audio exceeds the 30 s that.*windows"):
        llm.chat(CONVERSATION, torch.zeros(244_000), 8_000)


def test_a_limit_beyond_that_of_the_model_is_refused(folder):
    with pytest.raises(AudioLLMError, match="max_audio_s=30 exceeds the 4 s that"):
        client(folder, max_audio_s=30).chat(CONVERSATION, NOISE, 16_000)


def test_a_few_samples_are_enough(llm):
    assert isinstance(llm.chat(CONVERSATION, torch.ones(3), 16_000), str)
    with pytest.raises(ClipError, match="at least one sample"):
        llm.chat(CONVERSATION, torch.ones(0), 16_000)


def test_nothing_is_loaded_before_the_first_question():
    # There is no such model: to load anything of it would fail.
    llm = QwenAudioLLM("nobody/nothing")
    assert llm.max_audio_s == 30.0
    assert "nobody/nothing" in repr(llm)
    assert repr(copy.deepcopy(llm)) == repr(llm)


def test_a_copy_answers_alike(llm):
    assert copy.deepcopy(llm).chat(CONVERSATION, NOISE, 16_000) == llm.chat(
        CONVERSATION, NOISE, 16_000
    )


def test_threads_may_share_a_client(llm):
    sounds = [NOISE * scale for scale in (0.5, 1.0, 2.0, 4.0)]
    alone = [llm.chat(CONVERSATION, sound, 16_000) for sound in sounds]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda sound: llm.chat(CONVERSATION, sound, 16_000), sounds)
    assert list(together) == alone


def test_sampled_answers_repeat_with_their_seed_and_leave_other_generators_alone(folder):
    def sampled(seed):
        llm = client(folder, temperature=50.0, seed=seed)
        return llm.chat(CONVERSATION, NOISE, 16_000)

    state = torch.random.get_rng_state()
    assert sampled(1) == sampled(1) != sampled(2)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_dtype_is_that_asked_for(folder):
    llm = client(folder, dtype="bfloat16", max_new_tokens=2)
    assert isinstance(llm.chat(CONVERSATION, NOISE, 16_000), str)
    assert llm.model.dtype == torch.bfloat16
    assert llm.settings["dtype"] == "bfloat16"


def test_control_tokens_in_a_message_are_refused(llm):
    for token in ("<|AUDIO|>", "<|im_end|>"):
        with pytest.raises(AudioLLMError, match=r"Expected plain text.*control token '<\|"):
            llm.chat([{"role": "user", "content": f"A {token}?"}], NOISE, 16_000)


def test_a_chat_template_without_an_audio_token_is_refused(folder):
    llm = client(folder)
    llm.processor.chat_template = "{{ messages[1]['role'] }}"
    with pytest.raises(AudioLLMError, match="has 0 audio tokens for one waveform"):
        llm.chat(CONVERSATION, NOISE, 16_000)


def test_other_models_are_refused(tmp_path, folder):
    with pytest.raises(CheckpointError, match="neither a folder nor an id"):
        QwenAudioLLM(tmp_path / "nothing").chat(CONVERSATION, NOISE, 16_000)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(
        CheckpointError, match="Expected a model of type qwen2_audio, .*of type 'bert'"
    ):
        load_model(str(tmp_path))
    tiny_qwen.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="takes no audio"):
        load_processor(str(tmp_path))


def test_half_a_checkpoint_is_refused(folder, tmp_path):
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "audio_tower" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match="has no weights for"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "package"),
    [({"load_in_4bit": True}, "bitsandbytes"), ({"device_map": "auto"}, "accelerate")],
)
def test_missing_extras_name_the_pip_line(folder, monkeypatch, options, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"{package}, which.*coprop-plugin\[llm\]"):
        load_model(str(folder), **options)


# A Qwen2.5-Omni counts audio tokens as Qwen2-Audio does, so the processor without pictures will do.
@pytest.mark.parametrize("whole", [False, True], ids=["thinker", "whole model"])
def test_an_omni_thinker_answers_in_text(tmp_path, whole):
    thinker = tiny_qwen.omni_thinker("2_5", tiny_qwen.omni_tokenizer())
    tiny_qwen.save(thinker, tmp_path, MAX_AUDIO_S)
    if whole:
        config = json.loads((tmp_path / "config.json").read_text())
        weights = load_file(tmp_path / "model.safetensors")
        renamed = {f"thinker.{name}": value for name, value in weights.items()}
        renamed["talker.model.norm.weight"] = torch.ones(4)
        save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
        outer = {"model_type": "qwen2_5_omni", "thinker_config": config}
        (tmp_path / "config.json").write_text(json.dumps(outer))
    llm = client(tmp_path)
    assert len(json.loads(llm.chat(CONVERSATION, NOISE, 16_000, schema=flag_list(7)))) == 7
    assert llm.model.config.model_type == "qwen2_5_omni_thinker"
    torch.testing.assert_close(llm.model.lm_head.weight, thinker.lm_head.weight)


@pytest.mark.parametrize("generation", ["2_5", "3"])
def test_omni_models_answer_through_their_own_processor(tmp_path, generation):
    pytest.importorskip("torchvision", reason="Omni processors look at pictures with torchvision")
    tokens = tiny_qwen.omni_tokenizer()
    tiny_qwen.omni_thinker(generation, tokens).save_pretrained(tmp_path)
    tiny_qwen.omni_processor(generation, tokens).save_pretrained(tmp_path)
    llm = QwenAudioLLM(tmp_path, max_new_tokens=4)
    assert isinstance(llm.chat(CONVERSATION, NOISE, 16_000), str)
    assert len(json.loads(llm.chat(CONVERSATION, NOISE, 16_000, schema=flag_list(7)))) == 7


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        (None, None),
        (flag_list(4), (4, None)),
        ({"type": "object", "properties": {"flags": flag_list(4)}}, (4, "flags")),
        ({"type": "object", "properties": {"a": flag_list(4), "b": flag_list(4)}}, None),
        ({**flag_list(4), "maxItems": 5}, None),
        ({**flag_list(4), "items": {"type": "integer"}}, None),
        ({**flag_list(4), "items": {"type": "integer", "minimum": 0, "maximum": 1}}, (4, None)),
        ({**flag_list(4), "items": {"enum": [0, 2]}}, None),
        ({**flag_list(4), "items": {"enum": ["yes", 1]}}, None),
        ({**flag_list(4), "items": {"enum": [False, True]}}, None),
    ],
)
def test_which_schemas_ask_for_flags(schema, wanted):
    assert requested_flags(schema) == wanted


def test_every_choice_of_tokens_decodes_to_its_flags():
    for merges in ([], [("Ġ", "1"), ("Ġ", "0"), ("[", "0"), ("[", "1")]):
        tokens = tiny_qwen.tokenizer(merges)
        places = flag_tokens(tokens, 4, "flags")
        for flags in torch.cartesian_prod(*[torch.arange(2)] * 4).tolist():
            left = list(flags)
            ids = [
                place[0] if len(place) == 1 else _spelling(tokens, place, left.pop(0))
                for place in places
            ]
            assert json.loads(tokens.decode(ids)) == {"flags": flags}


def _spelling(tokens, place, flag):
    [token] = [token for token in place if str(flag) in tokens.decode([token])]
    return token


@pytest.mark.parametrize(
    "merges",
    [[(",", "Ġ"), ("0", ",Ġ"), ("0,Ġ", "0")], [("1", ",")]],
    ids=["two per token", "uneven"],
)
def test_tokenizers_that_merge_flags_into_longer_tokens_are_not_constrained(merges):
    assert flag_tokens(tiny_qwen.tokenizer(merges), 4) is None
