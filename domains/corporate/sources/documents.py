"""Values to look up or to miss, facts to extract and kinds of documents. All is invented."""

from item_kit import ASK, ISO, Draw, ItemSet, Row, Slots, label_rows, label_set

ROOMS = ["Alder", "Birch", "Cedar", "Elm", "Hazel", "Juniper", "Larch", "Maple", "Rowan"]
TEAMS = ["sales", "logistics", "payroll", "design", "support", "purchasing", "training"]
PEOPLE = ["Aveline", "Bodo", "Corisande", "Dragan", "Eilonwy", "Faruk", "Ginevra", "Hamo", "Iseult"]
CITIES = ["Utrecht", "Leeds", "Bergen", "Turin", "Porto", "Graz", "Lyon", "Cork"]
PRODUCTS = ["Orrery", "Trivet", "Tallow", "Quern", "Sextant", "Bobbin"]
MISSING = "not stated"
VALUE = "Reply with the value only; if the document does not give it, reply with: not stated."
DAYS = ("2026-01-12", "2026-12-18")


def lookup(
    text: str, asked: str, names: list[str], values: range, skill: str, **more: Draw
) -> list[Row]:
    """Return two rows of one document: one asks for what it holds, one for what it lacks.

    The text has the names {one}, {two}, {three} with their values {a}, {b}, {c}; `asked` has a
    place for a name.
    """
    slots = {"one": names, "two": names, "three": names, "other": names}
    draws: dict[str, Draw] = {**slots, **{slot: list(values) for slot in "abc"}, **more}
    there, lacking = (f"{asked.format(name=slot)} {VALUE}" for slot in ("{one}", "{other}"))
    return [
        Row(text, there, draws=draws, answer="{a}", skill=skill, difficulty="easy"),
        Row(text, lacking, draws=draws, answer=MISSING, skill=skill),
    ]


LOOKUP = (
    *lookup(
        "Rooms. {two}: {b} seats, whiteboard. {one}: {a} seats, screen. {three}: {c} seats, screen "
        "and camera.",
        "How many seats has the room {name}?",
        ROOMS,
        range(4, 41),
        "rooms",
    ),
    *lookup(
        "Extensions. {one} ({team}): {a}. {two}: {b}. {three}: {c}. The reception answers between "
        "8:00 and 17:00.",
        "What is the extension of {name}?",
        PEOPLE,
        range(2100, 3000),
        "contacts",
        team=TEAMS,
    ),
    *lookup(
        "Stock in the store, counted on {day}: {two} {b}, {one} {a}, {three} {c}. Reserved items "
        "are included.",
        "How many pieces of {name} were counted?",
        PRODUCTS,
        range(21, 121),
        "stock",
        day=DAYS,
    ),
    *lookup(
        "Parking. The site in {two} has {b} places, the one in {three} {c} and the one in {one} "
        "{a}. Places for guests are marked in blue.",
        "How many parking places has the site in {name}?",
        CITIES,
        range(12, 100),
        "sites",
    ),
    *lookup(
        "Cost centres for {year}: {two} {b}, {one} {a}, {three} {c}. Bookings on old numbers are "
        "sent back.",
        "What is the cost centre of {name}?",
        TEAMS,
        range(4100, 5000),
        "cost centres",
        year=(2026, 2028),
    ),
    *lookup(
        "On call this month: {one} from the {a}th, {two} from the {b}th, {three} from the {c}th, "
        "each for one week.",
        "From which day of the month is {name} on call? Give the number without letters.",
        PEOPLE,
        range(4, 21),
        "operations",
    ),
)


def outage(s: Slots) -> dict[str, object]:
    """Gold of an incident note; the cause is open."""
    keys = ("service", "date", "minutes_down", "affected_users")
    return {key: s[key] for key in keys} | {"root_cause": None}


