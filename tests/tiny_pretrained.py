"""Tiny models of the transformers classes that listeners and texts are read with, saved as theirs.

Random weights, tokenizers and extractors of their own, nothing downloaded.
"""

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("dog", "cat", "flute", "drum", "a", "the", "of", "sound")
END = 3 + len(WORDS)


def tokenizer():
    # CLIP looks for the end where the highest number is.
    words = ("<s>", "<pad>", "<unk>", *WORDS, "</s>")
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", END)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=16,
        model_input_names=["input_ids", "attention_mask"],
    )


def save_pe_audio(folder, seed=0):
    """Save a `PeAudioFrameLevelModel` with its processor; 40 ms a row, as the released ones."""
    words = tokenizer()
    config = transformers.PeAudioConfig(
        text_config=dict(
            model_type="modernbert",
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=END,
            cls_token_id=0,
            sep_token_id=END,
        ),
        audio_config=dict(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            head_dim=8,
            dac_config=dict(
                model_type="dac",
                encoder_hidden_size=4,
                downsampling_ratios=[2, 8, 10, 12],
                codebook_dim=16,
            ),
        ),
    )
    torch.manual_seed(seed)
    model = transformers.PeAudioFrameLevelModel(config)
    # At zero, as it starts in training, every probability is a half.
    torch.nn.init.constant_(model.text_audio_logit_scale, 1.0)
    model.save_pretrained(folder)
    processor = transformers.PeAudioProcessor(transformers.PeAudioFeatureExtractor(), words)
    processor.save_pretrained(folder)
    return folder


def save_clip_text(folder, seed=0, projection_dim=12):
    """Save a `CLIPTextModelWithProjection` with its tokenizer."""
    words = tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=projection_dim,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=END,
    )
    torch.manual_seed(seed)
    transformers.CLIPTextModelWithProjection(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def save_clap(folder, provider):
    """Save the model of a `clap` provider with its extractor."""
    provider.model.save_pretrained(folder)
    provider.extractor.save_pretrained(folder)
    return folder
