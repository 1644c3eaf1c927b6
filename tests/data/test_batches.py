import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpbench.data.batches import TrainingPrefixes, TrainingSequences
from cpbench.data.protocol import Protocol, split
from tests.random_data import dataset


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40), length=st.integers(1, 9),
       batch_size=st.integers(1, 7))
def test_an_epoch_holds_every_trainable_user_once(lengths: list[int], length: int, batch_size: int) -> None:
    data = dataset([*lengths, 4], n_items=9)
    made = split(data, Protocol())
    sequences = TrainingSequences(made, length, batch_size)
    expected = []
    for user in range(data.n_users):
        train = data.items[data.offsets[user]:made.train_end[user]][-(length + 1):]
        if len(train) >= 2:
            expected.append(tuple(train))
    found = []
    batches = list(sequences.epoch(np.random.default_rng(1)))
    for batch in batches:
        assert len(batch.items) <= batch_size
        assert batch.items.shape[1] == batch.lengths.max()
        for row, n in zip(batch.items, batch.lengths, strict=True):
            found.append(tuple(row[:n].tolist()))
            assert (row[n:] == 0).all()
    assert sorted(found) == sorted(tuple(int(item) for item in row) for row in expected)
    assert sum(len(row) - 1 for row in expected) == sequences.n_targets
    assert len(batches) == len(sequences)


def test_times_stay_sorted_through_the_padding() -> None:
    made = split(dataset([5, 9, 3, 12]), Protocol())
    for batch in TrainingSequences(made, 20, 4).epoch(np.random.default_rng(0)):
        assert (batch.times.diff(dim=1) >= 0).all()


def test_the_order_follows_the_generator() -> None:
    made = split(dataset([6] * 50), Protocol())
    sequences = TrainingSequences(made, 20, 8)

    def order(seed: int) -> torch.Tensor:
        return torch.cat([batch.times[:, 0] * 1000 + batch.items[:, 0] for batch in
                          sequences.epoch(np.random.default_rng(seed))])

    assert torch.equal(order(1), order(1))
    assert not torch.equal(order(1), order(2))


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40), batch_size=st.integers(1, 7),
       groups=st.integers(1, 5))
def test_with_length_groups_a_step_holds_sequences_as_drawn_in_batches_by_length(lengths: list[int], batch_size: int,
                                                                                 groups: int) -> None:
    made = split(dataset([*lengths, 4], n_items=9), Protocol())
    sequences = TrainingSequences(made, 20, batch_size, length_groups=groups)
    steps = list(sequences.steps(np.random.default_rng(1)))
    assert len(steps) == len(sequences)
    assert [sum(len(batch.items) for batch in step) for step in steps[:-1]] == [batch_size] * (len(steps) - 1)
    for step in steps:
        assert 1 <= len(step) <= groups and all(len(batch.items) for batch in step)
        found = torch.cat([batch.lengths for batch in step])
        assert torch.equal(found, found.sort().values)
    found = torch.cat([batch.lengths for step in steps for batch in step])
    assert sorted(found.tolist()) == sorted(sequences.lengths.tolist())


def test_steps_of_similar_length_or_as_drawn() -> None:
    """What `length_groups` is for: without, a step of short sequences and one of long ones take turns."""
    made = split(dataset([5] * 200 + [45] * 40, n_items=300), Protocol())

    def spread(groups: int) -> float:
        steps = TrainingSequences(made, 50, 8, length_groups=groups).steps(np.random.default_rng(1))
        return float(np.std([sum(int(batch.lengths.sum()) for batch in step) for step in steps]))

    assert spread(4) < spread(0) / 2


def test_random_windows_reach_every_interaction_and_only_training_ones() -> None:
    data = dataset([30, 5, 12], n_items=1000)
    made = split(data, Protocol())
    sequences = TrainingSequences(made, 6, 4, random_windows=True)
    generator = np.random.default_rng(0)
    reached: set[int] = set()
    whole = [data.items[data.offsets[user]:made.train_end[user]].tolist() for user in range(3)]
    for _ in range(200):
        for batch in sequences.epoch(generator):
            for row, n in zip(batch.items, batch.lengths, strict=True):
                window = row[:n].tolist()
                assert len(window) == 7 or window == whole[1]
                assert any(window == items[at:at + n] for items in whole for at in range(len(items)))
                reached.update(window)
    assert reached == {item for items in whole for item in items}


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40), length=st.integers(1, 9),
       batch_size=st.integers(1, 7))
def test_prefixes_hold_every_target_once_after_what_came_before_it(lengths: list[int], length: int,
                                                                    batch_size: int) -> None:
    data = dataset([*lengths, 4], n_items=9)
    made = split(data, Protocol())
    sequences = TrainingPrefixes(made, length, batch_size)
    expected = []
    for user in range(data.n_users):
        train = data.items[data.offsets[user]:made.train_end[user]].tolist()
        expected += [tuple(train[max(at - length, 0):at + 1]) for at in range(1, len(train))]
    batches = list(sequences.epoch(np.random.default_rng(1)))
    found = [tuple(row[:n].tolist()) for batch in batches for row, n in zip(batch.items, batch.lengths, strict=True)]
    assert sorted(found) == sorted(expected)
    assert len(expected) == sequences.n_targets and len(batches) == len(sequences)
    for batch in batches:
        inputs = batch.inputs()
        assert torch.equal(inputs.asking().nonzero()[:, 1], batch.lengths - 2)