EXTRACT = (
    Row(
        "Hello all, the meeting on {service} moves from {old} to {date}, {hour}:30, room {room}. "
        "{who} takes the minutes. Please bring your figures.",
        ASK + f"topic, date ({ISO}), room, minutes_by and online_link (null if there is none).",
        draws={
            "service": PRODUCTS,
            "old": ("2026-01-05", "2026-05-28"),
            "date": ("2026-06-02", "2026-12-18"),
            "hour": (9, 15),
            "room": ROOMS,
            "who": PEOPLE,
        },
        answer=lambda s: {
            "topic": s["service"],
            "date": s["date"],
            "room": s["room"],
            "minutes_by": s["who"],
            "online_link": None,
        },
        skill="meetings",
    ),
    Row(
        "{service} was down for {minutes_down} minutes on {date}; {affected_users} users were "
        "affected. It was the {n}th outage of the year. The cause is not known yet.",
        ASK + f"service, date ({ISO}), minutes_down, affected_users (numbers) and root_cause "
        "(null if it is not known).",
        draws={
            "service": PRODUCTS,
            "minutes_down": (12, 95),
            "date": DAYS,
            "affected_users": (110, 980),
            "n": (4, 9),
        },
        answer=outage,
        skill="incidents",
        difficulty="hard",
    ),
    Row(
        "Release {major}.{minor} of {product}, {date}: {n} faults fixed, one new report. Version "
        "{old}.0 is supported until {end}.",
        ASK
        + f"product, released ({ISO}), faults_fixed (a number) and old_supported_until ({ISO}).",
        draws={
            "product": PRODUCTS,
            "major": (5, 9),
            "minor": (1, 8),
            "old": (2, 4),
            "n": (11, 58),
            "date": DAYS,
            "end": ("2027-01-31", "2028-11-30"),
        },
        answer=lambda s: {
            "product": s["product"],
            "released": s["date"],
            "faults_fixed": s["n"],
            "old_supported_until": s["end"],
        },
        skill="release notes",
    ),
    Row(
        "{who} asks for {n} screens for {team} at EUR {price} each, delivered to {city}. "
        "{boss} has approved it; the order is not placed yet.",
        ASK + "requested_by, approved_by, quantity, unit_price_eur (numbers), site and "
        "order_number (null if there is none).",
        draws={
            "who": PEOPLE,
            "boss": PEOPLE,
            "n": (2, 9),
            "team": TEAMS,
            "price": (160, 420, 0, 10),
            "city": CITIES,
        },
        answer=lambda s: {
            "requested_by": s["who"],
            "approved_by": s["boss"],
            "quantity": s["n"],
            "unit_price_eur": s["price"],
            "site": s["city"],
            "order_number": None,
        },
        skill="purchasing",
    ),
    Row(
        "The policy on {topic} is valid from {start} and replaces the one of {old}. {who} owns "
        "it; it is reviewed every {months} months.",
        ASK + f"topic, valid_from ({ISO}), owner and review_months (a number).",
        draws={
            "topic": ["travel", "passwords", "visitors", "gifts", "home office"],
            "start": DAYS,
            "old": ("2021-02-01", "2024-11-30"),
            "who": PEOPLE,
            "months": [6, 12, 18, 24],
        },
        answer=lambda s: {
            "topic": s["topic"],
            "valid_from": s["start"],
            "owner": s["who"],
            "review_months": s["months"],
        },
        skill="policies",
        difficulty="easy",
    ),
)

KINDS = {
    "policy": (
        "Staff may accept gifts up to EUR {n}; dearer ones are returned or handed to {who}.",
        "Data of customers is stored in {city} only. Copies on private devices are not allowed.",
        "Every team keeps a register of its keys and checks it every {n} months.",
        "Nobody approves an invoice that he or she has ordered, whatever its amount.",
        "Records of visitors are destroyed after {n} days, unless {team} needs one as evidence.",
        "Work on the roof is done by two people at least, in {city} as elsewhere.",
    ),
    "instruction": (
        "Open {product}, choose Settings, then Printers, and click on the plus sign.",
        "Hold the power button for {n} seconds, release it, and wait for the green light.",
        "To book room {room}, pick a day in the calendar, mark the hours and press Save.",
        "Unplug the cable, turn the cartridge a quarter to the left and lift it out.",
        "Type your number, wait for the tone, and leave a message for {team} after it.",
        "First export the list from {product}, then sort it by date, and only then import it.",
    ),
    "incident report": (
        "{product} could not be reached for {n} minutes as a disk was full; {who} freed it.",
        "A parcel for {team} was opened by mistake in {city}; nothing was missing.",
        "At night the alarm in {city} went off without a reason; a sensor was replaced.",
        "{n} invoices were sent twice after a fault of {product}; customers have been told.",
        "Water entered the store in {city} through a window; two boxes of {team} were damaged.",
        "{who} slipped on the wet stairs and was treated; the floor has since been marked.",
    ),
    "release note": (
        "New in {product}: lists can be sorted by several columns at once.",
        "{product} now remembers the last filter. The menu Tools was renamed to Extras.",
        "This version of {product} repairs {n} faults and needs no new licence.",
        "From now on {product} sends messages in the language of the reader.",
        "The import of {product} is {n} times faster; old files must be converted once.",
        "{product} drops the blue theme and adds a view for narrow screens.",
    ),
    "minutes": (
        "Present: {who} and the team {team}. It was agreed to postpone the move by {n} weeks.",
        "{who} reported on {product}; the figures were noted. Next date: in {n} days.",
        "Item 2: the offer from {city} was discussed and rejected by a narrow vote.",
        "Agreed: {who} asks {team} for numbers. Open: who pays for the stand.",
        "After a long discussion the choice between {city} and the old site was adjourned.",
        "{who} opened at 9:00. No objections were raised to the plan for {product}.",
    ),
    "announcement": (
        "The canteen is closed for {n} days. A food truck will stand in front of the gate.",
        "We welcome {who}, who joins {team} this week and comes from {city}.",
        "The summer party takes place in the yard; bring your families and good weather.",
        "{who} retires after {n} years. All are invited to a farewell coffee in room {room}.",
        "From Monday on the lift in {city} is renewed; please use the stairs at the back.",
        "Our stand at the fair in {city} won a prize. Many thanks to {team}!",
    ),
}
KIND_SLOTS = {
    "product": PRODUCTS,
    "who": PEOPLE,
    "team": TEAMS,
    "room": ROOMS,
    "city": CITIES,
    "n": (3, 24),
}
KIND_ROWS = label_rows(KINDS, KIND_SLOTS, "kinds of documents", (2, 2, 2))

SETS = [
    ItemSet("corp_lookup", "corp-look", "exact", 48, LOOKUP),
    ItemSet("corp_extract", "corp-ext", "extraction", 40, EXTRACT),
    label_set("corp_kind", "corp-kind", "Which kind of document is this from?", KIND_ROWS),
]
