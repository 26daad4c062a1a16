"""The optimiser of a run: AdamW as in the paper, or another of torch's."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from grokking.config import Config
from grokking.model.transformer import Transformer

BY_MUON = ("W_in", "W_out")


class Optimizer:
    """One or two of torch's, which step together; what they keep of earlier steps goes by parameter."""

    def __init__(self, config: Config, model: Transformer) -> None:
        self.named = dict(model.named_parameters())
        self.parts = list(_parts(config, self.named))

    def step(self, rate: float) -> None:
        """One step at this learning rate, and the gradients are forgotten."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad()

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """What is kept of earlier steps, on the CPU: parameter -> name in torch's state -> tensor."""
        return {
            name: {key: value.cpu() for key, value in part.state[p].items() if value is not None}
            for name, p in self.named.items()
            for part in self.parts
            if p in part.state
        }

    def load(self, moments: dict[str, dict[str, Tensor]], device: torch.device) -> None:
        """Go on with what `moments` has given."""
        for part in self.parts:
            own = {id(p) for group in part.param_groups for p in group["params"]}
            for name, p in self.named.items():
                if name in moments and id(p) in own:
                    part.state[p] = {key: value.to(device) for key, value in moments[name].items()}


def _parts(config: Config, named: dict[str, torch.nn.Parameter]) -> Iterator[torch.optim.Optimizer]:
    rate, decay = config.learning_rate, config.weight_decay
    betas = (config.beta1, config.beta2)
    shared: dict[str, Any] = {"lr": rate, "weight_decay": decay}
    if config.optimizer == "sgd":
        yield torch.optim.SGD(named.values(), momentum=config.beta1, **shared)
    elif config.optimizer == "adam":
        yield torch.optim.Adam(named.values(), betas=betas, eps=1e-8, fused=True, **shared)
    else:
        rest = dict(named)
        if config.optimizer == "muon":
            matrices = [rest.pop(name) for name in BY_MUON]
            yield torch.optim.Muon(
                matrices, momentum=config.beta1, adjust_lr_fn="match_rms_adamw", **shared
            )
        yield torch.optim.AdamW(rest.values(), betas=betas, eps=1e-8, fused=True, **shared)
