"""Clauses to sort and facts of contracts and orders to extract. All parties are invented."""

from item_kit import ASK, ISO, ItemSet, Row, label_rows, label_set

FIRMS = [
    "Ambercroft Tools Ltd",
    "Bexwold Foods Inc",
    "Carrowmere Labs GmbH",
    "Dunlarch Freight LLC",
    "Elsinver Media BV",
    "Fenwharf Energy plc",
    "Gorseley Textiles Inc",
    "Hexbourne Data Ltd",
    "Ivelchester Glass SA",
    "Juniperdale Clinics LLC",
]
LAWS = ["England and Wales", "Delaware", "New York", "Germany", "Ireland", "Ontario"]
CITIES = ["London", "Dublin", "Toronto", "Frankfurt", "Geneva", "Singapore"]
SIGNED = ("2024-01-10", "2026-06-20")

EXTRACT = (
    Row(
        "This Services Agreement is made on {day} between {a} (the Provider) and {b} (the "
        "Customer). It replaces their agreement of {old}. It is governed by the laws of {law}.",
        ASK + f"date ({ISO}), provider, customer and governing_law.",
        draws={
            "day": ("2025-01-10", "2026-06-20"),
            "old": ("2019-01-10", "2022-06-20"),
            "a": FIRMS,
            "b": FIRMS,
            "law": LAWS,
        },
        answer=lambda s: {
            "date": s["day"],
            "provider": s["a"],
            "customer": s["b"],
            "governing_law": s["law"],
        },
        skill="parties",
    ),
    Row(
        "Lease between {a} as landlord and {b} as tenant, from {day} for {years} years. Rent USD "
        "{rent:,} a month, due on day {due} of each month; deposit USD {deposit:,}.",
        ASK + f"landlord, tenant, start ({ISO}), term_years, monthly_rent_usd and deposit_usd "
        "(numbers).",
        draws={
            "a": FIRMS,
            "b": FIRMS,
            "day": SIGNED,
            "years": (2, 9),
            "rent": (1_500, 9_500, 0, 250),
            "due": (1, 5),
            "deposit": (10_000, 30_000, 0, 1_000),
        },
        answer=lambda s: {
            "landlord": s["a"],
            "tenant": s["b"],
            "start": s["day"],
            "term_years": s["years"],
            "monthly_rent_usd": s["rent"],
            "deposit_usd": s["deposit"],
        },
        skill="leases",
        difficulty="easy",
    ),
    Row(
        "Neither party is liable for lost profit. Apart from fraud, the liability of {a} is "
        "limited to USD {cap:,} per calendar year. This does not limit the indemnity in clause "
        "{clause}.",
        ASK + "party, cap_usd (a number), period and excluded_clause (a number); period is what "
        "follows per.",
        draws={"a": FIRMS, "cap": (100_000, 900_000, 0, 50_000), "clause": (7, 19)},
        answer=lambda s: {
            "party": s["a"],
            "cap_usd": s["cap"],
            "period": "calendar year",
            "excluded_clause": s["clause"],
        },
        skill="limitation of liability",
        difficulty="hard",
    ),
    Row(
        "{a} shall pay each invoice within {days} days of receipt. Late sums bear interest of "
        "{rate} % a year. Invoices are sent to accounts@{box}.example.com.",
        ASK + "payer, days_to_pay (a number), late_interest_percent (a number), discount_percent "
        "(a number or null) and email.",
        draws={
            "a": FIRMS,
            "days": [14, 21, 30, 45, 60],
            "rate": (4.0, 9.5, 1, 0.5),
            "box": ["billing", "finance", "office", "ledger"],
        },
        answer=lambda s: {
            "payer": s["a"],
            "days_to_pay": s["days"],
            "late_interest_percent": s["rate"],
            "discount_percent": None,
            "email": f"accounts@{s['box']}.example.com",
        },
        skill="payment",
    ),
    Row(
        "Either party may end this Agreement for convenience on {days} days' notice; {a} may not "
        "do so before {day}. For a material breach that is not cured within {cure} days, the other "
        "party may end it at once.",
        ASK + f"notice_days, cure_days (numbers), restricted_party and not_before ({ISO}).",
        draws={
            "days": [30, 60, 90],
            "a": FIRMS,
            "day": ("2027-01-05", "2028-10-20"),
            "cure": [10, 15, 20],
        },
        answer=lambda s: {
            "notice_days": s["days"],
            "cure_days": s["cure"],
            "restricted_party": s["a"],
            "not_before": s["day"],
        },
        skill="termination",
        difficulty="hard",
    ),
    Row(
        "On {day} the tribunal, seated in {city}, ordered {a} to pay {b} USD {sum:,} and costs of "
        "USD {costs:,}. All other claims were dismissed.",
        ASK + f"date ({ISO}), seat, debtor, creditor, sum_usd, costs_usd and interest_percent "
        "(numbers, null where the text gives none).",
        draws={
            "day": SIGNED,
            "city": CITIES,
            "a": FIRMS,
            "b": FIRMS,
            "sum": (50_000, 900_000, 0, 10_000),
            "costs": (6_000, 48_000, 0, 1_000),
        },
        answer=lambda s: {
            "date": s["day"],
            "seat": s["city"],
            "debtor": s["a"],
            "creditor": s["b"],
            "sum_usd": s["sum"],
            "costs_usd": s["costs"],
            "interest_percent": None,
        },
        skill="orders",
    ),
    Row(
        "Confidentiality lasts {years} years from {day}; for source code it has no end. {a} "
        "discloses and {b} receives. Notices go to {b} in {city}.",
        ASK + f"discloser, recipient, start ({ISO}), years (a number) and unlimited_for.",
        draws={"years": (2, 7), "day": SIGNED, "a": FIRMS, "b": FIRMS, "city": CITIES},
        answer=lambda s: {
            "discloser": s["a"],
            "recipient": s["b"],
            "start": s["day"],
            "years": s["years"],
            "unlimited_for": "source code",
        },
        skill="confidentiality",
        difficulty="hard",
    ),
    Row(
        "{a} sells {n} % of its shares in {b} for USD {price:,}: {now} % on {day}, the rest after "
        "audit. The right of first refusal is waived.",
        ASK + "seller, company, share_percent, price_usd, first_part_percent (numbers) and "
        f"first_payment ({ISO}).",
        draws={
            "a": FIRMS,
            "b": FIRMS,
            "n": [25, 40, 51, 75],
            "price": (200_000, 950_000, 0, 50_000),
            "now": [30, 50, 60, 80],
            "day": ("2027-01-05", "2027-10-20"),
        },
        answer=lambda s: {
            "seller": s["a"],
            "company": s["b"],
            "share_percent": s["n"],
            "price_usd": s["price"],
            "first_part_percent": s["now"],
            "first_payment": s["day"],
        },
        skill="corporate",
    ),
)

