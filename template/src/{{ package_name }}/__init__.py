"""Fine-tuning of one language model for one domain: data, training, evaluation, card."""

from .privacy import privacy_env

__version__ = "0.1.0"

privacy_env()  # before any library that could send or store what it is given
