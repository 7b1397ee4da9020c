"""Rows of other packages: run where they are installed, left out by name where they are not."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from pelrp_nb import zoo
from pelrp_nb.errors import InputError, MissingError
from pelrp_nb.faithfulness import Configuration, Subject, load
from pelrp_nb.faithfulness.attribution import attribute
from pelrp_nb.faithfulness.methods import ALL, METHODS, OTHERS, chosen
from pelrp_nb.faithfulness.others import auto_lrp
from pelrp_nb.faithfulness.read import case_of


def case(name: str, data: str):
    model, processor = zoo.load(name)
    asked = Subject(model, processor, Configuration(model=name))
    return asked, case_of(asked, next(load(data)), 0)


@pytest.fixture
def standing_in(monkeypatch):
    """A package of that name whose relevance is the input times its gradient, so that what goes in and comes out can be checked."""
    seen: list[torch.Tensor] = []

    def tensor(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach().clone().requires_grad_())
        return seen[-1]

    def lrp(self: torch.Tensor) -> None:
        seen[-1].relevance = seen[-1] * torch.autograd.grad(self, seen[-1])[0]

    monkeypatch.setattr(torch.Tensor, "lrp", lrp, raising=False)
    monkeypatch.setitem(sys.modules, "autolrp", SimpleNamespace(tensor=tensor, __spec__=SimpleNamespace()))


@pytest.mark.parametrize(("name", "data"), [("reviews-rotary", "reviews"), ("scenes-rotary", "digit-scenes")])
def test_the_row_asks_of_the_explained_class_and_takes_tokens_or_pixels(name, data, standing_in):
    asked, here = case(name, data)
    found, expected = (attribute(method, asked, here).relevance for method in (auto_lrp, METHODS["input-x-gradient"]))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert "auto-lrp" not in ALL and chosen(["auto-lrp", "random"]) == {"auto-lrp": auto_lrp, "random": METHODS["random"]}


def test_a_row_whose_package_is_not_there_is_left_out_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "autolrp", None)
    with pytest.warns(UserWarning, match="The row auto-lrp is left out: it needs the package autolrp"):
        assert list(chosen(["auto-lrp", "random"])) == ["random"]
    with pytest.warns(UserWarning, match="pip install autolrp"), pytest.raises(InputError, match="at least one method"):
        chosen(["auto-lrp"])
    with pytest.raises(MissingError, match="pip install autolrp"):
        auto_lrp(*case("reviews-rotary", "reviews"))
    assert chosen(["auto-lrp"], {"auto-lrp": METHODS["random"]}) == {"auto-lrp": METHODS["random"]}


def test_auto_lrp_itself_gives_a_number_to_every_token_and_leaves_the_model_alone():
    pytest.importorskip("autolrp")
    asked, here = case("reviews-rotary", "reviews")
    found = attribute(OTHERS["auto-lrp"], asked, here).relevance
    assert found.shape == (len(here.tokens),) and found.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in asked.model.parameters())
    assert not asked.model.get_input_embeddings()._forward_hooks
