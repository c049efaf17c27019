"""Facts of announcements to extract, and the stance of central bankers. All names are invented."""

from item_kit import ASK, ISO, ItemSet, Row, label_rows, label_set

FIRMS = [
    "Aldercrest Mills",
    "Brindlehurst Rail",
    "Cawthorne Optics",
    "Delvermoor Foods",
    "Eastwick Turbines",
    "Farnholm Paper",
    "Glenarvon Hotels",
    "Hollowell Seeds",
]
METRICS = ["net profit", "revenue", "operating profit", "EBITDA", "order intake"]
QUARTERS = [
    "first quarter of 2026",
    "second quarter of 2026",
    "third quarter of 2026",
    "fourth quarter of 2025",
]
DAYS = ("2026-01-10", "2026-11-20")

EXTRACT = (
    Row(
        "{a} reports {metric} of EUR {now} million for the {quarter}, up from EUR {then} million a "
        "year ago. Analysts had expected EUR {hoped} million.",
        ASK + "company, metric, period, value_eur_million and prior_eur_million (numbers).",
        draws={
            "a": FIRMS,
            "metric": METRICS,
            "quarter": QUARTERS,
            "then": (40, 120),
            "more": (5, 40),
            "hoped": (60, 140),
        },
        let={"now": "then + more"},
        answer=lambda s: {
            "company": s["a"],
            "metric": s["metric"],
            "period": s["quarter"],
            "value_eur_million": s["now"],
            "prior_eur_million": s["then"],
        },
        skill="results",
        difficulty="easy",
    ),
    Row(
        "In the {quarter} {a} lost USD {loss} million after a profit of USD {then} million. "
        "Revenue was USD {sales} million.",
        ASK + "company, period, net_result_usd_million, prior_net_result_usd_million and "
        "revenue_usd_million (numbers; a loss is negative).",
        draws={
            "a": FIRMS,
            "quarter": QUARTERS,
            "loss": (4, 48),
            "then": (3, 36),
            "sales": (90, 480),
        },
        answer=lambda s: {
            "company": s["a"],
            "period": s["quarter"],
            "net_result_usd_million": -s["loss"],
            "prior_net_result_usd_million": s["then"],
            "revenue_usd_million": s["sales"],
        },
        skill="sign",
    ),
    Row(
        "{a} now guides for revenue growth of {low} to {high} % in {year} (before: {old} %). It "
        "gave no outlook for the margin.",
        ASK + "company, year, growth_low_percent, growth_high_percent and margin_percent (numbers, "
        "null where none is given).",
        draws={"a": FIRMS, "low": (2, 5), "high": (6, 9), "year": [2026, 2027], "old": (10, 14)},
        answer=lambda s: {
            "company": s["a"],
            "year": s["year"],
            "growth_low_percent": s["low"],
            "growth_high_percent": s["high"],
            "margin_percent": None,
        },
        skill="guidance",
    ),
    Row(
        "The board of {a} proposes a dividend of USD {div} per share (last year USD {old}). The "
        "shares trade without it from {ex}; it is paid on {pay}.",
        ASK + f"company, dividend_usd (a number), ex_date and payment_date ({ISO}).",
        draws={
            "a": FIRMS,
            "div": (0.6, 2.4, 2, 0.05),
            "old": (0.3, 0.55, 2, 0.05),
            "ex": ("2026-02-01", "2026-10-20"),
            "gap": (3, 20),
        },
        let={"pay": "ex + gap"},
        answer=lambda s: {
            "company": s["a"],
            "dividend_usd": s["div"],
            "ex_date": s["ex"],
            "payment_date": s["pay"],
        },
        skill="dividends",
    ),
    Row(
        "{a} placed bonds of EUR {sum} million with a coupon of {coupon} %, due on {due}. Demand "
        "was EUR {demand:,} million; the proceeds repay a loan.",
        ASK + f"issuer, amount_eur_million, coupon_percent (numbers), maturity ({ISO}) and use.",
        draws={
            "a": FIRMS,
            "sum": (150, 600, 0, 50),
            "coupon": (2.125, 5.875, 3, 0.125),
            "due": ("2030-02-01", "2034-10-20"),
            "demand": (900, 2_400, 0, 100),
        },
        answer=lambda s: {
            "issuer": s["a"],
            "amount_eur_million": s["sum"],
            "coupon_percent": s["coupon"],
            "maturity": s["due"],
            "use": "repay a loan",
        },
        skill="debt",
        difficulty="hard",
    ),
    Row(
        "On {day} {a} agreed to buy {n} % of {b} for USD {price} million in cash; it held {old} % "
        "before. Closing needs approval.",
        ASK + f"buyer, target, date ({ISO}), stake_before_percent, stake_bought_percent and "
        "price_usd_million (numbers).",
        draws={
            "day": DAYS,
            "a": FIRMS,
            "b": FIRMS,
            "n": (20, 60, 0, 5),
            "old": (5, 15),
            "price": (80, 640, 0, 10),
        },
        answer=lambda s: {
            "buyer": s["a"],
            "target": s["b"],
            "date": s["day"],
            "stake_before_percent": s["old"],
            "stake_bought_percent": s["n"],
            "price_usd_million": s["price"],
        },
        skill="deals",
    ),
    Row(
        "Covenant: net debt of {a} stays below {most} times EBITDA, tested each {when}. At the "
        "last test the figure was {now}.",
        ASK + "borrower, covenant, limit, actual (numbers) and tested; covenant is one of net "
        "debt, interest cover.",
        draws={
            "a": FIRMS,
            "most": (3.0, 4.5, 1, 0.5),
            "when": ["quarter", "half-year", "year"],
            "now": (1.2, 2.9, 1),
        },
        answer=lambda s: {
            "borrower": s["a"],
            "covenant": "net debt",
            "limit": s["most"],
            "actual": s["now"],
            "tested": s["when"],
        },
        skill="credit",
        difficulty="hard",
    ),
    Row(
        "Rating: {a} {old} to {new}, outlook {outlook}, on {day}. Reason: {why}.",
        ASK + f"company, old_rating, new_rating, outlook, date ({ISO}) and reason.",
        draws={
            "a": FIRMS,
            "old": ["BBB", "BBB-", "A-"],
            "new": ["BB+", "BB"],
            "day": DAYS,
            "outlook": ["stable", "negative"],
            "why": ["weak cash flow", "higher debt", "loss of a large customer"],
        },
        answer=lambda s: {
            "company": s["a"],
            "old_rating": s["old"],
            "new_rating": s["new"],
            "outlook": s["outlook"],
            "date": s["day"],
            "reason": s["why"],
        },
        skill="ratings",
        difficulty="easy",
    ),
)

