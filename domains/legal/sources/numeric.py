"""Money and deadlines. Every rule that counts stands in the item; none is the law of a place."""

from item_kit import ItemSet, Row, amount

MONEY = amount("USD", 2, 0.0001)
AMOUNTS = (
    Row(
        "Judgment of USD {sum:,}. Simple interest runs at {rate} % a year on a year of 365 days, "
        "for {days} days.",
        "How much interest in USD, to two decimals? Number only.",
        draws={"sum": (12_000, 96_000, 0, 500), "rate": (4, 9), "days": (40, 330)},
        formula="sum * rate / 100 * days / 365",
        skill="interest",
        **MONEY,
    ),
    Row(
        "An invoice of USD {sum:,} was due on {due} and was paid on {paid}. The contract sets "
        "simple interest of {rate} % a year on a year of 360 days, counted from the day after the "
        "due date up to and including the day of payment.",
        "How much interest in USD, to two decimals? Number only.",
        draws={
            "sum": (8_000, 64_000, 0, 400),
            "due": ("2026-01-10", "2026-06-20"),
            "late": (20, 150),
            "rate": (5, 12),
        },
        let={"paid": "due + late"},
        formula="sum * rate / 100 * (paid - due) / 360",
        difficulty="hard",
        skill="interest",
        **MONEY,
    ),
    Row(
        "Clause 9: for each full day of delay the contractor pays USD {daily:,}, at most {cap} % "
        "of the price. Price: USD {price:,}. Completion is {days} days late.",
        "How much is payable in USD? Number only.",
        draws={
            "daily": (500, 2_500, 0, 250),
            "cap": [5, 8, 10],
            "price": (200_000, 600_000, 0, 20_000),
            "days": (9, 40),
        },
        formula="min(daily * days, price * cap / 100)",
        **amount("USD"),
        skill="liquidated damages",
    ),
    Row(
        "The seller did not deliver goods sold for USD {price:,}. The buyer bought the same goods "
        "elsewhere for USD {cover:,}, spent USD {extra:,} on the search and saved USD {saved:,} in "
        "freight. Damages are the cost of cover less the contract price, plus incidental costs, "
        "less costs saved.",
        "What are the damages in USD? Number only.",
        draws={
            "price": (40_000, 90_000, 0, 1_000),
            "more": (4_000, 19_000, 0, 500),
            "extra": (300, 1_900, 0, 100),
            "saved": (200, 1_500, 0, 100),
        },
        let={"cover": "price + more"},
        formula="cover - price + extra - saved",
        **amount("USD"),
        skill="damages",
    ),
    Row(
        "A lease ran {months} more months at USD {rent:,} a month when the tenant left. After "
        "{empty} months the landlord let it to another for USD {new:,} a month for the rest. The "
        "tenant owes the rent lost.",
        "How much rent was lost in USD? Number only.",
        draws={
            "months": (9, 20),
            "empty": (2, 6),
            "new": (1_500, 2_200, 0, 50),
            "gap": (150, 700, 0, 50),
        },
        let={"rent": "new + gap"},
        formula="empty * rent + (months - empty) * (rent - new)",
        **amount("USD"),
        difficulty="hard",
        skill="mitigation",
    ),
    Row(
        "Damages are USD {sum:,}. The claimant is {own} % at fault; the award is reduced by that "
        "share.",
        "What is the award in USD? Number only.",
        draws={"sum": (30_000, 400_000, 0, 1_000), "own": (5, 45, 0, 5)},
        formula="sum * (100 - own) / 100",
        **amount("USD"),
        difficulty="easy",
        skill="comparative fault",
    ),
    Row(
        "Three debtors are liable in shares of {a} %, {b} % and {c} %. The first paid the whole "
        "debt of USD {sum:,} and claims from the second its share.",
        "How much can the first claim from the second in USD? Number only.",
        draws={"a": (30, 50, 0, 5), "b": (15, 35, 0, 5), "sum": (24_000, 180_000, 0, 2_000)},
        let={"c": "100 - a - b"},
        formula="sum * b / 100",
        **amount("USD"),
        skill="contribution",
    ),
    Row(
        "Fee agreement: {share} % of the recovery after costs are taken off. Recovery: USD "
        "{sum:,}. Costs: USD {costs:,}.",
        "What is the fee in USD? Number only.",
        draws={
            "share": [20, 25, 30, 40],
            "sum": (60_000, 300_000, 0, 5_000),
            "costs": (2_000, 12_000, 0, 500),
        },
        formula="(sum - costs) * share / 100",
        **amount("USD"),
        skill="fees",
    ),
    Row(
        "Retainer: USD {paid:,}. Work so far: {partner} hours at USD {high} and {associate} hours "
        "at USD {low}. Expenses: USD {extra}.",
        "What is left of the retainer in USD, negative if more is owed? Number only.",
        draws={
            "paid": (3_000, 9_000, 0, 500),
            "partner": (2.5, 9.5, 1, 0.5),
            "high": [380, 420, 460],
            "associate": (4.5, 16.5, 1, 0.5),
            "low": [210, 240, 260],
            "extra": (60, 320, 0, 10),
        },
        formula="paid - partner * high - associate * low - extra",
        **amount("USD"),
        difficulty="hard",
        skill="fees",
    ),
    Row(
        "Liability is capped at the fees paid in the 12 months before the claim. Fees: USD {fee:,} "
        "a month for the last {paid} months; nothing was paid before. Loss: USD {loss:,}.",
        "How much can be recovered in USD? Number only.",
        draws={"fee": (2_000, 9_000, 0, 500), "paid": (5, 18), "loss": (20_000, 160_000, 0, 5_000)},
        formula="min(loss, fee * min(paid, 12))",
        **amount("USD"),
        difficulty="hard",
        skill="limitation of liability",
    ),
    Row(
        "The deposit of USD {deposit:,} is returned less unpaid rent for {days} days at USD {rent} "
        "a day and less USD {repair} for repairs.",
        "How much is returned in USD, negative if the tenant owes more? Number only.",
        draws={
            "deposit": (1_200, 3_600, 0, 100),
            "days": (5, 28),
            "rent": (40, 90, 0, 5),
            "repair": (80, 640, 0, 20),
        },
        formula="deposit - days * rent - repair",
        **amount("USD"),
        skill="leases",
    ),
    Row(
        "A company of {shares:,} shares issues {new:,} new ones to an investor. The founder keeps "
        "{own:,}.",
        "What percent of the shares does the founder hold afterwards, to one decimal? Number only.",
        draws={
            "shares": (400_000, 900_000, 0, 50_000),
            "new": (60_000, 240_000, 0, 10_000),
            "own": (150_000, 390_000, 0, 10_000),
        },
        formula="own / (shares + new) * 100",
        **amount("%", 1, 0.002),
        skill="corporate",
    ),
)

