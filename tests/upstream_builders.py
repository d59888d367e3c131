"""Real instances of the released models, with random weights, from checkouts on this machine.

`COPROP_UPSTREAM` names a folder with the checkouts `avsbench`, `avsegformer` and `catr`. All of
them use top-level packages named `model` and `utils`, so every family needs a process of its own.
Packages that their imports ask for but a forward pass does not need are stood in for, if missing.
"""

import importlib
import os
import runpy
import sys
import types
import wave
from pathlib import Path

import numpy as np
import torch
from torch import nn


class _Identity(nn.Identity):
    """Stochastic depth does nothing in eval mode; takes the probability that timm's does."""


class _StandInModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def stand_in(name, **contents):
    """Put a module of this name in place, unless the real one can be imported."""
    try:
        importlib.import_module(name)
    except ImportError:
        module = _StandInModule(name)
        module.__path__ = []
        vars(module).update(contents)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def _read_wav(path, dtype):
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.astype(dtype), file.getframerate()


def prepare(folder):
    stand_in("torchvision", __version__="0.99")
    for name in ("torchvision.models", "torchvision.ops", "torchvision.ops.misc"):
        stand_in(name)
    stand_in("timm")
    stand_in("timm.models")
    stand_in(
        "timm.models.layers",
        DropPath=_Identity,
        to_2tuple=lambda x: x if isinstance(x, tuple) else (x, x),
        trunc_normal_=nn.init.trunc_normal_,
    )
    stand_in("timm.models.registry", register_model=lambda function: function)
    stand_in("timm.models.vision_transformer", _cfg=lambda **options: options)
    stand_in("resampy")
    stand_in("soundfile", read=_read_wav)
    # The released code falls back to grid sampling when this compiled module is empty.
    sys.modules.setdefault("MultiScaleDeformableAttention", types.ModuleType("empty"))
    sys.path.insert(0, str(folder))


def root():
    return Path(os.environ["COPROP_UPSTREAM"])


def avsegformer(config="s4/AVSegFormer_res50_s4"):
    """Build `AVSegFormer` from one of its own configs, "avss/AVSegFormer_pvt2_avss" say."""
    folder = root() / "avsegformer"
    prepare(folder)
    settings = runpy.run_path(str(folder / "config" / f"{config}.py"))["model"]
    settings["backbone"]["init_weights_path"] = None
    settings["vggish"]["freeze_audio_extractor"] = False
    return importlib.import_module("model").build_model(**settings)


def tpavi(subset="avs_s4", backbone="ResNet"):
    """Build the TPAVI baseline of `avs_s4`, `avs_ms3` or `avss`, on ResNet or PVT."""
    scripts = root() / "avsbench" / "avs_scripts"
    prepare(scripts / subset)
    if backbone == "PVT" and not (scripts / subset / "model" / "pvt.py").is_file():
        # The folder for AVSS lacks the file that it imports; the one for S4 is the right one.
        package = importlib.import_module("model")
        package.__path__.append(str(scripts / "avs_s4" / "model"))
    module = importlib.import_module(f"model.{backbone}_AVSModel")

    class Untrained(module.Pred_endecoder):
        def initialize_weights(self):
            """Load nothing."""

        initialize_pvt_weights = initialize_weights

    config = types.SimpleNamespace(NUM_CLASSES=71)
    width = {"vis_dim": [64, 128, 320, 512]} if backbone == "PVT" else {}
    model = Untrained(256, config, **width, tpavi_stages=[0, 1, 2, 3])
    for name, parameter in model.named_parameters():
        # Zero at the start, which would hide whatever the attention does.
        if name.endswith("W_z.1.weight"):
            nn.init.normal_(parameter, std=0.5)
    return model


def catr():
    """Build `Pred_endecoder` of CATR with the sizes of MTTR, which fit it."""
    prepare(root() / "catr" / "CATR")
    module = importlib.import_module("model.PVT_AVSModel")

    class Untrained(module.Pred_endecoder):
        def initialize_pvt_weights(self, **kwargs):
            """Load nothing."""

    return Untrained(d_model=256, nheads=8, dropout=0.1, dim_feedforward=2048)


def catr_nested(tensors, mask):
    """Make the nested tensor that CATR's collator would."""
    return importlib.import_module("misc").NestedTensor(tensors, mask)


def random_statistics(model, seed=0):
    """Give normalisations some statistics of their own, so that eval differs from training."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model
