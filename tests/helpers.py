"""What several test modules share: small models, small texts, real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import settings

from llmkit.metrics import IGNORE
from llmkit.pretraining import MASKED_PRESETS, PRESETS
from llmkit.training import TrainingConfig, fit
from llmkit.transformer import Decoder, ModelConfig
from llmkit.transformer.huggingface import as_hf

torch.set_num_threads(1)  # small tensors: a second thread costs more than it gives
settings.register_profile(
    "llmkit",
    deadline=None,  # the machine may be busy with something else
    max_examples=50,
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("llmkit")

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ROOT / "build" / "extras"  # what .ci/run installs apart from the rest
POSITIONS = ("learned", "sinusoidal", "rotary", "alibi")  # that see order


# Texts and their labels.
SENTENCES = [
    (f"the {thing} was {so} {word} {end}", word)
    for thing in ("film", "book", "plot")
    for so in ("so", "very", "not")
    for word in ("good", "bad")
    for end in (".", "!")
]


def small_model(seed: int = 0, loud: bool = True, **changes) -> Decoder:
    """Build a small decoder; loud weights are so large that a fault would show."""
    shape = dict(vocab_size=11, context=8, n_layers=2, n_heads=2, d_model=16)
    torch.manual_seed(seed)
    model = Decoder(ModelConfig(**shape | changes))
    if loud:
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(std=0.4)
    return model


@contextmanager
def quick_tiny() -> Iterator[None]:
    """Make the preset "tiny" tinier still, for runs whose loss is no matter."""
    with pytest.MonkeyPatch.context() as patch:
        for presets in (PRESETS, MASKED_PRESETS):
            tiny = presets["tiny"]
            shape = tiny.model | dict(n_layers=1, d_model=32)
            patch.setitem(presets, "tiny", replace(tiny, model=shape, batch_size=8))
        yield


def random_ids(*shape: int, vocab_size: int = 11, seed: int = 0) -> torch.Tensor:
    """Draw token ids of a shape, the same for the same seed."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(vocab_size, shape, generator=random)


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Tell whether two models are equal bit for bit."""
    here, there = one.state_dict(), other.state_dict()
    return here.keys() == there.keys() and all(
        torch.equal(here[name], there[name]) for name in here
    )


class UnevenBatches:
    """Give batches in which the rows ask for very different numbers of labels."""

    def __init__(self, rows: int = 6):
        self.rows = rows

    def __len__(self) -> int:
        return 100

    def __getitem__(self, i: int):
        inputs = random_ids(self.rows, 8, seed=2 * i)
        labels = random_ids(self.rows, 8, seed=2 * i + 1)
        for row, label in enumerate(labels):
            label[: (5 * row + i) % 9] = IGNORE  # from none of 8 to all of them
        return inputs, labels


def train(model, batches=None, evaluation=None, resume=False, **recipe) -> list:
    """Train with a recipe in which nothing is left to chance; return the steps."""
    config = TrainingConfig(**dict(steps=5, precision="fp32") | recipe)
    return list(fit(model, batches or UnevenBatches(), config, evaluation, resume))


def as_gpt2(model: Decoder, implementation: str):
    """Build Hugging Face's GPT-2 with the weights of a model of ours."""
    twin = as_hf(model)
    twin.set_attn_implementation(implementation)
    return twin


def loud(model: torch.nn.Module, seed: int = 0, std: float = 0.4):
    """Draw weights so large that a fault in any of them would show."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=std)
    return model.eval()


def random_mask(*shape: int, seed: int = 0) -> torch.Tensor:
    """Draw a padding mask in which every row has a token, at any place."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=random) < 0.6
    mask[torch.arange(shape[0]), torch.randint(shape[1], shape[:1])] = True
    return mask


def start(*arguments: object, **options) -> subprocess.Popen:
    """Start Python in a process of its own, with its output caught as text."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **own, **options.pop("env", {})},
        # A shell that runs the tests in the background makes children deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )
    STARTED.append(process)
    return process


STARTED: list[subprocess.Popen] = []  # of the test that runs


def end_what_was_started() -> None:
    """Leave no process behind, nor those that it has started, whatever went wrong."""
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            for one in (process, *family):
                with suppress(psutil.Error):
                    one.kill()
            process.wait()


def has_extra(name: str) -> bool:
    """Tell whether a package is installed, here or apart."""
    return find_spec(name) is not None or (EXTRAS / name).is_dir()


def start_with_extras(*arguments: object, **options) -> subprocess.Popen:
    """Start Python as `start` does, with what is installed apart."""
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{EXTRAS}"}
    return start(*arguments, env=path | options.pop("env", {}), **options)


def finish(process: subprocess.Popen, timeout: float = 120) -> tuple[int, str, str]:
    """Wait for a process; return its exit code, its output and its errors."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
WORDS = (
    "a the film book was is it and not so very plot end , . ! good bad fine dull odd"
)
PARTS = "hidden_size num_hidden_layers num_attention_heads intermediate_size"
TINY = dict.fromkeys(("bert", "roberta", "electra", "albert", "mpnet"), PARTS)
TINY |= {
    "distilbert": "dim n_layers n_heads hidden_dim",
    "gpt2": "n_embd n_layer n_head n_inner",
}


def save_tiny(folder: Path, kind: str = "bert", seed: int = 0, **changes) -> Path:
    """Save a model of Hugging Face with random weights, and a tokenizer of few words.

    Of all kinds [PAD] is 1; a model has 2 blocks, 16 numbers a token, 24 positions.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate((*SPECIAL, *WORDS.split()))}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 0))
    names = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
    names = dict(zip(names, SPECIAL))
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(folder)
    shape = dict(zip(TINY[kind].split(), (16, 2, 2, 32)))
    shape |= dict(vocab_size=len(vocab), pad_token_id=1, max_position_embeddings=24)
    shape["initializer_range"] = 0.25  # so small a model learns nothing at 0.02
    if kind in ("electra", "albert"):  # whose embeddings may be narrower than the rest
        shape["embedding_size"] = 8
    config = AutoConfig.for_model(kind, **shape | changes)
    torch.manual_seed(seed)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder
