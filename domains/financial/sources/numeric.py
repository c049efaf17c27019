"""Questions on small tables and terms: sign, scale, period, ratios, time value.

Brackets mean a negative number, as in accounts. Formulas that are not common ground stand in the
item.
"""

from item_kit import ItemSet, Row, amount

FIRMS = [
    "Aldercrest Mills",
    "Brindlehurst Rail",
    "Cawthorne Optics",
    "Delvermoor Foods",
    "Eastwick Turbines",
    "Farnholm Paper",
]
PCT = amount("%", 1, 0.005)
MIO = amount("USD million", 1, 0.005)

STATEMENTS = (
    Row(
        "{firm}, USD thousand\nyear | 2025 | 2024\nRevenue | {now:,} | {then:,}\nCost of sales | "
        "({cost:,}) | ({old:,})",
        "By what percent did revenue change from 2024 to 2025, to one decimal, with its sign? "
        "Number only.",
        draws={
            "firm": FIRMS,
            "then": (21_000, 68_000, 0, 35),
            "step": (-6_300, 9_100, 0, 35),
            "cost": (9_000, 15_000, 0, 25),
            "old": (9_000, 15_000, 0, 25),
        },
        let={"now": "then + step"},
        formula="(now - then) / then * 100",
        skill="growth",
        **PCT,
    ),
    Row(
        "{firm}, USD thousand\nRevenue | {sales:,}\nCost of sales | ({cost:,})\nOperating expenses "
        "| ({opex:,})",
        "What is the gross profit in USD million, to two decimals? Number only.",
        draws={
            "firm": FIRMS,
            "sales": (28_000, 64_000, 0, 10),
            "cost": (12_000, 26_000, 0, 10),
            "opex": (4_000, 9_000, 0, 10),
        },
        formula="(sales - cost) / 1000",
        **amount("USD million", 2, 0.001),
        skill="scale",
    ),
    Row(
        "{firm}, USD million\nRevenue | {sales}\nCost of sales | ({cost})\nOperating expenses | "
        "({opex})\nInterest | ({interest})",
        "What is the operating margin in percent (before interest), to one decimal, with its sign? "
        "Number only.",
        draws={
            "firm": FIRMS,
            "sales": (240, 420),
            "cost": (120, 210),
            "opex": (40, 90),
            "interest": (4, 16),
        },
        formula="(sales - cost - opex) / sales * 100",
        skill="margin",
        difficulty="hard",
        **PCT,
    ),
    Row(
        "{firm}, gross margin in percent\nyear | 2025 | 2024\nmargin | {now} | {then}",
        "By how many basis points did the margin change from 2024 to 2025, with its sign? Number "
        "only.",
        draws={"firm": FIRMS, "now": (24.0, 41.0, 1), "then": (25.0, 40.0, 1)},
        formula="(now - then) * 100",
        **amount("bp"),
        skill="basis points",
    ),
    Row(
        "{firm}, USD million\nquarter | Q1 | Q2 | Q3 | Q4\nnet result | {a} | ({b}) | ({c}) | {d}",
        "What is the net result of the year in USD million, with its sign? Number only.",
        draws={"firm": FIRMS, "a": (12, 48), "b": (9, 61), "c": (5, 44), "d": (6, 39)},
        formula="a - b - c + d",
        **amount("USD million"),
        skill="sign",
    ),
    Row(
        "{firm}, USD million\nCash flow from operations | {cfo}\nPurchase of equipment | "
        "({capex})\nSale of a subsidiary | {sale}\nDividends | ({div})",
        "What is the free cash flow in USD million, operations less purchase of equipment? Number "
        "only.",
        draws={
            "firm": FIRMS,
            "cfo": (60, 210),
            "capex": (30, 240),
            "sale": (20, 90),
            "div": (8, 40),
        },
        formula="cfo - capex",
        **amount("USD million"),
        skill="cash flow",
    ),
    Row(
        "{firm}, USD million\nPre-tax profit | {pretax}\nIncome tax | ({tax})\nNet profit | {net}",
        "What is the effective tax rate in percent, to one decimal? Number only.",
        draws={"firm": FIRMS, "pretax": (200, 340), "tax": (38, 84)},
        let={"net": "pretax - tax"},
        formula="tax / pretax * 100",
        skill="tax",
        difficulty="easy",
        **PCT,
    ),
    Row(
        "{firm}\nNet profit | USD {net} million\nPreferred dividends | USD {pref} million\nAverage "
        "common shares | {shares} million",
        "What are the earnings per common share in USD, to two decimals? Number only.",
        draws={"firm": FIRMS, "net": (120, 460), "pref": (6, 30), "shares": (80, 240)},
        formula="(net - pref) / shares",
        **amount("USD", 2, 0.01),
        skill="per share",
    ),
    Row(
        "{firm}, segments, USD million\nNorth | {a}\nSouth | {b}\nElimination | ({c})",
        "What percent of consolidated revenue (after elimination) is North, to one decimal? Number "
        "only.",
        draws={"firm": FIRMS, "a": (120, 340), "b": (90, 280), "c": (8, 40)},
        formula="a / (a + b - c) * 100",
        skill="segments",
        difficulty="hard",
        **PCT,
    ),
)

