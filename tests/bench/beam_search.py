"""Constrained beam search against a Python prefix function over the same model: ratios of one run, lists compared.

`python tests/bench/beam_search.py [--users 16] [--beam 50] [--repeats 3]`

- ours: flat trie, all beams of a user over one memory, cached decoder keys and values
- prefix function, cached: what a generate loop with a prefix function does: users x beams rows, each with the memory of
  its user; keys and values cached; at every step a Python call a row says which codes may follow
- prefix function, anew: the same without caches: every step decodes the whole prefix again
- prefix function, a row at a time: the textbook's loop over users and beams, without caches (the first two users only)
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from cpbench.baselines.tiger.beam import beam_search
from cpbench.baselines.tiger.tokeniser import shared_out, tell_apart
from cpbench.baselines.tiger.transformer import Memory, Size, Transformer
from cpbench.baselines.tiger.trie import Trie
from torch import Tensor

N_ITEMS, CODES, LENGTH = 12_101, 256, 20  # Amazon Beauty; full histories
FEW = 2  # users of the slowest way
SIZES = {"tuned": Size(128, 4, 32, 512, 2, 0.0), "paper": Size(128, 6, 64, 1024, 4, 0.0)}


def prefixes(codes: Tensor) -> dict[tuple[int, ...], list[int]]:
    following: dict[tuple[int, ...], set[int]] = {}
    for row in codes.tolist():
        for place, code in enumerate(row):
            following.setdefault(tuple(row[:place]), set()).add(code)
    return {prefix: sorted(found) for prefix, found in following.items()}


def with_prefix_function(network: Transformer, codes: Tensor, memory: Memory, beam: int,
                         following: dict[tuple[int, ...], list[int]], cached: bool) -> Tensor:
    """The codes of the lists, int64 [B, beam, T]."""
    users, depth = len(memory.bias), codes.shape[1]
    # as a generate loop has it: a row a beam, all starting equal and all but one of them switched off
    repeated = Memory([(key.repeat_interleave(beam, 0), value.repeat_interleave(beam, 0))
                       for key, value in memory.keys_values], memory.bias.repeat_interleave(beam, 0))
    scores = torch.full((users, beam), -torch.inf)
    scores[:, 0] = 0
    written = torch.zeros(users * beam, 0, dtype=torch.int64)
    cache = None
    for place in range(depth):
        tokens = network.tokens(written)
        if cached:
            states, cache = network.decode(None if place == 0 else tokens[:, None, -1:], repeated, cache)
        else:
            states, _ = network.decode(tokens[:, None], repeated)
        gained = torch.log_softmax(network.logits(states[:, 0, -1], place), -1)
        mask = torch.full_like(gained, -torch.inf)
        for row, prefix in enumerate(written.tolist()):
            mask[row, following[tuple(prefix)]] = 0
        reached = (scores.view(-1, 1) + gained + mask).view(users, -1)
        scores, chosen = reached.topk(beam, 1)
        size = gained.shape[1]
        parent = (chosen // size + torch.arange(users)[:, None] * beam).view(-1)
        written = torch.cat([written[parent], (chosen % size).view(-1, 1)], 1)
        assert torch.isfinite(scores).all()  # there are more first codes than beams: none is ever switched off
        if cache is not None:
            cache = [(key[parent], value[parent]) for key, value in cache]
    return written.view(users, beam, depth)


def a_row_at_a_time(network: Transformer, codes: Tensor, memory: Memory, beam: int,
                    following: dict[tuple[int, ...], list[int]]) -> Tensor:
    lists = []
    for user in range(len(memory.bias)):
        own = memory.rows(slice(user, user + 1))
        beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for place in range(codes.shape[1]):
            grown = []
            for score, prefix in beams:
                tokens = network.tokens(torch.tensor([[list(prefix)]], dtype=torch.int64))
                states, _ = network.decode(tokens, own)
                gained = torch.log_softmax(network.logits(states[0, 0, -1], place), -1).tolist()
                grown += [(score + gained[code], (*prefix, code)) for code in following[prefix]]
            beams = sorted(grown, reverse=True)[:beam]
        lists.append([prefix for _, prefix in beams])
    return torch.tensor(lists)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--beam", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    # as uneven as real codes: squared uniform numbers
    drawn = ((torch.rand(N_ITEMS, 3) ** 2) * CODES).long().numpy()
    for name, size in SIZES.items():
        told_apart = tell_apart(drawn) if name == "paper" else shared_out(drawn, torch.rand(N_ITEMS, CODES).numpy())
        codes = torch.from_numpy(told_apart)
        network = Transformer(size)
        network.set_vocabulary((codes.max(0).values + 1).tolist())
        network.eval()
        compare(name, network, codes, options)


@torch.inference_mode()
def compare(name: str, network: Transformer, codes: Tensor, options: argparse.Namespace) -> None:
    trie, following, beam = Trie(codes), prefixes(codes), options.beam
    histories = codes[torch.randint(N_ITEMS, (options.users, LENGTH))]
    memory = network.encode(network.tokens(histories).flatten(1), torch.full((options.users,), LENGTH * codes.shape[1]))
    work: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: codes[beam_search(network, trie, memory, beam)[0]],
        "prefix function, cached": lambda: with_prefix_function(network, codes, memory, beam, following, True),
        "prefix function, anew": lambda: with_prefix_function(network, codes, memory, beam, following, False),
        "prefix function, a row at a time": lambda: a_row_at_a_time(network, codes, memory.rows(slice(FEW)), beam,
                                                                    following)}
    seconds: dict[str, list[float]] = {label: [] for label in work}
    lists = {}
    for repeat in range(options.repeats + 1):
        for label, task in work.items():  # interleaved: a busy moment of the machine hits all of them
            begun = time.process_time()
            lists[label] = task()
            if repeat:  # the first one warms up
                seconds[label].append(time.process_time() - begun)
    for label, taken in seconds.items():
        users = len(lists[label])
        same = (lists[label] == lists["ours"][:users]).all(2).double().mean().item()
        each, ours = median(taken) / users, median(seconds["ours"]) / options.users
        print(f"{name}: {label}: {1000 * each:.2f} ms of processor time a user, {each / ours:.1f} times ours, "
              f"{same:.1%} of the places equal", flush=True)


if __name__ == "__main__":
    main()
