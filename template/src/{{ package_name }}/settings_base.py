"""What every section of the configuration shares."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# Below 1: a share of the run. From 1 on: a whole number of optimiser steps.
ShareOrSteps = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """One block of the YAML file: unknown names are refused, types are not converted."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )
