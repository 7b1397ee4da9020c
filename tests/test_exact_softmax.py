"""One query or one key replaced: the short form is what computing the whole softmax again gives."""

import pytest
import torch

from pelrp_nb.engine.exact_softmax import by_values, of_keys, of_queries, secant


def drawn(sharp: float, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Queries, keys, their replacements, values and a gradient: (1, 2, T, d), in float64."""
    rng = torch.Generator().manual_seed(seed)
    q, k, other_q, other_k, v, g = (torch.randn(1, 2, 7, 4, generator=rng, dtype=torch.float64) for _ in range(6))
    return sharp * q, sharp * k, sharp * other_q, sharp * other_k, v, g


def scores(q: torch.Tensor, k: torch.Tensor, causal: bool) -> torch.Tensor:
    s = q @ k.transpose(-1, -2)
    return s.masked_fill(torch.ones(7, 7, dtype=torch.bool).triu(1), -torch.inf) if causal else s


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sharp", [0.5, 2.0, 40.0])  # at 40 rows are saturated, and a denominator cancels
def test_one_key_or_query_replaced_is_the_softmax_computed_again(sharp, causal):
    q, k, other_q, other_k, v, g = drawn(sharp)
    s, into = scores(q, k, causal), by_values(g, v)

    def worth(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return ((scores(q, k, causal).softmax(-1) @ v) * g).sum((-1, -2))

    by_query, by_key = of_queries(s, scores(other_q, k, causal), into), of_keys(s, scores(q, other_k, causal), into)
    for t in range(7):
        changed_q, changed_k = q.clone(), k.clone()
        changed_q[:, :, t], changed_k[:, :, t] = other_q[:, :, t], other_k[:, :, t]
        torch.testing.assert_close(by_query[..., t], worth(changed_q, k) - worth(q, k), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(by_key[..., t], worth(q, changed_k) - worth(q, k), rtol=1e-9, atol=1e-9)


def test_along_the_difference_a_secant_is_the_effect():
    q, _, other, *_ = drawn(1.0)
    effect = q.sum(-1)
    torch.testing.assert_close((secant(effect, other - q) * (other - q)).sum(-1), effect)
    assert not secant(effect, torch.zeros_like(q)).any()
