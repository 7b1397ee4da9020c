"""Handwritten digits on a textured canvas, several to a scene, with a mask for each: what matters, and where, is known.

The digits are scikit-learn's (8 x 8 pixels, 0 to 16; E. Alpaydin and C. Kaynak, UCI, BSD licence of scikit-learn).  A scene has one
digit in the upper left quadrant and one to three in the others, all different.  Two things are asked of it: which classes are
present, and which digit stands in the upper left.  Which digits are held out is a matter of the sha256 of their pixels, so no
stroke of a held-out scene was seen in training.

    python -m pelrp_nb.zoo.scenes OUT        writes the held-out digits that travel with this package (needs scikit-learn)
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..extras import extra

SIDE = 32  # pixels of a scene's side
SIZE, STEP = 12, 4  # pixels of a digit's side, and between two places where it may stand
QUADRANTS = ("upper left", "upper right", "lower left", "lower right")
CLASSES = 10
HELD_OUT = 15  # per cent of all digits
LICENSE = "BSD-3-Clause"
CREDIT = "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI; copy in scikit-learn"
LABELS = (*(f"{digit} is present" for digit in range(CLASSES)), *(f"{digit} is in the {QUADRANTS[0]}" for digit in range(CLASSES)))
INK = 0.3  # a pixel belongs to a digit if so much of it is the digit's colour
_PACKAGED = Path(__file__).parent / "held_out" / "digits.npz"


@dataclass(frozen=True)
class Placed:
    """One digit of a scene: its class, its quadrant (an index into QUADRANTS), and its pixels (H, W), true inside."""

    digit: int
    quadrant: int
    mask: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Scene:
    """One picture (H, W, 3) of bytes, and the digits in it; the first stands in the upper left."""

    image: np.ndarray = field(repr=False)
    digits: tuple[Placed, ...]

    @property
    def upper_left(self) -> int:
        """The digit in the upper left quadrant."""
        return self.digits[0].digit

    @property
    def present(self) -> tuple[int, ...]:
        """The classes in the scene, in increasing order."""
        return tuple(sorted(placed.digit for placed in self.digits))

    @property
    def label(self) -> int:
        """The model's label for the digit in the upper left, an index into LABELS."""
        return CLASSES + self.upper_left

    def truth(self, label: int) -> np.ndarray:
        """The pixels (H, W) that an answer hangs on: those of its digit; none if it is not there."""
        found = [p.mask for p in self.digits[: 1 if label >= CLASSES else None] if p.digit == label % CLASSES]
        return found[0] if found else np.zeros(self.image.shape[:2], bool)


@dataclass(frozen=True)
class Digits:
    """Source digits: pixels (N, 8, 8) between 0 and 1, and their classes (N,)."""

    pixels: np.ndarray = field(repr=False)
    classes: np.ndarray = field(repr=False)


def digits(held_out: bool) -> Digits:
    """The digits to learn from (they need scikit-learn), or the held-out ones, which travel with the package."""
    if held_out:
        with np.load(_PACKAGED) as kept:
            return Digits(kept["pixels"] / 16.0, kept["classes"].astype(int))
    pixels, classes, out = _source()
    return Digits(pixels[~out] / 16.0, classes[~out])


def _source() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All digits as bytes (N, 8, 8), their classes, and which are held out."""
    found = extra("sklearn.datasets", "To draw scenes to learn from").load_digits()
    pixels = found.images.astype(np.uint8)
    out = [int(hashlib.sha256(one.tobytes()).hexdigest()[:8], 16) % 100 < HELD_OUT for one in pixels]
    return pixels, found.target.astype(np.uint8), np.array(out)


def scenes(source: Digits, seed: int) -> Iterator[Scene]:
    """Scenes without end, drawn from these digits; the same seed gives the same scenes."""
    rng = np.random.default_rng(seed)
    by_class = [np.flatnonzero(source.classes == digit) for digit in range(CLASSES)]
    while True:
        canvas = texture(rng)
        classes = rng.permutation(CLASSES)[: rng.integers(2, len(QUADRANTS) + 1)]
        quadrants = (0, *(1 + rng.permutation(len(QUADRANTS) - 1)))
        placed = []
        for digit, quadrant in zip(classes, quadrants, strict=False):
            strokes = source.pixels[rng.choice(by_class[digit])]
            ink = _stamp(strokes, int(quadrant), rng)
            canvas = canvas * (1 - ink[..., None]) + _bright(rng) * ink[..., None]
            placed.append(Placed(int(digit), int(quadrant), ink > INK))
        yield Scene((canvas * 255).round().astype(np.uint8), tuple(placed))


def texture(rng: np.random.Generator) -> np.ndarray:
    """A dark canvas (H, W, 3) between 0 and 1: waves of a random direction and grain, in a random tint."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    angle, waves = rng.uniform(0, np.pi), rng.uniform(1, 5)
    field = np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
    grain = rng.normal(size=(SIDE, SIDE))
    tint = rng.uniform(0.1, 0.35, size=3)
    return np.clip(tint + 0.05 * field[..., None] + 0.03 * grain[..., None], 0, 1)


def _bright(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.65, 1.0, size=3)


def _stamp(strokes: np.ndarray, quadrant: int, rng: np.random.Generator) -> np.ndarray:
    """The ink (H, W), 0 to 1, of a digit at one of four places in a quadrant."""
    ink = np.zeros((SIDE, SIDE))
    top, left = STEP * rng.integers(0, (SIDE // 2 - SIZE) // STEP + 1, size=2) + SIDE // 2 * np.array([quadrant // 2, quadrant % 2])
    ink[top : top + SIZE, left : left + SIZE] = _stretched(strokes, SIZE)
    return ink


def _stretched(strokes: np.ndarray, size: int) -> np.ndarray:
    """A square picture at another size, by linear interpolation between the middles of its pixels."""
    at = (np.arange(size) + 0.5) * len(strokes) / size - 0.5
    weights = np.clip(1 - np.abs(at[:, None] - np.arange(len(strokes))), 0, 1)
    weights /= weights.sum(1, keepdims=True)
    return weights @ strokes @ weights.T


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the held-out digits that travel with the package."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb.zoo.scenes", description=main.__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the .npz file to write")
    given = parser.parse_args(arguments)
    pixels, classes, out = _source()
    np.savez_compressed(given.out, pixels=pixels[out], classes=classes[out])


if __name__ == "__main__":
    main()
