"""``check``: each case of tests/cases/check is a deployment and all that is found there.

A file dropped in there is a test. ``files`` are those of CONFIGDIR that differ from BASE (null:
there is none), ``expect`` the codes and lines of all findings. With ``conf``, the settings are
checked too, with a ``ledger`` of what machines hold, ``modes`` of files and a ``user``.
"""

import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import CONFIG, INVENTORIES, ROOT, Deployment
from edeploylib.check.codes import CODES, SEVERITIES
from edeploylib.check.permissions import (
    PASS,
    READ,
    WRITE,
    Inode,
    Need,
    User,
    check_permissions,
    may,
)
from edeploylib.inventory import Inventory
from edeploylib.service import install
from edeploylib.store.ledger import Ledger
from edeploylib.survey import Report, check_deployment, check_folder
from test_desk import desk

CASES = sorted((Path(__file__).parent / 'cases' / 'check').glob('*.json'))

# What each case changes: a profile that is clean.
BASE = {
    'state': "[('vm', '*')]\n",
    'vm.specs': "[('disk', '$disk', 'size', 'gt(4)')]\n",
    'vm.configure': "print(var['disk'])\n",
}


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that all users can pass, as pytest's own cannot be."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def build(case: dict[str, Any], root: Path) -> None:
    config = root / 'config'
    config.mkdir()
    (root / 'hw').mkdir()
    for name, text in {**BASE, **case['files']}.items():
        if isinstance(text, str):
            (config / name).write_bytes(text.encode())
        elif isinstance(text, dict) and 'latin1' in text:
            (config / name).write_bytes(text['latin1'].encode('latin-1'))
        elif text is not None:
            (config / name).mkdir()
    if 'conf' in case:
        (root / 'edeploy.conf').write_text(case['conf'])
    if 'ledger' in case:
        build_ledger(case, root)
    for name, mode in case.get('modes', {}).items():
        (root / name).chmod(int(mode, 8))


def build_ledger(case: dict[str, Any], root: Path) -> None:
    path = root / 'hw' / 'ledger.sqlite'
    if isinstance(case['ledger'], str):
        path.write_text(case['ledger'])
        return
    Ledger(str(path), 'SERVER').close()
    with closing(sqlite3.connect(path)) as db:
        for one in case['ledger']:
            before, after = (one[key] and repr(one[key]) for key in ('before', 'after'))
            db.execute(
                "INSERT INTO machines VALUES (?, 'SERVER', ?, 0)", (one['machine'], one['name'])
            )
            db.execute(
                "INSERT INTO assignments VALUES (?, 'SERVER', ?, ?, ?, ?, ?, ?, 0, 0, '')",
                (
                    *(one[key] for key in ('machine', 'profile', 'status')),
                    before,
                    after,
                    one['position'],
                    repr(one['own']),
                ),
            )
        for name in case.get('unwritten', []):
            db.execute("INSERT INTO unwritten VALUES ('SERVER', ?, NULL, '')", (str(root / name),))
        db.commit()


def checked(case: dict[str, Any], root: Path) -> Report:
    if 'conf' not in case:
        return check_folder(str(root / 'config'))
    sections = None if case.get('all_sections') else ['SERVER']
    return check_deployment(str(root / 'edeploy.conf'), sections, case.get('user'))


def found_in(report: Report, root: Path) -> list[list[str]]:
    return [
        [one.code, f'{os.path.relpath(one.place.origin, root)}:{one.place.line}']
        for one in report.findings
    ]


@pytest.mark.parametrize('path', CASES, ids=lambda path: path.stem)
def test_cases(path: Path, root: Path) -> None:
    """Each mistake is found at its line, and nothing else is."""
    case = json.loads(path.read_text())
    build(case, root)
    before = snapshot(root)
    report = checked(case, root)
    assert sorted(found_in(report, root)) == sorted(case['expect'])
    assert snapshot(root) == before


def snapshot(root: Path) -> dict[str, object]:
    return {
        str(path): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in root.rglob('*')
    }


def test_every_code_has_a_case() -> None:
    cases = [json.loads(path.read_text()) for path in CASES]
    assert {code for case in cases for code, _ in case['expect']} == set(CODES)
    assert len([case for case in cases if case['expect']]) >= 60


