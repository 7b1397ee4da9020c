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
# # 02 · Conservation as accounting
#
# *About 45 minutes. You need: lab 01.*
#
# After this lab you can
#
# 1. read a *ledger*: an account of where every unit of an answer went,
# 2. decide whether it balances,
# 3. find the layer in which relevance leaks.

# %%
import matplotlib.pyplot as plt
import torch

import pelrp_nb
from pelrp_nb import Options

# %% [markdown]
# ## The question
#
# Lab 01 handed an amount back through one layer. A model is many layers; we start with its answer, one number, and hand it back until it
# reaches the words. If no layer loses or invents anything, the words together get exactly the answer.
#
# **Predict first.** In a real model, which part of the answer reaches the words: all of it, most of it, about half?
#
# (That a rule should hand on what it receives is as old as [LRP itself](https://doi.org/10.1371/journal.pone.0130140), 2015; a
# [later overview](https://doi.org/10.1007/978-3-030-28954-6_10) has most rules of this course.)

# %% [markdown]
# ## A worked example
#
# A small model that was trained on film reviews, and one of its answers. (`audit=True` measures everything; the cheaper way is explained
# below.)

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-learnable")
result = pelrp_nb.explain(model, "a gorgeous , witty film", processor=tokenizer, options=Options(audit=True))
print(result.ledger)

# %% [markdown]
# Read it from the top. *Tokens* are the words, or pieces of words. *Positions* are their places: a model is told where each word
# stands, and that is an input too. *Constants* are what the model adds by itself: biases, with their shares, as in lab 01,
# and here above all one vector that is added to every word alike (`token_type_embeddings`). *Softmax* is a step of attention, which has a lab of its own (04). *Stabilisers* are the epsilons. What is left is the **gap**: nobody can say where it went.
#
# > value = tokens + positions + constants + softmax + stabilisers + gap

# %%
names, amounts = zip(*result.ledger.rows()[:-2])
starts = torch.tensor([0.0, *amounts]).cumsum(0)
plt.figure(figsize=(6.5, 2.4))
plt.bar(names, amounts, bottom=starts[:-1].tolist(), color=["#e08214" if a >= 0 else "#8073ac" for a in amounts])
plt.axhline(result.value, color="black", linewidth=1, label="value")
plt.ylim(0, 1.2 * result.value)
plt.legend()
plt.ylabel("account so far")
plt.show()

# %% [markdown]
# *What to see:* each bar begins where the one before it ended, and the last one ends at the black line, the value. That is what *closed* means.
#
# **The prediction:** about half reaches the words of this sentence, and the softmax **keeps** about as much. *Kept* is not lost, and belongs to no word: it is
# the part that hangs on words being looked at at all, not on *which* of them was chosen over the others. Lab 04 derives it. Between sentences it differs
# widely; in the last one below words speak for and against, the value is the little that is left, and both parts are many times as large.

# %%
nearly_a_tie = "Provides a porthole into that noble, trembling incoherence that defines us all."
for review in ("A tasty appetizer that leaves you wanting more.", "Verbinski substitutes atmosphere for action, tedium for thrills.", nearly_a_tie):
    book = pelrp_nb.explain(model, review, processor=tokenizer, options=Options(audit=True)).ledger
    print(f"words {book.tokens / book.value:6.0%}   softmax {sum(book.softmax.values()) / book.value:6.0%}   {review}")

# %% [markdown]
# ## Exercise 1 · Closed or not &nbsp; ●○○ &nbsp; 6 minutes
#
# Computers round. A gap of 0.0000002 is no leak. But small compared with what? Amounts of both signs may cancel in the
# total, so compare with the sum of their *sizes*, the **scale**: a ledger is closed if the size of the gap is at most `tolerance` times the
# scale.

# %%
def closed(gap, entries, tolerance):
    """True if the gap is no more than rounding; gap is a number, entries a tensor of all amounts."""
    # BEGIN SOLUTION
    return abs(gap) <= tolerance * entries.abs().sum()
    # END SOLUTION


# %%
labs.check("closed", closed)

