"""One network in many layouts: sequence first, channels first, without a batch, by torch's own transformer, grids, windows, stems."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .added import ROWS
from .base import HEAD, HEADS, IDS, LAYERS, PLACES, WIDTH, Body, Group, Net, drawn
from .byhand import by_hand

table = Group("layouts", "a table", ("learnable",), truth=lambda: by_hand(enter=lambda leaves, x: x + leaves.leaf(ROWS[:PLACES], 0)))


class Tabled(Net):
    """The reader with a learned table, batch first."""

    def __init__(self, **parts) -> None:
        super().__init__(**parts)
        self.p = nn.Parameter(ROWS.clone())

    def forward(self, ids: Tensor) -> Tensor:
        return Body.forward(self, self.tokens(ids) + self.p[: ids.shape[1]])


table.whole("batch first", Tabled)
table.whole("fused attention", lambda: Tabled(attend=lambda: F.scaled_dot_product_attention))


class HeadsInTheBatch(Tabled):
    """Attention by bmm over batch times heads."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            a = (torch.bmm(q.flatten(0, 1), k.flatten(0, 1).mT) / math.sqrt(HEAD)).softmax(-1)
            return torch.bmm(a, v.flatten(0, 1)).unflatten(0, (len(q), HEADS))

        super().__init__(attend=lambda: attend)


class HeadByHead(Tabled):
    """A loop over heads."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            each = [(q[:, h] @ k[:, h].mT / math.sqrt(HEAD)).softmax(-1) @ v[:, h] for h in range(HEADS)]
            return torch.stack(each, 1)

        super().__init__(attend=lambda: attend)


class EinsumAttention(Tabled):
    """Attention in two einsums."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            a = torch.einsum("bhqd,bhkd->bhqk", q, k).div(math.sqrt(HEAD)).softmax(-1)
            return torch.einsum("bhqk,bhkd->bhqd", a, v)

        super().__init__(attend=lambda: attend)


table.whole("heads in the batch", HeadsInTheBatch)
table.whole("head by head", HeadByHead)
table.whole("einsum", EinsumAttention)


class SequenceFirst(Tabled):
    """Everything (places, batch, features); the ids too."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.p[: len(ids), None]
        for block in self.blocks:
            x = x + self.attended(block.attention, block.before(x))
            x = x + block.perceptron(block.between(x))
        return self.head(self.norm(x)[-1])

    def attended(self, attention: nn.Module, x: Tensor) -> Tensor:
        T, B, _ = x.shape
        q, k, v = (part(x).view(T, B * HEADS, HEAD).transpose(0, 1) for part in (attention.q, attention.k, attention.v))
        a = (q @ k.mT / math.sqrt(HEAD)).softmax(-1)
        return attention.o((a @ v).transpose(0, 1).reshape(T, B, WIDTH))


table.whole("sequence first", SequenceFirst, inputs=(IDS.T,), boundaries=False)
table.whole("sequence first inside", lambda: Turned(SequenceFirst()), boundaries=False)


class Turned(nn.Module):
    """Ids handed over transposed."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(ids.T)


