"""What a check says: findings, and where they stand."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edeploylib.check.codes import CODES, NOTE
from edeploylib.errors import EdeployError, Place

# Findings of one code in one file, beyond which the rest is counted.
MOST = 50


class Finding(NamedTuple):
    """``code`` is one of CODES; ``hint`` says what to do here, '' for the code's own advice."""

    code: str
    place: Place
    message: str
    hint: str = ''

    @property
    def severity(self) -> str:
        return CODES[self.code].severity

    @property
    def advice(self) -> str:
        return self.hint or CODES[self.code].advice

    def __str__(self) -> str:
        return f'{self.place}: {self.severity} {self.code}: {self.message}'


def of_error(code: str, error: EdeployError, origin: str) -> list[Finding]:
    """The finding of an error and of each of its others."""
    return [
        Finding(code, one.place or Place(origin), one.message, one.hint)
        for one in (error, *error.others)
    ]


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By file and line, each once, and no more of a code in a file than anybody reads."""
    kept: list[Finding] = []
    counts: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], int] = {}
    for finding in sorted(dict.fromkeys(findings), key=_position):
        kind = (finding.place.origin, finding.code)
        counts[kind] += 1
        if counts[kind] <= MOST:
            last[kind] = len(kept)
            kept.append(finding)
    for kind, index in last.items():
        if counts[kind] > MOST:
            more = f'(and {counts[kind] - MOST} more such findings in this file)'
            kept[index] = kept[index]._replace(message=f'{kept[index].message} {more}')
    return kept


def _position(finding: Finding) -> tuple[str, int, int, str, str]:
    place = finding.place
    return place.origin, place.line, place.column, finding.code, finding.message


def is_clean(findings: Sequence[Finding]) -> bool:
    """Whether there is nothing to mend; notes are for those who want to know."""
    return all(finding.severity == NOTE for finding in findings)
