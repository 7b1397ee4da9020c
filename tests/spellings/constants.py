"""What differs from place to place, or is as long as the text, and yet is no position: weights, masks, prototypes, latents."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .added import ROWS, entering
from .base import HEAD, IDS, PLACES, VOCABULARY, WIDTH, Body, Group, Net, drawn, embedding, linear, norm
from .scores import attending

# --- a norm over places and features, each with a weight of its own --------------------------------------------------

SCALE, SHIFT = 1 + drawn("place scale", PLACES, WIDTH, scale=0.2), drawn("place shift", PLACES, WIDTH, scale=0.2)
normed = Group("constants", "a norm over places", (), build=entering)


@normed
class LayerNormOfTwoAxes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm((PLACES, WIDTH), dtype=torch.float64)
        self.norm.weight.data, self.norm.bias.data = SCALE.clone(), SHIFT.clone()

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.norm(x)


@normed
class FunctionalNorm(LayerNormOfTwoAxes):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[1:], self.norm.weight, self.norm.bias)


@normed
class PlainNormThenAffine(LayerNormOfTwoAxes):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[1:]) * self.norm.weight + self.norm.bias


@normed
class NormWrittenOut(LayerNormOfTwoAxes):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        centred = x - x.mean((1, 2), keepdim=True)
        return centred * torch.rsqrt(centred.square().mean((1, 2), keepdim=True) + self.norm.eps) * self.norm.weight + self.norm.bias


@normed
class FlattenedNorm(LayerNormOfTwoAxes):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        flat = F.layer_norm(x.flatten(1), (PLACES * WIDTH,), self.norm.weight.flatten(), self.norm.bias.flatten())
        return flat.view_as(x)


# --- a map over places, and its bias ---------------------------------------------------------------------------------

MIX, OFF = drawn("mix", PLACES, PLACES), drawn("mix.bias", PLACES, scale=0.3)
mixed = Group("constants", "a map over places", (), build=entering)


@mixed
class LinearOverPlaces(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.over = nn.Linear(PLACES, PLACES, dtype=torch.float64)
        self.over.weight.data, self.over.bias.data = MIX.clone(), OFF.clone()

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.mix(x, self.over.weight, self.over.bias)

    def mix(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.over(x.mT).mT


def mixing(name: str):
    """A spelling of the map over places."""

    def add(mix):
        mixed.spelt(name)(type("Mixing", (LinearOverPlaces,), {"mix": lambda self, x, w, b: mix(x, w, b)}))
        return mix

    return add


mixing("functional linear")(lambda x, w, b: F.linear(x.transpose(1, 2), w, b).transpose(1, 2))
mixing("matmul and a column")(lambda x, w, b: w @ x + b[:, None])
mixing("einsum and a column")(lambda x, w, b: torch.einsum("ts,bsd->btd", w, x) + b[:, None])
mixing("a convolution with places as channels")(lambda x, w, b: F.conv1d(x, w[..., None], b))
mixing("addmm")(lambda x, w, b: torch.addmm(b[:, None].expand(-1, WIDTH), w, x[0])[None])
mixing("baddbmm")(lambda x, w, b: torch.baddbmm(b[:, None].expand_as(x), w.expand(len(x), -1, -1), x))


# --- a fixed mix beside the identity, no softmax behind it -----------------------------------------------------------

RESIDUAL = drawn("residual mix", PLACES, PLACES)
beside = Group("constants", "a mix beside the identity", (), build=entering)


@beside
class MixPlusEye(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(RESIDUAL.clone())

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return (self.p + torch.eye(PLACES).to(x)) @ x


@beside
class EyeInABuffer(MixPlusEye):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one", torch.eye(PLACES, dtype=torch.float64))

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.einsum("ts,bsd->btd", self.one + self.p, x)


@beside
class EyeByDiagonal(MixPlusEye):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.matmul(self.p + torch.diag(torch.ones(PLACES).to(x)), x)


onto = Group("constants", "the identity onto attention", (), build=attending)


def weights_of(q: Tensor, k: Tensor) -> Tensor:
    return (q @ k.mT / math.sqrt(HEAD)).softmax(-1)


@onto
def eye_added_to_weights():
    return lambda q, k, v: (weights_of(q, k) + torch.eye(q.shape[2]).to(q)) @ v


@onto
def eye_from_a_closure():
    one = torch.eye(PLACES, dtype=torch.float64)
    return lambda q, k, v: torch.einsum("bhij,bhjd->bhid", one + weights_of(q, k), v)


@onto
def diagonal_of_ones():
    return lambda q, k, v: weights_of(q, k).add(torch.ones(q.shape[2]).diag().to(q)) @ v


# --- masks -----------------------------------------------------------------------------------------------------------

KEPT = torch.tensor([[1, 1, 1, 1, 0, 0]])
pooled = Group("constants", "a mean over a mask", (), common={"inputs": (IDS, KEPT)})


class Pooling(Net):
    """The mean over the places that the mask keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.map = linear("pooled", WIDTH, WIDTH)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = torch.tanh(self.map(self.tokens(input_ids)))
        return self.head(self.pool(x, attention_mask))


