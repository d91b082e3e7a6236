# %% [markdown]
# # Comparing two runs
#
# A run leaves `config.yaml`, `metrics.csv` (figures over time) and `summary.json` (how it ended).
# Set `RUNS` to the folders of two runs; without, two very short ones are trained here.

# %%
import csv
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from omegaconf import OmegaConf

from cast_exp.api import run_training

# %%
RUNS = []  # ["runs/shapes_moco/20250101-120000", "runs/shapes_moco/20250102-120000"]

# %%
if not RUNS:
    runs = tempfile.mkdtemp()
    short = ["experiment=shapes_moco", "debug=fast", "trainer.limit_train_batches=6"]
    short += [f"paths.runs={runs}"]
    RUNS = [
        str(run_training([*short, f"name={name}", f"optim.base_lr={rate}"]).folder)
        for name, rate in (("slow", 1e-4), ("fast", 1e-2))
    ]
print(*RUNS, sep="\n")

# %% [markdown]
# ## What was different


# %%
def flat(node, prefix=""):
    """A config as one dictionary: {"optim.base_lr": 0.001, ...}."""
    if not isinstance(node, dict):
        return {prefix: node}
    return {
        k: v for name, child in node.items() for k, v in flat(child, f"{prefix}.{name}").items()
    }


def settings(run):
    """What a run was told, without where it was."""
    config = OmegaConf.to_container(OmegaConf.load(Path(run) / "config.yaml"))
    return {key: str(value).replace(run, "RUN") for key, value in flat(config).items()}


first, second = (settings(run) for run in RUNS)
for key in sorted(first.keys() | second.keys()):
    if first.get(key) != second.get(key):
        print(f"{key.lstrip('.'):40} {first.get(key)!s:>20} {second.get(key)!s:>20}")

# %% [markdown]
# ## How they ended

# %%
endings = [json.loads((Path(run) / "summary.json").read_text())["metrics"] for run in RUNS]
for name in sorted(endings[0].keys() & endings[1].keys()):
    print(f"{name:40} {endings[0][name]:20.4f} {endings[1][name]:20.4f}")

# %% [markdown]
# ## On the way there


# %%
def curve(run, name):
    """Steps and values of one figure."""
    with open(Path(run) / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(name)]
    return [int(row["step"]) for row in rows], [float(row[name]) for row in rows]


figure, panels = plt.subplots(1, 3, figsize=(13, 3.5), layout="constrained")
for axes, name in zip(panels, ("train/loss", "train/feature_spread", "lr-AdamW"), strict=True):
    for run in RUNS:
        axes.plot(*curve(run, name), marker=".", label=Path(run).parent.name)
    axes.set_title(name)
    axes.set_xlabel("step")
panels[0].legend()
plt.show()