class NoBatch(SequenceFirst):
    """A bare row of ids, vectors (places, features)."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.p[: len(ids)]
        for block in self.blocks:
            x = x + self.attended(block.attention, block.before(x))
            x = x + block.perceptron(block.between(x))
        return self.head(self.norm(x)[-1])[None]

    def attended(self, attention: nn.Module, x: Tensor) -> Tensor:
        q, k, v = (part(x).view(len(x), HEADS, HEAD).transpose(0, 1) for part in (attention.q, attention.k, attention.v))
        return attention.o(((q @ k.mT / math.sqrt(HEAD)).softmax(-1) @ v).transpose(0, 1).reshape(len(x), WIDTH))


table.whole("no batch axis", NoBatch, inputs=(IDS[0],), boundaries=False)


class ChannelsFirst(Tabled):
    """(batch, features, places): maps are convolutions of width one, norms over the axis of features."""

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids).mT + self.p[: ids.shape[1]].T
        for block in self.blocks:
            x = x + self.attended(block.attention, self.normed(block.before, x))
            up, _, down = block.perceptron
            x = x + self.mapped(down, F.gelu(self.mapped(up, self.normed(block.between, x))))
        return self.mapped(self.head, self.normed(self.norm, x))[..., -1]

    def mapped(self, of: nn.Linear, x: Tensor) -> Tensor:
        return F.conv1d(x, of.weight[..., None], of.bias)

    def normed(self, of: nn.LayerNorm, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        scaled = centred / (x.var(1, correction=0, keepdim=True) + of.eps).sqrt()
        return scaled * of.weight[:, None] + of.bias[:, None]

    def attended(self, attention: nn.Module, x: Tensor) -> Tensor:
        q, k, v = (self.mapped(part, x).unflatten(1, (HEADS, HEAD)) for part in (attention.q, attention.k, attention.v))
        a = (q.mT @ k / math.sqrt(HEAD)).softmax(-1)
        return self.mapped(attention.o, (v @ a.mT).flatten(1, 2))


table.whole("channels first", ChannelsFirst, boundaries=False)


class OneMapForThree(Tabled):
    """Queries, keys, values by one matrix, on an axis of their own."""

    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks:
            of, every = block.attention, nn.Linear(WIDTH, 3 * WIDTH, dtype=torch.float64)
            every.weight.data = torch.cat([of.q.weight, of.k.weight, of.v.weight]).data
            every.bias.data = torch.cat([of.q.bias, of.k.bias, of.v.bias]).data
            of.every = every
            of.forward = lambda x, of=of: self.attended(of, x)

    def attended(self, of: nn.Module, x: Tensor) -> Tensor:
        q, k, v = of.every(x).view(len(x), x.shape[1], 3, HEADS, HEAD).permute(2, 0, 3, 1, 4)
        return of.o(of.attend(q, k, v).transpose(1, 2).reshape(x.shape))


table.whole("one map for three", OneMapForThree)


class AttentionOfTorch(Tabled):
    """nn.MultiheadAttention with the same weights."""

    first = True

    def __init__(self) -> None:
        super().__init__()
        for block in self.blocks:
            of, theirs = block.attention, nn.MultiheadAttention(WIDTH, HEADS, batch_first=self.first, dtype=torch.float64)
            theirs.in_proj_weight.data = torch.cat([of.q.weight, of.k.weight, of.v.weight]).data
            theirs.in_proj_bias.data = torch.cat([of.q.bias, of.k.bias, of.v.bias]).data
            theirs.out_proj.weight.data, theirs.out_proj.bias.data = of.o.weight.data, of.o.bias.data
            block.attention = theirs

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.p[: ids.shape[1]]
        x = x if self.first else x.transpose(0, 1)
        for block in self.blocks:
            y = block.before(x)
            x = x + block.attention(y, y, y, need_weights=False)[0]
            x = x + block.perceptron(block.between(x))
        return self.head(self.norm(x)[:, -1] if self.first else self.norm(x)[-1])


class AttentionOfTorchSequenceFirst(AttentionOfTorch):
    first = False


table.whole("torch's attention", AttentionOfTorch, boundaries=False)
table.whole("torch's attention, sequence first", AttentionOfTorchSequenceFirst, boundaries=False)


class TransformerOfTorch(Tabled):
    """nn.TransformerEncoder with the same weights."""

    first = True

    def __init__(self) -> None:
        super().__init__()
        layers = []
        for block, theirs in zip(self.blocks, AttentionOfTorch().blocks):
            layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.0, "gelu", batch_first=self.first, norm_first=True)
            layer = layer.double()
            layer.self_attn.load_state_dict(theirs.attention.state_dict())
            layer.norm1, layer.norm2, layer.linear1, layer.linear2 = block.before, block.between, block.perceptron[0], block.perceptron[2]
            layers.append(layer)
        self.blocks = nn.ModuleList()
        self.encoder = nn.TransformerEncoder(layers[0], 1, enable_nested_tensor=False)
        self.encoder.layers = nn.ModuleList(layers)
        self.eval()

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.p[: ids.shape[1]]
        if self.first:
            return self.head(self.norm(self.encoder(x))[:, -1])
        return self.head(self.norm(self.encoder(x.transpose(0, 1)))[-1])


class TransformerOfTorchSequenceFirst(TransformerOfTorch):
    first = False


table.whole("torch's transformer", TransformerOfTorch)
table.whole("torch's transformer, sequence first", TransformerOfTorchSequenceFirst)


# --- grids -----------------------------------------------------------------------------------------------------------

PICTURE, SIDE, PATCH = drawn("picture", 1, 3, 6, 9, scale=1.0), (2, 3), 3
DOWN, ACROSS = drawn("down", SIDE[0], WIDTH), drawn("across", SIDE[1], WIDTH)
GRID = DOWN[:, None] + ACROSS[None]
STEM = drawn("patches", WIDTH, 3 * PATCH * PATCH)


class Seer(Body):
    """Patches of a picture, a vector for each place of the grid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, PATCH, PATCH, dtype=torch.float64)
        self.stem.weight.data, self.stem.bias.data = STEM.view(WIDTH, 3, PATCH, PATCH).clone(), drawn("patches.bias", WIDTH)
        self.p = nn.Parameter(GRID.flatten(0, 1).clone())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.enter(x))

    def enter(self, x: Tensor) -> Tensor:
        return self.stem(x).flatten(2).mT + self.p


