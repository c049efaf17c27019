"""Fine-tuning of one language model for one domain: data, training, evaluation, card.

Importing the package sets the switches that keep data on this machine, before any library
that could send or store what it is given.
"""

import logging
import os

__version__ = "0.1.0"
# Variable -> value. Each stops one library from sending or storing what it was given.
PRIVATE_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub: usage statistics
    "DO_NOT_TRACK": "1",  # common switch, read by several libraries
    "ANONYMIZED_TELEMETRY": "False",
    "WANDB_DISABLE_CODE": "true",  # wandb: no copy of the source
    "WANDB_DISABLE_GIT": "true",  # wandb: no commit, no diff
    "WANDB_CONSOLE": "off",  # wandb: no capture of standard output
    "WANDB_LOG_MODEL": "false",  # wandb: no upload of weights
    "WANDB_ERROR_REPORTING": "false",  # wandb: no reports of its own faults
    "TRACKIO_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it reads DO_NOT_TRACK, but not as "1"
    "HF_XET_CHUNK_CACHE_SIZE_BYTES": "0",  # huggingface_hub: no copies of data sets elsewhere
    "TOKENIZERS_PARALLELISM": "false",  # no worker processes that inherit raw text
}


def privacy_env() -> dict[str, str]:
    """Set the private defaults and return those that were set.

    A variable that is already in the environment is the user's decision and stays.
    """
    changed = {name: value for name, value in PRIVATE_SETTINGS.items() if name not in os.environ}
    os.environ.update(changed)
    return changed


privacy_env()
# It advises to install a package with which it would fetch code from the hub and run it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
