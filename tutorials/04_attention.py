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
# # 04 · Attention
#
# *About 55 minutes; a good place for a break is after exercise 2. You need: labs 01 to 03.*
#
# After this lab you can
#
# 1. follow relevance along the two paths of attention,
# 2. derive where a quarter, a quarter and a half come from,
# 3. derive what the softmax keeps, and say why attention is not relevance.

# %%
import matplotlib.pyplot as plt
import torch

import pelrp_nb
from pelrp_nb import CP_LRP, Options

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# Attention lets every word look at others. Each word asks with a *query* $q$; each word answers with a *key* $k$ and offers a *value* $v$.
# A **score** says how well a query and a key fit. The **softmax** turns the scores of one query into weights $A$ which are positive and add up
# to 1. The output is the weighted sum of the values (models also divide $s$ by a constant, which changes no share):
#
# $$s = q\,k^\top \qquad A = \mathrm{softmax}(s) \qquad o = A\,v$$
#
# **Predict first.** The output is worth 1. Part of it goes to the values (*what* was looked at), part to queries and keys (*why* it was
# looked at). Which part goes where?

# %% [markdown]
# ## A worked example: two paths
#
# $o = A v$ is a product of two things, so half each, as for the gate in lab 03: half of the relevance takes the **value path**, half goes
# to the weights. Behind the weights there is another product, $s = q k^\top$: half of that half to the queries, half to the keys.

# %%
figure, axis = plt.subplots(figsize=(6.5, 2.6), layout="constrained")
places = {"o": (0, 1), "A": (1, 1.6), "v": (3, 0.4), "s": (2, 1.6), "q": (3, 2.2), "k": (3, 1.2)}
arrows = (("o", "A", "1/2"), ("o", "v", "1/2"), ("A", "s", "softmax keeps\na part"), ("s", "q", "1/4"), ("s", "k", "1/4"))
for here, there, text in arrows:
    (x, y), (u, w) = places[here], places[there]
    axis.annotate("", (u - 0.08, w), (x + 0.08, y), arrowprops={"arrowstyle": "->"})
    axis.text((x + u) / 2, (y + w) / 2 + 0.12, text, ha="center")
for name, (x, y) in places.items():
    axis.text(x, y, name, ha="center", va="center", weight="bold")
axis.set(xlim=(-0.3, 3.3), ylim=(0.1, 2.6))
axis.axis("off")
plt.show()

# %% [markdown]
# *What to see:* the way forks twice, at the two products, and each fork halves; between them lies the softmax, which does not fork and keeps a part. **A quarter, a quarter, a half**, before it
# does. All that follows is one sentence used twice: *every factor of a product gets the same part.*
#
# ## Exercise 1 · The two paths &nbsp; ●●○ &nbsp; 10 minutes
#
# Share `R` between the weights `A` and the values `v`. As in lab 01, an output pays in proportion to contributions, here $A_{ts}\, v_{sd}$; each
# contribution is then halved.

# %%
def two_paths(R, A, v):
    """(relevance of A, relevance of v) for o = A @ v; R (queries, width), A (queries, keys), v (keys, width)."""
    # BEGIN SOLUTION
    per_unit = R / (A @ v)
    return 0.5 * A * (per_unit @ v.T), 0.5 * v * (A.T @ per_unit)
    # END SOLUTION


# %%
labs.check("two-paths", two_paths)

# %% [markdown]
# **What if** the values were constants, and only the weights depended on the words? Would a half still be due?
#
# <details><summary>An answer</summary>
#
# No: only the weights carry, so they get all of it.
#
# </details>
#
# ## Exercise 2 · Who carries? &nbsp; ●●○ &nbsp; 6 minutes
#
# A half is due only where *both* sides of a product depend on the input, or as we say, *carry*. Give the part of `q`, `k` and `v` (before the
# softmax takes any), 0 for what does not carry. `q`, `k`, `v` are True or False.

