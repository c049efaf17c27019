"""Figures of studies and tests, computed from counts."""

from item_kit import ItemSet, Row, amount

KTC = (
    "http://ktclearinghouse.ca/cebm/toolbox/statscalc KT Clearinghouse, Statistics calculator, "
    "opened 2026-11-22"
)

STUDIES = (
    Row(
        "Trial: the event occurred in {control} % of the control group and in {treated} % of the "
        "treated group. NNT = 100 / (control % - treated %).",
        "What is the number needed to treat, rounded up to a whole number? Number only.",
        draws={"treated": (2, 18), "less": (1.5, 9.5, 1)},
        let={"control": "treated + less"},
        formula="ceil(100 / (control - treated))",
        **amount("patients"),
        difficulty="hard",
        skill="study design",
    ),
    Row(
        "A test was positive in {tp} of {sick} people with the disease and in {fp} of {well} "
        "without it.",
        "What is its sensitivity in percent, to one decimal? Number only.",
        draws={
            "sick": (80, 240, 0, 10),
            "miss": (7, 60),
            "well": (300, 900, 0, 50),
            "fp": (11, 90),
        },
        let={"tp": "sick - miss"},
        formula="tp / sick * 100",
        **amount("%", 1, 0.01),
        skill="study design",
        source=KTC,
    ),
    Row(
        "A test was negative in {tn} of {well} people without the disease and positive in {tp} of "
        "{sick} with it.",
        "What is its specificity in percent, to one decimal? Number only.",
        draws={
            "sick": (80, 240, 0, 10),
            "miss": (7, 60),
            "well": (300, 900, 0, 50),
            "fp": (11, 90),
        },
        let={"tp": "sick - miss", "tn": "well - fp"},
        formula="tn / well * 100",
        **amount("%", 1, 0.01),
        skill="study design",
        source=KTC,
    ),
    Row(
        "Screening found {tp} true positive, {fp} false positive, {fn} false negative and {tn} "
        "true negative results.",
        "What is the positive predictive value in percent, to one decimal? Number only.",
        draws={"tp": (24, 95), "fp": (30, 260), "fn": (2, 21), "tn": (700, 2400, 0, 25)},
        formula="tp / (tp + fp) * 100",
        **amount("%", 1, 0.01),
        difficulty="hard",
        skill="study design",
        source=KTC,
    ),
    Row(
        "Cohort: {a} of {n} exposed and {b} of {m} unexposed people fell ill.",
        "What is the relative risk, exposed to unexposed, to two decimals? Number only.",
        draws={"n": (200, 600, 0, 50), "a": (24, 120), "m": (250, 800, 0, 50), "b": (12, 80)},
        formula="(a / n) / (b / m)",
        **amount("ratio", 2, 0.01),
        skill="study design",
    ),
)

SETS = [ItemSet("med_study", "med-stu", "numeric", 15, STUDIES)]
