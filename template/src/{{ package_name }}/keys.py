"""Keyed hashes (HMAC-SHA256) that stand for rows, prompts and groups.

A plain hash of a short text can be found by trying texts; a keyed one cannot without the
project's key. The key stays on this machine and out of version control.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from .config import Config
from .errors import Problem, UserError
from .records import Record, canonical
from .splits import normalised

KEY_FILE = "data/.hmac_key"
KEY_VARIABLE = "FINETUNE_HMAC_KEY"
KEY_BYTES = 32


class Keys:
    """Makes the keyed hashes of one project. Each purpose has its own prefix."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) >= KEY_BYTES, "the key has at least 32 bytes"
        self._secret = secret

    def digest(self, purpose: str, data: bytes) -> bytes:
        """Return 32 bytes; the same data gives unrelated digests for different purposes."""
        return hmac.new(self._secret, purpose.encode() + b"\0" + data, hashlib.sha256).digest()

    def raw(self, data: bytes) -> bytes:
        """Return the key that names a quarantined row without its text."""
        return self.digest("raw", data)

    def row(self, record: Record) -> bytes:
        """Return the key of a whole record: equal keys are exact duplicates."""
        return self.digest("row", canonical(record.to_json()).encode())

    def prompt(self, record: Record) -> bytes:
        """Return the key of what is asked, blind to case, blanks and Unicode variants.

        Two spellings of one question must not stand on both sides of a split.
        """
        plain = [normalised(text) for text in record.prompt()]
        return self.digest("prompt", canonical(plain).encode())

    def image(self, digest: bytes) -> bytes:
        """Return the key of an image by the hash of its content."""
        return self.digest("image", digest)

    def group(self, value: str) -> bytes:
        """Return the key of a group, for example of one patient."""
        return self.digest("group", value.encode("utf-8", "surrogatepass"))

    @property
    def scrubber(self) -> bytes:
        """Return the key (32 bytes) under which the scrubber makes its pseudonyms."""
        return self.digest("scrub", b"")

    @property
    def identity(self) -> str:
        """Return 16 hexadecimal digits that tell two keys apart and reveal neither."""
        return self.digest("identity", b"").hex()[:16]


def load_keys(config: Config, create: bool = True) -> tuple[Keys, str]:
    """Return the project's keys and where they came from.

    The environment variable wins over the file. A missing file is created once (32 random
    bytes, readable by its owner only), or replaced by a throw-away key if not `create`.

    Raises:
        UserError: the variable or the file does not hold a usable key.
    """
    if KEY_VARIABLE in os.environ:
        return Keys(environment_key(KEY_VARIABLE)), f"environment {KEY_VARIABLE}"
    path = config.path(KEY_FILE)
    if path.exists():
        secret = path.read_bytes()
        if len(secret) != KEY_BYTES:
            fix = "restore the file from a backup, or delete it: rows then change their split"
            found = f"{len(secret)} bytes"
            raise UserError(Problem(KEY_FILE, found, f"exactly {KEY_BYTES} bytes", fix))
        return Keys(secret), f"file {KEY_FILE}"
    secret = secrets.token_bytes(KEY_BYTES)
    if not create:
        return Keys(secret), "throw-away key, nothing is written"
    _write_once(path, secret)
    return Keys(secret), f"file {KEY_FILE}, created now"


def environment_key(variable: str, fix: str = "openssl rand -hex 32") -> bytes:
    """Return the key that an environment variable holds in hexadecimal digits.

    Raises:
        UserError: it is not set, or no such key.
    """
    try:
        secret = bytes.fromhex(os.environ.get(variable, ""))
    except ValueError:
        secret = b""
    if len(secret) < KEY_BYTES:
        allowed = f"at least {2 * KEY_BYTES} hexadecimal digits"
        raise UserError(Problem(f"environment {variable}", "no usable key", allowed, fix))
    return secret


def _write_once(path: Path, secret: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # O_EXCL: two runs that start together must not each believe in their own key.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(secret)
