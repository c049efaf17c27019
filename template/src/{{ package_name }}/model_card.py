"""The model card: README.md of a run, written from what really happened.

Facts come from training_args.json, evaluation_results.json, the data report, the packs and
the user's MODEL_CARD.md, which is only read. What is not known is said to be unknown, with the
reason. No text of the training data is ever quoted.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from . import card_sections as sections
from .card_facts import OWN_WORDS, Facts, gather
from .card_loading import loading
from .card_metadata import front_matter
from .card_results import results_section
from .card_training import training
from .config import Config
from .licences import UNDECLARED
from .utils import write_text

CARD = "README.md"
NOTICE = "Notice.txt"
SECTIONS = (
    ("Goal", sections.goal),
    ("Intended use", sections.intended_use),
    ("Out of scope", sections.out_of_scope),
    ("Results", results_section),
    ("Training data and personal data", sections.data),
    ("Licences", sections.licences),
    ("Loading", loading),
    ("Training", training),
    ("Hardware and energy", sections.hardware),
    ("Ethics", sections.ethics),
    ("Limits", sections.limits),
    ("Regulation: verify with counsel", sections.regulation),
    ("Human oversight", sections.oversight),
    ("Version and reproduction", sections.reproduction),
    ("Citation", sections.citation),
    ("Contact", sections.contact),
)
PLACED = {*sections.ASKED, "Version", "Citation"}  # headings of the project that have their place


def write_card(config: Config, run_dir: Path, say: Callable[[str], None] = print) -> Path:
    """Write the model card of a run, and the notice that its licence asks for; return its path.

    Args:
        config: the run's configuration as it is now.
        run_dir: folder of the run.
        say: receives what speaks against the declared use, and what should be stated yet.

    Raises:
        UserError: the folder is no run.
    """
    facts = gather(config, run_dir)
    path = run_dir / CARD
    write_text(path, front_matter(facts) + "\n" + "\n".join(_body(facts)) + "\n")
    row = facts.licences.row
    if row and row.notice:
        write_text(run_dir / NOTICE, row.notice + "\n")
    for level in ("conflict", "unclear"):
        for text in facts.licences.of_level(level):
            say(f"licence {level}: {text}")
    for question in missing(facts):
        say(f"unknown in the card: {question}")
    return path


def missing(facts: Facts) -> Iterator[str]:
    """Yield what only the project can tell and has not told: where to write it, and what."""
    for heading, asked in sections.ASKED.items():
        if heading not in facts.own:
            yield f"{OWN_WORDS}, {heading}: {asked}"
    if empty := [f"goal.{name}" for name, words in facts.goal.items() if not words]:
        yield f"{', '.join(empty)} in the configuration: a sentence each"
    if not facts.licences.use:
        yield "goal.use in the configuration: what the model will be used for"
    if not facts.licences.base:
        yield "model.licence in the configuration: the licence of the base model"
    if not facts.licences.data or "" in facts.licences.data:
        yield "data.licences in the configuration: the licence of every raw file or folder"
    if not facts.energy:
        yield "hardware.power_w in the configuration: what the device draws, in W"


def _body(facts: Facts) -> Iterator[str]:
    record, row = facts.record, facts.licences.row
    yield f"# {facts.name}"
    yield ""
    conflicts = facts.licences.of_level("conflict")
    if conflicts:
        use = facts.licences.use or UNDECLARED
        yield f"> **Licence conflict with the declared use ({use}).**"
        yield from (f"> - {text}" for text in conflicts)
        yield ""
    if row and row.banner:
        yield f"**{row.banner}**"
        yield ""
    yield f"`{record['model']['name']}`, fine-tuned ({record['objective']}, {record['technique']})."
    yield f"Run `{record['run']}`, {record['created'][:10]}. Made by a program from its records."
    pooled = (facts.results or {}).get("pooled")
    if pooled:
        scores = f"{pooled['base']:.3f} to {pooled['tuned']:.3f}, n = {pooled['n']}"
        yield f"Against its base, on the pooled sets: **{pooled['verdict']}** ({scores})."
    for title, lines in SECTIONS:
        yield ""
        yield f"## {title}"
        yield ""
        yield from lines(facts)
    for title, text in facts.own.items():
        if title not in PLACED:
            yield ""
            yield f"## {title}"
            yield ""
            yield text
