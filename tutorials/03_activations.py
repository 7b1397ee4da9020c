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
# # 03 · Activations, norms, gates
#
# *About 40 minutes. You need: labs 01 and 02, and that a gradient is a slope.*
#
# After this lab you can
#
# 1. say why an activation hands on everything it receives,
# 2. say why the scale of a norm is taken as a constant, and see what happens otherwise,
# 3. share what a gate receives, and write it so that one gradient does it.

# %%
import matplotlib.pyplot as plt
import torch
from torch.nn.functional import silu

from pelrp_nb.verbs import freeze, input_times_gradient, scale

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# A *transformer* is the kind of model this course is about. Between its linear layers it bends numbers (*activations*), scales whole vectors (*norms*), and multiplies vectors with each other
# (*gates*).
#
# **Predict first.** An activation turns 2.0 into 1.76, and the result is worth 5. What does the input deserve: 5, less, or more?

# %% [markdown]
# ## A trick that saves us all the work
#
# From here on we do not write shares out any more. If we keep one promise,
#
# > relevance = value times slope, at every number in the model,
#
# then the computer's own *gradient* (the slope of the answer) carries relevance back for us. For a linear layer this is exactly lab 01. For other
# steps the ordinary slope breaks the promise, and we *bend* it: same value, another slope. `freeze(x)` is a number without slope, `scale(x,
# factor)` multiplies its slope. (For a transformer this form is [due to](https://arxiv.org/abs/2502.15886) Arras et al., 2025.)

# %%
print(input_times_gradient(lambda x: x @ torch.tensor([3.0, 1.0]), torch.tensor(8.0), torch.tensor([1.0, 1.0]))[0])

# %% [markdown]
# Six and two: the prediction of lab 01. (`input_times_gradient` starts with relevance 8 at the output.)
#
# ## Activations
#
# One number goes in, one comes out: there is nobody else to pay. So the input gets **everything**. As a slope: not the tangent, but the
# line from the origin to the curve, $f(x)/x$, because $x \cdot f(x)/x = f(x)$. The *SiLU* is $x \cdot \mathrm{sigmoid}(x)$.

# %%
x, at = torch.linspace(-4, 4, 200), torch.tensor(2.0)
tangent = torch.autograd.functional.jacobian(silu, at)
plt.figure(figsize=(5, 2.6))
plt.plot(x, silu(x), label="SiLU")
plt.plot(x, x * silu(at) / at, "--", label="line from the origin")
plt.plot(x, silu(at) + tangent * (x - at), ":", label="tangent")
plt.ylim(-1, 4)
plt.legend()
plt.show()

# %% [markdown]
# *What to see:* line and tangent meet the curve at the same point, with different slopes. Only the line passes through the origin, so only on it 2 times the slope is the value, 1.76.
# That settles the prediction: the input deserves all 5.
#
# ## Exercise 1 · The slope of the line &nbsp; ●○○ &nbsp; 6 minutes
#
# Give $f(x)/x$ for the SiLU, also at $x = 0$, where the line becomes the tangent.

# %%
def slope(x):
    """silu(x) / x for a tensor of any shape, its limit at 0 included."""
    # BEGIN SOLUTION
    return torch.sigmoid(x)
    # END SOLUTION


# %%
labs.check("slope", slope)

# %% [markdown]
# **What if** we used the tangent? Take x = -2: which sign does the tangent have there, which the line?
#
# <details><summary>An answer</summary>
#
# The tangent falls there (-0.09), the line rises (+0.12): with the tangent what is handed on would change its sign.
#
# </details>
#
# ## Norms
#
# An *RMSNorm* divides a vector by its root mean square, then multiplies by a weight:
#
# $$y_i = \frac{x_i}{\mathrm{rms}}\, w_i \qquad \mathrm{rms} = \sqrt{\mathrm{mean}(x^2) + \epsilon}$$
#
# The rms depends on x as well. If it may move, doubling x changes nothing in y: along x the slope is 0, so value times slope adds up to about 0. Single
# numbers still get something, as you see below, but their **total** is gone: 3 came in, nothing arrives.

