"""The planned course of the learning rate, as transformers will compute it."""

from typing import Any


def planned_rates(arguments: dict[str, Any], steps: int) -> list[float]:
    """Return the learning rate that each optimiser step will be taken with.

    Args:
        arguments: Of arguments.trainer_arguments(): learning_rate, lr_scheduler_type,
            warmup_steps (below 1: a share of all steps) and, where it is given,
            lr_scheduler_kwargs.
        steps: Optimiser steps of the run.
    """
    import math

    import torch
    from transformers import get_scheduler

    weight = torch.nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([weight], lr=arguments["learning_rate"])
    asked = arguments["warmup_steps"]
    schedule = get_scheduler(
        arguments["lr_scheduler_type"],
        optimiser,
        num_warmup_steps=math.ceil(steps * asked) if asked < 1 else int(asked),
        num_training_steps=steps,
        scheduler_specific_kwargs=arguments.get("lr_scheduler_kwargs"),
    )
    rates = []
    for _ in range(steps):
        rates.append(float(schedule.get_last_lr()[0]))
        optimiser.step()
        schedule.step()
    return rates
