"""Clinical notes: facts to extract, and sections to tell apart. All patients are invented.

Medicines come with usual adult doses, so that a wrong one is the model's, not the item's.
"""

from item_kit import ASK, ItemSet, Row, label_rows, label_set

# (drug, mg, how often)
DRUGS = [
    ("losartan", 50, "once daily"),
    ("metformin", 500, "twice daily"),
    ("amlodipine", 5, "once daily"),
    ("sertraline", 50, "every morning"),
    ("atorvastatin", 20, "at bedtime"),
    ("omeprazole", 20, "every morning"),
    ("gabapentin", 300, "three times daily"),
    ("furosemide", 40, "every morning"),
    ("allopurinol", 100, "once daily"),
    ("bisoprolol", 5, "once daily"),
    ("montelukast", 10, "at bedtime"),
    ("tamsulosin", 0.4, "once daily"),
    ("mirtazapine", 15, "at bedtime"),
    ("cetirizine", 10, "once daily"),
]
RAISED = [
    ("bisoprolol", 2.5, 5),
    ("ramipril", 2.5, 5),
    ("lisinopril", 5, 10),
    ("losartan", 50, 100),
    ("amlodipine", 5, 10),
    ("citalopram", 10, 20),
    ("atorvastatin", 20, 40),
]
BLEEDING = ["naproxen", "clopidogrel", "diclofenac", "aspirin", "rivaroxaban"]
ON_HOLD = [("apixaban", 5), ("warfarin", 3), ("dapagliflozin", 10), ("methotrexate", 15)]
FINDINGS = [
    "fever",
    "cough",
    "chest pain",
    "nausea",
    "headache",
    "rash",
    "ankle swelling",
    "dizziness",
    "palpitations",
    "back pain",
    "weight loss",
    "blurred vision",
]
ALLERGENS = ["penicillin", "latex", "ibuprofen", "co-trimoxazole", "iodinated contrast", "codeine"]
REACTIONS = ["hives", "lip swelling", "wheeze", "an itchy rash", "vomiting"]


def medicine(drug: str, mg: object, often: str) -> dict[str, object]:
    """Gold of one medicine."""
    return {"drug": drug, "dose_mg": mg, "frequency": often}


def both(slots):
    """Gold of a text with two medicines that are taken now."""
    return {"medications": [medicine(*slots["a"]), medicine(*slots["b"])]}


TAKEN_NOW = (
    "Reply with one JSON object with the key medications: a list of the medicines that the patient "
    "takes now, each with drug, dose_mg (a number) and frequency as written."
)
TWO = {"a": DRUGS, "b": DRUGS}
MEDICATIONS = (
    Row(
        "Takes {a[0]} {a[1]} mg {a[2]} and {b[0]} {b[1]} mg {b[2]}. Her {old} was stopped {weeks} "
        "weeks ago because of bleeding.",
        TAKEN_NOW,
        draws=TWO | {"old": BLEEDING, "weeks": (2, 9)},
        answer=both,
        skill="medications",
    ),
    Row(
        "Medication review, age {age}. On admission {a[0]} {a[1]} mg {a[2]}; {old[0]} {old[1]} mg "
        "is on hold until after surgery. New from today: {b[0]} {b[1]} mg {b[2]}.",
        TAKEN_NOW,
        draws=TWO | {"old": ON_HOLD, "age": (48, 89)},
        answer=both,
        skill="medications",
        difficulty="hard",
    ),
    Row(
        "The daughter brings one box: {a[0]} {a[1]} mg, to be taken {a[2]}. The patient never "
        "started the {b[0]} {b[1]} mg that was prescribed in {month}.",
        TAKEN_NOW,
        draws=TWO | {"month": ["March", "June", "October"]},
        answer=lambda s: {"medications": [medicine(*s["a"])]},
        skill="medications",
        difficulty="hard",
    ),
    Row(
        "Discharge: {up[0]} raised from {up[1]} mg to {up[2]} mg, still once daily; {b[0]} "
        "unchanged at {b[1]} mg {b[2]}.",
        TAKEN_NOW,
        draws={
            "up": RAISED,
            "b": [
                d
                for d in DRUGS
                if d[0]
                in (
                    "metformin",
                    "sertraline",
                    "omeprazole",
                    "gabapentin",
                    "furosemide",
                    "allopurinol",
                )
            ],
        },
        answer=lambda s: {
            "medications": [medicine(s["up"][0], s["up"][2], "once daily"), medicine(*s["b"])]
        },
        skill="medications",
        difficulty="hard",
    ),
)


