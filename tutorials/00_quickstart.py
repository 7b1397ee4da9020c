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
# *About 30 minutes, a third of them for exercises and quiz. No mathematics, no GPU, no network.*
#
# A model reads a film review and says *positive*. **Why?** We take the number behind its answer and hand it back, layer by layer,
# until every bit of it has arrived somewhere: at a word, at the *position* of a word, or at a place inside the model that keeps some.
#
# After this notebook you can
#
# 1. explain a model's answer in one line,
# 2. tell what a word says from where it stands, and ask what its place is worth,
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
# Orange speaks *for* the answer, purple *against* it. Each *token* (a word, or a piece of one) has two numbers, **content** and **position**. `[CLS]` and `[SEP]` are
# marks that the tokenizer, which cuts the text into tokens, sets at the beginning and at the end; they are tokens like others.
# Their sum is its relevance, a way of sharing out answers called [layer-wise relevance propagation](https://doi.org/10.1371/journal.pone.0130140) (LRP, 2015).
# Positions have an account of their own since [PA-LRP](https://arxiv.org/abs/2506.02138) (2025).
#
# Read the sum first. How much of it is called *position* is settled by a convention (lab 07 derives it), so it says little about whether the place mattered.
# For that there is a better question, below.
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
# keeps a share for itself: here nearly half of the answer, which no word gets (lab 04 says what that means). *Stabilisers* keep divisions away from zero; there are none here. The *gap* is what nobody can explain. Here it is
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
    print(f"{word.text:<14} {word.relevance:+.3f}")

# %% [markdown]
# ## Layer by layer
#
# A *boundary* is the border between two layers. What flows through it, token by token, is recorded on the way back.

# %%
result.figure()

# %% [markdown]
# *What to see:* read the coloured rows from the top. The answer starts at `[SEP]`, where the model reads it off, and stays there until the lowest layer hands it to
# *enjoyable* and *unabashedly*.
#
# ## Why positive rather than negative?
#
# Often the better question is a contrast: what speaks for one answer *rather than* another.

# %%
rather = pelrp_nb.explain(model, text, processor=tokenizer, target="positive", contrast="negative")
print(rather.target, round(rather.value, 3), "closed" if rather.ledger.closed else "open")

# %% [markdown]
# ## Why does it say *moon*?
#
# A second model answers little questions. This one asks: of the two words named first, which comes first behind the question mark?

# %%
asked, reader = pelrp_nb.zoo.load("tasks-rotary")
question = "order sun moon ? the moon of a sun in"
for line in (question, "order sun moon ? the sun of a moon in"):
    print(line, " ->", pelrp_nb.explain(asked, line, processor=reader).target)

# %% [markdown]
# The same words, another answer: here no map of words alone can say why. Something about *where* they stand decides. So ask the model:
# **if two words exchanged their places, what would the answer lose?** The mean over all partners is what a place is *worth*, in units of the
# number that is explained; here that is *moon* rather than *sun*.

# %%
worth = pelrp_nb.exchange(asked, question, processor=reader, target="moon", contrast="sun", partners=None)
print(f"{worth.target}: {worth.value:+.1f}")
for token, amount in zip(worth.tokens, worth.signed):
    print(f"{token:<8}{amount:+.1f}" if amount == amount else f"{token:<8} a mark of the tokenizer, left in its place")

# %% [markdown]
# These are no shares: each is what an exchange would cost, so they need not add up to the value. The place of the *moon* behind the question mark is worth more than any other. And in the
# review? The **share** compares what the places are worth with what the words are: the sizes of the one over the sizes of both.
#
# A method may also be unable to see places. [CP-LRP](https://arxiv.org/abs/2202.07304) (2022) treats attention as given; in this model positions enter in
# attention alone, so it gives them exactly 0, although they decide. Keep it in mind whenever somebody shows you a map without positions.