def seen_by_hand() -> dict[str, Tensor]:
    """The places' share alone: pixels are compared between twins."""
    model = Seer()
    x = model.stem(PICTURE).flatten(2).mT
    return {"positional": by_hand(model, x, enter=lambda leaves, x: x + leaves.leaf(model.p, 0))["positional"]}


patches = Group("layouts", "a grid of patches", ("learnable",), truth=seen_by_hand, common={"inputs": (PICTURE,)})
patches.whole("a convolution, flattened", Seer)


def seeing(name: str, **attributes):
    """A spelling of the way from pixels to vectors with positions."""

    def add(enter):
        patches.whole(name, type("Seeing", (Seer,), {"enter": enter, **attributes}))
        return enter

    return add


@seeing("the table on the grid")
def on_the_grid(self: Seer, x: Tensor) -> Tensor:
    return (self.stem(x) + self.p.T.unflatten(1, SIDE)).flatten(2).mT


@seeing("channels last")
def channels_last(self: Seer, x: Tensor) -> Tensor:
    return (self.stem(x).permute(0, 2, 3, 1) + self.p.view(*SIDE, WIDTH)).flatten(1, 2)


@seeing("unfolded patches")
def unfolded(self: Seer, x: Tensor) -> Tensor:
    return F.linear(F.unfold(x, PATCH, stride=PATCH).mT, self.stem.weight.flatten(1), self.stem.bias) + self.p


@seeing("reshaped patches")
def reshaped(self: Seer, x: Tensor) -> Tensor:
    x = x.view(len(x), 3, SIDE[0], PATCH, SIDE[1], PATCH).permute(0, 2, 4, 1, 3, 5).reshape(len(x), SIDE[0] * SIDE[1], -1)
    return F.linear(x, self.stem.weight.flatten(1), self.stem.bias) + self.p


@seeing("tensor unfold")
def tensor_unfolded(self: Seer, x: Tensor) -> Tensor:
    x = x.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    return F.linear(x, self.stem.weight.flatten(1), self.stem.bias) + self.p


@seeing("row by row")
def row_by_row(self: Seer, x: Tensor) -> Tensor:
    y, p = self.stem(x), self.p.view(*SIDE, WIDTH)
    return torch.cat([y[:, :, i].mT + p[i] for i in range(SIDE[0])], 1)


# one table for rows, one for columns


