"""Lists of turns -> one conversation of system, user and assistant turns.

One reader for the messages of OpenAI and Anthropic and for ShareGPT, because real files mix
them: `role` or `from`, `content` or `value`, a string or a list of parts. Tool use becomes
text in the Hermes convention (https://github.com/NousResearch/Hermes-Function-Calling), which
every chat template can carry: definitions in the system turn, calls as assistant text,
results as user text.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .fields import Fields, RowError
from .images import MARK, image_path
from .json_rows import json_type
from .records import Message

CALL, RESULT = "call", "result"
ROLE_NAMES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "function_call": CALL,
    "tool_call": CALL,
    "tool": RESULT,
    "function": RESULT,
    "observation": RESULT,
    "tool_response": RESULT,
}
TEXT_PARTS = {"text", "input_text", "output_text"}
# Type of a part that is no text -> what the reason calls it; a type of the data is not shown.
OTHER_PARTS = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "document": "file",
    "file": "file",
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "refusal": "refusal",
    "tool_use": "tool call of another role",
    "tool_result": "tool result of another role",
}
NAMES = {"name", "id", "tool_call_id"}
WEIGHTS = ("train", "weight", "loss_weight")
READ = {"role", "from", "content", "value", "tool_calls", "function_call", *NAMES, *WEIGHTS}


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn on its way into a record.

    Attributes:
        role: One of records.ROLES.
        text: What is said; tool use is text already.
        place: Where it stands in the row, for a RowError.
        tool: It calls a tool or holds what one returned.
    """

    role: str
    text: str
    place: str
    tool: bool = False


def read_turns(fields: Fields, name: str) -> list[Turn]:
    """Return the turns of a field that holds a list of turns, or one turn (an object).

    Raises:
        RowError: a turn is not usable; their order is not checked yet.
    """
    column, value = fields.column(name), fields.get(name)
    if value is None:
        raise RowError(column, "missing")
    if isinstance(value, dict):
        return _joined(fields, _read_turn(fields, value, column))
    if not isinstance(value, list):
        raise RowError(column, f"type: {json_type(value)}")
    turns: list[Turn] = []
    for index, one in enumerate(value):
        turns += _read_turn(fields, one, f"{column}[{index}]")
    return _joined(fields, turns)


def with_system(fields: Fields, turns: Sequence[Turn]) -> list[Turn]:
    """Put the columns `system` and `tools` into the system turn of a conversation."""
    system, tools = _system_text(fields), _tools_text(fields)
    opening = turns[0].text if turns and turns[0].role == "system" else ""
    if system and opening:
        raise RowError(fields.column("system"), "two system turns")
    text = "\n\n".join(part for part in (system or opening, tools) if part)
    rest = list(turns[1:] if opening else turns)
    place = turns[0].place if opening else fields.column("system" if system else "tools")
    return [Turn("system", text, place), *rest] if text else rest


def check_order(turns: Sequence[Turn], column: str, last: str = "assistant") -> None:
    """Allow one system turn, then user and assistant in turn.

    Args:
        turns: The conversation.
        column: Where it stands.
        last: Role of the last turn; `user` where the answer stands elsewhere.
    """
    start = 1 if turns and turns[0].role == "system" else 0
    for index, turn in enumerate(turns[start:]):
        if turn.role != ("user", "assistant")[index % 2]:
            raise RowError(turn.place, "order of roles")
    if len(turns) == start:
        raise RowError(column, "no turns")
    if turns[-1].role != last:
        raise RowError(column, f"last turn is not the {last}'s")


