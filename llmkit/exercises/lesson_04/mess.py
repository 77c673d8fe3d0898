"""A mess to clean: sound documents, and faults that were planted among them."""

import random
from collections.abc import Sequence

GERMAN = (
    ("Der Hund", "Die Katze", "Unser Nachbar", "Das Kind", "Die alte Lehrerin"),
    ("sucht", "vergisst", "bemalt", "verkauft", "bewundert"),
    ("seit gestern", "jeden Morgen", "ganz leise", "ohne Grund", "im Regen"),
    ("den roten Ball", "eine Leiter", "das Fahrrad", "den Kuchen", "ein Klavier"),
)
CHINESE = (
    ("小猫", "小狗", "邻居", "老师", "孩子"),
    ("昨天", "每天早上", "悄悄地", "在雨中", "又一次"),
    ("找到了", "忘记了", "画了", "卖掉了", "打翻了"),
    ("红色的球", "一把梯子", "那辆自行车", "蛋糕", "一架钢琴"),
)
ACCENTS = (
    ("The café", "A naïve señor", "My fiancée", "The façade", "Zoë"),
    ("served", "painted", "forgot", "reviewed", "sold"),
    ("crème brûlée", "a jalapeño", "the résumé", "an old cliché", "a piñata"),
    ("in Köln", "in Málaga", "near Århus", "in São Paulo", "at a soirée"),
)
MENU, FOOT = "Home | News | Contact", "© 2021 Mat & Cat Ltd. All rights reserved."
SIGNATURE = "Sent from my toaster, which also browns"  # no rule has heard of it


def mess(
    documents: Sequence[str], seed: int = 0, share: float = 0.04
) -> tuple[list[str], list[str]]:
    """Plant faults among documents: return the texts, and the fault of each.

    Of each kind of fault there are `share` times as many as there are documents, and a
    sound document's fault is "". Some faults spoil a document of yours, others come in
    addition. All are shuffled.

    >>> texts, faults = mess(["A dog barked at the cat of the house."] * 50, seed=1)
    >>> sorted(set(faults))[:4]
    ['', 'Chinese', 'German', 'a table']
    """
    draw = random.Random(seed)
    many = max(round(share * len(documents)), 2)
    order = draw.sample(list(documents), len(documents))
    sound = order[3 * many :]
    long = [text for text in sound if len(text.split()) >= 30] or sound
    spoil = {
        "wrong encoding": lambda text: (
            _by_lot(ACCENTS, draw, " ").encode().decode("latin-1") + text
        ),
        "furniture": lambda text: f"{MENU}\n{text.rstrip()}\n{FOOT}\n\n",
        "signature": lambda text: f"{text.rstrip()}\n{SIGNATURE}\n\n",
    }
    add = {
        "German": lambda: _by_lot(GERMAN, draw, " ", sentences=6),
        "Chinese": lambda: _by_lot(CHINESE, draw, "", sentences=6),
        "a table": lambda: _table(draw),
        "advertising": lambda: f"Buy {draw.randint(3, 99)} mats, pay for two!\n" * 12,
        "copy": lambda: draw.choice(sound),
        "near copy": lambda: _changed(draw.choice(long), draw),
    }
    dirty = []
    for number, (fault, change) in enumerate(spoil.items()):
        some = order[number * many : (number + 1) * many]
        dirty += [(change(text), fault) for text in some]
    dirty += [(text, "") for text in order[len(spoil) * many :]]
    dirty += [(make(), fault) for fault, make in add.items() for _ in range(many)]
    draw.shuffle(dirty)
    return [text for text, _ in dirty], [fault for _, fault in dirty]


def _by_lot(parts, draw: random.Random, space: str, sentences: int = 2) -> str:
    stop = "。" if not space else ". "
    drawn = (space.join(map(draw.choice, parts)) for _ in range(sentences))
    return "".join(sentence + stop for sentence in drawn).rstrip() + "\n\n"


def _table(draw: random.Random) -> str:
    rows = (
        " | ".join(f"{draw.randint(0, 9999):>5}" for _ in range(6)) for _ in range(8)
    )
    return "\n".join(rows) + "\n\n"


def _changed(text: str, draw: random.Random) -> str:
    """Put another word in the place of one in fifty, but at least of one."""
    words = text.split(" ")
    for _ in range(max(len(words) // 50, 1)):
        words[draw.randrange(len(words))] = draw.choice(("mat", "cat", "tired"))
    return " ".join(words)
