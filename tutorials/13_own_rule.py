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
# *About 40 minutes. You need: labs 01, 03, 09 and 11.*
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
from pelrp_nb import PA_LRP, Options, check_rule, faithfulness, rules
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
# The *square rule*, known as [$w^2$](https://arxiv.org/abs/1512.02479) (2015): shares are squared weights over their total.
#
# $$R_i = \sum_j \frac{W_{ji}^2}{\sum_k W_{jk}^2}\, R_j$$
#
# One output with the weights 2, 1, -1 and the relevance 6: squares 4, 1, 1, together 6; so the inputs get 4, 1, 1.
#
# ## Exercise 1 · The definition &nbsp; ●●○ &nbsp; 6 minutes
#
# In the form in which the library calls rules: inputs first, then weight and bias (which gets nothing here); one payment for each input, in a tuple.

# %%
def square_rule(R, x, weight, bias=None):
    """(relevance of x (..., inputs),) by squared weights; R (..., outputs), weight (outputs, inputs)."""
    # BEGIN SOLUTION
    share = weight**2 / (weight**2).sum(-1, keepdim=True)
    return (R @ share,)
    # END SOLUTION


# %%
labs.check("own-rule", square_rule)

# %% [markdown]
# **What if** an input is 0? The epsilon rule gives it nothing. This rule? Which do you find right for a black pixel?
#
# <details><summary>An answer</summary>
#
# It pays it like any other. For a pixel that might have been bright, that may be right.
#
# </details>
#
# ## Exercise 2 · What is lost? &nbsp; ●○○ &nbsp; 4 minutes
#
# A tool you need for every rule: the part of what came in that was not paid out. It may be negative.

# %%
def lost_part(R, paid):
    """(sum in - sum out) / sum in."""
    # BEGIN SOLUTION
    return (R.sum() - paid.sum()) / R.sum()
    # END SOLUTION


# %%
labs.check("lost-part", lost_part)

# %% [markdown]
# **What if** R has both signs and its sum is nearly 0? Which scale would you compare with? (Lab 02 knows.)
#
# <details><summary>An answer</summary>
#
# With the sum of sizes.
#
# </details>
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
#
# The value of the layer is `apply(x, weight, bias)`: in a model `apply` is the layer itself.

# %%
def square_forward(x, weight, bias=None, apply=linear):
    """The value of the layer, the slope of the square rule; no input is 0 here."""
    # BEGIN SOLUTION
    z = apply(x, weight, bias)
    share = weight**2 / (weight**2).sum(-1, keepdim=True)
    flat = (x / freeze(x)) @ share.T
    return route(z, flat * freeze(z))
    # END SOLUTION


# %%
labs.check("own-forward", square_forward)

# %% [markdown]
# **What if** you test with R = y only? Find a wrong forward pass which passes that test.
#
# <details><summary>An answer</summary>
#
# One that pays from the mean of all outputs, `(flat * freeze(z)).mean(-1, keepdim=True).expand_as(z)`: right in sum for R = y, wrong for any other R.
#
# </details>
#
# ## Prove it
#
# `check_rule` draws inputs and R at random, compares both forms, and measures what is kept. Here for the epsilon rule:

# %%
check_rule(rules.epsilon)

# %% [markdown]
# ## A rule of your own
#
# Two functions make a rule. A smaller one than yours, known as *flat*: each input gets the same, whatever it is. The docstring of the definition becomes its page.

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
# And yours. (Until it is written, flat stands in for it below.)

# %%
written = square_forward(torch.ones(1, 2), torch.ones(1, 2)) is not None
mine = rules.make("square", square_forward, square_rule, example=rules.epsilon(0).example, conserves="all") if written else flat
print(mine.doc)
check_rule(mine)

# %% [markdown]
# ## Put your rule in force
#
# A *composite* says which rule serves which kind of step; a variant is one `replace`. `where` sets a rule for one layer or module alone.
# Beside the epsilon rule, *gamma*, which favours contributions that point the way the output went, then yours, in one layer and everywhere:

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
text = "a dull , clumsy film"
variants = {
    "epsilon": PA_LRP, "gamma(1)": replace(PA_LRP, linear=rules.gamma(1)),
    "yours in layer 3": PA_LRP.where({"layer 3": {"linear": mine}}), "yours": replace(PA_LRP, linear=mine),
}  # fmt: skip
found = {name: pelrp_nb.explain(model, text, processor=tokenizer, composite=c, options=Options(audit=True)) for name, c in variants.items()}

# %%
plt.figure(figsize=(7, 2.4))
for offset, (name, result) in enumerate(found.items()):
    plt.bar([i + 0.2 * offset for i in range(len(result.tokens))], result.relevance(), 0.18, label=name)
plt.xticks([i + 0.3 for i in range(len(result.tokens))], result.tokens, rotation=30)
plt.ylabel("relevance")
plt.legend()
plt.show()

# %% [markdown]
# *What to see:* with yours, the square rule, *dull* and *clumsy* still stand out, for what they made of the layers above is still paid by other rules.
#
# **Its ledger.** Does it balance? What do words and softmax get under your rule, and what under epsilon?

# %%
for name in ("epsilon", "yours in layer 3", "yours"):
    book = found[name].ledger
    print(f"{name:<17} closed {book.closed}   words {book.tokens:+.3f}   positions {book.positions:+.3f}   softmax {sum(book.softmax.values()):+.3f}")

# %% [markdown]
# All are closed, so conservation does not choose between them. **Its faithfulness** does: the gain of lab 11, on twenty reviews, beside chance.

# %%
def judged(composite):
    """A composite as a method that is judged: relevance of each token of a case."""
    explained = lambda subject, case: pelrp_nb.explain(model, case.text, processor=tokenizer, target=case.target, composite=composite)
    return lambda subject, case: explained(subject, case).relevance()


choices = faithfulness.Configuration(methods=("random",), protocols=("gain",))
ours = {name: judged(variants[name]) for name in ("epsilon", "yours in layer 3", "yours")}
print(faithfulness.measure(model, tokenizer, faithfulness.load("reviews", limit=20), choices, methods=ours))

# %% [markdown]
# The square rule everywhere has a gain of about 0.8, where epsilon has 1.2 and chance none; in layer 3 alone it costs nothing. (Flat, if it still stands in for yours, has 0.7.) A rule may be sound in every account and
# blind to part of what matters: yours pays for wiring, not for what was there. That is good for a black pixel (lab 10), and not for a word.
#
# ## Open project &nbsp; ○ &nbsp; an afternoon
#
# A rule that nobody has written: say what it should do in one sentence; define it, bend it, `check_rule` it; put it in force; its ledger, its gain beside epsilon's, and one
# sentence in which it says something else. A page is enough: docstring, definition, bent form, example (`pelrp_nb/rules/epsilon.py` is one).
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
# **Next:** write a page: `pelrp_nb/rules/epsilon.py` has fewer than 50 lines, and a rule of yours need not have more. Or [14 · From word to word](14_word_to_word.ipynb).

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 10 minutes talk, 30 minutes work. A good project: one rule, its page, its test, one model, one paragraph on what it shows.
# - *Where they stumble:* value and slope as two separate things; exercise 3 is the hardest of the course.
# - *Talk about:* a rule that pays everything to the first input conserves as well. What else must a rule promise?
