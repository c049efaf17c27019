"""Check digits of identifiers: one table, so that a pack names a rule instead of carrying code.

A rule takes the matched text, ignores blanks, hyphens, dots and slashes, and returns True when the
check digit (or the reserved prefix) fits. It never raises: text of another shape is False.
"""

import re
from collections.abc import Callable
from functools import wraps

from . import crypto_addresses, national_ids

SEPARATORS = re.compile(r"[\s./\-\u2010-\u2015]+")
ABA_WEIGHTS = (3, 7, 1) * 3
# Transliteration of letters and weights by position, 49 CFR 565.15(c).
VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
VIN_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9)
VIN_VALUES = dict(zip(VIN_LETTERS, VIN_NUMBERS, strict=True))
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
# Prefixes never assigned by the IRS ("How EINs are assigned and valid EIN prefixes").
EIN_UNUSED = {0, 7, 8, 9, 17, 18, 19, 28, 29, 49, 69, 70, 78, 79, 89, 96, 97}


def compact(text: str) -> str:
    """Return `text` in capitals without blanks, hyphens, dots and slashes."""
    return SEPARATORS.sub("", text).upper()


def is_digits(text: str, *lengths: int) -> bool:
    """Return whether `text` is ASCII digits only and has one of the lengths (any if none)."""
    return text.isascii() and text.isdigit() and (not lengths or len(text) in lengths)


def letters_to_digits(text: str) -> str:
    """Replace A..Z by 10..35, the expansion that ISO 7064 and ISO 6166 share."""
    return "".join(str(int(char, 36)) for char in text)


def luhn(text: str) -> bool:
    """Luhn formula (ISO/IEC 7812-1, annex B) over 12 to 19 digits, as on payment cards."""
    number = compact(text)
    return (
        is_digits(number, *range(12, 20)) and len(set(number)) > 1 and _luhn_sum(number) % 10 == 0
    )


def _luhn_sum(number: str) -> int:
    """Sum of the digits, every second one from the right doubled and its digits added."""
    total = 0
    for position, char in enumerate(reversed(number)):
        value = int(char) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total


def iban_mod97(text: str) -> bool:
    """IBAN: 15 to 34 characters, first four moved to the end, modulo 97 is 1 (ISO 13616)."""
    number = compact(text)
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", number, re.ASCII):
        return False
    return int(letters_to_digits(number[4:] + number[:4])) % 97 == 1


def aba(text: str) -> bool:
    """US bank routing number: 9 digits, weights 3-7-1, modulo 10 (ABA routing number policy).

    The first two digits are a Federal Reserve district: 00-12, 21-32, 61-72 or 80.
    """
    number = compact(text)
    if not is_digits(number, 9) or set(number) == {"0"}:
        return False
    district = int(number[:2])
    known = district <= 12 or 21 <= district <= 32 or 61 <= district <= 72 or district == 80
    total = sum(weight * int(char) for weight, char in zip(ABA_WEIGHTS, number, strict=True))
    return known and total % 10 == 0


def npi(text: str) -> bool:
    """US National Provider Identifier: 10 digits, Luhn after the prefix 80840 (45 CFR 162.406)."""
    number = compact(text)
    return is_digits(number, 10) and number[0] in "12" and _luhn_sum("80840" + number) % 10 == 0


def dea(text: str) -> bool:
    """US DEA registration: two letters (or letter and 9), seven digits (21 CFR 1301.35 usage).

    Sum of digits 1, 3, 5 plus twice the sum of digits 2, 4, 6 ends in digit 7.
    """
    number = compact(text)
    if not re.fullmatch(r"[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}", number, re.ASCII):
        return False
    digits = [int(char) for char in number[2:]]
    return (sum(digits[0:6:2]) + 2 * sum(digits[1:6:2])) % 10 == digits[6]


def vin(text: str) -> bool:
    """Vehicle identification number: 17 characters, check digit in place 9 (49 CFR 565.15)."""
    number = compact(text)
    if not re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", number, re.ASCII):
        return False
    values = (VIN_VALUES[char] if char in VIN_VALUES else int(char) for char in number)
    rest = sum(weight * value for weight, value in zip(VIN_WEIGHTS, values, strict=True)) % 11
    return number[8] == ("X" if rest == 10 else str(rest))


def isin(text: str) -> bool:
    """Security number: country, nine characters, Luhn over the expanded letters (ISO 6166)."""
    number = compact(text)
    if not re.fullmatch(r"[A-Z]{2}[A-Z0-9]{9}\d", number, re.ASCII):
        return False
    return _luhn_sum(letters_to_digits(number)) % 10 == 0


