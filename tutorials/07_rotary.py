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
# # 07 · Rotary positions from scratch
#
# *About 50 minutes. You need: labs 01 to 04; angles, sine and cosine.*
#
# After this lab you can
#
# 1. turn queries and keys by their positions, as most language models do,
# 2. say why such a model sees distances and not places,
# 3. give a rotation its share of relevance, and say what that share means and what it does not.

# %%
import matplotlib.pyplot as plt
import torch

import pelrp_nb
from pelrp_nb import ATTN_LRP, Options
from pelrp_nb.rules.rotary import angles, turned as quarter_turn

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# Attention compares queries and keys; their scores know nothing of order. (A mask that hides what comes later tells a little of it, lab 06.) *Rotary* position
# encoding ([Su et al.](https://arxiv.org/abs/2104.09864), 2021) tells the scores: cut each query and key into pairs of
# numbers, read each pair as an arrow in the plane, and **turn** the arrow by an angle that grows with the position.
#
# **Predict first.** A query stands at position 3 and a key at position 1. Both move on by 7, to 10 and 8. Does their score change?

# %% [markdown]
# ## A worked example: one arrow
#
# A quarter turn takes $(a, b)$ to $(-b, a)$. A turn by an angle is a mixture of the arrow and its quarter turn:
#
# $$\tilde x = x \cos\theta + \mathrm{turn}(x) \sin\theta$$

# %%
arrow, theta = torch.tensor([1.0, 0.5]), torch.tensor(1.0)
figure, axis = plt.subplots(figsize=(3.2, 3.2), layout="constrained")
mixture = arrow * theta.cos() + quarter_turn(arrow) * theta.sin()
for vector, name in ((arrow, "x"), (quarter_turn(arrow), "turn(x)"), (mixture, "turned by 1")):
    axis.annotate("", vector.tolist(), (0, 0), arrowprops={"arrowstyle": "->"})
    axis.text(*(1.1 * vector).tolist(), name, ha="center")
axis.set(xlim=(-1, 1.6), ylim=(-0.3, 1.7), aspect="equal")
plt.show()

# %% [markdown]
# *What to see:* the turned arrow is as long as $x$ and lies between $x$ and its quarter turn, of which it is a mixture. An angle of 1 is 57 degrees.
#
# With many numbers, this notebook pairs the first half with the second: number $i$ with number $i + d/2$.
#
# ## Exercise 1 · A quarter turn &nbsp; ●○○ &nbsp; 5 minutes

# %%
def turned(x):
    """Every pair (a, b) as (-b, a); a is in the first half of the last dimension, b in the second."""
    # BEGIN SOLUTION
    a, b = x.chunk(2, -1)
    return torch.cat((-b, a), -1)
    # END SOLUTION


# %%
labs.check("turn", turned)

# %% [markdown]
# **What if** you turn twice? And four times?
#
# <details><summary>An answer</summary>
#
# Twice is -x, four times x again.
#
# </details>
#
# ## Fast and slow pairs
#
# Each pair turns at a speed of its own, so that some pairs tell neighbours apart and some tell chapters apart. Pair $i$ of a vector of
# width $d$ turns by $\mathrm{base}^{-2i/d}$ for each token; the base is often 10000.
#
# ## Exercise 2 · Wavelengths &nbsp; ●○○ &nbsp; 4 minutes
#
# After how many tokens has each pair turned once round?

# %%
def wavelengths(width, base):
    """Tokens for a full turn, shape (width / 2,), fastest first."""
    # BEGIN SOLUTION
    return 2 * torch.pi * base ** (torch.arange(0, width, 2) / width)
    # END SOLUTION


# %%
labs.check("wavelengths", wavelengths)

# %% [markdown]
# **What if** a text is much shorter than the longest wavelength? What can that pair tell the model?
#
# <details><summary>An answer</summary>
#
# It has hardly turned from first word to last, so it tells hardly any places apart: what it can compare is content.
#
# </details>
#
# ## Exercise 3 · Rotate &nbsp; ●●○ &nbsp; 8 minutes

# %%
def rotate(x, positions, base):
    """x (..., tokens, width) turned by its positions (tokens,)."""
    # BEGIN SOLUTION
    frequency = base ** (-torch.arange(0, x.shape[-1], 2).double() / x.shape[-1])
    angle = positions[:, None] * frequency
    angle = torch.cat((angle, angle), -1)
    a, b = x.chunk(2, -1)
    return x * angle.cos() + torch.cat((-b, a), -1) * angle.sin()
    # END SOLUTION


# %%
labs.check("rotate", rotate)

# %% [markdown]
# **What if** a position is not a whole number, say 2.5? Does anything in your function mind?
#
# <details><summary>An answer</summary>
#
# No. Contexts are stretched like this: positions in between.
#
# </details>
#
# Now the prediction: shift both positions by 7, and compare scores.

# %%
cos, sin = angles(torch.tensor([3, 1, 10, 8]), 8)
q, k = torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
at = lambda x, i: x * cos[i] + quarter_turn(x) * sin[i]
print(f"positions 3 and 1: {at(q, 0) @ at(k, 1):.6f}   positions 10 and 8: {at(q, 2) @ at(k, 3):.6f}")