DATE = {"skill": "deadlines"}
WRITE = "Reply with the date only, as YYYY-MM-DD."
SPAN = ("2027-01-05", "2027-10-20")
WEEKDAY = {"served": "next_weekday(any)"}  # nobody serves papers on a Sunday
DEADLINES = (
    Row(
        "Rule: an answer is due {days} days after service. The day of service is not counted; "
        "every later day is. If the last day is a Saturday or Sunday, the period ends on the next "
        "Monday. Served on {served:%A}, {served}.",
        "When is the answer due? " + WRITE,
        draws={"days": [14, 20, 21, 28, 30], "any": SPAN},
        let=WEEKDAY,
        formula="next_weekday(served + days)",
        **DATE,
    ),
    Row(
        "Rule: objections are due {days} business days after notice; business days are Monday to "
        "Friday, there are no holidays, and the day of notice is not counted. Notice was given on "
        "{served:%A}, {served}.",
        "What is the last day for objections? " + WRITE,
        draws={"days": [3, 5, 7, 10], "any": SPAN},
        let=WEEKDAY,
        formula="add_weekdays(served, days)",
        **DATE,
    ),
    Row(
        "Clause 14: either party may end the agreement on the last day of its term by notice that "
        "arrives at least {days} days before that day. The term ends on {end}.",
        "On which day must the notice arrive at the latest? " + WRITE,
        draws={"days": [30, 45, 60, 90], "end": ("2027-04-01", "2027-12-31")},
        formula="end - days",
        **DATE,
    ),
    Row(
        "Rule: a claim must be filed within {months} months of the breach, that is, by the day of "
        "the month with the same number, or the last day of a shorter month. Weekends do not "
        "matter. The breach was on {breach}.",
        "What is the last day to file? " + WRITE,
        draws={"months": [6, 12, 18, 24], "breach": ("2025-01-02", "2026-03-31")},
        formula="add_months(breach, months)",
        **DATE,
    ),
    Row(
        "Clause 8: after written notice the party in breach has {days} days to cure; the day on "
        "which the notice arrives is not counted. If it is not cured, the agreement ends on the "
        "day after the period. The notice was sent on {sent} and arrived {later} days later.",
        "On which day does the agreement end? " + WRITE,
        draws={"days": [10, 15, 30], "sent": SPAN, "later": (2, 5)},
        formula="sent + later + days + 1",
        difficulty="hard",
        **DATE,
    ),
    Row(
        "A lease began on {start} and runs {years} years of 12 months; it ends on the day before "
        "the anniversary of its beginning.",
        "What is its last day? " + WRITE,
        draws={"start": ("2024-03-01", "2025-12-28"), "years": [2, 3, 5]},
        formula="add_months(start, years * 12) - 1",
        difficulty="hard",
        **DATE,
    ),
    Row(
        "Rule: where papers are served by post, {extra} days are added to a period of {days} days. "
        "The day of service is not counted. If the last day is a Saturday or Sunday, the period "
        "ends on the next Monday. Served by post on {served:%A}, {served}.",
        "On which day does the period end? " + WRITE,
        draws={"extra": [3, 5], "days": [14, 21, 28], "any": SPAN},
        let=WEEKDAY,
        formula="next_weekday(served + days + extra)",
        difficulty="hard",
        **DATE,
    ),
    Row(
        "An option may be exercised from {first} for {months} months, up to and including the day "
        "before the same day of the last month.",
        "What is the last day to exercise it? " + WRITE,
        draws={"first": ("2026-02-01", "2026-12-20"), "months": [3, 6, 9]},
        formula="add_months(first, months) - 1",
        **DATE,
    ),
)

SETS = [
    ItemSet("legal_numeric", "leg-num", "numeric", 36, AMOUNTS),
    ItemSet("legal_deadline", "leg-day", "exact", 32, DEADLINES),
]
