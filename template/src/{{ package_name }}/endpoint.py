"""Question-answer pairs from an OpenAI-compatible chat endpoint, one request a passage.

The caller scrubs every passage before it comes here. The address must be https, or plain http
to this machine; redirects are refused, because they could lead elsewhere.
"""

import http.client
import ipaddress
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .errors import Problem, UserError

KEY_VARIABLE = "FINETUNE_API_KEY"
TIMEOUT_S = 120  # a large model on one card needs about a minute for three long answers
ATTEMPTS = 5
BACKOFF_S = 1.0  # before the second attempt; doubled after each
MAX_WAIT_S = 60.0  # longest wait that a server may ask for
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
MAX_REPLY_BYTES = 1 << 20
SYSTEM = "You write training data for an assistant that answers questions about documents."
TASK = """\
Write %d questions that the passage below answers, and their answers. Use only what the
passage says, in its own words where you can; keep numbers, names and "not" exactly. A question
must be understood without the passage. Ask about different things. Reply with JSON only:
{"pairs": [{"question": "...", "answer": "..."}]}

Passage:
%s"""


class MalformedReply(Exception):
    """The endpoint answered, but not with the JSON that was asked for."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where passages are sent, after `open_endpoint` checked it; `key` may be empty."""

    url: str
    host: str
    model: str
    pairs: int
    key: str = field(repr=False)
    names: tuple[str, str] = ("--endpoint", "--model")
    key_variable: str = KEY_VARIABLE


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Turns a redirect into the HTTP error that it then is."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return no new request."""


def open_endpoint(
    url: str,
    model: str,
    pairs: int = 1,
    names: tuple[str, str] = ("--endpoint", "--model"),
    key_variable: str = KEY_VARIABLE,
) -> Endpoint:
    """Check an address without contacting it.

    Args:
        url: Base address, such as https://host/v1; `/chat/completions` is added.
        model: Name of the model there.
        pairs: Pairs to ask for with each passage.
        names: What messages call the address and the model.
        key_variable: Environment variable that holds the key of this address.

    Raises:
        UserError: the address is not one that text may be sent to, or the model has no name.
    """
    problems = []
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    allowed = "https://HOST/v1, or http:// to this machine (localhost)"
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        problems.append(Problem(names[0], "not a web address", allowed))
    elif "@" in parts.netloc:
        fix = f"put the key into the environment variable {key_variable}"
        problems.append(Problem(names[0], "a user name in the address", allowed, fix))
    elif parts.scheme == "http" and not _is_loopback(host):
        fix = "use https: plain http lets everybody on the way read the text"
        problems.append(Problem(names[0], f"plain http to {host}", allowed, fix))
    if not model:
        problems.append(Problem(names[1], "is missing", fix="name the model of the endpoint"))
    if problems:
        raise UserError(problems)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    full = f"{parts.scheme}://{parts.netloc}{path}/chat/completions"
    shown = host if port is None else f"{host}:{port}"
    key = os.environ.get(key_variable, "")
    return Endpoint(full, shown, model, pairs, key, names, key_variable)


def request_body(endpoint: Endpoint, passage: str) -> dict[str, Any]:
    """Return the JSON of a request; the same passage gives the same request."""
    task = TASK % (endpoint.pairs, passage)
    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": task}]
    return {"model": endpoint.model, "messages": turns, "temperature": 0}


def ask(endpoint: Endpoint, body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the (question, answer) pairs that the endpoint makes of one passage.

    Raises:
        MalformedReply: the reply holds no usable JSON.
        UserError: as `send`.
    """
    return parse_reply(send(endpoint, body))


def complete(endpoint: Endpoint, turns: list[dict[str, str]], max_tokens: int | None = None) -> str:
    """Return the next turn of a conversation, greedily and without its reasoning.

    Raises:
        MalformedReply: the reply holds no text.
        UserError: as `send`.
    """
    body: dict[str, Any] = {"model": endpoint.model, "messages": turns, "temperature": 0}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return reply_text(send(endpoint, body))


def send(endpoint: Endpoint, body: Mapping[str, Any]) -> bytes:
    """Return the reply of the endpoint to one request.

    Waits and tries again after a time-out, a lost connection and the statuses of RETRIED.

    Raises:
        UserError: the endpoint refuses the request, or does not answer after ATTEMPTS.
    """
    found = ""
    for attempt in range(ATTEMPTS):
        wait = BACKOFF_S * 2**attempt
        try:
            return _post(endpoint, body)
        except urllib.error.HTTPError as error:
            error.close()
            found = f"HTTP status {error.code}"
            if error.code not in RETRIED:
                fix = _advice(endpoint, error.code)
                raise UserError(Problem(endpoint.host, found, fix=fix)) from None
            wait = _asked_wait(error.headers.get("Retry-After"), wait)
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            found = f"no answer ({type(reason).__name__})"
        if attempt + 1 < ATTEMPTS:
            time.sleep(wait)
    fix = "check the endpoint and run again"
    raise UserError(Problem(endpoint.host, f"{found}, {ATTEMPTS} attempts", fix=fix))


def parse_reply(data: bytes) -> list[tuple[str, str]]:
    """Return the pairs in a chat completion, whether bare JSON or fenced in Markdown.

    Raises:
        MalformedReply: as it says.
    """
    text = reply_text(data)
    try:
        value = json.loads(text[text.index("{") : text.rindex("}") + 1])
        rows = [(row["question"].strip(), row["answer"].strip()) for row in value["pairs"]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise MalformedReply from None
    return [(question, answer) for question, answer in rows if question and answer]


def reply_text(data: bytes) -> str:
    """Return the text of a chat completion.

    Raises:
        MalformedReply: it holds none.
    """
    try:
        text = json.loads(data)["choices"][0]["message"]["content"]
        return re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL).strip()
    except (ValueError, LookupError, TypeError, RecursionError):
        raise MalformedReply from None


def reply_ended(data: bytes) -> bool:
    """Return whether a chat completion came to its end, rather than to the limit of its length."""
    try:
        return bool(json.loads(data)["choices"][0].get("finish_reason") != "length")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return True  # reply_text says what is wrong with it


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _post(endpoint: Endpoint, body: Mapping[str, Any]) -> bytes:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    data = json.dumps(body).encode()
    request = urllib.request.Request(endpoint.url, data, headers, method="POST")
    # A proxy sees nothing of https; what goes to this machine must not leave it.
    direct = endpoint.url.startswith("http:")
    proxies = [urllib.request.ProxyHandler({})] if direct else []
    opener = urllib.request.build_opener(_NoRedirect, *proxies)
    with opener.open(request, timeout=TIMEOUT_S) as reply:
        result: bytes = reply.read(MAX_REPLY_BYTES)
    return result


def _asked_wait(header: str | None, default: float) -> float:
    """Return the seconds that a server asks to wait for (a date counts as not asked)."""
    try:
        return min(MAX_WAIT_S, max(0.0, float(header or default)))
    except ValueError:
        return default


def _advice(endpoint: Endpoint, status: int) -> str:
    if status in (401, 403):
        return f"set the environment variable {endpoint.key_variable}"
    if 300 <= status < 400:
        return "redirects are not followed: give the address that it leads to"
    return f"check {endpoint.names[0]} and {endpoint.names[1]}"
