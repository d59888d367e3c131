"""Pictures of the objects in a frame, which some models are given beside it."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from coprop_plugin.errors import AdapterError, ClipError
from coprop_plugin.types import Clip

PreMasks = Callable[[Clip, Sequence[int]], Tensor] | str | Path | Literal["blank"] | None
"""Where pre-masks come from.

A function `(clip, indices) -> [K, 3, h, w]`, RGB in [0, 1]; the folder of pictures that the
model's authors made, `NAME/*_mask_color.png` at any depth, one per frame in order; `"blank"`:
black pictures, without objects; None: the model takes none.
"""

_PICTURES = "*_mask_color.png"


def pre_mask_pictures(source: PreMasks, clip: Clip, indices: Sequence[int]) -> Tensor:
    """Return the pre-masks of some frames, `[K, 3, h, w]`, float RGB in [0, 1].

    Raises:
        AdapterError: If the function returns something else.
        ClipError: If the folder has no pictures of a clip of this name, or not one per frame.
        MediaError: If a picture cannot be read.
    """
    if source is None:
        raise AdapterError(
            "Expected pre-masks for this model, pictures of the objects in every frame, got none. "
            'Give `pre_masks=`: a function, the folder of its authors\' pictures, or "blank", with '
            "worse masks."
        )
    if isinstance(source, str) and source == "blank":
        return torch.zeros(len(indices), 3, *clip.size)
    if isinstance(source, str | Path):
        return _from_folder(Path(source), clip, indices)
    pictures = source(clip, indices)
    if not isinstance(pictures, Tensor) or pictures.ndim != 4 or pictures.shape[1] != 3:
        came = list(pictures.shape) if isinstance(pictures, Tensor) else type(pictures).__name__
        raise AdapterError(
            f"Expected pre-masks [{len(indices)}, 3, h, w], float RGB in [0, 1], got {came}. "
            "Return one picture per frame."
        )
    return pictures.float()


def _from_folder(folder: Path, clip: Clip, indices: Sequence[int]) -> Tensor:
    from coprop_plugin.media import open_image

    found = _pictures(folder).get(clip.name or "", [])
    if len(found) != len(clip):
        raise ClipError(
            f"Expected {len(clip)} pictures {_PICTURES} of the clip {clip.name!r} in {folder}, one "
            f"per frame, got {len(found)}. Name the clip, or check `pre_masks=`."
        )
    pictures = []
    for index in indices:
        with open_image(found[index]) as image:
            pictures.append(torch.from_numpy(np.array(image.convert("RGB"))))
    return rearrange(torch.stack(pictures), "k h w c -> k c h w") / 255


@lru_cache(maxsize=4)
def _pictures(folder: Path) -> dict[str, list[Path]]:
    """List the pictures below every subfolder by its name, in the order of their numbers."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob(_PICTURES), key=_number):
        for name in path.relative_to(folder).parts[:-1]:
            found[name].append(path)
    return dict(found)


def _number(path: Path) -> int:
    numbers = re.findall(r"\d+", path.name)
    return int(numbers[-1]) if numbers else 0
