"""Models of the transformers package, by id or folder: imported late, whole or not at all."""

from pathlib import Path
from typing import Any

from coprop_plugin.errors import CheckpointError, MissingExtraError


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
            f"This needs {name} of transformers, which the installed one lacks ({error}). Run "
            "`pip install -U 'transformers>=5,<6'`."
        ) from error


def load_pretrained(
    name: str, source: str | Path, *, local_files_only: bool = False, **options: Any
) -> Any:
    """Load a model, a processor, a tokenizer or a config.

    A model whose weights are not all in the file is refused: transformers itself would go on with
    random ones. `HF_HUB_OFFLINE=1` in the environment works as `local_files_only` does.

    Args:
        name: The class, "ClapModel" or "AutoTokenizer" say.
        source: An id on the hub, or a folder that `save_pretrained` wrote.
        local_files_only: Whether to fetch nothing.
        **options: For `from_pretrained`.

    Returns:
        What was loaded; models on the CPU, in eval mode.

    Raises:
        MissingExtraError: If transformers has no such class.
        CheckpointError: If there are no such files, or they are of another model.
    """
    kind = transformers_class(name)
    is_model = hasattr(kind, "main_input_name")
    if is_model:
        options["output_loading_info"] = True
    try:
        loaded = kind.from_pretrained(source, local_files_only=local_files_only, **options)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"Got {str(source)!r}, from which no {name} can be loaded: {_short(error)} Name a "
            "folder that `save_pretrained` wrote, or an id on the hub; offline (local_files_only, "
            f"HF_HUB_OFFLINE) it must be fetched before: `hf download {source}`."
        ) from error
    if not is_model:
        return loaded
    model, report = loaded
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            f"{source} holds no weights for {len(missing)} parameters of {name} "
            f"({', '.join(missing[:4])} ...), which would be random. It is of another model; name "
            f"one whose config says {name}."
        )
    return model.eval()


def _short(error: BaseException, limit: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
