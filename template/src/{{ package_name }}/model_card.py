"""The model card: README.md of a run, written from what really happened.

Facts come from training_args.json, evaluation_results.json, the data report, the packs and
the user's MODEL_CARD.md. What is not known is said to be unknown, with the reason. No text
of the training data is ever quoted.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .config import Config
from .hardware import table
from .packs import Pack, load_packs
from .report import RESULTS, data_report, rows_identity
from .runs import read_record
from .utils import read_json, write_text

CARD = "README.md"
OWN_WORDS = "MODEL_CARD.md"
SHOWN_SETTINGS = (
    "train.learning_rate",
    "train.lr_scheduler_type",
    "train.warmup_steps",
    "train.num_train_epochs",
    "train.max_steps",
    "train.max_length",
    "train.weight_decay",
    "train.max_grad_norm",
    "train.early_stopping_patience",
    "train.seed",
)
LORA_SETTINGS = ("lora.lora_r", "lora.lora_alpha", "lora.lora_dropout", "lora.lora_target_modules")
Facts = dict[str, Any]


def write_card(config: Config, run_dir: Path) -> Path:
    """Write the model card of a run and return its path.

    Raises:
        UserError: the folder is no run.
    """
    results, record = run_dir / RESULTS, read_record(run_dir)
    facts: Facts = {
        "name": config.root.name,
        "record": record,
        "results": read_json(results) if results.is_file() else None,
        "data": data_report(config, record),
        "packs": load_packs(config),
        "own": own_words(config.root / OWN_WORDS),
        "adapter_only": not (run_dir / "model.safetensors").is_file(),
    }
    path = run_dir / CARD
    write_text(path, front_matter(facts) + "\n" + "\n".join(_body(facts)) + "\n")
    return path


def own_words(path: Path) -> dict[str, str]:
    """Return heading -> text of the user's file; headings without text are left out."""
    if not path.is_file():
        return {}
    parts = re.split(r"^## +(.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return {title.strip(): text.strip() for title, text in pairs if text.strip()}


def front_matter(facts: Facts) -> str:
    """Return the YAML block that the Hugging Face hub reads."""
    from huggingface_hub import EvalResult, ModelCardData

    record, results = facts["record"], facts["results"]
    base, licence = record["model"]["name"], base_licence(record["model"]["name"])
    entries = [
        EvalResult(
            task_type="text-generation",
            dataset_type=row["name"],
            dataset_name=f"{row['name']} (pack {row['pack']}, n = {row['n']})",
            metric_type=row["metric"],
            metric_name=f"{row['metric']} (base model: {row['base']})",
            metric_value=row["tuned"],
        )
        for row in (results["sets"] if results else [])
    ]
    data = ModelCardData(
        language=["en"],
        license=licence or "other",
        license_name=None if licence else "unknown",
        # The hub wants a name of the form owner/model here, not a path.
        base_model=base if re.fullmatch(r"[\w.-]+/[\w.-]+", base) else None,
        library_name="peft" if facts["adapter_only"] else "transformers",
        pipeline_tag="text-generation",
        tags=[record["objective"], record["technique"], *(pack.name for pack in facts["packs"])],
        model_name=facts["name"] if entries else None,
        eval_results=entries or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def base_licence(name: str) -> str | None:
    """Return the licence id of a base model that the project knows, else None."""
    row = table("models").get(name)
    return row["licence"] if row else None


def _body(facts: Facts) -> Iterator[str]:
    record = facts["record"]
    yield f"# {facts['name']}"
    yield ""
    yield f"`{record['model']['name']}`, fine-tuned ({record['objective']}, {record['technique']})."
    yield f"Run `{record['run']}`, {record['created'][:10]}. Made by a program from its records."
    for title, lines in (
        ("Goal", _goal(facts)),
        ("Results", _results(facts)),
        ("Intended use", _use(facts, "Intended use", "intended_use")),
        ("Out of scope", _use(facts, "Out of scope", "out_of_scope")),
        ("Training data", _data(facts)),
        ("Training", _training(facts)),
        ("Base model and licence", _base(facts)),
        ("Limits and ethics", _limits(facts)),
        ("Regulation: verify with counsel", _regulation(facts)),
        ("From the project", _from_project(facts)),
    ):
        yield ""
        yield f"## {title}"
        yield ""
        yield from lines


def _goal(facts: Facts) -> Iterator[str]:
    goal = facts["results"]["goal"] if facts["results"] else facts["record"]["config"]["goal"]
    for name in ("task", "input", "output"):
        unknown = f"unknown, goal.{name} is empty in the configuration"
        yield f"- {name}: {goal[name] or unknown}"
    if facts["results"]:
        yield f"- judgement: **{goal['status']}** ({goal['reason']})"
    else:
        yield "- judgement: not judged, the run was not evaluated"


def _results(facts: Facts) -> Iterator[str]:
    results = facts["results"]
    if not results:
        yield "Unknown: the run was not evaluated (`make evaluate`)."
        return
    level = f"{results['confidence']:.0%} interval"
    yield "Base and tuned model answered the same items under the same prompts. The interval is"
    yield "that of the paired difference; majority is the score of always giving the most"
    yield "frequent right answer."
    yield ""
    yield f"| set | metric | n | base | tuned | difference | {level} | majority | verdict |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in [*results["sets"], results["pooled"], results["guard"]]:
        if row:
            yield _result_row(row)
    pooled, guard = results["pooled"], results["guard"]
    yield ""
    if pooled:
        effect = pooled["minimum_detectable_effect"]
        yield f"- With {pooled['n']} items, a true difference of {effect:.3f} or more would be"
        yield "  found in four of five such comparisons; smaller ones may go unseen."
    if guard:
        yield f"- Forgetting: on the guard sets the verdict is **{guard['verdict']}**"
        yield f"  ({guard['base']:.3f} to {guard['tuned']:.3f}, n = {guard['n']})."
    else:
        yield "- Forgetting: unknown, no guard set was evaluated."
    for gate in results["gates"]:
        limit = f"limit {gate['threshold']:g}, {gate['source']}"
        yield f"- Gate `{gate['name']}`: {gate['status']} ({limit})."
    overlap = results["overlap"] or {}
    shown = ", ".join(f"{k}: {v['overlapping']} of {v['n']}" for k, v in overlap.items())
    yield f"- Items that overlap with the training data: {shown or 'unknown, not measured'}."


def _result_row(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    majority = "-" if row["majority"] is None else f"{row['majority']:.3f}"
    name = f"{row['name']} (guard)" if row.get("guard") else row["name"]
    scores = f"{row['base']:.3f} | {row['tuned']:.3f} | {row['difference']:+.3f}"
    cells = f"| {name} | {row['metric']} | {row['n']} | {scores} "
    return cells + f"| [{low:+.3f}, {high:+.3f}] | {majority} | {row['verdict']} |"


def _use(facts: Facts, heading: str, key: str) -> Iterator[str]:
    packs: list[Pack] = facts["packs"]
    yield facts["own"].get(heading, f"Not stated by the project ({OWN_WORDS} is empty here).")
    yield ""
    for pack in packs:
        if pack.card.get(key):
            yield f"- {pack.title}: {pack.card[key]}"


def _data(facts: Facts) -> Iterator[str]:
    data = facts["data"]
    if not data:
        yield "- Rows and personal data: unknown, the data report is not on the machine that wrote"
        yield "  this card, or the data was prepared anew since the run."
    else:
        # Counts, no names: a file may be named after a person.
        kinds = Counter(file["container"] for file in data["files"])
        yield f"- Files: {_counts(kinds)}; format {data['format']['name']}."
        yield f"- Rows: {rows_identity(data['rows'])}."
        if data.get("reasons"):
            yield f"- Refused or left out: {_counts(data['reasons'])}."
        yield f"- Splits: {_counts(data['splits'])}."
        yield f"- Personal data replaced before training: {_counts(data['pii']) or 'none found'}."
    lengths = facts["record"]["data"].get("train", {})
    if lengths:
        yield f"- Training examples: {lengths['examples']} with {lengths['tokens']} tokens, of"
        yield f"  which {lengths['label_tokens']} carry loss; {lengths['dropped_over_length']} were"
        yield "  too long and left out."
    yield "- A scrubber misses some identifiers. Its output is not de-identification by itself."
    origin = facts["own"].get("Data: origin, consent and legal basis")
    yield f"- Origin, consent, legal basis: {origin or 'unknown, not stated by the project.'}"


def _training(facts: Facts) -> Iterator[str]:
    record = facts["record"]
    device, seconds = record["device"], record.get("seconds", {})
    yield f"- Technique `{record['technique']}`, objective `{record['objective']}`,"
    yield f"  effective batch {record['effective_batch_size']}, {record.get('steps', 'unknown')}"
    yield f"  optimiser steps, {record.get('tokens_seen', 'unknown')} tokens seen."
    if "trainable_parameters" in record:
        share = record["trainable_parameters"] / record["parameters"]
        yield f"- Trained parameters: {record['trainable_parameters']:,} ({share:.2%} of"
        yield f"  {record['parameters']:,})."
    if record.get("best_metric") is not None:
        name = record["config"]["train"]["metric_for_best_model"]
        yield f"- Best checkpoint: step {record['best_step']}, {name} {record['best_metric']:.4f}"
        yield "  (these weights were kept)."
    yield f"- Hardware: {device['name']} ({device['kind']}), {device['memory_gib']:g} GiB; peak use"
    yield f"  {record.get('peak_memory_gib', 'unknown')} GiB; training took"
    yield f"  {seconds.get('train', 'unknown')} s. Energy: unknown, it was not metered."
    yield f"- Versions: {', '.join(f'{k} {v}' for k, v in record['versions'].items())}."
    yield ""
    yield "| setting | value | set in |"
    yield "|---|---|---|"
    names = SHOWN_SETTINGS + (LORA_SETTINGS if record["technique"] == "lora" else ())
    for name in names:
        section, key = name.split(".")
        value = record["config"][section][key]
        yield f"| {name} | {value} | {record['sources'].get(name, 'default')} |"
    yield ""
    yield "Planned for the device:"
    yield ""
    for name, reason in record["reasons"].items():
        value = record["plan"].get(name)
        yield f"- {name}{'' if value is None else f' = {value}'}: {reason}"


def _base(facts: Facts) -> Iterator[str]:
    model = facts["record"]["model"]
    licence = base_licence(model["name"])
    yield f"- `{model['name']}`, from: {model['origin']} ({model['note']})."
    if model["origin"] == "embedded":
        yield "- **The base weights were de-quantised from Q4_1 (4 bit)**, for training, for this"
        yield "  comparison and in the published result. Scores of the original may be higher."
    if licence:
        yield f"- Licence of the base model: {licence}. Its terms go on to this model."
    else:
        yield "- Licence of the base model: unknown, the project's model table does not list it."
        yield "  Look it up before the model is passed on."


def _limits(facts: Facts) -> Iterator[str]:
    yield "- Answers can be wrong, and sound sure. A person has to check what matters."
    yield "- The evaluation items are authored, in English, and not reviewed by an expert of the"
    yield "  field (`review: unreviewed`). They show a difference to the base, not fitness for use."
    yield "- Not measured: bias between groups, refusal of unsafe requests, extraction of"
    yield "  training text, attacks through prompts."
    for pack in facts["packs"]:
        if pack.disclaimer:
            yield f"- {pack.title}: {pack.disclaimer}"
    yield f"- Human oversight: {facts['own'].get('Human oversight', 'unknown, not stated.')}"


def _regulation(facts: Facts) -> Iterator[str]:
    yield "Notes of the packs, no legal advice. Each says how old it is."
    yield ""
    for pack in facts["packs"]:
        for note in pack.card.get("regulation", []):
            yield f"- {note['text']} (as of {note['as_of']})"


def _from_project(facts: Facts) -> Iterator[str]:
    shown = {"Intended use", "Out of scope", "Human oversight"}
    shown.add("Data: origin, consent and legal basis")
    rest = {title: text for title, text in facts["own"].items() if title not in shown}
    rest.setdefault("Contact", f"unknown, not stated in {OWN_WORDS}")
    for title, text in rest.items():
        yield f"- {title}: {text}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
