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
# # 11 · Judging explanations
#
# *About 45 minutes. You need: lab 00 and a little statistics (mean, spread).*
#
# After this lab you can
#
# 1. test an explanation by taking words away,
# 2. compare two methods with an interval, not with two numbers,
# 3. say where positions help, and where nothing can be expected.

# %%
import matplotlib.pyplot as plt
import torch

import pelrp_nb
from pelrp_nb import ATTN_LRP, PA_LRP, faithfulness
from pelrp_nb.faithfulness.attribution import attribute
from pelrp_nb.faithfulness.read import case_of

torch.set_printoptions(precision=4, sci_mode=False)

# %% [markdown]
# ## The question
#
# A ledger says whether the accounts balance. It does not say whether the words shown are those that mattered. For that we do (after
# [Ali et al.](https://arxiv.org/abs/2202.07304), 2022)
# what a doubting reader would do: take words away, and look at the answer.
#
# **Predict first.** Remove the words that an explanation calls *least* relevant, one after the other. If the explanation is good, how does the
# answer change: at once, slowly, or not at all? And if you remove the *most* relevant first?

# %% [markdown]
# ## A worked example
#
# Twelve sentences that the model has not seen in training. *Removing* means: put the token for unknown words in its place. First a function that takes the
# answer after each step:

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
examples = pelrp_nb.zoo.task("reviews").examples[20:32]


def curve(ids, order, label):
    """The logit of `label` while the tokens in `order` are replaced, in ten steps from none to all."""
    rows = ids.repeat(11, 1)
    for step in range(11):
        rows[step, order[: round(step / 10 * len(order))]] = tokenizer.unk_token_id
    with torch.no_grad():
        return model(input_ids=rows).logits[:, label]


# %% [markdown]
# ## Exercise 1 · In which order? &nbsp; ●○○ &nbsp; 3 minutes

# %%
def removal_order(R):
    """Numbers of the tokens, the least relevant first; R (tokens,), signed."""
    # BEGIN SOLUTION
    return R.argsort()
    # END SOLUTION


# %%
labs.check("removal-order", removal_order)

# %% [markdown]
# **What if** a word speaks strongly *against* the answer? Where in the order does it stand?
#
# <details><summary>An answer</summary>
#
# First: it is the least relevant of all.
#
# </details>
#
# Now three orders for every sentence: by PA-LRP, by AttnLRP (positions without an account), and by chance. Marks that the tokenizer added stay where they are.

# %%
fractions = torch.linspace(0, 1, 11)
curves = {name: {"least": [], "most": []} for name in ("PA-LRP", "AttnLRP", "random")}
rng = torch.Generator().manual_seed(0)
for example in examples:
    ids = tokenizer(example.text, return_tensors="pt")["input_ids"]
    for name, composite in (("PA-LRP", PA_LRP), ("AttnLRP", ATTN_LRP), ("random", PA_LRP)):
        result = pelrp_nb.explain(model, example.text, processor=tokenizer, composite=composite)
        label = model.config.label2id[result.target]
        R = torch.rand(ids.shape[1], generator=rng) if name == "random" else result.relevance()
        order = [i for i in R.argsort().tolist() if not result.special[i]]
        curves[name]["least"].append(curve(ids, order, label))
        curves[name]["most"].append(curve(ids, order[::-1], label))

figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.6), layout="constrained", sharey=True)
for axis, first in zip(axes, ("least", "most")):
    for name, both in curves.items():
        axis.plot(fractions, torch.stack(both[first]).mean(0), "--" if name == "AttnLRP" else "-", label=name)
    axis.set(title=f"{first} relevant first", xlabel="fraction removed")
axes[0].set_ylabel("logit of the answer")
axes[0].legend()
plt.show()

# %% [markdown]
# *What to see:* a good method stays high on the left and drops fast on the right; chance does neither. The curves of PA-LRP and AttnLRP lie on each other.
#
# ## Exercise 2 · One number from a curve &nbsp; ●○○ &nbsp; 4 minutes
#
# The area under it, by trapezoids: the width of each step times the mean of its two ends.

