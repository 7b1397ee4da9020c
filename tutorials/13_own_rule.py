# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 13 · Write your own rule
#
# *About 40 minutes. You need: labs 01, 03 and 09.*
#
# After this lab you can
#
# 1. define a rule by its shares,
# 2. write it as a bent gradient, and prove that both are the same,
# 3. put it in force in a whole model, and read what it does in the ledger.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import linear

import pelrp_nb
from pelrp_nb import PA_LRP, check_rule, rules
from pelrp_nb.verbs import freeze, route

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# Every rule so far pays for what an input *contributed*, $x_i W_{ji}$. One may think otherwise. What if an input's own value should not matter,
# only how strongly it is wired to the output?
#
# **Predict first.** Pay by squared weights, $W_{ji}^2$. Will this rule conserve? Can any payment have the opposite sign of R?

# %% [markdown]
# ## A worked example
#
# The *square rule*, known as $w^2$: shares are squared weights over their total.
#
# $$R_i = \sum_j \frac{W_{ji}^2}{\sum_k W_{jk}^2}\, R_j$$

# %%
weight, R = torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([6.0])
share = weight**2 / (weight**2).sum(-1, keepdim=True)
print("shares", share.tolist(), "payments", (R @ share).tolist())

# %% [markdown]
# ## Exercise 1 · The definition &nbsp; ●○○ &nbsp; 5 minutes

# %%
def square_rule(R, x, weight):
    """Relevance of x (..., inputs) by squared weights; R (..., outputs), weight (outputs, inputs)."""
    # BEGIN SOLUTION
    share = weight**2 / (weight**2).sum(-1, keepdim=True)
    return R @ share
    # END SOLUTION


# %%
labs.check("own-rule", square_rule)

# %% [markdown]
# **What if** an input is 0? The epsilon rule gives it nothing. This rule? Which do you find right for a black pixel?
#
# ## Exercise 2 · What is lost? &nbsp; ●○○ &nbsp; 4 minutes
#
# A tool you need for every rule: the part of what came in that was not paid out.

# %%
def lost_part(R, paid, dtype):
    """(sum in - sum out) / sum in; dtype is the name of the number format, of no use here."""
    # BEGIN SOLUTION
    return (R.sum() - paid.sum()) / R.sum()
    # END SOLUTION


# %%
labs.check("lost-part", lost_part)

# %% [markdown]
# **What if** R has both signs and its sum is nearly 0? Which scale would you compare with? (Lab 02 knows.)
#
# ## Make it fast
#
# A bent forward pass has the value of the layer and the slope of the rule. `route(value, through)` gives exactly that: the value of one
# expression, the slope of another. The trick for `through`: $x$ divided by a frozen copy of itself is 1, and its slope is $1/x$. So
#
# $$\mathrm{flat}_j = \sum_i \frac{x_i}{\mathrm{freeze}(x_i)}\; \mathrm{share}_{ji}$$
#
# has the value 1, and value times slope for input $i$ is $\mathrm{share}_{ji}$.
#
# ## Exercise 3 · The bent form &nbsp; ●●● &nbsp; 12 minutes

# %%
def square_forward(x, weight):
    """The value of x @ weight.T, the slope of the square rule; no input is 0 here."""
    # BEGIN SOLUTION
    z = x @ weight.T
    share = weight**2 / (weight**2).sum(-1, keepdim=True)
    flat = (x / freeze(x)) @ share.T
    return route(z, flat * freeze(z))
    # END SOLUTION


# %%
labs.check("own-forward", square_forward)

# %% [markdown]
# **What if** you test with R = y only? Find a wrong forward pass which passes that test.
#
# ## Prove it
#
# `check_rule` draws inputs and R at random, compares both forms, and measures what is kept. Here for the epsilon rule:

# %%
check_rule(rules.epsilon)

# %% [markdown]
# ## A rule of your own
#
# Two functions make a rule. A smaller one than yours, known as *flat*: each input gets the same, whatever it is. In a model a rule for linear
# layers is called with the layer's weight and bias, and with `apply`, the layer itself, which may be a convolution.

# %%
def flat_relevance(R, x, *, weight, bias=None):
    """Every input gets the same."""
    return ((R.sum(-1, keepdim=True) / x.shape[-1]).expand_as(x),)


def flat_forward(x, *, weight, bias=None, apply=linear):
    z = apply(x, weight, bias)
    return route(z, (x / freeze(x)).mean(-1, keepdim=True) * freeze(z))


flat = rules.make("flat", flat_forward, flat_relevance, example=rules.epsilon(0).example, conserves="all")
check_rule(flat)

# %% [markdown]
# **Try it:** make a rule of your `square_rule` and `square_forward` in the same way (with `bias=None`, and a tuple of payments), and prove
# it. Then halve one of the two.
#
# ## Put a rule in force
#
# A *composite* says which rule serves which kind of step; a variant is one `replace`. `where` sets a rule for one layer or module alone.
# Here the epsilon rule, *gamma*, which favours contributions that point the way the output went, and yours, everywhere and in one layer:

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
text = "a dull , clumsy film"
variants = {
    "epsilon": PA_LRP, "gamma(1)": replace(PA_LRP, linear=rules.gamma(1)), "flat": replace(PA_LRP, linear=flat),
    "flat in layer 3": PA_LRP.where({"layer 3": {"linear": flat}}),
}  # fmt: skip
found = {name: pelrp_nb.explain(model, text, processor=tokenizer, composite=c) for name, c in variants.items()}
for name, result in found.items():
    print(f"{name:<16} closed {result.ledger.closed}   size of all amounts {result.ledger.scale:.3f}")

# %%
plt.figure(figsize=(7, 2.4))
for offset, (name, result) in enumerate(found.items()):
    plt.bar([i + 0.2 * offset for i in range(len(result.tokens))], result.relevance(), 0.18, label=name)
plt.xticks([i + 0.3 for i in range(len(result.tokens))], result.tokens, rotation=30)
plt.ylabel("relevance")
plt.legend()
plt.show()

# %% [markdown]
# All ledgers are closed. Conservation does not choose between rules; that takes other tests (lab 11).
#
# ## Quiz

# %%
labs.quiz("13")

# %% [markdown]
# ## Recap
#
# - A rule is shares; shares that add up to 1 conserve.
# - The bent form: the value of the layer, the slope of the rule.
# - Prove that both are one with random R and special cases.
# - A composite puts a rule in force, everywhere or in one place; the ledger says what it keeps.
# - An operation that the library does not know gets a rule from you: `pelrp_nb.register(function, rule)`.
#
# **Next:** write a page. `pelrp_nb/rules/epsilon.py` has 41 lines; a rule of yours need not have more.

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 10 minutes talk, 30 minutes work. A good project: one rule, its page, its test, one model, one paragraph on what it shows.
# - *Where they stumble:* value and slope as two separate things; exercise 3 is the hardest of the course.
# - *Talk about:* a rule that pays everything to the first input conserves as well. What else must a rule promise?
