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
    return Qwen2AudioForConditionalGeneration(config).eval()


def save(model, folder, chunk_s=30):
    """Write model and processor as a folder that the client loads."""
    model.save_pretrained(folder)
    processor(chunk_s).save_pretrained(folder)
    return folder
