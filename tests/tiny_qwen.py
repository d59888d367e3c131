"""Qwen's audio language models, tiny and untrained, with the real processor."""

import torch

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>")
SPECIAL += ("<|audio_eos|>",)


def tokenizer(merges=()):
    """Bytes, and whatever merges of them are asked for."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(m) for m in merges)]
    bytes_only = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=list(merges))
    )
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_only.decoder = decoders.ByteLevel()
    bytes_only.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=bytes_only,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
    )


def processor(chunk_s=30):
    from transformers import Qwen2AudioProcessor, WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=chunk_s)
    return Qwen2AudioProcessor(feature_extractor=extractor, tokenizer=tokenizer())


def qwen2_audio(tokens, chunk_s=30, seed=0):
    """A Qwen2-Audio for these tokens, width 16."""
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    torch.manual_seed(seed)
    config = Qwen2AudioConfig(
        audio_config=dict(
            model_type="qwen2_audio_encoder",
            d_model=16,
            encoder_layers=1,
            encoder_attention_heads=2,
            encoder_ffn_dim=16,
            num_mel_bins=8,
            max_source_positions=chunk_s * 50,
        ),
        text_config=dict(
            model_type="qwen2",
            vocab_size=len(tokens),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=4096,
        ),
        audio_token_index=tokens.convert_tokens_to_ids("<|AUDIO|>"),
    )
    return _ending(Qwen2AudioForConditionalGeneration(config).eval(), tokens)


def _ending(model, tokens):
    """Untrained weights never end an answer; let it end at its limit."""
    model.generation_config.forced_eos_token_id = tokens.eos_token_id
    return model


def save(model, folder, chunk_s=30):
    """Write model and processor as a folder that the client loads."""
    model.save_pretrained(folder)
    processor(chunk_s).save_pretrained(folder)
    return folder


OMNI_SPECIAL = {
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "audio_token": "<|AUDIO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}


def omni_tokenizer():
    """The tokens that Omni processors look up by name."""
    from transformers import PreTrainedTokenizerFast

    tokens = tokenizer()
    tokens.add_special_tokens({"additional_special_tokens": sorted(OMNI_SPECIAL.values())})
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens.backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=OMNI_SPECIAL,
    )


def omni_thinker(generation, tokens, seed=0):
    """The thinker of a Qwen2.5-Omni ("2_5") or Qwen3-Omni ("3"), width 16."""
    import transformers

    ids = {name: tokens.convert_tokens_to_ids(token) for name, token in OMNI_SPECIAL.items()}
    ids = {name.replace("bos", "start").replace("eos", "end"): i for name, i in ids.items()}
    layers = dict(
        hidden_size=16, intermediate_size=16, num_attention_heads=2, num_key_value_heads=2
    )
    text = dict(
        layers,
        vocab_size=len(tokens),
        num_hidden_layers=1,
        max_position_embeddings=4096,
        rope_parameters=dict(rope_type="default", mrope_section=[2, 1, 1], rope_theta=1e4),
    )
    audio = dict(
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        num_mel_bins=8,
        output_dim=16,
    )
    vision = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=16)
    if generation == "2_5":
        vision["fullatt_block_indexes"] = [0]
        ids["audio_token_index"] = ids["audio_token"]
    else:
        audio["downsample_hidden_size"] = 8
        vision["deepstack_visual_indexes"] = [0]
        text.update(num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8, head_dim=8)
    name = {"2_5": "Qwen2_5OmniThinker", "3": "Qwen3OmniMoeThinker"}[generation]
    torch.manual_seed(seed)
    config = getattr(transformers, f"{name}Config")(
        audio_config=audio,
        vision_config=vision,
        text_config=text,
        **{name if "index" in name else f"{name}_id": i for name, i in ids.items()},
    )
    return _ending(getattr(transformers, f"{name}ForConditionalGeneration")(config).eval(), tokens)


def omni_processor(generation, tokens):
    """The processor of the released Omni models; it needs torchvision."""
    import transformers

    name = {"2_5": "Qwen2_5OmniProcessor", "3": "Qwen3OmniMoeProcessor"}[generation]
    return getattr(transformers, name)(
        image_processor=transformers.Qwen2VLImageProcessor(),
        video_processor=transformers.Qwen2VLVideoProcessor(),
        feature_extractor=transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=30),
        tokenizer=tokens,
        chat_template=processor().chat_template,
    )