# %%
def factors(q, k, v):
    """(part of q, part of k, part of v), each between 0 and 1."""
    # BEGIN SOLUTION
    of_scores = 0.5 if v else 1.0
    part_q = of_scores * (0.5 if k else 1.0) * q
    part_k = of_scores * (0.5 if q else 1.0) * k
    return part_q, part_k, (0.5 if q or k else 1.0) * v
    # END SOLUTION


# %%
labs.check("factors", factors)

# %% [markdown]
# **What if** one decides that the weights are constants, whatever they depend on? Then all goes through the values: that method is called
# **CP-LRP**. What reaches q and k then?
#
# <details><summary>An answer</summary>
#
# Nothing, and so nothing reaches a rotary position either.
#
# </details>
#
# ## What the softmax keeps
#
# The softmax lies between. Its weights compete: if one grows, the others shrink. That is its slope,
#
# $$\frac{\partial A_j}{\partial s_i} = A_j\,([i = j] - A_i)$$
#
# ($[i = j]$ is 1 for the same entry, else 0). The rest is the promise of lab 03, relevance = value times slope, on both sides: $R(A_j) = A_j\, g_j$ defines
# the slopes $g_j$ that come from above; $R(s_i) = s_i \sum_j g_j\, \partial A_j / \partial s_i$ is what goes on.
#
# ## Exercise 3 · The softmax rule &nbsp; ●●○ &nbsp; 10 minutes
#
# Put the two together on paper until no $g$ is left: only $s$, $A$ and $R(A)$. Then write it. `R` is the relevance of the weights, `s` the
# scores; every row is a softmax of its own.

# %%
def softmax_rule(R, s):
    """Relevance of the scores, in their shape (rows, keys)."""
    # BEGIN SOLUTION
    A = s.softmax(-1)
    return s * (R - A * R.sum(-1, keepdim=True))
    # END SOLUTION


# %%
labs.check("softmax", softmax_rule)

# %% [markdown]
# What you found is the rule of [AttnLRP](https://arxiv.org/abs/2402.05602) (2024), $R(s_i) = s_i\,(R(A_i) - A_i \sum_j R(A_j))$: a score deserves something only
# as far as its weight *stands out*.
#
# **What if** you add 5 to all scores of a row? The weights stay the same. Do the amounts? Does their sum?
#
# <details><summary>An answer</summary>
#
# The amounts do, each by five times the bracket; their sum does not, for the brackets of a row add up to 0.
#
# </details>
#
# ## Exercise 4 · The leak, measured &nbsp; ●○○ &nbsp; 4 minutes
#
# This rule does not conserve, even without bias and epsilon. What does each row keep? One number for each row.

# %%
def softmax_keeps(R, s):
    """What went into each row, less what came out of it; shape (rows,)."""
    # BEGIN SOLUTION
    return R.sum(-1) - (s * (R - s.softmax(-1) * R.sum(-1, keepdim=True))).sum(-1)
    # END SOLUTION


# %%
labs.check("softmax-keeps", softmax_keeps)

# %% [markdown]
# **What if** a row has a single entry? Its weight is 1 whatever the score. What should the score receive?
#
# <details><summary>An answer</summary>
#
# Nothing: the softmax keeps all that arrives.
#
# </details>
#
# ## What "kept" means
#
# With $R(A_j) = A_j g_j$, a row receives the mean of its slopes, weighted by $A$: $\bar g = \sum_j A_j g_j$. It hands on $\sum_i A_i s_i (g_i - \bar g)$, which is
# the *covariance* of scores and slopes under the same weights. So
#
# $$\mathrm{kept} = \bar g - \mathrm{cov}_A(s, g)$$
#
# Handed on is what hangs on *which* key was chosen over others. Kept is what comes whichever is chosen. The covariance is 0, and all is kept, in
# two opposite cases: equal scores (nothing was chosen), and one weight near 1 (**saturated**: chosen so firmly that no small change matters).