# %% [markdown]
# The same: turning both arrows by the same angle keeps the angle between them. **Only the distance counts.**
#
# ## Positions as inputs
#
# Which part of an answer is owed to positions? We give each layer's cos and sin an account of their own, a **sink**: relevance goes in and does not
# go on. $\tilde x$ is a sum of two products, so lab 01 and lab 03 say all there is to say: share the sum in proportion, then half to each
# factor. Half to the vector, half to cos or sin.
#
# ## Exercise 4 · The rotary rule &nbsp; ●●● &nbsp; 12 minutes
#
# Mind what turn(x) receives: it was made of the *other* number of the pair, and goes back there. For one pair $(a, b)$ the new first number is $a\cos\theta - b\sin\theta$: what it is worth
# is shared between $a\cos\theta$, which pays $a$ and cos, and $-b\sin\theta$, which pays **b** and sin.

# %%
def my_rotary(R, x, cos, sin):
    """(relevance of x, of cos, of sin), all in the shape of x."""
    # BEGIN SOLUTION
    a, b = x.chunk(2, -1)
    by_cos, by_sin = x * cos, torch.cat((-b, a), -1) * sin
    half = R / (by_cos + by_sin) / 2
    back = torch.roll(half * by_sin, x.shape[-1] // 2, -1)
    return half * by_cos + back, half * by_cos, half * by_sin
    # END SOLUTION


# %%
labs.check("rotary", my_rotary)

# %% [markdown]
# **What if** cos and sin are taken as constants? Where does their half go?
#
# <details><summary>An answer</summary>
#
# To the vector, which then gets everything: AttnLRP.
#
# </details>
#
# ## In a real model: re-routed, not lost
#
# With sinks ([PA-LRP](https://arxiv.org/abs/2506.02138)) and without (AttnLRP), the same model and the same question, that of lab 00: *why does it say moon?*

# %%
model, tokenizer = pelrp_nb.zoo.load("tasks-rotary")
text = "order sun moon ? the moon of a sun in"
audit = Options(audit=True)
sinks = pelrp_nb.explain(model, text, processor=tokenizer, options=audit)
without = pelrp_nb.explain(model, text, processor=tokenizer, composite=ATTN_LRP, options=audit)
for name, result in (("with sinks", sinks), ("without", without)):
    book = dict(result.ledger.rows())
    print(f"{name:<11}", "  ".join(f"{entry} {book[entry]:+.4f}" for entry in ("tokens", "positions", "softmax", "value")))

# %% [markdown]
# Both accounts balance. Rotary sinks **lose nothing and make nothing**: in every layer, half of what enters queries and keys goes to the
# positions there and then, instead of travelling on to the words. (The softmax entries differ a little: what has left for a sink in an upper
# layer does not pass the softmaxes below.) Compare lab 06: an *added* position that has no account is lost.

# %%
P = sinks.positional
plt.figure(figsize=(7, 2))
plt.imshow(P, cmap="PuOr_r", vmin=-P.abs().max(), vmax=P.abs().max(), aspect="auto")
plt.xticks(range(len(sinks.tokens)), sinks.tokens, rotation=45)
plt.yticks(range(len(sinks.sinks)), sinks.sinks)
plt.colorbar(label="relevance of position")
plt.show()

# %% [markdown]
# *What to see:* nearly all happens in the lowest layer. The place of *moon* behind the question mark is dark orange, that of *sun* there purple.
#
# **Be careful with what it means.** Position 0 is not turned at all (cos 1, sin 0), yet gets its half. The half says how a *product* is shared; it does
# not measure how far something was turned. Signed totals are safe: shift all positions, and they stay.

# %%
ids = tokenizer(text, return_tensors="pt")
for start in (0, 7, 20):
    places = torch.arange(start, start + ids["input_ids"].shape[1])[None]
    shifted = pelrp_nb.explain(model, {**ids, "position_ids": places}, processor=tokenizer)
    signed, sizes = (float(shifted.parts(reduction)[1].sum()) for reduction in ("signed", "absolute"))
    print(f"places from {start:>2}: the answer {shifted.value:.4f}, positions {signed:+.4f}, by size {sizes:.2f}")

# %% [markdown]
# *What to see:* the answer and the signed total stay. The sizes do not: they look at cosines and sines one by one, and these have turned.
#
# Walk through the layers yourself. At each layer a part leaves for the sink:

# %% tags=["nbval-ignore-output"]
sinks.explore()

# %% [markdown]
# ## What a place is worth
#
# The half compares with nothing, so it is no evidence of what a place is worth. A fairer question: **if two words exchanged their places, what would
# the answer lose?** Which row do you expect to be the darkest?

# %%
worth = pelrp_nb.exchange(model, text, processor=tokenizer, partners=None)
print(f"positions get {sinks.positional_share:.0%} in the account, by convention; by exchange they are worth {worth.share:.0%}")
worth.figure("matrix")

# %% [markdown]
# *What to see:* the darkest row is that of *moon* behind the question mark. Exchanged with almost any other word, the answer would lose. With the other
# *sun* it would lose nearly 11: then that one would come first.
#
# ## Quiz

# %%
labs.quiz("07")

# %% [markdown]
# ## Recap
#
# - Rotary positions turn pairs of queries and keys; scores see distances only.
# - Pairs turn at different speeds, from neighbours to chapters.
# - A rotation is two products, so half to the vector, half to the angle.
# - Rotary sinks re-route; they lose nothing. The half is a convention.
#
# **Next:** [08 · Relative bias and ALiBi](08_alibi.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 15 minutes talk with two arrows of paper, 30 minutes work. Exercise 4 may be homework.
# - *Where they stumble:* interleaved pairs (other models use them); sending the sine's part back to the wrong number.
# - *Talk about:* is a share that is half by construction an explanation? What would be a fair comparison? (Random sinks; lab 11.)
