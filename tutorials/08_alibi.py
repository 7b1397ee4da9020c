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
# # 08 · Relative bias and ALiBi
#
# *About 45 minutes. You need: labs 00 and 04 to 06.*
#
# After this lab you can
#
# 1. explain models that add a number for each distance to their attention scores,
# 2. say why such relevance belongs to a *pair* of words,
# 3. name the choice that is made whenever it is written as one number per word.

# %%
import matplotlib.pyplot as plt
import torch

import pelrp_nb
from pelrp_nb import Options

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# Lab 06 added positions to words, lab 07 turned queries and keys. The third way changes nothing about the words: it adds a number to each **score**,
# which depends on the distance between query and key only.
#
# $$s_{ij} = q_i \cdot k_j + \mathrm{bias}_{i-j}$$
#
# [T5](https://arxiv.org/abs/1910.10683) learns one number for each distance, far ones sharing theirs (*relative bias*). BLOOM and MPT learn none: [ALiBi](https://arxiv.org/abs/2108.12409) (2022) subtracts a penalty that grows with the distance, with a slope $m_h$ for
# each head $h$.
#
# **Predict first.** A model writes its penalty as $-m(i-j)$, another as $m\,j$. Do the two compute the same answers?

# %% [markdown]
# ## A worked example
#
# Head $h = 1 \dots H$ has the slope $2^{-8h/H}$: steep heads look at neighbours, flat ones look far.

# %%
distance = torch.arange(20)
plt.figure(figsize=(5.5, 2.4))
for h in (1, 2, 3, 4):
    plt.plot(distance, -(2.0 ** (-8 * h / 4)) * distance, label=f"head {h} of 4")
plt.xlabel("distance i - j")
plt.ylabel("added to the score")
plt.legend()
plt.show()

# %% [markdown]
# *What to see:* to head 1 a word 19 back has lost nearly 5, which a softmax makes to less than a hundredth; to head 4 it is as near as any.
#
# ## Exercise 1 · Penalties &nbsp; ●●○ &nbsp; 7 minutes

# %%
def penalties(heads, tokens):
    """The matrix (heads, tokens, tokens): entry [h, i, j] is -slope_h (i - j), also where j comes after i."""
    # BEGIN SOLUTION
    slope = 2.0 ** (-8 * torch.arange(1, heads + 1).double() / heads)
    i = torch.arange(tokens)
    return -slope[:, None, None] * (i[:, None] - i)
    # END SOLUTION


# %%
labs.check("alibi", penalties)

# %% [markdown]
# **What if** a model has one head only? Which slope does it get, and how far can it look?
#
# <details><summary>An answer</summary>
#
# $2^{-8} = 0.004$: 256 tokens back cost 1.
#
# </details>
#
# ## A sum at every pair
#
# Score plus bias is a sum, so both are paid in proportion (lab 05), pair by pair. Words that may not be seen have the score $-\infty$ and
# get nothing; mind that $-\infty \cdot 0$ is not a number.
#
# ## Exercise 2 · Paying a bias &nbsp; ●●○ &nbsp; 10 minutes

# %%
def pair_bias(R, scores, bias):
    """(relevance of the scores, of the bias), all (queries, keys); scores of minus infinity are hidden."""
    # BEGIN SOLUTION
    seen = scores > -torch.inf
    scores = torch.where(seen, scores, 0)
    per_unit = torch.where(seen, R / (scores + bias), 0)
    return scores * per_unit, bias * per_unit
    # END SOLUTION


# %%
labs.check("pair-bias", pair_bias)

# %% [markdown]
# **What if** one says that slope and distance are constants, so the bias is one as well and gets nothing? Where would its part of the score go?
#
# <details><summary>An answer</summary>
#
# To nobody: it stays with a constant, as in lab 06.
#
# </details>
#
# ## One number per word?
#
# A distance lies *between* two words. To write it as one number per word, somebody must choose whom to credit. Here rows are queries.
#
# ## Exercise 3 · Credit the query &nbsp; ●○○ &nbsp; 2 minutes

# %%
def to_query(pairs):
    """Relevance of pairs (queries, keys) as one number for each query."""
    # BEGIN SOLUTION
    return pairs.sum(-1)
    # END SOLUTION


# %%
labs.check("to-query", to_query)

# %% [markdown]
# **What if** the keys were credited instead?
#
# <details><summary>An answer</summary>
#
# Then the columns would be added up. Which columns, hangs on how the model was written down: read on.
#
# </details>
#
# Now the prediction: $-m(i-j) = m\,j - m\,i$. The second term is the same for a whole row, and a
# softmax ignores what is the same for a whole row. **Same answers, other columns**: a per-key credit depends on how the model was written down. So
# the matrix is first rewritten in a form that does not: in distance, or *centred*, with the mean of each row subtracted.
#
# ## Exercise 4 · Centre the rows &nbsp; ●●○ &nbsp; 6 minutes

