"""Real instances of COMBO and VCT, with random weights, on detectron2's own Python code.

As `upstream_newer`. detectron2 and the packages of its authors that it asks for are checkouts
beside the models', not installed; what else they import is stood in for, if missing. No compiled
code is needed: their deformable attention falls back to grid sampling.
"""

import importlib
import sys
import types

import upstream_builders as upstream
import upstream_newer as newer

# Before packages are stood in for, whose absence transformers must see for itself.
from transformers import PvtV2Backbone, ResNetBackbone  # noqa: F401

_MISSING = (
    "aiofiles omegaconf omegaconf.base hydra hydra.utils portalocker tabulate cloudpickle "
    "torchvision.ops.boxes torchvision.transforms"
).split()


class _AnyKind(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Any(metaclass=_AnyKind):
    """Anything that a module may import: a class, a decorator, a constant."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return args[0] if args else self

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Any


class _AnyModule(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Any


def _prepare(folder):
    for name in ("detectron2", "fvcore", "iopath", "yacs"):
        sys.path.insert(0, str(upstream.root() / name))
    newer.prepare(folder)
    for name in _MISSING:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = module = _AnyModule(name)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
    for name in ("torchvision", "torchvision.ops", "torchvision.models"):
        sys.modules[name] = _AnyModule(name)
        sys.modules[name].__version__ = "0.99"
    # torch prints a table when it ends.
    sys.modules["tabulate"].tabulate = lambda *args, **kwargs: ""


def build(family, config, **options):
    """Build COMBO or VCT from one of its own configurations, "avs_s4/Test_COMBO_R50_bs8_90k" say.

    Args:
        family: The checkout, `combo` or `vct`.
        config: In its `configs`, without suffix.
        **options: Entries of the configuration to set, with `__` for dots.
    """
    folder = upstream.root() / family
    _prepare(folder)
    parts = importlib.import_module("models")
    cfg = importlib.import_module("detectron2.config").get_cfg()
    importlib.import_module("detectron2.projects.deeplab").add_deeplab_config(cfg)
    for name in ("audio", "fuse", "maskformer2"):
        getattr(parts, f"add_{name}_config")(cfg)
    cfg.merge_from_file(str(folder / "configs" / f"{config}.yaml"), allow_unsafe=True)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.AUDIO.FREEZE_AUDIO_EXTRACTOR = False
    for name, value in options.items():
        cfg.merge_from_list([name.replace("__", "."), value])
    return importlib.import_module("detectron2.modeling").build_model(cfg)