# %%
vector, R = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([1.0, 1.0, 1.0])
moving = input_times_gradient(lambda x: x / x.square().mean().sqrt(), R, vector)[0]
frozen = input_times_gradient(lambda x: x / freeze(x.square().mean().sqrt()), R, vector)[0]
for name, found in (("moves", moving), ("frozen", frozen)):
    print(f"rms {name:<6}:", found, "sum", round(found.sum().item(), 4) + 0.0)

# %% [markdown]
# So the rms is taken as a constant ([Ali et al.](https://arxiv.org/abs/2202.07304), 2022): it only sets the scale. Then each coordinate keeps what it receives.
#
# ## Exercise 2 · A frozen norm &nbsp; ●●○ &nbsp; 10 minutes
#
# Write the norm so that its value is right and its slope is that of a frozen rms. The mean runs over the last dimension.

# %%
def frozen_norm(x, weight, eps):
    """x / rms * weight, with the rms as a constant."""
    # BEGIN SOLUTION
    rms = (x.square().mean(-1, keepdim=True) + eps).sqrt()
    return x / freeze(rms) * weight
    # END SOLUTION


# %%
labs.check("frozen-norm", frozen_norm)

# %% [markdown]
# **What if** the norm also subtracts the mean, as a *LayerNorm* does?
#
# <details><summary>An answer</summary>
#
# The mean is a linear step, so it is not frozen: lab 01 covers it. The root mean square of what is left, the standard deviation, is frozen as here; and the bias that a LayerNorm adds keeps its share.
#
# </details>
#
# ## Gates
#
# A gate multiplies two vectors: $y = \mathrm{silu}(g) \cdot u$. Who made y? Without either factor there would be nothing, so each
# gets the same part: **half**. That is the rule for every product of two ([AttnLRP](https://arxiv.org/abs/2402.05602), 2024).

# %%
g, u = torch.tensor([2.0]), torch.tensor([3.0])
plain = input_times_gradient(lambda g, u: g * u, torch.tensor([1.0]), g, u)
halved = input_times_gradient(lambda g, u: scale(g * u, 0.5), torch.tensor([1.0]), g, u)
print("plain slopes :", [r.item() for r in plain], "sum", sum(r.item() for r in plain))
print("halved slopes:", [r.item() for r in halved], "sum", sum(r.item() for r in halved))

# %% [markdown]
# With plain slopes each factor gets everything, and 1 becomes 2. `scale(x, 0.5)` leaves the value and halves the slope.
#
# ## Exercise 3 · A gate, bent &nbsp; ●●○ &nbsp; 8 minutes
#
# The gate has both: an activation, and a product. Write it as you wrote the norm: its value is $\mathrm{silu}(g)\,u$, and value times slope pays half of what it receives to `g`, half to
# `u`. Count what `g` gets before you run the check.

# %%
def my_gate(g, u):
    """The value of silu(g) * u; its slopes pay half to g and half to u. Both may be 0."""
    # BEGIN SOLUTION
    gate = g * freeze(torch.sigmoid(g))
    return scale(gate * u, 0.5)
    # END SOLUTION


# %%
labs.check("gate", my_gate)

# %% [markdown]
# **What if** one says: the gate only decides how much of u passes, so u deserves all of it?
#
# <details><summary>An answer</summary>
#
# It conserves as well, so no ledger can object: freeze the whole gate. There is a method that says so, *CP-LRP*; lab 04 shows what follows.
#
# </details>
#
# ## Quiz

# %%
labs.quiz("03")

# %% [markdown]
# ## Recap
#
# - One promise: relevance = value times slope, everywhere; steps that break it are bent.
# - Activation: everything, by the slope f(x)/x.
# - Norm: its scale is frozen, or relevance cancels.
# - Product: half each.
#
# **Next:** [04 · Attention](04_attention.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 15 minutes talk, 25 minutes work. Draw the line from the origin on the board; it is the picture to remember.
# - *Where they stumble:* the idea that a frozen number still has its value; NaN at 0.
# - *Talk about:* "half each" is a convention. Which properties does it have that "in proportion" lacks for products?
