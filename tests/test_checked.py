"""Shapes in signatures are checked while the tests run, and a wrong one is caught."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from pelrp_nb import rules, verbs

ROOT = Path(__file__).resolve().parent.parent
OPEN = ("uniform",)  # whose letters are in `multiply`
SHAPED = {f"{rule.name} {f.__name__}": f for rule in rules.ALL for f in (rule.relevance, rule.forward)}
SHAPED |= {name: getattr(verbs, name) for name in ("freeze", "scale", "share", "route", "stabilise", "input_times_gradient")}


@pytest.mark.parametrize("rule", [rule for rule in rules.ALL if rule.name not in OPEN], ids=rules.name)
def test_relevance_of_another_shape_is_caught(rule):
    R, inputs, constants = rule.example(torch.Generator().manual_seed(0))
    wrong = torch.cat((R, R))
    with pytest.raises(TypeCheckError, match=rf"checking the parameters of pelrp_nb\.rules\.{rule.name}\.relevance"):
        rule.relevance(wrong, *inputs, **constants)


def test_an_input_and_a_result_of_another_shape_are_caught():
    x, weight = torch.ones(4, 3), torch.ones(2, 5)
    with pytest.raises(TypeCheckError, match="parameter 'weight'"):
        rules.epsilon.relevance(torch.ones(4, 2), x, weight=weight)
    with pytest.raises(TypeCheckError, match="parameter 'positions'"):
        rules.learnable.forward(torch.ones(2, 3, 4), torch.ones(5, 4), positions=torch.tensor([0, 1]))
    with pytest.raises(TypeCheckError, match="return value"):
        rules.identity.relevance(torch.ones(4), torch.ones(4), f=lambda x: x[None])
    with pytest.raises(TypeCheckError, match="parameter 'factor'"):
        verbs.scale(x, torch.ones(2))


@pytest.mark.parametrize("function", SHAPED.values(), ids=SHAPED)
def test_every_tensor_of_a_signature_has_its_shape(function):
    given = inspect.signature(function)
    said = [str(p.annotation) for p in given.parameters.values()] + [str(given.return_annotation)]
    bare = [text for text in said if text.startswith("Tensor") or text.endswith("-> Tensor")]
    assert not bare and any("[Tensor, " in text for text in said), said


def test_outside_of_the_tests_nothing_is_checked():
    """There a wrong shape is what torch makes of it, and beartype is not even loaded."""
    code = "import sys, torch, pelrp_nb; print(pelrp_nb.rules.constant.forward(torch.arange(3)).tolist(), 'beartype' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.stdout.split() == ["[0,", "1,", "2]", "False"], done.stderr
