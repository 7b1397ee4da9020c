"""Every choice of an evaluation is a named field of a frozen value, and is printed with the result.

PAPER_TEXT     perturbation of texts as in the paper (Bakish et al. 2025, after Ali et al. 2022)
AUTHORS_TEXT   the same, read without a causal mask: a quirk of the authors' evaluation on ARC-Easy and Wikipedia
OURS_TEXT      logits for the gain, ties broken by chance and not by place
PAPER_IMAGES   10 % ... 90 % of the pixels, accuracy, maps clamped at zero
OURS_IMAGES    the same with the logit of the explained class, 0 % and 100 % included
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_type_hints

from ..errors import InputError

TENTHS = tuple(i / 10 for i in range(11))


@dataclass(frozen=True)
class Text:
    """How tokens are replaced, and what is read off the model while they are.

    fractions:   parts of the tokens that are replaced or inserted, ascending
    rounding:    from a fraction to a number of tokens; "up" is n = ceil(f N)
    replacement: "unknown", "mask" or "pad" for that token of the tokenizer, or a token as text
    sign:        the most relevant token has the largest R ("signed") or the largest |R| ("absolute")
    ties:        equal relevance: "random" order (by the example's seed), or the "first" token first
    explained:   the class the model "predicted" or the one that is "labelled" in the data
    special:     special tokens: "keep", or "replace" like any other
    score:       what the relevance gain and leave-one-out measure: "logit", "margin" over the next class, "probability"
    error:       squared change of "all" logits (their mean) or of the "explained" one
    causal:      attention as in the "model", or "none": every token sees every other
    padding:     "never" (rows of equal length share a batch), or to the "right" or "left"
    longest:     texts are cut to so many tokens; None leaves them whole
    """

    fractions: tuple[float, ...] = TENTHS
    rounding: Literal["up", "down", "nearest"] = "up"
    replacement: str = "unknown"
    sign: Literal["signed", "absolute"] = "signed"
    ties: Literal["random", "first"] = "random"
    explained: Literal["predicted", "labelled"] = "predicted"
    special: Literal["keep", "replace"] = "keep"
    score: Literal["logit", "margin", "probability"] = "logit"
    error: Literal["all", "explained"] = "all"
    causal: Literal["model", "none"] = "model"
    padding: Literal["never", "right", "left"] = "never"
    longest: int | None = None


@dataclass(frozen=True)
class Images:
    """How pixels are replaced, and how a map becomes a segmentation.

    fractions:   parts of the pixels that are replaced, ascending
    replacement: "zero" of the normalised picture, its own "mean" per channel, or "blur" (a 31 x 31 box)
    explained:   the class the model "predicted" or the one that is "labelled"
    score:       "accuracy" (1 while the explained class is on top), "probability" or "logit"
    below_zero:  what is below zero in a map: "clamp" it, as the authors do, or "keep" it
    threshold:   a pixel belongs to the object where its relevance is above the "mean" or the "median" of the map
    """

    fractions: tuple[float, ...] = TENTHS[1:-1]
    replacement: Literal["zero", "mean", "blur"] = "zero"
    explained: Literal["predicted", "labelled"] = "predicted"
    score: Literal["accuracy", "probability", "logit"] = "accuracy"
    below_zero: Literal["clamp", "keep"] = "clamp"
    threshold: Literal["mean", "median"] = "mean"


@dataclass(frozen=True)
class Positions:
    """How tokens are put out of place.

    ways:     "swap" positions of two tokens and leave the tokens, "move" a token to another place, or "shuffle" the positions of all
    partners: for each token, so many other places (drawn by the example's seed); all of them where there are fewer
    score:    whose change is measured, as in `Text`
    change:   "absolute" or "squared"
    """

    ways: tuple[Literal["swap", "move", "shuffle"], ...] = ("swap", "move")
    partners: int = 8
    score: Literal["logit", "margin", "probability"] = "logit"
    change: Literal["absolute", "squared"] = "absolute"


@dataclass(frozen=True)
class Truth:
    """How relevance is held against what is known to be relevant.

    mass: share of the "positive" or of the "absolute" relevance that lies inside the truth
    over: tokens that are counted: "ordinary" ones, or "all", special tokens too
    """

    mass: Literal["positive", "absolute"] = "positive"
    over: Literal["ordinary", "all"] = "ordinary"


@dataclass(frozen=True)
class Baselines:
    """What the gradient methods leave open.

    steps:    points on the path of integrated gradients (Gauss-Legendre)
    baseline: where that path starts: the "replacement" token's vector, or "zero"
    samples:  noisy copies of SmoothGrad
    noise:    their standard deviation, in standard deviations of the input vectors
    """

    steps: int = 32
    baseline: Literal["replacement", "zero"] = "replacement"
    samples: int = 16
    noise: float = 0.15


@dataclass(frozen=True)
class Statistics:
    """How sure the numbers are.

    level:     of every interval
    resamples: of the bootstrap over examples (percentiles)
    least:     fewer examples than this get no interval
    """

    level: float = 0.95
    resamples: int = 5000
    least: int = 8


PAPER_TEXT = Text(ties="first", score="probability")
AUTHORS_TEXT = Text(ties="first", score="probability", causal="none")
OURS_TEXT = Text()
PAPER_IMAGES = Images()
OURS_IMAGES = Images(fractions=TENTHS, score="logit", below_zero="keep")
NAMED: Mapping[str, Any] = {
    "PAPER_TEXT": PAPER_TEXT, "AUTHORS_TEXT": AUTHORS_TEXT, "OURS_TEXT": OURS_TEXT, "PAPER_IMAGES": PAPER_IMAGES,
    "OURS_IMAGES": OURS_IMAGES,
}  # fmt: skip


@dataclass(frozen=True)
class Configuration:
    """All that decides the numbers of an evaluation.

    model:     a name of the zoo, a folder, or a hub name with its owner
    data:      a task of the zoo, a recipe (`imdb=FOLDER`), a file, or a dataset of the hub
    methods:   names, see `faithfulness.METHODS`
    protocols: names, see `faithfulness.PROTOCOLS`; empty: all that the data allow
    columns:   which columns hold the text, label, image, mask, truth, where they are not called so
    limit:     the first so many examples; None is all
    batch:     rows in one forward pass; together: examples worked on at once
    """

    model: str = "reviews-rotary"
    data: str = "reviews"
    methods: tuple[str, ...] = ("random", "input-x-gradient", "attn-lrp", "pa-lrp-signed")
    protocols: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    batch: int = 64
    together: int = 4
    text: Text = OURS_TEXT
    images: Images = OURS_IMAGES
    positions: Positions = field(default_factory=Positions)
    truth: Truth = field(default_factory=Truth)
    baselines: Baselines = field(default_factory=Baselines)
    statistics: Statistics = field(default_factory=Statistics)

    def __post_init__(self) -> None:
        check(self)

    @property
    def fingerprint(self) -> str:
        """Twelve characters that another configuration does not have."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()[:12]

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return json.loads(json.dumps(asdict(self)))

    def __str__(self) -> str:
        return "\n".join(f"{name} = {value}" for name, value in lines(self.plain()))


def lines(plain: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Every field with its full name and its value as text."""
    found: list[tuple[str, str]] = []
    for name, value in plain.items():
        if isinstance(value, Mapping):
            found += lines(value, f"{before}{name}.")
        else:
            shown = ", ".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)
            found.append((before + name, shown))
    return found


def read(plain: Mapping[str, Any], kind: Any = Configuration, where: str = "") -> Any:
    """A configuration from JSON data; a part may be given by its name, `"text": "PAPER_TEXT"`.

    Raises InputError for a field that does not exist or a value it cannot take.
    """
    known = {f.name: f for f in fields(kind)}
    hints = get_type_hints(kind)
    given: dict[str, Any] = {}
    for name, value in plain.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"The configuration has no field {where + name!r}.{hint} It has: {', '.join(known)}.")
        if is_dataclass(hints[name]):
            if isinstance(value, str) and not isinstance(NAMED.get(value), hints[name]):
                raise InputError(f"{where + name} must be a mapping or one of {', '.join(NAMED)}; got {value!r}.")
            given[name] = NAMED[value] if isinstance(value, str) else read(value, hints[name], f"{where}{name}.")
        else:
            given[name] = frozen(value)
    try:
        return kind(**given)
    except TypeError as error:
        raise InputError(f"The configuration does not fit: {error}.") from error


def frozen(value: Any) -> Any:
    """Lists as tuples, all the way down; a mapping as its pairs."""
    if isinstance(value, Mapping):
        return tuple((str(k), frozen(v)) for k, v in value.items())
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def check(value: Any, where: str = "") -> None:
    """Choices among those that exist, numbers where they make sense."""
    hints = get_type_hints(type(value))
    for f in fields(value):
        here, choices = getattr(value, f.name), get_args(hints[f.name])
        if is_dataclass(here):
            check(here, f"{f.name}.")
        elif choices and all(isinstance(c, str) for c in choices) and here not in choices:
            raise InputError(f"{where}{f.name} must be one of {', '.join(choices)}; got {here!r}.")
        elif isinstance(here, bool) or (isinstance(f.default, int | float) and not isinstance(here, int | float)):
            raise InputError(f"{where}{f.name} must be a number, got {here!r}.")
        elif f.name in ("batch", "together", "partners", "steps", "samples", "resamples", "limit", "longest") and here is not None:
            if not isinstance(here, int) or here < 1:
                raise InputError(f"{where}{f.name} must be a whole number from 1, got {here!r}.")
        elif f.name == "fractions" and (not here or list(here) != sorted(set(here)) or here[0] < 0 or here[-1] > 1):
            raise InputError(f"{where}fractions must ascend within 0 and 1, got {here}. Type (0, 0.1, ..., 1).")
        elif f.name == "level" and not 0 < here < 1:
            raise InputError(f"{where}level must lie between 0 and 1, got {here}. Type 0.95.")
        assert f.default is not MISSING or f.default_factory is not MISSING