class Axial(Seer):
    """A vector for each row and one for each column."""

    def __init__(self) -> None:
        super().__init__()
        del self.p
        self.down, self.across = nn.Parameter(DOWN.clone()), nn.Parameter(ACROSS.clone())

    def enter(self, x: Tensor) -> Tensor:
        return self.stem(x).flatten(2).mT + (self.down[:, None] + self.across[None]).flatten(0, 1)


patches.whole("rows and columns summed first", Axial)


class AxialTables(Axial):
    def __init__(self) -> None:
        super().__init__()
        del self.down, self.across
        self.down = nn.Embedding.from_pretrained(DOWN.clone(), freeze=False)
        self.across = nn.Embedding.from_pretrained(ACROSS.clone(), freeze=False)

    def enter(self, x: Tensor) -> Tensor:
        rows, columns = torch.arange(SIDE[0]), torch.arange(SIDE[1])
        p = self.across(columns)[None].repeat(len(rows), 1, 1) + self.down(rows)[:, None].repeat(1, len(columns), 1)
        return (self.stem(x) + p.permute(2, 0, 1)[None]).flatten(2).mT


patches.whole("rows and columns looked up", AxialTables)


# --- stems -----------------------------------------------------------------------------------------------------------


class Stemmed(Body):
    """Convolutions that overlap, then a vector for each place of what is left of the grid."""

    def __init__(self, *stem: nn.Module) -> None:
        super().__init__()
        self.stem, self.p = nn.Sequential(*stem).double(), nn.Parameter(GRID.flatten(0, 1).clone())
        for i, layer in enumerate(m for m in stem if isinstance(m, nn.Conv2d)):
            layer.weight.data = drawn(f"stem {i}", *layer.weight.shape, scale=0.3)
            layer.bias.data = drawn(f"stem {i}.bias", len(layer.bias))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.stem(x).flatten(2).mT + self.p)


class StemmedOnTheGrid(Stemmed):
    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return Body.forward(self, (y + self.p.T.view(1, WIDTH, *y.shape[2:])).flatten(2).mT)


STEMS = {
    "two strides": lambda: (nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, WIDTH, 3, 3, 0)),
    "overlapping": lambda: (nn.Conv2d(3, WIDTH, 5, 3, 1),),
    "pooled": lambda: (nn.Conv2d(3, WIDTH, 1), nn.MaxPool2d(3)),
    "averaged": lambda: (nn.Conv2d(3, WIDTH, 3, 1, 1), nn.AvgPool2d(3)),
}


def stem_truth(stem):
    def truth() -> dict[str, Tensor]:
        model = Stemmed(*stem())
        x = model.stem(PICTURE).flatten(2).mT
        return {"positional": by_hand(model, x, enter=lambda leaves, x: x + leaves.leaf(model.p, 0))["positional"]}

    return truth


STEMMED: dict[str, Group] = {}
for called, parts in STEMS.items():
    each = STEMMED[called] = Group("layouts", f"a stem: {called}", ("learnable",), truth=stem_truth(parts), common={"inputs": (PICTURE,)})
    each.whole("flattened, then added", lambda parts=parts: Stemmed(*parts()))
    each.whole("added on the grid", lambda parts=parts: StemmedOnTheGrid(*parts()))


# --- windows ---------------------------------------------------------------------------------------------------------

WINDOW = 3
windows = Group("layouts", "windows", ("learnable",))


class Windowed(Tabled):
    """Attention within windows of three places, by reshaping."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (x.unflatten(2, (-1, WINDOW)) for x in (q, k, v))
            return ((q @ k.mT / math.sqrt(HEAD)).softmax(-1) @ v).flatten(2, 3)

        super().__init__(attend=lambda: attend)


class WindowsByAMask(Tabled):
    """The same by hiding what lies outside."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            at = torch.arange(q.shape[2]) // WINDOW
            s = (q @ k.mT / math.sqrt(HEAD)).masked_fill(at[:, None] != at[None], -torch.inf)
            return s.softmax(-1) @ v

        super().__init__(attend=lambda: attend)


