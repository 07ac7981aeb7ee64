"""``edeployctl check [CONFIGDIR]``: what is wrong with a deployment, all of it at once."""

import argparse
import json
from collections import Counter
from collections.abc import Sequence

from edeploylib.check.codes import CODES, NOTE, SEVERITIES
from edeploylib.check.findings import Finding, is_clean
from edeploylib.check.sarif import log_of
from edeploylib.cli.output import failed, paint
from edeploylib.errors import printable
from edeploylib.survey import Report, check_deployment, check_folder

CLEAN, FINDINGS = 0, 1

_COLORS = {'error': 'red', 'warning': 'bold', 'note': 'bold'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        'Say what is wrong with a deployment, all of it at once, without changing anything.\n'
        'With a CONFIGDIR, its files alone; without, the deployment that --conf and --section\n'
        'name: the settings, CONFIGDIR, what the ledger contradicts, and permissions.'
    )
    parser.epilog = (
        f'exit status: {CLEAN} nothing is wrong (notes aside), {FINDINGS} something is, '
        '2 it could not be checked'
    )
    parser.add_argument('configdir', metavar='CONFIGDIR', nargs='?', help='check its files alone')
    parser.add_argument(
        '--all-sections', action='store_true', help='check all sections of the settings'
    )
    parser.add_argument(
        '--user',
        help="the web server's user, whose permissions count; default: the owner of HWDIR",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        '--format', choices=('text', 'json', 'sarif'), help='default: text; sarif is for CI'
    )
    how.add_argument('--explain', metavar='CODE', help="say what a code means; 'all' for all")


def run(options: argparse.Namespace) -> int:
    if options.explain is not None:
        return _explain(options.explain)
    if options.configdir is not None:
        if options.all_sections:
            return failed('expected a CONFIGDIR or --all-sections, found both')
        report = check_folder(options.configdir, options.user)
    else:
        sections = None if options.all_sections else [options.section]
        report = check_deployment(options.conf, sections, options.user)
    how = options.format or ('json' if options.json else 'text')
    if how == 'text':
        _print(report)
    else:
        print(json.dumps(_as_json(report) if how == 'json' else log_of(report.findings), indent=2))
    return CLEAN if is_clean(report.findings) else FINDINGS


def _explain(asked: str) -> int:
    if asked != 'all' and asked not in CODES:
        return failed(f'expected a code, found {asked!r}; --explain all has all of them')
    for name in CODES if asked == 'all' else [asked]:
        code = CODES[name]
        print(f'{paint(name, "bold")} ({code.severity}): {code.summary}')
        print(f'  such as: {code.example}')
        print(f'  what to do: {code.advice}')
    return CLEAN


def _print(report: Report) -> None:
    for finding in report.findings:
        kind = paint(f'{finding.severity} {finding.code}', _COLORS[finding.severity])
        print(f'{printable(str(finding.place))}: {kind}: {printable(finding.message)}')
        print(printable(f'    hint: {finding.advice}'))
    for line in report.assumed:
        print(printable(line))
    print(_summary(report.findings))


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.severity for finding in findings)
    there = [
        f'{counts[severity]} {severity}{"s" * (counts[severity] != 1)}'
        for severity in SEVERITIES
        if counts[severity]
    ]
    if not there:
        return paint('nothing is wrong', 'green')
    files = len({finding.place.origin for finding in findings})
    only = ', nothing is wrong' if set(counts) == {NOTE} else ''
    return f'{", ".join(there)} in {files} file{"s" * (files != 1)}{only}'


def _as_json(report: Report) -> dict[str, object]:
    counts = Counter(finding.severity for finding in report.findings)
    return {
        'findings': [
            {
                'code': finding.code,
                'severity': finding.severity,
                'file': finding.place.origin,
                'line': finding.place.line,
                'column': finding.place.column,
                'message': finding.message,
                'advice': finding.advice,
            }
            for finding in report.findings
        ],
        'counts': {severity: counts[severity] for severity in SEVERITIES},
        'assumed': list(report.assumed),
    }
