"""What every model has in common: an embedding, positions, and a stack of blocks."""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmkit.attention import KVCache
from llmkit.positions import alibi, learned, rotary, sinusoidal
from llmkit.transformer.block import Block, make_norm
from llmkit.transformer.checks import check_padding, look_up, may_look, over_keys
from llmkit.transformer.config import ModelConfig


class Memory(NamedTuple):
    """What an encoder read, for a decoder to look at."""

    states: Tensor  # (B, S, D)
    mask: Tensor | None = None  # (B, S), True where a token is; None: everywhere


class Stack(nn.Module):
    """Embed tokens, tell their positions, and run them through the blocks."""

    _no_split_modules = ("Block",)  # what FSDP2 gathers at a time, by Accelerate's name

    def __init__(self, config: ModelConfig, causal: bool, cross: bool = False):
        super().__init__()
        self.config, self.cross = config, cross
        D = config.d_model
        self.embedding = nn.Embedding(config.vocab_size, D)
        if config.look_back and not causal:
            raise ValueError(
                f"only a decoder looks back, an encoder sees both sides: got look_back "
                f"{config.look_back}; set it to 0"
            )
        # A table for each distance back; its last row means that nothing stands there.
        self.earlier = nn.ModuleList(
            nn.Embedding(config.vocab_size + 1, D) for _ in range(config.look_back)
        )
        if config.positions == "learned":
            self.positions = nn.Embedding(config.context, D)
        if config.n_segments:
            self.segments = nn.Embedding(config.n_segments, D)
        if config.embedding_norm:
            self.embedding_norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config, causal, cross) for _ in range(config.n_layers)
        )
        # After the last sum; post-norm blocks have brought their own.
        pre_norm = config.norm_place == "pre"
        self.norm = make_norm(config) if pre_norm else nn.Identity()
        self._register_tables()

    def _register_tables(self) -> None:
        """Make what is fixed by the positions' formula; it is not saved."""
        c = self.config
        tables = {
            "sinusoids": lambda: sinusoidal(c.context, c.d_model),  # (T, D)
            "turns": lambda: rotary(c.context, c.d_head),  # (2, T, K / 2)
            "slopes": lambda: alibi(c.n_heads, c.context),  # (H, T, T)
        }
        wanted = {"sinusoidal": "sinusoids", "rotary": "turns", "alibi": "slopes"}
        for name, make in tables.items():
            table = make() if wanted.get(c.positions) == name else None
            self.register_buffer(name, table, persistent=False)

    @torch.no_grad()
    def _initialize(self) -> None:
        """Draw small weights, so that the first guess is even: loss ln V."""
        c = self.config
        deep = (2 * c.n_layers) ** -0.5  # each layer adds to one sum
        last = ("attention.out.weight", "cross.out.weight", "down.weight")
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                ends = name.endswith(last)
                weight.normal_(std=0.02 * (deep if ends else 1))
                if c.quiet and (ends or name == "head.weight"):
                    weight.zero_()
            elif name.endswith("bias"):
                weight.zero_()
        if c.scale_embedding:  # so that, scaled, it is as large as the sines
            self.embedding.weight.normal_(std=c.d_model**-0.5)
        if c.look_back:  # louder, so that sums of tokens are soon told apart
            for table in (self.embedding, *self.earlier):
                table.weight.normal_(std=0.1)

    def hidden(
        self,
        ids: Tensor,
        cache: list[KVCache] | None = None,
        watch: list | None = None,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
        memory: Memory | None = None,
        watch_cross: list | None = None,
        documents: Tensor | None = None,
    ) -> Tensor:
        """Return what the last block made of ids: (B, T) to (B, T, D)."""
        start = self._start(cache)
        T = self._check(ids, start)
        self._check_memory(ids, memory)
        here = slice(start, start + T)
        looks = dict(mask=may_look(mask, documents, ids, start), watch=watch)
        x = self._embed(ids, start, segments, cache, documents)  # (B, T, D)
        if self.turns is not None:
            looks["turns"] = self.turns[:, here]  # (2, T, K / 2)
        if self.slopes is not None:
            looks["slopes"] = self.slopes[:, here, : here.stop]  # (H, T, S)
        if memory is not None:
            looks |= dict(memory=memory.states, memory_mask=over_keys(memory.mask))
            looks["watch_cross"] = watch_cross
        caches = [None] * len(self.blocks) if cache is None else cache
        for block, seen in zip(self.blocks, caches):
            x = block(x, cache=seen, **looks)  # (B, T, D)
        return self.norm(x)  # (B, T, D)

    def _embed(self, ids: Tensor, start: int, segments, cache, documents) -> Tensor:
        """Add up what is known of each token before it looks around: (B, T, D)."""
        c, T = self.config, ids.size(1)
        if segments is not None and segments.shape != ids.shape:
            raise ValueError(
                f"each token belongs to one segment: got segments "
                f"{tuple(segments.shape)} and token ids {tuple(ids.shape)}"
            )
        x = look_up(self.embedding, ids, "token ids", "encode the text with the")
        if c.look_back:
            x = x + self._look_back(ids, cache, documents)  # (B, T, D)
        if c.scale_embedding:
            x = x * c.d_model**0.5  # (B, T, D)
        if c.positions == "learned":
            x = x + learned(self.positions.weight, T, start)  # (B, T, D)
        if self.sinusoids is not None:
            x = x + self.sinusoids[start : start + T].to(x.dtype)  # (B, T, D)
        if c.n_segments:
            parts = torch.zeros_like(ids) if segments is None else segments  # (B, T)
            x = x + look_up(self.segments, parts, "segments", "use the")  # (B, T, D)
        elif segments is not None:
            raise ValueError(
                "this model knows no segments (n_segments is 0): leave them out"
            )
        if c.embedding_norm:
            x = self.embedding_norm(x)  # (B, T, D)
        return self.dropout(x)  # (B, T, D)

    def _look_back(self, ids: Tensor, cache, documents: Tensor | None) -> Tensor:
        """Add up the embeddings of the tokens before each of ids: (B, T, D)."""
        nothing, n, T = self.config.vocab_size, self.config.look_back, ids.size(1)
        if cache is None:
            text = F.pad(ids, (n, 0), value=nothing)  # (B, n + T)
        else:
            text = cache[0].recall(ids, n, nothing)  # (B, n + T)
        found = []
        for k, table in enumerate(self.earlier, start=1):
            before = text[:, n - k : n - k + T]  # (B, T), the token k places earlier
            if documents is not None:
                its = F.pad(documents, (k, 0), value=-1)[:, :T]  # (B, T)
                before = before.masked_fill(its != documents, nothing)  # (B, T)
            found.append(table(before))  # (B, T, D)
        return sum(found)  # (B, T, D)

    def _start(self, cache: list[KVCache] | None) -> int:
        """Return how many positions the cache has seen."""
        if cache is None:
            return 0
        if len(cache) != len(self.blocks):
            raise ValueError(
                f"a cache has one part for each block: got {len(cache)} parts and "
                f"{len(self.blocks)} blocks; take it from this model's new_cache()"
            )
        return len(cache[0])

    def _check(self, ids: Tensor, start: int) -> int:
        """Return T, the number of tokens in each row."""
        whole = ids.dtype in (torch.int64, torch.int32)
        if ids.ndim != 2 or not whole or not ids.size(1):
            raise ValueError(
                f"token ids are whole numbers (B, T), T at least 1: got {ids.dtype} of "
                f"shape {tuple(ids.shape)}; for a single text write torch.tensor([ids])"
            )
        length = start + ids.size(1)
        if length > self.config.context:
            raise ValueError(
                f"this model looks at {self.config.context} positions at most: got "
                f"{length}; cut the text, or train with a longer context"
            )
        return ids.size(1)

    def _check_memory(self, ids: Tensor, memory: Memory | None) -> None:
        """Refuse a memory where none is looked at, none where one is, or another's."""
        if self.cross and memory is None:
            raise ValueError(
                "this decoder looks at what an encoder read: give "
                "memory=model.encode(source, source_mask), or call the whole Seq2Seq"
            )
        if memory is not None and not self.cross:
            raise ValueError(
                "this model has no part that looks at a memory: build it as Seq2Seq, "
                "or as Decoder(config, cross=True)"
            )
        if memory is None:
            return
        states, mask = memory
        if len(states) != len(ids):
            raise ValueError(
                f"each target belongs to one source: got {len(states)} sources and "
                f"{len(ids)} targets"
            )
        check_padding(mask, states.shape[:2])

    @classmethod
    def from_hf(cls, source) -> Self:
        """Take the weights of a Hugging Face model of the same kind, in eval mode.

        source: a live model, a folder with config.json and safetensors, "minilm" for
        the one that needs no network, or a hub id. An `Encoder` reads BERT (heads stay
        behind), a `MaskedLM` BERT with its masked-token head, a `Decoder` GPT-2. The
        weights become float32. Of several rates of dropout the one after each part is
        taken over; attention's own has no place here.

        Raises: ValueError if the model is of another kind, asks for something that this
        code does not have, or tensors are missing, unexpected or of another shape.
        Source: Lesson 03.

        >>> from llmkit.transformer import Encoder
        >>> Encoder.from_hf("minilm").config.n_layers
        6
        """
        from llmkit.transformer.huggingface import read

        return read(cls, source)

    def to_hf(self, folder) -> None:
        """Write a folder that `transformers` loads; what `from_hf` takes, given back.

        Raises: ValueError if this shape is none that the Hugging Face model can have,
        or the folder is a file.
        Source: Lesson 03.

        >>> from tempfile import TemporaryDirectory
        >>> from llmkit.transformer import Decoder
        >>> model = Decoder(ModelConfig.preset("gpt2", vocab_size=9, n_layers=1))
        >>> with TemporaryDirectory() as folder:
        ...     model.to_hf(folder)
        ...     Decoder.from_hf(folder).config == model.config
        True
        """
        from llmkit.transformer.huggingface import write

        write(self, folder)