class WindowsInTheBatch(Tabled):
    """Windows folded into the batch."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            B = len(q)
            q, k, v = (x.unflatten(2, (-1, WINDOW)).permute(0, 2, 1, 3, 4).flatten(0, 1) for x in (q, k, v))
            out = (q @ k.mT / math.sqrt(HEAD)).softmax(-1) @ v
            return out.unflatten(0, (B, -1)).transpose(1, 2).flatten(2, 3)

        super().__init__(attend=lambda: attend)


class WindowByWindow(Tabled):
    """A loop over windows."""

    def __init__(self) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            cut = [slice(i, i + WINDOW) for i in range(0, q.shape[2], WINDOW)]
            return torch.cat([(q[:, :, w] @ k[:, :, w].mT / math.sqrt(HEAD)).softmax(-1) @ v[:, :, w] for w in cut], 2)

        super().__init__(attend=lambda: attend)


windows.whole("by reshaping", Windowed)
windows.whole("by a mask", WindowsByAMask)
windows.whole("in the batch", WindowsInTheBatch)
windows.whole("one by one", WindowByWindow)
WINDOWED_BIAS = drawn("window bias", HEADS, WINDOW, WINDOW, scale=0.7)
biased = Group("layouts", "windows with a bias", ("relative bias",) * LAYERS)


class WindowBias(nn.Module):
    """A learned number for each pair of a window."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(WINDOWED_BIAS.clone())

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.unflatten(2, (-1, WINDOW)) for x in (q, k, v))
        return ((q @ k.mT / math.sqrt(HEAD) + self.bias[:, None]).softmax(-1) @ v).flatten(2, 3)


class WindowBiasInTheBatch(WindowBias):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        B = len(q)
        q, k, v = (x.unflatten(2, (-1, WINDOW)).permute(0, 2, 1, 3, 4).flatten(0, 1) for x in (q, k, v))
        out = (q @ k.mT / math.sqrt(HEAD) + self.bias).softmax(-1) @ v
        return out.unflatten(0, (B, -1)).transpose(1, 2).flatten(2, 3)


class WindowBiasSpread(WindowBias):
    """The bias laid out for all pairs, what lies outside of windows hidden."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        at = torch.arange(q.shape[2])
        bias = self.bias[:, at[:, None] % WINDOW, at[None] % WINDOW]
        hidden = at[:, None] // WINDOW != at[None] // WINDOW
        return (q @ k.mT / math.sqrt(HEAD) + bias).masked_fill(hidden, -torch.inf).softmax(-1) @ v


biased.whole("by reshaping", lambda: Net(attend=WindowBias))
biased.whole("in the batch", lambda: Net(attend=WindowBiasInTheBatch))
biased.whole("by a mask", lambda: Net(attend=WindowBiasSpread))


# --- a class vector, and streams that take turns ---------------------------------------------------------------------

classed = Group("layouts", "a class vector", ("learnable",), places=(PLACES + 1,))


class Classed(Net):
    """A learned vector in front; positions for it and for the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.cls, self.p = nn.Parameter(drawn("class", 1, 1, WIDTH)), nn.Parameter(ROWS.clone())

    def forward(self, ids: Tensor) -> Tensor:
        x = torch.cat([self.cls.expand(len(ids), -1, -1), self.tokens(ids)], 1)
        return Body.forward(self, x + self.p[: x.shape[1]])


class ClassedInPlace(Classed):
    def forward(self, ids: Tensor) -> Tensor:
        x = torch.zeros(len(ids), ids.shape[1] + 1, WIDTH, dtype=torch.float64)
        x[:, :1], x[:, 1:] = self.cls, self.tokens(ids)
        x += self.p[: x.shape[1]]
        return Body.forward(self, x)


class ClassedSequenceFirst(Classed):
    def forward(self, ids: Tensor) -> Tensor:
        x = torch.cat([self.cls.expand(-1, len(ids), -1), self.tokens(ids.T)], 0)
        return Body.forward(self, (x + self.p[: len(x), None]).transpose(0, 1))


classed.whole("joined in front", Classed)
classed.whole("written in front", ClassedInPlace)
classed.whole("sequence first", ClassedSequenceFirst)
