"""Evaluation sets as tasks of lm-evaluation-harness 0.4: one YAML and one JSONL file a set.

    lm_eval --include_path eval/lm_eval_tasks --tasks med_mcq --model hf \\
        --model_args pretrained=fine_tuned_model --apply_chat_template

The text of a prompt is that of `make evaluate`: the user turn of the item, and the system
prompt as `description`, which the harness makes the system turn under --apply_chat_template
and puts before the question without it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .adapters import find_adapter, read_adapter
from .benchmarks import Loaded, announce, benchmark_rows, load_benchmarks
from .config import Config
from .data_loader import system_prompt
from .items import CHOICES, GENERATION, TEXT, Item, load_items
from .lm_eval_scores import as_document, is_mean
from .metrics import METRICS, Metric
from .model_source import holds_model, resolve_model
from .model_wrapper import adapter_config
from .packs import load_packs
from .runs import PROMOTED
from .scoring import item_messages
from .utils import write_text

FOLDER = "eval/lm_eval_tasks"
DATA = "data"
SCORES = "scores.py"
VERSION = 1  # raise when prompts or scores of the same items change
# Benchmarks have tasks of their own in the harness; a name must not stand for two of them.
PREFIX = "adapter_"
AUTHORED = "Apache-2.0"
MADE = "made by scripts/lm_eval_tasks.py; changes are lost"


@dataclass(frozen=True, slots=True)
class Rendered:
    """One task: its name, its pack, its metric, its items, and what to know about its source."""

    name: str
    pack: str
    metric: Metric
    items: list[Item]
    licence: str
    note: str = ""


def model_arguments(config: Config) -> str:
    """Return what the harness is told as --model_args for `fine_tuned_model/` as it is now."""
    folder = config.root / PROMOTED
    if find_adapter(folder) is None or holds_model(folder):
        return f"pretrained={PROMOTED}"
    adapter = read_adapter(folder)
    base = resolve_model(adapter_config(adapter, config), fetch=False).path
    place = adapter.folder.relative_to(config.root)
    return f"pretrained={base},peft={place},tokenizer={PROMOTED}"


def render_tasks(config: Config) -> tuple[list[Rendered], list[str]]:
    """Write a task for every authored set and for every benchmark of `eval.benchmarks`.

    Returns:
        The tasks, and the benchmarks without rows here, for which there is none.

    Raises:
        UserError: a set or a benchmark cannot be read.
    """
    folder = config.path(FOLDER)
    loaded = load_benchmarks(config)
    announce(loaded)
    tasks = [*_authored(config), *(task for one in loaded for task in _adapters(one))]
    prompt = system_prompt(config)
    for old in (*folder.glob("*.yaml"), *folder.glob(f"{DATA}/*.jsonl")):
        old.unlink()
    for task in tasks:
        path = folder / DATA / f"{task.name}.jsonl"
        write_text(path, "".join(f"{_document(task, item, prompt)}\n" for item in task.items))
        write_text(folder / f"{task.name}.yaml", "\n".join(_lines(config, task, path, prompt)))
    write_text(
        folder / SCORES,
        _scores(config, {task.metric.name for task in tasks if task.metric.needs != TEXT}),
    )
    have = {one.row.id for one in loaded}
    return tasks, [row.id for _, row in benchmark_rows(config) if row.id not in have]


def _authored(config: Config) -> Iterator[Rendered]:
    for pack in load_packs(config):
        for row in pack.eval_sets:
            items = load_items(row.path, row.id)
            yield Rendered(row.id, pack.name, METRICS[row.metric], items, AUTHORED)


def _adapters(loaded: Loaded) -> Iterator[Rendered]:
    row = loaded.row
    note = " ".join(filter(None, (loaded.source, row.restricted, row.harness)))
    for metric, items in loaded.converted.sets.values():
        name = f"{PREFIX}{items[0].task}"
        yield Rendered(name, loaded.pack, METRICS[metric], items, row.licence, note)


def _document(task: Rendered, item: Item, prompt: str) -> str:
    """Return one line: fields that the harness reads, and the item for our own scores."""
    document: dict[str, Any] = {
        "id": item.id,
        "metric": task.metric.name,
        "system": prompt,
        "prompt": item_messages(item)[-1].content,
        "text": item.context or item.question,
        "item": as_document(item),
        "canary": item.canary,
    }
    if task.metric.needs == CHOICES:
        labels = item.labels()
        document |= {"choices": list(labels), "gold": labels.index(item.gold())}
    return json.dumps(document, ensure_ascii=False)


def _lines(config: Config, task: Rendered, path: Path, prompt: str) -> Iterator[str]:
    metric = task.metric
    yield f"# {MADE}"
    yield f"task: {task.name}"
    yield f"tag: pack_{task.pack}"
    yield "dataset_path: json"
    yield f"dataset_kwargs: {{data_files: {{test: {json.dumps(str(path))}}}}}"
    yield "test_split: test"
    if metric.needs == CHOICES:
        yield from ("output_type: multiple_choice", "doc_to_text: prompt")
        yield from ("doc_to_choice: choices", "doc_to_target: gold")
        yield r'target_delimiter: "\n\n"'
    elif metric.needs == GENERATION:
        limit = max(config.eval.max_new_tokens, metric.tokens)
        yield from ("output_type: generate_until", "doc_to_text: prompt", 'doc_to_target: ""')
        yield f"generation_kwargs: {{until: [], do_sample: false, max_gen_toks: {limit}}}"
    else:
        yield from ("output_type: loglikelihood_rolling", 'doc_to_text: ""', "doc_to_target: text")
    if prompt and metric.needs != TEXT:
        yield "description: system"
    yield from _metric_lines(metric)
    yield "metadata:"
    yield f"  version: {VERSION}"
    yield f"  items: {len(task.items)}"
    yield f"  licence: {json.dumps(task.licence)}"
    yield f"  note: {json.dumps(task.note)}"
    yield ""


def _metric_lines(metric: Metric) -> Iterator[str]:
    if metric.needs == TEXT:  # the harness counts words and bytes, not tokens
        yield "metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]"
        return
    if metric.name == "accuracy":
        yield "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]"
        return
    yield f"process_results: !function {SCORES.removesuffix('.py')}.process_results"
    yield "metric_list:"
    yield f"  - metric: {metric.name}"
    own = f"!function {SCORES.removesuffix('.py')}.{metric.name}"
    yield f"    aggregation: {'mean' if is_mean(metric.name) else own}"
    yield f"    higher_is_better: {str(metric.higher_is_better).lower()}"


def _scores(config: Config, metrics: set[str]) -> str:
    """Return the Python file beside the tasks, which finds this package wherever it is run."""
    package = __name__.partition(".")[0]
    source = Path(__file__).resolve().parents[1]
    names = sorted(name for name in metrics if not is_mean(name))
    lines = [
        f'"""Scores of {config.root.name}; {MADE}."""',
        "",
        "import sys",
        "",
        f"sys.path.insert(0, {json.dumps(str(source))})",
        "",
        f"from {package}.lm_eval_scores import aggregator, process_results  # noqa: F401",
        "",
        *(f'{name} = aggregator("{name}")' for name in names),
    ]
    return "\n".join(lines) + "\n"
