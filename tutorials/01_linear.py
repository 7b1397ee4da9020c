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
# # 01 · One linear layer by hand
#
# *About 45 minutes. You need: sums, fractions, and a little Python with tensors.*
#
# After this lab you can
#
# 1. share an amount among the inputs of a layer, with pencil and paper,
# 2. write the *epsilon rule*, the rule under all others,
# 3. say what a bias keeps, and what epsilon is for.

# %%
import matplotlib.pyplot as plt
import torch

from pelrp_nb import rules

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# A *linear layer* takes inputs $x_i$, multiplies each by a *weight* $W_{ji}$, and adds up, once for every output:
#
# $$z_j = \sum_i x_i W_{ji}$$
#
# Suppose somebody hands output $j$ an amount $R_j$: its *relevance*, what it was worth for the answer. How much of it does input $i$
# deserve?
#
# **Predict first.** One output, two inputs. The first contributes 3 to it, the second contributes 1. The output is worth 8. What would
# you give to each? Write it down before you go on.

# %% [markdown]
# ## A worked example
#
# In proportion to what each has contributed: 3 of 4 parts and 1 of 4 parts, so **6 and 2**. That is the whole rule
# ([Bach et al.](https://doi.org/10.1371/journal.pone.0130140), 2015). Here are three inputs, $x = (1, 2, 1)$, and two outputs, each with a row of weights:
#
# | | weights | contributions $x_i W_{ji}$ | output | shares | relevance | payments |
# |---|---|---|---|---|---|---|
# | output 1 | 3, 1, 1 | 3, 2, 1 | 6 | 3/6, 2/6, 1/6 | 6 | 3, 2, 1 |
# | output 2 | 1, -1, 2 | 1, -2, 2 | 1 | 1, -2, 2 | 2 | 2, -4, 4 |
#
# Divide the contributions of a row by their total, and you have *shares*; each row of shares adds up to 1. Multiply each row by its relevance, and you have
# payments. Add the payments column by column: the inputs get 5, -2 and 5.
#
# The total is 8 again: nothing was lost, nothing was made. We say the rule *conserves*. Look at the second input: output 2 pays it
# -4, because it pulled that output down. Relevance has a sign: *for* and *against*.
#
# **What if** one shared equally, 4 and 4 in the prediction?
#
# <details><summary>An answer</summary>
#
# Nothing would be lost either. In proportion is a convention: what it has over equal shares is that an input which contributed nothing gets nothing. Lab 13 has rules that think otherwise,
# and lab 11 asks which of them finds what matters.
#
# </details>

# %%
payment = torch.tensor([[3.0, 2.0, 1.0], [2.0, -4.0, 4.0]])
figure, axes = plt.subplots(1, 2, figsize=(7, 2.2), layout="constrained")
for axis, title, values in ((axes[0], "payment", payment), (axes[1], "sum", payment.sum(0, keepdim=True))):
    axis.imshow(values, cmap="PuOr_r", vmin=-9, vmax=9)
    axis.set(title=title, xlabel="input", xticks=range(3), yticks=range(len(values)))
    for j, i in torch.cartesian_prod(torch.arange(len(values)), torch.arange(3)).tolist():
        axis.text(i, j, f"{values[j, i]:+.1f}", ha="center", va="center")
axes[0].set_ylabel("output")
plt.show()

# %% [markdown]
# *What to see:* left, a row for each output, orange where it pays, purple where it takes; right, the columns added up. The second input is the only one that loses.
#
# ## Exercise 1 · By hand &nbsp; ●○○ &nbsp; 8 minutes
#
# Now your own numbers, with a pencil. What does each of the three inputs get? Four digits are enough.

# %%
x_mine, weight_mine, R_mine = labs.given("by-hand")
print("x", x_mine.tolist(), " W", weight_mine.tolist(), " R", R_mine.tolist())

# %%
by_hand = None
# BEGIN SOLUTION
by_hand = x_mine * ((R_mine / (weight_mine @ x_mine)) @ weight_mine)
# END SOLUTION

# %%
labs.check("by-hand", by_hand)

# %% [markdown]
# **What if** one input were 0? Would it matter how large its weights are?
#
# <details><summary>An answer</summary>
#
# No: it contributes 0 times anything, so it gets nothing.
#
# </details>
#
# ## Exercise 2 · Shares &nbsp; ●○○ &nbsp; 5 minutes
#
# Let the computer do it. `x` has shape `(inputs,)`, `weight` has shape `(outputs, inputs)`, and so has the result.