# %%
def centred(bias, seen):
    """The bias (queries, keys) less the mean of each row over its visible entries; 0 where `seen` is False."""
    # BEGIN SOLUTION
    mean = (bias * seen).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
    return (bias - mean) * seen
    # END SOLUTION


# %%
labs.check("centred", centred)

# %% [markdown]
# **What if** a row has one visible entry? What is left of it, and why is that right?
#
# <details><summary>An answer</summary>
#
# 0: such a row looks at its one entry whatever the bias.
#
# </details>
#
# ## In a real model
#
# A small model with ALiBi, trained on little questions. This one asks: *which word stands before the last `mark`?* So it must use distance 1. Orange
# pairs speak for the answer, purple ones against it. Guess which pair is the darkest:

# %%
model, tokenizer = pelrp_nb.zoo.load("tasks-alibi")
text = "previous sun mark bird stone fish sun mark star mark"
result = pelrp_nb.explain(model, text, processor=tokenizer, options=Options(audit=True, detail={"pairs"}))
print("answer:", result.target, "  closed:", result.ledger.closed, "  sinks:", ", ".join(result.sinks))

# %%
name, pairs = next(iter(result.detail["pairs"].items()))
most = pairs["relevance"].abs().max()
plt.figure(figsize=(4.6, 3.8))
plt.imshow(pairs["relevance"], cmap="PuOr_r", vmin=-most, vmax=most)
plt.xticks(range(len(result.tokens)), result.tokens, rotation=60)
plt.yticks(range(len(result.tokens)), result.tokens)
plt.xlabel("key")
plt.ylabel("query")
plt.title(f"{name}, {pairs['written']} by attention")
plt.colorbar()
plt.show()

# %% [markdown]
# *What to see:* the darkest cell is orange, and it is the true pair: the query of the last *mark* and the key one step before it, *star*.
#
# That is an account of what the biases were paid. What the places are *worth*, an exchange asks: what would the answer lose if two words exchanged
# their biases, the softmax computed again?

# %%
worth = pelrp_nb.exchange(model, text, processor=tokenizer, partners=None)
worth.figure(size=(8, 4.6))

# %% [markdown]
# *What to see:* the place of *star* is worth most, and that of the last *mark* next.
#
# ## Why does it say *moon*, here?
#
# The question of lab 00, put to two models with biases: one with a learnt number for each distance, in which every word sees all others; and the one with ALiBi, which reads from left to
# right. We run both with the biases of *moon* and *sun* behind the question mark exchanged. **Predict:** which of them says *sun* then? (Lab 06 has the clue.)

# %%
question, order = "order sun moon ? the moon of a sun in", [*range(12)]
order[6], order[9] = 9, 6                                                      # the places of moon and sun behind the question mark
for name in ("tasks-relative", "tasks-alibi"):
    net, reads = pelrp_nb.zoo.load(name)
    found = pelrp_nb.explain(net, question, processor=reads, target="moon", contrast="sun", options=Options(detail={"pairs"}))
    layer, pairs = max(found.detail["pairs"].items(), key=lambda item: item[1]["relevance"].abs().max())
    query, key = divmod(int(pairs["relevance"].abs().argmax()), 12)
    with pelrp_nb.permute_positions(net, order):
        logits = net(**reads(question, return_tensors="pt")).logits[0].detach()
    print(f"{name:<15} {found.value:+.1f} for moon; the darkest pair: {found.tokens[query]} {query} looks at {found.tokens[key]} {key} ({layer})")
    print(f"{'exchanged':<15} {logits[net.config.label2id['moon']] - logits[net.config.label2id['sun']]:+.1f}: {net.config.id2label[int(logits.argmax())]}")

# %% [markdown]
# The first says *sun*: it has no other way to tell order. In its darkest pair *moon* looks back, at *order*. The second still says *moon*, and is hardly less sure. In its
# darkest pair *moon* looks at itself; and that no *sun* stands between the question mark and it, it can see without any bias: the mask tells it. An account of positions that knows
# biases only cannot say so.
#
# ## Quiz

# %%
labs.quiz("08")

# %% [markdown]
# ## Recap
#
# - A bias on scores is a sum at every pair, paid in proportion.
# - Its relevance is a matrix; rows are queries.
# - A credit per key depends on how the bias was written; distance or centred rows do not.
# - Hidden pairs carry nothing and are never multiplied.
# - A mask tells order too, and no bias speaks for it.
#
# **Next:** [09 · A whole transformer, walked back](09_whole.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 12 minutes talk, 28 minutes work. Exercises 1 and 2 are the core.
# - *Where they stumble:* minus infinity; and that two forms with the same output have different relevance.
# - *Talk about:* which properties should an explanation keep when a model is rewritten without changing its answers?
