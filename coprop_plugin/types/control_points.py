"""Control points: the frames where the set of sounding objects changes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from coprop_plugin.errors import ControlPointError, ControlPointParseError
from coprop_plugin.limits import FRAMES
from coprop_plugin.types.segment_sounds import Sounds


@dataclass(frozen=True, eq=False)
class ControlPoints:
    """Where the set of sounding objects changes: one flag a frame, as in Eq. (1).

    Args:
        flags: `[T]`, 1 where the set of sounding objects differs from the frame before. Flag 0
            is always 1.
        source: The name of the provider.
        log: The provider's notes: scores, raw answers.
        silent: `[T]`, true where the audio is silent, so that no object sounds; None if unknown.
        starts_s: `[K]` float64, when each segment begins, in seconds: more precise than its first
            frame, so that a keyframe's audio window need not include the segment before. Never
            after that frame's span; None if unknown.
        sounds: What sounds in the segments, by name; None if unknown.

    Raises:
        ControlPointError: If the flags are not T zeros and ones that begin with 1, `silent` is not
            one flag a frame, or `starts_s` does not rise or is not one second a control point.

    Example:
        >>> points = ControlPoints([1, 0, 0, 1, 0])
        >>> points.indices, points.segments
        ([0, 3], [range(0, 3), range(3, 5)])
    """

    flags: Tensor
    source: str = "given"
    log: Mapping[str, Any] = field(default_factory=dict, repr=False)
    silent: Tensor | None = None
    starts_s: Tensor | None = None
    sounds: Sounds | None = None

    def __post_init__(self) -> None:
        flags = torch.as_tensor(self.flags).cpu()
        if flags.ndim != 1 or len(flags) == 0 or not bool(((flags == 0) | (flags == 1)).all()):
            raise ControlPointError(
                "Expected one flag, 0 or 1, for each of one or more frames, got "
                f"{_short(flags.tolist())}. For frame indices use "
                "`ControlPoints.from_indices(indices, num_frames)`."
            )
        if not bool(flags[0]):
            raise ControlPointError(
                "Expected 1 as the first flag, because the first frame begins the first segment, "
                f"got flags {_short(flags.int().tolist())}. Set the first one to 1."
            )
        object.__setattr__(self, "flags", flags.bool())
        if self.silent is not None:
            silent = torch.as_tensor(self.silent).cpu().bool()
            if silent.shape != flags.shape:
                raise ControlPointError(
                    f"Expected `silent` with one flag for each of {len(flags)} frames, true where "
                    f"the audio is silent, or None, got {_short(self.silent)}."
                )
            object.__setattr__(self, "silent", silent)
        if self.starts_s is not None:
            starts_s = torch.as_tensor(self.starts_s, dtype=torch.float64).cpu()
            if starts_s.shape != (len(self.indices),) or not bool((starts_s.diff() >= 0).all()):
                raise ControlPointError(
                    "Expected `starts_s` with the second at which each of "
                    f"{len(self.indices)} segments begins, rising, or None, got "
                    f"{_short(starts_s.tolist())}."
                )
            object.__setattr__(self, "starts_s", starts_s)

    @classmethod
    def from_indices(
        cls,
        indices: Iterable[int],
        num_frames: int,
        source: str = "given",
        log: Mapping[str, Any] | None = None,
        **known: Any,
    ) -> "ControlPoints":
        """Make control points from frame indices (not seconds), strictly rising, the first one 0.

        Args:
            indices: As above.
            num_frames: T.
            source: As of the class.
            log: As of the class.
            **known: `silent`, `starts_s` and `sounds` of the class.

        Raises:
            ControlPointError: If the indices do not start at 0, do not rise, or leave the clip.

        Example:
            >>> ControlPoints.from_indices([0, 3], num_frames=5).flags.int().tolist()
            [1, 0, 0, 1, 0]
        """
        indices = list(indices)
        whole = all(float(i).is_integer() for i in indices)
        rising = all(a < b for a, b in zip(indices, indices[1:], strict=False))
        if not (whole and rising and indices[:1] == [0] and indices[-1] < num_frames):
            raise ControlPointError(
                "Expected control points that are whole numbers, start at 0, rise, and stay below "
                f"{num_frames}, got {_short(indices)} for a clip of {num_frames} frames. If they "
                "are seconds, multiply them by the frame rate first."
            )
        FRAMES.check(num_frames, "A list of control points", ControlPointError)
        flags = torch.zeros(num_frames, dtype=torch.bool)
        flags[[int(i) for i in indices]] = True
        return cls(flags, source, log or {}, **known)

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.flags)

    @property
    def indices(self) -> list[int]:
        """Frame indices of the control points, the first one 0."""
        return self.flags.nonzero().flatten().tolist()

    @property
    def segments(self) -> list[range]:
        """The segments between control points: half-open, together every frame once."""
        indices = self.indices
        return [
            range(start, stop)
            for start, stop in zip(indices, [*indices[1:], self.num_frames], strict=True)
        ]

    @property
    def words(self) -> tuple[str, ...] | None:
        """What sounds, as the log names it: a language model's answer, or a person's annotation.

        None if it names nothing.

        Example:
            >>> log = {"windows": [{"eq_4": {"q": ["dog", "singer"]}}]}
            >>> ControlPoints([1, 0, 0], log=log).words
            ('dog', 'singer')
        """
        windows, annotated = self.log.get("windows"), self.log.get("names")
        answers = [w.get("eq_4", {}).get("q", []) for w in windows or () if isinstance(w, dict)]
        given = annotated if isinstance(annotated, list) else []
        lists = [names for names in (*answers, *given) if isinstance(names, list)]
        found = dict.fromkeys(name for names in lists for name in names if isinstance(name, str))
        return tuple(found) or None

    def up_to(self, frame: int) -> "ControlPoints":
        """Drop the points from a frame on; the number of frames stays.

        Example:
            >>> ControlPoints([1, 0, 1, 0, 1]).up_to(4).indices
            [0, 2]
        """
        flags = self.flags & (torch.arange(self.num_frames) < max(frame, 1))
        starts_s = None if self.starts_s is None else self.starts_s[: int(flags.sum())]
        return replace(self, flags=flags, starts_s=starts_s)

    def is_silent(self, index: int) -> bool:
        """Whether the provider marked this frame as silent."""
        return self.silent is not None and bool(self.silent[index])

    def to_dict(self, times: Tensor | None = None) -> dict[str, Any]:
        """Return the content of `control_points.json`; with `times`, in seconds too."""
        content: dict[str, Any] = {
            "format": "coprop.control_points/1",
            "source": self.source,
            "num_frames": self.num_frames,
            "indices": self.indices,
            "flags": self.flags.int().tolist(),
        }
        if times is not None:
            content["seconds"] = [round(float(times[i]), 6) for i in self.indices]
        if self.silent is not None:
            content["silent"] = self.silent.int().tolist()
        if self.starts_s is not None:
            content["starts_s"] = [round(start_s, 6) for start_s in self.starts_s.tolist()]
        if self.sounds is not None:
            content["sounds"] = self.sounds.to_dict()
        content["log"] = dict(self.log)
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ControlPoints":
        """Read the content of `to_dict`.

        Raises:
            ControlPointParseError: If there are neither flags, nor indices with `num_frames`.
            ControlPointError: If there are both, and they disagree.
        """
        try:
            log = dict(content.get("log") or {})
            source = str(content.get("source", "file"))
            known = {name: content.get(name) for name in ("silent", "starts_s")}
            if content.get("sounds") is not None:
                known["sounds"] = Sounds.from_dict(content["sounds"])
            if "flags" in content:
                points = cls(torch.tensor(content["flags"]), source, log, **known)
                if list(content.get("indices", points.indices)) != points.indices:
                    raise ControlPointError(
                        f"The flags mean the frames {_short(points.indices)}, but the indices are "
                        f"{_short(content['indices'])}. Remove one of the two."
                    )
                return points
            frames = int(content["num_frames"])
            return cls.from_indices(content["indices"], frames, source, log, **known)
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            ArithmeticError,
            RuntimeError,
        ) as error:
            if isinstance(error, ControlPointError):
                raise
            raise ControlPointParseError(
                'Expected a mapping with "flags" (one 0 or 1 per frame), or "indices" and '
                f'"num_frames", got {_short(content)}.'
            ) from error

    def __repr__(self) -> str:
        return (
            f"ControlPoints({self.indices}, num_frames={self.num_frames}, source={self.source!r})"
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __eq__(self, other: object) -> bool:
        """Control points are equal if their flags are, whatever their source."""
        return isinstance(other, ControlPoints) and torch.equal(self.flags, other.flags)

    __hash__ = None  # type: ignore[assignment]  # equal points may differ in their log


def _short(value: Any, limit: int = 160) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