# %%
def area(fractions, values):
    """The area under the curve; the steps need not be even."""
    # BEGIN SOLUTION
    return torch.trapezoid(values, fractions)
    # END SOLUTION


# %%
labs.check("area", area)

# %% [markdown]
# **What if** two curves have the same area and cross each other? What has been lost?
#
# <details><summary>An answer</summary>
#
# That one of them finds the first words better, and the other the last.
#
# </details>
#
# ## Exercise 3 · The relevance gain &nbsp; ●○○ &nbsp; 3 minutes
#
# Both orders in one number: the area of *least first* less the area of *most first*.

# %%
def gain(fractions, least, most):
    """How much better it is to lose the least relevant first; higher is better, chance is about 0."""
    # BEGIN SOLUTION
    return torch.trapezoid(least, fractions) - torch.trapezoid(most, fractions)
    # END SOLUTION


# %%
labs.check("gain", gain)

# %% [markdown]
# **What if** only one of the two areas is reported?
#
# <details><summary>An answer</summary>
#
# A model that minds nothing looks good least first, for any order.
#
# </details>

# %%
gains = {}
for name, both in curves.items():
    pairs = zip(both["least"], both["most"])
    gains[name] = torch.stack([torch.trapezoid(least - most, fractions) for least, most in pairs])
    print(f"{name:<8} gain {gains[name].mean():+.2f}, standard error {gains[name].std() / len(gains[name]) ** 0.5:.2f}")

# %% [markdown]
# Chance should gain nothing, and its number is within two of its errors of 0; more, twelve sentences cannot say. What the error is, comes next.
#
# ## Is the difference real?
#
# Two methods, the same sentences: compare **sentence by sentence**. What matters is the mean of the differences and its *standard error*: their standard deviation
# (with $n-1$) over $\sqrt n$. As a rule of thumb, a difference smaller than two standard errors has not been shown.
#
# ## Exercise 4 · The error of a paired difference &nbsp; ●●○ &nbsp; 6 minutes

# %%
def paired_error(a, b):
    """The standard error of the mean of a - b, one entry for each text."""
    # BEGIN SOLUTION
    return (a - b).std() / len(a) ** 0.5
    # END SOLUTION


# %%
labs.check("paired-error", paired_error)

# %% [markdown]
# **What if** the methods had been tested on different sentences? Would the error be larger or smaller?
#
# <details><summary>An answer</summary>
#
# Larger: how sentences differ would add to how methods do.
#
# </details>

# %%
for first, second in (("PA-LRP", "random"), ("PA-LRP", "AttnLRP")):
    d = gains[first] - gains[second]
    error = d.std() / len(d) ** 0.5
    said = "a difference" if abs(d.mean()) > 2 * error else "no difference shown"
    print(f"{first} - {second:<8} {d.mean():+.3f}, standard error {error:.3f}: {said}")

# %% [markdown]
# Both methods beat chance by far. Between them, twelve sentences about films show nothing: whether a film is liked hardly depends on the order of the words.
# Expect a difference where the answer *needs* order, and report what you measure, whichever way it goes.
#
# ## Rivals on one sentence
#
# Whoever explains has a choice of methods. Five of them on one sentence, which the model calls *positive*. Four come from `pelrp_nb.faithfulness`. The idea of [SHAP](https://arxiv.org/abs/1705.07874) (2017) is short: hide all words, uncover them in a random order, and
# pay each what the answer gained when it came; the mean over many orders.

# %%
subject = faithfulness.Subject(model, tokenizer)
case = case_of(subject, faithfulness.Example("not a good film , but a witty one"), 0)
names = {"gradient": "input-x-gradient", "integrated": "integrated-gradients", "rollout": "attention-rollout", "PA-LRP": "pa-lrp-signed"}
rivals = {short: attribute(faithfulness.METHODS[name], subject, case).relevance for short, name in names.items()}

shapley, orders, places = torch.zeros(len(case.tokens)), 60, [i for i, mark in enumerate(case.special) if not mark]
for _ in range(orders):
    order = torch.tensor(places)[torch.randperm(len(places), generator=rng)]
    rows = case.row["input_ids"].repeat(len(order) + 1, 1)
    for step, place in enumerate(order):
        rows[: step + 1, place] = tokenizer.unk_token_id                       # hidden until its turn
    with torch.no_grad():
        shapley[order] += model(input_ids=rows).logits[:, case.target].diff() / orders