def messages_of(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """Return the turns as a record holds them."""
    return tuple(Message(turn.role, turn.text) for turn in turns)


def _joined(fields: Fields, turns: Sequence[Turn]) -> list[Turn]:
    """Join neighbours of one role where tool use is the cause; others stay, to be refused."""
    done: list[Turn] = []
    for turn in turns:
        before = done[-1] if done else None
        if before and before.role == turn.role and (before.tool or turn.tool):
            fields.converted["turns joined"] += 1
            done[-1] = Turn(turn.role, f"{before.text}\n{turn.text}", before.place, tool=True)
        else:
            done.append(turn)
    return done


def _read_turn(fields: Fields, turn: Any, place: str) -> list[Turn]:
    if not isinstance(turn, dict):
        raise RowError(place, f"type: {json_type(turn)}")
    who, what = ("from", "value") if "from" in turn else ("role", "content")
    if who not in turn:
        raise RowError(f"{place}.{who}", "missing")
    word = turn[who]
    role = ROLE_NAMES.get(word.lower()) if isinstance(word, str) else None
    if role is None:
        raise RowError(f"{place}.{who}", "unknown role")
    _check_weight(turn, role, place)
    _count_unread(fields, turn)
    calls = _turn_calls(fields, turn, place) if role == "assistant" else []
    if what not in turn and not calls:
        raise RowError(f"{place}.{what}", "missing")
    content = turn.get(what)
    if role == CALL:
        found = _calls(fields, _parsed(content, f"{place}.{what}"), f"{place}.{what}")
        return [Turn("assistant", text, place, tool=True) for text in found]
    if role == RESULT:
        text = _result(fields, content, f"{place}.{what}")
        return [Turn("user", text, place, tool=True)]
    said = [] if content is None and calls else _said(fields, content, f"{place}.{what}", role)
    # An empty text beside a tool call is how OpenAI and ShareGPT write "nothing is said".
    texts = [turn for turn in said if turn.text.strip() or not calls]
    if not all(turn.text.strip() for turn in texts):
        raise RowError(f"{place}.{what}", "empty")
    # Errors about the order of roles name the turn, not its content.
    placed = [Turn(turn.role, turn.text, place, turn.tool) for turn in texts]
    return placed + [Turn("assistant", text, place, tool=True) for text in calls]


def _check_weight(turn: dict[str, Any], role: str, place: str) -> None:
    """Refuse a turn whose weight asks for something else than what training does.

    The loss falls on every assistant turn and on nothing else. A weight that says so changes
    nothing; an assistant turn of weight 0 would be learned against the will of the data.
    """
    usual = 1 if role in ("assistant", CALL) else 0
    for name in WEIGHTS:
        if turn.get(name) is not None and turn[name] != usual:
            raise RowError(f"{place}.{name}", "weight of a turn")


def _count_unread(fields: Fields, turn: dict[str, Any]) -> None:
    if any(turn.get(name) is not None for name in NAMES):
        fields.converted["names ignored"] += 1
    if any(name not in READ and value is not None for name, value in turn.items()):
        fields.converted["other keys of a turn ignored"] += 1


def _said(fields: Fields, content: Any, place: str, role: str) -> list[Turn]:
    """Return one turn for a text, and for a list of parts one for each part or run of texts."""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or not any(isinstance(part, dict) for part in content):
        return [Turn(role, fields.clean(content, place), place)]
    fields.converted["part list to text"] += 1
    turns: list[Turn] = []
    for index, part in enumerate(content):
        turn = _part(fields, part, f"{place}[{index}]", role)
        if turns and not turn.tool and not turns[-1].tool:
            turns[-1] = Turn(role, f"{turns[-1].text}\n{turn.text}", turns[-1].place)
        else:
            turns.append(turn)
    return turns


def _part(fields: Fields, part: Any, place: str, role: str) -> Turn:
    if not isinstance(part, dict):
        return Turn(role, fields.clean(part, place), place)
    kind = part.get("type", "text")
    if not isinstance(kind, str):
        raise RowError(place, "part: unknown type")
    if kind in TEXT_PARTS:
        name = "text" if "text" in part else "value"
        if name not in part:
            raise RowError(f"{place}.text", "missing")
        return Turn(role, fields.clean(part[name], f"{place}.{name}"), place)
    if OTHER_PARTS.get(kind) == "image" and role == "user" and (path := image_path(part)):
        fields.images.append(path)
        return Turn(role, MARK, place)
    if kind == "tool_use" and role == "assistant":
        call = {"name": part.get("name"), "arguments": part.get("input")}
        return Turn("assistant", _calls(fields, call, place)[0], place, tool=True)
    if kind == "tool_result" and role == "user":
        return Turn("user", _result(fields, part.get("content"), place), place, tool=True)
    raise RowError(place, f"part: {OTHER_PARTS.get(kind, 'unknown type')}")


def _turn_calls(fields: Fields, turn: dict[str, Any], place: str) -> list[str]:
    """Return the tool calls of an assistant turn of OpenAI, in their present or old form."""
    calls = turn.get("tool_calls")
    if calls is None and turn.get("function_call") is not None:
        calls = [turn["function_call"]]
    return _calls(fields, calls, f"{place}.tool_calls") if calls else []


def _calls(fields: Fields, calls: Any, place: str) -> list[str]:
    """Return each call as Hermes text; one call may stand without a list."""
    found = []
    for call in calls if isinstance(calls, list) else [calls]:
        inner = call.get("function", call) if isinstance(call, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or not isinstance(name, str) or not name.strip():
            raise RowError(place, "tool call: no name")
        arguments = inner.get("arguments")
        if isinstance(arguments, str):
            arguments = _parsed(arguments.strip() or "{}", place)
        value = {"name": name, "arguments": {} if arguments is None else arguments}
        found.append(f"<tool_call>\n{_dumped(fields, value, place)}\n</tool_call>")
        fields.converted["tool call to text"] += 1
    if not found:
        raise RowError(place, "empty")
    return found


def _result(fields: Fields, content: Any, place: str) -> str:
    """Return what a tool gave back as Hermes text; a tool may give back nothing."""
    fields.converted["tool result to text"] += 1
    if content is None:
        text = ""
    elif isinstance(content, list) or not isinstance(content, dict):
        text = "\n".join(turn.text for turn in _said(fields, content, place, "user"))
    else:
        text = _dumped(fields, content, place)
    return f"<tool_response>\n{text}\n</tool_response>"


def _system_text(fields: Fields) -> str:
    value = fields.get("system")
    if isinstance(value, list | dict):  # Anthropic: a list of text blocks
        turns = _said(fields, value, fields.column("system"), "system")
        return "\n".join(turn.text for turn in turns if turn.text.strip())
    return fields.optional("system")


def _tools_text(fields: Fields) -> str:
    """Return the tool definitions in OpenAI's form, one JSON object a line."""
    column, tools = fields.column("tools"), fields.get("tools")
    if isinstance(tools, str):
        tools = _parsed(tools, column) if tools.strip() else None
    if not tools:
        return ""
    lines = []
    for tool in tools if isinstance(tools, list) else [tools]:
        inner = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise RowError(column, "tool: no name")
        # Anthropic calls the parameters input_schema.
        names = {"input_schema": "parameters"}
        function = {names.get(key, key): value for key, value in inner.items()}
        lines.append(_dumped(fields, {"type": "function", "function": function}, column))
    fields.converted["tool definitions to text"] += 1
    return "\n".join(["<tools>", *lines, "</tools>"])


def _parsed(value: Any, place: str) -> Any:
    """Decode JSON that stands in a text; other values are decoded already."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise RowError(place, "text is not JSON") from None


def _dumped(fields: Fields, value: Any, place: str) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise RowError(place, "value is not JSON") from None
    return fields.clean(text, place)


def _refuse(_name: str) -> None:
    raise ValueError("JSON knows no NaN and no Infinity")
