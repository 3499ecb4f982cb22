"""The deterministic split: stratified, and independent of the order rows come in."""

import numpy as np
import pytest

from jaxgen.data.split import split_by_hash
from jaxgen.errors import UserError


def test_stratified_disjoint_and_complete() -> None:
    labels = np.repeat([0, 1, 2], [10, 50, 3])
    train, test = split_by_hash([f"{row}.jpg" for row in range(63)], labels, 0.2)
    assert sorted([*train, *test]) == list(range(63))
    assert np.bincount(labels[test]).tolist() == [2, 10, 1]


def test_order_of_rows_has_no_influence() -> None:
    names, labels = [f"c{row % 4}/{row}.png" for row in range(40)], np.arange(40) % 4
    shuffled = np.random.default_rng(0).permutation(40)
    straight = split_by_hash(names, labels, 0.3)
    mixed = split_by_hash([names[row] for row in shuffled], labels[shuffled], 0.3)
    for left, right in zip(straight, mixed, strict=True):
        assert [names[row] for row in left] == [names[shuffled[row]] for row in right]


def test_an_added_row_moves_at_most_one_other() -> None:
    names = [f"{row}" for row in range(100)]
    before, after = (set(split_by_hash(names[:n], np.zeros(n, int), 0.2)[1]) for n in (99, 100))
    assert len(before - after) <= 1


def test_rows_are_mixed_not_sorted_by_class() -> None:
    labels = np.repeat([0, 1], 50)
    _, test = split_by_hash([str(row) for row in range(100)], labels, 0.5)
    assert 0 < labels[test][:20].sum() < 20


def test_small_classes_train_at_least_on_one_and_test_on_one() -> None:
    labels = np.array([0, 1, 1, 2, 2])
    train, test = split_by_hash(list("abcde"), labels, 0.9)
    assert sorted(labels[train]) == [0, 1, 2]
    assert sorted(labels[test]) == [1, 2]
    assert len(split_by_hash(list("abcde"), labels, 0.01)[1]) == 2


def test_nothing_to_test_on_is_refused() -> None:
    with pytest.raises(UserError, match="no class has two images"):
        split_by_hash(["a", "b"], np.array([0, 1]), 0.5)
