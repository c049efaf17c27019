"""Gates: figures of an evaluation that must hold, with thresholds from packs and settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .comparison import Row, rounded
from .config import Config
from .errors import GateFailed, Problem, UserError
from .packs import load_packs


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: what is measured, and when a value passes a threshold."""

    name: str
    doc: str
    measure: Callable[[Row], float | None]  # None: not measured in this run
    passes: Callable[[float, float], bool]


def _lower_bound(results: Row) -> float | None:
    return results["pooled"]["interval"][0] if results["pooled"] else None


def _guard_drop(results: Row) -> float | None:
    """Return the drop in percentage points that is certain: the near end of the interval.

    On a few dozen items the plain difference is mostly chance.
    """
    guard = results["guard"]
    return None if guard is None else max(0.0, -100 * guard["interval"][1])


def _missing(results: Row) -> float | None:
    shares = [row["invalid"]["tuned"] for row in results["sets"] if row.get("invalid")]
    return max(shares, default=None)


def _contaminated(results: Row) -> float | None:
    overlap = results["overlap"]
    return None if overlap is None else sum(one["overlapping"] for one in overlap.values())


GATES = {
    row.name: row
    for row in (
        Gate(
            "accuracy_delta_ci_low",
            "lower end of the interval of the pooled difference, at least",
            _lower_bound,
            lambda value, threshold: value >= threshold,
        ),
        Gate(
            "guard_drop_pp",
            "certain drop on the guard sets (near end of the interval), in points, at most",
            _guard_drop,
            lambda value, threshold: value <= threshold,
        ),
        Gate(
            "missing_ratio_max",
            "share of answers of the tuned model that could not be read, in the worst set",
            _missing,
            lambda value, threshold: value <= threshold,
        ),
        Gate(
            "contaminated_max",
            "evaluation items that overlap with the training data, at most",
            _contaminated,
            lambda value, threshold: value <= threshold,
        ),
    )
}


def judge_gates(thresholds: Mapping[str, tuple[float, str]], results: Row) -> list[Row]:
    """Return one row per gate: passed, failed, or not measured.

    Args:
        thresholds: gate -> (threshold, where it was set).
        results: the results so far: sets, pooled, guard, overlap.
    """
    rows = []
    for name, (threshold, source) in thresholds.items():
        value = GATES[name].measure(results)
        status = "not measured"
        if value is not None:
            status = "passed" if GATES[name].passes(value, threshold) else "failed"
        row = {"name": name, "threshold": threshold, "source": source, "value": rounded(value)}
        rows.append(row | {"status": status, "means": GATES[name].doc})
    return rows


def gate_thresholds(config: Config) -> dict[str, tuple[float, str]]:
    """Return gate -> (threshold, where it was set); the configuration goes before the packs.

    Raises:
        UserError: a gate that does not exist.
    """
    found: dict[str, tuple[float, str]] = {}
    for pack in load_packs(config):
        found |= {name: (value, f"pack {pack.name}") for name, value in pack.gates.items()}
    found |= {name: (value, "eval.gates") for name, value in config.eval.gates.items()}
    problems = [
        Problem(f"{source}: {name}", "no such gate", ", ".join(GATES))
        for name, (_, source) in found.items()
        if name not in GATES
    ]
    if problems:
        raise UserError(problems)
    return found


def raise_failed_gates(results: Row) -> None:
    """Raise GateFailed, naming every gate that failed; call it once all is written."""
    failed = [row for row in results["gates"] if row["status"] == "failed"]
    if failed:
        parts = [
            f"{row['name']}: {row['means']} {row['threshold']:g}, found {row['value']:g} "
            f"(set in {row['source']})"
            for row in failed
        ]
        raise GateFailed("; ".join(parts))
