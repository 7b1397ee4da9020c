"""Sound is shown as a time line over its spectrogram."""
# ruff: noqa: F811 (a fixture that is imported)

from __future__ import annotations

import pytest
import torch
from browsing import MARKS, browser, opened  # noqa: F401
from test_streams import heard, written

import pelrp_nb
from pelrp_nb import Explanation
from pelrp_nb.results import spectrogram

RATE = 16000


def rising() -> torch.Tensor:
    """A second of a tone that rises."""
    s = torch.arange(RATE) / RATE
    return torch.sin(2 * torch.pi * (300 + 1500 * s) * s)


@pytest.fixture(scope="module")
def listened() -> Explanation:
    import transformers as t

    torch.manual_seed(0)
    config = t.Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, conv_dim=(16, 16), conv_kernel=(10, 8),
        conv_stride=(20, 10), num_feat_extract_layers=2, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
    )  # fmt: skip
    model = t.Wav2Vec2ForSequenceClassification(config).eval()
    return pelrp_nb.explain(model, rising().numpy(), processor=t.Wav2Vec2FeatureExtractor(sampling_rate=RATE))


def test_a_tone_that_rises_is_seen_to_rise():
    seen = spectrogram.heard({"input_values": rising()[None]}, 50)
    loudest = seen[..., 0].float().argmax(0)
    assert loudest[0] > loudest[-1] + 5 and bool((loudest.diff() <= 1).all())  # rows count from the top
    assert seen.dtype == torch.uint8 and seen.shape[0] <= spectrogram.HIGH and seen.shape[1] <= spectrogram.WIDE


@pytest.mark.parametrize("time_last", [True, False])
def test_features_lie_with_time_to_the_right_however_they_are_given(time_last):
    bands = torch.zeros(8, 60)
    bands[2, 30:] = 1.0  # the third band from below, in the second half
    given = bands if time_last else bands.T
    seen = spectrogram.heard({"input_features": given[None]}, 30)[..., 0]
    assert seen.shape == (8, 60) and bool((seen[5, 30:] == 255).all()) and int((seen > 0).sum()) == 30


def test_silence_a_single_sample_and_what_is_no_number_are_drawn():
    for x in (torch.zeros(1, 4000), torch.ones(1, 1), torch.full((1, 900), torch.nan)):
        seen = spectrogram.heard({"input_values": x}, 3)
        assert seen is not None and int(seen.max()) == 0
    assert spectrogram.heard({"input_ids": torch.ones(1, 3)}, 3) is None


def test_the_sound_of_an_encoder_has_its_features_and_what_is_written_has_none():
    model = written("whisper")
    found = pelrp_nb.explain(model, {**heard(), "decoder_input_ids": torch.tensor([[1, 5, 6]])}, target=7)
    assert found.streams["encoder"].picture.shape == (8, 60, 3) and found.streams["decoder"].picture is None


def test_the_spectrogram_is_kept_with_the_result(listened, tmp_path):
    listened.save(tmp_path / "sound.npz")
    assert torch.equal(Explanation.load(tmp_path / "sound.npz").picture, listened.picture)


@pytest.mark.browser
@MARKS[1]
def test_the_time_line_lies_over_the_spectrogram(listened, browser, tmp_path):
    with opened(browser, listened, tmp_path, width=400, through=False) as page:
        line, canvas = page.locator(".timeline"), page.locator(".timeline canvas")
        assert line.locator(".stretch").count() == 20
        assert canvas.bounding_box() == line.bounding_box()
        shades = canvas.evaluate("x => new Set(x.getContext('2d').getImageData(0, 0, x.width, x.height).data).size")
        assert shades > 20
        over = line.locator(".stretch").first.evaluate("x => [getComputedStyle(x).position, Number(getComputedStyle(x).opacity)]")
        assert over[0] == "relative" and 0.3 < over[1] < 0.9
        assert page.locator(".card").bounding_box()["height"] < 400