# %%
blind = pelrp_nb.explain(asked, question, processor=reader, composite=CP_LRP)
review = pelrp_nb.exchange(model, text, processor=tokenizer, partners=None)
print(f"positions by CP-LRP: {blind.positional_share:.0%}")
print(f"share of the places by exchange: {worth.share:.0%} in the question, {review.share:.0%} in the review")

# %% [markdown]
# Whether a film is liked hardly depends on the order of the words. The *moon* stays with us: lab 06 asks a model without places, labs 07 and 08 open up models with
# them, 11 asks all five kinds, 14 follows the answer from word to word.
#
# ## Which rule applied where?
#
# `plan` runs the model forward only, and lists the rule of each operation, the places where positions enter, and what would be refused. A first reader looks at the
# last column and goes on: labs 01 to 07 explain the rules one by one.

# %%
pelrp_nb.plan(model, text, processor=tokenizer)

# %% [markdown]
# ## Your turn
#
# Three short exercises; each has a check right below it, and hints and a solution folded under that. Another question, *which word stands before the
# last `mark`?*, and another review:

# %%
before = pelrp_nb.exchange(asked, "previous river mark sun fish tree mark bird", processor=reader, partners=None)
print(before.target, [token for token in before.tokens])
other = pelrp_nb.explain(
    model, "Deliciously mean spirited and wryly observant.", processor=tokenizer, options=Options(audit=True)
)
print(other.ledger)

# %% [markdown]
# ### Exercise 1 · The word whose place is worth most &nbsp; ●○○ &nbsp; 3 minutes
#
# Guess first: is it the answer, *tree*? Then read it off `before`: its places that took no part are `nan`. Write the word as a text.

# %%
word = None
# BEGIN SOLUTION
word = before.tokens[before.signed.nan_to_num(0).abs().argmax()]
# END SOLUTION

# %%
labs.check("position-word", word)

# %% [markdown]
# **What if** that word stood somewhere else?
#
# <details><summary>An answer</summary>
#
# Then another word would be asked for: the one before the place where it stands now. The vector that the model looks up for *mark* is the same at every place, so only its place can tell.
#
# </details>
#
# ### Exercise 2 · The positions' part &nbsp; ●○○ &nbsp; 2 minutes
#
# Which part of the second review's value went to the line *positions*? A number, like 0.25.

# %%
part = None
# BEGIN SOLUTION
part = other.ledger.positions / other.value
# END SOLUTION

# %%
labs.check("position-part", part)

# %% [markdown]
# **What if** some positions speak for the answer and some against it?
#
# <details><summary>An answer</summary>
#
# They cancel in the line: an account says what went where, not how much moved.
#
# </details>
#
# ### Exercise 3 · Balance an account &nbsp; ●○○ &nbsp; 3 minutes
#
# What is left of the value when every entry has been named? (There are no stabilisers here.)

# %%
def account(value, tokens, positions, constants, softmax):
    """The gap of a ledger."""
    # BEGIN SOLUTION
    return value - tokens - positions - constants - softmax
    # END SOLUTION


# %%
labs.check("account", account)

# %% [markdown]
# **What if** the gap is large?
#
# <details><summary>An answer</summary>
#
# Then something was lost or made on the way, and the map is not to be trusted. Lab 02 finds the layer where it opened.
#
# </details>
#
# ## Quiz

# %%
labs.quiz("00")

# %% [markdown]
# ## Recap
#
# - `explain(model, text, processor=tokenizer)` hands the model's answer back to tokens and positions.
# - The ledger says where every unit went; `closed` means the rest is rounding.
# - A method decides what positions can receive. What a place is worth, `exchange` asks the model.
#
# **Try it:** change `text` to a sentence of your own with *not* in it. Which word carries the *not*?
#
# **Next:** [01 · One linear layer by hand](01_linear.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 30 minutes with the exercises. Works as a demonstration without them.
# - *Talk about:* the prediction. Collect the two words from the room before the second cell is run.
# - *Where they stumble:* reading the entry *position* as "importance of being there". It is an account; `exchange` is the question. Lab 07 returns to it.
