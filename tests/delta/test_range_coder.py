"""Whatever is coded comes out again, from exactly the bytes that were written, by models of 702 bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.delta.models import MAX_NUMBER, Kind, Models, Tree, folded, unfolded
from otaseal.delta.range_coder import Decoder, Encoder

NUMBERS = ("place", "shift", "copied", "same", "added", "seek")
numbers = st.tuples(st.sampled_from(NUMBERS), st.integers(0, 300) | st.integers(0, MAX_NUMBER))
symbols = st.tuples(st.sampled_from(("byte", "difference")), st.integers(0, 255))
bits = st.tuples(st.tuples(st.sampled_from(Kind), st.integers(0, 1)), st.integers(0, 1))


def tree(models: Models, name: str | tuple[Kind, int]) -> Tree:
    return getattr(models, name) if isinstance(name, str) else models.held[name]


@settings(max_examples=200)
@given(st.lists(numbers | symbols | bits, max_size=200))
def test_what_is_coded_comes_out_of_exactly_its_bytes(parts: list[tuple[str | tuple[Kind, int], int]]) -> None:
    models, coder = Models(), Encoder()
    for name, value in parts:
        (coder.number if name in NUMBERS else coder.symbol)(tree(models, name), value)
    coded = iter(coder.finish())
    models, decoder = Models(), Decoder(lambda: next(coded))
    for name, value in parts:
        assert (decoder.number if name in NUMBERS else decoder.symbol)(tree(models, name)) == value
    assert decoder.is_at_end
    assert next(coded, None) is None


@pytest.mark.parametrize("bit", [0, 1])
@pytest.mark.parametrize("rate", [3, 4])
def test_no_bit_becomes_certain(rate: int, bit: int) -> None:
    learned, coder = Tree(1, rate), Encoder()
    for _ in range(1000):
        coder.symbol(learned, bit)
    assert learned.chances[1] == {(3, 0): 249, (3, 1): 7, (4, 0): 241, (4, 1): 15}[rate, bit]


@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_a_carry_goes_through_all_that_is_written(byte: int) -> None:
    """Long runs of 0xFF come out of bits that are 1 almost for certain, and the last ones carry into them."""
    values = [byte] * 4000 + [byte ^ 0xFF] * 40 + [byte] * 4000
    models, coder = Models(), Encoder()
    for value in values:
        coder.symbol(models.byte, value)
    coded = iter(coder.finish())
    models, decoder = Models(), Decoder(lambda: next(coded))
    assert [decoder.symbol(models.byte) for _ in values] == values


@pytest.mark.parametrize("number", [-1, MAX_NUMBER + 1])
def test_a_number_that_has_no_code_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=str(number)):
        Encoder().number(Models().seek, number)


def test_the_models_fit_in_the_memory_of_a_chip() -> None:
    models = vars(Models())
    trees = [*models.pop("held").values(), *models.values()]
    assert sum(len(tree.chances) - 1 for tree in trees) == 702


@given(st.integers(-(2**31), 2**31))
def test_signed_numbers_fold(number: int) -> None:
    assert folded(number) >= 0
    assert unfolded(folded(number)) == number
