"""Tiny models that find words in pictures, of the transformers classes, saved as theirs.

Random weights, tokenizers and processors of their own, nothing downloaded.
"""

import string

import torch
import transformers
from tiny_trackers import SAM3_SIDE, sam3_tracker, save_tracker

WORDS = ("a", "photo", "of", "dog", "violin", "man", "playing", ".")


def clip_tokenizer():
    """Return CLIP's tokenizer with letters only: every word is cut into pieces."""
    letters = string.ascii_lowercase
    pieces = [*letters, *[c + "</w>" for c in letters], ".</w>"]
    vocabulary = {t: n for n, t in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    made = transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=32)
    return made, len(vocabulary)


def bert_tokenizer():
    """Return BERT's tokenizer with few words; others are unknown, or cut into letters."""
    pieces = [*string.ascii_lowercase, *["##" + c for c in string.ascii_lowercase]]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {t: n for n, t in enumerate([*special, *WORDS, *pieces])}
    return transformers.BertTokenizer(vocab=vocabulary), len(vocabulary)


def _towers(side, num_tokens):
    small = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    text = dict(vocab_size=num_tokens, max_position_embeddings=32, bos_token_id=num_tokens - 2)
    ends = dict(eos_token_id=num_tokens - 1, pad_token_id=num_tokens - 1)
    return dict(
        text_config={**small, **text, **ends},
        vision_config=dict(**small, image_size=side, patch_size=16),
        projection_dim=32,
    )


def save_owlv2(folder):
    words, size = clip_tokenizer()
    extractor = transformers.Owlv2ImageProcessorPil(size=dict(height=96, width=96))
    transformers.Owlv2Processor(extractor, words).save_pretrained(folder)
    torch.manual_seed(0)
    model = transformers.Owlv2ForObjectDetection(transformers.Owlv2Config(**_towers(96, size)))
    # At random it would be sure of every word in every box.
    for layer in (model.class_head.logit_scale, model.class_head.logit_shift):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    model.eval().save_pretrained(folder)
    return folder


def save_clipseg(folder):
    words, size = clip_tokenizer()
    extractor = transformers.ViTImageProcessorPil(size=dict(height=64, width=64))
    transformers.CLIPSegProcessor(extractor, words).save_pretrained(folder)
    config = transformers.CLIPSegConfig(
        **_towers(64, size),
        extract_layers=[0, 1],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    return _saved(folder, "CLIPSegForImageSegmentation", config)


def save_grounding_dino(folder):
    words, size = bert_tokenizer()
    extractor = transformers.GroundingDinoImageProcessorPil(
        size=dict(shortest_edge=64, longest_edge=96)
    )
    transformers.GroundingDinoProcessor(extractor, words).save_pretrained(folder)
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            image_size=64,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=size,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=10,
        max_text_len=32,
        disable_custom_kernels=True,
    )
    return _saved(folder, "GroundingDinoForObjectDetection", config)


def save_sam2(folder):
    """Save a video model: what the propagator `sam2` loads, and masks of boxes as well."""
    return save_tracker("sam2", folder)


def save_sam3(folder):
    return _saved(folder, "Sam3Model", _sam3_config(folder, side=112))


def save_sam3_video(folder):
    """Save a model as the released SAM 3 is: what finds and what follows, with one encoder."""
    parts = dict(detector_config=_sam3_config(folder, side=SAM3_SIDE))
    config = transformers.Sam3VideoConfig(**parts, tracker_config=sam3_tracker().config)
    return _saved(folder, "Sam3VideoModel", config)


def _sam3_config(folder, side):
    """Save a tokenizer; returns the config of a tiny `Sam3Model`."""
    words, size = clip_tokenizer()
    words.save_pretrained(folder)
    small = dict(hidden_size=128, num_attention_heads=2)
    layers = dict(**small, num_layers=1, intermediate_size=32)
    vision = transformers.Sam3VisionConfig(
        backbone_config=transformers.Sam3ViTConfig(
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=side,
            patch_size=14,
            window_size=4,
            global_attn_indexes=[1],
            pretrain_image_size=side,
        ),
        fpn_hidden_size=128,
        backbone_feature_sizes=[[side * n // 14] * 2 for n in (4, 2, 1)],
    )
    text = dict(
        model_type="clip_text_model",
        vocab_size=size,
        max_position_embeddings=16,
        projection_dim=16,
        intermediate_size=32,
        num_hidden_layers=1,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
        **small,
    )
    return transformers.Sam3Config(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config=dict(**layers, num_queries=6),
        mask_decoder_config=small,
    )


def _saved(folder, kind, config):
    torch.manual_seed(0)
    getattr(transformers, kind)(config).eval().save_pretrained(folder)
    return folder


SAVE = dict(
    clipseg=save_clipseg,
    grounding_dino=save_grounding_dino,
    owlv2=save_owlv2,
    sam2=save_sam2,
    sam3=save_sam3,
)
