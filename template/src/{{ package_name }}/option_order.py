"""Does the choice depend on the order of the options?

Models prefer some letters whatever stands behind them (Zheng et al. 2024, "Large Language
Models Are Not Robust Multiple Choice Selectors", arXiv:2309.03882). Each item is asked with its
options in every cyclic order, so that each option stands once at each letter.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .items import Item, head
from .scoring import score_choices

MAX_ITEMS = 60  # of a set; each is asked as often as it has options


def cyclic_orders(item: Item) -> list[Item]:
    """Return the item with its options in each cyclic order, the given one first."""
    turns = range(len(item.choices))
    return [replace(item, choices=item.choices[k:] + item.choices[:k]) for k in turns]


def reordered(items: Sequence[Item]) -> list[Item]:
    """Return the items that are asked in every order: with lettered options, at most MAX_ITEMS."""
    return head([item for item in items if item.letters], MAX_ITEMS)


def permutation_scores(
    model: Any,
    tokenizer: Any,
    items: Sequence[Item],
    system_prompt: str = "",
    batch_size: int = 16,
) -> dict[str, float]:
    """Return how a model chooses when the options change places.

    Args:
        model: as for `score_choices`.
        tokenizer: the tokenizer of that model.
        items: as `reordered` chooses them from a set.
        system_prompt: system turn of every conversation, empty for none.
        batch_size: most rows in one forward pass.

    Returns:
        `accuracy`: mean over items and orders. `consistency`: share of items where the same
        option is chosen in every order. `n`: items asked; both shares are 0 where it is 0.
    """
    if not items:
        return {"accuracy": 0.0, "consistency": 0.0, "n": 0}
    orders = [cyclic_orders(item) for item in items]
    asked = [one for group in orders for one in group]
    scores = iter(score_choices(model, tokenizer, asked, system_prompt, batch_size))
    accuracy = consistent = 0.0
    for group in orders:
        picked = [one.choices[one.labels().index(next(scores).label)] for one in group]
        accuracy += sum(option == group[0].answer for option in picked) / len(group)
        consistent += len(set(picked)) == 1
    n = len(items)
    return {"accuracy": accuracy / n, "consistency": consistent / n, "n": n}
