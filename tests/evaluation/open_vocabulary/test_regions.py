"""Segments of objects and parts out of label maps, and their names."""

from pathlib import Path

import torch

from cast_exp.evaluation.open_vocabulary.regions import Regions, named_maps
from cast_exp.naming import Namer, Vocabulary, encode_segments, load_image_text


def test_empty_clusters_are_counted() -> None:
    objects = torch.tensor([[0, 0], [3, 3]])
    parts = torch.tensor([[0, 2], [1, 1]])
    found = Regions.of(objects, parts, (4, 4))
    assert found.objects.tolist() == [[[True, True], [False, False]], [[False, False], [True] * 2]]
    assert len(found.parts) == 3
    assert found.empty == (2, 1)
    assert not found.gap  # 3 is the last one
    assert Regions.of(objects, objects, (4, 4)).gap


def test_parts_are_of_the_object_at_their_first_pixel(image_text: Path, tmp_path: Path) -> None:
    model = load_image_text(str(image_text))
    words = Vocabulary.parse("background,cat(head,tail),dog(head,body,leg),bird(head,wing)")
    namer = Namer(model, words)
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    objects, parts = torch.zeros(3, 32, 32, dtype=torch.bool), torch.zeros(3, 32, 32).bool()
    objects[0, 4:20], objects[1, 12:28], objects[2, 8:20, :5] = True, True, True
    parts[0, 2:28, 3:9], parts[1, 18:24], parts[2, 20:24, ::2] = True, True, True
    found = named_maps(Regions(objects, parts), namer, model, image, tmp_path / "e", 4)
    seen = namer.objects(encode_segments(model, image, objects)).labels
    painted = torch.zeros(32, 32, dtype=torch.int64)
    for y in range(32):
        for x in range(32):
            covering = [n for n in range(3) if objects[n, y, x]]
            painted[y, x] = seen[covering[0]] if covering else 0
    assert torch.equal(found["object"], painted)
    owners = torch.tensor([0, int(painted[18, 0]), int(painted[20, 0])])  # the first is in nothing
    named = namer.parts(encode_segments(model, image, parts), owners).labels
    for y in range(32):
        for x in range(32):
            covering = [n for n in range(3) if parts[n, y, x]]
            assert found["part"][y, x] == (named[covering[-1]] if covering else 0)
    none = Regions(objects[:0], parts[:0])
    nothing = named_maps(none, namer, model, image, tmp_path / "none", 4)
    assert not nothing["object"].any()
    assert not nothing["part"].any()
