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
# # 05 · Residual sums
#
# *About 35 minutes. You need: labs 01 to 03.*
#
# After this lab you can
#
# 1. share relevance between the two branches of a sum,
# 2. say how a map with huge numbers can come from a closed ledger,
# 3. write *ResLRP*, a rule whose amounts have a bound.

# %%
import matplotlib.pyplot as plt
import torch

import pelrp_nb
from pelrp_nb import PA_LRP_RES

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# A transformer's layers do not replace what they get, they *add* to it: $c = a + b$, the stream $a$ and what the branch computed, $b$. That is
# a *residual sum*.
#
# **Predict first.** The stream brings 10, the branch brings -9, the sum 1 is worth 1. What does each of them deserve? Write down two numbers.

# %% [markdown]
# ## A worked example
#
# In proportion, as always: $a/c$ and $b/c$.
#
# | a | b | R(a) | R(b) |
# |---|---|---|---|
# | 3 | 1 | 0.75 | 0.25 |
# | 10 | -9 | 10 | -9 |
# | 10 | -9.99 | 1000 | -999 |
#
# The total is 1 in every row, so the rule conserves. But the closer the branches come to cancelling, the larger both amounts, with
# opposite signs. There is no bound.
#
# ## Exercise 1 · The residual rule &nbsp; ●●○ &nbsp; 6 minutes
#
# For any number of branches: GPT-J adds attention and its *MLP* (two linear layers with an activation between them) to the stream at once, so there are three. And where branches cancel to exactly 0, there is nothing
# to share: nobody gets anything there (no NaN).

# %%
def my_residual(R, branches):
    """Relevance of each branch, in the shape of branches (number, tokens, width); R (tokens, width)."""
    # BEGIN SOLUTION
    total = branches.sum(0)
    return torch.where(total == 0, 0, branches * R / total)
    # END SOLUTION


# %%
labs.check("residual", my_residual)

# %% [markdown]
# **What if** one shares by sizes, $|a|/(|a|+|b|)$? Then nothing explodes. What would the branch in the second row above be told?
#
# <details><summary>An answer</summary>
#
# That it helped, with 9/19, although it pulled the other way.
#
# </details>
#
# ## Exercise 2 · How bad is it? &nbsp; ●○○ &nbsp; 4 minutes
#
# The *blow-up*: the sizes of both parts together, for a relevance of 1.

# %%
def blow_up(a, b):
    """|R(a)| + |R(b)| for R = 1, entry by entry."""
    # BEGIN SOLUTION
    return (a.abs() + b.abs()) / (a + b).abs()
    # END SOLUTION


# %%
labs.check("blow-up", blow_up)

# %% [markdown]
# **What if** ten layers each have a blow-up of 2 somewhere? How large may an amount become on its way back?
#
# <details><summary>An answer</summary>
#
# $2^{10} = 1024$ times as large.
#
# </details>
#
# ## A rule with a bound
#
# *[ResLRP](https://arxiv.org/abs/2609.17152)* (Berend et al., a preprint of 2026) found amounts exploding where branches cancel, in image models more than in language models. It favours the branch that
# the sum agrees with. Weigh each branch first, with a number $\gamma > 0$, then share the weighted sum:
#
# $$W_a = 1 + \gamma \text{ if } \mathrm{sign}(a) = \mathrm{sign}(a+b), \text{ else } 1 \qquad R(a) = \frac{W_a\, a}{W_a\, a + W_b\, b}\, R$$
#
# The weighted sum is never smaller than $c$, and sizes stay below $(1 + 2/\gamma)\,|R|$. Why: let $a$ have the sign of the sum, and $b$ pull the other way, so $|b| < |a|$. The sizes of
# both parts over their sum are
#
# $$\frac{(1+\gamma)|a| + |b|}{(1+\gamma)|a| - |b|} \le \frac{(1+\gamma)|a| + |a|}{(1+\gamma)|a| - |a|} = \frac{2+\gamma}{\gamma}$$
#
# since a larger $|b|$ makes the numerator larger and the denominator smaller. (If both agree, it is 1.)
#
# Why $1 + \gamma$? Any weight above 1 would do: $\gamma$ is a dial between two ends. At 0 the rule is the plain one, without a bound; the larger it is, the more of $R$ goes to the
# branch that agrees, until in the end it gets all, and the other nothing.