rivals["Shapley"] = shapley

print(f"value {case.answer[case.target]:+.2f}", "".join(f"{name:>11}" for name in rivals))
for i, token in enumerate(case.tokens):
    print(f"{token:<11}", "".join(f"{R[i]:+11.2f}" for R in rivals.values()))
print(f"{'in all':<11}", "".join(f"{R.sum():+11.2f}" for R in rivals.values()))

# %% [markdown]
# What each would have told you:
#
# - *Input times gradient*: that hardly any word matters. Its total is not even of the right sign: the norms are not frozen (lab 03).
# - *[Integrated gradients](https://arxiv.org/abs/1703.01365)* (2017): *witty* for, *not* against. It adds up to the change from a *baseline* that you have to choose, and asks the model many times.
# - *[Attention rollout](https://arxiv.org/abs/2005.00928)* (2020): most to `[CLS]`, then *not*, and nothing against. It does not know which answer is explained: for *negative* it says the same.
# - *Shapley*: *witty* for, *not* against; hundreds of passes, through sentences that nobody would write.
# - *PA-LRP*: *witty* for, *not* against, in one pass; and an account of what no word received.
#
# Three agree on what matters most, in three currencies. On which of them is right, the next section.
#
# ## When the truth is known
#
# Better than removing words is knowing which ones matter. The package has little questions made so that this is known: *previous* (which word
# stands before the last `mark`?) needs order, *majority* (which word comes most often?) does not. How much of the positive relevance lies inside
# the truth? Five models, which learn positions in five ways; PA-LRP, and what it is better than AttnLRP by:

# %%
print("                    PA-LRP inside   better than AttnLRP by, in hundredths, two errors")
for kind in ("previous", "majority"):
    for encoding in ("absolute", "learnable", "rotary", "relative", "alibi"):
        asked, read = pelrp_nb.zoo.load(f"tasks-{encoding}")
        questions, inside = pelrp_nb.zoo.task(kind).examples[:24], []
        for composite in (PA_LRP, ATTN_LRP):
            all_found = pelrp_nb.explain(asked, [question.text for question in questions], processor=read, composite=composite)
            for question, found in zip(questions, all_found):
                truth = [place + 1 for place in question.truth.tokens]         # the first token is a mark of the tokenizer
                R = found.relevance().clamp(min=0) * ~torch.tensor(found.special)
                inside.append(R[truth].sum() / R.sum())
        ours, theirs = torch.stack(inside).unflatten(0, (2, 24))
        better, error = 100 * (ours - theirs).mean(), 100 * (ours - theirs).std() / len(ours) ** 0.5
        said = "no difference shown" if abs(better) < 2 * error else "better" if better > 0 else "worse"
        print(f"{kind:<9} {encoding:<10} {ours.mean():12.2f}   {better:+20.1f} +- {2 * error:.1f}   {said}")

# %% [markdown]
# Do positions as inputs help to find the words? With ALiBi yes, with the other kinds sometimes yes, sometimes no, sometimes the reverse; never by more than two hundredths.
# Nor more where order decides. And with ten comparisons, one is off by two errors by chance now and then. So one model would have told you a story: had we
# shown ALiBi alone, it would have been *positions help*; learnable alone, *positions hurt*. These are five small models, one training of each.
#
# Accounts of positions are not there to find words. Ask them about places: that is what `pelrp_nb.exchange` does. How much are places worth where
# order decides (*order*, *previous*), and where it does not (*majority*)?

# %%
asked, read = pelrp_nb.zoo.load("tasks-rotary")
for kind in ("order", "previous", "majority"):
    questions = [question.text for question in pelrp_nb.zoo.task(kind).examples[:12]]
    worth = torch.tensor([one.share for one in pelrp_nb.exchange(asked, questions, processor=read)])
    account = torch.tensor([one.positional_share for one in pelrp_nb.explain(asked, questions, processor=read)])
    print(f"{kind:<9} share of positions by exchange {worth.mean():.2f}, in PA-LRP's account {account.mean():.2f}")

