"""Findings as SARIF 2.1.0, which CI systems show at the lines of the files."""

from collections.abc import Iterable
from urllib.parse import quote

from edeploylib import __version__
from edeploylib.check.codes import CODES
from edeploylib.check.findings import Finding
from edeploylib.errors import Place

_SCHEMA = (
    'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json'
)


def log_of(findings: Iterable[Finding]) -> dict[str, object]:
    """A log with one run, whose rules are all codes."""
    index = {name: number for number, name in enumerate(CODES)}
    return {
        '$schema': _SCHEMA,
        'version': '2.1.0',
        'runs': [
            {
                'tool': {
                    'driver': {
                        'name': 'edeployctl check',
                        'version': __version__,
                        'rules': [_rule(name) for name in CODES],
                    }
                },
                'columnKind': 'unicodeCodePoints',
                'results': [
                    {
                        'ruleId': finding.code,
                        'ruleIndex': index[finding.code],
                        'level': finding.severity,
                        'message': {'text': f'{finding.message}. {finding.advice}'},
                        'locations': [{'physicalLocation': _location(finding.place)}],
                    }
                    for finding in findings
                ],
            }
        ],
    }


def _rule(name: str) -> dict[str, object]:
    code = CODES[name]
    return {
        'id': name,
        'shortDescription': {'text': code.summary},
        'fullDescription': {'text': f'{code.summary}, such as: {code.example}'},
        'help': {'text': code.advice},
        'defaultConfiguration': {'level': code.severity},
    }


def _location(place: Place) -> dict[str, object]:
    # A file's name may be no Unicode.
    path = quote(place.origin.encode(errors='surrogateescape'))
    location: dict[str, object] = {
        'artifactLocation': {'uri': f'file://{path}' if path.startswith('/') else path}
    }
    if place.line:
        region = {'startLine': place.line}
        if place.column:
            region['startColumn'] = place.column
        location['region'] = region
    return location
