"""Adapters: one folder or file per family of models that Co-Prop can wrap.

`find_backend` finds the adapter of a model; `load_released` loads a released checkpoint. The
families' own classes are in `adapters.tpavi`, `adapters.avsegformer` and `adapters.catr`.
"""

from coprop_plugin.adapters.callable import CallableBackend
from coprop_plugin.adapters.convert import load_released, load_state, save_released
from coprop_plugin.adapters.mmseg import MMSegBackend
from coprop_plugin.adapters.published import PUBLISHED
from coprop_plugin.adapters.recognise import find_backend
from coprop_plugin.adapters.registered import FAMILIES
from coprop_plugin.adapters.released import Family

if __name__ == "adapters":
    raise ImportError(
        "This folder is the package coprop_plugin.adapters; "
        "write `from coprop_plugin import adapters`."
    )

__all__ = [
    "FAMILIES",
    "PUBLISHED",
    "CallableBackend",
    "Family",
    "MMSegBackend",
    "find_backend",
    "load_released",
    "load_state",
    "save_released",
]
