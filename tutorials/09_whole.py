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
# *About 75 minutes, in two sittings: up to your own block, and the page. You need: labs 01 to 05, and 06 or 07.*
#
# After this lab you can
#
# 1. walk a whole model back by hand, rule by rule,
# 2. do the same with one bent gradient, and say why both give the same numbers,
# 3. assemble a real block, bent, and read the program that bends any model: one page, ten rules.

# %%
import inspect
import textwrap
from unittest.mock import patch

import matplotlib.pyplot as plt
import torch
from einops import rearrange, repeat
from torch.nn.functional import linear, silu
from torch.overrides import TorchFunctionMode

import pelrp_nb
from pelrp_nb import ATTN_LRP, reference
from pelrp_nb.engine import in_a_page
from pelrp_nb.engine.in_a_page import Walk
from pelrp_nb.rules.rotary import angles
from pelrp_nb.verbs import freeze


def turned(x):
    """The quarter turn of lab 07."""
    a, b = x.chunk(2, -1)
    return torch.cat((-b, a), -1)


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
# <details><summary>An answer</summary>
#
# 0: it contributed nothing, so nothing comes to it.
#
# </details>
#
# ## A transformer by hand
#
# `pelrp_nb.reference` does this for whole models: every share written out, no gradient anywhere, in 64-bit numbers.

# %%
model, tokenizer = pelrp_nb.zoo.load("reviews-rotary")
model.double().set_attn_implementation("eager")
text = "a gorgeous , witty film"
ids = tokenizer(text, return_tensors="pt")["input_ids"]
label = int(model(ids).logits.argmax())
by_hand = reference.walk(model, ids, label)
for word, R in zip(tokenizer.convert_ids_to_tokens(ids[0]), by_hand.tokens.sum(-1)):
    print(f"{word:<10} {R:+.3f}")

# %% [markdown]
# ## The promise
#
# Now the short way. The promise of lab 03: at every number, relevance = value times slope $g$. At the output that fixes the slope we start
# with: $g = R / y$. ([Arras et al.](https://arxiv.org/abs/2502.15886), 2025, do it so for transformers.) If every step keeps the promise from its output to its inputs, it holds at the words as well, after **one** backward pass.
#
# ## Exercise 2 · Relevance from a gradient &nbsp; ●●○ &nbsp; 6 minutes
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
# <details><summary>An answer</summary>
#
# That of y itself: R = y.
#
# </details>
#
# ## Exercise 3 · Bend it &nbsp; ●●○ &nbsp; 6 minutes
#
# The same two layers, written as a forward pass whose ordinary gradient is the walk back. Only one factor needs `freeze`: its value stays, and no
# gradient goes back through it.

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
# <details><summary>An answer</summary>
#
# The sigmoid, by its own slope, which is not f(x)/x: what comes in is not what goes out.
#
# </details>
#
# ## A product
#
# A product needs more. Each factor's plain gradient claims all the relevance, so together they would get it twice.
#
# ## Exercise 4 · Half &nbsp; ●●○ &nbsp; 6 minutes
#
# The value must stay what it is; both gradients must be halved. Write the product as two terms, one of them frozen.

# %%
def half(a, b):
    """The value of a @ b; the gradients of a and of b are half of what they were."""
    # BEGIN SOLUTION
    z = a @ b
    return z / 2 + freeze(z / 2)
    # END SOLUTION


# %%
labs.check("half", half)

# %% [markdown]
# **What if** one factor is a constant, a matrix of weights say?
#
# <details><summary>An answer</summary>
#
# Then all is due to the other: no half.
#
# </details>
#
# ## A real block
#
# Now you have all there is. A block of Llama, as it stands in this model:
#
# 1. norm (lab 03): $n = x / \mathrm{rms}(x) \cdot w$, with $\epsilon = 10^{-6}$ in the root
# 2. queries, keys, values: $n W^\top$, cut into heads of width $d$; two heads of queries share one of keys and values, so these are repeated
# 3. queries and keys turned (lab 07): `q * cos + turned(q) * sin`
# 4. scores $q k^\top / \sqrt d$, those of later tokens $-\infty$; softmax; times values; heads side by side; $W_o$; **added** to $x$
# 5. norm; $\mathrm{silu}(n W_g^\top) \cdot (n W_u^\top)$, then $W_d$; added
#
# ## Exercise 5 · The block &nbsp; ●●● &nbsp; 20 minutes
#
# Write its forward pass, bent: the value is Llama's, and the plain gradient is the walk back. cos and sin are constants here. `rearrange` and `repeat` of
# [einops](https://einops.rocks) say shapes aloud; your `half` serves both matrix products; the gate is halved likewise.

