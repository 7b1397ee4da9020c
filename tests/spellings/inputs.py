"""Models of several inputs: each is a stream with tokens of its own, and none is taken for a constant of another."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .added import ROWS, Table
from .base import IDS, LONGEST, PLACES, WIDTH, Block, Body, Group, Net, drawn, embedding, linear
from .byhand import by_hand

OTHER = torch.tensor([[2, 14, 6, 0, 19, 8]])
SHORT = OTHER[:, :4]


# --- two texts -------------------------------------------------------------------------------------------------------


class TwoTexts(Net):
    """The first text reads the second; both have positions from one table."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(ROWS.clone())
        self.q, self.k, self.v = (linear(f"across.{x}", WIDTH, WIDTH) for x in "qkv")

    def embed(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return self.tokens(first) + self.p[: first.shape[1]], self.tokens(second) + self.p[: second.shape[1]]

    def across(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.q(x) @ self.k(y).mT / math.sqrt(WIDTH)).softmax(-1) @ self.v(y)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        x, y = self.embed(first, second)
        return Body.forward(self, x + self.across(x, y))


class SecondFirst(TwoTexts):
    def embed(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        y = self.p[: second.shape[1]] + self.tokens(second)
        return self.p[: first.shape[1]] + self.tokens(first), y


class OneLookUpForBoth(TwoTexts):
    def embed(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.tokens(torch.cat([first, second], 1)).split([first.shape[1], second.shape[1]], 1)
        return x + self.p[: x.shape[1]], y + self.p[: y.shape[1]]


class SequenceFirst(TwoTexts):
    def embed(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.tokens(first.T) + self.p[: first.shape[1], None], self.tokens(second.T) + self.p[: second.shape[1], None]
        return x.transpose(0, 1), y.transpose(0, 1)


class FusedAcross(TwoTexts):
    def across(self, x: Tensor, y: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(self.q(x)[:, None], self.k(y)[:, None], self.v(y)[:, None])[:, 0]


class AcrossByTorch(TwoTexts):
    """nn.MultiheadAttention of one head with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.theirs = nn.MultiheadAttention(WIDTH, 1, batch_first=True, dtype=torch.float64)
        self.theirs.in_proj_weight.data = torch.cat([self.q.weight, self.k.weight, self.v.weight]).data
        self.theirs.in_proj_bias.data = torch.cat([self.q.bias, self.k.bias, self.v.bias]).data
        self.theirs.out_proj.weight.data, self.theirs.out_proj.bias.data = torch.eye(WIDTH).double(), torch.zeros(WIDTH).double()

    def across(self, x: Tensor, y: Tensor) -> Tensor:
        return self.theirs(x, y, y, need_weights=False)[0]


def by_name(model: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    return model(second=second, first=first)


def two_texts(name: str, second: Tensor) -> Group:
    group = Group("inputs", name, ("learnable",) * 2, places=(PLACES, second.shape[1]), streams=("first", "second"),
                  common={"inputs": (IDS, second)})  # fmt: skip
    group.whole("attention written out", TwoTexts)
    group.whole("by name", TwoTexts, call=by_name)
    group.whole("the second looked up first", SecondFirst)
    group.whole("one look-up for both", OneLookUpForBoth)
    group.whole("sequence first", SequenceFirst)
    group.whole("fused attention", FusedAcross)
    group.whole("torch's attention", AcrossByTorch)
    return group


unequal, equal = two_texts("two texts", SHORT), two_texts("two texts of one length", OTHER)


# --- encoder and decoder ---------------------------------------------------------------------------------------------


class Translator(nn.Module):
    """A block reads the source; the target reads itself and then the source."""

    def __init__(self) -> None:
        super().__init__()
        self.net = TwoTexts()
        self.encoder, self.decoder = Block("encoder"), Block("decoder")

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        y, x = self.net.embed(src, tgt)
        return self.read(self.encoder(y), self.decoder(x))

    def read(self, y: Tensor, x: Tensor) -> Tensor:
        return self.net.head(self.net.norm(x + self.net.across(x, y))[:, -1])


class TranslatorThatFuses(Translator):
    def __init__(self) -> None:
        super().__init__()
        self.net = FusedAcross()
        self.encoder = Block("encoder", attend=F.scaled_dot_product_attention)
        self.decoder = Block("decoder", attend=F.scaled_dot_product_attention)


class TranslatorTargetFirst(Translator):
    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        x = self.decoder(self.net.tokens(tgt) + self.net.p[: tgt.shape[1]])
        return self.read(self.encoder(self.net.tokens(src) + self.net.p[: src.shape[1]]), x)


translated = Group("inputs", "source and target", ("learnable",) * 2, places=(PLACES, 4), streams=("src", "tgt"),
                   common={"inputs": (IDS, SHORT)})  # fmt: skip
translated.whole("attention written out", Translator)
translated.whole("by name", Translator, call=lambda model, src, tgt: model(tgt=tgt, src=src))
translated.whole("fused attention", TranslatorThatFuses)
translated.whole("the target first", TranslatorTargetFirst)


# --- a series with covariates ----------------------------------------------------------------------------------------

SERIES, MARKS = drawn("series", 1, PLACES, 3, scale=1.0), drawn("marks", 1, PLACES, 2, scale=1.0)


class Series(Body):
    """Values and marks of each time step, one vector for both; positions are learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.values, self.marks, self.p = linear("values", 3, WIDTH), linear("marks", 2, WIDTH, bias=False), nn.Parameter(ROWS.clone())

    def forward(self, x_enc: Tensor, x_mark_enc: Tensor) -> Tensor:
        return super().forward(self.embed(x_enc, x_mark_enc))

    def embed(self, x: Tensor, marks: Tensor) -> Tensor:
        return self.values(x) + self.marks(marks) + self.p[: x.shape[1]]


class SeriesPositionsFirst(Series):
    def embed(self, x: Tensor, marks: Tensor) -> Tensor:
        return self.p[: x.shape[1]] + self.marks(marks) + self.values(x)


class SeriesJoined(Series):
    def embed(self, x: Tensor, marks: Tensor) -> Tensor:
        weight = torch.cat([self.values.weight, self.marks.weight], 1)
        return F.linear(torch.cat([x, marks], -1), weight, self.values.bias) + self.p[: x.shape[1]]


class SeriesSequenceFirst(Series):
    def embed(self, x: Tensor, marks: Tensor) -> Tensor:
        y = self.values(x.transpose(0, 1)) + self.marks(marks.transpose(0, 1))
        return (y + self.p[: len(y), None]).transpose(0, 1)


class SeriesByConvolution(Series):
    def embed(self, x: Tensor, marks: Tensor) -> Tensor:
        y = F.conv1d(x.mT, self.values.weight[..., None], self.values.bias) + F.conv1d(marks.mT, self.marks.weight[..., None])
        return (y + self.p[: x.shape[1]].T).mT


def series_by_hand() -> dict[str, Tensor]:
    model = Series()
    x = model.values(SERIES) + model.marks(MARKS)
    return {"positional": by_hand(model, x, enter=lambda leaves, x: x + leaves.leaf(ROWS[:PLACES], 0))["positional"]}


series = Group("inputs", "a series with covariates", ("learnable",), places=(PLACES, PLACES), streams=("x_enc", "x_mark_enc"),
               truth=series_by_hand, common={"inputs": (SERIES, MARKS), "read": lambda tokens: tokens.sum(-1)})  # fmt: skip
series.whole("summed", Series)
series.whole("positions first", SeriesPositionsFirst)
series.whole("by name", Series, call=lambda model, x, marks: model(x_mark_enc=marks, x_enc=x))
series.whole("joined, then one map", SeriesJoined)
series.whole("sequence first", SeriesSequenceFirst)
series.whole("convolutions of width one", SeriesByConvolution)


# --- ids and features ------------------------------------------------------------------------------------------------


class Featured(Net):
    """A token and three measured features at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.p = linear("values", 3, WIDTH, bias=False), nn.Parameter(ROWS.clone())

    def forward(self, ids: Tensor, features: Tensor) -> Tensor:
        return Body.forward(self, self.embed(self.tokens(ids), features) + self.p[: ids.shape[1]])

    def embed(self, x: Tensor, features: Tensor) -> Tensor:
        return x + self.features(features)


class FeaturedByMatmul(Featured):
    def embed(self, x: Tensor, features: Tensor) -> Tensor:
        return torch.einsum("btf,df->btd", features, self.features.weight) + x


class FeaturedJoined(Featured):
    def embed(self, x: Tensor, features: Tensor) -> Tensor:
        weight = torch.cat([torch.eye(WIDTH).to(x), self.features.weight], 1)
        return F.linear(torch.cat([x, features], -1), weight)


featured = Group("inputs", "ids and features", ("learnable",), places=(PLACES, PLACES), streams=("ids", "features"),
                 common={"inputs": (IDS, SERIES), "read": lambda tokens: tokens.sum(-1)})  # fmt: skip
featured.whole("summed", Featured)
featured.whole("einsum", FeaturedByMatmul)
featured.whole("joined, then one map", FeaturedJoined)
featured.whole("by name", Featured, call=lambda model, ids, features: model(features=features, ids=ids))


# --- streams that take turns -----------------------------------------------------------------------------------------

RETURNS, STATES, ACTIONS = drawn("returns", 1, PLACES, 1, scale=1.0), drawn("states", 1, PLACES, 4, scale=1.0), IDS % 5
STEPS = drawn("steps", LONGEST, WIDTH)


class Trajectory(Body):
    """Return, state, action of each step, one after the other; the step's vector is added to each."""

    def __init__(self) -> None:
        super().__init__()
        self.r, self.s, self.a = linear("returns", 1, WIDTH), linear("states", 4, WIDTH), embedding("actions", 5)
        self.steps = nn.Embedding.from_pretrained(STEPS.clone(), freeze=False)

    def forward(self, returns: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        t = self.steps(torch.arange(states.shape[1]))
        return super().forward(self.woven(self.r(returns) + t, self.s(states) + t, self.a(actions) + t))

    def woven(self, *each: Tensor) -> Tensor:
        return torch.stack(each, 2).flatten(1, 2)


class WovenByWriting(Trajectory):
    def woven(self, *each: Tensor) -> Tensor:
        out = torch.zeros(len(each[0]), 3 * each[0].shape[1], WIDTH).to(each[0])
        for i, x in enumerate(each):
            out[:, i::3] = x
        return out


class WovenByTranspose(Trajectory):
    def woven(self, *each: Tensor) -> Tensor:
        return torch.stack(each, 1).permute(0, 2, 1, 3).reshape(len(each[0]), -1, WIDTH)


class WovenStepByStep(Trajectory):
    def woven(self, *each: Tensor) -> Tensor:
        return torch.cat([x[:, t : t + 1] for t in range(each[0].shape[1]) for x in each], 1)


class WovenFeaturesBesideEachOther(Trajectory):
    def woven(self, *each: Tensor) -> Tensor:
        return torch.cat(each, -1).unflatten(-1, (3, WIDTH)).flatten(1, 2)


class TrajectoryWithTimesteps(Trajectory):
    def forward(self, returns: Tensor, states: Tensor, actions: Tensor, timesteps: Tensor) -> Tensor:
        t = self.steps(timesteps)
        return Body.forward(self, self.woven(self.r(returns) + t, self.s(states) + t, self.a(actions) + t))


GIVEN = (RETURNS, STATES, ACTIONS)
trajectory = Group("inputs", "streams that take turns", ("learnable",) * 3, places=(PLACES,) * 3,
                   streams=("returns", "states", "actions"),
                   common={"inputs": GIVEN, "read": lambda tokens: tokens.sum(-1)})  # fmt: skip
trajectory.whole("stacked", Trajectory)
trajectory.whole("written", WovenByWriting)
trajectory.whole("stacked before", WovenByTranspose)
trajectory.whole("step by step", WovenStepByStep)
trajectory.whole("joined along features", WovenFeaturesBesideEachOther)
trajectory.whole("numbers of steps given", TrajectoryWithTimesteps, inputs=(*GIVEN, torch.arange(PLACES)[None]))


# --- two calls -------------------------------------------------------------------------------------------------------


class Siamese(nn.Module):
    """One net reads both texts; their answers are added up."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(enter=Table())

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.net(first) - self.net(second)


twice = Group("inputs", "two calls", ("learnable",) * 2, places=(PLACES, 4), common={"inputs": (IDS, SHORT)})
twice.whole("by a model of two inputs", Siamese)
twice.whole("by the caller", lambda: Net(enter=Table()), call=lambda model, a, b: model(a) - model(b))

last = Group("inputs", "one of two calls", ("learnable",), places=(4,), truth=lambda: by_hand(
    enter=lambda leaves, x: x + leaves.leaf(ROWS[:4], 0), ids=SHORT
))  # fmt: skip
last.whole("called once", lambda: Net(enter=Table()), inputs=(SHORT,))
last.whole("after another text", lambda: Net(enter=Table()), inputs=(IDS, SHORT), call=lambda model, a, b: (model(a), model(b))[1])
last.whole("before another text", lambda: Net(enter=Table()), inputs=(IDS, SHORT), call=lambda model, a, b: (model(b), model(a))[0])


# --- numbers and flags -----------------------------------------------------------------------------------------------


class Tempered(Net):
    """A number and a flag beside the ids."""

    def forward(self, input_ids: Tensor, temperature: float = 2.0, flip: bool = True) -> Tensor:
        out = super().forward(input_ids) / temperature
        return -out if flip else out


flagged = Group("inputs", "a number and a flag", ("learnable",))
flagged.whole("left out", lambda: Tempered(enter=Table()))
flagged.whole("given", lambda: Tempered(enter=Table()), inputs=(IDS, 2.0, True))
flagged.whole("by name", lambda: Tempered(enter=Table()), call=lambda model, ids: model(input_ids=ids, flip=True, temperature=2))
