"""A tiny token classifier, built on the spot: it finds the words of NAMED."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

LABEL_NAMES = ("O", "B-PATIENT", "I-PATIENT", "B-AGE", "I-AGE", "B-SHOE_SIZE")
# The words that the tiny model takes for something, by the number of its label.
NAMED = {"zora": 1, "okonjo": 2, "ninety": 3, "twenty": 3, "large": 5}
LETTERS = "abcdefghijklmnopqrstuvwxyz\u00fc.,-'"
POSITIONS = 32  # of the tiny model


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer that knows a few words and all letters."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *NAMED, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    core = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=core, model_max_length=10**6, **dict(zip(names, special, strict=True))
    )


def tiny_model(folder: Path, labels: tuple[str, ...] = LABEL_NAMES) -> Path:
    """Write a model that gives each word of NAMED its label, wherever it stands, and others O."""
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=POSITIONS,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        # Direction k of the embedding stands for label k; all layers but the norms are nothing.
        for word in tokenizer.get_vocab():
            row = model.bert.embeddings.word_embeddings.weight[tokenizer.get_vocab()[word]]
            row[NAMED.get(word, 0)] = 10.0
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.fill_(1.0)
        for number in range(len(labels)):
            model.classifier.weight[number, number] = 1.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
