"""Several adapters of one base: loaded together, listed, combined, merged into plain weights."""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .adapters import PLACE, RECORD, SETTINGS, Adapter, base_problem, find_adapter, read_adapter
from .config import Config
from .errors import Problem, UserError
from .model_parts import merged
from .model_wrapper import (
    LoadedModel,
    load_adapter_base,
    with_adapter,
    with_own_tokenizer,
)
from .quantised import merged_with_rounded_base
from .report import RESULTS
from .runs import CHECKPOINTS, PROMOTED
from .techniques import TECHNIQUES
from .utils import read_json, write_json

MERGED = "merge_record.json"
COMBINED = "combined"  # name of the new adapter inside peft


@dataclass(frozen=True, slots=True)
class Method:
    """One way to combine low-rank adapters.

    Attributes:
        name: as peft's add_weighted_adapter calls it.
        same_rank: the parts must have one rank.
        sparse: it keeps a share of the values, `density`.
        doc: what comes out.
    """

    name: str
    same_rank: bool
    sparse: bool
    doc: str


ROWS = (
    Method("cat", False, False, "the weighted sum, exactly; the rank is the sum of all ranks"),
    Method("svd", False, False, "the nearest to the weighted sum that has the largest rank"),
    # It weights both factors by the square root, so mixed products of the parts come in.
    Method("linear", True, False, "sums of the factors: small and quick, not the weighted sum"),
    Method("ties", True, True, "large values only, those of the prevailing sign (2306.01708)"),
    Method("dare_linear", True, True, "a random share of the values, scaled up (2311.03099)"),
    Method("dare_ties", True, True, "a random share, those of the prevailing sign"),
    Method("magnitude_prune", True, True, "the largest values of each part"),
)
METHODS: dict[str, Method] = {row.name: row for row in ROWS}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How adapters are combined: a weight for each part, the method, the share it keeps."""

    weights: tuple[float, ...]
    method: str = "cat"
    density: float = 0.5


def adapter_named(config: Config, name: str) -> Adapter:
    """Return an adapter by its folder, or by the name of its run.

    Raises:
        UserError: there is none of that name.
    """
    places = (config.path(name), config.path(config.train.output_dir) / name)
    found = next((place for place in places if find_adapter(place)), places[0])
    return read_adapter(found)


def find_adapters(config: Config) -> list[Path]:
    """Return the adapter folders of all runs and of fine_tuned_model/, without checkpoints."""
    roots = (config.path(config.train.output_dir), config.root / PROMOTED)
    files = [path for root in roots for path in sorted(root.rglob(SETTINGS))]
    return [path.parent for path in files if CHECKPOINTS not in path.parts]


def list_rows(config: Config) -> list[list[str]]:
    """Return a row for each adapter: name, technique, rank, base, size, score of its run.

    One that cannot be read hides no other; `adapters.py show` says what is wrong with it.
    """
    return [_row(config, folder) for folder in find_adapters(config)]


def _row(config: Config, folder: Path) -> list[str]:
    name = str(folder.relative_to(config.root) if folder.is_relative_to(config.root) else folder)
    try:
        adapter = read_adapter(folder)
    except UserError:
        return [name, "broken", "-", "-", "-", "-"]
    size = f"{adapter.size / 2**20:.2f} MiB"
    base = adapter.base_name or "unknown"
    return [name, adapter.kind, str(adapter.rank or "-"), base, size, _score(adapter.folder)]


def _score(folder: Path) -> str:
    """Return what the evaluation of the run found on the pooled sets, or that there was none."""
    path = (folder.parent if folder.name == PLACE else folder) / RESULTS
    pooled = read_json(path)["pooled"] if path.is_file() else None
    if pooled is None:
        return "not evaluated"
    return f"{pooled['tuned']:.3f} (base {pooled['base']:.3f}, n = {pooled['n']})"


def facts(adapter: Adapter) -> list[tuple[str, str]]:
    """Return name and value of everything that is known of an adapter."""
    rows = [("folder", str(adapter.folder)), ("technique", adapter.kind)]
    rows += [("base", adapter.base_name or "unknown"), ("size", f"{adapter.size:,} bytes")]
    rows += [("sha256", adapter.sha256), ("score", _score(adapter.folder))]
    shown = {name: value for name, value in adapter.settings.items() if value not in (None, {}, [])}
    rows += [(f"{SETTINGS}: {name}", str(value)) for name, value in shown.items()]
    return rows + [(f"{RECORD}: {name}", str(value)) for name, value in adapter.record.items()]


def load_adapters(
    config: Config, adapters: Sequence[Adapter], precision: str
) -> tuple[LoadedModel, dict[str, str]]:
    """Load one base with several adapters on it; the first one is active.

    Returns:
        The model, and what peft calls each adapter, by its title.

    Raises:
        UserError: they cannot share a base.
    """
    first = adapters[0]
    loaded = load_adapter_base(first, precision, config)
    if problems := list(_shared_problems(adapters, loaded)):
        raise UserError(problems)
    names: dict[str, str] = {}
    for number, adapter in enumerate(adapters):
        title = adapter.title
        if title in names:
            title = f"{title}-{number + 1}"
        # Titles may hold dots, or words that peft keeps for itself.
        names[title] = f"part{number}"
        loaded.model = with_adapter(loaded.model, adapter, name=names[title])
    loaded.model.set_adapter("part0")
    loaded.model.eval()
    return with_own_tokenizer(loaded, first.folder.parent, config), names


def _shared_problems(adapters: Sequence[Adapter], loaded: LoadedModel) -> Iterator[Problem]:
    """Yield why adapters cannot lie on one base together."""
    first, source = adapters[0], loaded.source
    for other in adapters[1:]:
        where = str(other.folder)
        if problem := base_problem(other, source.name, source.path):
            yield problem
        if other.settings["peft_type"] != first.settings["peft_type"] or (
            _is_quantised(other) != _is_quantised(first)
        ):
            found = f"an adapter of {other.kind} beside one of {first.kind}"
            yield Problem(where, found, fix=f"use adapters of {first.kind}, or merge one first")
    for adapter in adapters if len(adapters) > 1 else ():
        if adapter.settings.get("init_lora_weights") == "pissa":
            found = "it took a part out of the base (pissa), which the other adapters need"
            yield Problem(str(adapter.folder), found, fix="use it alone, or merge it first")


def _is_quantised(adapter: Adapter) -> bool:
    return bool(adapter.technique) and TECHNIQUES[adapter.technique].quantised


def combine(config: Config, adapters: Sequence[Adapter], recipe: Recipe, out: Path) -> Path:
    """Write the weighted combination of adapters as a new one; return its folder.

    Args:
        config: says where the base may come from; its seed decides what is dropped at random.
        adapters: of one base.
        recipe: weights and method.
        out: new folder; it gets the tokenizer, and the adapter in `adapter/`.

    Raises:
        UserError: the parts cannot be combined, or not like this.
    """
    import torch

    problems = [*_recipe_problems(adapters, recipe), *_out_problems(out)]
    if problems:
        raise UserError(problems)
    loaded, names = load_adapters(config, adapters, "fp32")
    model, parts = loaded.model, list(names.values())
    for part in parts:
        # The new adapter copies this from the first part; but its factors hold the scale already.
        model.peft_config[part].use_rslora = False
    torch.manual_seed(config.train.seed)
    density = recipe.density if METHODS[recipe.method].sparse else None
    try:
        model.add_weighted_adapter(
            parts, list(recipe.weights), COMBINED, recipe.method, density=density
        )
    except ValueError as error:
        raise UserError(Problem("adapters", f"peft cannot combine them: {error}")) from None
    made = adapters[0].record or {"schema": 1, "technique": adapters[0].technique}
    place = out / PLACE
    _save_named(model, COMBINED, place)
    loaded.tokenizer.save_pretrained(out)
    shown = {"method": recipe.method, "density": density, "parts": _parts(adapters, recipe.weights)}
    kept = {name: made[name] for name in made if name not in ("run", "started_from", "combined")}
    if adapters[0].record:
        write_json(place / RECORD, kept | {"combined": shown})
    else:  # the base is known by the name in peft's file only
        write_json(out / MERGED, {"schema": 1, "combined": shown})
    return place


def _recipe_problems(adapters: Sequence[Adapter], recipe: Recipe) -> Iterator[Problem]:
    method = METHODS.get(recipe.method)
    if method is None:
        yield Problem("--method", "no such method", ", ".join(METHODS))
    if len(adapters) < 2:
        yield Problem("adapters", "one has nothing to be combined with", fix="name two or more")
    if len(recipe.weights) != len(adapters):
        found = f"{len(recipe.weights)} weights for {len(adapters)} adapters"
        yield Problem("--weights", found, fix="give one for each adapter")
    if not all(map(math.isfinite, recipe.weights)) or not any(recipe.weights):
        yield Problem("--weights", "not numbers, or all zero", "numbers, one of them not 0")
    if not 0 < recipe.density <= 1:
        yield Problem("--density", "not a share", "above 0, at most 1")
    for adapter in adapters:
        if adapter.settings["peft_type"] != "LORA":
            found = f"an adapter of {adapter.kind} is no low-rank update that could be added up"
            yield Problem(str(adapter.folder), found, "lora, qlora")
        elif adapter.settings.get("use_dora"):
            found = "dora keeps lengths of whole weights, which do not add up"
            yield Problem(str(adapter.folder), found, "lora, qlora")
    ranks = sorted({adapter.rank or 0 for adapter in adapters})
    if method is not None and method.same_rank and len(ranks) > 1:
        found = f"{method.name} needs one rank, these have {', '.join(map(str, ranks))}"
        yield Problem("--method", found, ", ".join(r.name for r in ROWS if not r.same_rank))


def _out_problems(out: Path) -> Iterator[Problem]:
    if out.exists() and any(out.iterdir()):
        yield Problem("--out", f"{out} is not empty", fix="name a new folder")


def _parts(adapters: Sequence[Adapter], weights: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {"adapter": one.title, "folder": str(one.folder), "weight": weight, "sha256": one.sha256}
        for one, weight in zip(adapters, weights, strict=True)
    ]


def _save_named(model: Any, name: str, place: Path) -> None:
    """Write one adapter of a model into a folder; peft gives it a folder of its own inside."""
    staged = place / ".staged"
    model.save_pretrained(staged, selected_adapters=[name])
    for path in (staged / name).iterdir():
        path.rename(place / path.name)
    shutil.rmtree(staged)


def merge(config: Config, adapter: Adapter, out: Path) -> Path:
    """Fold an adapter into its base and write plain weights that load like any model.

    Raises:
        UserError: the technique leaves nothing that could be folded in, or `out` is taken.
    """
    problems = list(_out_problems(out))
    if adapter.technique and not TECHNIQUES[adapter.technique].mergeable:
        found = f"{adapter.technique} changes no weight of the base, or one that cannot be folded"
        rows = [row for row in TECHNIQUES.values() if row.trainable == "adapter"]
        allowed = ", ".join(row.name for row in rows if row.mergeable)
        problems.append(Problem(str(adapter.folder), found, allowed, "load it beside its base"))
    if problems:
        raise UserError(problems)
    precision = str(adapter.record.get("precision", "fp32"))
    loaded = load_adapter_base(adapter, precision, config)
    if _is_quantised(adapter):
        loaded.model = None  # the plain weights need its room
        loaded.model = merged_with_rounded_base(config, precision, adapter.folder)
    else:
        loaded.model = merged(with_adapter(loaded.model, adapter))
    loaded.model.config.use_cache = True
    loaded.model.save_pretrained(out, max_shard_size="1000GB")
    tuned = with_own_tokenizer(loaded, adapter.folder.parent, config)
    tuned.reader(images=True).save_pretrained(out)
    base = loaded.source.as_dict()
    write_json(out / MERGED, {"schema": 1, "base": base, "merged": _parts([adapter], [1.0])})
    return out
