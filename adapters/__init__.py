"""Adapters: one folder or file per family of models that Co-Prop can wrap.

`recognise.find_backend` finds the adapter of a model, `registered` imports all of ours.
"""

if __name__ == "adapters":
    raise ImportError(
        "This folder is the package coprop_plugin.adapters; "
        "write `from coprop_plugin import adapters`."
    )
