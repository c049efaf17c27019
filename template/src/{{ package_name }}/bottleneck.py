"""Bottleneck adapters as a method of peft: small networks behind the feed-forward networks.

One per block, between the feed-forward network and the sum with what goes around it (Houlsby et
al., arXiv 1902.00751; one a block as in Pfeiffer et al., arXiv 2005.00247):
x + up(f(down(x))). `up` starts at zero, so that the model starts as it was.
"""

from dataclasses import dataclass, field
from typing import Any

from peft import PeftConfig
from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_MIXED_MODEL_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

KIND = "BOTTLENECK"  # peft_type in adapter_config.json
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


@dataclass
class BottleneckConfig(PeftConfig):
    """Settings of bottleneck adapters, as adapter_config.json holds them.

    Attributes:
        target_modules: regular expression of full names of the layers that get one behind them.
        hidden_size: width of what these layers give, for those that do not say so.
        reduction_factor: width of the layer / width of the adapter.
        non_linearity: key of ACTIVATIONS.
        modules_to_save: layers that are trained themselves and stored with the adapters.
    """

    target_modules: str = ""
    hidden_size: int = 0
    reduction_factor: float = 16
    non_linearity: str = "relu"
    modules_to_save: list[str] | None = None
    exclude_modules: list[str] | None = field(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = KIND


class BottleneckLayer(nn.Module, BaseTunerLayer):
    """A layer of the base with adapters behind it; those that are active follow one another."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    other_param_names = ()

    def __init__(self, base_layer: nn.Module, name: str, config: BottleneckConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck_down = nn.ModuleDict()
        self.bottleneck_up = nn.ModuleDict()
        self.activations: dict[str, nn.Module] = {}
        self.merged_adapters: list[str] = []
        self.update_layer(name, config)

    def update_layer(self, name: str, config: BottleneckConfig) -> None:
        """Add an adapter that changes nothing yet."""
        base: Any = self.get_base_layer()
        hidden = int(getattr(base, "out_features", getattr(base, "nf", config.hidden_size)))
        width = max(1, int(hidden / config.reduction_factor))
        up = nn.Linear(width, hidden)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        self.bottleneck_down[name], self.bottleneck_up[name] = nn.Linear(hidden, width), up
        self.activations[name] = ACTIVATIONS[config.non_linearity]()
        self._move_adapter_to_device_of_base_layer(name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def merge(self, *_args: Any, **_options: Any) -> None:
        """Refuse: a non-linear network is no part of a weight matrix."""
        raise ValueError(NO_MERGE)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the layer gives, (batch, tokens, hidden), passed through the adapters."""
        result: Tensor = self.base_layer(*args, **kwargs)
        if self.disable_adapters:
            return result
        for name in self.active_adapters:
            if name in self.bottleneck_down:
                down: Any = self.bottleneck_down[name]
                inner = self.activations[name](down(result.to(down.weight.dtype)))
                result = result + self.bottleneck_up[name](inner).to(result.dtype)
        return result


class BottleneckModel(BaseTuner):
    """A model with bottleneck adapters."""

    prefix: str = "bottleneck_"
    tuner_layer_cls = BottleneckLayer

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,  # noqa: ARG002 - peft's signature
        parameter_name: str | None = None,  # noqa: ARG002
    ) -> None:
        assert isinstance(peft_config, BottleneckConfig)
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, peft_config)
            return
        layer = BottleneckLayer(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _replace_module(
        self,
        parent: nn.Module,
        child_name: str,
        new_module: nn.Module,
        child: nn.Module,  # noqa: ARG002 - peft's signature
    ) -> None:
        setattr(parent, child_name, new_module)  # a layer goes to the device of its base itself

    def _check_merge_allowed(self) -> None:
        raise ValueError(NO_MERGE)


NO_MERGE = (
    "bottleneck adapters cannot be merged: they are non-linear networks of their own, no change "
    "of a weight matrix"
)


def register() -> None:
    """Make the method known to peft, for new adapters and for those that are loaded.

    peft's own function for this takes only the names in its enumeration of methods; a method of
    another package goes into the tables that the function fills.
    """
    PEFT_TYPE_TO_CONFIG_MAPPING[KIND] = BottleneckConfig  # type: ignore[index]
    PEFT_TYPE_TO_TUNER_MAPPING[KIND] = BottleneckModel  # type: ignore[index]
    PEFT_TYPE_TO_PREFIX_MAPPING[KIND] = BottleneckModel.prefix  # type: ignore[index]
    PEFT_TYPE_TO_MIXED_MODEL_MAPPING.pop(KIND, None)  # type: ignore[call-overload]
