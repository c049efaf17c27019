"""Questions to the tuned model, under the template and system prompt of its training."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from .config import Config
from .data_loader import render_prompt, system_prompt, with_system
from .errors import Problem, UserError
from .generation import generate, settings
from .model_access import SEQ2SEQ, model_kind
from .model_wrapper import LoadedModel
from .packs import load_packs
from .records import Message

QUIT = {"exit", "quit", ":q"}
NONE = "none"  # adapter: the base as it is


class Assistant:
    """A loaded model with the system prompt of the configuration."""

    active = ""  # title of the adapter that answers, where there are several

    def __init__(
        self,
        config: Config,
        loaded: LoadedModel,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        adapters: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the model ready.

        Args:
            config: names the packs, which bring system prompt and disclaimer.
            loaded: model and tokenizer.
            max_new_tokens: longest answer.
            temperature: 0 answers greedily, higher values draw at random.
            adapters: title -> name inside peft, where the model has several; the first is active.
        """
        self.loaded = loaded
        self.adapters = dict(adapters or {})
        self.active = next(iter(self.adapters), "")
        self.prompt = system_prompt(config)
        self.disclaimers = disclaimers(config)
        sampling: dict[str, Any] = {}
        if temperature > 0:
            sampling = {"do_sample": True, "temperature": temperature}
        self.settings = settings(loaded.model, loaded.tokenizer, max_new_tokens, **sampling)

    def reply(self, messages: Sequence[Message], stream: bool = False) -> str:
        """Answer a conversation; with `stream` the words are printed as they come."""
        import torch
        from transformers import TextStreamer

        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        ids = render_prompt(tokenizer, with_system(messages, self.prompt))
        inputs = torch.tensor([ids], device=model.device)
        streamer = None
        if stream:
            prompted = model_kind(model) != SEQ2SEQ  # the output repeats the prompt
            streamer = TextStreamer(tokenizer, skip_prompt=prompted, skip_special_tokens=True)
        with torch.inference_mode(), self._adapter():
            output = model.generate(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                generation_config=self.settings,
                streamer=streamer,
            )
        # A decoder's output begins with its start token, that of a causal model with the prompt.
        known = 1 if model_kind(model) == SEQ2SEQ else len(ids)
        return tokenizer.decode(output[0, known:], skip_special_tokens=True).strip()

    def reply_all(self, prompts: Sequence[str], batch_size: int = 8) -> list[str]:
        """Answer independent prompts in batches, greedily."""
        tokenizer = self.loaded.tokenizer
        turns = [with_system([Message("user", prompt)], self.prompt) for prompt in prompts]
        ids = [render_prompt(tokenizer, messages) for messages in turns]
        limit = self.settings.max_new_tokens
        with self._adapter():
            return generate(self.loaded.model, tokenizer, ids, limit, batch_size).texts

    def switch(self, title: str) -> None:
        """Answer with another adapter from now on; `none` is the base as it is.

        Raises:
            UserError: no adapter of that title was loaded.
        """
        allowed = (*self.adapters, NONE) if self.adapters else ()
        if title not in allowed:
            fix = "start with --adapter NAME, once for each adapter"
            raise UserError(Problem("adapter", "not loaded", ", ".join(allowed), fix))
        if title != NONE:
            self.loaded.model.set_adapter(self.adapters[title])
        self.active = title

    def _adapter(self) -> AbstractContextManager[Any]:
        if self.active == NONE:
            off: AbstractContextManager[Any] = self.loaded.model.disable_adapter()
            return off
        return nullcontext()

    def ask(self, question: str) -> str:
        """Print the answer to one question as it comes, and return it."""
        return self.reply([Message("user", question)], stream=True)

    def chat(self, ask: Callable[[str], str] = input) -> None:
        """Talk in the terminal until `exit` or the end of the input."""
        print("Type `exit` to leave, `new` to forget the conversation.")
        if self.adapters:
            print(f"`adapter NAME` switches: {', '.join((*self.adapters, NONE))}.")
        history: list[Message] = []
        while True:
            try:
                question = ask("you> ").strip()
            except EOFError:
                return
            if question in QUIT:
                return
            if question == "new":
                history.clear()
            elif self.adapters and question.startswith("adapter "):
                self._switch_aloud(question.removeprefix("adapter ").strip())
            elif question:
                history.append(Message("user", question))
                history.append(Message("assistant", self.reply(history, stream=True)))

    def _switch_aloud(self, title: str) -> None:
        try:
            self.switch(title)
        except UserError as error:
            print(error)
        else:
            print(f"adapter: {title}")


def disclaimers(config: Config) -> list[str]:
    """Return what the packs of the run say about every answer."""
    return [pack.disclaimer for pack in load_packs(config) if pack.disclaimer]


def read_prompts(path: Path) -> list[str]:
    """Read a file of prompts: .txt with one a line, or .jsonl with `prompt` or `question`.

    Raises:
        UserError: lines that hold no prompt, by their number.
    """
    if not path.is_file():
        raise UserError(Problem(str(path), "no such file", fix="name a .txt or .jsonl file"))
    lines = [x for x in path.read_text(encoding="utf-8-sig").split("\n") if x.strip()]
    if not lines:
        raise UserError(Problem(str(path), "the file holds no prompt", fix="one prompt a line"))
    if path.suffix != ".jsonl":
        return [line.strip() for line in lines]
    prompts, problems = [], []
    for number, line in enumerate(lines, start=1):
        prompt = _prompt_of(line)
        if prompt is None:
            problems.append(Problem(f"{path.name}, entry {number}", "no text in `prompt`"))
        else:
            prompts.append(prompt)
    if problems:
        raise UserError(problems)
    return prompts


def _prompt_of(line: str) -> str | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    found = value.get("prompt") or value.get("question") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found.strip() else None


def answer_lines(answers: Sequence[Any]) -> Iterator[str]:
    """Yield JSON lines of answers. The prompts, which nobody scrubbed, are not repeated."""
    for number, text in enumerate(answers, start=1):
        yield json.dumps({"prompt_number": number, "answer": text}, ensure_ascii=False) + "\n"
