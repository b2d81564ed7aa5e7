"""A task's report for people."""

from __future__ import annotations

from model.tasks.report import Report
from service.commands.terminal import printable


def report_table(report: Report) -> str:
    """Return what the report says, for people. It may come from anybody: an uploaded task has one too."""
    lines = [f"{'':14}{'accuracy':>9}  {'95% interval':16}{'macro recall':>13}{'log loss':>10}"]
    for row in report.rows:
        name, interval = printable(row.name), f"{row.accuracy_low:.1%} to {row.accuracy_high:.1%}"
        lines.append(
            f"{name:14}{row.accuracy:9.1%}  {interval:16}{row.macro_recall:13.1%}{row.log_loss:10.3f}"
        )
    weights = ", ".join(f"{weight:.2f}" for weight in report.weights)
    context = f"; of the global context {report.global_context:.3g}" if report.global_context else ""
    calibration = report.calibration
    return "\n".join(
        [
            *lines,
            f"weights of the layers: {weights}; gamma {report.gamma:.3g}{context}",
            f"expected calibration error: {calibration.error_after:.3f}",
            printable(report.verdict),
        ]
    )