# %%
def shares(x, weight):
    """The share of each input in each output; every row adds up to 1."""
    # BEGIN SOLUTION
    contribution = x * weight
    return contribution / contribution.sum(1, keepdim=True)
    # END SOLUTION


# %%
labs.check("shares", shares)

# %% [markdown]
# **What if** the contributions were 5 and -4? What are the shares then, and what is their sum?
#
# <details><summary>An answer</summary>
#
# 5 and -4, together 1. A share need not lie between 0 and 1.
#
# </details>
#
# ## Bias and epsilon
#
# A real layer also adds a *bias* $b_j$. It makes a part of the output, so it deserves a part of the relevance, and no input gets that
# part. And an output near 0 makes enormous shares. A small number $\varepsilon$ (epsilon) moves the denominator away from 0, on the side on
# which it is:
#
# $$R_i = \sum_j \frac{x_i W_{ji}}{z_j + \varepsilon\,\mathrm{sign}(z_j)}\, R_j \qquad z_j = \sum_i x_i W_{ji} + b_j$$

# %%
z = torch.linspace(-1, 1, 400)
plt.figure(figsize=(6, 2.4))
plt.plot(z, 1 / z.where(z.abs() > 0.02, torch.nan), label="1 / z")
plt.plot(z, 1 / torch.where(z < 0, z - 0.2, z + 0.2), label="with epsilon = 0.2")
plt.ylim(-12, 12)
plt.xlabel("output z")
plt.legend()
plt.show()

# %% [markdown]
# *What to see:* the curve is the share of an input that contributes 1. Without epsilon it grows without bound where the output is near 0; with it, it never exceeds 1/0.2 = 5. Far from 0 the curves meet.
#
# ## Exercise 3 · The epsilon rule &nbsp; ●●○ &nbsp; 10 minutes
#
# `R` has shape `(..., outputs)`, `x` has shape `(..., inputs)`: there may be a batch in front. `sign(0)` counts as +1.

# %%
def my_epsilon(R, x, weight, bias, eps):
    """Relevance of x, in x's shape."""
    # BEGIN SOLUTION
    z = x @ weight.T + bias
    z = torch.where(z < 0, z - eps, z + eps)
    return x * ((R / z) @ weight)
    # END SOLUTION


# %%
labs.check("epsilon", my_epsilon)

# %% [markdown]
# **What if** epsilon grows and grows? Where does the relevance go?
#
# <details><summary>An answer</summary>
#
# Into epsilon: all shares shrink towards 0, and the layer keeps everything.
#
# </details>
#
# ## Exercise 4 · What the bias keeps &nbsp; ●●○ &nbsp; 5 minutes
#
# How much of `R` does the bias keep, summed over everything? One number; no epsilon here.

# %%
def kept(R, x, weight, bias):
    """What the biases keep of R in all."""
    # BEGIN SOLUTION
    return (bias / (x @ weight.T + bias) * R).sum()
    # END SOLUTION


# %%
labs.check("bias-keeps", kept)

# %% [markdown]
# **What if** the bias is negative? Can it keep less than nothing, and what would that mean?
#
# <details><summary>An answer</summary>
#
# Yes, where the output is positive: it keeps a negative part, and the inputs get more than R, for they had to make up for it.
#
# </details>
#
# In the library the rule is one page. Its last lines say what it conserves:

# %%
print(rules.epsilon.doc)

# %% [markdown]
# ## Quiz

# %%
labs.quiz("01")

# %% [markdown]
# ## Recap
#
# - A share is contribution over total; relevance is paid by shares.
# - Without bias and epsilon the rule conserves: what goes in comes out.
# - A bias keeps its share; epsilon keeps a little, and calms outputs near 0.
# - Relevance has a sign.
#
# **Next:** [02 · Conservation as accounting](02_conservation.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 10 minutes talk (one output, two inputs, on the board), 25 minutes work.
# - *Where they stumble:* dividing by totals over outputs instead of inputs; adding epsilon on the wrong side of 0.
# - *Talk about:* is a proportional share an explanation, or a convention? What would speak for equal shares?
# - *On paper:* the worksheet of the epsilon rule has the same case with other numbers.