RATIOS = (
    Row(
        "{firm}, USD million\nCash | {cash}\nReceivables | {rec}\nInventory | {inv}\nCurrent "
        "liabilities | {due}",
        "What is the quick ratio, to two decimals (inventory left out)? Number only.",
        draws={
            "firm": FIRMS,
            "cash": (20, 90),
            "rec": (40, 120),
            "inv": (30, 140),
            "due": (70, 180),
        },
        formula="(cash + rec) / due",
        **amount("ratio", 2, 0.01),
        skill="liquidity",
    ),
    Row(
        "{firm}, USD million\nLong-term debt | {long}\nShort-term debt | {short}\nCash | "
        "{cash}\nEBITDA | {ebitda}",
        "What is net debt to EBITDA, to two decimals? Number only.",
        draws={
            "firm": FIRMS,
            "long": (200, 520),
            "short": (30, 110),
            "cash": (40, 160),
            "ebitda": (80, 190),
        },
        formula="(long + short - cash) / ebitda",
        **amount("ratio", 2, 0.01),
        skill="leverage",
    ),
    Row(
        "{firm}, USD million\nEBIT | {ebit}\nInterest expense | ({interest})\nInterest income | "
        "{income}",
        "How many times does EBIT cover interest expense, to one decimal? Number only.",
        draws={"firm": FIRMS, "ebit": (90, 320), "interest": (11, 58), "income": (2, 9)},
        formula="ebit / interest",
        **amount("times", 1, 0.01),
        skill="leverage",
        difficulty="easy",
    ),
    Row(
        "{firm}, USD million\nRevenue | {sales}\nReceivables at the end of the year | {rec}",
        "What are days sales outstanding at the end of the year, on 365 days, to the nearest whole "
        "day? Number only.",
        draws={"firm": FIRMS, "sales": (310, 960), "rec": (40, 150)},
        formula="rec / sales * 365",
        **amount("days", 0, 0.02),
        skill="efficiency",
    ),
    Row(
        "{firm}, USD million\nEquity 2024 | {old}\nEquity 2025 | {new}\nNet profit 2025 | {net}",
        "What is the return on average equity in 2025 in percent, to one decimal? Number only.",
        draws={"firm": FIRMS, "old": (300, 700, 0, 2), "new": (320, 760, 0, 2), "net": (24, 118)},
        formula="net / ((old + new) / 2) * 100",
        skill="profitability",
        **PCT,
    ),
    Row(
        "Bank, USD million\nCommon equity tier 1 capital | {cet1}\nAdditional tier 1 | "
        "{at1}\nRisk-weighted assets | {rwa:,}\nTotal assets | {total:,}",
        "What is the CET1 ratio in percent, to one decimal? Number only.",
        draws={
            "cet1": (310, 720),
            "at1": (30, 90),
            "rwa": (2_600, 4_800, 0, 50),
            "total": (6_000, 9_900, 0, 100),
        },
        formula="cet1 / rwa * 100",
        skill="bank capital",
        **PCT,
    ),
    Row(
        "Bank, USD million\nInterest income | {earned}\nInterest expense | ({paid})\nFee income | "
        "{fees}\nAverage earning assets | {assets:,}",
        "What is the net interest margin in percent, to two decimals? Number only.",
        draws={
            "earned": (240, 420),
            "paid": (90, 200),
            "fees": (30, 90),
            "assets": (4_000, 7_500, 0, 50),
        },
        formula="(earned - paid) / assets * 100",
        **amount("%", 2, 0.005),
        skill="bank margin",
        difficulty="hard",
    ),
    Row(
        "A flat is worth USD {value:,}. The first loan stands at USD {first:,}, the second at USD "
        "{second:,}.",
        "What is the loan-to-value ratio of both loans together in percent, to one decimal? Number "
        "only.",
        draws={
            "value": (240_000, 620_000, 0, 10_000),
            "first": (120_000, 230_000, 0, 5_000),
            "second": (10_000, 60_000, 0, 2_500),
        },
        formula="(first + second) / value * 100",
        skill="credit",
        difficulty="easy",
        **PCT,
    ),
)

