"""Muon on matrices and Adam on the rest (Jordan et al. 2024; scale of Liu et al. 2025, arXiv:2502.16982)."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.98)


class Muon:
    """Momentum made orthogonal by Newton-Schulz steps; matrices of one shape are treated as one stack."""

    def __init__(self, matrices: Iterable[nn.Parameter]) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            by_shape[matrix.shape].append(matrix)
        self.groups = list(by_shape.values())
        self.momenta = [torch.zeros(len(group), *group[0].shape) for group in self.groups]

    def step(self, rate: float) -> None:
        """Update every matrix by rate * 0.2 * sqrt(longer side), so that updates are as large as Adam's."""
        with torch.no_grad():
            for group, momentum in zip(self.groups, self.momenta, strict=True):
                gradient = torch.stack([_gradient(matrix) for matrix in group])
                momentum.lerp_(gradient, 1 - MOMENTUM)
                update = orthogonal(gradient.lerp(momentum, MOMENTUM))
                scale = 0.2 * max(momentum.shape[1:]) ** 0.5
                for matrix, change in zip(group, update, strict=True):
                    matrix.add_(change, alpha=-rate * scale)


def orthogonal(stack: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of each matrix [n, rows, columns] towards 1 (quintic Newton-Schulz)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = stack.shape[1] > stack.shape[2]
    x = stack.transpose(1, 2) if tall else stack
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


class Optimiser:
    """Muon for the matrices of the layers, Adam for embedding and final norm, one learning rate for both."""

    def __init__(self, model: nn.Module) -> None:
        matrices = [p for name, p in model.named_parameters() if "layers." in name]
        others = [p for name, p in model.named_parameters() if "layers." not in name]
        self.muon = Muon(matrices)
        self.adam = torch.optim.Adam(others, lr=0.0, betas=ADAM_BETAS, eps=1e-8)
        self.parameters = [*matrices, *others]

    def step(self, rate: float) -> None:
        """Apply the gradients and clear them."""
        self.muon.step(rate)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, object]:
        """What `restore` needs to go on."""
        return {"momenta": self.muon.momenta, "adam": self.adam.state_dict()}

    def restore(self, state: dict[str, object]) -> None:
        """Take up a state made by `state`."""
        momenta, adam = state["momenta"], state["adam"]
        if isinstance(momenta, list) and isinstance(adam, dict):
            self.muon.momenta = momenta
            self.adam.load_state_dict(adam)


def _gradient(matrix: nn.Parameter) -> Tensor:
    return torch.zeros_like(matrix) if matrix.grad is None else matrix.grad
