"""Licences of base model and data, and whether they allow the declared use: one table.

The rows are reading aids with the day of the reading, no legal advice. A licence that is not in
the table is unknown: that is said, and blocks nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .config import Config
from .shapes import table

AS_OF = "2026-11-23"  # day on which the terms below were read
USES = ("research", "commercial", "clinical", "internal")
UNDECLARED = "not declared"
BUSINESS = ("commercial", "clinical", "internal")
RESTRICTED = re.compile(r"non-?commercial|\bnc\b|research-(use-)?only|academic|evaluation-only")
CREATIVE_COMMONS = re.compile(r"cc-by(-nc)?(-sa|-nd)?(-[1-4]\.\d)?")
PROFESSION = "No unlicensed practice of a profession (medicine, law, finance) with the model."
USERS = "Products with more than 700 million monthly users need a licence of their own from Meta."
COPY = "Whoever gets the weights gets a copy of the licence."


@dataclass(frozen=True, slots=True)
class Licence:
    """What a licence means for a tuned model.

    Attributes:
        id: identifier of the hub, or our own where `listed` is false.
        title: full name.
        url: where its text is.
        forbids: declared uses that it excludes.
        doubtful: declared uses that depend on a reading of it.
        terms: what goes on to the tuned model, one sentence each.
        notice: text that a file Notice.txt beside distributed weights has to hold.
        prefix: how the name of a distributed model has to begin.
        banner: words to be shown prominently.
        unclear: what it leaves open for a tuned model, whatever the use.
        listed: the hub knows the identifier (hub-docs, repositories-licenses).
    """

    id: str
    title: str
    url: str
    forbids: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    notice: str = ""
    prefix: str = ""
    banner: str = ""
    unclear: str = ""
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Subject:
    """What is licensed: the base model, or a part of the data. `licence` is as it was stated."""

    what: str
    licence: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check of one subject found: level is conflict, unclear or unknown."""

    level: str
    text: str


def _llama(version: str, banner: str, prefix: str, url: str) -> Licence:
    terms = [COPY, PROFESSION, USERS]
    if version == "2":
        terms.append("No use of the model or its outputs to improve other large language models.")
    community = (
        "LLAMA 2 Community License" if version == "2" else f"Llama {version} Community License"
    )
    owner = "Copyright © Meta Platforms, Inc. All Rights Reserved."
    return Licence(
        f"llama{version}",
        f"Llama {version} Community License Agreement",
        url,
        terms=tuple(terms),
        notice=f"Llama {version} is licensed under the {community}, {owner}",
        prefix=prefix,
        banner=banner,
    )


def _rail(name: str, title: str, url: str, forbids: tuple[str, ...], term: str) -> Licence:
    passed_on = "Its use restrictions bind every user and have to be passed on with the model."
    return Licence(name, title, url, forbids, terms=(passed_on, term))


