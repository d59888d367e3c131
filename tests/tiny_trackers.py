"""Tiny models of transformers' video trackers with random weights, saved as their folders."""

import torch
import transformers

SIDE = 64
SAM3_SIDE = 56
# A multiple of the 64 channels of their memory, and more than that.
WIDTH = 128

_FPN = dict(
    backbone_channel_list=[64, 32, 16, 8],
    fpn_hidden_size=WIDTH,
    backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
)
_DECODER = dict(hidden_size=WIDTH, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16)


def _prompt(side, patch):
    return dict(hidden_size=WIDTH, image_size=side, patch_size=patch, mask_input_channels=4)


def _memory(side):
    return dict(
        image_size=side,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=WIDTH,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=16,
        mask_decoder_config=_DECODER,
    )


def _sam2():
    hiera = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        image_size=[SIDE, SIDE],
        window_positional_embedding_background_size=[4, 4],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
    )
    config = transformers.Sam2VideoConfig(
        vision_config=transformers.Sam2VisionConfig(backbone_config=hiera, **_FPN),
        prompt_encoder_config=_prompt(SIDE, 16),
        memory_attention_feed_forward_hidden_size=16,
        **_memory(SIDE),
    )
    return transformers.Sam2VideoModel(config)


def sam3_tracker():
    vit = transformers.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SAM3_SIDE,
        patch_size=14,
        window_size=4,
        global_attn_indexes=[0],
        pretrain_image_size=SAM3_SIDE,
    )
    vision = transformers.Sam3VisionConfig(
        backbone_config=vit,
        fpn_hidden_size=WIDTH,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )
    config = transformers.Sam3TrackerVideoConfig(
        vision_config=vision,
        prompt_encoder_config=_prompt(SAM3_SIDE, 14),
        memory_attention_feed_forward_hidden_size=16,
        **_memory(SAM3_SIDE),
    )
    return transformers.Sam3TrackerVideoModel(config)


def _edgetam():
    backbone = transformers.TimmWrapperConfig(
        architecture="repvit_m1",
        model_args=dict(
            in_chans=3,
            features_only=True,
            out_indices=[0, 1, 2, 3],
            embed_dim=(8, 16, 32, 64),
            depth=(1, 1, 1, 1),
        ),
    )
    config = transformers.EdgeTamVideoConfig(
        vision_config=transformers.EdgeTamVisionConfig(backbone_config=backbone, **_FPN),
        prompt_encoder_config=_prompt(SIDE, 16),
        memory_attention_mlp_hidden_size=16,
        memory_attention_rope_k_sizes=[2, 2],
        perceiver_resampler_num_latents=4,
        perceiver_resampler_num_latents_2d=4,
        **_memory(SIDE),
    )
    return transformers.EdgeTamVideoModel(config)


_MAKERS = {"sam2": _sam2, "sam3": sam3_tracker, "edgetam": _edgetam}


def save_tracker(name, folder, seed=0, score=4.0):
    """Save the tracker of a propagator as `save_pretrained` does; returns the folder.

    Its weights are large enough that masks depend on everything; `score` is about the logit of an
    object to be in the picture.
    """
    torch.manual_seed(seed)
    model = _MAKERS[name]().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    torch.nn.init.constant_(model.mask_decoder.pred_obj_score_head.proj_out.bias, score)
    model.save_pretrained(folder)
    return folder