# %% [markdown]
# **What if** we compared the gap with the value itself, and the value happened to be 0.0001?
#
# <details><summary>An answer</summary>
#
# A gap of 0.000001 would be a hundredth of it, and a ledger of amounts near 1 would be called open for mere rounding.
#
# </details>
#
# ## Finding the leak
#
# The ledger also knows what had gone missing at each border between layers, from the answer backwards: `layer 3` is the border where we have walked back through the classifier and arrive
# at what layer 3 gave out; at `layer 2` we have walked back through layer 3, too. What is lost is not found again, so a leak shows at the next border and at all that follow. The first border
# with a gap says: it leaked in what was walked through just before. (Up to
# `ledger.allowed`, which is `tolerance` times the scale, a gap is rounding; its digits differ from computer to computer.)

# %%
for name, gap in list(result.ledger.layers.items())[:4]:
    print(f"{name:<22}{'rounding' if abs(gap) <= result.ledger.allowed else gap}")

# %% [markdown]
# ## Exercise 2 · Where is the leak? &nbsp; ●○○ &nbsp; 6 minutes
#
# `gaps` is a tensor in the order in which we walk back. Give the number of the first one whose size is above `allowed`, counted from 0;
# -1 if there is none.

# %%
def opened(gaps, allowed):
    """Number of the first gap that is too large, or -1."""
    # BEGIN SOLUTION
    return next((i for i, gap in enumerate(gaps) if abs(gap) > allowed), -1)
    # END SOLUTION


# %%
labs.check("find-leak", opened)

# %% [markdown]
# **What if** two leaks cancel each other later on? Does your function see the first of them?
#
# <details><summary>An answer</summary>
#
# Yes: it stops at the first. Who looks at the last border alone sees none.
#
# </details>
#
# ## A ledger of one's own
#
# Two linear layers with a ReLU between them (it replaces negative numbers by 0, and hands all relevance on as it is):
#
# $$h = \mathrm{relu}(W_1 x + b_1) \qquad z = W_2 h + b_2$$
#
# ## Exercise 3 · Book-keeping &nbsp; ●●● &nbsp; 12 minutes
#
# Walk back and book three amounts: what reaches the inputs in all, what `b1` keeps, what `b2` keeps. Together they must be the sum of `R`.

# %%
def book(R, x, W1, b1, W2, b2):
    """(sum over the inputs, kept by b1, kept by b2); R (batch, outputs), x (batch, inputs)."""
    # BEGIN SOLUTION
    z1 = x @ W1.T + b1
    h = z1.clamp(min=0)
    z2 = h @ W2.T + b2
    R_h = h * ((R / z2) @ W2)
    R_x = x * ((R_h / z1) @ W1)
    return R_x.sum(), (b1 * R_h / z1).sum(), (b2 * R / z2).sum()
    # END SOLUTION


# %%
labs.check("book-keeping", book)

# %% [markdown]
# **What if** somebody books the difference, "whatever is missing", under some name? Would the ledger ever be open?
#
# <details><summary>An answer</summary>
#
# Never, whatever the rules do.
#
# </details>
#
# That is not a joke. Attention may run as one call, in which the softmax cannot be watched (the fast way, without `audit=True`). Then its part is a difference, and the ledger says so: `audited` is False. Such an entry proves
# nothing; an *audit* measures it.

# %%
fast = pelrp_nb.explain(model, "a gorgeous , witty film", processor=tokenizer)
print("audited:", fast.ledger.audited, result.ledger.audited)
print("softmax:", f"{sum(fast.ledger.softmax.values()):.4f} {sum(result.ledger.softmax.values()):.4f}")

# %% [markdown]
# ## Quiz

# %%
labs.quiz("02")

# %% [markdown]
# ## Recap
#
# - The value is the sum of named entries and a gap.
# - Closed: the gap is small compared with the sizes of all that flowed.
# - A leak shows from the next border on; the first gap says where it is.
# - An entry that is a difference balances by construction. Only what is measured proves something.
#
# **Next:** [03 · Activations, norms, gates](03_activations.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 10 minutes talk, 25 minutes work. Exercise 3 is the first real walk back; let pairs do it on paper first.
# - *Where they stumble:* taking the bias of the second layer out of its total; the sign of a gap.
# - *Talk about:* a wrong rule can conserve. What can a ledger not tell you?
# - About half of the answer stays with the softmax here. Ask what a map of words alone would have claimed.
