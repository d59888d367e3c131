"""Names of a model's classes."""

from collections.abc import Sequence

from coprop_plugin.errors import CopropError


def checked_class_names(
    names: Sequence[str] | None, num_classes: int, error: type[CopropError]
) -> tuple[str, ...] | None:
    """Check that there is one name for each of a model's classes, and return them.

    Args:
        names: The background's first; two for a binary model. None if they are unknown.
        num_classes: C of the model.
        error: The class of the error to raise.

    Raises:
        CopropError: An `error`, if they are not strings, or not one for each class.

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
            f"Expected {wanted} class_names for num_classes={num_classes}, the background's "
            f"first, got {str(names)[:160]}."
        )
    return tuple(names)
