"""Check digits of national identity, tax and health numbers, one function for each number.

Each takes the number without separators, in capitals, and returns whether it fits. The functions
never raise: text of another shape is False.
"""

import re
from collections.abc import Sequence

SPANISH_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
ITALIAN_ODD = (
    *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18),
    *(20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
)
CHINESE_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
# Verhoeff's tables: multiplication in the dihedral group D5, and the permutation by position.
VERHOEFF_D5 = [
    [(a + b) % 5 if b < 5 else 5 + (a + b) % 5 for b in range(10)]
    if a < 5
    else [5 + (a - b) % 5 if b < 5 else (a - b) % 5 for b in range(10)]
    for a in range(10)
]
VERHOEFF_SHUFFLE = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def digits_of(text: str, length: int) -> list[int]:
    """Return the digits, or nothing if `text` is not exactly `length` ASCII digits."""
    if not (len(text) == length and text.isascii() and text.isdigit()):
        return []
    return [int(char) for char in text] if len(set(text)) > 1 else []


def weighted(digits: Sequence[int], weights: Sequence[int]) -> int:
    """Return the sum of the products, as far as there are weights."""
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=False))


def nhs(text: str) -> bool:
    """British health number: 10 digits, weights 10 to 2, modulo 11 (NHS Data Dictionary)."""
    digits = digits_of(text, 10)
    return bool(digits) and weighted(digits, (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def steuer_id(text: str) -> bool:
    """German tax number of a person: 11 digits, ISO 7064 Mod 11,10 (AO section 139b, BZSt).

    Among the first ten digits one occurs twice or three times, the others at most once.
    """
    digits = digits_of(text, 11)
    if not digits or digits[0] == 0 or len(set(digits[:10])) not in (8, 9):
        return False
    product = 10
    for digit in digits[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == digits[10]


def nir(text: str) -> bool:
    """French social security number: 13 digits and 97 minus their rest modulo 97 (INSEE).

    Corsica's departments 2A and 2B count as 19 and 18.
    """
    if not re.fullmatch(r"[1-478]\d{4}(?:\d{2}|2[AB])\d{8}", text, re.ASCII):
        return False
    number = text.replace("2A", "19").replace("2B", "18")
    return 97 - int(number[:13]) % 97 == int(number[13:])


def dni_nie(text: str) -> bool:
    """Spanish identity number of nationals and foreigners: letter by modulo 23 (RD 1553/2005)."""
    if not re.fullmatch(r"[XYZ\d]\d{7}[A-Z]", text, re.ASCII):
        return False
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return SPANISH_LETTERS[int(number) % 23] == text[-1]


def codice_fiscale(text: str) -> bool:
    """Italian tax code: 16 characters, the last from sums by odd and even place (DM 23/12/1976)."""
    digit = r"[\dLMNP-V]"  # letters stand for digits where two people would share a code
    if not re.fullmatch(
        rf"[A-Z]{{6}}{digit}{{2}}[A-EHLMPRST]{digit}{{2}}[A-Z]{digit}{{3}}[A-Z]", text, re.ASCII
    ):
        return False
    total = 0
    for place, char in enumerate(text[:15]):
        value = int(char) if char.isdigit() else ord(char) - ord("A")
        total += value if place % 2 else ITALIAN_ODD[value]
    return chr(ord("A") + total % 26) == text[15]


def bsn(text: str) -> bool:
    """Dutch citizen number: 9 digits, weights 9 to 2 and -1, modulo 11 (RvIG, "elfproef")."""
    digits = digits_of(text, 9)
    return bool(digits) and weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def aadhaar(text: str) -> bool:
    """Indian identity number: 12 digits, first 2 to 9, Verhoeff's check (UIDAI)."""
    digits = digits_of(text, 12)
    if not digits or digits[0] < 2:
        return False
    check = 0
    for place, digit in enumerate(reversed(digits)):
        for _ in range(place % 8):
            digit = VERHOEFF_SHUFFLE[digit]
        check = VERHOEFF_D5[check][digit]
    return check == 0


def tfn(text: str) -> bool:
    """Australian tax file number: 9 digits, weights 1 4 3 7 5 8 6 9 10, modulo 11 (ATO)."""
    digits = digits_of(text, 9)
    return bool(digits) and weighted(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def medicare_au(text: str) -> bool:
    """Australian health card: weights 1 3 7 9 1 3 7 9 give digit 9 (Services Australia)."""
    digits = digits_of(text[:10], 10)
    if not digits or len(text) > 11 or not text.isdigit() or not 2 <= digits[0] <= 6:
        return False
    return weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == digits[8]


def sin(text: str) -> bool:
    """Canadian social insurance number: 9 digits, first not 0 or 8, Luhn (ESDC)."""
    digits = digits_of(text, 9)
    if not digits or digits[0] in (0, 8):
        return False
    doubled = (sum(divmod(digit * (1 + place % 2), 10)) for place, digit in enumerate(digits))
    return sum(doubled) % 10 == 0


def pesel(text: str) -> bool:
    """Polish identity number: 11 digits, weights 1 3 7 9, modulo 10 (law on population records)."""
    digits = digits_of(text, 11)
    return bool(digits) and weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def nip(text: str) -> bool:
    """Polish tax number: 10 digits, weights 6 5 7 2 3 4 5 6 7, modulo 11."""
    digits = digits_of(text, 10)
    return bool(digits) and weighted(digits, (6, 5, 7, 2, 3, 4, 5, 6, 7)) % 11 == digits[9]


def cpf(text: str) -> bool:
    """Brazilian tax number of a person: 11 digits, two checks modulo 11 (Receita Federal)."""
    digits = digits_of(text, 11)
    if not digits:
        return False
    first = weighted(digits, range(10, 1, -1)) * 10 % 11 % 10
    second = weighted(digits, range(11, 1, -1)) * 10 % 11 % 10
    return digits[9:] == [first, second]


def resident_id(text: str) -> bool:
    """Chinese identity number: 17 digits and a check modulo 11, X for 10 (GB 11643-1999)."""
    if not re.fullmatch(r"[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])\d{5}[\dX]", text, re.ASCII):
        return False
    total = weighted([int(char) for char in text[:17]], CHINESE_WEIGHTS)
    return "10X98765432"[total % 11] == text[17]


def ahv(text: str) -> bool:
    """Swiss insurance number: 756 and 10 digits, EAN-13 check (AHVV article 133)."""
    digits = digits_of(text, 13)
    return text.startswith("756") and bool(digits) and weighted(digits, (1, 3) * 7) % 10 == 0
