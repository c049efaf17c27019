"""Distillation: a model learns what a larger one expects at each token of an answer.

Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 2: cross entropy of the data's answers,
and the divergence between both models' distributions at a raised temperature, times its square,
so that both parts keep their weight when the temperature changes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from .config import Config
from .errors import Problem, UserError
from .footprint import DISTILLED_TILE
from .heads import HEADS
from .language_training import labelled_positions, language_classes, tokenised
from .model_readers import load_tokenizer, model_settings
from .model_source import find_installed, resolve_model, teacher_of
from .model_wrapper import load_base
from .objectives import IGNORED
from .settings import Distill
from .training import Job, Start, Tokenised, Training

FIX = "distil sequences instead: scripts/generate_data.py --make answers"


def answers() -> Training:
    """Learn the answers of conversations, and the teacher's view of them (objective distill)."""
    return Training(_tokenised, _classes, _extras, shots=True)


def _tokenised(records: Any, job: Job) -> Tokenised:
    if find_installed(teacher_of(job.config)):  # else it is fetched, and compared, when it loads
        source = resolve_model(teacher_of(job.config), setting="distill.teacher")
        require_same_tokens(job.tokenizer, load_tokenizer(source, model_settings(job.config)))
    return tokenised(records, job)


def _extras(start: Start) -> dict[str, Any]:
    teacher = partial(load_teacher, start.config, start.tokenizer)
    return {"teacher": teacher, "settings": start.config.distill}


def load_teacher(config: Config, tokenizer: Any, precision: str) -> Any:
    """Return the teacher, frozen and in evaluation mode.

    Args:
        config: names it in distill.teacher.
        tokenizer: of the model that learns.
        precision: number format of its weights, one of fp32, bf16, fp16.

    Raises:
        UserError: there is no such model, or it has other tokens.
    """
    named = teacher_of(config)
    resolve_model(named, setting="distill.teacher")
    loaded = load_base(named, precision, head=HEADS["causal_lm"])
    require_same_tokens(tokenizer, loaded.tokenizer)
    source = loaded.source
    print(f"Teacher: {source.name} from {source.origin} ({source.note}), {precision}, frozen")
    return loaded.model.requires_grad_(False)


def require_same_tokens(tokenizer: Any, other: Any) -> None:
    """Refuse a teacher whose token numbers mean other texts.

    Raises:
        UserError: the vocabularies, or the tokens that open and end a text, differ.
    """
    found = []
    if tokenizer.get_vocab() != other.get_vocab():
        found.append(f"another vocabulary ({len(other)} tokens; the base has {len(tokenizer)})")
    for name in ("bos_token_id", "eos_token_id"):
        if getattr(tokenizer, name) != getattr(other, name):
            found.append(f"another {name.removesuffix('_id')}")
    if found:
        allowed = "a model with the tokenizer of the base"
        raise UserError(Problem("distill.teacher", " and ".join(found), allowed, FIX))


def _classes() -> tuple[Any, Any]:
    """Return the trainer of language models with a teacher, and its arguments."""
    base, arguments = language_classes()

    class DistillationTrainer(base):  # type: ignore[misc, valid-type]
        """Learns from labels and from a teacher; the teacher is no part of what is saved."""

        def __init__(
            self, *args: Any, teacher: Callable[[str], Any], settings: Distill, **kwargs: Any
        ) -> None:
            super().__init__(*args, **kwargs)
            if self.args.loss_type != "nll":
                found = "distill has a loss of its own"
                raise UserError(Problem("train.extra.loss_type", found, fix="leave it out"))
            half = "fp16" if self.args.fp16 else "fp32"
            self.teacher = teacher("bf16" if self.args.bf16 else half)
            self.settings = settings

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            kept, targets = labelled_positions(inputs["labels"])
            options = {"logits_to_keep": kept, "use_cache": False}
            read = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            # Before the model: nothing of its forward pass is held meanwhile.
            wanted = teacher_scores(self.teacher, read | options)
            if self.aux_loss_enabled:
                options["output_router_logits"] = True
            output = model(**read, **options)
            scores = output.logits.flatten(0, 1)  # (batch * kept, vocabulary)
            part = partial(
                summed_loss,
                settings=self.settings,
                smoothing=self.args.label_smoothing_factor,
            )
            whole = self.whole_loss
            total = (part if whole else partial(tiled_loss, part))(scores, wanted, targets)
            labelled = (targets != IGNORED).sum().clamp(min=1)
            loss = total / (num_items_in_batch if num_items_in_batch is not None else labelled)
            if self.aux_loss_enabled:  # of a mixture of experts, weighted as TRL does
                counted = num_items_in_batch is not None
                steps = self.current_gradient_accumulation_steps if counted else 1
                loss = loss + self.router_aux_loss_coef * output.aux_loss / steps
            if not model.training:
                right = (scores.argmax(dim=-1) == targets).sum() / labelled
                self._metrics["eval"]["mean_token_accuracy"].append(right.item())
            return (loss, output) if return_outputs else loss

    return DistillationTrainer, arguments


def teacher_scores(teacher: Any, inputs: dict[str, Any]) -> Any:
    """Return the teacher's logits at the kept positions, shape (batch * kept, its vocabulary)."""
    import torch

    with torch.no_grad():
        return teacher(**inputs).logits.flatten(0, 1)


def summed_loss(
    scores: Any, wanted: Any, targets: Any, settings: Distill, smoothing: float = 0.0
) -> Any:
    """Return (1 - alpha) cross entropy + alpha T^2 KL(teacher || model), over labelled rows.

    Where one vocabulary was padded further than the other, the divergence is that of the
    common part.

    Args:
        scores: logits of the model, shape (rows, vocabulary).
        wanted: logits of the teacher, shape (rows, its vocabulary).
        targets: shape (rows); rows that are IGNORED do not count.
        settings: alpha and T.
        smoothing: of the labels in the cross entropy.
    """
    from torch.nn.functional import cross_entropy, kl_div, log_softmax

    alpha, softness = settings.alpha, settings.temperature
    hard = cross_entropy(
        scores.float(),
        targets,
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=smoothing,
    )
    common = min(scores.shape[-1], wanted.shape[-1])
    learned = log_softmax(scores[:, :common].float() / softness, dim=-1)
    given = log_softmax(wanted[:, :common].float() / softness, dim=-1)
    apart = kl_div(learned, given, reduction="none", log_target=True).sum(dim=-1)  # (rows)
    soft = apart[targets != IGNORED].sum()
    return (1 - alpha) * hard + alpha * softness**2 * soft


def tiled_loss(part: Callable[..., Any], scores: Any, wanted: Any, targets: Any) -> Any:
    """Return the sum of `part` over tiles of rows, each computed again for its gradient.

    So no more than the logits themselves is kept of all rows.
    """
    from torch.utils.checkpoint import checkpoint

    rows = max(1, DISTILLED_TILE // scores.shape[-1])
    tiles = zip(scores.split(rows), wanted.split(rows), targets.split(rows), strict=True)
    return sum(
        checkpoint(part, *tile, use_reentrant=False, preserve_rng_state=False) for tile in tiles
    )
