"""Real instances of newer models, with random weights, from checkouts on this machine.

`COPROP_UPSTREAM` names a folder with checkouts of their authors' code; see `CHECKOUTS`. What their
imports ask for and a forward pass does not need is stood in for, if missing. Networks are narrower
and shallower than released ones where their size is an argument; nothing else is changed.
"""

import importlib
import json
import sys
import types
from functools import partial
from pathlib import Path

import upstream_builders as upstream
from torch import nn

from coprop_plugin.adapters.devices import cuda_calls_stay

CHECKOUTS = {
    "steppingstones": "GeWu-Lab/Stepping-Stones",
    "cavp": "cyh-0/CAVP",
    "gavs": "GeWu-Lab/Generalizable-Audio-Visual-Segmentation",
    "sama": "jinxiang-liu/anno-free-AVS",
    "combo": "yannqi/COMBO-AVS",
    "vct": "spyflying/VCT_AVS",
    "detectron2": "facebookresearch/detectron2",
    "fvcore": "facebookresearch/fvcore",
    "iopath": "facebookresearch/iopath",
    "yacs": "rbgirshick/yacs",
}
"""Folder in `COPROP_UPSTREAM`: repository on GitHub."""


class _Dictionary(dict):
    """`easydict.EasyDict`: entries are attributes."""

    def __init__(self, entries=(), **more):
        for name, value in {**dict(entries), **more}.items():
            setattr(self, name, value)

    def __setattr__(self, name, value):
        self[name] = _Dictionary(value) if type(value) is dict else value

    __getattr__ = dict.__getitem__


class _Silent:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


class _Mlp(nn.Module):
    """`timm`'s: linear, activation, linear; with two dropouts that do nothing in eval mode."""

    def __init__(self, in_features, hidden_features, out_features=None, act_layer=nn.GELU, drop=0):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_features, out_features or in_features)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


def prepare(folder):
    upstream.prepare(folder)
    sys.modules["timm.models.layers"].Mlp = _Mlp
    upstream.stand_in("loguru", logger=_Silent())
    upstream.stand_in("easydict", EasyDict=_Dictionary)
    upstream.stand_in("pandas")


def cavp(num_classes=71, backbone="DeepLabV3Plus"):
    """Build `CAVP` on ResNet-50, with its own VGGish-like audio network."""
    prepare(upstream.root() / "cavp")
    resnet = importlib.import_module("models.visual.backbones.resnet")
    resnet.load_model = lambda model, *args, **kwargs: model
    args = types.SimpleNamespace(
        seg_model=backbone,
        last_three_dilation_stride=[False] * 3,
        audio_backbone="vgg",
        num_classes=num_classes,
        batch_size=2,
        local_rank="cpu",
    )
    kind = importlib.import_module("models.cavp_model").CAVP
    return kind(50, None, num_classes=num_classes, visual_backbone=50, args=args)


def gavs(side=128):
    """Build `AVSM` around its Segment Anything of two blocks."""
    folder = upstream.root() / "gavs" / "GAVS"
    prepare(folder)
    sys.path.insert(0, str(folder / "segment_anything"))
    # Its modules read the command line when they are imported; blocks from 1 on are adapted.
    sys.argv = ["run", "--tune_v", "1", "--device", "cpu"]
    parts = importlib.import_module("modeling")
    encoder = parts.ImageEncoderViT(
        depth=2,
        embed_dim=64,
        img_size=side,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=2,
        patch_size=16,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=[1],
        window_size=4,
        out_chans=256,
    )
    grid = (side // 16, side // 16)
    decoder = parts.MaskDecoder(
        num_multimask_outputs=3,
        transformer=parts.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        transformer_dim=256,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    sam = parts.Sam(encoder, parts.PromptEncoder(256, grid, (side, side), 16), decoder)
    config = {"device": "cuda", "loss": nn.BCEWithLogitsLoss(), "tune_v": 9}
    return importlib.import_module("avs_model").AVSM(sam, None, config)


def sama(side=256):
    """Build `SAM` of SAMA-AVS, with two blocks and its VGGish."""
    folder = upstream.root() / "sama"
    prepare(folder)
    for name in ("models.mmseg", "models.mmseg.models"):
        # What they import of mmcv 1 is for training; only the folder inside is needed.
        module = types.ModuleType(name)
        module.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = module
    importlib.import_module("configs.vggish_config").cfg.TRAIN.FREEZE_AUDIO_EXTRACTOR = False
    mode = dict(
        name="sam",
        img_size=side,
        mlp_ratio=4,
        patch_size=16,
        qkv_bias=True,
        use_rel_pos=True,
        window_size=4,
        out_chans=256,
        scale_factor=32,
        input_type="fft",
        freq_nums=0.25,
        prompt_type="highpass",
        prompt_embed_dim=256,
        tuning_stage=1234,
        handcrafted_tune=True,
        embedding_tune=True,
        adaptor="adaptor",
        embed_dim=64,
        depth=2,
        num_heads=2,
        global_attn_indexes=[1],
    )
    return importlib.import_module("models.sam").SAM(inp_size=side, encoder_mode=mode, loss="iou")


def stepping_stones(stage):
    """Build the model of `avs` or `avss` on its own `transformers`, from its own configuration."""
    folder = upstream.root() / "steppingstones" / stage
    # It asks for the versions of its time.
    versions = types.ModuleType("transformers.dependency_versions_check")
    versions.dep_version_check = lambda *args, **kwargs: None
    sys.modules[versions.__name__] = versions
    sys.path.insert(0, str(folder))
    # Before anything is stood in for, whose absence it must see for itself.
    transformers = importlib.import_module("transformers")
    prepare(folder)
    assert Path(transformers.__file__).is_relative_to(folder)
    settings = json.loads((folder / ".models/config.json").read_text())
    settings |= dict(encoder_layers=1, decoder_layers=3)
    settings["backbone_config"] |= dict(
        depths=[1, 1, 1, 1], embed_dim=32, num_heads=[1, 2, 4, 8], hidden_size=256
    )
    processor = json.loads((folder / ".models/preprocessor_config.json").read_text())
    del processor["image_processor_type"], processor["_max_size"]
    config = transformers.Mask2FormerConfig.from_dict(settings)
    network = transformers.Mask2FormerForUniversalSegmentation
    network.from_pretrained = lambda *args, **kwargs: network(config)
    images = transformers.Mask2FormerImageProcessor
    images.from_pretrained = lambda *args, **kwargs: images(**processor)
    args = types.SimpleNamespace(model_dir=None, mask_path="masks")
    with cuda_calls_stay("cpu"):
        model = importlib.import_module("avs_model").AdaptiveAVS(args)
    for name, parameter in model.named_parameters():
        # So small at the start that all queries were alike.
        if "queries" in name or "class_predictor.weight" in name:
            nn.init.normal_(parameter)
        if "mask_embedder" in name:
            nn.init.normal_(parameter, std=0.5)
    return model
