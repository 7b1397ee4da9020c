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
# # 12 · Your own model
#
# *About 35 minutes. You need: lab 00. A GPU helps, and nothing here asks for one.*
#
# After this lab you can
#
# 1. explain a model of your own, from a folder or from a hub,
# 2. ask the better question: why this answer *rather than* that one,
# 3. estimate the memory, and explain many texts.

# %%
import torch

import pelrp_nb
from pelrp_nb import CP_LRP, Options

torch.set_printoptions(precision=4, sci_mode=False)
device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
# ## The question
#
# Everything so far used a small model from this package. A model of yours has perhaps a thousand times as many numbers.
#
# **Predict first.** An explanation needs one forward and one backward pass. Training needs the same for every step. What does training need in memory that an explanation does not?

# %% [markdown]
# ## A worked example
#
# Most models that `transformers` loads will do, and are used as they are; `plan`, below, says in advance what would be refused, and why:
#
# ```python
# from transformers import AutoModelForCausalLM, AutoTokenizer
# name = "your/model"                                    # Llama, Qwen, Gemma, GPT-2 ...; or AutoModelForSequenceClassification for BERT
# model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.bfloat16).to(device)
# tokenizer = AutoTokenizer.from_pretrained(name)
# result = pelrp_nb.explain(model, "The capital of France is", processor=tokenizer)
# ```
#
# For pictures take `AutoModelForImageClassification` (a ViT, for example), and `AutoImageProcessor` in the tokenizer's place (lab 10).
#
# Here, so that nothing must be fetched, the small one from the package stands in for it:

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
model = model.to(device)
text = "a slow start , a superb end"

# %% [markdown]
# ## Look before you leap
#
# `plan` runs the model forward only: which rule would serve each kind of step, which places of positions were found, and what would be **refused**. What the
# library does not understand it refuses, with the reason; a silent guess would still look plausible.

# %%
pelrp_nb.plan(model, text, processor=tokenizer)

# %%
result = pelrp_nb.explain(model, text, processor=tokenizer)
print(result.target, f"{result.value:+.3f}", "closed" if result.ledger.closed else result.ledger.opened)

# %% [markdown]
# ## Exercise 1 · Rather than &nbsp; ●○○ &nbsp; 4 minutes
#
# A single *logit* (the number behind an answer) contains what speaks for all answers alike. A **contrast** ([Yin and Neubig](https://arxiv.org/abs/2202.10419), 2022) removes that: explain the difference of two logits. `logits` is
# `(vocabulary,)`, one for each word or label the model can answer with, or `(tokens, vocabulary)`, where the last place counts.

# %%
def contrast(logits, target, foil):
    """The number to explain: why `target` rather than `foil`."""
    # BEGIN SOLUTION
    last = logits if logits.dim() == 1 else logits[-1]
    return last[target] - last[foil]
    # END SOLUTION


# %%
labs.check("contrast", contrast)

# %% [markdown]
# **What if** target and foil are swapped? What happens to every number of the explanation?
#
# <details><summary>An answer</summary>
#
# It changes its sign; sizes stay.
#
# </details>

# %%
rather = pelrp_nb.explain(model, text, processor=tokenizer, target="positive", contrast="negative")
for word in sorted(rather.words(), key=lambda word: -abs(word.relevance))[:4]:
    print(f"{word.text:<10}{word.relevance:+.3f}")

# %% [markdown]
# A *language model* answers with the next word, and contrasts are at their best there: many words would do. The package has a small one (it has read 7,770 sentences, and it shows). After *not a good
# movie,* why *but* rather than *and*?

# %%
writer, words = pelrp_nb.zoo.load("reviews-lm-rotary")
start = "not a good movie ,"
ids = writer.generate(**words(start, return_tensors="pt"), max_new_tokens=5, do_sample=False)
print(words.decode(ids[0], skip_special_tokens=True))
why = pelrp_nb.explain(writer, start, processor=words, target="but", contrast="and")
print(why.target, f"{why.value:+.2f}", "closed" if why.ledger.closed else "open")
for word in why.words():
    print(f"{word.text:<10}content {word.semantic:+.2f}   position {word.positional:+.2f}")

