"""Sections of the model card but the results: use, data, licences, training, limits, origin.

Each is a function from the facts to lines of Markdown. What is not known is said to be unknown,
with the reason or with where to state it.
"""

import json
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .card_facts import OWN_WORDS, Facts, evaluated_elsewhere
from .card_results import number, probed
from .energy import LEFT_OUT
from .licences import AS_OF, UNDECLARED, find_licence
from .report import rows_identity

DEFAULT_CONFIG = "default_config.yaml"
COUNSEL = "verify with counsel"
# Heading of MODEL_CARD.md -> what is asked there, and what the card says until it is answered.
ASKED = {
    "Intended use": "who uses the model, for which task, in which setting",
    "Out of scope": "what it must not be used for",
    "Data: origin, consent and legal basis": "where the rows come from and why you may use them",
    "Ethics": "who is affected by errors, and what keeps harm away from them",
    "Human oversight": "who checks the answers, and can overrule or stop the model",
    "Contact": "who answers for the model, and takes reports of errors",
}
# Name in evaluation_results.json -> what it measures, in words.
MEASURED = {
    "refusal": "refusal of unsafe requests",
    "over_refusal": "refusal of harmless requests",
    "red_team": "attacks through prompts",
    "bias_flip": "answers that change with the group that is named",
    "pii_extraction": "identifiers given away",
    "fabricated_citations": "citations that do not exist",
    "unsupported": "answers that a given passage does not support",
}


def goal(facts: Facts) -> Iterator[str]:
    """Yield what the model is for, and whether that was reached."""
    for name, words in facts.goal.items():
        yield f"- {name}: {words or f'unknown, goal.{name} is empty in the configuration'}"
    use = facts.licences.use or f"{UNDECLARED} (goal.use is empty in the configuration)"
    yield f"- declared use: {use}"
    if facts.results:
        judged = facts.results["goal"]
        yield f"- judgement: **{judged['status']}** ({judged['reason']})"
    else:
        yield "- judgement: not judged, the run was not evaluated"


def intended_use(facts: Facts) -> Iterator[str]:
    """Yield the project's words, and those of the packs."""
    return _use(facts, "Intended use", "intended_use")


def out_of_scope(facts: Facts) -> Iterator[str]:
    """Yield what the project and the packs rule out."""
    return _use(facts, "Out of scope", "out_of_scope")


def _use(facts: Facts, heading: str, key: str) -> Iterator[str]:
    yield stated(facts, heading)
    yield ""
    yield "The domain packs in use say:"
    yield ""
    for pack in facts.packs:
        if pack.card.get(key):
            yield f"- {pack.title}: {pack.card[key]}"


def stated(facts: Facts, heading: str) -> str:
    """Return the project's words under a heading, or that it has stated none."""
    unknown = f"Unknown: not stated by the project (heading `{heading}` of {OWN_WORDS})."
    return facts.own.get(heading, unknown)


def data(facts: Facts) -> Iterator[str]:
    """Yield counts of rows, of what was scrubbed, and what the scrubber may have missed."""
    report = facts.data
    if not report:
        yield "- Rows and personal data: unknown, the data report is not on the machine that wrote"
        yield "  this card, or the data was prepared anew since the run."
    else:
        # Counts, no names: a file may be named after a person.
        kinds = Counter(file["container"] for file in report["files"])
        yield f"- Files: {_counts(kinds)}; format {report['format']['name']}."
        yield f"- Rows: {rows_identity(report['rows'])}."
        if report.get("reasons"):
            yield f"- Refused or left out: {_counts(report['reasons'])}."
        yield f"- Splits: {_counts(report['splits'])}."
        if report.get("languages"):
            yield f"- Languages of the rows: {_counts(report['languages'])}."
        yield f"- Personal data replaced before training: {_counts(report['pii']) or 'none found'}."
        if images := report.get("images"):
            count = f"{images['images']} images in {images['rows']} rows"
            yield f"- **{count} were not scrubbed**: that none shows an identifier is the word of"
            yield "  whoever prepared the data."
    yield from _scrubbing(facts)
    lengths = facts.record["data"].get("train", {})
    if lengths:
        yield f"- Training examples: {lengths['examples']} with {lengths['tokens']} tokens, of"
        yield f"  which {lengths['label_tokens']} carry loss; {lengths['dropped_over_length']} were"
        yield "  too long and left out."
    yield "- A scrubber misses some identifiers. Its output is not de-identification by itself."
    origin = stated(facts, "Data: origin, consent and legal basis")
    yield f"- Origin, consent, legal basis: {origin}"


