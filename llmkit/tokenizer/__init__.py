"""Text to ids and back: by character, by word, by byte-level BPE, or as Hugging Face.

All have one interface: `vocab_size`, `special_tokens`, `encode`, `decode` and `save`,
and for all `decode(encode(text))` is the text again, as long as the vocabulary can
spell it.

Source: Lesson 04.
"""

from llmkit.tokenizer.bpe import BPETokenizer
from llmkit.tokenizer.characters import CharTokenizer
from llmkit.tokenizer.edges import word_edges
from llmkit.tokenizer.files import FILE
from llmkit.tokenizer.huggingface import HFTokenizer
from llmkit.tokenizer.loading import Tokenizer, load_tokenizer
from llmkit.tokenizer.words import WordTokenizer

__all__ = [
    "FILE",
    "BPETokenizer",
    "CharTokenizer",
    "HFTokenizer",
    "Tokenizer",
    "WordTokenizer",
    "load_tokenizer",
    "word_edges",
]
