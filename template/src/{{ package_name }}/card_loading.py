"""Section of the model card: how the model is loaded, as code that runs."""

from collections.abc import Iterator

from .adapters import PLACE
from .card_facts import Facts
from .heads import HEADS
from .objectives import OBJECTIVES
from .techniques import TECHNIQUES


def loading(facts: Facts) -> Iterator[str]:
    """Yield the code that loads the model from the folder of the card."""
    head = HEADS[OBJECTIVES[facts.record["objective"]].head]
    technique = TECHNIQUES[facts.record["technique"]]
    if facts.adapter_only:
        if not technique.mergeable:
            yield f"{technique.title} cannot be merged into plain weights."
        yield "This folder holds the adapter and the tokenizer; the base has to be there as well."
    else:
        yield "The weights are whole: no base and no adapter is needed."
    yield ""
    yield "```python"
    name = head.auto_class
    yield from _adapter_code(facts, name) if facts.adapter_only else _code(name)
    yield 'tokenizer = AutoTokenizer.from_pretrained(".")'
    yield "```"
    yield ""
    yield "`python scripts/inference.py` asks it under the template and the system prompt of its"
    yield "training."


def _code(auto_class: str) -> Iterator[str]:
    yield f"from transformers import {auto_class}, AutoTokenizer"
    yield ""
    yield f'model = {auto_class}.from_pretrained(".").eval()'


def _adapter_code(facts: Facts, auto_class: str) -> Iterator[str]:
    yield "from peft import PeftModel"
    yield f"from transformers import {auto_class}, AutoTokenizer"
    if facts.record["technique"] == "adapter":
        yield f"from {__package__}.bottleneck import register"
        yield ""
        yield "register()  # the method is one of this project, in the form that peft asks for"
    yield ""
    outputs = len(facts.record.get("labels", ()))
    if OBJECTIVES[facts.record["objective"]].head == "reward":
        outputs = 1
    options = f", num_labels={outputs}" if outputs else ""
    yield f'base = {auto_class}.from_pretrained("{facts.record["model"]["name"]}"{options})'
    yield f'model = PeftModel.from_pretrained(base, "{PLACE}").eval()'
