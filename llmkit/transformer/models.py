"""Three machines from one block: an encoder, a decoder, and both together.

An encoder looks both ways and gives what it understood; a decoder looks back and
guesses what comes; a Seq2Seq reads with the one and writes with the other.
"""

from torch import Tensor, nn

from llmkit.attention import KVCache
from llmkit.transformer.block import ACTIVATIONS, make_norm
from llmkit.transformer.checks import check_asked, check_padding
from llmkit.transformer.config import ModelConfig
from llmkit.transformer.stack import Memory, Stack


class Encoder(Stack):
    """Read a text both ways: what each token means here. BERT.

    ids: (B, T) integers in, hidden states (B, T, D) out.
    Raises: ValueError if T is more than the context, the mask or the segments do not
    fit, or (on a CPU) an id is not in the vocabulary.
    Source: Vaswani et al. 2017, section 3.1; Devlin et al. 2019; Lessons 03 and 05.

    >>> import torch
    >>> model = Encoder(ModelConfig(vocab_size=65, context=16))
    >>> ids, is_token = torch.zeros(2, 9, dtype=torch.long), torch.ones(2, 9).bool()
    >>> model(ids, is_token).shape
    torch.Size([2, 9, 128])
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config, causal=False)
        self._initialize()

    def forward(
        self,
        ids: Tensor,
        padding_mask: Tensor | None = None,
        segments: Tensor | None = None,
        watch: list | None = None,
        documents: Tensor | None = None,
    ) -> Tensor:
        """Return what each token means here: (B, T) to (B, T, D).

        padding_mask: boolean (B, T), True where a token is; what stands at the other
        places is never looked at. segments: (B, T), which part of the text a token
        belongs to, 0 unless told. watch: a list that receives each block's attention
        weights (B, H, T, T). documents: (B, T), the number of the document that a token
        belongs to; no token looks at another document.
        """
        check_padding(padding_mask, ids.shape)
        told = dict(mask=padding_mask, segments=segments, documents=documents)
        return self.hidden(ids, watch=watch, **told)


class MaskedLM(Encoder):
    """Guess the tokens of a text that were hidden: BERT with its head.

    ids: (B, T) integers in, logits (B, T, V) out, or (N, V) of the N places that are
    asked for. Between the hidden states and the logits stand one more layer, an
    activation and a norm.

    Raises: as `Encoder`.
    Source: Devlin et al. 2019, section 3.1; Lesson 05.

    >>> import torch
    >>> model = MaskedLM(ModelConfig(vocab_size=65, context=16))
    >>> model(torch.zeros(2, 9, dtype=torch.long)).shape
    torch.Size([2, 9, 65])
    """

    def __init__(self, config: ModelConfig):
        Stack.__init__(self, config, causal=False)
        self.dense = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.head_norm = make_norm(config)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=config.bias)
        self._initialize()
        if config.tied:
            self.head.weight = self.embedding.weight

    def forward(
        self,
        ids: Tensor,
        padding_mask: Tensor | None = None,
        segments: Tensor | None = None,
        watch: list | None = None,
        documents: Tensor | None = None,
        asked: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of what stands at each place: (B, T) to (B, T, V).

        asked: boolean (B, T), True at N places: then only their logits are computed,
        (N, V), row by row. With a large vocabulary that is most of the work saved.
        """
        x = super().forward(ids, padding_mask, segments, watch, documents)  # (B, T, D)
        if asked is not None:
            check_asked(asked, ids.shape)
            x = x[asked]  # (N, D)
        x = self.head_norm(self.activation(self.dense(x)))  # (B, T, D) or (N, D)
        return self.head(x)  # (B, T, V) or (N, V)