# %% [markdown]
# In the account the three differ by less than a tenth; by exchange places are worth seven times as much where order decides. It emulates the
# experiment by which it is judged (exchange the positions, look at the answer), and it is one model: see [faithfulness](faithfulness.md) for more.
#
# ## The mystery, measured
#
# So: *why does it say* moon? In five models, one for each kind of position, the places of *moon* and *sun* behind the question mark are exchanged: once as `exchange` estimates it, once truly,
# by running the model that way. **Predict:** for how many of the five is the estimate right?

# %%
line, order = "order sun moon ? the moon of a sun in", [*range(12)]
order[6], order[9] = 9, 6
for encoding in ("absolute", "learnable", "rotary", "relative", "alibi"):
    asked, read = pelrp_nb.zoo.load(f"tasks-{encoding}")
    worth = pelrp_nb.exchange(asked, line, processor=read, target="moon", contrast="sun", partners=None)
    with pelrp_nb.permute_positions(asked, order):
        logits = asked(**read(line, return_tensors="pt")).logits[0].detach()
    moon, sun = (float(logits[asked.config.label2id[word]]) for word in ("moon", "sun"))
    told = f"{worth.value - moon + sun:5.1f} truly: {'moon' if moon > sun else 'sun'}"
    print(f"{encoding:<10} moon rather than sun {worth.value:5.1f}   lost by the exchange, estimated {worth.matrix[6, 9]:6.1f}, {told}")

# %% [markdown]
# For one: rotary, whose softmax is computed again with other places. *Added* places (absolute, learnable) are estimated by a slope, and the exchange goes far beyond what a slope can tell: the model changes its mind, and the estimate
# has hardly noticed. With a *relative* bias a quarter is seen: what upper layers then do differently is not. And with ALiBi nearly nothing is lost, for the mask has told the order already (lab 08); the estimate has the wrong
# sign. So why does it say *moon*? **In four of five models because of where *moon* stands**, which only the true exchange shows for all four. An estimate is judged by what it estimates, and one model proves nothing for others.
#
# What is it that a slope cannot tell? In the *learnable* model we slide the two added places into each other, a twentieth of the way at a time:

# %%
net, read = pelrp_nb.zoo.load("tasks-learnable")
P, moon, sun = net.bert.embeddings.position_embeddings.weight, net.config.label2id["moon"], net.config.label2id["sun"]
own, way, rather = P.detach().clone(), torch.linspace(0, 1, 21), []
for part in way:
    with torch.no_grad():
        P[[6, 9]] = torch.lerp(own[[6, 9]], own[[9, 6]], part)
        logits = net(**read(line, return_tensors="pt")).logits[0]
        P[[6, 9]] = own[[6, 9]]
    rather.append(float(logits[moon] - logits[sun]))
slope = pelrp_nb.exchange(net, line, processor=read, target="moon", contrast="sun", partners=None).matrix[6, 9]
plt.figure(figsize=(5, 2.4))
plt.plot(way, rather, label="the model")
plt.plot(way, rather[0] - slope * way, "--", label="the estimate")
plt.xlabel("part of the way that the places have gone")
plt.ylabel("moon rather than sun")
plt.legend()
plt.show()

# %% [markdown]
# *What to see:* for two fifths of the way hardly anything moves, then the model changes its mind in a fifth of it. The estimate knows the beginning, and goes straight on.
#
# ## Quiz

# %%
labs.quiz("11")

# %% [markdown]
# ## Recap
#
# - Take words away, least first and most first; the gain is the difference of two areas.
# - Always with a random order, always with an error, always paired.
# - No difference shown is a result.
# - An estimate of an experiment is judged by the experiment, for every kind of model anew.
#
# **Next:** [12 · Your own model](12_own_model.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 15 minutes talk, 30 minutes work. Draw both curves on the board before they see them. The last picture answers "why is the estimate wrong?"
# - *Where they stumble:* pairing; and reading "no difference shown" as "they are equal".
# - *Talk about:* a sentence full of unknown words is not a sentence. What does the model see there? Which replacement would be fairer?
# - `pelrp_nb.faithfulness` does all of this on whole data sets, with intervals and more protocols.
