"""What sounds in each segment, by name, and where a person says that it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coprop_plugin.errors import ControlPointError

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the frame."""

Boxes = Mapping[int, Mapping[str, tuple[Box, ...]]]
"""Boxes by frame and name."""


@dataclass(frozen=True)
class Sounds:
    """What sounds in each segment, by name.

    Args:
        named: The names by the first frame of a segment; () where nothing that can be named sounds.
            A segment without an entry is unnamed.
        classes: Every name once: class k of the masks is `classes[k - 1]`. Names that only `named`
            or `boxes` have are added behind.
        boxes: Where things are, as a person says: they replace what a detector finds in that frame.

    Example:
        >>> sounds = Sounds({0: ("dog",), 8: ("dog", "violin")})
        >>> sounds.classes, sounds.named[8]
        (('dog', 'violin'), ('dog', 'violin'))
    """

    named: Mapping[int, tuple[str, ...]]
    classes: tuple[str, ...] = ()
    boxes: Boxes = field(default_factory=dict)

    def __post_init__(self) -> None:
        lists: Iterable[Iterable[str]] = (self.classes, *self.named.values(), *self.boxes.values())
        known = dict.fromkeys(name for names in lists for name in names)
        object.__setattr__(self, "classes", tuple(known))

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types, as in `control_points.json`."""
        content: dict[str, Any] = {
            "classes": list(self.classes),
            "segments": {str(t): list(names) for t, names in sorted(self.named.items())},
        }
        if self.boxes:
            content["boxes"] = {
                str(t): {name: [list(box) for box in boxes] for name, boxes in found.items()}
                for t, found in sorted(self.boxes.items())
            }
        return content

    @classmethod
    def from_dict(cls, content: Any) -> "Sounds":
        """Read the content of `to_dict`.

        Raises:
            ControlPointError: If it is something else.

        Example:
            >>> Sounds.from_dict({"segments": {"0": ["dog"], "8": []}}).named
            {0: ('dog',), 8: ()}
        """
        try:
            named = {int(t): _names(names) for t, names in content.get("segments", {}).items()}
            boxes = {
                int(t): {name: tuple(map(_box, listed)) for name, listed in found.items()}
                for t, found in content.get("boxes", {}).items()
            }
            return cls(named, _names(content.get("classes", ())), boxes)
        except (AttributeError, TypeError, ValueError) as error:
            raise ControlPointError(
                'Expected "sounds" as {"segments": {FRAME: [NAME, ...]}, "boxes": {FRAME: {NAME: '
                "[[left, top, right, bottom]]}}}, with the first frame of segments and pixels; got "
                f"{str(content)[:160]}. Correct it, or remove it."
            ) from error


def _names(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(n, str) and n.strip() for n in names):
        raise ValueError("names")
    return tuple(dict.fromkeys(name.strip() for name in names))


def _box(numbers: Sequence[float]) -> Box:
    left, top, right, bottom = (float(n) for n in numbers)
    if not (left < right and top < bottom and max(map(abs, (left, top, right, bottom))) < 1e6):
        raise ValueError("box")
    return left, top, right, bottom