SPEAKERS = [
    "Governor Aldane",
    "Governor Ruskeel",
    "Deputy Governor Marrick",
    "Chair Ovenden",
    "Council member Tovell",
    "Council member Brask",
    "Member Ellinghult",
    "Member Quarne",
]
STANCE = {
    "hawkish": (
        "Prices still rise too fast, and we are ready to lift our rate by {n} basis points again.",
        "With wages up {high} %, it is far too early to speak of lower rates.",
        "We will keep policy tight for as long as inflation stays above target.",
        "I voted to raise; the risk of doing too little is larger than that of doing too much.",
        "The Council ends its bond purchases {m} months early, since demand outruns supply.",
        "A pause is not a peak: more tightening may follow if core prices do not yield.",
        "We would rather accept slower growth than let expectations of inflation drift.",
        "The labour market is overheated, and a higher rate for longer is the remedy.",
        "Inflation fell to {high} %, yet services prices show that the work is not done.",
        "Should the currency weaken further, we will not hesitate to act with higher rates.",
    ),
    "dovish": (
        "Demand is weak, and a cut of {n} basis points would be justified soon.",
        "With unemployment up for {m} months, policy should support jobs now.",
        "We will reinvest for longer, so that credit stays cheap for households.",
        "I voted to lower; waiting would cost growth without bringing prices down faster.",
        "Inflation is {low} % and falling; our rate has become too tight for the economy.",
        "The risk has moved: a slump now worries us more than prices do.",
        "There is room to ease at the next meeting, and little reason to wait.",
        "The rise in prices comes from energy and will fade; we look through it.",
        "Lending has dried up, so the Council offers banks cheap funds for {m} months.",
        "One bad month for prices will not stop us from bringing rates down.",
    ),
    "neutral": (
        "The Council left its rate unchanged and will decide meeting by meeting.",
        "Risks to growth and to prices are balanced, and the data will guide us.",
        "The next meeting is in {m} weeks; minutes appear as usual.",
        "We gave no signal today, in either direction, and none should be read into it.",
        "Inflation was {low} % as forecast, and the path of policy is as before.",
        "The Council discussed its communication and took no decision on rates.",
        "Some members saw a case for higher rates, about as many for lower ones.",
        "The rate is where it should be; a change would need a surprise up or down.",
        "Staff published new notes on payments; monetary policy was not a topic.",
        "After {m} meetings without change, we keep all options open.",
    ),
}
STANCE_SLOTS = {
    "who": SPEAKERS,
    "n": [25, 50],
    "high": (4.1, 5.9, 1),
    "low": (1.2, 2.2, 1),
    "m": (3, 9),
}
STANCE_ROWS = label_rows(STANCE, STANCE_SLOTS, "monetary policy", (4, 3, 3), "{who}: ")

SETS = [
    ItemSet("fin_extract", "fin-ext", "extraction", 40, EXTRACT),
    label_set(
        "fin_stance",
        "fin-sta",
        "Monetary policy stance of the speaker: hawkish, dovish or neutral?",
        STANCE_ROWS,
    ),
]
