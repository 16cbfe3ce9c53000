"""Muon (K. Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks"): momentum whose matrix
update is made nearly orthogonal by five Newton-Schulz steps. In f32, since bf16 is slow on a CPU without it.
"""

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the odd quintic, from the paper


def orthogonal(update: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest orthogonal matrix, roughly: singular values land between 0.7 and 1.2. [rows, columns] -> same."""
    p, q, r = COEFFICIENTS
    x = update if update.shape[0] <= update.shape[1] else update.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = p * x + torch.addmm(gram, gram, gram, beta=q, alpha=r) @ x
    return x if update.shape[0] <= update.shape[1] else x.T


class Muon(torch.optim.Optimizer):
    """For the matrices inside the layers; embeddings, head and norms belong to AdamW."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for matrix in group["params"]:
                state = self.state[matrix]
                velocity = state.setdefault("velocity", torch.zeros_like(matrix))
                velocity.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonal(matrix.grad.lerp(velocity, group["momentum"]))
                scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)