# %%
def block(x, cos, sin, weights):
    """The block of x (tokens, width), bent; cos, sin (tokens, d); weights as named below, matrices (outputs, inputs)."""
    before, Wq, Wk, Wv, Wo, after, Wg, Wu, Wd = weights
    # BEGIN SOLUTION
    d = cos.shape[-1]
    norm = lambda x, w: x / freeze((x.square().mean(-1, keepdim=True) + 1e-6).sqrt()) * w
    n = norm(x, before)
    q, k, v = (rearrange(n @ W.T, "t (h d) -> h t d", d=d) for W in (Wq, Wk, Wv))
    q, k = (y * cos + turned(y) * sin for y in (q, k))
    k, v = (repeat(y, "h t d -> (h r) t d", r=len(q) // len(k)) for y in (k, v))
    scores = half(q, k.mT) / d**0.5
    later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    A = scores.masked_fill(later, -torch.inf).softmax(-1)
    x = x + rearrange(half(A, v), "h t d -> t (h d)") @ Wo.T
    n = norm(x, after)
    z = n @ Wg.T
    gate = z * freeze(torch.sigmoid(z)) * (n @ Wu.T)
    return x + (gate / 2 + freeze(gate / 2)) @ Wd.T
    # END SOLUTION


# %%
labs.check("block", block)

# %% [markdown]
# **What if** you leave out one `half`? Run the next cell with it: four of your blocks, an embedding below, the classifier above, against the engine.
#
# <details><summary>An answer</summary>
#
# The value does not change, and the words get other amounts: that product pays twice.
#
# </details>

# %%
def near(a, b):
    return bool((a - b).abs().max() < 1e-6 * b.abs().max())


def by_blocks(block):
    """Relevance of each token of `ids` for `label` through the model's own weights in your blocks; None if there is no block yet."""
    x = E = model.model.embed_tokens(ids[0]).detach().requires_grad_()
    for layer in model.model.layers:
        a, m = layer.self_attn, layer.mlp
        parts = (layer.input_layernorm, a.q_proj, a.k_proj, a.v_proj, a.o_proj, layer.post_attention_layernorm, m.gate_proj, m.up_proj, m.down_proj)
        x = block(x, *angles(torch.arange(len(x)), a.head_dim), [part.weight.detach() for part in parts])
        if x is None:
            return None
    rms = (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    value = (x / freeze(rms) * model.model.norm.weight)[-1] @ model.score.weight[label]
    (g,) = torch.autograd.grad(value, E)
    return (E * g).sum(-1).detach()


whole = pelrp_nb.explain(model, text, processor=tokenizer, target=label, composite=ATTN_LRP).semantic
mine = by_blocks(block)
print("your blocks are the engine:", "not written yet" if mine is None else near(mine, whole))

# %% [markdown]
# ## The page
#
# You bent a model by writing it anew. Nobody wants to do that for every model. But PyTorch lets us listen: inside the `with` of a *function mode*, every call
# of torch passes through one method before it is carried out.

# %%
class Listen(TorchFunctionMode):
    def __torch_function__(self, f, types, args=(), kwargs=None):
        print(f.__name__, end="  ")
        return f(*args, **kwargs or {})


with Listen():
    silu(linear(torch.ones(1, 2), torch.ones(3, 2))) * 2 + 1

# %% [markdown]
# What can be heard can be answered in another way: with the same value and a bent gradient. That is the whole program,
# `pelrp_nb/engine/in_a_page.py`. We read all of it. First what is done, three small words, and the method that hears every call:

# %%
def show(*parts):
    print(*(textwrap.dedent(inspect.getsource(part)) for part in parts), sep="\n")


show(in_a_page.explain, in_a_page.bends, in_a_page.freeze, in_a_page.carries)
show(Walk.__init__, Walk.__torch_function__)

# %% [markdown]
# - `explain`: forward inside the `with`, then back. Outside of it nothing is different, and the model was never touched.
# - `bends` will stand above each rule and say for which functions of torch it is. `RULES` is the list of them.
# - `freeze` you know. `carries` is torch's own flag: a gradient is wanted here.
# - `__torch_function__`: parameters are frozen, so a weight is a constant and receives nothing. If the function has a rule and somebody in it
#   carries, the rule answers; else torch does. One call has no carrier yet and makes the first: the look-up of the ids.
#
# Next, where relevance ends, and how it is read there:

# %%
show(Walk.leaf, Walk.position, Walk.constant, Walk.back)

# %% [markdown]
# A **leaf** holds the same numbers, but no gradient passes it: here relevance arrives. Three kinds of leaves, three lines of the account:
# tokens; positions; other constants that are added, such as biases. (A mask is one of these, and its line is 0: it only hides.)
#
# The rule for positions is simple: a constant that has a row for each token. (It is too simple for all the models there are; the engine asks more.)
#
# `back` is the promise: one backward pass, then $R = x \cdot g$ at every leaf, summed for each token or in all (`LINES` says which, as a pattern of
# einops). It starts with the gradient 1, so with R(value) = value.
#
# Now the rules; find the line of your block that each of them stands for:

# %%
show(Walk.look_up, Walk.linear, Walk.add, Walk.product, Walk.multiply, Walk.divide)

# %% [markdown]
# The first three bend nothing: linear maps and sums keep the promise with the plain gradient (exercise 2). All that is done is to make leaves of what must
# not be overlooked.
#
# `product` is your `half`, and counts who carries: 1/n each. So queries and keys get half each, attention and values get half each, and a carrier times a number gets all.
# In `multiply` a constant may be the cos or sin of a position. It is made a leaf *here*, at this product of this layer, so each layer
# pays its own (lab 07). `divide` freezes what stands below.

# %%
show(Walk.activation, Walk.rms_norm, Walk.layer_norm, Walk.softmax)

# %% [markdown]
# These are your gate, your norm, your softmax. An activation is exercise 3, for any function: freeze f(x) / x. (A number beside 0 avoids 0/0.) A norm freezes its denominator. A LayerNorm is the same
# after the mean is taken off; the mean is *not* frozen, it is a linear map.
#
# The softmax keeps its plain gradient, which does not hand on all (lab 04). So the page notes it on both sides: what arrived at A, less what went
# on to s, is what it kept.
#
# That was the page. Now three programs explain one sentence:

# %%
account = in_a_page.explain(model, ids, lambda out: out.logits[0, label])
for line in ("tokens", "positions", "constants", "softmax", "value"):
    print(f"{line:<10} {account[line].sum():+.3f}")
page, hand = account["tokens"], by_hand.tokens.sum(-1)
engine = pelrp_nb.explain(model, text, processor=tokenizer, target=label).semantic
print("the account is closed:", bool(account["gap"].abs() < 1e-6))
print("page is hand:", near(page, hand), "  engine is hand:", near(engine, hand))
plt.figure(figsize=(4, 2.8))
plt.scatter(hand, page, color="#e08214")
plt.axline((0, 0), slope=1, color="grey", linewidth=1)
plt.xlabel("by hand")
plt.ylabel("bent gradient")
plt.show()

# %% [markdown]
# *What to see:* every token on the diagonal; nothing but rounding. By hand is the definition; the page is the idea; the engine takes any model, batches and fused kernels. A test keeps the three
# together.
#
# ## What an account cannot see
#
# **Predict first.** We break one rule: in a matrix product *all* goes to the first factor, none to the second. Will the account still close? Will the
# words get the same?

# %%
lopsided = lambda walk, f, a, b: f(a, freeze(b))
with patch.dict(in_a_page.RULES, {torch.matmul: lopsided}):
    wrong = in_a_page.explain(model, ids, lambda out: out.logits[0, label])
print("the account is closed:", bool(wrong["gap"].abs() < 1e-6))
print("the words get the same:", near(wrong["tokens"], page))

# %% [markdown]
# A closed account says that nothing was lost. It does not say that it was shared out well. That takes a definition to compare with.
#
# ## Quiz

# %%
labs.quiz("09")

# %% [markdown]
# ## Recap
#
# - A walk back is the rules in reverse order.
# - The promise R = value times slope turns the walk into one backward pass.
# - Bending means freezing a part: slopes change, values never.
# - A function mode hears every call, so the model need not be written anew.
# - A closed account is needed, and is not enough.
#
# **Next:** [10 · Images](10_images.ipynb)

# %% [markdown] tags=["teachers"]
# ## For teachers
#
# - *Time:* 15 minutes talk, and 46 for the exercises: two sittings. Read the page together, aloud, one rule each; `pelrp_nb/reference.py` is for those who want the definition.
# - *Where they stumble:* where the slope starts (R / y, not R); that freezing keeps the value.
# - *Talk about:* why keep a slow definition beside a fast program? Which mistakes would only the definition find?
# - *A project:* a rule of the page for `torch.cat` with a parameter (a CLS token), or for a number that is added.