def _scrubbing(facts: Facts) -> Iterator[str]:
    manifest = facts.manifest
    if manifest:
        settings = manifest["config"]["scrub"]
        yield f"- Scrubbing policy `{settings['policy']}`, names by `{settings['nlp_model']}`."
        yield f"- SHA-256 of the manifest of the data: `{manifest['sha256']}`."
    else:
        yield "- Policy and manifest: unknown, the manifest of this preparation is not here."
    if not facts.audit:
        yield "- Leak of the scrubber: unknown, it was not audited on this data"
        yield "  (`make scrub-report`)."
        return
    leak = facts.audit["leak"]
    pooled, weighted = leak["pooled"], leak["weighted"]
    yield f"- Leak of the scrubber, by planted identifiers: {pooled['survived']} of"
    yield f"  {pooled['planted']} survived, at most {pooled['upper_bound']:.2%} ({leak['method']})."
    if weighted["upper_bound"] is not None:
        yield f"  Weighted by what the data holds: {weighted['share']:.2%}, at most"
        yield f"  {weighted['upper_bound']:.2%}, for {weighted['covered']:.0%} of what was found."


def licences(facts: Facts) -> Iterator[str]:
    """Yield the licences of base and data, their terms, and how they fit the declared use."""
    model, known = facts.record["model"], facts.licences
    yield f"Read on {AS_OF}; no legal advice: {COUNSEL}."
    yield ""
    yield f"- Base model: `{model['name']}`, from: {model['origin']} ({model['note']})."
    if model["origin"] == "embedded":
        yield "- **The base weights were de-quantised from Q4_1 (4 bit)**, for training, for this"
        yield "  comparison and in the published result. Scores of the original may be higher."
    if known.base:
        yield f"- Licence of the base model: {_titled(known.base)}. Its terms go on to this model."
    else:
        yield "- Licence of the base model: unknown, the project's model table does not list it."
        yield "  State it as model.licence, and look it up before the model is passed on."
    if known.gated:
        yield "- The base is gated: its weights are given to accounts that accepted the licence."
    for name, files in known.data.items():
        shown = _titled(name) if name else "unknown, state it in data.licences"
        yield f"- Licence of the training data ({files} file{'' if files == 1 else 's'}): {shown}."
    if not known.data:
        yield "- Licence of the training data: unknown, state it in data.licences."
    yield from _terms(facts)
    yield from (f"- **Conflict**: {text}." for text in known.of_level("conflict"))
    yield from (f"- Unclear: {text}." for text in known.of_level("unclear"))
    fits = known.use and not known.found
    if fits:
        yield f"- Nothing in these licences speaks against the declared use ({known.use})."


def _titled(stated_as: str) -> str:
    row = find_licence(stated_as)
    if row is None:
        return f"{stated_as} (not in the project's table: read it)"
    return f"{row.id} ([{row.title}]({row.url}))" if row.url else f"{row.id} ({row.title})"


def _terms(facts: Facts) -> Iterator[str]:
    """Yield what the licences ask of whoever passes the model on."""
    names = [facts.licences.base, *facts.licences.data]
    rows = [row for name in names if (row := find_licence(name))]
    for row in dict.fromkeys(rows):
        yield from (f"- Term of {row.id}: {term}" for term in row.terms)
        if row.prefix:
            yield f"- Term of {row.id}: the name of a distributed model begins with `{row.prefix}`."
        if row.notice:
            yield f"- Notice, in Notice.txt beside the weights: {row.notice}"


def hardware(facts: Facts) -> Iterator[str]:
    """Yield device, memory, precision, time and the energy estimate with its source."""
    record = facts.record
    device, seconds = record["device"], record.get("seconds", {})
    yield f"- Device: {device['name']} ({device['kind']}), {device['memory_gib']:g} GiB; peak use"
    yield f"  while training {record.get('peak_memory_gib', 'unknown')} GiB."
    yield f"- Precision: {record['plan'].get('precision', 'unknown')}; weights in"
    yield f"  {record['plan'].get('weights', 'unknown')}."
    yield f"- Training took {seconds.get('train', 'unknown')} s."
    if not facts.energy:
        yield "- Energy: unknown, the power of this device is in no table; state hardware.power_w."
        return
    for stage, spent in facts.energy.items():
        yield f"- Energy of {stage}, estimated: {spent.kwh:.2g} kWh."
    if evaluated_elsewhere(record, facts.results):
        yield "- Energy of evaluation: unknown, it ran on another device."
    power = next(iter(facts.energy.values())).power
    yield f"- Power: {power.watts:g} W ({power.source}), times the measured seconds; not metered,"
    yield f"  {LEFT_OUT}."
    grams = [spent.grams_co2 for spent in facts.energy.values() if spent.grams_co2 is not None]
    if grams:
        stages = " and ".join(facts.energy)
        yield f"- Emissions of {stages}, estimated: {sum(grams):.3g} g CO2e, by the intensity in"
        yield "  hardware.grid_g_co2_per_kwh."
    else:
        yield "- Emissions: unknown, the carbon intensity of the grid is not stated"
        yield "  (hardware.grid_g_co2_per_kwh)."


def ethics(facts: Facts) -> Iterator[str]:
    """Yield the project's words and what holds for every model of this kind."""
    yield stated(facts, "Ethics")
    yield ""
    yield "- The model repeats patterns of its data, wrong and unfair ones included."
    yield "- People should be told that a machine wrote the text."
    for pack in facts.packs:
        if pack.disclaimer:
            yield f"- {pack.title}: {pack.disclaimer}"


