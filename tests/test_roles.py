"""What an input or a constant is taken for can be said by its name; what contradicts, or cannot be known, is refused with what to type."""

from __future__ import annotations

import pytest
import torch
from spellings.added import ROWS, Table
from spellings.base import IDS, PLACES, VOCABULARY, WIDTH, Body, Net, linear
from spellings.byhand import by_hand
from test_engine import same
from torch import Tensor, nn
from torch.nn import functional as F

from pelrp_nb import PA_LRP, Options, explain, plan, propagate
from pelrp_nb.errors import InputError, ModelError, PelrpError


class Tabled(Net):
    """Ids, and a learned vector per place."""

    def __init__(self) -> None:
        super().__init__()
        self.rel = nn.Parameter(ROWS.clone())
        self.scale_table = 1 + ROWS[:PLACES] / 10

    def forward(self, input_ids: Tensor) -> Tensor:
        return Body.forward(self, self.tokens(input_ids) + self.rel[: input_ids.shape[1]])


class Measured(Net):
    """Ids, and a float number at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.of = linear("values", 1, WIDTH, bias=False)

    def forward(self, ids: Tensor, speed: Tensor) -> Tensor:
        return Body.forward(self, self.tokens(ids) + self.of(speed))


class Coded(Net):
    """Ids, and an integer at each place that is used as a number."""

    def forward(self, ids: Tensor, code: Tensor) -> Tensor:
        return Body.forward(self, self.tokens(ids) * code[..., None].to(torch.float64))


class Scaled(Tabled):
    """A plain attribute with a factor for each place."""

    def forward(self, input_ids: Tensor) -> Tensor:
        return Body.forward(self, self.tokens(input_ids) * self.scale_table)


SPEED, CODE = torch.linspace(-1, 1, PLACES, dtype=torch.float64).view(1, -1, 1), torch.tensor([[1, 3, 2, 5, 1, 2]])


def trace(model: nn.Module, *inputs: Tensor, **roles: str):
    before, said = state(model), {name.replace("__", "."): role for name, role in roles.items()}
    try:
        with propagate(model, PA_LRP, Options(audit=True, roles=said) if said else Options(audit=True)) as flow:
            out = model(*inputs)
            return flow.trace(out[0, 1])
    finally:
        assert same(before, state(model)), "the model is not as it was"


def state(model: nn.Module) -> list:
    """What must be as before: hooks, weights, gradients, attributes."""
    return [
        (name, module.training, sorted(vars(module)), len(module._forward_hooks), len(module._forward_pre_hooks),
         [(p.requires_grad, p.grad is None, p.detach().clone()) for p in module.parameters(recurse=False)])
        for name, module in model.named_modules()
    ]  # fmt: skip


def kinds(found) -> list[str]:
    parts = found.streams.values() or [found]
    return [sink.kind for part in parts for sink in part.sinks]


# --- roles are obeyed ------------------------------------------------------------------------------------------------------


def test_a_table_called_a_constant_is_no_sink():
    found = trace(Tabled(), IDS, rel="constant")
    known = by_hand(enter=lambda leaves, x: x + leaves.leaf(ROWS[:PLACES], 0))
    assert kinds(found) == [] and found.ledger.closed
    torch.testing.assert_close(found.semantic, known["tokens"], rtol=1e-9, atol=1e-9)
    assert found.ledger.constants["rel"] == pytest.approx(float(known["positional"].sum()), abs=1e-9)


def test_a_plain_attribute_is_named_by_its_path():
    assert kinds(trace(Scaled(), IDS)) == ["modulation"]
    assert kinds(trace(Scaled(), IDS, scale_table="constant")) == []


def test_a_parameter_inside_is_named_by_its_path():
    assert kinds(trace(Net(enter=Table()), IDS, enter__table__weight="constant")) == []


def test_a_float_argument_is_a_stream_unless_it_is_called_a_constant():
    assert tuple(trace(Measured(), IDS, SPEED).streams) == ("ids", "speed")
    found = trace(Measured(), IDS, SPEED, speed="constant")
    assert not found.streams and kinds(found) == [] and found.ledger.closed
    assert any("speed" in name for name in found.ledger.constants)


def test_a_float_argument_may_be_called_positions():
    found = trace(Measured(), IDS, SPEED, speed="positions")
    assert not found.streams and len(kinds(found)) == 1 and found.ledger.closed
    assert abs(found.ledger.positions) > 1e-3


@pytest.mark.parametrize(("role", "expected"), [("positions", ["modulation"]), ("constant", [])])
def test_an_integer_argument_is_what_it_is_called(role, expected):
    found = trace(Coded(), IDS, CODE, code=role)
    assert kinds(found) == expected and found.ledger.closed


# --- and what was taken for what is said ------------------------------------------------------------------------------------------


def test_an_explanation_says_what_was_taken_for_what():
    found = explain(Tabled(), {"input_ids": IDS}, target=1)
    told = str(found.roles)
    assert "input_ids" in told and "content" in told and "rel" in told and "learnable" in told


def test_a_plan_says_what_was_taken_for_what():
    told = str(plan(Tabled(), {"input_ids": IDS}))
    assert "input_ids" in told and "content" in told and "rel" in told


def test_a_plan_obeys_roles():
    assert not plan(Tabled(), {"input_ids": IDS}, options=Options(roles={"rel": "constant"})).sinks


# --- roles that are wrong -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"), [("inpt_ids", "input_ids"), ("rell", "rel"), ("scale_tabel", "scale_table"), ("token.weight", "tokens.weight")]
)
def test_a_role_that_names_nothing(name, meant):
    with pytest.raises(InputError, match=rf"(?s){name}.*[Dd]id you mean.*{meant}"):
        trace(Tabled(), IDS, **{name.replace(".", "__"): "constant"})


def test_a_role_that_there_is_not():
    with pytest.raises(InputError, match=r"(?s)content.*positions.*constant"):
        Options(roles={"input_ids": "contents"})


def test_roles_are_a_mapping():
    with pytest.raises(InputError, match=r"roles=\{"):
        Options(roles=["input_ids"])


@pytest.mark.parametrize("role", ["positions", "constant"])
def test_no_content_would_be_left(role):
    with pytest.raises(InputError, match="input_ids"):
        trace(Tabled(), IDS, input_ids=role)


def test_a_weight_cannot_be_positions():
    with pytest.raises(InputError, match=r"head\.weight"):
        trace(Tabled(), IDS, head__weight="positions")


def test_a_table_of_tokens_cannot_be_positions():
    with pytest.raises(InputError, match=r"tokens\.weight"):
        trace(Tabled(), IDS, tokens__weight="positions")


def test_a_parameter_cannot_be_content():
    with pytest.raises(InputError, match=r"(?s)rel.*content"):
        trace(Tabled(), IDS, rel="content")


# --- what cannot be known is asked -----------------------------------------------------------------------------------------------------


def test_integers_used_as_numbers_are_asked_for():
    with pytest.raises(InputError, match=r"""(?s)code.*roles=\{["']code["']:"""):
        trace(Coded(), IDS, CODE)


# --- where the stream was lost -----------------------------------------------------------------------------------------------------------


class Lost(Net):
    """The stream is cut in the second block."""

    def __init__(self, cut) -> None:
        super().__init__()
        inner = self.blocks[1]
        inner.plain, inner.forward = inner.forward, lambda x: cut(inner.plain, x)


def without_gradients(inner, x: Tensor) -> Tensor:
    with torch.no_grad():
        return inner(x)


def in_inference(inner, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return inner(x)


CUT = {
    "no_grad": without_gradients,
    "inference_mode": in_inference,
    "detach": lambda inner, x: inner(x.detach()),
    "detach after": lambda inner, x: inner(x).detach(),
    "data": lambda inner, x: inner(x.data),
}


@pytest.mark.parametrize("name", CUT)
def test_gradients_switched_off_inside(name):
    word = {"detach after": "detach"}.get(name, name)
    with pytest.raises(PelrpError, match=rf"(?s)(?=.*{word})(?=.*blocks\.1)"):
        trace(Lost(CUT[name]), IDS)


class Dark(Net):
    """All of the model, its tables too, is called where gradients are off."""

    def __init__(self, mode) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, ids: Tensor) -> Tensor:
        with self.mode():
            return super().forward(ids)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_tables_looked_up_without_gradients(mode):
    with pytest.raises(InputError, match=rf"The stream is cut by {mode.__name__} in .*: call that part with gradients"):
        trace(Dark(mode), IDS)


def test_a_role_of_what_is_no_name():
    with pytest.raises(InputError, match=r"A role is given to a name or path, as text; got 1\. Type roles="):
        Options(roles={1: "constant"})


class Unseen(Net):
    """Ids that leave torch before they are looked up."""

    def __init__(self, through) -> None:
        super().__init__()
        self.through = through

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(self.through(ids))


@pytest.mark.parametrize(
    ("word", "through"),
    [("tolist", lambda ids: torch.tensor(ids.tolist())), ("numpy", lambda ids: torch.tensor(ids.numpy())),
     ("item", lambda ids: torch.tensor([[x.item() for x in ids[0]]]))],
    ids=["tolist", "numpy", "item"],
)  # fmt: skip
def test_ids_made_where_nothing_is_seen(word, through):
    with pytest.raises(InputError, match=rf"(?s)(?=.*[Nn]o ids? )(?=.*{word})"):
        trace(Unseen(through), IDS)


class Compared(Net):
    """Rows of zeros and a one that are made by comparing: masks, of which nothing is looked up."""

    def forward(self, ids: Tensor) -> Tensor:
        return Body.forward(self, (ids[..., None] == torch.arange(VOCABULARY)).double() @ self.tokens.weight)


class Numbered(Net):
    """The same by scattering ones, which is a look-up."""

    def forward(self, ids: Tensor) -> Tensor:
        zeros = torch.zeros(*ids.shape, VOCABULARY, dtype=torch.float64)
        return Body.forward(self, zeros.scatter_(-1, ids[..., None], 1.0) @ self.tokens.weight)


def test_ids_that_look_nothing_up_are_said_with_what_to_type():
    with pytest.raises(InputError, match=r"depends on no input.*No table was looked up by `ids`: .*F\.one_hot\(ids\) @ table"):
        trace(Compared(), IDS)


@pytest.mark.parametrize("how", [Numbered, lambda: HotNet(torch.matmul), lambda: HotNet(lambda one, table: F.linear(one, table.T))])
def test_rows_of_zeros_and_a_one_look_tokens_up(how):
    torch.testing.assert_close(trace(how(), IDS).tokens, trace(Net(), IDS).tokens, rtol=1e-9, atol=1e-12)


class HotNet(Net):
    """Tokens as a product of one-hot rows and their table."""

    def __init__(self, times) -> None:
        super().__init__()
        self.times = times

    def forward(self, ids: Tensor) -> Tensor:
        return Body.forward(self, self.times(F.one_hot(ids, VOCABULARY).double(), self.tokens.weight))


def test_a_compiled_function():
    compiled = torch.compile(lambda x: x * 2, backend="eager")

    class Helped(Net):
        def forward(self, ids: Tensor) -> Tensor:
            return Body.forward(self, compiled(self.tokens(ids)))

    with pytest.raises(ModelError, match=r"torch\.compile"):
        trace(Helped(), IDS)