def pooling(name: str):
    """A spelling of the mean."""

    def add(pool):
        pooled.whole(name, type("Pools", (Pooling,), {"pool": lambda self, x, m: pool(x, m)}))
        return pool

    return add


pooling("sum over count")(lambda x, m: (x * m[..., None].to(x)).sum(1) / m.sum(1, keepdim=True))
pooling("weights first")(lambda x, m: (x * (m / m.sum(1, keepdim=True))[..., None]).sum(1))
pooling("weights in matmul")(lambda x, m: ((m.to(x) / m.sum(1, keepdim=True))[:, None] @ x)[:, 0])
pooling("weights in einsum")(lambda x, m: torch.einsum("btd,bt->bd", x, m.to(x) / m.to(x).sum(-1, keepdim=True)))
pooling("a count's reciprocal")(lambda x, m: torch.einsum("btd,bt->bd", x, m.to(x) * m.sum(1, keepdim=True).to(x).reciprocal()))
pooling("expanded mask")(lambda x, m: (x * m.unsqueeze(-1).expand(x.shape).to(x)).sum(1).div(m.unsqueeze(-1).sum(1)))
pooling("filled")(lambda x, m: x.masked_fill(m[..., None] == 0, 0.0).sum(1) / m.sum(1, keepdim=True))
pooling("where")(lambda x, m: torch.where(m[..., None].bool(), x, torch.zeros_like(x)).sum(1) / m.sum(1, keepdim=True))


hidden = Group("constants", "hidden keys", (), common={"inputs": (IDS, KEPT)})