# %%
b = torch.linspace(-1.99, 1, 300)
c, one = 1 + b, torch.ones(300)
W_a, W_b = 1 + (c > 0).float(), 1 + (b.sign() == c.sign()).float()
plt.figure(figsize=(5.5, 2.5))
plt.plot(b, ((1 + b.abs()) / c.abs()).clamp(max=20), label="plain")
plt.plot(b, (W_a + (W_b * b).abs()) / (W_a + W_b * b).abs(), label="ResLRP, gamma = 1")
plt.xlabel("branch b, stream a = 1")
plt.ylabel("blow-up")
plt.ylim(0, 10)
plt.legend()
plt.show()

# %% [markdown]
# *What to see:* near b = -1, where the branches cancel, the plain rule has no bound; ResLRP stays below 3.
#
# ## Exercise 3 · ResLRP &nbsp; ●●○ &nbsp; 10 minutes

# %%
def my_reslrp(R, a, b, gamma):
    """(relevance of a, relevance of b) by the weighted rule."""
    # BEGIN SOLUTION
    c = a + b
    x = torch.where(a.sign() == c.sign(), 1 + gamma, 1.0) * a
    y = torch.where(b.sign() == c.sign(), 1 + gamma, 1.0) * b
    return x / (x + y) * R, y / (x + y) * R
    # END SOLUTION


# %%
labs.check("reslrp", my_reslrp)

# %% [markdown]
# **What if** both branches agree? Then both weights are 1 + gamma. What changes?
#
# <details><summary>An answer</summary>
#
# Nothing: a common factor cancels, and the rule is the plain one.
#
# </details>
#
# ## In a real model
#
# One review, one model, the plain rule and ResLRP in all residual sums. *Size* is the sum of all amounts without their signs,
# at each border between layers; read it from the bottom, as relevance flows:

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-learnable")
text = "Provides a porthole into that noble, trembling incoherence that defines us all."
plain = pelrp_nb.explain(model, text, processor=tokenizer)
bounded = pelrp_nb.explain(model, text, processor=tokenizer, composite=PA_LRP_RES)
for here, there in zip(plain.boundaries, bounded.boundaries):
    if here.kind in ("embeddings", "layer"):
        print(f"{here.name:<12} plain {here.relevance.abs().sum():.3f}   ResLRP {there.relevance.abs().sum():.3f}")
print(f"value {plain.value:.3f}; both ledgers closed:", plain.ledger.closed and bounded.ledger.closed)

# %% [markdown]
# The answer is nearly a tie, so what speaks for it and what speaks against it cancel: on the way back to the words sizes grow from 0.03 to more than 2, while the
# total stays what it is. ResLRP halves that. Not every review does this: of the first sixty the median grows about one and a half times, and a sentence like *a gorgeous ,
# witty film*, where all speaks for the answer, even shrinks. **Look at the sizes before you believe a map.**

# %% [markdown]
# ## Quiz

# %%
labs.quiz("05")

# %% [markdown]
# ## Recap
#
# - A sum pays its branches in proportion, signs included; the total is kept.
# - Where branches cancel, amounts explode: a ledger cannot see it, since it looks at totals.
# - ResLRP gives up exact proportion and gets a bound.
#
# **Next:** [06 · Positions as inputs](06_positions.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 8 minutes talk, 22 minutes work. Can be given as homework.
# - *Where they stumble:* dividing the weighted parts by the unweighted sum.
# - *Talk about:* is conserving the total enough? Compare with a bank that books +1,000,000 and -999,999.
