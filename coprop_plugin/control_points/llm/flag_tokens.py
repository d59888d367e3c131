"""Constrained decoding: an answer of exactly T flags from a local model."""

import json
from collections.abc import Mapping
from typing import Any


def requested_flags(schema: Mapping[str, Any] | None) -> tuple[int, str | None] | None:
    """Return how many zeros and ones a JSON schema asks for, if it asks for a list of them.

    Args:
        schema: An array with `minItems == maxItems` whose items are 0 or 1 (as `enum`, or as
            integers from 0 to 1), or an object with one property that is such an array.

    Returns:
        The number of flags, and the name of the property or None; None if the schema asks for
        something else.

    Example:
        >>> items = {"type": "integer", "enum": [0, 1]}
        >>> requested_flags({"type": "array", "items": items, "minItems": 10, "maxItems": 10})
        (10, None)
    """
    schema = schema or {}
    properties = schema.get("properties")
    if schema.get("type") == "object" and isinstance(properties, Mapping) and len(properties) == 1:
        [(key, value)] = properties.items()
        length = _length(value)
        return None if length is None else (length, key)
    length = _length(schema)
    return None if length is None else (length, None)


def _length(schema: object) -> int | None:
    if not isinstance(schema, Mapping) or schema.get("type") != "array":
        return None
    items, length = schema.get("items"), schema.get("minItems")
    if not isinstance(items, Mapping) or not isinstance(length, int) or length < 1:
        return None
    values = items.get("enum")
    flags = (
        sorted(map(json.dumps, values)) == ["0", "1"]
        if isinstance(values, list)
        else items.get("type") == "integer"
        and (items.get("minimum"), items.get("maximum")) == (0, 1)
    )
    return length if flags and schema.get("maxItems") == length else None


def flag_tokens(tokenizer: Any, num_flags: int, key: str | None = None) -> list[list[int]] | None:
    """Return the tokens that are allowed at each position of a JSON list of flags.

    The list is tokenized twice, once with zeros and once with ones. Where the two differ, there is
    a flag, and either token is allowed.

    Args:
        tokenizer: A tokenizer of transformers.
        num_flags: T, the length of the list.
        key: For `{"key": [...]}`; None for the list alone.

    Returns:
        One or two token ids for each position; None if this tokenizer writes several flags in one
        token, or one flag in several, so that positions and flags do not match.
    """
    zeros, ones = (_tokens(tokenizer, num_flags, key, flag) for flag in (0, 1))
    if len(zeros) != len(ones):
        return None
    pairs = [(zero, one) for zero, one in zip(zeros, ones, strict=True) if zero != one]
    texts = [[tokenizer.decode([token]) for token in pair] for pair in pairs]
    if len(pairs) != num_flags or any(zero.replace("0", "1") != one for zero, one in texts):
        return None
    return [sorted({zero, one}) for zero, one in zip(zeros, ones, strict=True)]


def _tokens(tokenizer: Any, num_flags: int, key: str | None, flag: int) -> list[int]:
    flags = [flag] * num_flags
    text = json.dumps(flags if key is None else {key: flags})
    return tokenizer.encode(text, add_special_tokens=False)
