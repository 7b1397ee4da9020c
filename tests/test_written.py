"""What a model wrote, against what stood before it: drawn as asked, one heat map, content and position apart."""

import numpy as np
import pytest
import torch

from pelrp_nb import explain, target, zoo
from pelrp_nb.errors import InputError, TargetError

BEGINNING = "a film that is very"


@pytest.fixture(scope="module")
def loaded():
    return zoo.load("reviews-lm-rotary")


@pytest.fixture(scope="module")
def steps(loaded):
    return explain(loaded[0], BEGINNING, processor=loaded[1], target=target.generated(4))


def words(loaded, **options) -> list[str]:
    found = explain(loaded[0], BEGINNING, processor=loaded[1], target=target.generated(5, **options))
    return [one.target for one in found]


def test_what_is_drawn_is_drawn_again_by_its_seed_and_by_generate_itself(loaded):
    model, tokenizer = loaded
    state = torch.random.get_rng_state()
    first = words(loaded, temperature=1.5, seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first == words(loaded, temperature=1.5, seed=3) != words(loaded, temperature=1.5, seed=4)
    ids = tokenizer(BEGINNING, return_tensors="pt")["input_ids"]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        out = model.generate(ids, max_new_tokens=5, do_sample=True, temperature=1.5, top_k=None, top_p=None)[0, ids.shape[1] :]
    assert [name.split("'")[1] for name in first if "'" in name][:3] == tokenizer.convert_ids_to_tokens(out)[:3]


def test_beams_are_those_of_generate(loaded):
    model, tokenizer = loaded
    ids = tokenizer(BEGINNING, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model.generate(ids, max_new_tokens=5, num_beams=3, do_sample=False)[0, ids.shape[1] :]
    assert len(words(loaded, num_beams=3)) == len(out)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"temperatur": 0.5}, "temperatur"), ({"max_length": 9}, "Leave it out"), ({"seed": "one"}, "whole number"),
     ({"num_return_sequences": 3}, "one continuation"), ({"temperature": -1.0}, "temperature")],
)  # fmt: skip
def test_options_that_generate_does_not_take_are_told(loaded, options, said):
    with pytest.raises(TargetError, match=said):
        words(loaded, **options)


def test_content_and_position_add_up_in_one_matrix(steps):
    both, content, position = (np.asarray(steps.matrix(part=part)) for part in ("both", "content", "position"))
    np.testing.assert_allclose(np.nan_to_num(content + position), np.nan_to_num(both), atol=1e-6)
    assert both.shape == (4, len(steps[3].tokens)) and np.isnan(both[0, -1]) and not np.isnan(both[-1]).any()
    assert steps.matrix().columns == steps[3].tokens
    with pytest.raises(InputError, match="matrix\\(part='content'\\)"):
        steps.matrix(part="contents")


def test_what_was_written_is_a_figure_and_a_page_that_steps(steps, tmp_path):
    assert len(steps.figure().axes) == 3 and len(steps.figure("position").axes) == 2
    page = steps.written().to_html()
    assert "token written" in page and all(str(token) in page for token in steps[0].tokens)
    assert "most of all by" in steps.written()._repr_html_()
    with pytest.raises(InputError, match="figure\\('content'\\)"):
        steps.figure("contents")
