"""One thread for each test process: the suite runs in parallel and its tensors are small."""

import torch

torch.set_num_threads(1)
