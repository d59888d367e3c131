"""What a model calls its classes."""

from collections.abc import Sequence

from coprop_plugin.errors import CopropError


def checked_class_names(
    names: Sequence[str] | None, num_classes: int, error: type[CopropError]
) -> tuple[str, ...] | None:
    """Return the names of a model's classes, if there is one for each.

    Args:
        names: The background's first; two for a binary model. None if they are not known.
        num_classes: C of the model.
        error: What to raise.

    Raises:
        CopropError: An `error`, if they are no texts, or too few or many.

    Example:
        >>> from coprop_plugin.errors import AdapterError
        >>> checked_class_names(["silent", "dog"], 1, AdapterError)
        ('silent', 'dog')
    """
    if names is None:
        return None
    wanted = max(2, num_classes)
    listed = not isinstance(names, str) and all(isinstance(name, str) for name in names)
    if not listed or len(names) != wanted:
        raise error(
            f"Got class_names={str(names)[:160]} for num_classes={num_classes}; wanted {wanted} "
            "names, the background's first."
        )
    return tuple(names)
