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
# # Quickstart: see relevance flow
#
# *About 20 minutes, half of them for the exercises. No mathematics, no GPU, no network.*
#
# A model reads a film review and says *positive*. **Why?** We take the number behind its answer and hand it back, layer by layer,
# until every bit of it has arrived somewhere: at a word, at the *position* of a word, or at a place inside the model that keeps some.
#
# After this notebook you can
#
# 1. explain a model's answer in one line,
# 2. tell content from position,
# 3. read the ledger, and say where every unit of the answer went.

# %%
import pelrp_nb
from pelrp_nb import CP_LRP, Options

model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
text = pelrp_nb.zoo.task("reviews").examples[71].text
text

# %% [markdown]
# **Predict first.** Read the sentence. Which two words do you expect to carry the answer? Then run the next cell.

# %%
result = pelrp_nb.explain(model, text, processor=tokenizer, options=Options(audit=True))
result

# %% [markdown]
# Orange speaks *for* the answer, purple *against* it. Each *token* (a word, or a piece of one) has two numbers: **content** (what the word says) and **position**
# (where it stands). The sum of both is its relevance.
#
# ## The number that is explained
#
# A classifier gives each label a score, its *logit*. We explain the highest one:

# %%
print(result.target, round(result.value, 3))

# %% [markdown]
# ## Where did it go?
#
# The **ledger** is an account that must balance:
#
# > value = tokens + positions + constants + softmax + stabilisers + gap
#
# *Constants* are numbers that the model adds by itself. *Softmax* is the step in which attention decides how much to look at each word; it
# keeps a share for itself. *Stabilisers* keep divisions away from zero; there are none here. The *gap* is what nobody can explain. Here it is
# rounding noise, and the ledger is **closed**. (`audit=True` above had every entry measured; lab 02 says why that matters.)

# %%
print(result.ledger)

# %% [markdown]
# ## Words instead of pieces
#
# The tokenizer cuts rare words into pieces. `words()` puts them together again; nothing is lost on the way.

# %%
words = sorted(result.words(), key=lambda word: -abs(word.relevance))
for word in words[:5]:
    print(f"{word.text:<14} content {word.semantic:+.3f}   position {word.positional:+.3f}")

# %% [markdown]
# ## Layer by layer
#
# A *boundary* is the border between two layers. What flows through it, token by token, is recorded on the way back.

# %%
result.figure()

# %% [markdown]
# ## Why positive rather than negative?
#
# Often the better question is a contrast: what speaks for one answer *rather than* another.

# %%
rather = pelrp_nb.explain(model, text, processor=tokenizer, target="positive", contrast="negative")
print(rather.target, round(rather.value, 3), "closed" if rather.ledger.closed else "open")

# %% [markdown]
# ## Another method, another answer about positions
#
# PA-LRP, the method so far, lets relevance flow through attention. CP-LRP treats attention as given. In this model positions enter in attention alone
# (*rotary* positions, lab 07), so nothing can reach them, and their share is exactly zero. That is a property of the method, not of the model: keep it in mind whenever somebody shows you a map without positions.

# %%
without = pelrp_nb.explain(model, text, processor=tokenizer, composite=CP_LRP)
print(f"PA-LRP {result.positional_share:.1%}   CP-LRP {without.positional_share:.1%}")

# %% [markdown]
# ## Which rule applied where?
#
# `plan` runs the model forward only, and lists the rule of each operation, the places where positions enter, and what would be refused.

# %%
pelrp_nb.plan(model, text, processor=tokenizer)

# %% [markdown]
# ## Your turn
#
# Three short exercises; each has a check right below it, and hints and a solution folded under that. Another sentence:

# %%
other = pelrp_nb.explain(
    model, "Deliciously mean spirited and wryly observant.", processor=tokenizer, options=Options(audit=True)
)
print(other.ledger)

# %% [markdown]
# ### Exercise 1 · The word whose place matters most &nbsp; ●○○ &nbsp; 3 minutes
#
# Which word's *position* has the largest amount, whatever its sign? Write it as a text. (`[CLS]` and `[SEP]` are marks that the tokenizer adds.)

# %%
word = None
# BEGIN SOLUTION
word = max(other.words(), key=lambda word: abs(word.positional)).text
# END SOLUTION

# %%
labs.check("position-word", word)

# %% [markdown]
# **What if** you asked for the largest amount *for* the answer? Is it the same word?
#
# ### Exercise 2 · The positions' part &nbsp; ●○○ &nbsp; 2 minutes
#
# Which part of the explained value went to positions? A number, like 0.25.

# %%
part = None
# BEGIN SOLUTION
part = other.ledger.positions / other.value
# END SOLUTION

# %%
labs.check("position-part", part)

# %% [markdown]
# **What if** some positions speak for the answer and some against it? What does this number say then, and what does it hide?
#
# ### Exercise 3 · Balance an account &nbsp; ●○○ &nbsp; 3 minutes
#
# What is left of the value when every entry has been named?

# %%
def account(value, tokens, positions, constants, softmax):
    """The gap of a ledger."""
    # BEGIN SOLUTION
    return value - tokens - positions - constants - softmax
    # END SOLUTION


# %%
labs.check("account", account)

# %% [markdown]
# **What if** the gap is large? Lab 02 finds the layer where it opened.
#
# ## Quiz

# %%
labs.quiz("00")

# %% [markdown]
# ## Recap
#
# - `explain(model, text, processor=tokenizer)` hands the model's answer back to tokens and positions.
# - The ledger says where every unit went; `closed` means the rest is rounding.
# - A method decides what positions can receive: compare methods before you believe a map.
#
# **Try it:** change `text` to a sentence of your own with *not* in it. Which word carries the *not*?
#
# **Next:** [01 · One linear layer by hand](01_linear.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 20 minutes with the exercises. Works as a demonstration without them.
# - *Talk about:* the prediction. Collect the two words from the room before the second cell is run.
# - *Where they stumble:* reading position as "importance of being there" rather than as an account. Lab 07 returns to it.
