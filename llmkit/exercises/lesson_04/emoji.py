"""Exercise 04.2: predict how many tokens a sentence of emoji has."""

from llmkit.exercises import Exercise, Near, Wrong

# a cat, a red heart (a heart and a sign that says "in colour"), a fish, a thumb (and a
# sign for the colour of its skin)
SENTENCE = "\N{CAT FACE}\N{HEAVY BLACK HEART}\ufe0f\N{FISH}"
SENTENCE += "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}"
TOKENS = len(SENTENCE.encode())

EMOJI = Exercise(
    id="04.2",
    kind="predict",
    title="a sentence of emoji",
    minutes=5,
    difficulty=2,
    checker=Near(TOKENS, within=0.001),
    hints=(
        "The tokenizer has hardly seen an emoji, so there is no merge for it. What is "
        "left when nothing is merged?",
        "Bytes. `SENTENCE.encode()` writes most emoji as four of them. And there is "
        "more in it than you see: `len(SENTENCE)` counts the characters of Unicode, "
        "`ascii(SENTENCE)` spells them.",
    ),
    solution=TOKENS,
    why="Cat and fish take four bytes each. The heart takes three, and three more for "
    "an invisible sign that asks for a red one. The thumb takes four, and four for the "
    "colour of its skin. No merge was learnt for any of them, so each byte is a token.",
    wrong=(
        Wrong(
            4,
            "It looks like you counted what you see: a token is a run of bytes that "
            "training found common, and it found no emoji.",
        ),
        Wrong(
            6,
            "It looks like you counted characters, as `len` does: each of them is "
            "several bytes long.",
        ),
        Wrong(
            16,
            "It looks like you took four bytes for each picture: the red heart and the "
            "thumb consist of two characters each.",
        ),
        Wrong(
            24,
            "It looks like you took four bytes for each of six characters: the heart "
            "and the sign after it are older, and have three.",
        ),
        Wrong(
            1,
            "It looks like you expect one token for what is unknown: some tokenizers"
            " do so, and lose the text. By bytes, nothing is unknown.",
            like=lambda n: n in (0, 1),
        ),
        Wrong(
            10,
            "It looks like you counted in units of UTF-16, as JavaScript does: here "
            "text is UTF-8.",
        ),
        Wrong(
            8,
            "It looks like you expect two tokens for each picture: only a merge makes "
            "one token of several bytes, and there was nothing to merge.",
        ),
    ),
)
