"""Exercise 03.4: predict the number of parameters of GPT-2 small."""

from llmkit.exercises import Exercise, Near, Wrong

V, T, L, D = 50_257, 1024, 12, 768  # words, context, layers, width

TABLES = (V + T) * D  # a vector for each token, and for each position
SQUARES = 12 * L * D**2  # four D × D in attention, two D × 4D in the MLP, L times


def gpt2_small() -> int:
    """Count all parameters of GPT-2 small, to the last bias.

    >>> import torch
    >>> from llmkit.transformer import Decoder, ModelConfig
    >>> with torch.device("meta"):  # shapes without numbers
    ...     model = Decoder(ModelConfig.preset("gpt2"))
    >>> sum(weight.numel() for weight in model.parameters()) == gpt2_small()
    True
    """
    biases = (3 + 1 + 4 + 1) * D  # queries, keys, values; output; up; down
    norms = 2 * 2 * D  # two norms, each with a weight and a bias
    last_norm = 2 * D
    return TABLES + SQUARES + L * (biases + norms) + last_norm


SIZE = Exercise(
    id="03.4",
    kind="predict",
    title="the parameters of GPT-2 small",
    minutes=6,
    difficulty=2,
    checker=Near(gpt2_small(), within=0.02),
    hints=(
        "Leave out biases and norms, they hardly count. What is left is two tables, "
        "(V, D) and (context, D), and in each of 12 layers attention and MLP: how many "
        "D × D does each of the two hold?",
        "Attention has 4 D² (queries, keys, values, output), the MLP 4 D² up and 4 D² "
        "down: 12 layers of 12 D², with D² ≈ 590,000. Add V · D ≈ 38.6 million and "
        "0.8 million for the positions. The tied head adds nothing.",
    ),
    solution=gpt2_small(),
    why="12 · 12 · 768² is 84.9 million, the tables are 39.4 million, and all biases "
    "and norms together 0.1 million: a thousandth of the whole.",
    wrong=(
        Wrong(
            SQUARES,
            "It looks like you forgot the embedding: a row of 768 numbers for each of "
            "50,257 tokens is nearly a third of this model.",
        ),
        Wrong(
            SQUARES + TABLES + V * D,
            "It looks like you counted the head by itself: it is tied, so it is the "
            "embedding's table once more, and adds nothing.",
        ),
        Wrong(
            4 * L * D**2 + TABLES,
            "It looks like you forgot the MLP: it holds two thirds of each block, "
            "8 · D².",
        ),
        Wrong(
            8 * L * D**2 + TABLES,
            "It looks like a block of yours has 8 · D² in place of 12 · D²: did you "
            "forget attention's four matrices, or one of the two of the MLP?",
        ),
        Wrong(
            11 * L * D**2 + TABLES,
            "It looks like you counted three matrices in attention: beside queries, "
            "keys and values there is a fourth, which lets the heads meet.",
        ),
        Wrong(
            6 * L * D**2 + TABLES,
            "It looks like you counted D² for each matrix of the MLP: it widens to 4 D "
            "and narrows again, so each of the two has 4 · D².",
        ),
        Wrong(
            117e6,
            "117 million is the number that is often quoted for this model. Count it: "
            "four matrices in attention, two in the MLP, two tables.",
            like=lambda n: n in (117, 117e6),
        ),
        Wrong(
            124.0,
            "It looks like you count in millions: give the whole number, such as 7e6.",
            like=lambda n: 120 < n < 128,
        ),
    ),
)
