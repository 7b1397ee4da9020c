"""Scaled rotations, rotations over time, rows and columns, pictures inside a text, films, caches: explained, or refused by name."""

from __future__ import annotations

import copy

import pytest
import torch
from models import randomise
from tolerance import assert_same
from torch import Tensor, nn

import pelrp_nb
from pelrp_nb import Options
from pelrp_nb.errors import InputError

transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 96, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 80, "max_position_embeddings": 64,
}  # fmt: skip
SCALED = {
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 16},
    "dynamic": {"factor": 2.0},
    "linear": {"factor": 2.0},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
    "longrope": {"factor": 4.0, "short_factor": [1.1] * 6, "long_factor": [2.0] * 6, "original_max_position_embeddings": 8},
}
IDS = torch.tensor([[17, 80, 33, 9, 64, 51, 22, 75, 40]])
FILM = torch.randn(1, 4, 3, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def llama(scaling: str | None = None) -> nn.Module:
    """A random Llama; one with dynamic scaling was made for texts of eight tokens."""
    rope = {} if scaling is None else {"rope_parameters": {"rope_theta": 10000.0, "rope_type": scaling, **SCALED[scaling]}}
    longest = 8 if scaling == "dynamic" else 64
    config = transformers.LlamaConfig(**{**SIZES, "max_position_embeddings": longest}, **rope)
    return randomise(transformers.LlamaForCausalLM(config).double())


def top(out) -> Tensor:
    return out.logits[0, -1].max()


def explained(model: nn.Module, x: dict[str, Tensor], **options) -> pelrp_nb.Explanation:
    """The answer, its account audited and closed, its value the model's own."""
    with torch.no_grad():
        value = float(top(model(**x, use_cache=False)))
    found = pelrp_nb.explain(model, x, target=top, options=Options(audit=True, **options))
    assert found.ledger.closed and found.value == pytest.approx(value, rel=1e-12)
    return found


class Tables(nn.Module):
    """Cosines and sines as constants, in place of what worked them out."""

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        super().__init__()
        self.cos, self.sin = cos, sin

    def forward(self, *_, **__) -> tuple[Tensor, Tensor]:
        return self.cos, self.sin


@pytest.mark.parametrize("scaling", SCALED)
def test_a_scaled_rotation_is_explained_like_its_tables(scaling):
    model = llama(scaling)
    found = explained(model, {"input_ids": IDS})
    assert len(found.sinks) == 2 and all("rotary" in sink for sink in found.sinks)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        vectors = model.get_input_embeddings()(IDS)
        twin.model.rotary_emb = Tables(*model.model.rotary_emb(vectors, torch.arange(IDS.shape[1])[None]))
    theirs = explained(twin, {"input_ids": IDS})
    assert_same(found.semantic, theirs.semantic, dtype=torch.float64)
    assert_same(found.positional, theirs.positional, dtype=torch.float64)


def test_a_text_may_be_longer_than_dynamic_scaling_began_with_and_no_longer_than_others_take():
    assert explained(llama("dynamic"), {"input_ids": IDS}).semantic.shape == (9,)
    with pytest.raises(InputError, match="takes at most 64 tokens"):
        pelrp_nb.explain(llama("yarn"), {"input_ids": IDS.repeat(1, 8)}, target=top)


def test_a_cache_of_earlier_tokens_is_refused_by_name():
    model = llama()
    cache = model(IDS[:, :4], use_cache=True).past_key_values
    with pytest.raises(InputError, match=r"cached prefix \(past_key_values\) hides the tokens it came from. Pass the whole input_ids"):
        pelrp_nb.explain(model, {"input_ids": IDS[:, 4:], "past_key_values": cache}, target=top)


def seer() -> nn.Module:
    """A random Qwen2-VL: a text with pictures or films in it, turned by time, row and column."""
    text = {**SIZES, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]}}
    eye = {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 48, "mlp_ratio": 2, "patch_size": 4}
    marks = {"image_token_id": 3, "video_token_id": 4, "vision_start_token_id": 1, "vision_end_token_id": 2}
    config = transformers.Qwen2VLConfig(text_config=text, vision_config=eye, **marks)
    return randomise(transformers.Qwen2VLForConditionalGeneration(config).double())


def shown(grid: list[int], film: bool) -> dict[str, Tensor]:
    """A text around one picture or film of so many frames, rows and columns of patches."""
    frames, rows, columns = grid
    patches, mark = frames * rows * columns, 4 if film else 3
    ids = torch.tensor([[7, 8, 1, *[mark] * (patches // 4), 2, 9, 10]])
    pixels = torch.randn(patches, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    names = ("pixel_values_videos", "video_grid_thw") if film else ("pixel_values", "image_grid_thw")
    return {"input_ids": ids, names[0]: pixels, names[1]: torch.tensor([grid]), "mm_token_type_ids": (ids == mark).long() * (1 + film)}


@pytest.mark.parametrize(("grid", "film"), [([1, 4, 4], False), ([2, 4, 4], True)], ids=["picture", "film"])
def test_rotations_by_time_row_and_column_are_found_in_text_and_picture(grid, film):
    found = explained(seer(), shown(grid, film))
    assert set(found.streams) == {"text", "image"}
    assert all(len(one.sinks) == 2 and all("rotary" in sink for sink in one.sinks) for one in found.streams.values())


def test_a_text_alone_in_rows_and_columns_is_explained_like_the_plain_decoder():
    model = seer()
    config = transformers.Qwen2Config(**SIZES, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    plain = transformers.Qwen2ForCausalLM(config).double().eval()
    own = {name.replace("model.language_model.", "model."): w for name, w in model.state_dict().items() if "visual" not in name}
    plain.load_state_dict(own)
    ours, theirs = explained(model, {"input_ids": IDS}), explained(plain, {"input_ids": IDS})
    size = theirs.semantic.abs().sum()
    assert_same(ours.semantic, theirs.semantic, size)  # both work their tables out in float32
    assert_same(ours.positional, theirs.positional, size)


def test_a_picture_handed_to_a_decoder_is_a_stream_with_positions_of_its_own():
    eye = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=16, patch_size=8, projection_dim=16
    )
    config = transformers.LlavaConfig(vision_config=eye, text_config=transformers.LlamaConfig(**SIZES), image_token_index=3)
    model = randomise(transformers.LlavaForConditionalGeneration(config).double())
    found = explained(model, {"input_ids": torch.tensor([[7, 8, 3, 3, 3, 3, 9, 10]]), "pixel_values": FILM[:, 0]})
    text, image = found.streams["text"], found.streams["image"]
    assert len(text.sinks) == 2 and text.semantic.shape == (8,)
    assert len(image.sinks) == 1 and "position_embedding" in image.sinks[0] and image.semantic.shape == (5,)


@pytest.mark.parametrize("family", ["VideoMAE", "Vivit"])
def test_positions_of_a_film_on_a_grid_of_three_axes_are_found(family):
    tubes = {"patch_size": 8, "tubelet_size": 2} if family == "VideoMAE" else {"tubelet_size": [2, 8, 8]}
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "num_labels": 3}
    config = getattr(transformers, f"{family}Config")(image_size=16, num_frames=4, **tubes, **sizes)
    model = randomise(getattr(transformers, f"{family}ForVideoClassification")(config).double())
    found = pelrp_nb.explain(model, {"pixel_values": FILM}, target=0, options=Options(audit=True))
    assert found.ledger.closed and len(found.sinks) == 1 and bool(found.positional.any())
