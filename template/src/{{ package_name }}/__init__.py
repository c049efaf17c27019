"""Fine-tuning of one language model for one domain: data, training, evaluation, card."""

__version__ = "0.1.0"
