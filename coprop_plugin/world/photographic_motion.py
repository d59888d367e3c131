"""Motion and deformation of cut-outs as functions of time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_OUTSIDE = 0.35
"""Distance from the frame of an object that has left it, beyond its own radius."""


@dataclass(frozen=True)
class Sines:
    """A vector that varies with time: a mean, and a slow and a fast sine on each axis.

    Args:
        mean: The mean, `[n]`.
        amplitude: Amplitudes of the slow and the fast sine, `[2, n]`.
        tempo: Frequencies in radians per second, `[2, n]`.
        phase: Phases in radians, `[2, n]`.
    """

    mean: np.ndarray
    amplitude: np.ndarray
    tempo: np.ndarray
    phase: np.ndarray

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        mean: Sequence[float],
        amplitude: Sequence[float],
        pace: float,
    ) -> "Sines":
        """Draw one with amplitudes up to `amplitude` on each axis, at a speed of `pace`."""
        n = len(mean)
        slow = np.array(amplitude) * rng.uniform(0.2, 1, n)
        fast = 0.25 * np.array(amplitude) * rng.uniform(0, 1, n)
        tempo = pace * np.stack([rng.uniform(0.5, 1.5, n), rng.uniform(2, 5, n)])
        return cls(np.array(mean), np.stack([slow, fast]), tempo, rng.uniform(0, 2 * np.pi, (2, n)))

    def at(self, time_s: float) -> np.ndarray:
        """Return the vector at a time, `[n]`."""
        return self.mean + (self.amplitude * np.sin(self.tempo * time_s + self.phase)).sum(0)


@dataclass(frozen=True)
class Stops:
    """A path that stays at places for a while and moves quickly between them.

    Args:
        starts_s: Start of the movement to each place but the first, `[k]`, rising.
        lengths_s: Duration of each movement, `[k]`.
        places: The places, `[k + 1, 2]`.

    Example:
        >>> stops = Stops(np.array([1.0]), np.array([0.5]), np.array([[0.0, 0.0], [1.0, 0.0]]))
        >>> [float(stops.at(t)[0]) for t in (0.5, 1.25, 2.0)]
        [0.0, 0.5, 1.0]
    """

    starts_s: np.ndarray
    lengths_s: np.ndarray
    places: np.ndarray

    def at(self, time_s: float) -> np.ndarray:
        """Return the place at a time, `[2]`."""
        share = ((time_s - self.starts_s) / self.lengths_s).clip(0, 1)
        share = share * share * (3 - 2 * share)
        return self.places[0] + (share[:, None] * np.diff(self.places, axis=0)).sum(0)

    @classmethod
    def drawn(
        cls, rng: np.random.Generator, duration_s: float, radius: float, leaves: bool, pace: float
    ) -> "Stops":
        """Draw places as shares of the frame; some lie outside if the object `leaves`."""
        starts, place_s = [], float(rng.uniform(0.5, 3) / pace)
        while place_s < duration_s:
            starts.append(place_s)
            place_s += float(rng.uniform(0.8, 4) / pace)
        places = [rng.uniform(0.15, 0.85, 2)]
        for _ in starts:
            away = leaves and rng.random() < 0.5 and _is_inside(places[-1])
            places.append(_outside(rng, radius) if away else rng.uniform(0.1, 0.9, 2))
        lengths = rng.uniform(0.25, 1.2, len(starts)) / np.sqrt(pace)
        return cls(np.array(starts), lengths, np.array(places).reshape(-1, 2))


def _is_inside(place: np.ndarray) -> bool:
    return bool((abs(place - 0.5) < 0.5).all())


def _outside(rng: np.random.Generator, radius: float) -> np.ndarray:
    place = rng.uniform(0.2, 0.8, 2)
    side = int(rng.integers(2))
    place[side] = -_OUTSIDE - radius if rng.random() < 0.5 else 1 + _OUTSIDE + radius
    return place


@dataclass(frozen=True)
class Joint:
    """A part of an object that swings about a point, e.g. a head, a wing, a leg.

    Args:
        hinge: Its fixed point in the object's coordinates (-1 to 1), `[2]`.
        towards: Unit vector from the hinge to the part, `[2]`.
        softness: Distance over which the swing increases to its full angle.
        angle: The angle of the swing in radians.
    """

    hinge: np.ndarray
    towards: np.ndarray
    softness: float
    angle: Sines

    @classmethod
    def drawn(cls, rng: np.random.Generator, pace: float) -> "Joint":
        """Draw a joint at some distance from the centre."""
        turn = float(rng.uniform(0, 2 * np.pi))
        towards = np.array([np.cos(turn), np.sin(turn)])
        angle = Sines.drawn(rng, [0.0], [float(rng.uniform(0.1, 0.45))], 1.5 * pace)
        return cls(towards * rng.uniform(0.1, 0.4), towards, float(rng.uniform(0.15, 0.4)), angle)

    def bend(self, u: np.ndarray, v: np.ndarray, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions in the undeformed object of pixels u, v of the bent one."""
        x, y = u - self.hinge[0], v - self.hinge[1]
        share = ((x * self.towards[0] + y * self.towards[1]) / self.softness).clip(0, 1)
        angle = -self.angle.at(time_s)[0] * share * share * (3 - 2 * share)
        c, s = np.cos(angle), np.sin(angle)
        return c * x - s * y + self.hinge[0], s * x + c * y + self.hinge[1]