VALUE = (
    Row(
        "A project costs USD {cost} million today and returns USD {a} million after one year and "
        "USD {b} million after two. Discount rate: {rate} % a year.",
        "What is the net present value in USD million, to two decimals, with its sign? Number "
        "only.",
        draws={"cost": (60, 120), "a": (25, 75), "b": (30, 90), "rate": (5, 12)},
        formula="a / (1 + rate / 100) + b / (1 + rate / 100) ** 2 - cost",
        **amount("USD million", 2, 0.005),
        skill="time value",
        difficulty="hard",
    ),
    Row(
        "USD {sum:,} is invested at {rate} % a year, compounded once a year, for {years} years.",
        "What is it worth at the end in USD, to the nearest whole dollar? Number only.",
        draws={"sum": (2_000, 40_000, 0, 500), "rate": (2, 9), "years": (3, 8)},
        formula="sum * (1 + rate / 100) ** years",
        **amount("USD", 0, 0.001),
        skill="time value",
    ),
    Row(
        "Revenue grew from USD {then} million to USD {now} million in {years} years.",
        "What is the compound annual growth rate in percent, to one decimal? Number only.",
        draws={"then": (80, 160), "more": (30, 140), "years": (3, 6)},
        let={"now": "then + more"},
        formula="((now / then) ** (1 / years) - 1) * 100",
        skill="growth",
        difficulty="hard",
        **PCT,
    ),
    Row(
        "A bond of USD 1,000 face value pays a coupon of {coupon} % a year and trades at USD "
        "{price}.",
        "What is its current yield in percent, to two decimals? Number only.",
        draws={"coupon": (2.5, 7.5, 2, 0.25), "price": (860, 1_090, 0, 5)},
        formula="1000 * coupon / 100 / price * 100",
        **amount("%", 2, 0.005),
        skill="bonds",
    ),
    Row(
        "A bond portfolio of USD {value} million has a modified duration of {duration}. Yields "
        "rise by {bp} basis points. Estimated change = - duration x change in yield x value.",
        "What is the estimated change in value in USD million, to two decimals, with its sign? "
        "Number only.",
        draws={"value": (40, 260, 0, 10), "duration": (2.5, 9.5, 1), "bp": (15, 90, 0, 5)},
        formula="-duration * bp / 10000 * value",
        **amount("USD million", 2, 0.005),
        skill="duration",
        difficulty="hard",
    ),
    Row(
        "Portfolio: {a} % in shares that returned {x} %, {b} % in bonds that returned -{y} %, the "
        "rest in cash at 0 %.",
        "What is the return of the portfolio in percent, to one decimal, with its sign? Number "
        "only.",
        draws={"a": (30, 60, 0, 10), "b": (20, 40, 0, 10), "x": (3, 14), "y": (2, 9)},
        formula="(a * x - b * y) / 100",
        skill="portfolio",
        **PCT,
    ),
    Row(
        "EUR 1 costs USD {rate}. A firm sells goods for EUR {sum:,} and pays a fee of USD {fee}.",
        "How many USD are left, to two decimals? Number only.",
        draws={"rate": (1.02, 1.24, 2), "sum": (12_000, 95_000, 0, 500), "fee": (20, 90, 0, 5)},
        formula="sum * rate - fee",
        **amount("USD", 2, 0.0005),
        skill="currency",
        difficulty="easy",
    ),
    Row(
        "A machine cost USD {cost} thousand, has a residual value of USD {rest} thousand and is "
        "written off in a straight line over {years} years. {done} full years have passed.",
        "What is its carrying amount in USD thousand, to one decimal? Number only.",
        draws={
            "cost": (200, 720, 0, 10),
            "rest": (10, 60, 0, 5),
            "years": [5, 8, 10],
            "done": (2, 4),
        },
        formula="cost - (cost - rest) / years * done",
        **amount("USD thousand", 1, 0.005),
        skill="depreciation",
    ),
    Row(
        "Loans of USD {sum} million. Probability of default in a year {pd} %, loss given default "
        "{lgd} %, no collateral beyond that.",
        "What is the expected credit loss of the year in USD million, to two decimals? Number "
        "only.",
        draws={"sum": (120, 900, 0, 10), "pd": (0.5, 4.5, 1), "lgd": (30, 60, 0, 5)},
        formula="sum * pd / 100 * lgd / 100",
        **amount("USD million", 2, 0.005),
        skill="credit",
    ),
    Row(
        "Q4 revenue was USD {q4} million, down {drop} % on the same quarter a year before.",
        "What was revenue in that earlier quarter in USD million, to one decimal? Number only.",
        draws={"q4": (80, 360), "drop": (4, 24)},
        formula="q4 / (1 - drop / 100)",
        skill="period",
        difficulty="hard",
        **MIO,
    ),
)

SETS = [ItemSet("fin_table", "fin-tab", "numeric", 62, (*STATEMENTS, *RATIOS, *VALUE))]
