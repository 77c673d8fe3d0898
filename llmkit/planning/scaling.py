"""The loss to expect of so many parameters and tokens, by two fits. Lesson 08."""

from dataclasses import dataclass

# L(N, D) = E + A / N^α + B / D^β: Hoffmann et al. 2022, approach 3; and the same data
# fitted again by Besiroglu et al. 2024, whose fit agrees with the paper's other two.
HOFFMANN = dict(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
BESIROGLU = dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
# What the fits were made on: models and tokens, from the least to the most.
MODELS, TOKENS = (70e6, 16e9), (5e9, 500e9)


@dataclass(frozen=True)
class Loss:
    """The loss by both fits, in nats a token of their tokenizer and their texts."""

    hoffmann: float
    besiroglu: float
    optimal_tokens: float  # for this model, if compute is what is short
    caveat: str

    def __str__(self) -> str:
        low, high = sorted((self.hoffmann, self.besiroglu))
        return f"{low:.2f} to {high:.2f} nats a token"


def law(N: float, D: float, E, A, B, alpha, beta) -> float:
    """Return L(N, D) = E + A / N^α + B / D^β.

    N: parameters; D: tokens. Source: Hoffmann et al. 2022, equation 2; Lesson 08.

    >>> round(law(70e9, 1.4e12, **HOFFMANN), 3)  # Chinchilla
    1.937
    """
    return E + A / N**alpha + B / D**beta


def optimal_tokens(N: float) -> float:
    """Return how many tokens suit N parameters, where compute is what is short.

    More tokens and more parameters then lower the loss alike: αA / N^α = βB / D^β. By
    Besiroglu's fit that is 20 to 25 tokens a parameter.

    >>> f"{optimal_tokens(124e6):.1e}"
    '3.1e+09'
    """
    A, B, a, b = (BESIROGLU[key] for key in ("A", "B", "alpha", "beta"))
    return (b * B * N**a / (a * A)) ** (1 / b)


def best_for(flops: float) -> tuple[float, float]:
    """Return the parameters and tokens of the lowest loss for so much compute.

    At 6 FLOPs a parameter and token, and as many tokens as suit the parameters.

    >>> N, D = best_for(5.76e23)  # what Chinchilla's training took
    >>> f"{N:.0e}", f"{D:.0e}"
    ('7e+10', '1e+12')
    """
    a, b = BESIROGLU["alpha"], BESIROGLU["beta"]
    # Tokens are c N^(a/b), and so the compute 6 c N^(1 + a/b).
    N = (flops / (6 * optimal_tokens(1))) ** (1 / (1 + a / b))
    return N, optimal_tokens(N)


def expected_loss(parameters: int, tokens: float, scratch: bool = True) -> Loss | None:
    """Return the loss that a GPT of so many parameters should come to.

    None where the law says nothing: over ten times smaller than all it was fitted to.

    scratch: it is certain that training begins from scratch, as the law has it.

    >>> print(expected_loss(124_439_808, 10_000_000_000))
    3.01 to 3.06 nats a token
    """
    if parameters < MODELS[0] / 10 or tokens < TOKENS[0] / 10:
        return None
    caveat = (
        "by a fit to MassiveText in its own tokenizer's tokens: the difference between "
        "two plans carries over to other texts, the figure itself does not"
    )
    if not MODELS[0] <= parameters <= MODELS[1] or not TOKENS[0] <= tokens <= TOKENS[1]:
        caveat += (
            "; it was made on 70 million to 16 billion parameters and 5 to 500 billion "
            "tokens, and this lies outside"
        )
    if not scratch:
        caveat = f"what training from scratch comes to, {caveat}"
    both = (law(parameters, tokens, **fit) for fit in (HOFFMANN, BESIROGLU))
    return Loss(*both, optimal_tokens(parameters), caveat)