CLAUSES = {
    "governing law": (
        "This Agreement is to be read and applied under the laws of {law}, without its conflict "
        "rules.",
        "The rights of the parties follow the law of {law}; the sales convention does not apply.",
        "Questions about validity or effect are decided by the law in force in {law}.",
        "Whatever the place of performance, what counts is the law of {law}.",
        "Disputes, also those not of contract, are judged by the substantive law of {law}.",
    ),
    "dispute resolution": (
        "A dispute that is not settled in {n} days goes to one arbitrator seated in {city}.",
        "The parties first mediate in {city}; after {n} days either may sue there.",
        "The courts of {city} alone hear any claim under this Agreement.",
        "Three arbitrators decide; the seat is {city} and the award is final after {n} days.",
        "Senior managers meet within {n} days; failing that, arbitration in {city} is binding.",
    ),
    "confidentiality": (
        "The Recipient keeps what it learns secret for {n} years and shows it to its staff only.",
        "Business secrets of {a} may be used for the project only and are destroyed after {n} "
        "days.",
        "No party tells outsiders the terms of this Agreement for {n} years, unless the law "
        "requires it.",
        "What {a} marks as secret stays secret for {n} years, even if the project is stopped.",
        "Unpublished prices and plans are shared on a need-to-know basis and returned in {n} days.",
    ),
    "termination": (
        "Each party may bring this Agreement to an end on {n} days' written notice.",
        "If {a} misses two payments, the other side may end the contract after {n} days.",
        "The Agreement ends by itself if {a} enters insolvency and no plan is filed in {n} days.",
        "After {n} months either side may leave without giving a reason.",
        "A breach that is not put right within {n} days entitles the other party to walk away.",
    ),
    "indemnification": (
        "{a} holds the Customer harmless from claims of third parties that its product infringes "
        "rights.",
        "{a} shall make good all losses that outsiders claim because of its staff on site.",
        "If a third party sues over the content, {a} defends the suit and pays what is awarded.",
        "{a} reimburses fines that the Customer must pay because {a} handled data wrongly.",
        "Against claims by former workers, {a} protects the buyer and bears {n} % of the costs.",
    ),
    "limitation of liability": (
        "No party answers for more than the fees of the last {n} months.",
        "{a} is not liable for lost profit or data; other damages end at {n} times the monthly "
        "fee.",
        "Save for intent and injury to life or health, damages are capped at {n} % of the price.",
        "Neither side owes indirect losses, however caused, beyond {n} monthly fees.",
        "The most that {a} can owe under this contract, for all claims, is {n} times the annual "
        "fee.",
    ),
    "assignment": (
        "{a} may not hand its rights to another without written consent, given within {n} days.",
        "Neither party transfers this Agreement, except to a buyer of its whole business.",
        "The Customer may pass its rights to a group company on {n} days' notice.",
        "Without approval, a transfer of duties to a third person is void, also in a merger.",
        "{a} may sell its claims for payment to a bank, but nothing else under this contract.",
    ),
    "force majeure": (
        "Flood, war or strike that nobody could foresee suspends the duties for as long as it "
        "lasts.",
        "{a} is excused while an event beyond its control, such as an embargo, stops delivery.",
        "If an earthquake or epidemic prevents work for more than {n} days, deadlines move.",
        "No one is in breach while a power failure of the region lasts, if told within {n} days.",
        "A party stopped by natural disaster must report it in {n} days and resume when it can.",
    ),
}
CLAUSE_SLOTS = {"law": LAWS, "city": CITIES, "a": FIRMS, "n": (3, 20)}
CLAUSE_ROWS = label_rows(CLAUSES, CLAUSE_SLOTS, "clause types", (2, 2, 1))

SETS = [
    ItemSet("legal_extract", "leg-ext", "extraction", 40, EXTRACT),
    label_set("legal_clause", "leg-cls", "Which type of clause is this?", CLAUSE_ROWS),
]
