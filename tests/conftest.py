"""One thread for each test process: the suite runs in parallel and its tensors are small.

And the reader of YAML that is written in C, where there is one: hundreds of commands are composed.
"""

import torch
import yaml

torch.set_num_threads(1)
if yaml.__with_libyaml__:
    yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc]
