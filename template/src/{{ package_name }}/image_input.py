"""Images of prepared records, found again beside the raw data before training.

Prepared files hold no file names, because a name may say whom an image shows: an image is found
by the keyed hash of its content, so it is also sure to be the one that was prepared.
"""

from collections.abc import Sequence
from pathlib import Path

from .config import Config
from .errors import Problem, UserError
from .images import find_images
from .keys import KEY_FILE, KEY_VARIABLE, load_keys
from .manifest import image_folder, manifest_path
from .records import Record
from .utils import read_json, sha256_file


def image_files(config: Config, records: Sequence[Record]) -> dict[str, Path]:
    """Return key -> file of every image of the records.

    Raises:
        UserError: the project's key is not on this machine, or images are gone or changed. They
            are counted, not named.
    """
    wanted = {key for record in records for key in record.image_keys}
    if not wanted:
        return {}
    keys, _ = load_keys(config, create=False)
    if read_json(manifest_path(config)).get("key") != keys.identity:
        found = "not the key that the data was prepared with, by which its images are found"
        raise UserError(Problem(KEY_FILE, found, fix=f"copy it here, or set {KEY_VARIABLE}"))
    files = {}
    for path in find_images(image_folder(config)):
        key = keys.image(bytes.fromhex(sha256_file(path))).hex()
        if key in wanted:
            files[key] = path
    if lost := len(wanted) - len(files):
        found = f"{lost} of {len(wanted)} images are not there, or changed since the preparation"
        fix = "make prepare, with the images beside the raw data"
        raise UserError(Problem(config.data.raw, found, fix=fix))
    return files
