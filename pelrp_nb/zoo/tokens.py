"""Tokenizers: one of plain words for the questions, one WordPiece tokenizer for all review models.

The latter is in lower case, apostrophes stay inside words, and offsets point into the text.  The reviews have lost their hyphens
("well made"), so a hyphen or dash typed by a user is read as a space.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, FIRST, LAST, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD_ID, UNKNOWN_ID, FIRST_ID, LAST_ID, MASK_ID = range(len(SPECIAL))
LONGEST = 128  # tokens, the special ones included
_WORD = r"\w+(?:'\w+)*|[^\w\s]"


def learn(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose pieces were learnt from these texts; pieces are numbered by how often they occur."""
    from tokenizers.trainers import WordPieceTrainer

    draft = _tokenizer({piece: number for number, piece in enumerate(SPECIAL)})
    letters = sorted(set("".join(draft.normalizer.normalize_str(text) for text in texts)) - {" "})
    single = [*letters, *(f"##{letter}" for letter in letters)]
    trainer = WordPieceTrainer(
        vocab_size=size + size // 10,
        min_frequency=2,
        special_tokens=[*SPECIAL, *single],  # else it numbers the letters, and so breaks ties, by chance
        show_progress=False,
    )
    draft.train_from_iterator(texts, trainer)
    found = _tokenizer(draft.get_vocab())
    used = Counter(piece for encoding in found.encode_batch(list(texts)) for piece in encoding.tokens)
    longer = sorted(found.get_vocab().keys() - {*SPECIAL, *single}, key=lambda piece: (-used[piece], piece))
    pieces = [*SPECIAL, *single, *longer][:size]
    return _dressed(_tokenizer({piece: number for number, piece in enumerate(pieces)}))


def opening(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The same for a model that writes on: a text gets its first token and no last one."""
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A", pair=f"{FIRST} $A $B", special_tokens=[(FIRST, FIRST_ID)]
    )
    tokenizer.bos_token, tokenizer.eos_token = FIRST, LAST
    return tokenizer


def of_words(words: Sequence[str], longest: int) -> PreTrainedTokenizerFast:
    """A tokenizer that knows these words alone, one token each, parted by white space."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    numbered = {word: number for number, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(numbered, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = _first_and_last()
    return _dressed(tokenizer, longest)


def _first_and_last() -> TemplateProcessing:
    """The first and the last token around a text."""
    from tokenizers import processors

    return processors.TemplateProcessing(
        single=f"{FIRST} $A {LAST}",
        pair=f"{FIRST} $A {LAST} $B {LAST}",
        special_tokens=[(FIRST, FIRST_ID), (LAST, LAST_ID)],
    )


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    """Text to pieces: normalise, cut into words and marks, take the longest known piece."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex("[-–—]"), " "),
            normalizers.Replace(Regex("[‘’]"), "'"),
            normalizers.Replace(Regex("[“”]"), '"'),
            normalizers.BertNormalizer(lowercase=True, strip_accents=True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_WORD), behavior="isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    tokenizer.post_processor = _first_and_last()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _dressed(tokenizer: Tokenizer, longest: int = LONGEST) -> PreTrainedTokenizerFast:
    """The form `AutoTokenizer` reads back."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=FIRST,
        sep_token=LAST,
        mask_token=MASK,
        padding_side="right",
        model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"],
    )
