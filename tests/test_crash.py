"""The store, killed and starved at every operation on files and the ledger, found by counting."""

import errno
import itertools
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest

from conftest import Deployment
from edeploylib.cmdb import Cmdb
from edeploylib.errors import EdeployError
from edeploylib.inventory import Inventory
from edeploylib.release import release
from edeploylib.service import install, report_failure
from edeploylib.state import State
from test_store import VM, machine

CMDB = "generate({'host': 'h1-4'})  # four"
UNITS = 4


class Point:
    """Counts the calls of the store to the system and to SQLite, and strikes at one of them."""

    def __init__(self, target: int, strike: Callable[[object], None]) -> None:
        self.count = 0
        self.target = target
        self.strike = strike

    def __call__(self, frame: FrameType, event: str, called: object) -> None:
        if event not in ('c_call', 'c_return') or '/edeploylib/' not in frame.f_code.co_filename:
            return
        owner = type(getattr(called, '__self__', None)).__module__
        module = getattr(called, '__module__', None)
        if {owner, module} & {'posix', '_io', 'io', 'fcntl', 'sqlite3', '_sqlite3'}:
            self.count += 1
            if self.count == self.target:
                self.strike(called)


def strikes(work: Callable[[], object], strike: Callable[[object], None], target: int) -> int:
    """Do the work in a child, struck at an operation; its exit status.

    0 it was done, 1 it failed as it should, 2 it raised what it should not,
    9 it was killed, 10 there is no such operation.
    """
    child = os.fork()
    if child == 0:
        status = 2
        point = Point(target, strike)
        sys.setprofile(point)
        try:
            work()
            status = 0
        except EdeployError:
            status = 1
        except BaseException as error:
            sys.setprofile(None)
            print(target, repr(error), file=sys.stderr)
        finally:
            sys.setprofile(None)
            os._exit(status if point.count >= target else 10)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def fresh(empty: Deployment) -> Callable[[], Deployment]:
    """The same deployment, as if nothing had happened."""

    def make() -> Deployment:
        for folder in (empty.config, empty.hw):
            for path in folder.iterdir():
                path.unlink()
        return empty.write(
            state=f"[('vm', {UNITS})]", vm_specs=VM, vm_configure='pass', vm_cmdb=CMDB
        )

    return make


def check(deployment: Deployment) -> dict[str, str]:
    """All files agree with the ledger; the host of each machine by its MAC."""
    db = sqlite3.connect(deployment.hw / 'ledger.sqlite')
    held = db.execute(
        "SELECT machine, status, after FROM assignments WHERE status <> 'released'"
    ).fetchall()
    uploads = {name for (name,) in db.execute('SELECT name FROM journal')}
    left = db.execute('SELECT path FROM unwritten').fetchall()
    db.close()
    assert left == []
    entries = Cmdb.parse(deployment.texts()['vm.cmdb']).entries
    used = [entry for entry in entries if entry.get('used')]
    assert sorted(map(repr, used)) == sorted(after for _, _, after in held)
    units = sum(status == 'installing' for _, status, _ in held)
    assert State.parse(deployment.texts()['state']).quotas['vm'] == UNITS - units
    if held:
        assert deployment.texts()['vm.cmdb.orig'] == CMDB
    saved = {path.stem: path for path in deployment.hw.glob('*.hw')}
    assert uploads <= set(saved)
    for path in saved.values():
        assert len(Inventory.parse(path.read_text())) == 3
    return {str(entry['mac']): str(entry['host']) for entry in used}


def upload(deployment: Deployment, number: int) -> object:
    answer = install(machine(number), deployment.store, deployment.settings, '10.0.0.7')
    return answer.decision.variables.get('host')


def killed(called: object) -> None:
    os._exit(9)


def failing(code: int) -> Callable[[object], None]:
    def strike(called: object) -> None:
        if 'sqlite3' in type(getattr(called, '__self__', None)).__module__ + str(
            getattr(called, '__module__', '')
        ):
            raise sqlite3.OperationalError(os.strerror(code))
        raise OSError(code, os.strerror(code))

    return strike


def each_point(
    fresh: Callable[[], Deployment],
    work: Callable[[Deployment], object],
    strike: Callable[[object], None],
    expected: set[int],
    before: Callable[[Deployment], object] = lambda deployment: None,
    left: Callable[[Deployment], object] = lambda deployment: None,
) -> int:
    """Strike at each operation of a work in turn; after each, all is as before it or after it."""
    deployment = fresh()
    before(deployment)
    kept = deployment.root.with_name(f'{deployment.root.name}-before')
    shutil.copytree(deployment.root, kept)
    for target in itertools.count(1):
        shutil.rmtree(deployment.root)
        shutil.copytree(kept, deployment.root)
        status = strikes(partial(work, deployment), strike, target)
        if status == 10:
            return target - 1
        left(deployment)
        assert status in expected, f'operation {target} ended with {status}'
        # The next request succeeds and repairs; so does the same one again.
        other = upload(deployment, 3)
        hosts = check(deployment)
        assert hosts['02:00:00:00:00:03'] == other
        mine = upload(deployment, 1)
        hosts = check(deployment)
        assert hosts['02:00:00:00:00:01'] == mine
        assert upload(deployment, 1) == mine
        assert len(hosts) == len(set(hosts.values()))
        assert not [name for name in os.listdir(deployment.config) if name.endswith('.new')]
    raise AssertionError


def test_a_kill_at_any_operation_of_an_upload(fresh: Callable[[], Deployment]) -> None:
    """Before it and after it: profile functions see both."""
    points = each_point(fresh, lambda deployment: upload(deployment, 1), killed, {9})
    assert points > 100


def test_a_kill_at_any_operation_of_a_failure_report(fresh: Callable[[], Deployment]) -> None:
    def report(deployment: Deployment) -> object:
        return report_failure(machine(1), 'vm', deployment.store, deployment.settings)

    points = each_point(fresh, report, killed, {9}, lambda deployment: upload(deployment, 1))
    assert points > 60


def test_a_kill_at_any_operation_of_a_release(fresh: Callable[[], Deployment]) -> None:
    """All of the machines are released and forgotten, or none is."""

    def two(deployment: Deployment) -> None:
        upload(deployment, 1)
        upload(deployment, 2)

    def both(deployment: Deployment) -> None:
        with deployment.store.transaction() as desk:
            desk.rule(release([1, 2], desk, forget=True))

    def all_or_none(deployment: Deployment) -> None:
        with deployment.store.transaction() as desk:
            there = [desk.machine(id) for id in (1, 2)]
        hosts = check(deployment)
        assert len(hosts) == (2 if all(there) else 0)
        assert any(there) == all(there)

    points = each_point(fresh, both, killed, {9}, two, all_or_none)
    assert points > 60


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_an_error_of_any_operation_of_an_upload(
    fresh: Callable[[], Deployment], code: int
) -> None:
    """It is a clear error of ours, or does not matter."""
    points = each_point(fresh, lambda deployment: upload(deployment, 1), failing(code), {0, 1})
    assert points > 50
