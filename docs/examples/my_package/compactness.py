"""An evaluation."""

from torch import Tensor
from torch.nn import functional as F

from cast_exp.extend import FeatureEvaluation


class Compactness(FeatureEvaluation):
    """How close the vectors of images are to the mean of their class; 1 at best."""

    headline = ("cosine",)

    def measure(self, features: Tensor, labels: Tensor) -> dict[str, float]:
        members = F.one_hot(labels).to(features)
        means = (members / members.sum(0).clamp_min(1)).T @ features
        return {"cosine": float(F.cosine_similarity(features, means[labels]).mean())}