# %% [markdown]
# Most comes from *not* and from the comma: what begins with *not* goes on, after a comma, with *but*. *Good*, of which a reader may think first, has next to nothing. For each of the next words
# at once, from one forward pass, pass `target=pelrp_nb.target.generated(5)`.
#
# ## Memory
#
# The answer to the prediction: training keeps a gradient for every parameter, and its optimiser two more numbers. An explanation needs neither: parameters are constants, and the
# library never touches their `requires_grad`. What remains are the weights, and what flows through the layers, which grows with the length of the text.
#
# ## Exercise 2 · Does it fit? &nbsp; ●●○ &nbsp; 5 minutes
#
# Beside the weights a card must hold what flows: say so many bytes for each token. How long may the text be? (GiB are powers of two.)

# %%
def room(parameters, size, per_token, gib):
    """How many tokens fit on a card of `gib` GiB beside the weights of `size` bytes each; 0 if not even these do."""
    # BEGIN SOLUTION
    return max(0, (gib * 2**30 - parameters * size) // per_token)
    # END SOLUTION


# %%
labs.check("memory", room)

# %% [markdown]
# **What if** you load 7 billion parameters in bfloat16, two bytes each? They take 13 GiB: a card of 16 has room for short texts.
#
# ## Many texts
#
# A list of texts gives a list of results, each equal to its own single run. Shorter texts are padded inside; padding is hidden, and positions count real tokens only.
#
# ## Exercise 3 · Positions under padding &nbsp; ●●○ &nbsp; 5 minutes

# %%
def positions(mask):
    """Position of every token; mask (texts, tokens) is 1 for real tokens, 0 for padding, which gets any number from 0 on."""
    # BEGIN SOLUTION
    return (mask.cumsum(-1) - 1).clamp(min=0)
    # END SOLUTION


# %%
labs.check("padding", positions)

# %% [markdown]
# **What if** padding on the left were counted? For which position encodings would the answer change? (Lab 07 knows one that would not mind.)
#
# <details><summary>An answer</summary>
#
# Those that count from the start: learnable and absolute. Rotary, relative bias and ALiBi see distances.
#
# </details>

# %%
texts = ["a superb film", "dull", "not a superb film , but a funny one"]
for text, found in zip(texts, pelrp_nb.explain(model, texts, processor=tokenizer)):
    strongest = max(found.words(), key=lambda word: abs(word.relevance))
    print(f"{text:<38}{found.target:<10}{strongest.text}")

# %% [markdown]
# ## Check, then keep
#
# Three habits for a new model: **audit** one example, **compare** methods, **save** the result with its recipe.

# %%
audited = pelrp_nb.explain(model, text, processor=tokenizer, options=Options(audit=True))
constant = pelrp_nb.explain(model, text, processor=tokenizer, composite=CP_LRP)
print("audited and closed:", audited.ledger.audited and audited.ledger.closed)
print(f"positions carry {audited.positional_share:.0%} by PA-LRP, {constant.positional_share:.0%} by CP-LRP")
print({name: audited.card[name] for name in ("model", "method", "target", "dtype")})

# %% [markdown]
# ## Quiz

# %%
labs.quiz("12")

# %% [markdown]
# ## Recap
#
# - Load as always; `plan` first, then `explain`.
# - Explain a contrast when answers compete.
# - No gradients for parameters; memory grows with the text.
# - Audit one, compare methods, save with the card.
#
# **Next:** [13 · Write your own rule](13_own_rule.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 10 minutes talk, 25 minutes work, then their own models.
# - *Where they stumble:* float16 on old cards; tokenizers without a padding token.
# - *Talk about:* two methods disagree about positions on their model. What would they report?