_META = "https://github.com/meta-llama/llama-models/blob/main/models"
_ATTRIBUTION = "Credit the authors and name the licence."
_ALIKE = "Adapted material goes on under the same licence; whether a model is one is unsettled."
_COPYLEFT = "A distributed work that builds on it goes on under the same licence."
_REACH = "whether a tuned model has to go on under the same licence is unsettled"
# They ask for credit or a copy of their text at most, so data under them adds no limit.
FREE = {"apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "pddl", "odc-by"}
FREE_CC = re.compile(r"cc-by(-[1-4]\.\d)?")
_QWEN = "Qwen is licensed under the Qwen RESEARCH LICENSE AGREEMENT, Copyright (c) Alibaba Cloud."
_ROWS = (
    Licence(
        "apache-2.0",
        "Apache License 2.0",
        "https://www.apache.org/licenses/LICENSE-2.0",
        terms=(COPY, "State that the files were changed; keep a NOTICE file of the base."),
    ),
    Licence("mit", "MIT License", "https://opensource.org/license/mit", terms=(COPY,)),
    Licence(
        "bsd-3-clause",
        "BSD 3-Clause License",
        "https://opensource.org/license/bsd-3-clause",
        terms=(COPY,),
    ),
    Licence("cc0-1.0", "CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    Licence("pddl", "ODC Public Domain Dedication", "https://opendatacommons.org/licenses/pddl/"),
    Licence(
        "odc-by",
        "ODC Attribution License",
        "https://opendatacommons.org/licenses/by/",
        terms=(_ATTRIBUTION,),
    ),
    Licence(
        "odbl",
        "ODC Open Database License",
        "https://opendatacommons.org/licenses/odbl/",
        terms=(_ATTRIBUTION, _ALIKE),
        unclear=_REACH,
    ),
    Licence(
        "gpl-3.0",
        "GNU GPL 3.0",
        "https://www.gnu.org/licenses/gpl-3.0.html",
        terms=(_COPYLEFT,),
        unclear=_REACH,
    ),
    Licence(
        "agpl-3.0",
        "GNU AGPL 3.0",
        "https://www.gnu.org/licenses/agpl-3.0.html",
        terms=(_COPYLEFT, "Users over a network have to be offered the source as well."),
        unclear=_REACH,
    ),
    _llama("2", "", "", "https://github.com/meta-llama/llama/blob/main/LICENSE"),
    _llama("3.1", "Built with Llama", "Llama", f"{_META}/llama3_1/LICENSE"),
    _llama("3.2", "Built with Llama", "Llama", f"{_META}/llama3_2/LICENSE"),
    _llama("3.3", "Built with Llama", "Llama", f"{_META}/llama3_3/LICENSE"),
    Licence(
        "gemma",
        "Gemma Terms of Use",
        "https://ai.google.dev/gemma/terms",
        terms=(
            COPY,
            "Its use restrictions go into every agreement with users of the model.",
            "State that the files were changed.",
            PROFESSION,
        ),
        notice="Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms",
    ),
    Licence(
        "qwen-research",
        "Qwen RESEARCH LICENSE AGREEMENT",
        "https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE",
        BUSINESS,
        terms=(COPY, "Research or evaluation only; other uses need a licence from Alibaba Cloud."),
        notice=f"{_QWEN} All Rights Reserved.",
        banner="Built with Qwen",
        listed=False,
    ),
    _rail(
        "bigcode-openrail-m",
        "BigCode OpenRAIL-M v1",
        "https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement",
        (),
        "The forbidden uses are in its Attachment A.",
    ),
    _rail(
        "bigscience-openrail-m",
        "BigScience OpenRAIL-M",
        "https://huggingface.co/spaces/bigscience/license",
        ("clinical",),
        "Medical advice and the interpretation of medical results are among them.",
    ),
    _rail(
        "bigscience-bloom-rail-1.0",
        "BigScience BLOOM RAIL 1.0",
        "https://huggingface.co/spaces/bigscience/license",
        ("clinical",),
        "Medical advice and the interpretation of medical results are among them.",
    ),
    Licence(
        "physionet",
        "PhysioNet Credentialed Health Data License or data use agreement",
        "https://github.com/MIT-LCP/license-and-dua",
        BUSINESS,
        terms=(
            "The data is for lawful scientific research only and may not be shared; ask the "
            "provider whether weights trained on it may leave the group.",
        ),
        unclear="whether weights trained on it may be shared is for the provider to say",
        listed=False,
    ),
    Licence(
        "proprietary",
        "Proprietary data",
        "",
        listed=False,
        terms=("The right to train on it rests on the owner's permission.",),
        unclear="what its owner permits is not on record here",
    ),
)
LICENCES = {row.id: row for row in _ROWS}
# What people write -> row.
ALIASES = {
    "apache": "apache-2.0",
    "apache-license-2.0": "apache-2.0",
    "cc0": "cc0-1.0",
    "public-domain": "cc0-1.0",
    "internal": "proprietary",
    "own-data": "proprietary",
    "physionet-credentialed-health-data-license-1.5.0": "physionet",
}


def find_licence(stated: str) -> Licence | None:
    """Return the row of a licence as people write it (`CC BY-NC 4.0`); None: not in the table."""
    name = re.sub(r"[\s_]+", "-", stated.strip().lower())
    if row := LICENCES.get(ALIASES.get(name, name)):
        return row
    found = CREATIVE_COMMONS.fullmatch(name)
    return _creative_commons(name, found) if found else None


def _creative_commons(name: str, found: re.Match[str]) -> Licence:
    """Return the row of a licence of the CC BY family; its name says what it asks."""
    kind, version = name.removeprefix("cc-"), (found[3] or "-4.0")[1:]
    code = kind.removesuffix(found[3] or "")
    terms, unclear = [_ATTRIBUTION], ""
    if found[2] == "-sa":
        terms.append(_ALIKE)
        unclear = _REACH
    if found[2] == "-nd":
        terms.append("Adapted material may not be shared; whether a model is one is unsettled.")
        unclear = "whether a tuned model is adapted material, which may not be shared, is unsettled"
    if found[1]:
        terms.append("No use that is primarily for commercial advantage or payment.")
    return Licence(
        name,
        f"Creative Commons {code.upper()} {version}",
        f"https://creativecommons.org/licenses/{code}/{version}/",
        forbids=("commercial",) if found[1] else (),
        doubtful=("clinical", "internal") if found[1] else (),
        terms=tuple(terms),
        unclear=unclear,
        listed=bool(found[3]),
    )


def base_licence(name: str, stated: str | None = None) -> str:
    """Return the licence of a base model, empty where it is unknown.

    Args:
        name: id on the hub, or folder; a folder counts as the model whose name it bears.
        stated: setting `model.licence`, which goes first.
    """
    if stated:
        return stated
    last = re.split(r"[/\\]", name.rstrip("/\\").lower())[-1]
    rows = table("models")
    known = [key for key in rows if name == key] or [
        key for key in rows if key.lower().split("/")[-1] == last
    ]
    return str(rows[known[0]]["licence"]) if known else ""


def is_gated(name: str) -> bool:
    """Return True if the download of a base model needs an account and an accepted licence."""
    return bool(table("models").get(name, {}).get("gated"))


def check_use(use: str, subjects: Iterable[Subject]) -> Iterator[Finding]:
    """Yield what speaks against the declared use, what is unclear, and what is not known.

    Args:
        use: one of USES, or empty if none was declared.
        subjects: base model and data with their licences.
    """
    for one in subjects:
        row = find_licence(one.licence)
        if not one.licence:
            yield Finding("unknown", f"{one.what}: its licence is unknown, nobody has stated it")
        elif row is None:
            yield _unlisted(use, one)
        elif not use and (row.forbids or row.doubtful):
            uses = ", ".join([*row.forbids, *row.doubtful])
            told = f"excludes or limits: {uses}; state goal.use"
            yield Finding("unclear", f"{one.what}: {row.title} {told}")
        elif use in row.forbids:
            yield Finding("conflict", f"{one.what}: {row.title} does not allow {use} use")
        elif use in row.doubtful:
            told = f"depends on a reading whether {use} use is allowed: ask counsel"
            yield Finding("unclear", f"{one.what}: with {row.title} it {told}")
        elif row.unclear:
            yield Finding("unclear", f"{one.what}: {row.title}: {row.unclear}; ask counsel")


def _unlisted(use: str, one: Subject) -> Finding:
    name = re.sub(r"[\s_]+", "-", one.licence.lower())
    if RESTRICTED.search(name) and use != "research":
        level = "conflict" if use in BUSINESS else "unclear"
        found = f"its licence ({one.licence}) speaks of research or non-commercial use"
        return Finding(level, f"{one.what}: {found}, declared is: {use or UNDECLARED}")
    return Finding("unknown", f"{one.what}: {one.licence} is not in the project's table: read it")


def use_warnings(config: Config) -> Iterator[str]:
    """Yield a line for every licence that conflicts with the declared use, before training."""
    model = config.model
    base = Subject(f"base model {model.model_name_or_path}", licence_of_base(config))
    data = [Subject(f"data {name}", stated) for name, stated in config.data.licences.items()]
    for found in check_use(config.goal.use, [base, *data]):
        yield f"licence {found.level}: {found.text}"


def licence_of_base(config: Config) -> str:
    """Return the licence of the configured base model, empty where it is unknown."""
    return base_licence(config.model.model_name_or_path, config.model.licence)


def binding(base: str, data: Sequence[str]) -> list[Licence]:
    """Return the licences that bind a tuned model, that of the base first.

    Data under the licence of the base, or under one of FREE, adds none. Empty: unknown, as one of
    them is not stated or not in the table.
    """
    own = find_licence(base)
    rows = [find_licence(stated) for stated in data]
    known = [row for row in rows if row]
    if own is None or not rows or len(known) < len(rows):
        return []
    more = [row for row in known if row.id not in FREE and not FREE_CC.fullmatch(row.id)]
    return [*dict.fromkeys([own, *more])]