@dataclass(frozen=True)
class Motion:
    """Position, pose and deformation of one object over time.

    Args:
        stops: Where it stays and goes, as shares of the picture.
        sway: x, y as shares of the picture on top, log scale, angle, log stretch, shear.
        rubber: `[nodes * nodes * 2]` displacements of a grid of nodes over the object, smooth
            between them (a thin plate), in units of half its longer side.
        nodes: Along each side of that grid.
        joints: Parts that swing.
    """

    stops: Stops
    sway: Sines
    rubber: Sines
    nodes: int
    joints: tuple[Joint, ...]

    @classmethod
    def drawn(
        cls,
        rng: np.random.Generator,
        duration_s: float,
        radius: float,
        *,
        pace: float,
        leaves: bool,
        deforms: float,
    ) -> "Motion":
        """Draw the motion of an object.

        Args:
            rng: Source of randomness.
            duration_s: Length of the scene in seconds.
            radius: Half its longer side, as a share of the shorter side of the frame.
            pace: Speed: 1 for a lively animal, 0.1 for hardly any motion.
            leaves: Whether it may leave the frame and return.
            deforms: 0 for a rigid object, 1 for one that bends like an animal.
        """
        still = rng.random() < 0.25
        stops = Stops.drawn(rng, duration_s, radius, leaves, pace)
        if still:
            stops = Stops(stops.starts_s[:0], stops.lengths_s[:0], stops.places[:1])
        turn = float(rng.choice([0.08, 0.25, 0.8]))
        sways = [0.08, 0.06, float(rng.uniform(0.05, 0.4)), turn, 0.06 + 0.12 * deforms, 0.1]
        sway = Sines.drawn(rng, [0, 0, 0, float(rng.normal(0, 0.15)), 0, 0], sways, pace)
        nodes = int(rng.integers(3, 6))
        size = float(rng.uniform(0, 0.16)) * deforms
        rubber = Sines.drawn(rng, [0.0] * nodes**2 * 2, [size] * nodes**2 * 2, 1.5 * pace)
        count = int(rng.integers(0, 3)) if rng.random() < deforms else 0
        joints = tuple(Joint.drawn(rng, pace) for _ in range(count))
        return cls(stops, sway, rubber, nodes, joints)

    def affine(self, time_s: float, radius_px: float, size: tuple[int, int]) -> np.ndarray:
        """Return the map from object coordinates (-1 to 1) to pixels, `[2, 3]`."""
        x, y, grow, angle, stretch, shear = self.sway.at(time_s)
        place = self.stops.at(time_s) + (x, y)
        c, s = np.cos(angle), np.sin(angle)
        form = np.array([[np.exp(stretch), shear], [0, np.exp(-stretch)]])
        turn = radius_px * np.exp(grow) * (np.array([[c, -s], [s, c]]) @ form)
        return np.column_stack([turn, place * (size[1], size[0])])

    def undeformed(
        self, u: np.ndarray, v: np.ndarray, time_s: float, strength: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions in the cut-out of pixels u, v of the deformed object.

        Args:
            u: Horizontal positions `[h, w]` float32, -1 to 1 along the longer side.
            v: Vertical positions `[h, w]` float32.
            time_s: Time in seconds.
            strength: Factor of the deformation.
        """
        import cv2

        grid = strength * self.rubber.at(time_s).reshape(self.nodes, self.nodes, 2).astype(
            np.float32
        )
        across = ((u + 1) * (self.nodes - 1) / 2).astype(np.float32)
        down = ((v + 1) * (self.nodes - 1) / 2).astype(np.float32)
        moved = cv2.remap(grid, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        u, v = u + moved[..., 0], v + moved[..., 1]
        for joint in self.joints:
            u, v = joint.bend(u, v, time_s)
        return u, v
