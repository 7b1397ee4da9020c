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
# # 10 · Images
#
# *About 40 minutes. You need: labs 01, 02 and 06.*
#
# After this lab you can
#
# 1. explain an image classifier, patch by patch and pixel by pixel,
# 2. say why pixels need a rule of their own,
# 3. compare a map with the truth, and with chance.

# %%
import matplotlib.pyplot as plt
import torch
from transformers import ViTConfig, ViTForImageClassification

import pelrp_nb
from pelrp_nb import PA_LRP_VISION

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# A *vision transformer* (ViT) cuts a picture into square *patches* and treats each as a word: a linear map makes it a vector, a position is added, and from there it is
# lab 01 to 06 again.
#
# **Predict first.** A model must say in which quarter of a picture a bright cross stands. Where will relevance go: to the cross, to its edges, to the
# empty quarters, or to positions?

# %% [markdown]
# ## A worked example
#
# Pictures of 16 x 16 pixels with noise and one cross; the model is small and is trained here, in seconds.

# %%
def pictures(n, seed):
    """n pictures (n, 1, 16, 16), the quarter of the cross, and where its pixels are."""
    rng = torch.Generator().manual_seed(seed)
    quarter, at = torch.randint(0, 4, (n,), generator=rng), torch.randint(1, 7, (n, 2), generator=rng)
    rows, columns = at[:, 0] + 8 * (quarter // 2), at[:, 1] + 8 * (quarter % 2)
    i, j = torch.arange(16)[None, :, None] - rows[:, None, None], torch.arange(16) - columns[:, None, None]
    mask = (i.abs() + j.abs()) <= 1
    return (0.3 * torch.rand(n, 16, 16, generator=rng) + 0.7 * mask)[:, None], quarter, mask


torch.manual_seed(0)
config = ViTConfig(
    image_size=16, patch_size=4, num_channels=1, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, num_labels=4, hidden_dropout_prob=0.0,
)
model = ViTForImageClassification(config)
optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(150):
    x, quarter, _ = pictures(64, step)
    model(pixel_values=x, labels=quarter).loss.backward()
    optimiser.step()
    optimiser.zero_grad()
model.eval()
x, quarter, mask = pictures(200, 10_000)
print("right on more than 9 of 10 new pictures:", float((model(pixel_values=x).logits.argmax(-1) == quarter).float().mean()) > 0.9)

# %%
result = pelrp_nb.explain(model, {"pixel_values": x[:1]}, target=int(quarter[0]), composite=PA_LRP_VISION)
content, position = (result.maps[name] for name in ("content", "position"))
figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.5), layout="constrained")
axes[0].imshow(x[0, 0], cmap="Greys_r")
axes[0].set_title("picture")
for axis, name, shown in ((axes[1], "content", content), (axes[2], "position", position)):
    axis.imshow(shown, cmap="PuOr_r", vmin=-shown.abs().max(), vmax=shown.abs().max())
    axis.set_title(name)
plt.show()
print("closed:", result.ledger.closed)

# %% [markdown]
# *Content* is relevance of pixels; *position* is what each patch's place received, drawn evenly over the patch. The question was *where* the cross is,
# so places matter.
#
# ## Exercise 1 · From pixels to patches &nbsp; ●○○ &nbsp; 6 minutes
#
# Sums conserve; means do not.

# %%
def patches(R, size):
    """Relevance of pixels (H, W) summed in squares of `size` pixels: (H / size, W / size)."""
    # BEGIN SOLUTION
    return R.unflatten(0, (-1, size)).unflatten(2, (-1, size)).sum((1, 3))
    # END SOLUTION


# %%
labs.check("patches", patches)

# %% [markdown]
# **What if** a patch holds +5 and -5? What does its sum say, what would a sum of sizes say?
#
# ## A rule for pixels
#
# By the epsilon rule a black pixel, $x = 0$, gets nothing, however much its blackness mattered. The **z-box** rule asks instead how far a pixel
# is from the values it might have had, between $l$ (darkest) and $h$ (brightest). With $w^+$ the positive and $w^-$ the negative part of
# a weight, a pixel contributes
#
# $$x\,w - l\,w^+ - h\,w^-$$
#
# ## Exercise 2 · The z-box rule &nbsp; ●●○ &nbsp; 10 minutes

# %%
def pixels(R, x, weight, low, high):
    """Relevance of pixels x (batch, inputs); R (batch, outputs), weight (outputs, inputs), no bias."""
    # BEGIN SOLUTION
    c = x[:, None] * weight - low * weight.clamp(min=0) - high * weight.clamp(max=0)
    return (c / c.sum(-1, keepdim=True) * R[..., None]).sum(1)
    # END SOLUTION


# %%
labs.check("pixels", pixels)

# %% [markdown]
# **What if** all pixels sit on their bounds? What is the denominator then?
#
# ## Is the map right?
#
# We know where the cross is. How much of the *positive* relevance lies inside it? And how much would an even map have there, which knows nothing?
#
# ## Exercise 3 · Mass inside &nbsp; ●○○ &nbsp; 4 minutes

# %%
def inside(R, mask):
    """The part of all positive relevance that lies where mask is True."""
    # BEGIN SOLUTION
    R = R.clamp(min=0)
    return (R * mask).sum() / R.sum()
    # END SOLUTION


# %%
labs.check("inside", inside)

# %% [markdown]
# **What if** a mask covers 70 % of the picture, and a map has 70 % of its mass in it?

# %%
mass = []
for i in range(20):
    found = pelrp_nb.explain(model, {"pixel_values": x[i : i + 1]}, target=int(quarter[i]), composite=PA_LRP_VISION)
    R = found.maps["content"].clamp(min=0)
    mass.append(float((R * mask[i]).sum() / R.sum()))
chance = float(mask[:20].float().mean())
print("more than five times the mass of an even map:", sum(mass) / 20 > 5 * chance)

# %% [markdown]
# ## Quiz

# %%
labs.quiz("10")

# %% [markdown]
# ## Recap
#
# - A patch is a word; its place is added, and has an account.
# - Pixels are compared with their bounds.
# - A map is judged against the truth *and* against chance.
#
# **Next:** [11 · Judging explanations](11_judging.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 12 minutes talk, 28 minutes work. The training cell takes some seconds.
# - *Where they stumble:* the positive and the negative part of a weight; the sign of $-h\,w^-$, which is positive.
# - *Talk about:* the model is asked *where*, and some positions carry much. What would change if it were asked *whether* there is a cross?
