"""What a random model computes (`Design`), and how the same function is written (`Spelling`); hypothesis draws both."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from . import spelt

COMPOSITES = ("pa-lrp", "pa-lrp", "cp-lrp", "attn-lrp", "delta-lrp")
GATES = {"swiglu": "silu", "geglu": "gelu", "reglu": "relu", "glu": "sigmoid", "bilinear": None}


@dataclass(frozen=True)
class Design:
    """A function of one or two rows of ids; its weights are drawn by `seed` and their names.

    places:   how many each stream has
    groups:   heads of keys and values; heads / groups of the queries share one
    added, turned, scored, met, mixed: how positions enter: at the input, by rotation, onto scores, in a product with queries, as values
    window:   how far a place sees; None: everywhere
    capped:   tanh on the scores, before or after what is added to them
    """

    seed: int
    streams: str
    places: tuple[int, int]
    layers: int
    heads: int
    groups: int
    head: int
    width: int
    norm: str
    where: str
    biases: bool
    added: str | None
    turned: str | None
    scored: str | None
    met: bool
    mixed: bool
    causal: bool
    window: int | None
    capped: str | None
    normed: bool
    parallel: bool
    perceptron: str
    pool: str

    @property
    def texts(self) -> int:
        """How many rows of ids."""
        return 1 if self.streams == "one" else 2


@dataclass(frozen=True)
class Spelling:
    """How each operation is written; every field is a name in `spelt`, `row` the place of what is explained in its batch."""

    layout: str
    row: int
    rows: int
    linear: str
    norm: str
    activation: int
    skip: str
    table: str
    add: str
    waves: str
    turn: int
    tables: str
    repeat: str
    attend: str
    mask: str
    bias: str
    met: str
    mixed: str
    product: str
    pool: str


def maybe(*some: str) -> st.SearchStrategy[str | None]:
    """None, or one of these."""
    return st.sampled_from((None, *some))


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """Any function."""
    groups, shared = draw(st.sampled_from((1, 2, 3))), draw(st.sampled_from((1, 2)))
    head = draw(st.sampled_from((2, 4, 6)))
    turned = draw(maybe("pairs", "halves", *(("partial",) if head > 2 else ())))
    return Design(
        seed=draw(st.integers(0, 999)), streams=draw(st.sampled_from(("one", "one", "cross", "pair"))),
        places=(draw(st.integers(2, 7)), draw(st.integers(2, 7))), layers=draw(st.sampled_from((1, 1, 2, 2, 3))),
        heads=groups * shared, groups=groups, head=head, width=draw(st.sampled_from((4, 6, 8, 12))),
        norm=draw(st.sampled_from(("layer", "rms"))),
        where=draw(st.sampled_from(("pre", "post", "both", "none"))), biases=draw(st.booleans()), added=draw(maybe("learnable", "waves")),
        turned=turned, scored=draw(maybe("alibi", "bias", "decay")), met=draw(st.integers(0, 3)) == 3, mixed=draw(st.integers(0, 5)) == 5,
        causal=draw(st.booleans()), window=draw(st.sampled_from((None, None, 2, 3))), capped=draw(maybe("scores", "all")),
        normed=draw(st.booleans()), parallel=draw(st.booleans()), perceptron=draw(st.sampled_from((*spelt.ACTIVATIONS, *GATES))),
        pool=draw(st.sampled_from(("last", "first", "mean"))),
    )  # fmt: skip


@st.composite
def spellings(draw: st.DrawFn) -> Spelling:
    """Any way of writing."""
    layout = draw(st.sampled_from(spelt.LAYOUTS))
    rows = draw(st.integers(1, 3)) if layout == "batch first" else 1  # rows behind places are refused
    of = lambda table: draw(st.sampled_from(tuple(table)))
    return Spelling(
        layout=layout, row=draw(st.integers(0, rows - 1)), rows=rows, linear=of(spelt.LINEAR), norm=of(spelt.NORMS),
        activation=draw(st.integers(0, 3)), skip=of(spelt.SKIPS), table=of(spelt.TABLES), add=of(spelt.ADDS), waves=of(spelt.WAVES),
        turn=draw(st.integers(0, 4)), tables=of(("computed", "kept", "buffers")), repeat=of(spelt.REPEATS), attend=of(spelt.ATTENDS),
        mask=of(spelt.MASKS), bias=of(spelt.BIASES), met=of(spelt.METS), mixed=of(spelt.MIXES), product=of(spelt.PRODUCTS),
        pool=of(("method", "written")),
    )  # fmt: skip
