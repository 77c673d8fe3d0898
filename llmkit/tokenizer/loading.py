"""Load whatever tokenizer a folder holds."""

from pathlib import Path

from llmkit.tokenizer.bpe import BPETokenizer
from llmkit.tokenizer.characters import CharTokenizer
from llmkit.tokenizer.files import damaged, read
from llmkit.tokenizer.huggingface import HFTokenizer
from llmkit.tokenizer.words import WordTokenizer

Tokenizer = CharTokenizer | WordTokenizer | BPETokenizer | HFTokenizer


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer that was saved in the folder, of whatever kind.

    A byte-level BPE comes as its fast twin, an HFTokenizer: `BPETokenizer.load` gives
    ours.

    Raises ValueError where there is none, or one that is damaged or of another kind.
    """
    path, saved = read(folder)
    if "model" in saved and "kind" not in saved:
        return HFTokenizer.from_saved(path, saved)
    try:
        if saved.get("kind") == "characters":
            return CharTokenizer("".join(saved["characters"]))
        if saved.get("kind") == "words":
            return WordTokenizer(saved["words"])
    except Exception as error:  # whatever a damaged list leads to
        raise damaged(path, error) from error
    raise ValueError(
        f"{path}: a tokenizer of kind {saved.get('kind')!r}: expected 'characters', "
        "'words', or the format of Hugging Face's tokenizers, which has a 'model'"
    )
