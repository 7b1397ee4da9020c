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
# *About 50 minutes. You need: labs 01, 02, 06 and 07.*
#
# After this lab you can
#
# 1. explain an image classifier, patch by patch and pixel by pixel, content and position apart,
# 2. say why pixels need a rule of their own,
# 3. compare a map with the truth, and with chance.

# %%
from dataclasses import replace

import numpy as np
import torch

import pelrp_nb
from pelrp_nb import PA_LRP_VISION, Options, rules, zoo

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# A *vision transformer* ([ViT](https://arxiv.org/abs/2010.11929), 2020) cuts a picture into square *patches* and treats each as a word: a linear map makes it a vector, it is told where it stands, and from there it
# is lab 01 to 07 again. Here are two small ones from the package. Each reads pictures of 32 x 32 pixels with two to four handwritten digits, and has learnt to answer two kinds of questions: *is there
# a 3?* and *is the 3 in the upper left?*
#
# **Predict first.** Cut the picture into four quarters and let opposite ones change places. No pixel is new. Will the model say the same? What must it know beside the
# pixels?

# %%
model, processor = zoo.load("scenes-learnable")
scene = zoo.task("digit-scenes").examples[8]
swapped = np.roll(scene.image, (16, 16), (0, 1))
for name, picture in (("as it is", scene.image), ("swapped", swapped)):
    logits = model(**processor(images=[picture], return_tensors="pt")).logits[0]
    there = [digit for digit in range(10) if logits[digit] > 0]
    print(f"{name:<9} present: {there}   in the upper left: {int(logits[10:].argmax())}")

# %% [markdown]
# Which digits are there does not change; which one stands in the upper left does. So *where* is an input too.
#
# ## A worked example
#
# We ask why *3 is in the upper left*. Orange pixels speak for it, purple ones against it:

# %%
asked = {"target": "3 is in the upper left", "composite": PA_LRP_VISION, "options": Options(audit=True)}
result = pelrp_nb.explain(model, scene.image, processor=processor, **asked)
result.overlay(scene.image)

# %% [markdown]
# *What to see:* *content* is relevance of pixels; *position* is what each patch's place received, drawn evenly over the patch; *both* is their sum. The 3 is found, and the other three
# digits hardly matter. Position is the faint map: it lies on the same patches, and its two signs nearly cancel in the total.
#
# ## Exercise 1 · From pixels to patches &nbsp; ●○○ &nbsp; 6 minutes
#
# The model never saw a pixel alone. Sum the map patch by patch: sums conserve, means do not.

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
# <details><summary>An answer</summary>
#
# 0, so nothing happened there; 10, a lot did, and cancelled.
#
# </details>
#
# ## Tokens that are no patches
#
# Before the patches a ViT has a token `[CLS]`, whose vector in the end gives the answer; some have further ones, [*registers*](https://arxiv.org/abs/2309.16588) (2023), to take notes on. No picture
# gives them anything: they are the same learnt numbers for every picture, so they are **constants**, like biases (lab 02), and have their own lines in the ledger. (Where places are added, as in
# the first model, `[CLS]` has a place as well. Its part lies on no pixel, so it is in no map.)

# %%
other, _ = zoo.load("scenes-rotary")
turned = pelrp_nb.explain(other, scene.image, processor=processor, **asked)
for found in (result, turned):
    print([token for token in found.tokens if not token.startswith("patch")], "closed:", found.ledger.closed)
    for name, amount in found.ledger.constants.items():
        if name.endswith(("_token", "_tokens")):
            print(f"    {name.split('.')[-1]:<16} keeps {amount:+.2f} of {found.value:.2f}")
print(f"place of [CLS] in the first model: {result.positional[:, 0].sum():+.2f}")

# %% [markdown]
# ## Exercise 2 · First tokens and patches apart &nbsp; ●○○ &nbsp; 5 minutes
#
# The engine gives one number for each token. Take the first ones off, and lay the rest out as they lie in the picture, row by row.

# %%
def apart(R, first, columns):
    """(relevance of the patches, (rows, columns); what the first tokens got in all); R (tokens,)."""
    # BEGIN SOLUTION
    return R[first:].reshape(-1, columns), R[:first].sum()
    # END SOLUTION


# %%
labs.check("first-tokens", apart)

