"""Models of the transformers package, by id or folder; transformers is imported when needed."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from coprop_plugin.checkpoints.downloads import fetch_checkpoint
from coprop_plugin.errors import CheckpointError, MissingExtraError, short_reason


def transformers_class(name: str) -> Any:
    """Return a class of transformers.

    Raises:
        MissingExtraError: If transformers is not installed, or has no such class.

    Example:
        >>> transformers_class("ClapConfig")().model_type
        'clap'
    """
    try:
        import transformers

        return getattr(transformers, name)
    except (ImportError, AttributeError) as error:
        raise MissingExtraError(
            f"{name} of transformers is needed, which the installed version lacks ({error}). Run "
            "`pip install -U 'transformers>=5,<6'`."
        ) from error


def load_pretrained(
    name: str, source: str | Path, *, local_files_only: bool = False, **options: Any
) -> Any:
    """Load a model, a processor, a tokenizer or a config.

    A model whose weights are not all in the file is refused: transformers itself would use random
    ones. `HF_HUB_OFFLINE=1` in the environment works as `local_files_only` does.

    Args:
        name: The class, e.g. "ClapModel" or "AutoTokenizer".
        source: A folder of `save_pretrained`; or a short name or an id on the hub, which is
            downloaded if need be, see `fetch_checkpoint`.
        local_files_only: Whether to use files on this machine only.
        **options: For `from_pretrained`.

    Returns:
        The object; models are on the CPU, in eval mode.

    Raises:
        MissingExtraError: If transformers has no such class.
        DownloadError: If it is not on this machine and cannot be downloaded.
        CheckpointError: If there are no such files, they are damaged, or of another model.
    """
    kind = transformers_class(name)
    folder = fetch_checkpoint(
        source, revision=options.pop("revision", None), local_files_only=local_files_only
    )
    is_model = hasattr(kind, "main_input_name")
    if is_model:
        options["output_loading_info"] = True
    try:
        loaded = kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        advice = "Give a folder of `save_pretrained` of such a model."
        if folder != Path(source):
            advice = f"Run `coprop weights get {source}`, which downloads damaged files again."
        elif isinstance(error, SafetensorError):
            advice = "Its weights are damaged: save or copy them again."
        raise CheckpointError(
            f"No {name} can be loaded from {str(source)!r}: {short_reason(error)} {advice}"
        ) from error
    if not is_model:
        return loaded
    model, report = loaded
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            f"{source} has no weights for {len(missing)} parameters of {name} "
            f"({', '.join(missing[:4])} ...), which would be random. It is another model; give one "
            f"whose config says {name}."
        )
    return model.eval()
