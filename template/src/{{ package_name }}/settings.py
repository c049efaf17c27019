"""Every setting of a run: name, type, default, unit and effect.

The YAML file, its JSON Schema, the error messages and the documentation are all made from
these classes. A name that Hugging Face has is used as it is there.
"""

from typing import Annotated, Literal

from pydantic import Field

from .settings_base import Positive, Section
from .settings_data import Data, Scrub
from .settings_eval import Eval
from .settings_methods import (
    Bottleneck,
    Distill,
    Freeze,
    Lora,
    Preference,
    Prompts,
    Reinforcement,
)
from .settings_train import Train


class Goal(Section):
    """What the tuned model is for; printed in the model card and judged by the evaluation."""

    task: str = ""
    """One sentence: the task that the tuned model has to do."""
    input: str = ""
    """One sentence: what a user gives to the model."""
    output: str = ""
    """One sentence: what the model must answer."""
    eval_set: str = ""
    """Id of the evaluation set that decides; empty: all sets pooled."""
    metric: str = ""
    """Metric of that set; empty: the one that the set declares."""
    threshold: float | None = None
    """Score on that set that counts as success, in units of the metric; null: none set."""
    use: Literal["", "research", "commercial", "clinical", "internal"] = ""
    """What the model will be used for; licences of base and data are checked against it."""


class Model(Section):
    """The base model."""

    model_name_or_path: Annotated[str, Field(min_length=1)] = "HuggingFaceTB/SmolLM2-135M-Instruct"
    """Name on the Hugging Face hub, or a folder with config.json and weights."""
    revision: str | None = None
    """Commit or tag on the hub; null: the newest one that is found."""
    params_billions: Annotated[float, Field(gt=0)] | None = None
    """Weights in billions, for a model that models.toml lacks; null: from its config.json."""
    licence: Annotated[str, Field(min_length=1)] | None = None
    """Licence of a model that models.toml lacks, for example llama3.2; null: from models.toml."""
    source: Literal["auto", "local", "cache", "embedded", "hub"] = "auto"
    """Where the weights may come from; auto tries local, cache, embedded, hub in this order."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model; leave false unless you have read it."""
    adapter: str = ""
    """Folder of an adapter of this base to go on from; empty: a new one."""
    quantisation: Literal["nf4", "int8"] = "nf4"
    """How a technique with a quantised base holds it: in 4 or in 8 bit."""
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """Attention kernel of the training; auto: flash_attention_2 where it works, else its own."""
    chat_template: str = "auto"
    """auto: the model's own, else that of its family; own, a name of chat_templates/, or a file."""


class Hardware(Section):
    """The machine that was named when the project was made; the plan asks the real one."""

    gpu_memory_gb: Annotated[float, Field(ge=0)] = 0
    """Memory of one GPU in GB, as printed on its box; 0: no GPU."""
    num_gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs in one machine."""
    num_nodes: Positive = 1
    """Machines."""
    power_w: Annotated[float, Field(gt=0)] | None = None
    """Draw of one GPU, or of the CPU, in W; null: by devices.toml, or a stated assumption."""
    grid_g_co2_per_kwh: Annotated[float, Field(ge=0)] | None = None
    """Carbon intensity of the electricity, g CO2e/kWh; null: no emissions are stated."""


class Settings(Section):
    """The whole file. `config.Config` adds what needs the tables of techniques and objectives."""

    schema_version: Literal[1] = 1
    """Version of this file's layout."""
    objective: str = "sft"
    """What is learned (docs/techniques.md)."""
    technique: str = "auto"
    """How weights are adapted; auto: planned for the device."""
    domains: list[str] = Field(default_factory=list)
    """Domain packs in use; general is always among them."""
    few_shot_k: Annotated[int, Field(ge=0, le=16)] = 0
    """Solved examples before each question, in training and in evaluation alike."""
    goal: Goal = Goal()
    model: Model = Model()
    data: Data = Data()
    scrub: Scrub = Scrub()
    lora: Lora = Lora()
    freeze: Freeze = Freeze()
    prompts: Prompts = Prompts()
    bottleneck: Bottleneck = Bottleneck()
    preference: Preference = Preference()
    reinforcement: Reinforcement = Reinforcement()
    distill: Distill = Distill()
    train: Train = Train()
    eval: Eval = Eval()
    tracker: str | list[str] = "none"
    """What shows training curves besides training_log.jsonl: none, a tracker or a list of them."""
    tracker_upload: bool = False
    """Let wandb send figures and settings to its service; else all stays in the run folder."""
    hardware: Hardware = Hardware()
