"""Clinical arithmetic. Each item states its formula: what is tested is reading and reckoning.

Doses have tolerance 0: a dose is right or wrong. Sources are those of the formulas.
"""

from item_kit import ItemSet, Row, amount

WIKEM = "https://www.wikem.org/wiki/Formulas WikEM, Formulas, opened 2026-11-22"
UTMB = (
    "https://www.utmb.edu/pedi_ed/CORE/Fluids&Electyrolytes/page_04.htm UTMB, Maintenance fluid "
    "requirements, opened 2026-11-22"
)
TABERS = (
    "https://www.tabers.com/tabersonline/view/Tabers-Dictionary/738131/all/Cockcroft_Gault_formula "
    "Taber's, Cockcroft-Gault formula, opened 2026-11-22"
)
QXMD = (
    "https://qxmd.com/calculate/calculator_335/calculator_171/osmolal-gap QxMD, Osmolal gap, "
    "opened 2026-11-22"
)
NCRI = (
    "https://www.thencri.org/glossary/body-mass-index-bmi/ NCRI, Body Mass Index, opened 2026-11-22"
)

DOSES = (
    Row(
        "Paracetamol is ordered at {per_kg} mg/kg for a child who weighs {kg} kg.",
        "How many mg is one dose? Number only.",
        draws={"per_kg": [10, 15], "kg": (8, 34)},
        formula="per_kg * kg",
        **amount("mg"),
        difficulty="easy",
        skill="dosing",
    ),
    Row(
        "Order: {per_kg} mg/kg per day in {parts} equal doses. Weight: {kg} kg.",
        "How many mg is each single dose? Number only.",
        draws={"per_kg": [30, 60, 90], "parts": [2, 3], "kg": (6, 24)},
        formula="per_kg * kg / parts",
        **amount("mg"),
        skill="dosing",
    ),
    Row(
        "Order: {per_kg} mg/kg per dose, but no more than {most} mg per dose. The patient weighs "
        "{kg} kg.",
        "How many mg is one dose? Number only.",
        draws={"per_kg": [10, 15, 20], "most": [600, 800, 1000], "kg": (44, 98, 0, 2)},
        formula="min(per_kg * kg, most)",
        **amount("mg"),
        difficulty="hard",
        skill="dosing",
    ),
    Row(
        "Order: {dose} mg by mouth. The suspension holds {strength} mg in {volume} mL. The patient "
        "is {age} years old.",
        "How many mL are given, to one decimal? Number only.",
        draws={"dose": (125, 500, 0, 25), "strength": [250], "volume": [5], "age": (4, 11)},
        formula="dose / strength * volume",
        **amount("mL", 1),
        skill="dosing",
    ),
    Row(
        "Ordered: {dose} mg once daily. On the ward there are tablets of {tablet} mg only.",
        "How many tablets is one dose? Number only, half tablets as .5.",
        draws={"half": (2, 7), "tablet": [5, 10, 20, 25, 50]},
        let={"dose": "half * tablet / 2"},
        formula="dose / tablet",
        **amount("tablets", 1),
        difficulty="easy",
        skill="dosing",
    ),
    Row(
        "A solution is labelled {percent} % (1 % is 1 g in 100 mL). {ml} mL are injected.",
        "How many mg of the drug is that? Number only.",
        draws={"percent": [1, 2], "ml": (3, 12)},
        formula="percent * 1000 / 100 * ml",
        **amount("mg"),
        difficulty="hard",
        skill="dosing",
    ),
    Row(
        "Noradrenaline runs at {rate} micrograms/kg/min. The patient weighs {kg} kg. The syringe "
        "holds {mg} mg in {ml} mL.",
        "At how many mL per hour does the pump run, to one decimal? Number only.",
        draws={"rate": (0.05, 0.4, 2, 0.05), "kg": (50, 104, 0, 2), "mg": [4, 8, 16], "ml": [50]},
        formula="rate * kg * 60 / (mg * 1000 / ml)",
        **amount("mL/h", 1, 0.01),
        difficulty="hard",
        skill="infusions",
    ),
    Row(
        "{ml} mL of fluid are to run in over {hours} hours. The giving set makes {drops} drops per "
        "mL.",
        "How many drops per minute is that, to the nearest whole drop? Number only.",
        draws={"ml": (400, 1000, 0, 100), "hours": [4, 6, 8, 10], "drops": [15, 20]},
        formula="ml * drops / (hours * 60)",
        **amount("drops/min", 0, 0.02),
        skill="infusions",
    ),
    Row(
        "At {start}:00 a bag of {ml} mL is hung; it is to be empty after {hours} hours.",
        "What is the rate in mL per hour, to one decimal? Number only.",
        draws={"start": (8, 20), "ml": (250, 1500, 0, 250), "hours": [3, 6, 8, 12]},
        formula="ml / hours",
        **amount("mL/h", 1, 0.01),
        difficulty="easy",
        skill="infusions",
    ),
    Row(
        "Insulin before a meal: 1 unit for every {carb} g of carbohydrate, and 1 unit for every "
        "{step} mg/dL of glucose above {target} mg/dL. The meal has {grams} g; glucose is "
        "{glucose} mg/dL.",
        "How many units in all? Number only.",
        draws={
            "a": (3, 8),
            "b": (1, 4),
            "carb": [8, 10, 15],
            "step": [25, 30, 40],
            "target": [110, 120],
        },
        let={"grams": "a * carb", "glucose": "target + b * step"},
        formula="grams / carb + (glucose - target) / step",
        **amount("units"),
        skill="dosing",
    ),
)

