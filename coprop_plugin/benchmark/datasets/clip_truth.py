"""The truth of one clip of a data set: masks, classes of the sounding objects, and changes."""

from dataclasses import dataclass, field

from torch import Tensor

from coprop_plugin.control_points.providers import from_masks
from coprop_plugin.types import ControlPoints


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a clip of a data set.

    Args:
        masks: `[T, H, W]` int64, the data set's own masks; 0 in frames without one.
        labelled: `[T]` bool: frames that have a mask.
        labels: `[T, H, W]` class numbers of the sounding objects in the labelled frames; None if
            the masks do not tell objects apart.
        classes: Names of the class numbers, the background's first.
        category: What sounds, if the data set has one word for the whole clip.

    Example:
        >>> import torch
        >>> labels = torch.tensor([0, 1, 2]).reshape(3, 1, 1)
        >>> truth = Truth(labels > 0, torch.ones(3).bool(), labels, ("background", "dog", "girl"))
        >>> truth.categories, truth.sounding, truth.control_points.indices
        (('dog', 'girl'), [(), ('dog',), ('girl',)], [0, 1, 2])
    """

    masks: Tensor = field(repr=False)
    labelled: Tensor = field(repr=False)
    labels: Tensor | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()
    category: str | None = None

    @property
    def control_points(self) -> ControlPoints | None:
        """Where the set of sounding objects changes (appendix A.1); None if frames lack a label.

        From the class labels; without them from the masks, which tell only when anything sounds.
        """
        known = self.masks if self.labels is None else self.labels
        return from_masks(known) if bool(self.labelled.all()) else None

    @property
    def sounding(self) -> list[tuple[str, ...]] | None:
        """The classes that sound in each labelled frame, by name; None if they are not known."""
        if self.labels is None:
            return None
        frames = self.labels[self.labelled]
        return [tuple(self.classes[i] for i in frame.unique().tolist() if i) for frame in frames]

    @property
    def categories(self) -> tuple[str, ...] | None:
        """What sounds somewhere in the labelled frames: classes, or else the clip's category.

        None if it is not known; empty if nothing sounds.
        """
        if self.sounding is not None:
            present = {name for names in self.sounding for name in names}
            return tuple(name for name in self.classes if name in present)
        return (self.category,) if self.category else None
