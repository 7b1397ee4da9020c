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
# # 06 · Positions as inputs
#
# *About 40 minutes. You need: labs 00 to 02, and 04; 05 helps.*
#
# After this lab you can
#
# 1. say what a model is given besides its words,
# 2. share relevance between a word and its place,
# 3. show what is lost if places get no account.

# %%
import matplotlib.pyplot as plt
import torch

import pelrp_nb
from pelrp_nb import ATTN_LRP, PA_LRP, Options
from pelrp_nb.rules.absolute import sinusoids

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# *dog bites man* and *man bites dog* have the same words. In a transformer like BERT every word is compared with every word, which does not notice the difference. (A
# model that reads from left to right knows a little of order by that alone: its first word sees one word, its second two.)
# Here is the question of lab 00, *which of the two comes first?*, put to a model that was trained like its sisters, but never told where words stand:

# %%
lost_in_space, reader = pelrp_nb.zoo.load("tasks-none")
for line in ("order sun moon ? the moon of a sun in", "order sun moon ? the sun of a moon in"):
    found = pelrp_nb.explain(lost_in_space, line, processor=reader)
    print(f"{line} -> {found.target}, logit {found.value:.3f}")

# %% [markdown]
# The same logit, so one of the two answers must be wrong: of 100 such questions it gets about 50 right, its sisters all. So models are told. One way, used by BERT, GPT-2 and most image
# models (ViT), is to **add** a vector to each word's vector: $z_t = E_t + P_t$. The input is not a row of words but a row of pairs: word and place, and
# [PA-LRP](https://arxiv.org/abs/2506.02138) (2025) gives both an account.
#
# **Predict first.** Somebody explains such a model and counts words only. Is the answer then shared out among the words, or does a part of
# it disappear?

# %% [markdown]
# ## A worked example
#
# One word, two numbers: its vector is (2, 1), its place adds (1, -2). The sum (3, -1) has the relevance (6, 2).

# %%
E, P, R = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, -2.0]]), torch.tensor([[6.0, 2.0]])
print("word ", (E / (E + P) * R).tolist())
print("place", (P / (E + P) * R).tolist())

# %% [markdown]
# The rule for sums, number by number: in proportion to what each has brought (labs 01 and 05). Word 4 - 2 = 2, place 2 + 4 = 6, together 8. A place that is
# given such an account is called a **sink**: relevance goes in and does not go on. (The first-token sinks of lab 04 are something else: they soak up attention.)
#
# ## Exercise 1 · Word, place, and a third &nbsp; ●●○ &nbsp; 8 minutes
#
# BERT adds a third vector, S, the same for every word of a sentence: it says *first* or *second sentence*. That one is no input of ours but a constant, and
# keeps its share like a bias: one number in all.

# %%
def added(R, E, P, S):
    """(relevance of each word (tokens,), of each place (tokens,), what S keeps in all); R, E, P (tokens, width), S (width,)."""
    # BEGIN SOLUTION
    per_unit = R / (E + P + S)
    return (E * per_unit).sum(-1), (P * per_unit).sum(-1), (S * per_unit).sum()
    # END SOLUTION


# %%
labs.check("added-positions", added)

# %% [markdown]
# **What if** you sum over the width first and share afterwards? Try it on the numbers above.
#
# <details><summary>An answer</summary>
#
# 3 and -1 make 2, so the word would get 12 and the place -4, instead of 2 and 6.
#
# </details>
#
# ## Exercise 2 · What would be lost &nbsp; ●○○ &nbsp; 4 minutes
#
# One number: what disappears from the account if places have none (and there is no third vector).

# %%
def lost(R, E, P):
    """Relevance that reaches nobody if only words are counted."""
    # BEGIN SOLUTION
    return (P / (E + P) * R).sum()
    # END SOLUTION


# %%
labs.check("lost", lost)

# %% [markdown]
# **What if** this number is negative? Do the words then get too much?
#
# <details><summary>An answer</summary>
#
# No, each word has what it had. Only their total is then more than there was to share out, for the places would have taken some of it back.
#
# </details>
#
# ## In a real model
#
# The same model and sentence, once with sinks for positions (`PA_LRP`), once with positions as constants (`ATTN_LRP`):

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-learnable")
text = "not a good film"
for composite, name in ((PA_LRP, "sinks"), (ATTN_LRP, "constants")):
    book = pelrp_nb.explain(model, text, processor=tokenizer, composite=composite, options=Options(audit=True)).ledger
    table = sum(amount for place, amount in book.constants.items() if "position" in place)
    print(f"{name:<10} words {book.tokens:+.4f}   positions {book.positions:+.4f}   booked as a constant {table:+.4f}")

# %% [markdown]
# The words get the same in both rows: an added position takes nothing from them. Without a sink its part reaches no input at all. This library
# then books it by name. A tool without a ledger shows words whose total does not add up: here it would be too *large*, for this part is negative.
#
# ## Places without learning: sinusoids
#
# A table of positions may be learnt, or computed. The [first transformer](https://arxiv.org/abs/1706.03762) (2017) used waves, fast ones and slow ones in turn:
#
# $$P_{t,2i} = \sin\frac{t}{10000^{2i/D}} \qquad P_{t,2i+1} = \cos\frac{t}{10000^{2i/D}}$$

# %%
plt.figure(figsize=(7, 2.2))
plt.imshow(sinusoids(60, 32).T, cmap="PuOr_r", aspect="auto")
plt.xlabel("position t")
plt.ylabel("coordinate")
plt.colorbar()
plt.show()

# %% [markdown]
# *What to see:* the upper waves tell neighbours apart; the lower ones hardly move in sixty words.
#
# ## Exercise 3 · The table of waves &nbsp; ●●○ &nbsp; 8 minutes

# %%
def table(tokens, width):
    """The table (tokens, width): a sine and a cosine in turn; width is even."""
    # BEGIN SOLUTION
    t = torch.arange(tokens).double()[:, None]
    angle = t / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(-2)
    # END SOLUTION


# %%
labs.check("sinusoids", table)

# %% [markdown]
# **What if** a table has no parameters at all, may it receive relevance? It is the same for all sentences; and yet which of its rows is
# added depends on where a word stands.
#
# <details><summary>An answer</summary>
#
# Yes: which row is added is a matter of the input, as it is with words.
#
# </details>
#
# **Predict:** in the model with these waves, whose place gets most, and is it much?

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-absolute")
result = pelrp_nb.explain(model, text, processor=tokenizer, options=Options(audit=True))
for token, content, position in zip(result.tokens, result.semantic.tolist(), result.positional.sum(0).tolist()):
    print(f"{token:<8} content {content:+.4f}   position {position:+.4f}")

# %% [markdown]
# The only place with an amount worth naming is that of `[CLS]`, which every sentence has, and its content takes nearly as much away. The places of the words get next to nothing: whether a film is
# liked hardly depends on them (lab 00).
#
# ## Quiz

# %%
labs.quiz("06")

# %% [markdown]
# ## Recap
#
# - The input is pairs: word and place.
# - An added place is paid like a branch of a sum: in proportion.
# - Without an account its part is lost, and the total does not add up.
# - Fixed or learnt makes no difference.
#
# **Next:** [07 · Rotary positions from scratch](07_rotary.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 10 minutes talk, 25 minutes work.
# - *Where they stumble:* "the table is a constant". Which row is added is not.
# - *Talk about:* BERT, GPT-2 and ViT all add. Ask for examples in which the place of a patch should matter, and in which it should not.
