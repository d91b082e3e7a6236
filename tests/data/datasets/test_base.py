import pickle

from cast_exp.data.datasets import UnreadableImage


def test_unreadable_image_passes_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnreadableImage("a.jpg", "broken")))
    assert (error.path, error.reason, str(error)) == ("a.jpg", "broken", "a.jpg: broken")
