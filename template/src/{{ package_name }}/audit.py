"""The audit of a run's scrubber: what it removed, what it would miss, what it does not look for.

The report holds counts, places and types, and no value: neither of the data nor of a canary.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import audit_coverage as coverage
from .audit_leak import CONFIDENCE, METHOD, Leak, measure, weighted
from .audit_sample import (
    Sample,
    action_of,
    drawn,
    field_counts,
    review,
    scrub_sample,
    texts_of,
    vocabulary,
)
from .canaries import Form, canaries
from .config import Config
from .errors import Problem, UserError
from .examination import Source, open_source, rows_of
from .keys import Keys, load_keys
from .manifest import NAME, check_manifest, recognizer_files, scrub_policy
from .packs import GENERAL
from .policies import POLICIES, Policy
from .utils import read_json
from .workers import load_scrubber

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .recognizers import Rule
    from .scrub import Scrubber

REPORT = "scrub_report.json"
PREPARED = "report.json"
SHOW_AFTER_S = 2  # progress


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is looked at.

    Attributes:
        rows: Drawn from the raw data.
        canaries: Planted for each type of identifier.
        review: Findings shown for review.
        seed: Of everything that is drawn.
    """

    rows: int = 200
    canaries: int = 100
    review: int = 20
    seed: int = 42


def audit(config: Config, extent: Extent, progress: bool = True) -> dict[str, Any]:
    """Return the report about the scrubber of a run and its last preparation.

    Args:
        config: The run.
        extent: How much is looked at.
        progress: Show progress bars on standard error.

    Raises:
        UserError: nothing is prepared, the raw data cannot be read, or the scrubber not loaded.
    """
    prepared, policy = _last_preparation(config)
    keys, _ = load_keys(config, create=False)
    # Canaries do not belong into the vault.
    settings = config.scrub.model_copy(update={"vault": None})
    scrubber = load_scrubber(config.model_copy(update={"scrub": settings}), keys)
    types = coverage.types_of(_rules(config), POLICIES[scrubber.policy])
    forms = claimed_forms(config, types)
    source = open_source(config)
    sample = _sample(config, source, keys, scrubber, extent, progress)
    planted = _bar(
        canaries(forms, extent.canaries, extent.seed),
        progress,
        "canaries",
        extent.canaries * len({form.type for form in forms}),
    )
    leak = measure(scrubber, sample.texts, planted, extent.seed)
    words = vocabulary(recognizer_files(config))
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "scrubber": _scrubber(config, scrubber),
        "prepared": _prepared(config, prepared, policy),
        "sample": {
            "rows": sample.rows,
            "refused": sample.refused,
            "fields": field_counts(sample.findings),
        },
        "leak": _leak(leak, extent, prepared["pii"]),
        "review": review(sample.findings, extent.review, extent.seed, words),
        "coverage": _coverage(config, prepared, scrubber, types, forms),
    }


def claimed_forms(config: Config, types: coverage.Types | None = None) -> list[Form]:
    """Return the forms of identifiers that are planted in a run.

    Raises:
        UserError: a rule or the policy is not usable.
    """
    policy = POLICIES[scrub_policy(config)]
    types = types or coverage.types_of(_rules(config), policy)
    packs = [GENERAL, *config.domains]
    return coverage.claimed(packs, config.scrub.languages, types, policy)


def require_prepared(config: Config) -> None:
    """Refuse to audit where nothing is prepared.

    Raises:
        UserError: there is no report of a preparation.
    """
    if not (config.path(config.data.prepared) / PREPARED).is_file():
        raise UserError(Problem(config.data.prepared, "no prepared data", fix="make prepare"))


def _rules(config: Config) -> list["Rule"]:
    """Return the rules of a run that are for its languages."""
    from .languages import applies
    from .recognizers import load_rules  # loads presidio: seconds

    rules = load_rules(recognizer_files(config))
    return [rule for rule in rules if applies(rule.languages, config.scrub.languages)]


