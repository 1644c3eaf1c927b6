"""What a dataset makes of its columns."""

import polars as pl

from cpbench.data.dataset import Attribute


def test_items_without_a_value_have_none_and_a_value_counts_once() -> None:
    found = Attribute.from_lists(pl.Series([["b", "a", "b"], [], None, ["a"]]))
    assert found.names == ["a", "b"]
    assert found.values.tolist() == [1, 0, 0] and found.offsets.tolist() == [0, 2, 2, 2, 3]
    nothing = Attribute.from_lists(pl.Series([[], None], dtype=pl.List(pl.String)))
    assert nothing.names == [] and nothing.offsets.tolist() == [0, 0, 0]