def findings(text: str, difficulty: str, **draws: object) -> Row:
    """A row on what a patient has ({a}, {b}) and has not ({c}, {d})."""
    names = sorted("abcd", key=lambda name: text.index("{" + name + "}"))

    def gold(slots):
        return {
            "present": [slots[name] for name in names if name in "ab"],
            "absent": [slots[name] for name in names if name in "cd"],
        }

    return Row(
        text,
        ASK + "present and absent: lists of the patient's own findings, in the order of the text.",
        draws=dict.fromkeys("abcd", FINDINGS) | draws,
        answer=gold,
        skill="negation",
        difficulty=difficulty,
    )


NEGATION = (
    findings("Reports {a} and {b} for {days} days. Denies {c} and {d}.", "easy", days=(2, 14)),
    findings(
        "No {c}. Has had {a} for {weeks} weeks, now also {b}; {d} is absent. Her brother had "
        "a stroke.",
        "medium",
        weeks=(2, 8),
    ),
    findings(
        "Came in with {a}; {c} and {d} were not present. The {b} began on the ward.", "medium"
    ),
    findings(
        "Was told to come back in case of fainting. Has {a}, without {c} or {d}. Since this "
        "morning {b} as well.",
        "hard",
    ),
)

VITALS = (
    Row(
        "On arrival {high}/{low} mmHg, pulse {pulse}, temperature {temp} C, saturation {spo2} % on "
        "room air.",
        ASK + "systolic_mmhg, diastolic_mmhg, heart_rate, temperature_c, spo2_percent and "
        "respiratory_rate: numbers, null where the text gives none.",
        draws={
            "low": (48, 92),
            "apart": (28, 70),
            "pulse": (52, 128),
            "temp": (36.1, 39.6, 1),
            "spo2": (86, 99),
        },
        let={"high": "low + apart"},
        answer=lambda s: {
            "systolic_mmhg": s["high"],
            "diastolic_mmhg": s["low"],
            "heart_rate": s["pulse"],
            "temperature_c": s["temp"],
            "spo2_percent": s["spo2"],
            "respiratory_rate": None,
        },
        skill="vital signs",
        difficulty="easy",
    ),
    Row(
        "Respiratory rate {rate}/min, heart rate {pulse}/min. Blood pressure was {old} systolic in "
        "the ambulance and is {high}/{low} mmHg now. No thermometer at hand.",
        ASK + "systolic_mmhg, diastolic_mmhg, heart_rate, temperature_c and respiratory_rate: the "
        "present values as numbers, null where the text gives none.",
        draws={
            "rate": (10, 34),
            "pulse": (48, 140),
            "old": (80, 96),
            "low": (58, 90),
            "apart": (40, 64),
        },
        let={"high": "low + apart"},
        answer=lambda s: {
            "systolic_mmhg": s["high"],
            "diastolic_mmhg": s["low"],
            "heart_rate": s["pulse"],
            "temperature_c": None,
            "respiratory_rate": s["rate"],
        },
        skill="vital signs",
        difficulty="hard",
    ),
)


def laboratory(test: str, unit: str, old: tuple, new: tuple, normal: str) -> Row:
    """A row with an old and a new result of one test; `normal` is an adult reference range."""
    return Row(
        test + " {old} in the spring, {value} " + unit + " on {day} (reference " + normal + ").",
        ASK + "test, value (the latest, a number), unit and date (YYYY-MM-DD).",
        draws={"old": old, "value": new, "day": ("2026-06-05", "2026-11-20")},
        answer=lambda s: {"test": test, "value": s["value"], "unit": unit, "date": s["day"]},
        skill="laboratory",
    )


OTHER = (
    Row(
        "Allergic to {what}: {reaction} in {year}. Tolerates {fine}.",
        ASK + "allergen, reaction and year (a number), as written.",
        draws={"what": ALLERGENS, "reaction": REACTIONS, "year": (2004, 2025), "fine": ALLERGENS},
        answer=lambda s: {"allergen": s["what"], "reaction": s["reaction"], "year": s["year"]},
        skill="allergies",
        difficulty="easy",
    ),
    Row(
        "Next visit on {day} in the {clinic} clinic; blood is taken {before} days earlier.",
        ASK + "clinic, visit_date (YYYY-MM-DD) and days_before (a number).",
        draws={
            "day": ("2027-01-05", "2027-09-20"),
            "before": (2, 9),
            "clinic": ["diabetes", "heart failure", "kidney", "memory", "asthma"],
        },
        answer=lambda s: {
            "clinic": s["clinic"],
            "visit_date": s["day"],
            "days_before": s["before"],
        },
        skill="follow-up",
        difficulty="easy",
    ),
    laboratory("Potassium", "mmol/L", (3.4, 4.4, 1), (4.6, 6.3, 1), "3.5 to 5.1"),
    laboratory("Haemoglobin", "g/dL", (12.1, 14.2, 1), (8.6, 11.8, 1), "12.0 to 16.0"),
    laboratory("Creatinine", "mg/dL", (0.7, 1.1, 1), (1.3, 3.4, 1), "0.6 to 1.2"),
)
EXTRACT = (*MEDICATIONS, *NEGATION, *VITALS, *MEDICATIONS, *NEGATION, *OTHER)

