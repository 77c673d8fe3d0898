"""The course's own little language, in plain tables, and a stream of its stories.

Whoever finds a key must open the door with it, and the friend from the beginning is
there at the end: what a model must remember over many words. How probable each story
is, exactly, `Language` knows.

Source: Lesson 06.
"""

import random
import re
from collections.abc import Iterator
from itertools import count, islice

from llmkit.stories.language import Entropy, Language, Parse

__all__ = ["STORIES", "Entropy", "Language", "Parse", "stories"]

# Five scenes, then the words for their slots.
SCENES = """
One {weather} {day} {hero} {met} {temper} {friend}.
Once {hero} and {temper} {friend} {hid} {place}.

There, {spot}, {hero.she} {found} {look} {tool}.
For {price} {hero.she} bought {look} {tool}.
From {owner} {hero.she} {won} {look} {tool}.

Oh no, {tool.trouble}!
Alas, {tool.trouble}!
Help, {tool.trouble}!
Then came {tool.trouble}.

But {hero} {tool.deed} with the {tool}.
Luckily {hero} {tool.deed} with the {tool}.
With the {tool} {hero.she} {manner} {tool.deed}.

The {friend} {cheer} and {gave} {hero.her} {taste} {food}.
So {hero} {gave} the {friend} {taste} {food}.
They {ate} {taste} {food}, and the {friend} {cheer}.
"""
WORDS = """
girl: Ada, Bea, Cleo, Dora, Elsa, Fay, Gigi, Hana, Ivy, Jill, Kira, Lola, Mia, Nora,
    Pia, Rosa, Sue, Tess, Uma, Zoe
boy: Abe, Bob, Carl, Dan, Emil, Felix, Gus, Hugo, Igor, Jack, Kofi, Leo, Max, Nils,
    Otto, Paul, Ravi, Sven, Toby, Walt
weather: rainy, sunny, foggy, windy, snowy, frosty, misty, stormy, quiet, chilly,
    cloudy, muddy, strange, lazy, dusty, warm, damp, hot, mild, bright, wild, gloomy,
    breezy, crisp
day: morning, evening, night, day, Monday, Friday, Sunday, spring, winter, summer
met: met, saw, hugged, tickled, chased, painted, taught, rescued, thanked, woke, drew,
    fed, followed, splashed, outran, admired
hid: lived, slept, hid, danced, sang, worked, argued, skated, sulked, camped, fished,
    knitted, giggled, waited, played chess, got lost
place: in a shoe, in a mill, on a barge, on a roof, in a clock, up a tree, in a teacup,
    under a bus, on a hill, by the sea, near a swamp, at an inn, in a tent,
    in a barrel, below a bank, on the moon
spot: in a sock, in a puddle, on a cake, at the zoo, up a chimney, in a piano,
    under a cow, on the bus, in a fridge, behind a barn, on a snowman, by the river,
    in a tuba, under a bed, at sea, in the soup
found: found, spied, spotted, grabbed, noticed, caught, dug up
won: won, stole, borrowed, got, begged, rented
gave: baked, gave, cooked, fried, bought, sold, brought, passed, threw, fetched, sent,
    lent, offered, showed, promised, fed
ate: ate, shared, cooked, ordered, juggled, burned, found, dropped, sliced, tried
temper: a shy, a bossy, a sleepy, a grumpy, a polite, a clumsy, a noisy, a dizzy,
    a proud, an idle, an itchy, a wobbly, a fluffy, a chatty, a brave, an angry,
    a jolly, a ticklish, a moody, a bald, a clever, a fussy, a gentle, a vain, a nosy,
    an eager, a wise, a silly, a calm, a rich, an odd, a bored
friend: badger, beetle, camel, donkey, emu, ferret, frog, goat, hamster, hedgehog,
    iguana, jackdaw, koala, lobster, llama, mole, newt, otter, owl, panda, parrot,
    penguin, pig, puffin, rabbit, robot, snail, toad, turtle, unicorn, wombat, yak
look: a rusty, a golden, an old, a magic, a tiny, a huge, a purple, a striped,
    a sticky, a silver, a humming, an ugly, a blue, an unseen, an orange, a spotted,
    a squeaky, a wooden, a glowing, an ancient, a royal, a lucky, a cheap, a green,
    a soft, a bent, a red, a heavy, a crooked, a shiny, a secret, a warm
taste: a hot, a sweet, a buttery, a crunchy, an enormous, a salty, a spicy, a burnt,
    a square, a fizzy, a lemon, a plum, an onion, a cheesy, a wonky, a sugary,
    an apple, a famous, a cold, a nutty, a soggy, a giant, a pink, a mint, a honey,
    a leek, a rice, a flat, a fresh, an egg, a fig, a tall
food: pie, cake, waffle, pudding, pancake, muffin, omelette, trifle, tart, pretzel,
    pizza, stew, dumpling, pickle, noodle, bagel, bun, jelly, roll, salad, soup,
    biscuit, sandwich, scone
manner: shyly, bravely, gladly, neatly, gently, kindly, loudly, boldly, coolly, wisely,
    deftly, warmly, madly, slowly, quickly, proudly
cheer: danced, giggled, clapped, sang, bowed, blushed, hiccupped, whistled, fainted,
    sneezed, twirled, wept, burped, saluted, yawned, grinned, hopped, cheered, smiled,
    snored, winked
owner: a pirate, an aunt, the moon, the mayor, a ghost, a baker, a judge, a wizard,
    the queen, an elf, a clown, a plumber, a whale, an ant, a witch, a spy
price: a button, nine acorns, a joke, a sock, two buns, a secret, gravel, a song,
    half a pizza, an old map, a hiccup, one sneeze, a tooth, a poem, ten peas, a wig
"""
TOOLS = """
key: a locked door, a bolted gate, an iron chest: opened it, unlocked it
lantern: a dark cave, a gloomy tunnel, a black cellar: lit it up, brightened it
rope: a deep pit, a steep cliff, an icy slope: escaped it, climbed it
raft: a wide river, a cold lake, an endless puddle: crossed it, sailed over it
feather: a stern ogre, a sad giant, an angry guard: tickled it, cheered it up
carrot: a hungry troll, a greedy goose, a rude pony: fed it, bribed it
flute: a hissing snake, a cross cobra, a furious swan: charmed it, soothed it
broom: a cobweb, a heap of dust, a drift of leaves: swept it away, brushed it off
spade: a hill of snow, a wall of sand, a mound of mud: dug through it, moved it
spoon: a jelly tower, a lake of custard, a wall of rice: ate it all, gobbled it up
comb: a shaggy bear, a hairy yeti, a tangled lion: groomed it, tidied it
hammer: a broken bridge, a wobbly stair, a loose mast: mended it, fixed it
balloon: a thorny hedge, a wide gorge, a hot desert: flew over it, floated past it
ladder: a high wall, a tall fence, a pile of pianos: got over it, scaled it
net: a swarm of bees, a cloud of moths, a flock of hats: caught it, trapped it
bell: a dozing walrus, a sleepy ghost, a snoring bull: woke it, startled it
bucket: a small fire, a burning bush, a volcano: put it out, cooled it
needle: a torn sail, a ripped tent, a split cloud: sewed it up, patched it
saw: a fallen oak, a thick log, a giant pencil: cut it up, halved it
teapot: a sulking vampire, a damp goblin, a lonely dragon: calmed it, warmed it
magnet: an army of forks, a rusty knight, a rain of nails: pulled it away, stopped it
sponge: a sea of ink, a flood of milk, a river of soup: mopped it up, soaked it up
fan: a thick fog, a ball of smoke, a smell of socks: blew it away, chased it off
cheese: a huge mouse, a sly rat, a band of weasels: lured it away, tamed it
"""


