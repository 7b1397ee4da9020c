"""Positions permuted where they enter: equal to giving the model other positions, on every encoding, and nothing is left behind."""

from __future__ import annotations

import pytest
import torch
from models import build, build_position, inputs
from positioned import ALIBIS, EXACT, IDS, Attention, T, swapped
from torch import Tensor, nn

from pelrp_nb import exchange, explain, permute_positions, zoo
from pelrp_nb.errors import InputError, ModelError
from pelrp_nb.permute import move

ORDER = [2, 0, 1, 4, 3, 6, 5]


def permuted(model: nn.Module, order, **x: Tensor):
    with permute_positions(model, order):
        return model(**x)


@pytest.mark.parametrize("kind", EXACT, ids=lambda kind: kind.__name__)
def test_it_is_the_model_with_other_positions(kind):
    model = kind()
    with torch.no_grad():
        told, plain = model(IDS, torch.tensor(ORDER)), model(IDS)
    torch.testing.assert_close(permuted(model, ORDER, input_ids=IDS).detach(), told, rtol=1e-12, atol=1e-12)
    assert (told - plain).abs().max() > 0.1


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma", "gpt2", "bert"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_it_is_what_position_ids_do_where_a_model_takes_them(family, attention):
    model, x = build(family, attention), inputs(family)
    order = torch.tensor([3, 1, 2, 0, 8, 7, 6, 5, 4])
    with torch.no_grad():
        told = model(**x, position_ids=order[None], attention_mask=torch.ones_like(x["input_ids"])).logits
        plain = model(**x).logits
    torch.testing.assert_close(permuted(model, order, **x).logits.detach(), told, rtol=1e-6, atol=1e-6)
    assert (told - plain).abs().max() > 1e-3


def test_all_rows_of_a_batch_are_permuted():
    model = build("llama")
    ids = torch.randint(5, 96, (3, 9), generator=torch.Generator().manual_seed(0))
    order = torch.arange(9).flip(0)
    together = permuted(model, order, input_ids=ids).logits
    for i in range(3):
        torch.testing.assert_close(together[i], permuted(model, order, input_ids=ids[i : i + 1]).logits[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["t5", "mpnet", "bloom", "mpt", "falcon alibi", "deberta", "deberta_v2", "xlnet", "beit", "gptj",
                                  "roformer on values"])  # fmt: skip
def test_in_one_order_nothing_changes_and_in_another_something_does(name):
    model, x = build_position(name)
    x = {k: v for k, v in x.items() if name != "xlnet" or k != "use_cache"}
    places = 16 if name == "beit" else 9
    with torch.no_grad():
        plain = model(**x).logits
    orders = {"encoder": list(range(places)), "decoder": [0, 1, 2, 3]} if name == "t5" else list(range(places))
    torch.testing.assert_close(permuted(model, orders, **x).logits.detach(), plain, rtol=1e-6, atol=1e-6)
    other = [i - 2 if i % 3 == 2 else i + 1 for i in range(places)]
    other[-1] = places - 1 if places % 3 == 1 else other[-1]
    orders = {"encoder": other} if name == "t5" else other
    assert (permuted(model, orders, **x).logits.detach() - plain).abs().max() > 1e-4


@pytest.mark.parametrize("way", ALIBIS)
def test_spellings_of_alibi_agree(way):
    with torch.no_grad():
        found = [permuted(ALIBIS[w](), ORDER, input_ids=IDS) for w in (way, "distance")]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [*EXACT, *ALIBIS.values()], ids=lambda kind: kind.__name__)
def test_two_exchanged_places_lose_what_exchange_says(kind):
    """The value is linear in the attention weights here, so exchange is exact."""
    model = kind()
    found = exchange(model, {"input_ids": IDS}, target=lambda out: out[0], partners=None).matrix
    truth = (model(IDS) - permuted(model, swapped(1, 5), input_ids=IDS))[0].detach()
    assert float(found[1, 5]) == pytest.approx(float(truth), rel=1e-9, abs=1e-9)


def test_added_positions_of_a_picture_leave_the_class_token_alone():
    model, processor = zoo.load("scenes-learnable")
    x = processor(zoo.task("digit-scenes").examples[0].image, return_tensors="pt")
    table = next(p for n, p in model.named_parameters() if "position_embeddings" in n)
    out = permuted(model, list(range(64))[::-1], **x).logits.detach()
    kept = table.data.clone()
    table.data[:, 1:] = kept[:, 1:].flip(1)
    told = model(**x).logits.detach()
    table.data.copy_(kept)
    torch.testing.assert_close(out, told, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("t", "u", "order"), [(1, 4, [0, 4, 1, 2, 3, 5]), (4, 1, [0, 2, 3, 4, 1, 5]), (2, 2, [0, 1, 2, 3, 4, 5])])
def test_a_token_is_moved_and_those_between_close_the_gap(t, u, order):
    assert move(6, t, u) == order


def test_nothing_is_left_behind_and_an_error_inside_is_the_users_own():
    model = build("llama")
    x = inputs("llama")
    before = model(**x).logits.detach()
    with pytest.raises(ZeroDivisionError), permute_positions(model, list(range(9))[::-1]):
        raise ZeroDivisionError
    assert torch.equal(model(**x).logits.detach(), before)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [[0, 1], [0] * 9, [1, 2, 3, 4, 5, 6, 7, 8, 9], torch.arange(10)])
def test_an_order_of_other_places_is_refused(order):
    with pytest.raises(InputError, match="An order of 9 places"):
        permuted(build("llama"), order, **inputs("llama"))


@pytest.mark.parametrize("order", ["210", 7, None])
def test_what_is_no_order_is_refused(order):
    with pytest.raises(InputError, match="order must be a permutation"):
        permuted(build("llama"), order, **inputs("llama"))


def test_a_model_without_positions_says_so():
    model, tokenizer = zoo.load("tasks-none")
    with pytest.raises(InputError, match=r"no positions that could be permuted.*causal mask"):
        permuted(model, [1, 0, 2], **tokenizer("sun", return_tensors="pt"))


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_switched_off_inside_are_said_and_around_it_are_none_of_its_business(off):
    model = build("distilbert")
    given = inputs("distilbert")
    order = list(range(given["input_ids"].shape[1]))[::-1]
    told = rf"torch\.{off.__name__} switched off inside permute_positions.*Type `with torch.no_grad\(\), permute"
    with pytest.raises(InputError, match=told), permute_positions(model, order), off():
        model(**given)
    with permute_positions(model, order):
        wanted = model(**given).logits
    if off is torch.no_grad:
        with off(), permute_positions(model, order):
            assert torch.equal(model(**given).logits, wanted)
        assert not torch.equal(model(**given).logits, wanted)


class Turned(Attention):
    """Rotations written as a matrix for each place."""

    def turned(self, x: Tensor, positions: Tensor) -> Tensor:
        angle = positions.double() * 0.7
        c, s = angle.cos(), angle.sin()
        turn = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
        return torch.einsum("tij,bhtnj->bhtni", turn, x.unflatten(-1, (-1, 2))).flatten(-2)


def test_what_cannot_be_permuted_is_refused_by_name():
    with pytest.raises(ModelError, match="Turned rotary"):
        permuted(Turned(), list(range(T))[::-1], input_ids=IDS)


def test_an_explanation_inside_is_refused_since_it_would_not_see_the_order():
    model, x = build("llama"), inputs("llama")
    with pytest.raises(ModelError, match="computed, not explained: type model"), permute_positions(model, list(range(9))[::-1]):
        explain(model, x)