PLACES = ["knee", "shoulder", "hip", "elbow", "ankle", "wrist"]
SECTIONS = {
    "history of present illness": (
        "Pain in the {side} {place} began {n} days ago after a fall and is worse at night.",
        "For {n} days more tired than usual; this week the {side} {place} started to ache.",
        "Woke {n} nights in a row from the {side} {place}; walking has made it worse.",
        "Slipped on wet leaves {n} days ago, landed on the {side} {place}, could not get up alone.",
        "Cough for {n} weeks, at first dry, now with green sputum; no relief from tea.",
        "Was well until {n} days ago, when a burning feeling on passing urine began.",
    ),
    "past history": (
        "Operation on the {side} {place} {n} years ago without complications; high blood pressure.",
        "Asthma since childhood. Fracture of the {side} {place} {n} years ago.",
        "Two admissions for pneumonia; {side} {place} operated on {n} years ago.",
        "Gallbladder removed {n} years ago. Gout, last attack in the {side} {place} in spring.",
        "Type 2 diabetes for {n} years; one kidney stone; no earlier operations.",
        "Had {n} pregnancies and as many births; migraine as a student, none since.",
    ),
    "social history": (
        "Lives alone on floor {n} without a lift; retired bus driver, stopped smoking.",
        "Works night shifts {n} times a month, drinks two glasses of wine at weekends.",
        "Shares a flat with {n} others; plays tennis {side}-handed; never smoked.",
        "Widowed, {n} grandchildren nearby; a neighbour does the shopping.",
        "Cares for a mother with dementia {n} days a week; no alcohol.",
        "Student, moved here {n} months ago; vapes, no other drugs.",
    ),
    "medications": (
        "Paracetamol 500 mg as needed; gel for the {side} {place} for {n} days so far.",
        "Ramipril 5 mg in the morning; ibuprofen 400 mg for the {side} {place}, {n} days so far.",
        "Vitamin D weekly, salbutamol 2 puffs as needed, folic acid 5 mg daily, {n} tablets left.",
        "Levothyroxine 75 micrograms before breakfast, unchanged for {n} years.",
        "Metformin 500 mg twice daily; {n} units of insulin glargine at night.",
        "Took the last of {n} days of amoxicillin 500 mg yesterday; no other tablets.",
    ),
    "examination": (
        "{side} {place} warm and swollen, flexion limited; pulses present, bruise of {n} cm.",
        "Chest clear. Tender over the {side} {place} at {n} points; skin intact.",
        "Alert, no distress. {side} {place} stable, with a scar of {n} cm.",
        "Abdomen soft, liver edge {n} cm below the ribs, bowel sounds normal.",
        "Heart sounds normal, soft murmur; pitting oedema of the {side} {place}, {n} mm deep.",
        "Throat red, {n} tender lymph nodes on the {side}; ears unremarkable.",
    ),
    "assessment and plan": (
        "Likely sprain of the {side} {place}: rest, ice, review in {n} days, X-ray if no better.",
        "Suspected arthritis; bloods today, physiotherapy for the {side} {place}, {n} sessions.",
        "Stable. Continue as before, refer the {side} {place} to orthopaedics, back in {n} weeks.",
        "Probable urinary infection: send culture, start treatment, ring with the result in {n} "
        "days.",
        "Blood pressure above target: home readings for {n} days, then decide on a second drug.",
        "Most likely viral; explain red flags, return if no better after {n} days.",
    ),
}
SECTION_SLOTS = {"side": ["left", "right"], "place": PLACES, "n": (2, 9)}
SECTION_ROWS = label_rows(SECTIONS, SECTION_SLOTS, "note sections", (3, 3, 0))

SETS = [
    ItemSet("med_extract", "med-ext", "extraction", 42, EXTRACT),
    label_set(
        "med_section",
        "med-sec",
        "From which section of a clinical note is this line?",
        SECTION_ROWS,
    ),
]
