"""What Hugging Face's BERT and GPT-2 call the things that ours have. Lesson 03.

The mathematics is the same; names and habits differ. BERT keeps queries, keys and
values in three matrices where we have one; GPT-2 keeps its matrices as (in, out) where
a linear layer has (out, in). A `Family` says so once, for both directions.
"""

import re
from dataclasses import dataclass

from llmkit.transformer.config import ModelConfig
from llmkit.transformer.models import Decoder, Encoder, MaskedLM

# Their name for an activation, and ours; on the way back the last one counts.
ACTIVATIONS = {
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "relu2": "relu2",
}


@dataclass(frozen=True)
class Family:
    """How Hugging Face names and keeps what our model of the same kind has."""

    model_type: str  # their name for the kind
    fields: dict[str, tuple[str, ...]]  # ours: theirs, all written, the first read
    fixed: dict[str, object]  # fields of ours that theirs can't choose
    refused: dict[str, object]  # fields of theirs that must have this value, if there
    prefix: str  # of their names, where a head stands beside the model
    blocks: str  # what precedes the number of a block
    modules: dict[str, tuple[str, ...]]  # our module: theirs, stacked to make ours
    transposed: bool  # matrices of blocks are (in, out)
    left_behind: str  # a pattern: tensors that we have no use for

    def shape(self, theirs: dict) -> ModelConfig:
        """Return our config for theirs.

        Raises: ValueError if it asks for something that our code does not have.
        """
        for field, needed in self.refused.items():
            got = theirs.get(field, needed)
            if got != needed:
                raise ValueError(
                    f"this {self.model_type} has {field} {got!r} and llmkit's knows "
                    f"{needed!r} only; choose a model without it"
                )
        values = {ours: theirs[names[0]] for ours, names in self.fields.items()}
        if str(values["activation"]) not in ACTIVATIONS:
            raise ValueError(
                f"this {self.model_type} has the activation {values['activation']!r}, "
                f"llmkit knows {', '.join(ACTIVATIONS)}; choose one that has such"
            )
        values["activation"] = ACTIVATIONS[values["activation"]]
        if values["d_ff"] in (None, 4 * values["d_model"]):
            values["d_ff"] = 0  # said by leaving it out
        return ModelConfig(**values | self.fixed)

    def config(self, ours: ModelConfig) -> dict:
        """Return the fields of their config for ours.

        Raises: ValueError if our shape is none that theirs can have.
        """
        if "n_segments" in self.fields and not ours.n_segments:
            raise ValueError(
                f"Hugging Face's {self.model_type} has at least 1 segment: got "
                "n_segments 0; keep this model with save_model"
            )
        fixed = self.fixed | dict(n_kv_heads=0)
        got = {field: getattr(ours, field) for field in fixed}
        if ours.kv_heads == ours.n_heads:
            got["n_kv_heads"] = 0
        for field, needed in fixed.items():
            if got[field] != needed:
                raise ValueError(
                    f"Hugging Face's {self.model_type} has {field} {needed!r}: got "
                    f"{got[field]!r}; keep this model with save_model"
                )
        values = {field: getattr(ours, field) for field in self.fields}
        back = {mine: theirs for theirs, mine in ACTIVATIONS.items()}
        values["activation"] = back[ours.activation]
        values["d_ff"] = ours.d_inner
        pairs = ((values[field], names) for field, names in self.fields.items())
        return {name: value for value, names in pairs for name in names}

    def names(self, ours: str) -> list[str]:
        """Return what they call a tensor of ours, in as many parts as they keep it.

        >>> GPT2.names("blocks.3.up.bias"), BERT.names("embedding.weight")
        (['h.3.mlp.c_fc.bias'], ['embeddings.word_embeddings.weight'])
        """
        module, _, last = ours.rpartition(".")
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", module)
        where = f"{self.blocks}{block[1]}." if block else ""
        theirs = self.modules[block[2] if block else module]
        return [f"{where}{name}.{last}" for name in theirs]

    def is_transposed(self, ours: str) -> bool:
        """Tell whether they keep this tensor of ours the other way round."""
        matrix = ours.startswith("blocks.") and ours.endswith(".weight")
        return self.transposed and matrix and ".norm" not in ours


BERT = Family(
    model_type="bert",
    fields={
        "vocab_size": ("vocab_size",),
        "context": ("max_position_embeddings",),
        "n_layers": ("num_hidden_layers",),
        "n_heads": ("num_attention_heads",),
        "d_model": ("hidden_size",),
        "d_ff": ("intermediate_size",),
        "activation": ("hidden_act",),
        "norm_eps": ("layer_norm_eps",),
        "n_segments": ("type_vocab_size",),
        "dropout": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
        "tied": ("tie_word_embeddings",),
    },
    fixed=dict(
        positions="learned",
        bias=True,
        norm="layer",
        norm_place="post",
        embedding_norm=True,
        qk_norm=False,
        look_back=0,
        scale_embedding=False,
    ),
    refused={
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "quantization_config": None,
    },
    prefix="bert.",
    blocks="encoder.layer.",
    modules={
        "embedding": ("embeddings.word_embeddings",),
        "positions": ("embeddings.position_embeddings",),
        "segments": ("embeddings.token_type_embeddings",),
        "embedding_norm": ("embeddings.LayerNorm",),
        "attention.qkv": (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
        ),
        "attention.out": ("attention.output.dense",),
        "norm1": ("attention.output.LayerNorm",),
        "up": ("intermediate.dense",),
        "down": ("output.dense",),
        "norm2": ("output.LayerNorm",),
        "dense": ("cls.predictions.transform.dense",),
        "head_norm": ("cls.predictions.transform.LayerNorm",),
        "head": ("cls.predictions.decoder",),
    },
    transposed=False,
    left_behind=r"(pooler|classifier|qa_outputs|cls\.seq_relationship)\.|.*position_ids$",
)

GPT2 = Family(
    model_type="gpt2",
    fields={
        "vocab_size": ("vocab_size",),
        "context": ("n_positions",),
        "n_layers": ("n_layer",),
        "n_heads": ("n_head",),
        "d_model": ("n_embd",),
        "d_ff": ("n_inner",),
        "activation": ("activation_function",),
        "norm_eps": ("layer_norm_epsilon",),
        "dropout": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        "tied": ("tie_word_embeddings",),
    },
    fixed=dict(
        positions="learned",
        bias=True,
        norm="layer",
        norm_place="pre",
        embedding_norm=False,
        qk_norm=False,
        look_back=0,
        scale_embedding=False,
        n_segments=0,
    ),
    refused={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "quantization_config": None,
    },
    prefix="transformer.",
    blocks="h.",
    modules={
        "embedding": ("wte",),
        "positions": ("wpe",),
        "attention.qkv": ("attn.c_attn",),
        "attention.out": ("attn.c_proj",),
        "norm1": ("ln_1",),
        "up": ("mlp.c_fc",),
        "down": ("mlp.c_proj",),
        "norm2": ("ln_2",),
        "norm": ("ln_f",),
        "head": ("lm_head",),
    },
    transposed=True,
    left_behind=r"(score|classifier|qa_outputs|multiple_choice_head)\."
    r"|h\.\d+\.attn\.(masked_)?bias$",  # masks, saved long ago
)

FAMILIES = {Encoder: BERT, MaskedLM: BERT, Decoder: GPT2}
