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
# # 14 · From word to word
#
# *About 45 minutes. You need: labs 00, 04 and 07.*
#
# After this lab you can
#
# 1. say which word handed what to which word, in which layer, through which head,
# 2. find a head that looks back and a head that copies, and confirm them by *patching*,
# 3. find a *circuit*, and say how much of an answer it keeps alone.

# %%
import torch

import pelrp_nb
from pelrp_nb import Options, patch

torch.set_printoptions(precision=4, sci_mode=False)
with_routes = Options(detail={"routes"})

# %% [markdown]
# ## The question
#
# Lab 00 asked: *why does it say* moon? Since then you know which words and places the answer hangs on. But an answer is given at one place, and the word it is about
# stands at another. So something was carried there. By whom?
#
# **Predict first.** The question was `order sun moon ? the moon of a sun in`: which of *sun* and *moon* comes first behind the question mark? This model reads its answer
# at the first place, `[CLS]`. Can *moon* get there in one step?
#
# ## A worked example
#
# A *head* gives place $i$ a mix of vectors, $o_i = \sum_j A_{ij} v_j$. Let $g_i$ say what each unit of $o_i$ is worth to the answer (the bent gradient). Then place $j$ deserves
#
# $$R_{ij} = A_{ij}\,(g_i \cdot v_j)$$
#
# of what place $i$ received: it is *handed on* from $i$ to $j$. Weights 0.9 and 0.1; vectors worth 1 and 20: the second word, hardly looked at, gets 2 and the first 0.9.
#
# ## Exercise 1 · Handed on &nbsp; ●●○ &nbsp; 6 minutes

# %%
def handed(A, v, g):
    """(places, places): what each place i (row) hands on to each place j; A (places, places), v and g (places, size)."""
    # BEGIN SOLUTION
    return A * (g @ v.T)
    # END SOLUTION


# %%
labs.check("handed", handed)

# %% [markdown]
# **What if** a row of your matrix is added up? What does it equal?
#
# <details><summary>An answer</summary>
#
# $g_i \cdot o_i$: all the relevance that the head holds at place $i$. Nothing is lost on the way to the words.
#
# </details>
#
# ## The mystery, step by step
#
# `Options(detail={"routes"})` keeps every such number of every head. Read it from the top, where the answer is, down to the words.

# %%
asked, reader = pelrp_nb.zoo.load("tasks-rotary")
question = "order sun moon ? the moon of a sun in"
found = pelrp_nb.explain(asked, question, processor=reader, target="moon", contrast="sun", options=with_routes)
found.routes.sheet("routes")

# %% [markdown]
# *What to see:* two steps. Below, the *moon* behind the question mark is handed to *order* and to the *?*; above, these hand it to `[CLS]`. The largest edges, in words
# (who hands on -> who receives: relevance runs against the reading):

# %%
print(found.routes)

# %% [markdown]
# So no: not in one step. The lowest layer finds the first of the named words and writes it where *order* and *?* stand; the next one reads it there.
#
# ## Heads have habits
#
# A model small enough to know all of it: two layers of attention, nothing else, trained on lines of random words in which one comes again. What followed it before, follows now.

# %%
model, tokenizer = pelrp_nb.zoo.load("induction-rotary")
line = "ann sun moon star bob cat sun"
told = pelrp_nb.explain(model, line, processor=tokenizer, options=with_routes)
print(f"after '{line}' it says {told.target}")
told.routes.sheet("heads")

# %% [markdown]
# *What to see:* two heads carry all. One's edges lie right below the diagonal; the other's in one place: from the last *sun* to *moon*.
#
# ## Exercise 2 · Who looks back? &nbsp; ●●○ &nbsp; 5 minutes
#
# A habit is a number: the part of all that a head handed on (in sizes) that went to the word before.

# %%
def looks_back(M):
    """The part of the sizes in M (places, places) that lies one step left of the diagonal."""
    # BEGIN SOLUTION
    return M.diagonal(-1).abs().sum() / M.abs().sum()
    # END SOLUTION


# %%
labs.check("looks-back", looks_back)

# %% [markdown]
# **What if** a head looks back two words? How would you find its habit without knowing it?
#
# <details><summary>An answer</summary>
#
# Try every diagonal, and take the largest part. The library does: its table has a column *looks like*.
#
# </details>

# %%
habits = told.routes.to_frame()
habits[habits["handed"] > 0.01][["attention", "head", "handed", "looks like", "part"]].round(2)

# %% [markdown]
# Head 2 of layer 0 looks at the word before. Head 3 of layer 1 has no habit of distance: it finds, wherever it stands, the word *behind the last time*. It is called an
# [induction head](https://arxiv.org/abs/2209.11895), and needs the other: *moon* must already know that *sun* stood before it.
#
# ## Put in something else
#
# So far you have looked. Now meddle: run the model on a line where another word followed, take one head's output there, and put it into the clean run. If the answer moves,
# that head mattered. This is *patching*. One run for each head; so first an estimate of all at once: the difference, times what each unit of it is worth.
#
# ## Exercise 3 · The estimate &nbsp; ●○○ &nbsp; 4 minutes

