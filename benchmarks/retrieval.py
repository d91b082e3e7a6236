"""Segment retrieval in a memory of the size of VOC train+: ours against a plain top-k.

    python benchmarks/retrieval.py [--memory 420000] [--images 32] [--queries 40]

Plain is one matrix of all similarities for each image and its `topk`.
"""

import argparse

import torch
from timing import fastest
from torch.nn import functional as F

from cast_exp.evaluation.retrieval.votes import nearest_votes

NEIGHBOURS, CLASSES, DIM, BLOCK = 20, 21, 256, 10240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=int, default=420_000, help="segments in the memory")
    parser.add_argument("--images", type=int, default=32, help="images searched for at a time")
    parser.add_argument("--queries", type=int, default=40, help="segments of each")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    # Clustered, as segments are: around 500 directions, so that neighbours are close.
    centres = torch.randn(500, DIM)

    def drawn(count: int) -> torch.Tensor:
        return F.normalize(centres[torch.randint(500, (count,))] + torch.randn(count, DIM), dim=1)

    memory, labels = drawn(options.memory), torch.randint(CLASSES, (options.memory,))
    queries = drawn(options.images * options.queries)
    blocks = list(zip(torch.split(memory, BLOCK), torch.split(labels, BLOCK), strict=True))

    def ours() -> torch.Tensor:
        return nearest_votes(queries, blocks, NEIGHBOURS, CLASSES)

    def plain() -> torch.Tensor:
        found = []
        for image in torch.split(queries, options.queries):
            nearest = (image @ memory.T).topk(NEIGHBOURS).indices
            votes = F.one_hot(labels[nearest], CLASSES).sum(1)
            found.append(votes.argmax(1))
        return torch.cat(found)

    same = float((ours() == plain()).float().mean())
    times = fastest({"plain": plain, "ours": ours}, options.rounds)
    print(f"{torch.get_num_threads()} threads; {options.memory} x {DIM} in memory", end="; ")
    print(f"{options.queries} queries for each of {options.images} images")
    for name, seconds in times.items():
        print(f"{name:>6}: {1e3 * seconds / options.images:6.1f} ms per image")
    print(f"equal: {100 * same:.2f} % of the queries")


if __name__ == "__main__":
    main()
