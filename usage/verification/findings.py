"""What a verification found."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that is not as it must be: which rule, which row, what is wrong with it."""

    check: str
    subject: str
    fault: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """The checks that were made, how many rows each looked at, and what they found."""

    looked_at: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_true(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def add(self, check: str, *, rows: int, findings: list[Finding]) -> None:
        """Note a check that was made."""
        self.looked_at[check] = rows
        self.findings += findings

    def as_json(self) -> dict[str, Any]:
        """Render the report as plain data."""
        checks = [
            {"check": check, "rows": rows, "findings": sum(one.check == check for one in self.findings)}
            for check, rows in self.looked_at.items()
        ]
        return {"ok": self.is_true, "checks": checks, "findings": [asdict(one) for one in self.findings]}