# %%
def estimate(clean, corrupt, g):
    """By how much the answer changes with `corrupt` in place of `clean`; all three (places, size)."""
    # BEGIN SOLUTION
    return ((corrupt - clean) * g).sum()
    # END SOLUTION


# %%
labs.check("estimate", estimate)

# %% [markdown]
# **What if** the difference is large? When is this wrong?
#
# <details><summary>An answer</summary>
#
# It takes a bend for a line. Behind it there is a softmax that saturates, and a norm that divides by what changed.
#
# </details>
#
# `patch` does this for every head at once ([RelP](https://arxiv.org/abs/2508.21258)), beside the same with the plain gradient; `true` runs the model with the part replaced.

# %%
other = patch(model, line, "ann sun fish star bob cat sun", processor=tokenizer, metric=("moon", "fish"))
other.true(3).to_frame().round(2)

# %% [markdown]
# One head: 3 of layer 1. And the one that looks back? It did the same in both lines: behind *sun*, whatever followed. To see it, let there be no *sun* to look back at.
#
# **Predict:** now *tree* stands where the first *sun* was. Which heads change the answer?

# %%
lost = patch(model, line, "ann tree moon star bob cat sun", processor=tokenizer, metric=("moon", "fish"))
lost.true(3).to_frame().round(2)

# %% [markdown]
# Both. Look at the plain gradient of head 2: about -5, where the truth is nearly -25. It works through the *keys* of the other head, and a saturated softmax hides that from a gradient.
# In `patch` queries and keys are not estimated by a slope: their softmax is [computed again](https://arxiv.org/abs/2403.00745).
#
# Is the estimate always better? No. On a language model of children's stories the plain gradient ranks heads better: all that
# the estimate holds still, norms among it, moves there. So measure the largest.
#
# ## A circuit
#
# An *edge* is what one head hands from one word to one word. (A circuit is printed with the reading: from the word that is read to the one that reads it.) Take the $n$ largest; let every other edge hand over what it does in the corrupted line. What is left of the answer?

# %%
circuit = lost.circuit(2)
print(circuit)
circuit.figure(size=(6, 2.6))

# %% [markdown]
# *What to see:* two edges, one a layer, purple because the answer loses when they hand over what the corrupted line does. The first *sun* is written where *moon* stands; the last *sun* finds *moon* by it.
#
# ## Exercise 4 · What is kept? &nbsp; ●○○ &nbsp; 3 minutes
#
# The part of the difference between both runs that a circuit keeps.

# %%
def kept(value, clean, corrupt):
    """0 where the circuit's value is as in the corrupted run, 1 where it is as in the clean one."""
    # BEGIN SOLUTION
    return (value - corrupt) / (clean - corrupt)
    # END SOLUTION


# %%
labs.check("kept", kept)

# %% [markdown]
# **What if** it is 1.02? Or if one edge alone is kept?
#
# <details><summary>An answer</summary>
#
# More than all: something outside of the circuit works against the answer. One edge alone keeps nothing: `lost.circuit(1)`. A chain has no strength without its other link.
#
# </details>
#
# ## The mystery, solved
#
# The same for the first question, with *sun* and *moon* exchanged behind the question mark: of all edges, which are needed?

# %%
swapped = patch(asked, question, "order sun moon ? the sun of a moon in", processor=reader, metric=("moon", "sun"))
for edges in (1, 2, 5, 10, 20):
    print(f"{edges:>2} edges keep {swapped.circuit(edges).faithfulness:.0%}")
print(swapped.circuit(3))

# %% [markdown]
# Ten edges of more than a thousand keep nearly all of it. *Why does it say* moon? Because head 0 of layer 0 hands the first of the two to *order* and to *?*, where the heads of layer 1 read it
# for `[CLS]`. And how does head 0 know which is first? By places: labs 07 and 11.
#
# ## Open project &nbsp; ○ &nbsp; an afternoon
#
# One more habit of a head, in a model that you did not train (`labs.pretrained("stories", fetch=True)`, say): name it, write it as a number as in exercise 2, find the head that has most of it, and two
# lines, clean and corrupted, in which it should matter. Patch. If the answer does not move, that is a result.
#
# ## Quiz

# %%
labs.quiz("14")

# %% [markdown]
# ## Recap
#
# - What place $i$ hands to place $j$: weight times value times what the output was worth. Rows add up.
# - Heads have habits, and a habit is a part of what was handed on.
# - A part matters if the answer moves with another one in its place: estimate all, measure the largest.
# - A circuit is a few edges that keep the answer when all else is corrupted; against which line, must be said.
#
# **Next:** `found.explore()` of a patch on a model of yours, two texts of equal length, and one edge that you did not expect.

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 10 minutes talk, 35 minutes work. On the board: four words, two edges.
# - *Where they stumble:* relevance runs from the reader to the read; *corrupted* is a comparison, not a fault.
# - *Talk about:* a third line, in which neither head would move. What would that comparison not ask?