def _table(text: str) -> dict[str, list[list[str]]]:
    """Read rows such as "day: morning, night"; an indented line continues a row."""
    rows = re.sub(r"\n +", " ", text.strip()).splitlines()
    split = ([cell.split(", ") for cell in row.split(": ")] for row in rows)
    return {name[0]: cells for name, *cells in split}


def _course_language() -> Language:
    words = {slot: cells[0] for slot, cells in _table(WORDS).items()}
    girls, boys = words.pop("girl"), words.pop("boy")
    for girl, boy in [("she", "he"), ("her", "him")]:
        words[f"hero.{girl}"] = {g: [girl] for g in girls} | {b: [boy] for b in boys}
    for at, column in enumerate(["trouble", "deed"]):
        words[f"tool.{column}"] = {tool: row[at] for tool, row in _table(TOOLS).items()}
    words |= {"hero": girls + boys, "tool": list(_table(TOOLS))}
    return Language([s.splitlines() for s in SCENES.strip().split("\n\n")], words)


STORIES = _course_language()


def stories(n: int | None = None, seed: int = 0) -> Iterator[str]:
    """Tell n stories, or an endless stream of them: the same ones for the same seed.

    Raises ValueError if n is negative.

    >>> print(next(stories(seed=4)).replace(". ", ".\\n"), end="")
    One warm night Fay hugged a bossy robot.
    For an old map she bought an orange bucket.
    Oh no, a volcano! With the bucket she warmly cooled it.
    So Fay sold the robot a spicy tart.
    """
    if n is not None and n < 0:
        raise ValueError(f"n is {n}: expected a number of stories, or None for all")
    rng = random.Random(seed)
    return islice((STORIES.sample(rng) for _ in count()), n)