def test_every_code_is_described() -> None:
    """By its row in the README, and by --explain."""
    readme = (ROOT / 'README.rst').read_text()
    _, explained, _ = desk('check', '--explain', 'all')
    for name, code in CODES.items():
        assert code.severity in SEVERITIES
        assert f'\n{name:<23} {code.severity:<7} {code.summary}\n' in readme
        assert (
            f'{name} ({code.severity}): {code.summary}\n  such as: {code.example}\n' in explained
        )
    assert len(explained.splitlines()) == 3 * len(CODES)
    assert desk('check', '--explain', 'no-such-code') == (
        2,
        '',
        "expected a code, found 'no-such-code'; --explain all has all of them\n",
    )


def test_the_samples_are_clean() -> None:
    assert desk('check', CONFIG) == (0, 'nothing is wrong\n', '')


def test_a_deployment_is_clean(samples: Deployment) -> None:
    """And it is said whose permissions were looked at."""
    (samples.root / 'logs').mkdir()
    status, out, err = desk('check', '--conf', samples.conf)
    assert (status, err) == (0, '')
    first, last = out.splitlines()
    assert first.startswith('[SERVER] is checked for user ')
    assert (first.endswith(', the owner of HWDIR'), last) == (True, 'nothing is wrong')
    assert not (samples.hw / 'ledger.sqlite').exists()
    assert desk('check', '--conf', samples.conf, '--user', 'root') == (0, 'nothing is wrong\n', '')


def test_what_uploads_leave_is_clean(samples: Deployment) -> None:
    """Also while an upload goes on; and what the ledger holds is not touched."""
    (samples.root / 'logs').mkdir()
    for name in ('rack', 'storage', 'vm'):
        inventory = Inventory.parse((INVENTORIES / f'{name}.json').read_bytes())
        assert install(inventory, samples.store, samples.settings).script is not None
    before = snapshot(samples.root)
    assert check_deployment(str(samples.conf), ['SERVER']).findings == ()
    with samples.store.transaction():
        assert check_deployment(str(samples.conf), ['SERVER']).findings == ()
    assert {path for path in before if 'lock' not in path} <= set(snapshot(samples.root))
    samples.put('rack.cmdb', "[{'tag': 'TAG7', 'hostname': 'node7', 'ip': '192.168.122.107'}]")
    findings = check_deployment(str(samples.conf), ['SERVER']).findings
    assert [one.code for one in findings] == ['lost-entry', 'quota-above-cmdb']
    assert re.match(r'the entry of machine 1 \(.*\) is gone: .*node2', findings[0].message)


def test_a_ledger_that_a_crash_left_is_not_touched(samples: Deployment) -> None:
    """It is the next upload that mends it."""
    (samples.root / 'logs').mkdir()
    ledger, copy = samples.hw / 'ledger.sqlite', samples.root / 'copy'
    Ledger(str(copy), 'SERVER').close()
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.execute('PRAGMA cache_size = 2')
        db.execute('BEGIN IMMEDIATE')
        for number in range(1, 1000):
            db.execute("INSERT INTO machines VALUES (?, 'SERVER', ?, 0)", (number, 'x' * 500))
        for end in ('', '-journal'):
            shutil.copy(f'{copy}{end}', f'{ledger}{end}')
    before = snapshot(samples.hw)
    (finding,) = check_deployment(str(samples.conf), ['SERVER']).findings
    assert finding.code == 'bad-ledger'
    assert finding.hint == 'an upload was killed while it committed: the next one puts it right'
    assert snapshot(samples.hw) == before
    inventory = Inventory.parse((INVENTORIES / 'vm.json').read_bytes())
    assert install(inventory, samples.store, samples.settings).script is not None
    assert check_deployment(str(samples.conf), ['SERVER']).findings == ()


@pytest.mark.parametrize(
    ('mode', 'bits', 'allowed'),
    [
        ((0o700, 7, 8), READ | WRITE, True),
        ((0o070, 9, 8), READ | WRITE, True),
        ((0o070, 7, 8), READ, False),  # the owner's class comes first
        ((0o707, 9, 8), READ, False),  # and then the group's
        ((0o004, 9, 9), READ, True),
        ((0o004, 9, 9), WRITE, False),
        ((0o775, 9, 5), WRITE | PASS, True),
        ((0o755, 9, 5), WRITE | PASS, False),
    ],
)
def test_permissions_are_those_of_the_first_class(mode, bits, allowed) -> None:
    user = User('www-data', 7, frozenset({8, 5}))
    inode = Inode(*mode, is_folder=True)
    assert may(user, inode, bits) == allowed
    assert may(User('root', 0, frozenset()), inode, bits)
    found = list(check_permissions(user, [Need('/a/b', bits, 'x')], {'/a/b': inode}))
    assert (found == []) == allowed