FORMULAS = (
    Row(
        "A patient is {m} m tall and weighs {kg} kg. BMI is the weight in kg divided by the square "
        "of the height in m.",
        "What is the BMI in kg/m2, to one decimal? Number only.",
        draws={"m": (1.5, 1.95, 2), "kg": (47, 118)},
        formula="kg / m ** 2",
        **amount("kg per square metre", 1, 0.01),
        difficulty="easy",
        skill="body size",
        source=NCRI,
    ),
    Row(
        "Blood pressure {high}/{low} mmHg, pulse {pulse}/min. MAP = (systolic + 2 x diastolic) / "
        "3.",
        "What is the mean arterial pressure in mmHg, to the nearest whole number? Number only.",
        draws={"low": (46, 94), "apart": (28, 76), "pulse": (54, 128)},
        let={"high": "low + apart"},
        formula="(high + 2 * low) / 3",
        **amount("mmHg", 0, 0.01),
        skill="vital signs",
        source=WIKEM,
    ),
    Row(
        "Na {na}, K {k}, Cl {cl}, HCO3 {bic} (all mmol/L). Anion gap = Na - (Cl + HCO3).",
        "What is the anion gap in mmol/L? Number only.",
        draws={"na": (128, 148), "k": (3.1, 5.6, 1), "gap": (7, 29), "bic": (8, 27)},
        let={"cl": "na - bic - gap"},
        formula="na - (cl + bic)",
        **amount("mmol/L"),
        skill="acid-base",
        source=WIKEM,
    ),
    Row(
        "Na {na}, Cl {cl}, HCO3 {bic} mmol/L, albumin {alb} g/dL. Anion gap = Na - (Cl + HCO3); "
        "add 2.5 for each g/dL of albumin below 4.",
        "What is the anion gap corrected for albumin in mmol/L, to one decimal? Number only.",
        draws={"na": (130, 146), "gap": (8, 22), "bic": (9, 22), "alb": (1.6, 3.8, 1, 0.2)},
        let={"cl": "na - bic - gap"},
        formula="na - (cl + bic) + 2.5 * (4 - alb)",
        **amount("mmol/L", 1, 0.01),
        difficulty="hard",
        skill="acid-base",
        source=WIKEM,
    ),
    Row(
        "Calcium {ca} mg/dL, albumin {alb} g/dL, phosphate {p} mg/dL. Corrected calcium = calcium "
        "+ 0.8 x (4 - albumin).",
        "What is the corrected calcium in mg/dL, to one decimal? Number only.",
        draws={"ca": (7.0, 9.8, 1), "alb": (1.5, 3.7, 1), "p": (2.4, 5.2, 1)},
        formula="ca + 0.8 * (4 - alb)",
        **amount("mg/dL", 1, 0.01),
        skill="laboratory",
        source=WIKEM,
    ),
    Row(
        "Metabolic acidosis with HCO3 {bic} mmol/L and a measured pCO2 of {pco2} mmHg. Expected "
        "pCO2 = 1.5 x HCO3 + 8.",
        "What pCO2 in mmHg is expected, to one decimal? Number only.",
        draws={"bic": (6, 20), "pco2": (18, 44)},
        formula="1.5 * bic + 8",
        **amount("mmHg", 1, 0.01),
        skill="acid-base",
        source=WIKEM,
    ),
    Row(
        "Na {na} mmol/L, glucose {glu} mg/dL, urea nitrogen {bun} mg/dL. Calculated osmolality = 2 "
        "x Na + glucose / 18 + urea nitrogen / 2.8.",
        "What is the calculated osmolality in mOsm/kg, to the nearest whole number? Number only.",
        draws={"na": (124, 152), "glu": (80, 620, 0, 10), "bun": (8, 64)},
        formula="2 * na + glu / 18 + bun / 2.8",
        **amount("mOsm/kg", 0, 0.002),
        skill="laboratory",
        source=QXMD,
    ),
    Row(
        "Measured osmolality {measured} mOsm/kg. Na {na} mmol/L, glucose {glu} mg/dL, urea "
        "nitrogen {bun} mg/dL. Calculated = 2 x Na + glucose / 18 + urea nitrogen / 2.8; the gap "
        "is measured minus calculated.",
        "What is the osmolal gap in mOsm/kg, to the nearest whole number? Number only.",
        draws={
            "measured": (318, 352),
            "na": (134, 142),
            "glu": (90, 180, 0, 18),
            "bun": (14, 28, 0, 14),
        },
        formula="measured - (2 * na + glu / 18 + bun / 2.8)",
        **amount("mOsm/kg", 0, 0.01),
        difficulty="hard",
        skill="laboratory",
        source=QXMD,
    ),
    Row(
        "Burn of {tbsa} % of the body surface, weight {kg} kg. Fluid for 24 hours = 4 mL x kg x "
        "percent burned; half of it runs in the first 8 hours.",
        "What is the rate in mL per hour over the first 8 hours? Number only.",
        draws={"tbsa": (16, 48, 0, 4), "kg": (52, 96, 0, 4)},
        formula="4 * kg * tbsa / 2 / 8",
        **amount("mL/h", 0, 0.01),
        skill="fluids",
        source=WIKEM,
    ),
    Row(
        "A child of {kg} kg fasts before surgery. Maintenance per hour: 4 mL/kg for the first 10 "
        "kg, 2 mL/kg for the next 10 kg, 1 mL/kg for the rest.",
        "What is the hourly maintenance rate in mL? Number only.",
        draws={"kg": (12, 42)},
        formula="4 * min(kg, 10) + 2 * min(max(kg - 10, 0), 10) + max(kg - 10 - 10, 0)",
        **amount("mL/h"),
        skill="fluids",
        source=UTMB,
    ),
    Row(
        "Man, {age} years, {kg} kg, serum creatinine {cr} mg/dL. Creatinine clearance = (140 - "
        "age) x weight / (72 x creatinine).",
        "What is the creatinine clearance in mL/min, to the nearest whole number? Number only.",
        draws={"age": (38, 86), "kg": (54, 102), "cr": (0.8, 3.2, 1)},
        formula="(140 - age) * kg / (72 * cr)",
        **amount("mL/min", 0, 0.02),
        skill="kidney function",
        source=TABERS,
    ),
    Row(
        "Woman, {age} years, {kg} kg, serum creatinine {cr} mg/dL. Creatinine clearance = (140 - "
        "age) x weight / (72 x creatinine), for women times 0.85.",
        "What is the creatinine clearance in mL/min, to the nearest whole number? Number only.",
        draws={"age": (38, 88), "kg": (44, 90), "cr": (0.7, 2.6, 1)},
        formula="(140 - age) * kg / (72 * cr) * 0.85",
        **amount("mL/min", 0, 0.02),
        difficulty="hard",
        skill="kidney function",
        source=TABERS,
    ),
    Row(
        "Fluid balance chart. In: {oral} mL by mouth, {iv} mL by vein. Out: {urine} mL of urine, "
        "{drain} mL from the drain.",
        "What is the balance in mL, in minus out, with its sign? Number only.",
        draws={
            "oral": (200, 900, 0, 50),
            "iv": (500, 1500, 0, 100),
            "urine": (900, 2400, 0, 50),
            "drain": (40, 480, 0, 20),
        },
        formula="oral + iv - urine - drain",
        **amount("mL"),
        skill="fluids",
    ),
    Row(
        "Weight at admission {before} kg, now {after} kg.",
        "What is the change in percent of the weight at admission, to one decimal, with its sign? "
        "Number only.",
        draws={"before": (58, 96), "loss": (2, 9)},
        let={"after": "before - loss"},
        formula="(after - before) / before * 100",
        **amount("%", 1, 0.01),
        skill="body size",
    ),
    Row(
        "Smoker: {cigarettes} cigarettes a day for {years} years. A pack has 20 cigarettes; pack "
        "years are packs per day times years.",
        "How many pack years, to one decimal? Number only.",
        draws={"cigarettes": (5, 40, 0, 5), "years": (6, 44)},
        formula="cigarettes / 20 * years",
        **amount("pack years", 1, 0.01),
        difficulty="easy",
        skill="history",
    ),
    Row(
        "Glucose {mmol} mmol/L. To convert to mg/dL multiply by 18.",
        "What is the glucose in mg/dL, to the nearest whole number? Number only.",
        draws={"mmol": (3.1, 27.8, 1)},
        formula="mmol * 18",
        **amount("mg/dL", 0, 0.01),
        difficulty="easy",
        skill="laboratory",
    ),
    Row(
        "Spirometry: FEV1 {fev} L, FVC {fvc} L, predicted FEV1 {predicted} L.",
        "What is FEV1 in percent of FVC, to the nearest whole number? Number only.",
        draws={"fev": (0.9, 3.4, 1), "more": (0.4, 1.6, 1), "predicted": (2.4, 4.2, 1)},
        let={"fvc": "fev + more"},
        formula="fev / fvc * 100",
        **amount("%", 0, 0.02),
        skill="lung function",
    ),
    Row(
        "QT {qt} ms at an RR interval of {rr} s. Bazett: QTc = QT / (RR to the power 0.5).",
        "What is the QTc in ms, to the nearest whole number? Number only.",
        draws={"qt": (320, 480, 0, 4), "rr": (0.56, 1.24, 2, 0.04)},
        formula="qt / rr ** 0.5",
        **amount("ms", 0, 0.01),
        difficulty="hard",
        skill="ECG",
    ),
)

SETS = [ItemSet("med_numeric", "med-num", "numeric", 56, (*DOSES, *FORMULAS))]