class Hiding(Net):
    """Attention that does not see what the mask leaves out; the first place is read."""

    def __init__(self) -> None:
        super().__init__(attend=lambda: self.attend)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        self.seen = attention_mask
        x = self.tokens(input_ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.hide(q @ k.mT / math.sqrt(HEAD), self.seen[:, None, None]).softmax(-1) @ v


def hiding(name: str):
    """A spelling of what hides."""

    def add(hide):
        hidden.whole(name, type("Hides", (Hiding,), {"hide": lambda self, s, m: hide(s, m)}))
        return hide

    return add


hiding("filled")(lambda s, m: s.masked_fill(m == 0, -torch.inf))
hiding("minus infinity added")(lambda s, m: s + torch.zeros(m.shape).to(s).masked_fill(m == 0, -torch.inf))
hiding("a large number")(lambda s, m: s + (1 - m.to(s)) * -1e9)
hiding("the least number")(lambda s, m: s + (1.0 - m.to(s)) * torch.finfo(torch.float32).min)
hiding("a large number taken away")(lambda s, m: s - (1 - m.to(s)) * 1e9)
hiding("a constant of the model's own")(lambda s, m: s + (1 - KEPT.to(s))[:, None, None] * -1e9)
hiding("a constant of the model's own, taken away")(lambda s, m: s - (1 - KEPT.to(s))[:, None, None] * 1e9)
hiding("taken away many times")(lambda s, m: torch.sub(s, (1 - KEPT.to(s))[:, None, None], alpha=1e9))
hiding("added many times")(lambda s, m: torch.add(s, (1 - KEPT.to(s))[:, None, None], alpha=-1e9))
hiding("its logarithm")(lambda s, m: s + m.to(s).log())
hiding("where")(lambda s, m: torch.where(m.bool(), s, torch.full_like(s, -torch.inf)))


# --- as long as the text, by chance ----------------------------------------------------------------------------------

LONG = torch.arange(WIDTH)[None].remainder(VOCABULARY)
GAIN, LIFT = 1 + drawn("gain", WIDTH, scale=0.3), drawn("lift", WIDTH, scale=0.3)
feature = Group("constants", "as many places as features", (), places=(WIDTH,), build=entering, common={"inputs": (LONG,)})


@feature
class ScaleAndBias(nn.Module):
    """Layer scale and a bias of the features, where T = D."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.lift = nn.Parameter(GAIN.clone()), nn.Parameter(LIFT.clone())

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x * self.gain + self.lift


@feature
class WithAnAxisInFront(ScaleAndBias):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return self.lift[None, None] + self.gain[None] * x


@feature
class DiagonalMatrix(ScaleAndBias):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return F.linear(x, torch.diag(self.gain), self.lift)


@feature
class SequenceFirst(ScaleAndBias):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.transpose(0, 1) * self.gain + self.lift).transpose(0, 1)


@feature
class ChannelsFirst(ScaleAndBias):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.mT * self.gain[:, None] + self.lift[:, None]).mT


@feature
class ByHeads(ScaleAndBias):
    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return (x.unflatten(-1, (4, 4)) * self.gain.view(4, 4) + self.lift.view(4, 4)).flatten(-2)


# --- prototypes, as many as there are places -------------------------------------------------------------------------

PROTOTYPES = drawn("prototypes", PLACES, WIDTH)
prototypes = Group("constants", "prototypes", ("learnable",))


class Likeness(Net):
    """How like each prototype the vectors are, on average; positions are added before."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.map = nn.Parameter(ROWS.clone()), linear("likeness", WIDTH, WIDTH)
        self.keep()

    def keep(self) -> None:
        self.kept = nn.Parameter(PROTOTYPES.clone())

    def forward(self, ids: Tensor) -> Tensor:
        return self.like(torch.tanh(self.map(self.tokens(ids) + self.p[: ids.shape[1]]))).mean(1)

    def like(self, x: Tensor) -> Tensor:
        return x @ self.kept.T


class LikenessOfALinear(Likeness):
    def keep(self) -> None:
        self.kept = nn.Linear(WIDTH, PLACES, bias=False, dtype=torch.float64)
        self.kept.weight.data = PROTOTYPES.clone()

    def like(self, x: Tensor) -> Tensor:
        return x @ self.kept.weight.T


class LikenessByALinear(LikenessOfALinear):
    def like(self, x: Tensor) -> Tensor:
        return self.kept(x)


class LikenessOfAnEmbedding(Likeness):
    def keep(self) -> None:
        self.kept = nn.Embedding.from_pretrained(PROTOTYPES.clone(), freeze=False)

    def like(self, x: Tensor) -> Tensor:
        return x @ self.kept.weight.T


class LikenessLookedUp(LikenessOfAnEmbedding):
    def like(self, x: Tensor) -> Tensor:
        return x @ self.kept(torch.arange(PLACES)).T


class LikenessInEinsum(Likeness):
    def like(self, x: Tensor) -> Tensor:
        return torch.einsum("btd,cd->btc", x, self.kept)


class LikenessSummed(Likeness):
    def like(self, x: Tensor) -> Tensor:
        return (x[:, :, None] * self.kept).sum(-1)


class LikenessByAConvolution(Likeness):
    def like(self, x: Tensor) -> Tensor:
        return F.conv1d(x.mT, self.kept[..., None]).mT


for called, one in {
    "a parameter": Likeness, "a linear map's weight": LikenessOfALinear, "a linear map": LikenessByALinear,
    "a table's weight": LikenessOfAnEmbedding, "a table looked up": LikenessLookedUp, "einsum": LikenessInEinsum,
    "multiplied and summed": LikenessSummed, "a convolution": LikenessByAConvolution,
}.items():  # fmt: skip
    prototypes.whole(called, one)


# --- latents that read the text --------------------------------------------------------------------------------------

LATENTS = drawn("latents", PLACES, WIDTH)
latents = Group("constants", "latents", ())


class Reader(Net):
    """Learned queries read the tokens twice, and are added once more in between."""

    def __init__(self) -> None:
        super().__init__()
        self.keep()
        self.q, self.k, self.v = (linear(f"reader.{x}", WIDTH, WIDTH) for x in "qkv")
        self.after = norm("reader.after")

    def keep(self) -> None:
        self.kept = nn.Parameter(LATENTS[None].clone())

    def own(self, ids: Tensor) -> Tensor:
        return self.kept

    def forward(self, ids: Tensor) -> Tensor:
        x, own = self.tokens(ids), self.own(ids)
        y = self.reads(own, x)
        y = y + self.reads(self.after(y) + own, x)
        return self.head(self.norm(y)[:, 0])

    def reads(self, y: Tensor, x: Tensor) -> Tensor:
        return (self.q(y) @ self.k(x).mT / math.sqrt(WIDTH)).softmax(-1) @ self.v(x)


class LatentsOfATable(Reader):
    def keep(self) -> None:
        self.kept = nn.Embedding.from_pretrained(LATENTS.clone(), freeze=False)

    def own(self, ids: Tensor) -> Tensor:
        return self.kept.weight[None].expand(len(ids), -1, -1)


class LatentsLookedUp(LatentsOfATable):
    def own(self, ids: Tensor) -> Tensor:
        return self.kept(torch.arange(PLACES))[None]


class LatentsInABuffer(Reader):
    def keep(self) -> None:
        self.register_buffer("kept", LATENTS[None])


latents.whole("a parameter", Reader)
latents.whole("a table's weight", LatentsOfATable)
latents.whole("looked up", LatentsLookedUp)
latents.whole("a buffer", LatentsInABuffer)


# --- a second text, the same for every input -------------------------------------------------------------------------

PROMPT = [4, 8, 15, 16, 2, 11]
prompted = Group("constants", "a second text", ())


class Prompted(Net):
    """The text reads a fixed text of the same length by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (linear(f"prompt.{x}", WIDTH, WIDTH) for x in "qkv")
        self.register_buffer("other", torch.tensor(PROMPT))

    def second(self) -> Tensor:
        return self.tokens(self.other)

    def forward(self, ids: Tensor) -> Tensor:
        x, y = self.tokens(ids), self.second()
        x = x + (self.q(x) @ self.k(y).T / math.sqrt(WIDTH)).softmax(-1) @ self.v(y)
        return Body.forward(self, x)


class PromptInAList(Prompted):
    def second(self) -> Tensor:
        return self.tokens(torch.tensor([PROMPT]))[0]


class PromptAsVectors(Prompted):
    def __init__(self) -> None:
        super().__init__()
        self.vectors = embedding("tokens", VOCABULARY).weight[torch.tensor(PROMPT)].detach()

    def second(self) -> Tensor:
        return self.vectors


class PromptByWeight(Prompted):
    def second(self) -> Tensor:
        return self.tokens.weight[self.other]


prompted.whole("ids in a buffer", Prompted)
prompted.whole("ids in a list", PromptInAList)
prompted.whole("vectors in an attribute", PromptAsVectors)
prompted.whole("rows of the weight", PromptByWeight)


# --- kinds of tokens -------------------------------------------------------------------------------------------------

KINDS = drawn("kinds", 2, WIDTH)
typed = Group("constants", "token types, all zero", ())


class Typed(Net):
    """A vector for the type of each token."""

    def __init__(self) -> None:
        super().__init__()
        self.types = nn.Embedding.from_pretrained(KINDS.clone(), freeze=False)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        return Body.forward(self, self.tokens(input_ids) + self.types(token_type_ids))


class TypedByOneRow(Typed):
    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        return Body.forward(self, self.tokens(input_ids) + self.types.weight[0])


class TypedByANewTensor(Typed):
    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        return Body.forward(self, self.tokens(input_ids) + self.types(torch.zeros(input_ids.shape, dtype=torch.long)))


typed.whole("none given", Typed)
typed.whole("given", Typed, inputs=(IDS, torch.zeros_like(IDS)))
typed.whole("one row for all", TypedByOneRow)
typed.whole("zeros of the same shape", TypedByANewTensor)

pairs = Group("constants", "token types of a pair", (), common={"inputs": (IDS, torch.tensor([[0, 0, 0, 1, 1, 1]]))})


class TypedByOneHot(Typed):
    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        return Body.forward(self, self.tokens(input_ids) + F.one_hot(token_type_ids, 2).double() @ self.types.weight)


class TypedByIndex(Typed):
    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        return Body.forward(self, self.types.weight[token_type_ids] + self.tokens(input_ids))


pairs.whole("looked up", Typed)
pairs.whole("one hot", TypedByOneHot)
pairs.whole("indexed", TypedByIndex)