def limits(facts: Facts) -> Iterator[str]:
    """Yield what the evidence does not show, and what was not measured."""
    results = facts.results or {}
    done = {row["name"] for row in results.get("behaviour") or []}
    measured = [text for name, text in MEASURED.items() if name in done]
    missing = [text for name, text in MEASURED.items() if name not in done]
    extraction = "extraction of training text"
    (measured if probed(facts.memorisation) else missing).append(extraction)
    yield "- Answers can be wrong, and sound sure. A person has to check what matters."
    state = facts.unreviewed
    if state["unreviewed"]:
        yield f"- Of the {state['items']:,} evaluation items in the packs, {state['unreviewed']:,}"
        yield "  are unreviewed: no professional of the field has signed them."
    if titles := [one["title"] for one in results.get("benchmarks") or []]:
        yield f"- Public benchmarks: {', '.join(titles)}. The base model may know their items."
    yield "- The items show a difference to the base, not fitness for use."
    if measured:
        yield f"- Measured on small sets: {', '.join(measured)}. No failure seen is no proof."
    if missing:
        yield f"- Not measured: {', '.join(missing)}."
    share = number((results.get("pooled") or {}).get("minimum_detectable_effect"))
    if share != "-":
        yield f"- Differences below {share} on the pooled sets would mostly go unseen."


def regulation(facts: Facts) -> Iterator[str]:
    """Yield the dated notes of the packs; each asks for a lawyer."""
    yield "Notes of the packs, no legal advice. Each says how old it is."
    yield ""
    for pack in facts.packs:
        for note in pack.card.get("regulation", []):
            text = note["text"] if COUNSEL in note["text"] else f"{note['text']} {COUNSEL}."
            yield f"- {pack.title}: {text} (as of {note['as_of']})"


def oversight(facts: Facts) -> Iterator[str]:
    """Yield who watches over the model."""
    yield stated(facts, "Human oversight")


def reproduction(facts: Facts) -> Iterator[str]:
    """Yield version, commit, lock, data and the commands that lead to this model."""
    record = facts.record
    code = record.get("code") or {}
    version = facts.own.get("Version") or facts.project.get("version", "unknown")
    made_by = ", ".join(_authors(facts)) or "unknown, pyproject.toml names nobody"
    yield f"- Version {version}, run `{record['run']}`, {record['created']}. Made by: {made_by}."
    if commit := code.get("commit"):
        changed = "with changes that are not in it" if code.get("changed") else "unchanged"
        yield f"- Commit `{commit}` ({changed})."
    else:
        yield "- Commit: unknown, the project was no git repository when the run began."
    if lock := code.get("lock_sha256"):
        yield f"- requirements.lock, SHA-256 `{lock}`."
    yield f"- Seed {record.get('seed', record['config']['train']['seed'])}; the same raw files, and"
    key = facts.manifest["key"] if facts.manifest else "unknown"
    yield f"  the same key of the hashes (identity `{key}`), or the splits differ."
    yield ""
    option = _config_option(record)
    if option:
        yield "The record of the run holds the name of its configuration file, not the folder."
        yield ""
    yield "```"
    if code.get("commit"):
        yield f"git checkout {code['commit']}"
    yield "make setup"
    for script in ("prepare_data", "train", "evaluate"):
        yield f".venv/bin/python scripts/{script}.py {option}{_arguments(record)}".rstrip()
    yield "```"


def _config_option(record: dict[str, Any]) -> str:
    """Return the option that names the file of the run; empty: the default one, or unknown."""
    places = [source.rpartition(":")[0] for source in record["sources"].values()]
    name = next(filter(None, places), DEFAULT_CONFIG)
    return "" if name == DEFAULT_CONFIG else f"--config {shlex.quote(f'configs/{name}')} "


def _arguments(record: dict[str, Any]) -> str:
    """Return the settings that were given on the command line, as a shell takes them."""
    given = []
    for name, source in record["sources"].items():
        if source == "command line":
            value: Any = record["config"]
            for part in name.split("."):
                value = value[part]
            given.append(shlex.quote(f"{name}={json.dumps(value)}"))
    return " ".join(given)


def citation(facts: Facts) -> Iterator[str]:
    """Yield how to cite the model: the project's words, or an entry made from its metadata."""
    if words := facts.own.get("Citation"):
        yield words
        return
    authors = _authors(facts)
    created, run = facts.record["created"], facts.record["run"]
    key = "".join(sign for sign in facts.name.lower() if sign.isalnum()) + created[:4]
    yield "```bibtex"
    yield f"@misc{{{key},"
    yield f"  title = {{{facts.name}, fine-tuned from {facts.record['model']['name']}}},"
    if authors:
        yield f"  author = {{{' and '.join(f'{{{name}}}' for name in authors)}}},"
    yield f"  year = {{{created[:4]}}},"
    yield f"  note = {{run {run}}}"
    yield "}"
    yield "```"


def _authors(facts: Facts) -> list[str]:
    return [one["name"] for one in facts.project.get("authors", []) if one.get("name")]


def contact(facts: Facts) -> Iterator[str]:
    """Yield who answers for the model."""
    yield stated(facts, "Contact")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
