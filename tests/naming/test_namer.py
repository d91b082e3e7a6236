"""Names of segments against cosines written out, and the order of painting."""

from pathlib import Path

import numpy as np
import torch

from cast_exp.naming import Namer, Vocabulary, load_image_text, paint


def test_names_are_the_nearest_prompts(image_text: Path) -> None:
    model = load_image_text(str(image_text))
    words = Vocabulary.parse("background,cat(head,tail),dog(head,body,leg),bird,fish(fin,eye)")
    prompts = ["a photo of a {}", "{}"]
    namer = Namer(model, words, prompts)
    encodings = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    encodings /= encodings.norm(dim=1, keepdim=True)
    owners = torch.arange(40) % 5
    objects, parts = namer.objects(encodings), namer.parts(encodings, owners)
    assert len(objects.labels.unique()) > 3  # or nothing is told apart

    def similar(encoding: torch.Tensor, name: str) -> float:
        texts = model.encode_texts([prompt.format(name) for prompt in prompts]).numpy()
        mean = texts.mean(0)
        return float(mean / np.linalg.norm(mean) @ encoding.numpy())

    for row, encoding in enumerate(encodings):
        cosines = [similar(encoding, name) for name in words.objects]
        assert objects.labels[row] == np.argmax(cosines)
        powers = np.exp(model.temperature * np.array(cosines))
        assert abs(objects.shares[row] - powers.max() / powers.sum()) < 1e-4
        own = [part for part, owner in enumerate(words.owners) if owner == owners[row]]
        assert parts.labels[row] == max(own, key=lambda p: similar(encoding, words.parts[p]))
    assert (parts.shares[owners == 0] == 1).all()  # no choice


def test_the_first_or_the_last_is_on_top() -> None:
    masks = torch.zeros(2, 2, 3, dtype=torch.bool)
    masks[0, :, :2] = masks[1, 0] = True
    labels = torch.tensor([5, 7])
    assert paint(masks, labels, 0).tolist() == [[5, 5, 7], [5, 5, 0]]
    assert paint(masks, labels, 0, last_wins=True).tolist() == [[7, 7, 7], [5, 5, 0]]
    assert paint(masks[:0], labels[:0], 3).tolist() == [[3] * 3] * 2
