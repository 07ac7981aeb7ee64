"""``check``: each case of tests/cases/check is a deployment and all that is found there."""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edeploylib.check.codes import CODES
from edeploylib.store.ledger import Ledger
from edeploylib.survey import Report, check_deployment, check_folder

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
            (config / name).write_text(text)
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