# %%
slopes = torch.tensor([1.0, 0.2, -0.5])
for name, s in (("equal scores", [1.0, 1.0, 1.0]), ("a choice", [2.0, 1.0, 0.0]), ("saturated", [20.0, 1.0, 0.0])):
    s = torch.tensor(s)
    A = s.softmax(0)
    mean = (A * slopes).sum()
    covariance = (A * s * (slopes - mean)).sum()
    print(f"{name:<13} weights {[f'{a:.2f}' for a in A]}   in {mean:.3f}   on {covariance.abs():.3f}   kept {mean - covariance:.3f}")

# %% [markdown]
# ## In a real model
#
# A small model for film reviews. It reads from left to right (it is *causal*): the first token sees only itself, so its softmax keeps all that comes. What
# is kept in each layer stands in the ledger:

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
text = "a gorgeous , witty film"
result = pelrp_nb.explain(model, text, processor=tokenizer, options=Options(audit=True))
for layer, amount in result.ledger.softmax.items():
    print(f"{layer:<10} keeps {amount:+.4f}   of a value of {result.value:.4f}")

# %% [markdown]
# **First-token sinks.** In large language models the first token often soaks up most of the attention, a [place to look](https://arxiv.org/abs/2309.17453) when there is
# nothing to look at. Rows that look there are saturated, so by the formula above they pay their scores nearly nothing; and the value that lies there is
# [often small](https://arxiv.org/abs/2410.10781), so the value path pays little too. This small model has no strong one: in layer 1 its first token gets
# 0.44 of the attention, where even attention would give 0.37. It does show that attention is not relevance.
#
# (A layer attends several times side by side, each time with other queries, keys and values; each of them is called a *head*. The picture shows their mean.)

# %%
model.set_attn_implementation("eager")
inputs = tokenizer(text, return_tensors="pt")
A = model(**inputs, output_attentions=True).attentions[1][0].mean(0).detach()
figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
axes[0].imshow(A, cmap="Greys")
axes[0].set(title="attention, layer 1, mean of heads", xticks=range(len(A)), yticks=range(len(A)))
axes[0].set_xticklabels(result.tokens, rotation=60)
axes[0].set_yticklabels(result.tokens)
axes[1].bar(range(len(A)), result.relevance(), color="#e08214")
axes[1].set(title="relevance", xticks=range(len(A)))
axes[1].set_xticklabels(result.tokens, rotation=60)
plt.show()

# %% [markdown]
# *What to see:* left, most of the attention goes to *[CLS]* and *a*. Right, these two are worth next to nothing; *gorgeous* and *witty* carry the answer, at
# which hardly any row looks.
#
# Under [CP-LRP](https://arxiv.org/abs/2202.07304) the softmax is a constant: nothing leaks there, and nothing reaches queries and keys.

# %%
audit = Options(audit=True)
constant = pelrp_nb.explain(model, text, processor=tokenizer, composite=CP_LRP, options=audit)
book = constant.ledger
print(f"softmax keeps {abs(sum(book.softmax.values())):.4f}, positions get {abs(book.positions):.4f}")

# %% [markdown]
# Step through the layers yourself: from the answer back to the words, branch by branch. (Arrow keys step; where no live view can be shown,
# `result` alone gives a page or a coloured table.)

# %% tags=["nbval-ignore-output"]
result.explore()

# %% [markdown]
# ## Quiz

# %%
labs.quiz("04")

# %% [markdown]
# ## Recap
#
# - Attention is product, softmax, product: a half to the values, a quarter each to queries and keys.
# - A half is due only where both sides carry.
# - The softmax hands on how scores and slopes vary together, and keeps the rest: all of it for equal scores, one entry, or one weight near 1.
# - Attention weights are not relevance.
#
# **Next:** [05 · Residual sums](05_residuals.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 15 minutes talk, 30 minutes work. The picture of the two paths is the core; exercise 2 tests whether it was understood.
# - *Where they stumble:* in exercise 3, multiplying by A once too often: R already is A times its slope.
# - *Talk about:* what is lost if "why it was looked at" gets nothing (CP-LRP)? When is that acceptable?
# - CP-LRP in one line: `composite=CP_LRP`. Ask for a sentence in which the two methods disagree about the strongest word.
