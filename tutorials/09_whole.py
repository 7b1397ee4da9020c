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
# # 09 · A whole transformer, walked back
#
# *About 45 minutes. You need: labs 01 to 05, and 06 or 07.*
#
# After this lab you can
#
# 1. walk a whole model back by hand, rule by rule,
# 2. do the same with one bent gradient,
# 3. say why both give the same numbers.

# %%
import matplotlib.pyplot as plt
import torch
from torch.nn.functional import silu

import pelrp_nb
from pelrp_nb import reference
from pelrp_nb.verbs import freeze

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# You know a rule for every step of a transformer. A walk back is nothing but these rules in reverse order: the output's relevance goes to
# the last step's inputs, theirs to the step before, until the words are reached.
#
# **Predict first.** A model with 4 layers, walked back in two ways: by explicit shares, and by the computer's gradient with a few slopes bent. How
# far apart will the results be: 10 %, 1 %, or nothing but rounding?

# %% [markdown]
# ## A worked example: two layers
#
# $x \to W_1 x \to \mathrm{silu} \to W_2 h$, no biases. Back: a linear map (lab 01), an activation (all of it), a linear map.
#
# ## Exercise 1 · Walk back &nbsp; ●●○ &nbsp; 8 minutes

# %%
def walk(R, x, W1, W2):
    """Relevance of x (..., inputs) for W2 silu(W1 x), by explicit shares; R (..., outputs)."""
    # BEGIN SOLUTION
    z = x @ W1.T
    h = silu(z)
    R_h = h * ((R / (h @ W2.T)) @ W2)
    return x * ((R_h / z) @ W1)
    # END SOLUTION


# %%
labs.check("walk", walk)

# %% [markdown]
# **What if** the activation were a ReLU and z negative? Then h = 0. What does it hand on?
#
# ## A transformer by hand
#
# `pelrp_nb.reference` does this for whole models: every share written out, no gradient anywhere, in 64-bit numbers.

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
text = "a gorgeous , witty film"
inputs = tokenizer(text, return_tensors="pt")
label = int(model(**inputs).logits.argmax())
by_hand = reference.walk(model, inputs["input_ids"], label)
print(by_hand.ledger)

# %% [markdown]
# ## The promise
#
# Now the short way. The promise of lab 03: at every number, relevance = value times slope $g$. At the output that fixes the slope we start
# with: $g = R / y$. If every step keeps the promise from its output to its inputs, it holds at the words as well, after **one** backward pass.
#
# ## Exercise 2 · Relevance from a gradient &nbsp; ●●○ &nbsp; 8 minutes
#
# For a linear layer without bias the ordinary gradient keeps the promise. Let `torch.autograd.grad(outputs, inputs, start)` do the work.

# %%
def by_gradient(R, x, weight):
    """Relevance of x for x @ weight.T: x times its gradient, started with R / y."""
    # BEGIN SOLUTION
    x = x.detach().requires_grad_()
    y = x @ weight.T
    (g,) = torch.autograd.grad(y, x, R / y.detach())
    return (x * g).detach()
    # END SOLUTION


# %%
labs.check("by-gradient", by_gradient)

# %% [markdown]
# **What if** you start with ones instead of R / y? Whose relevance do you get then?
#
# ## Exercise 3 · Bend it &nbsp; ●●○ &nbsp; 8 minutes
#
# The same two layers, written as a forward pass whose ordinary gradient is the walk back. Only one factor needs `freeze`.

# %%
def bent(x, W1, W2):
    """The value of W2 silu(W1 x), with SiLU's slope bent to silu(z) / z."""
    # BEGIN SOLUTION
    z = x @ W1.T
    return (z * freeze(torch.sigmoid(z))) @ W2.T
    # END SOLUTION


# %%
labs.check("bent", bent)

# %% [markdown]
# **What if** you freeze z instead of sigmoid(z)? The value is the same; who gets paid?
#
# ## By hand against bent
#
# The engine of this library bends every step of any model in this way. Compare it with the walk by hand, number by number:

# %%
engine = pelrp_nb.explain(model.double(), text, processor=tokenizer, target=label)
hand = by_hand.tokens.sum(-1)
plt.figure(figsize=(4, 2.8))
plt.scatter(hand, engine.semantic, color="#e08214")
plt.axline((0, 0), slope=1, color="grey", linewidth=1)
plt.xlabel("by hand")
plt.ylabel("bent gradient")
plt.show()
difference = float((hand - engine.semantic).abs().max() / hand.abs().max())
print("largest difference below one part in a million:", difference < 1e-6)

# %% [markdown]
# Nothing but rounding. One is the definition, the other is fast; the definition is read, the fast one is run, and a test keeps them together.
#
# ## Quiz

# %%
labs.quiz("09")

# %% [markdown]
# ## Recap
#
# - A walk back is the rules in reverse order.
# - The promise R = value times slope turns the walk into one backward pass.
# - Bending changes slopes, never values.
#
# **Next:** [10 · Images](10_images.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 15 minutes talk, 30 minutes work. Read `pelrp_nb/reference.py` together; it is written to be read.
# - *Where they stumble:* where the slope starts (R / y, not R).
# - *Talk about:* why keep a slow definition beside a fast program? What would you do if they disagreed?
