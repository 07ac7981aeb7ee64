"""How the house is built, kept so."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

PURE = [
    'errors',
    'literal',
    'units',
    'address',
    'pattern',
    'search',
    'inventory',
    'term',
    'slips',
    'spec',
    'match',
    'hints',
    'explain',
    'generate',
    'plain',
    'claims',
    'cmdb',
    'state',
    'identity',
    'select',
    'release',
    'reassign',
    'hostinfo',
    'script',
    'simulate',
    'offers',
    'orders',
    'flow',
    'feasible',
    'traits',
    'accept',
    'learn',
    'check',
]
FORBIDDEN = {
    'os',
    'time',
    'logging',
    'random',
    'io',
    'pathlib',
    'tempfile',
    'shutil',
    'subprocess',
}

# What each room may use; a room may always use itself.
ROOMS = {
    'errors': '',
    'literal': 'errors',
    'units': '',
    'address': '',
    'inventory': 'errors literal',
    'pattern': '',
    'term': 'errors literal units address pattern',
    'slips': 'term',
    'spec': 'errors literal slips term',
    'search': '',
    'match': 'errors inventory spec search term',
    'hints': 'address inventory slips spec term units',
    'explain': 'errors hints inventory match search spec term',
    'generate': 'errors literal',
    'plain': 'literal',
    'claims': 'errors generate literal',
    'cmdb': 'claims errors literal generate inventory plain',
    'state': 'errors literal',
    'identity': 'errors inventory',
    'select': 'errors literal generate inventory spec match claims cmdb state identity',
    'release': 'claims cmdb errors identity literal select state',
    'reassign': 'claims cmdb errors identity inventory match release select state',
    'hostinfo': 'inventory units',
    'script': 'errors literal node',
    'settings': 'errors address units',
    'store': 'claims cmdb errors generate identity inventory literal release script select settings spec state',
    'overview': 'claims cmdb errors generate identity select state store',
    'pxemngr': '',
    'service': 'errors explain identity inventory pxemngr script select settings store',
    'web': 'address errors inventory service settings store',
    'node': '',
    'cli': '__version__ check cmdb errors explain feasible generate hostinfo inventory learn match offers orders overview reassign release script select service settings simulate spec state store survey',
    'simulate': 'claims cmdb errors generate identity inventory select spec state store',
    'offers': 'claims cmdb errors identity inventory match select simulate spec state',
    'orders': 'errors offers simulate state',
    'flow': '',
    'feasible': 'flow inventory offers orders simulate state',
    'traits': 'identity inventory units',
    'accept': 'errors slips spec term',
    'learn': 'accept errors inventory match spec traits units',
    'check': '__version__ claims cmdb errors generate literal match pattern plain script select slips spec state term units',
    'survey': 'check errors settings store',
    '__main__': 'cli',
}


def modules(room: str) -> list[Path]:
    path = ROOT / 'edeploylib' / room
    return sorted(path.rglob('*.py')) if path.is_dir() else [path.with_suffix('.py')]


def imports(path: Path) -> set[str]:
    """The dotted names that a module imports, but for its __main__ block."""
    tree = ast.parse(path.read_text())
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and '__main__' in ast.dump(node))
    ]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return found


def test_all_rooms_are_listed() -> None:
    there = {p.stem for p in (ROOT / 'edeploylib').iterdir() if p.suffix == '.py' or p.is_dir()}
    assert there - {'__init__', '__pycache__'} == set(ROOMS)


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_uses_those_below_it(room: str) -> None:
    used = {
        name.split('.')[1]
        for path in modules(room)
        for name in imports(path)
        if name.startswith('edeploylib.')
    }
    assert used - {room} <= set(ROOMS[room].split())


@pytest.mark.parametrize('room', PURE)
def test_a_pure_room_touches_nothing(room: str) -> None:
    """No system, clock, log or chance; and it opens no file."""
    for path in modules(room):
        assert {name.split('.')[0] for name in imports(path)}.isdisjoint(FORBIDDEN)
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
        }
        assert names.isdisjoint({'open', 'eval', 'exec', 'print', 'input'})


def test_nothing_is_evaluated_anywhere() -> None:
    for path in ROOT.glob('edeploylib/**/*.py'):
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        # What is compiled is not run: one room asks whether Python would take a script.
        forbidden = {'eval', 'exec'} | ({'compile'} if path.name != 'script.py' else set())
        assert names.isdisjoint(forbidden), path


def test_the_machine_needs_the_standard_library_alone() -> None:
    used = {name for path in modules('node') for name in imports(path)}
    others = {name for name in used if not name.startswith('edeploylib.node.')}
    assert {name.split('.')[0] for name in others} - {'__future__'} <= sys.stdlib_module_names


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, '-c', f'{code}\nimport sys; print(*sys.modules)'],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_one_room_loads_no_other() -> None:
    found = loaded('import edeploylib.state')
    assert {name for name in found if name.startswith('edeploylib')} == {
        'edeploylib',
        'edeploylib.errors',
        'edeploylib.literal',
        'edeploylib.state',
    }


def test_netaddr_is_loaded_by_the_first_test_of_an_address() -> None:
    match = (
        'from edeploylib.match import match\n'
        "match([('a', 'x', 'c', 'network(10.0.0.0/8)')], [('a', '{}', 'c', '10.0.0.1')])"
    )
    assert 'netaddr' not in loaded(match.format('y'))
    assert 'netaddr' in loaded(match.format('x'))


def test_the_programs_of_cgi_bin_are_thin() -> None:
    for path in (ROOT / 'cgi-bin').iterdir():
        assert len(path.read_text().splitlines()) < 15


@pytest.mark.parametrize(
    'command',
    [('ruff', 'check', '.'), ('ruff', 'format', '--check', '.'), ('mypy',)],
    ids=' '.join,
)
def test_checkers_are_content(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, '-m', *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
