"""Exercise 01.4: predict where each row looks. Its vectors stand in the lesson."""

from llmkit.exercises import Exactly, Exercise, Wrong

ASKED = ["on", "the", "mat", "it"]  # tokens 4, 5, 6 and 8 of the sentence
LOOKS_AT = ["sat", "cat", "mat", "cat"]

WHERE_ROWS_LOOK = Exercise(
    id="01.4",
    kind="predict",
    title="where each row looks",
    minutes=8,
    difficulty=2,
    checker=Exactly(LOOKS_AT),
    hints=(
        "Take one query, and its dot product with each key that stands at or before "
        "it. √K and softmax change how much, never which is largest.",
        "`on` seeks (0, 2) and would love `mat`, but `mat` is still to come. `it` "
        "seeks (2, 0): work out 2 × 3 for `cat` and 2 × 2 for `it` itself.",
    ),
    solution=LOOKS_AT,
    why="The largest q·k among the visible keys wins the row: nearness in the "
    "sentence counts for nothing, and a long key shouts.",
    wrong=(
        Wrong(
            ["mat", "mat", "mat", "cat"],
            "It looks like you let them see ahead: for `on` and `the` the mask hides "
            "`mat`, which comes later.",
        ),
        Wrong(
            ASKED,
            "It looks like you let each token look at itself: it may, but its query "
            "need not fit its own key. What a token seeks is not what it offers.",
        ),
        Wrong(
            ["sat", "sat", "sat", "it"],
            "It looks like you took the key nearest to the query: a dot product is no "
            "distance. It grows with the key's length, so a long key beats a near one.",
        ),
        Wrong(
            ["sat", "on", "the", "because"],
            "It looks like you took the token just before: attention does not know "
            "what stands beside what, until lesson 02 tells it.",
        ),
        Wrong(
            ["the", "mat", "because", "was"],
            "It looks like you took the token that comes next: that one is hidden. "
            "A row says where a token looks, not what it predicts.",
        ),
        Wrong(
            ["cat", "cat", "mat", "mat"],
            "It looks like you took the longest visible key: length helps, but only "
            "as far as the key points the way of the query.",
        ),
    ),
)