def test_findings_are_told_with_their_places(empty: Deployment) -> None:
    empty.write(**{name.replace('.', '_'): text for name, text in BASE.items()})
    empty.write(vm_configure="\nprint '\x1b[2J%(disk)s' % var\n", vm_cmdb='[')
    config = empty.config
    status, out, err = desk('check', config)
    assert (status, err) == (1, '')
    assert out == (
        f"{config}/vm.cmdb:1:1: error not-a-literal: not a Python literal: '[' was never closed\n"
        '    hint: look for a bracket, a quote or a comma that is missing just before\n'
        f'{config}/vm.configure:2:1: error python2-print: Python 2: print without brackets\n'
        '    hint: python3 -m lib2to3 is gone: write print(...)\n'
        '2 errors in 2 files\n'
    )
    (config / 'vm.specs').unlink()
    for how in (['--json'], ['--format', 'json']):
        status, out, _ = desk('check', config, *how)
        answer = json.loads(out)
        assert (status, answer['counts']) == (1, {'error': 3, 'warning': 0, 'note': 0})
        assert answer['findings'][0] == {
            'code': 'missing-specs',
            'severity': 'error',
            'file': f'{config}/state',
            'line': 1,
            'column': 2,
            'message': "profile 'vm' has no vm.specs",
            'advice': CODES['missing-specs'].advice,
        }


def test_notes_alone_are_no_failure(empty: Deployment) -> None:
    empty.write(**{name.replace('.', '_'): text for name, text in BASE.items()})
    empty.write(old_specs='[]')
    status, out, _ = desk('check', empty.config)
    assert (status, out.splitlines()[-1]) == (0, '1 note in 1 file, nothing is wrong')


def test_sarif_has_what_its_specification_requires(empty: Deployment) -> None:
    """OASIS SARIF 2.1.0, sections 3.13, 3.14, 3.18, 3.19, 3.27, 3.28 and 3.30."""
    empty.write(state="[('vm', 1), ('a b', 2)]", vm_specs='[(', vm_configure='print 1')
    (empty.config / 'a b.specs').write_text("[('é', '$é', 'gt (1)', 'x')]")
    status, out, err = desk('check', empty.config, '--format', 'sarif')
    log = json.loads(out)
    assert (status, err, log['version']) == (1, '', '2.1.0')
    assert log['$schema'].endswith('sarif-schema-2.1.0.json')
    (run,) = log['runs']
    driver = run['tool']['driver']
    assert driver['name'] and [rule['id'] for rule in driver['rules']] == list(CODES)
    for rule in driver['rules']:
        assert rule['shortDescription']['text'] and rule['help']['text']
        assert rule['defaultConfiguration']['level'] in ('error', 'warning', 'note')
    assert {one['ruleId'] for one in run['results']} == {
        'missing-configure',
        'not-a-literal',
        'python2-print',
        'test-as-text',
    }
    for one in run['results']:
        assert driver['rules'][one['ruleIndex']]['id'] == one['ruleId']
        assert one['level'] in ('error', 'warning', 'note')
        assert one['message']['text']
        (location,) = one['locations']
        physical = location['physicalLocation']
        assert physical['artifactLocation']['uri'].startswith('file:///')
        assert ' ' not in physical['artifactLocation']['uri']
        region = physical.get('region', {'startLine': 1})
        assert region['startLine'] >= 1 and region.get('startColumn', 1) >= 1
    clean = json.loads(desk('check', CONFIG, '--format', 'sarif')[1])
    assert clean['runs'][0]['results'] == []


def test_what_cannot_be_checked_is_an_error(empty: Deployment) -> None:
    assert desk('check', empty.root / 'none') == (
        2,
        '',
        f'no CONFIGDIR: {empty.root}/none does not exist\n',
    )
    for words in (
        ['--conf', empty.root / 'none'],
        ['--conf', empty.conf, '--section', 'LAB'],
        ['--conf', empty.conf, '--user', 'nobody-at-all'],
        [empty.config, '--user', 'nobody-at-all'],
        [empty.config, '--all-sections'],
    ):
        status, out, err = desk('check', *words)
        assert (status, out) == (2, '') and err


def test_a_thousand_mistakes_of_a_kind_are_counted(empty: Deployment) -> None:
    empty.write(**{name.replace('.', '_'): text for name, text in BASE.items()})
    empty.write(vm_cmdb='[' + ''.join(f"{{'ip': '10.0.{n}.256'}},\n" for n in range(1000)) + ']')
    report = check_folder(str(empty.config))
    assert [one.code for one in report.findings] == ['bad-ip'] * 50
    assert report.findings[-1].message.endswith('(and 950 more such findings in this file)')
    assert '10.0.49.256' in report.findings[-1].message