def cusip(text: str) -> bool:
    """US security number: nine characters, "modulus 10 double-add-double" (ANSI X9.6)."""
    number = compact(text)
    if not re.fullmatch(r"[0-9A-Z*@#]{8}\d", number, re.ASCII):
        return False
    total = 0
    for position, char in enumerate(number[:8]):
        value = 36 + "*@#".index(char) if char in "*@#" else int(char, 36)
        value *= 1 + position % 2
        total += value // 10 + value % 10
    return (10 - total % 10) % 10 == int(number[8])


def lei(text: str) -> bool:
    """Legal entity identifier: 18 characters and two check digits, modulo 97 (ISO 17442)."""
    number = compact(text)
    if not re.fullmatch(r"[A-Z0-9]{18}\d{2}", number, re.ASCII):
        return False
    return int(letters_to_digits(number)) % 97 == 1


def ein(text: str) -> bool:
    """US employer number: nine digits whose first two are a campus code in use (IRS list)."""
    number = compact(text)
    return is_digits(number, 9) and int(number[:2]) not in EIN_UNUSED


def ssn(text: str) -> bool:
    """US social security number: an area, group and serial that can be issued (20 CFR 422.103)."""
    number = compact(text)
    if not is_digits(number, 9):
        return False
    area = int(number[:3])
    return area not in (0, 666) and area < 900 and number[3:5] != "00" and number[5:] != "0000"


def itin(text: str) -> bool:
    """US taxpayer number of a person: 9xx and a group that is in use (IRS publication 1915)."""
    number = compact(text)
    if not is_digits(number, 9) or number[0] != "9":
        return False
    group = int(number[3:5])
    return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99


def mbi(text: str) -> bool:
    """US Medicare beneficiary: 11 characters by position, without S L O I B Z (CMS)."""
    letter, either = "[AC-HJKMNP-RT-Y]", r"[AC-HJKMNP-RT-Y\d]"
    shape = rf"[1-9]{letter}{either}\d{letter}{either}\d{letter}{{2}}\d{{2}}"
    return bool(re.fullmatch(shape, compact(text), re.ASCII))


def gtin(text: str) -> bool:
    """GTIN of 14 digits in a device identifier, weights 3 and 1, modulo 10 (GS1, 21 CFR 830)."""
    number = compact(text)
    if not is_digits(number, 14) or len(set(number)) == 1:
        return False
    return sum(int(char) * (3 - 2 * (place % 2)) for place, char in enumerate(number)) % 10 == 0


def imei(text: str) -> bool:
    """Serial number of a telephone: 15 digits, Luhn (3GPP TS 23.003, annex B)."""
    number = compact(text)
    return is_digits(number, 15) and len(set(number)) > 1 and _luhn_sum(number) % 10 == 0


def compacted(check: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return the check of a number that is written with separators."""

    @wraps(check)
    def of_written(text: str) -> bool:
        return check(compact(text))

    return of_written


CHECKSUMS: dict[str, Callable[[str], bool]] = {
    "luhn": luhn,
    "iban_mod97": iban_mod97,
    "aba": aba,
    "npi": npi,
    "dea": dea,
    "vin": vin,
    "isin": isin,
    "cusip": cusip,
    "lei": lei,
    "ein": ein,
    "ssn": ssn,
    "itin": itin,
    "mbi": mbi,
    "gtin": gtin,
    "imei": imei,
    "bitcoin": crypto_addresses.bitcoin,
    "ethereum": crypto_addresses.ethereum,
    "nhs": compacted(national_ids.nhs),
    "steuer_id": compacted(national_ids.steuer_id),
    "nir": compacted(national_ids.nir),
    "dni_nie": compacted(national_ids.dni_nie),
    "codice_fiscale": compacted(national_ids.codice_fiscale),
    "bsn": compacted(national_ids.bsn),
    "aadhaar": compacted(national_ids.aadhaar),
    "tfn": compacted(national_ids.tfn),
    "medicare_au": compacted(national_ids.medicare_au),
    "sin": compacted(national_ids.sin),
    "pesel": compacted(national_ids.pesel),
    "nip": compacted(national_ids.nip),
    "cpf": compacted(national_ids.cpf),
    "resident_id": compacted(national_ids.resident_id),
    "ahv": compacted(national_ids.ahv),
}
