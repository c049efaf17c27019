"""What a penalty holds near its start: single weights, and the products of low-rank adapters."""

from dataclasses import dataclass
from typing import Any

from .errors import Problem, UserError


@dataclass(slots=True)
class HeldWeight:
    """A trained parameter.

    Attributes:
        weight: the parameter.
        start: what it started as, of the same shape.
        importance: how much each number of it counts, of the same shape; None: 1.
    """

    weight: Any
    start: Any
    importance: Any = None

    def square(self, weighed: bool = False) -> float:
        """Return the squared distance from the start, by importance if `weighed`."""
        moved = (self.weight.detach() - self.start).float() ** 2
        if weighed and self.importance is not None:
            moved *= self.importance
        return float(moved.sum())

    def copies(self) -> list[Any]:
        """Return the tensors that are held in memory for it."""
        return [self.start] if self.importance is None else [self.start, self.importance]

    def add_gradient(self, factor: float) -> None:
        """Add that of factor / 2 * the weighed squared distance."""
        if self.weight.grad is None:  # an expert that no token went to
            return
        moved = self.weight.detach() - self.start
        if self.importance is not None:
            moved *= self.importance
        self.weight.grad.add_(moved, alpha=factor)


@dataclass(slots=True)
class HeldProduct:
    """An adapted layer, whose weight is W + scale * up @ down.

    With D = up @ down - start_up @ start_down, the squared distance is scale^2 * tr(D D'), and its
    half has the gradients scale^2 * D down' and scale^2 * up' D. Multiplied from the small side,
    no matrix of the size of W is made. A start that is not zero (PiSSA, an adapter that the run
    goes on from) is part of what the model was.

    Attributes:
        down: A, shape (rank, inputs).
        up: B, shape (outputs, rank).
        scale: of the product.
        start_down, start_up: what both started as.
    """

    down: Any
    up: Any
    scale: float
    start_down: Any
    start_up: Any

    def square(self, weighed: bool = False) -> float:  # noqa: ARG002 - one signature
        """Return the squared distance of the layer's weight from its start."""
        # On the CPU, because some accelerators have no doubles, and a small distance is the
        # difference of large numbers.
        own_pair, first_pair = (self.down, self.up), (self.start_down, self.start_up)
        down, up = (one.detach().cpu().double() for one in own_pair)
        first_down, first_up = (one.cpu().double() for one in first_pair)
        own = ((up.T @ up) * (down @ down.T)).sum()  # tr(A' B' B A), of (rank, rank) matrices
        both = ((first_up.T @ up) * (first_down @ down.T)).sum()
        first = ((first_up.T @ first_up) * (first_down @ first_down.T)).sum()
        return self.scale**2 * max(float(own - 2 * both + first), 0.0)  # rounding of equals

    def copies(self) -> list[Any]:
        """Return the tensors that are held in memory for it."""
        return [self.start_down, self.start_up]

    def add_gradient(self, factor: float) -> None:
        """Add that of factor / 2 * the squared distance to both matrices."""
        if self.down.grad is None or self.up.grad is None:
            return
        down, up = self.down.detach(), self.up.detach()
        of_up = up @ (down @ down.T) - self.start_up @ (self.start_down @ down.T)
        of_down = (up.T @ up) @ down - (up.T @ self.start_up) @ self.start_down
        self.up.grad.add_(of_up, alpha=factor * self.scale**2)
        self.down.grad.add_(of_down, alpha=factor * self.scale**2)


def products(model: Any) -> list[HeldProduct]:
    """Return the trained low-rank products of a model; [] without adapters.

    Raises:
        UserError: experts share one parameter, so that B A is not one product.
    """
    from peft.tuners.lora import LoraLayer
    from peft.tuners.lora.layer import ParamWrapper

    down: Any
    up: Any
    found = []
    for layer in model.modules():
        if isinstance(layer, ParamWrapper):
            where = "train.forgetting"
            text = "experts of this model share one parameter, of which no distance is known"
            raise UserError(Problem(where, text, fix=f"{where}=none, or technique=freeze"))
        if not isinstance(layer, LoraLayer):
            continue
        for name in layer.active_adapters:
            if name not in layer.lora_A or not layer.lora_A[name].weight.requires_grad:
                continue
            down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
            starts = down.detach().clone(), up.detach().clone()
            found.append(HeldProduct(down, up, layer.scaling[name], *starts))
    return found