# %% [markdown]
# **What if** a model had no patches at all that speak, and all relevance went to `[CLS]`? What would its map look like, and what its ledger?
#
# <details><summary>An answer</summary>
#
# The map would be empty, and the ledger closed: all in one constant.
#
# </details>
#
# ## A rule for pixels
#
# By the epsilon rule a pixel whose number is 0 gets nothing, however much it mattered. And which pixel is 0 is an accident: black, if pixels run from 0 to 1; grey, if they run
# from -1 to 1, as they do here. The **z-box** rule ([Montavon et al.](https://arxiv.org/abs/1512.02479), 2015) asks instead how far a pixel is from the values it might have had, between $l$ (darkest) and $h$
# (brightest). With $w^+$ the positive and $w^-$ the negative part of a weight, a pixel contributes
#
# $$x\,w - l\,w^+ - h\,w^-$$
#
# ## Exercise 3 · The z-box rule &nbsp; ●●○ &nbsp; 10 minutes

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
# <details><summary>An answer</summary>
#
# 0, if they are dark where weights are positive and bright where they are negative: then nobody did more than it had to.
#
# </details>
#
# ## Is the map right?
#
# We drew the scenes, so we know which pixels belong to the 3. How much of the *positive* relevance lies inside them? And how much would an even map have there, which
# knows nothing?
#
# ## Exercise 4 · Mass inside &nbsp; ●○○ &nbsp; 4 minutes

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
#
# <details><summary>An answer</summary>
#
# It is no better than an even map.
#
# </details>
#
# Now three rules for the pixels, on twelve pictures that the model has not seen in training. *Gamma* ([2019](https://doi.org/10.1007/978-3-030-28954-6_10)) makes contributions that point the way the output went 1 + $\gamma$ times as large
# before it shares; it is what `PA_LRP_VISION` uses, mildly in all layers ($\gamma$ = 0.05), strongly on the pixels ($\gamma$ = 100).

# %%
scenes = zoo.task("digit-scenes").examples[:12]
truths = [torch.from_numpy(each.truth(each.label)) for each in scenes]
for rule in (rules.epsilon, rules.gamma(100), rules.zbox):
    with_rule, mass = replace(PA_LRP_VISION, patch=rule), 0
    for each, truth in zip(scenes, truths):
        found = pelrp_nb.explain(model, each.image, processor=processor, target=each.label, composite=with_rule)
        R = found.maps["content"].clamp(min=0)
        mass += float(R[truth].sum() / R.sum()) / len(scenes)
    print(f"{rule!r:<12} inside the digit: {mass:.2f}")
print(f"an even map  inside the digit: {torch.stack(truths).double().mean():.2f}")

# %% [markdown]
# All three are far above chance. Epsilon is the weakest: grey pixels get nothing from it, and pixels of both signs get much.
#
# ## Learnt or turned?
#
# `scenes-learnable` adds a learnt vector to each patch (lab 06): one sink, at the input. `scenes-rotary` turns queries and keys by the row and the column of their patch, in each layer (lab 07):
# four sinks. Its first tokens stand nowhere, are not turned, and get no position.

# %%
turned.overlay(scene.image)

# %% [markdown]
# *What to see:* both models find the 3. Here the position map is orange on the digit, and does not cancel: 1.5 of 8.7 in all.
#
# Does the position map know which question was asked? Twelve pictures, both models, both questions about the same digit:

# %%
for name, net in (("learnable", model), ("rotary", other)):
    for question, less in (("in the upper left", 0), ("present", 10)):
        share = mass = 0
        for each, truth in zip(scenes, truths):
            label = each.label - less
            found = pelrp_nb.explain(net, each.image, processor=processor, target=label, composite=PA_LRP_VISION)
            R = found.maps["position"].clamp(min=0)
            share += found.positional_share / len(scenes)
            mass += float(R[truth].sum() / R.sum()) / len(scenes)
        print(f"{name:<10}{question:<18} positional share {share:.2f}   position inside the digit {mass:.2f}")

# %% [markdown]
# Signs of two kinds, and only one of them lasts. In the rotary model position gathers on the digit when the question is *where*. In the learnable one the difference is small: take sixty pictures
# instead of twelve (`examples[:60]`), and it is gone, while the rotary one stays (0.00 and 0.18, give or take 0.01). And the *positional share*, all position relevance over all relevance, moves up
# in one model and down in the other: one number for a whole picture does not say how much places matter. Lab 11 is about such doubts.
#
# Step through the layers yourself:

# %% tags=["nbval-ignore-output"]
result.explore()

# %% [markdown]
# ## Quiz

# %%
labs.quiz("10")

# %% [markdown]
# ## Recap
#
# - A patch is a word; its place is an input, and has an account.
# - `[CLS]` and registers are constants: they keep, and no pixel is to blame.
# - Pixels are compared with their bounds.
# - A map is judged against the truth *and* against chance.
#
# **Next:** [11 · Judging explanations](11_judging.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 15 minutes talk, 30 minutes work. Collect the predictions before the pictures are swapped.
# - *Where they stumble:* the positive and the negative part of a weight; the sign of $-h\,w^-$, which is positive.
# - *Talk about:* the swapped picture. Which of the two questions could a model without positions answer?
# - *Truth by construction:* digits of scikit-learn (BSD licence), held out by the hash of their pixels; `scene.truth(label)` is the mask.