def _last_preparation(config: Config) -> tuple[dict[str, Any], Policy]:
    """Return the report of the last preparation and the policy it had.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    require_prepared(config)
    folder = config.path(config.data.prepared)
    try:
        prepared, manifest = read_json(folder / PREPARED), read_json(folder / NAME)
        return prepared, POLICIES[manifest["config"]["scrub"]["policy"]]
    except (OSError, ValueError, KeyError, TypeError):
        found = "the last preparation did not end well, or was made by another version"
        raise UserError(Problem(config.data.prepared, found, fix="make prepare")) from None


def _sample(
    config: Config,
    source: Source,
    keys: Keys,
    scrubber: "Scrubber",
    extent: Extent,
    progress: bool,
) -> Sample:
    """Draw rows of the raw data and scrub them in memory.

    Raises:
        UserError: not one of them can be used.
    """
    rows = drawn(_bar(rows_of(source), progress, "read", None), extent.rows, extent.seed)
    layout = source.format.name if source.format else None
    texts = [texts_of(config, layout, keys, row) for row in rows]
    sample = scrub_sample(scrubber, keys.scrubber, [some for some in texts if some])
    if not sample.texts:
        found = f"of {len(rows)} rows drawn not one could be scrubbed"
        fix = "make prepare says why rows are refused"
        raise UserError(Problem(config.data.raw, found, fix=fix))
    return sample


def _bar(items: "Iterable[Any]", progress: bool, title: str, total: int | None) -> "Iterable[Any]":
    from tqdm import tqdm

    hidden = None if progress else True
    return tqdm(items, title, total, leave=False, disable=hidden, delay=SHOW_AFTER_S)


def _scrubber(config: Config, scrubber: "Scrubber") -> dict[str, Any]:
    return {
        "policy": scrubber.policy,
        "packs": list(dict.fromkeys([GENERAL, *config.domains])),
        "languages": list(config.scrub.languages),
        "nlp_model": config.scrub.nlp_model,
        "score_threshold": config.scrub.score_threshold,
        "fingerprint": scrubber.fingerprint,
    }


def _prepared(config: Config, report: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    """Return the counts of the last preparation, and what has changed since."""
    changed: list[str] = []
    try:
        check_manifest(config)
    except UserError as error:
        changed = [f"{problem.where}: {problem.found}" for problem in error.problems]
    return {
        "policy": policy.name,
        "rows": report["rows"],
        "types": [
            {"type": kind, "found": count, "action": action_of(kind, policy)}
            for kind, count in report["pii"].items()
        ],
        "files": report.get("pii_files", {}),
        "changed_since": changed,
    }


def _leak(leak: Leak, extent: Extent, found: Mapping[str, int]) -> dict[str, Any]:
    types = {kind: tally.report() for kind, tally in leak.types.items()}
    worst = sorted(types, key=lambda kind: (-types[kind]["survived"], kind))
    forms = sorted(leak.forms.items(), key=lambda one: (-one[1].survived, one[0]))
    return {
        "method": METHOD,
        "confidence": CONFIDENCE,
        "seed": extent.seed,
        "pooled": leak.pooled.report(),
        "weighted": weighted(types, found),
        "phrasings": {name: tally.report() for name, tally in leak.phrasings.items()},
        "types": {kind: types[kind] for kind in worst},
        "survivors": [
            {
                "type": kind,
                "form": name,
                "phrasing": phrasing,
                "planted": one.planted,
                "survived": one.survived,
            }
            for (kind, name, phrasing), one in forms
            if one.survived
        ],
        "refused": leak.refused,
    }


def _coverage(
    config: Config,
    prepared: Mapping[str, Any],
    scrubber: "Scrubber",
    types: coverage.Types,
    forms: Sequence[Form],
) -> dict[str, Any]:
    planted = {form.type for form in forms}
    return {
        "notices": list(scrubber.notices),
        "other_languages": coverage.other_languages(
            prepared.get("languages", {}), config.scrub.languages
        ),
        "safe_harbor": list(coverage.safe_harbor(types)),
        "without_rule": coverage.without_rule(types, planted),
        "kept_by_policy": sorted(types.kept_by_policy),
        "kept_by_rule": sorted(types.kept_by_rule),
        "not_planted": coverage.not_planted(types),
        "refused_rows": coverage.refused_rows(prepared["reasons"]),
        "unused_columns": prepared["format"]["unused_columns"],
        "labels": bool(prepared.get("labels")),
    }
