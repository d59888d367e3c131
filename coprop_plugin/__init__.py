"""Co-Prop: gives any audio-visual segmentation model a sense of time.

`wrap(model)` returns the model with temporally aligned masks; see `coprop_plugin.pipeline.wrap`.
Importing this package imports nothing heavy: the names below are loaded when first used.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Type checkers and editors do not run `__getattr__`.
    from coprop_plugin.errors import CopropError as CopropError
    from coprop_plugin.pipeline import CoProp as CoProp
    from coprop_plugin.pipeline.wrap import unwrap as unwrap
    from coprop_plugin.pipeline.wrap import wrap as wrap
    from coprop_plugin.registry import list_audio_llms as list_audio_llms
    from coprop_plugin.registry import list_backends as list_backends
    from coprop_plugin.registry import list_propagators as list_propagators
    from coprop_plugin.registry import list_providers as list_providers
    from coprop_plugin.types import Clip as Clip
    from coprop_plugin.types import ControlPoints as ControlPoints
    from coprop_plugin.types import FrameResult as FrameResult
    from coprop_plugin.types import SegmentationResult as SegmentationResult
    from coprop_plugin.types import naming as naming

__version__ = "0.1.0"

# In a source checkout adapters/ sits beside this package; installed, it is coprop_plugin/adapters.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "setup.cfg").is_file() and (_checkout / "adapters" / "__init__.py").is_file():
    __path__.append(str(_checkout))

_HOMES = {
    "Clip": "types",
    "ControlPoints": "types",
    "FrameResult": "types",
    "SegmentationResult": "types",
    "naming": "types",
    "CopropError": "errors",
    "CoProp": "pipeline",
    "wrap": "pipeline.wrap",
    "unwrap": "pipeline.wrap",
    "list_audio_llms": "registry",
    "list_backends": "registry",
    "list_providers": "registry",
    "list_propagators": "registry",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
