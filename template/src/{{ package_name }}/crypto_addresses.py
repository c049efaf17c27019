"""Check digits of crypto addresses: Base58Check, Bech32 and the capitals of EIP-55."""

import hashlib
import re

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
BECH32_CONSTANTS = (1, 0x2BC830A3)  # Bech32 (BIP 173) and Bech32m (BIP 350)
KECCAK_RATE = 136  # bytes absorbed at once by Keccak-256
MASK = (1 << 64) - 1


def base58check(text: str) -> bool:
    """Base58Check: 21 bytes and the first 4 bytes of their double SHA-256 (Bitcoin wiki, BIP 13).

    Also Litecoin, Dogecoin and Tron, whose first byte differs.
    """
    if not 26 <= len(text) <= 35 or any(char not in BASE58 for char in text):
        return False
    number = 0
    for char in text:
        number = number * 58 + BASE58.index(char)
    if number >> 200:
        return False
    content = number.to_bytes(25, "big")
    leading = len(content) - len(content.lstrip(b"\0"))
    if len(text) - len(text.lstrip("1")) != leading:
        return False
    digest = hashlib.sha256(hashlib.sha256(content[:-4]).digest()).digest()
    return digest[:4] == content[-4:]


def bech32(text: str) -> bool:
    """Bech32 or Bech32m: one case only, six check characters (BIP 173, BIP 350)."""
    if text not in (text.lower(), text.upper()) or not 14 <= len(text) <= 90:
        return False
    prefix, _, data = text.lower().rpartition("1")
    if not prefix or len(data) < 6 or any(char not in BECH32 for char in data):
        return False
    values = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    values += [BECH32.index(char) for char in data]
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(BECH32_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check in BECH32_CONSTANTS


def bitcoin(text: str) -> bool:
    """Bitcoin or Litecoin address: Base58Check, or Bech32 after `bc1` and `ltc1`."""
    if text.lower().startswith(("bc1", "ltc1")):
        return bech32(text)
    return base58check(text)


def ethereum(text: str) -> bool:
    """Ethereum address: 20 bytes in hex; mixed case must be the check of EIP-55."""
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{40}", text):
        return False
    digits = text[2:]
    if digits in (digits.lower(), digits.upper()):
        return True
    digest = keccak256(digits.lower().encode()).hex()
    return all(
        char == (char.upper() if int(mark, 16) > 7 else char.lower())
        for char, mark in zip(digits, digest, strict=False)
    )


def keccak256(data: bytes) -> bytes:
    """Keccak-256 with the original padding, as Ethereum uses it; hashlib has only SHA-3's."""
    padded = bytearray(data)
    padded += b"\x01" + bytes(-(len(data) + 1) % KECCAK_RATE)
    padded[-1] |= 0x80
    state = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), KECCAK_RATE):
        for lane in range(KECCAK_RATE // 8):
            chunk = padded[start + 8 * lane : start + 8 * lane + 8]
            state[lane % 5][lane // 5] ^= int.from_bytes(chunk, "little")
        state = _keccak_f(state)
    return b"".join(state[lane % 5][lane // 5].to_bytes(8, "little") for lane in range(4))


def _keccak_f(state: list[list[int]]) -> list[list[int]]:
    """The permutation Keccak-f[1600]: 24 rounds of theta, rho, pi, chi, iota (FIPS 202, 3.2)."""
    feedback = 1
    for _ in range(24):
        columns = [x[0] ^ x[1] ^ x[2] ^ x[3] ^ x[4] for x in state]
        mixed = [columns[x - 1] ^ _rotate(columns[(x + 1) % 5], 1) for x in range(5)]
        state = [[lane ^ mixed[x] for lane in state[x]] for x in range(5)]
        x, y, current = 1, 0, state[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            moved = _rotate(current, (step + 1) * (step + 2) // 2)
            current, state[x][y] = state[x][y], moved
        for y in range(5):
            row = [state[x][y] for x in range(5)]
            for x in range(5):
                state[x][y] = row[x] ^ (~row[(x + 1) % 5] & MASK & row[(x + 2) % 5])
        for bit in range(7):
            feedback = (feedback << 1 ^ (feedback >> 7) * 0x71) & 0xFF
            if feedback & 2:
                state[0][0] ^= 1 << ((1 << bit) - 1)
    return state


def _rotate(lane: int, places: int) -> int:
    places %= 64
    return (lane << places | lane >> (64 - places)) & MASK