class Decoder(Stack):
    """Predict each next token from the tokens before it: a GPT.

    ids: (B, T) integers in, logits (B, T, V) out. With `cross`, it also looks at what
    an encoder read.

    Raises: ValueError if T is more than the context, the cache or the memory is none of
    its own, or (on a CPU) an id is not in the vocabulary.
    Source: Radford et al. 2019; Lessons 03 and 06.

    >>> import torch
    >>> model = Decoder(ModelConfig(vocab_size=65, context=16))
    >>> model(torch.zeros(2, 16, dtype=torch.long)).shape
    torch.Size([2, 16, 65])
    """

    def __init__(self, config: ModelConfig, cross: bool = False):
        super().__init__(config, causal=True, cross=cross)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._initialize()
        if config.tied:
            self.head.weight = self.embedding.weight

    def new_cache(self) -> list[KVCache]:
        """Return an empty cache for each block, for one stretch of generation."""
        return [KVCache(self.config.context) for _ in self.blocks]

    def forward(
        self,
        ids: Tensor,
        cache: list[KVCache] | None = None,
        watch: list | None = None,
        memory: Memory | None = None,
        watch_cross: list | None = None,
        documents: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of the token after each of ids: (B, T) to (B, T, V).

        cache: from `new_cache`; ids are then the tokens after those it has seen.
        watch: a list that receives each block's attention weights (B, H, T, S).
        memory: from `Seq2Seq.encode`, for a decoder with `cross`; watch_cross: the same
        as watch, for the looks at memory. documents: (B, T), the number of the document
        that a token belongs to; no token looks at another document.
        """
        told = dict(memory=memory, watch_cross=watch_cross, documents=documents)
        return self.head(self.hidden(ids, cache, watch, **told))  # (B, T, V)


class Seq2Seq(nn.Module):
    """Read one sequence, write another: an encoder, and a decoder that looks at it.

    One vocabulary serves both sides; with `config.tied`, one table serves as both
    embeddings and as the head.

    source: (B, S), target: (B, T) integers in, logits (B, T, V) of the token after each
    of the target out.
    Raises: as `Encoder` and `Decoder`.
    Source: Vaswani et al. 2017, section 3; Lesson 03.

    >>> import torch
    >>> model = Seq2Seq(ModelConfig(vocab_size=20, context=16))
    >>> source, target = torch.zeros(2, 9).long(), torch.zeros(2, 5).long()
    >>> model(source, target, source_mask=torch.ones(2, 9).bool()).shape
    torch.Size([2, 5, 20])
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config, cross=True)
        if config.tied:
            self.decoder.embedding = self.encoder.embedding
            self.decoder.head.weight = self.encoder.embedding.weight

    def encode(
        self, source: Tensor, source_mask: Tensor | None = None, watch=None
    ) -> Memory:
        """Read the source (B, S) once, for any number of looks at it.

        source_mask: boolean (B, S), True where a token is. watch: see `Encoder`.
        """
        states = self.encoder(source, source_mask, watch=watch)  # (B, S, D)
        return Memory(states, source_mask)

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        source_mask: Tensor | None = None,
        watch: list | None = None,
    ) -> Tensor:
        """Return logits (B, T, V) of the token after each of target (B, T).

        source_mask: boolean (B, S), True where a token is. watch: a list that receives
        each decoder block's cross-attention weights (B, H, T, S), which source token
        each target token looks at: the alignment.
        """
        memory = self.encode(source, source_mask)
        return self.decoder(target, memory=memory, watch_cross=watch)  # (B, T, V)


def mean_pool(states: Tensor, padding_mask: Tensor) -> Tensor:
    """Average a text's hidden states over its tokens, padding left out.

    states: (B, T, D); padding_mask: boolean (B, T), True where a token is.
    Returns: (B, D), one vector a text.
    Raises: ValueError if the mask does not fit, or hides a whole text.
    Source: Reimers and Gurevych 2019, section 3; Lessons 03 and 07.

    >>> import torch
    >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> mean_pool(states, torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    check_padding(padding_mask, states.shape[:2])
    weights = padding_mask[..., None].to(states.dtype)  # (B, T, 1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)  # (B, D)
