"""The reproduction page: what was measured, the choices behind it, and the commands for what does not fit here."""

from __future__ import annotations

from collections.abc import Mapping

from .findings import WITH, WITHOUT
from .result import Result
from .settings import AUTHORS_TEXT, OURS_TEXT, PAPER_TEXT, lines

HEAD = """# Reproduction: the paper's protocols

Written by `python -m pelrp_nb.faithfulness.reproduce FOLDER --out tutorials/reproduction.md --stories FOLDER --minilm FOLDER`. The
paper (Bakish et al. 2025, arXiv 2506.02138) judges explanations by removing and inserting tokens (after Ali et al. 2022) on IMDB,
ARC-Easy and Wikipedia with models of 1 to 8 billion parameters, and by perturbing and segmenting ImageNet pictures. Here the same
protocols run on models that fit a laptop; the commands at the end run them on the paper's own.

## Measures

| measure | what it is | better |
| --- | --- | --- |
| `pruning-au-ac` | least relevant tokens replaced first: area under the explained class's probability | higher |
| `pruning-au-mse` | the same, under the squared change of the logits | lower |
| `generation-au-ac`, `generation-au-mse` | all replaced, the most relevant put back first | higher, lower |
| `generation-merf` | the same, area under the logit of the explained class | higher |
| `generation-lerf` | the least relevant put back first, area under the probability | lower |
| `symmetric-relevance-gain` | area of the score, least relevant removed first, minus most relevant first | higher |
| `positive-perturbation-auc` | pictures: area under the score, most relevant pixels replaced first | lower |
| `negative-perturbation-auc` | the same, least relevant first | higher |
| `pixel-accuracy`, `mean-iou`, `mean-average-precision` | the map against the object's mask, mean over pictures | higher |
| `truth-mass`, `truth-mass-by-size` | positive relevance, and relevance by size, inside the known truth | higher |
| `truth-rank` | true tokens among the K most relevant | higher |
| `leave-one-out-correlation` | rank correlation with what each token's removal costs | higher |
| `position-swap-correlation` | rank correlation of the position's relevance with the change by a swap of two positions | higher |
| `position-move-correlation` | the same when the token is moved | higher |
| `position-swap-effect`, `position-move-effect` | that change itself | - |
| `positional-share` | sum of absolute P over sum of absolute P and S | - |

In Ali et al. 2022 and in the paper the area is that under the mean curve; it equals the mean of the areas, which is what is
resampled for the intervals.

## Choices

"""
COMMANDS = """
## What has to be run elsewhere

These need the models and data, and a GPU; each is one command, resumed by typing it again with `--resume`. They were not run here.

```
# IMDB, fine-tuned LLaMA-2-7B or TinyLlama: aclImdb as it is handed out
python -m pelrp_nb faithfulness --model ./tinyllama-imdb --data imdb=./aclImdb --text PAPER_TEXT --methods all --report imdb.html

# ARC-Easy and Wikipedia, zero-shot LLaMA-3.1-8B: the tokenizer has no unknown token, so one is named
python -m pelrp_nb faithfulness --model meta-llama/Llama-3.1-8B --data arc-easy=./ARC-Easy-Test.jsonl --text PAPER_TEXT \\
    --set text.replacement=_ --methods all --report arc.html
python -m pelrp_nb faithfulness --model meta-llama/Llama-3.1-8B --data wikipedia=./wikipedia.parquet --text PAPER_TEXT \\
    --set text.replacement=_ --set text.longest=256 --limit 1000 --methods all --report wikipedia.html

# the same without a causal mask, as the authors' evaluation ran
python -m pelrp_nb faithfulness --model meta-llama/Llama-3.1-8B --data arc-easy=./ARC-Easy-Test.jsonl --text AUTHORS_TEXT \\
    --set text.replacement=_ --methods all --report arc-open.html

# ImageNet perturbation and segmentation, DeiT
python -m pelrp_nb faithfulness --model facebook/deit-base-patch16-224 --data imagenet=./imagenet --images PAPER_IMAGES \\
    --methods all --report imagenet.html
python -m pelrp_nb faithfulness --model facebook/deit-base-patch16-224 --data imagenet-segmentation=./gtsegs_ijcv.mat \\
    --images PAPER_IMAGES --protocols segmentation --methods all --report segmentation.html
```

On several GPUs write the options into a file and type `accelerate launch -m pelrp_nb.faithfulness run.json`; on several cores
without a GPU, `torchrun --nproc_per_node 2 -m pelrp_nb.faithfulness run.json` (accelerate starts one process on a CPU). The numbers
are those of one process. `--dry-run` measures one example and says how long the rest will take.
"""


def page(results: Mapping[str, Result]) -> str:
    """The whole page in Markdown."""
    parts = [HEAD + _choices(), _found(results)]
    for name, r in results.items():
        parts.append(f"### {name}\n\n{r.table().markdown()}")
        parts += [f"- {where} failed on {len(why)} examples: {why[0][1]}\n" for where, why in r.errors.items()]
    return "\n".join([*parts, COMMANDS])


def _choices() -> str:
    """The named settings side by side."""
    columns = {"PAPER_TEXT": PAPER_TEXT, "AUTHORS_TEXT": AUTHORS_TEXT, "OURS_TEXT": OURS_TEXT}
    plain = [dict(lines(value.__dict__)) for value in columns.values()]
    rows = ["| field of `Text` | " + " | ".join(columns) + " |", "|" + " --- |" * (len(columns) + 1)]
    rows += [f"| {name} | " + " | ".join(p[name] for p in plain) + " |" for name in plain[0]]
    return "\n".join(rows) + "\n"


def _found(results: Mapping[str, Result]) -> str:
    """PA-LRP in each reduction against AttnLRP, arm by arm."""
    measures = ("pruning-au-ac", "pruning-au-mse", "generation-au-ac", "generation-au-mse")
    rows = ["## What was found\n", "PA-LRP minus AttnLRP, paired over examples; bold where the interval leaves out zero.\n"]
    rows += ["| arm | reduction | " + " | ".join(measures) + " |", "|" + " --- |" * (len(measures) + 2)]
    better = worse = same = 0
    for name, r in results.items():
        for method in WITH:
            found = [r.difference(method, WITHOUT, m) for m in measures]
            better += sum(d.better == method for d in found)
            worse += sum(d.better == WITHOUT for d in found)
            same += sum(d.better is None for d in found)
            said = ["better" if d.better == method else "worse" for d in found]
            cells = [f"**{d.estimate}** ({how})" if d.better else str(d.estimate) for d, how in zip(found, said, strict=True)]
            rows.append(f"| {name} | {method.rpartition('-')[2]} | " + " | ".join(cells) + " |")
    rows.append(
        f"\nOf {better + worse + same} comparisons PA-LRP is better in {better}, worse in {worse}, and {same} show no difference. "
        "The three reductions are not the same method: look at each row by itself."
    )
    return "\n".join([*rows, "\n## Tables\n"])
