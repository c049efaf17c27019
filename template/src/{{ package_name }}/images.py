"""Images beside the raw data: found, checked, and opened in memory. Nothing of them is written.

A row names its images by paths relative to the folder of the raw data. What is opened comes from
strangers, so only plain raster formats are read (no formats that run an interpreter), the size is
known before a pixel is decoded, and no path leaves the folder.
"""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .fields import Fields, RowError
from .json_rows import json_type

MARK = "<image>"  # where an image stands in a text
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # as Pillow names them
MOST_PIXELS = 89_478_485  # from which Pillow warns of a decompression bomb: 256 MiB of RGB
COLUMNS = ("images", "image")
ORIENTATION = 0x0112  # tag of EXIF; 5 to 8 are quarter turns


def image_names(fields: Fields) -> tuple[str, ...]:
    """Return the paths that a row names in `images` or `image`: a text or a list of texts.

    Raises:
        RowError: a value is no path.
    """
    name = next((name for name in COLUMNS if fields.get(name) is not None), "")
    if not name:
        return ()
    value, column = fields.get(name), fields.column(name)
    names = value if isinstance(value, list) else [value]
    for one in names:
        if not isinstance(one, str):
            raise RowError(column, f"image: type: {json_type(one)}")
    return tuple(names)


def image_path(part: Mapping[str, Any]) -> str:
    """Return the path of an image part of a turn; "" for bytes, addresses and unknown forms."""
    found = next((part[name] for name in ("path", "image", "image_url") if name in part), "")
    if isinstance(found, dict):
        found = found.get("url", "")
    is_path = isinstance(found, str) and "://" not in found and not found.startswith("data:")
    return found if is_path else ""


def content_hash(folder: Path, name: str, column: str = "") -> bytes:
    """Return the SHA-256 of an image file, after every pixel of it was read once.

    Args:
        folder: Of the raw data.
        name: Path relative to it.
        column: Where the name stands, for the error.

    Raises:
        RowError: the path is not usable, or the file is no image.
    """
    path = _inside(folder, name, column)
    if path.suffix.lower() not in SUFFIXES:
        raise RowError(column, "image: unknown kind of file")
    try:
        state = path.stat()
        found = _checked(path, state.st_size, state.st_mtime_ns)
    except OSError:
        raise RowError(column, "image: not readable") from None
    if isinstance(found, str):
        raise RowError(column, found)
    return found


def find_images(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder, by their suffix; links that lead out are left out."""
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        named = path.suffix.lower() in SUFFIXES and path.is_file()
        if named and path.resolve().is_relative_to(root):
            yield path


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image as open_image() gives it, without its pixels."""
    with _opened(path) as opened:
        width, height = opened.size
        turned = opened.getexif().get(ORIENTATION) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def open_image(path: Path) -> Any:
    """Return an image as RGB without its metadata (EXIF, comments, colour profile).

    An image that EXIF turns is turned, as every viewer shows it.

    Raises:
        OSError: the file is missing or no longer the image that was checked.
    """
    from PIL import ImageOps

    with _opened(path) as opened:
        plain = ImageOps.exif_transpose(opened).convert("RGB")
    plain.info.clear()
    plain.getexif().clear()
    return plain


def placed(texts: Sequence[tuple[str, str]], count: int, column: str) -> list[str]:
    """Return the texts of turns with one mark for each image of the row.

    Marks that stand there count; without any, the images come before the first question.

    Args:
        texts: (role, text) of the turns.
        count: Images of the row, at least 1.
        column: Where the images stand, for the error.

    Raises:
        RowError: marks and images differ in number, or another turn than a question has one.
    """
    result = [text for _, text in texts]
    if not any(MARK in text for text in result):
        first = next((i for i, (role, _) in enumerate(texts) if role == "user"), None)
        if first is None:
            raise RowError(column, "image: no question that it belongs to")
        result[first] = "\n".join([MARK] * count + [result[first]])
        return result
    if any(MARK in text for role, text in texts if role != "user"):
        raise RowError(column, "image: mark outside a question")
    if sum(text.count(MARK) for text in result) != count:
        raise RowError(column, "image: number of marks")
    return result


def _inside(folder: Path, name: str, column: str) -> Path:
    """Return the file of a relative path that stays in the folder, links followed."""
    if not name.strip() or "\0" in name:
        raise RowError(column, "image: empty path")
    if "://" in name or name.startswith("data:"):
        raise RowError(column, "image: an address, not a file")
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root:
        raise RowError(column, "image: absolute path")
    try:
        path, root = (folder / name).resolve(), folder.resolve()
    except (OSError, RuntimeError):  # a link that leads to itself
        raise RowError(column, "image: not readable") from None
    if not path.is_relative_to(root):
        raise RowError(column, "image: path leaves the folder of the raw data")
    if not path.is_file():
        raise RowError(column, "image: missing")
    return path


class _TooLarge(OSError):
    """An image has more pixels than are decoded."""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield an image whose size is known and whose pixels are not decoded yet."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings may quote metadata
        try:
            opened = Image.open(path, formats=FORMATS)
        except Image.DecompressionBombError:
            raise _TooLarge("image: too many pixels") from None
        with opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise _TooLarge("image: too many pixels")
            yield opened


@lru_cache(maxsize=65536)
def _checked(path: Path, _size: int, _changed: int) -> bytes | str:
    """Return the hash of an image file, or why it is none; size and time renew the answer."""
    try:
        with _opened(path) as opened:
            if getattr(opened, "n_frames", 1) > 1:
                return "image: several frames"
            opened.load()
    except _TooLarge as error:
        return str(error)
    except Exception:  # the decoders raise what they like on a broken file
        return "image: not readable"
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").digest()
