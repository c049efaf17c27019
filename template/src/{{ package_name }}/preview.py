"""What a run would do, shown without training: `scripts/train.py --dry-run`."""

from .adapters import start_settings
from .arguments import trainer_arguments
from .combinations import unread
from .config import Config
from .data_loader import label_names
from .devices import Device
from .hardware import Plan
from .heads import HEADS
from .message_parts import words_of
from .model_readers import load_reader, model_settings
from .model_source import resolve_model
from .objectives import OBJECTIVES
from .training import training_of
from .training_rows import packed_splits, tokenise_splits


def preview(config: Config, plan: Plan, device: Device) -> str:
    """Return the arguments and the first training example with its mask; write nothing.

    Raises:
        UserError: what would stop a real run as well.
    """
    config, _ = start_settings(config)
    source = resolve_model(config, fetch=False)
    lines = [f"Base model: {source.name} from {source.origin} ({source.note})"]
    if not source.path.joinpath("config.json").is_file():
        return "\n".join([*lines, "it is not on this disk yet, so no example can be tokenised"])
    objective = OBJECTIVES[config.objective]
    training_of(objective).check(config)
    if idle := unread(config, config.source, plan.technique):
        lines.append(f"settings: {idle}")
    head = HEADS[objective.head]
    reader, template = load_reader(source, model_settings(config), head, objective.images)
    if template is not None:
        lines.append(f"Chat template: {template.name} ({template.reason})")
    splits = tokenise_splits(config, reader, label_names(config))
    splits, reasons = packed_splits(config, plan, splits, None)
    sizes = [len(splits[name].dataset) for name in ("train", "validation")]
    arguments, _ = trainer_arguments(config, plan, device, *sizes)
    lines += [f"{name}: {reason}" for name, reason in reasons.items()]
    lines.append("\nArguments of the trainer")
    lines += [f"{name:30} {value}" for name, value in arguments.items()]
    show = training_of(objective).show
    return "\n".join([*lines, "", *show(words_of(reader), splits["train"].dataset[0])])
