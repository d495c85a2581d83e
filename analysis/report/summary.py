"""``statistics/overall_summary.json``: what one reads first, and what the report says of the run itself.

Of every source its verdicts, agreement, rounds and how its claims hold, as they stand in the statistics; the
hypotheses; the verdict; what the run has and what it lacks; and how many findings there are, and which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.checks.finding import Finding
    from analysis.report.clock_table import Row
    from analysis.report.hypotheses import Judged
    from analysis.report.run_counts import RunCounts
    from analysis.report.verdict import Verdict

SUMMARY_FILE: Final = "overall_summary.json"
OF_HYPOTHESIS: Final = ("name", "status", "measured", "value", "threshold", "reason")
OF_FINDING: Final = ("severity", "code", "message", "numbers")
SEVERITIES: Final = ("error", "warning", "note")


def summary(
    numbers: Mapping[str, Any],
    judged: Sequence[Judged],
    findings: Sequence[Finding],
    verdict: Verdict,
    counts: RunCounts,
    clocks: Sequence[Row],
) -> dict[str, Any]:
    """Return what one reads first: per source its verdicts, agreement, rounds and claims; hypotheses; findings."""
    causality, reference = numbers["causality"]["sources"], numbers["reference"]
    return {
        "received": numbers["causality"]["received"],
        "sources": {source: _of_source(source, numbers) for source in causality},
        "clocks_by_question": [row.as_dict() for row in clocks],
        "hypotheses": [_of_hypothesis(judgement) for judgement in judged],
        "findings": counted(findings),
        "verdict": verdict.as_dict() | {"wrong": verdict.wrong},
        "run": counts.as_dict(),
        "reference": {"evaluable": reference["evaluable"], "pairs": len(reference["pairs"])},
        "found": [
            {"where": finding.where} | {name: finding.as_dict()[name] for name in OF_FINDING} for finding in findings
        ],
    }


def _of_hypothesis(judgement: Judged) -> dict[str, Any]:
    claim = judgement.hypothesis
    said = {name: judgement.as_dict()[name] for name in OF_HYPOTHESIS}
    return said | {"supported_from": claim.low, "supported_to": claim.high}


def counted(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity."""
    severities = [finding.severity for finding in findings]
    return {kind: severities.count(kind) for kind in SEVERITIES}


def _of_source(source: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    verdicts = numbers["causality"]["sources"][source]["all"]
    orders = numbers["ordering"]["sources"].get(source, {})
    widths = numbers["windows"]["sources"].get(source, {})
    tasks = numbers["coordination"]["tasks"]
    nodes = numbers["clock_quality"].get(source, {})
    return {
        "violated_as_points": verdicts["points"]["violated"],
        "violated_as_intervals": verdicts["intervals"]["violated"],
        "proved": verdicts["intervals"]["proved"],
        "agreement_decided": {clock: order["agreement_decided"] for clock, order in orders.items()},
        "provable_window_agreement": {width: window["provable_agreement"] for width, window in widths.items()},
        "rounds_per_decision": {
            task: {clock: cost["rounds_per_decision"] for clock, cost in by_source[source].items()}
            for task, by_source in tasks.items()
            if source in by_source
        },
        "clocks": {
            node: {
                "judged_against": quality["judged_against"],
                "half_width_us": None if (median := quality["width_us"]["median"]) is None else median / 2,
                **quality["coverage_rates"],
            }
            for node, quality in nodes.items()
        },
    }
