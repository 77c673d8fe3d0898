"""Who holds what at each moment of a step: laws that every strategy must keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.planning import STRATEGIES, holdings, memory, moment_names
from llmkit.planning.moments import GONE, KEPT, OLD, PARTIAL, VISITING

SHARED = [name for name in STRATEGIES if name != "single"]
strategies, ranks = st.sampled_from(SHARED), st.integers(1, 5)
AT = {name: i for i, name in enumerate(moment_names())}


def codes(grid) -> list[tuple[bool, int]]:
    """Flatten a grid: whether a piece is the rank's own, and what it has of it."""
    return [
        (rank == piece, code)
        for rank, blocks in enumerate(grid)
        for block in blocks
        for piece, code in enumerate(block)
    ]


@given(strategies, ranks)
def test_a_step_ends_as_it_began(strategy, ranks):
    first, last = (holdings(strategy, ranks, i) for i in (0, len(AT) - 1))
    assert first.held == last.held


@given(strategies, ranks, st.sampled_from(sorted(AT.values())))
def test_every_weight_and_average_is_somewhere_always(strategy, ranks, moment):
    held = holdings(strategy, ranks, moment).held
    for kind in ("weights", "averages"):
        assert all(code == KEPT for mine, code in codes(held[kind]) if mine)


@given(strategies, ranks)
def test_a_block_is_whole_on_every_rank_while_it_computes(strategy, ranks):
    for block in range(3):
        for way in ("forward", "backward"):
            held = holdings(strategy, ranks, AT[f"{way} {block + 1}"]).held
            for rank in range(ranks):
                assert GONE not in held["weights"][rank][block]
    for rank in range(ranks):
        there = holdings(strategy, ranks, AT["backward 2"]).held["gradients"][rank][1]
        assert set(there) == {PARTIAL}


@given(strategies, ranks)
def test_whoever_updates_a_piece_has_its_averaged_gradient(strategy, ranks):
    held = holdings(strategy, ranks, AT["update"]).held
    for rank in range(ranks):
        for block in range(3):
            for piece in range(ranks):
                if held["averages"][rank][block][piece] == KEPT:
                    assert held["gradients"][rank][block][piece] == KEPT
                    assert held["weights"][rank][block][piece] == KEPT
                elif held["weights"][rank][block][piece] != GONE:
                    assert held["weights"][rank][block][piece] == OLD


@pytest.mark.parametrize("strategy", SHARED)
def test_what_is_held_is_what_a_plan_counts(strategy, gpt2):
    counted = memory(gpt2, strategy, rows=1, devices=4)
    state = counted.parameters + counted.gradients + 8 * counted.optimizer / 12
    if not STRATEGIES[strategy].deepspeed:  # which keeps a float32 master beside
        state = counted.parameters + counted.gradients + counted.optimizer
    update = holdings(strategy, 4, AT["update"]).bytes_each(0)
    assert update * gpt2.parameters == pytest.approx(state)


def test_what_visits_goes_again():
    held = [holdings("fsdp2", 2, i).held["weights"] for i in AT.values()]
    seen = [sum(code == VISITING for _, code in codes(grid)) for grid in held]
    assert seen == [0, 2, 2, 2, 2, 2, 2, 0, 0, 0]


def test_each_strategy_says_what_is_sent():
    def words(strategy):
        told = (holdings(strategy, 2, i).words for i in AT.values())
        return " ".join(told)

    assert "all-reduce" in words("ddp") and "gather" not in words("ddp")
    assert "reduce-scatter" in words("zero1") and "all-gather" in words("zero1")
    assert words("zero2") != words("zero1")
    assert words("fsdp2") == words("zero3")
    assert words("fsdp2").count("gather its weights") == 6


def test_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="'single' among ranks; choose one of ddp, z"):
        holdings("single", 2, 0)
    for ranks, moment in ((0, 0), (2, 10), (2, -1)):
        with pytest.raises(ValueError, match=f"got ranks {ranks} and moment {moment}"):
            holdings("ddp", ranks, moment)


@pytest.fixture(scope="module")
def gpt2():
    from llmkit.planning import named_config, size_of

    return size_of(named_config("gpt2-124m"))
