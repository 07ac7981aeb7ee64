"""Many machines at once, hands in the files, stopped holders, full disks."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from conftest import Deployment
from edeploylib.cmdb import Cmdb
from edeploylib.errors import EdeployError, LockTimeout, StoreError, UnclearEntry
from edeploylib.inventory import Inventory
from edeploylib.reassign import Wish, reassign
from edeploylib.release import Ruling, fail, installed, release
from edeploylib.service import install, report_failure
from edeploylib.state import State
from edeploylib.store import FileStore, MemoryStore, Store
from edeploylib.store.protocol import Transaction
from test_store import VM, machine

MACHINES = 1000
WORKERS = 64


def numbered(number: int) -> Inventory:
    mac = f'02:00:00:00:{number >> 8:02x}:{number & 255:02x}'
    facts = [('system', 'product', 'serial', f'SERIAL{number}'), ('disk', 'vda', 'size', '10')]
    return Inventory.of([*facts, ('network', 'eth0', 'serial', mac)])


def work(deployment: Deployment, machines: list[int], answers: Path) -> None:
    """What a worker does: each machine asks until it is answered, and notes the answer."""
    with answers.open('a') as file:
        for number in machines:
            decision = install(numbered(number), deployment.store, deployment.settings).decision
            host = decision.variables.get('host')
            print(number, decision.profile, host, file=file, flush=True)


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def test_a_storm_of_machines(empty: Deployment) -> None:
    """64 processes, random kills, quotas smaller than the fleet: all is given once."""
    empty.write(
        state="[('a', 300), ('b', 400)]",
        **dict.fromkeys(('a_specs', 'b_specs'), VM),
        **dict.fromkeys(('a_configure', 'b_configure'), 'pass'),
        a_cmdb="generate({'host': 'a1-250'})",
        b_cmdb="generate({'host': 'b1-500'})",
    )
    answers = empty.root / 'answers'
    answers.mkdir()
    chance = random.Random(1)
    left = list(range(MACHINES))
    running: dict[int, tuple[Path, list[int]]] = {}
    started = kills = 0
    first: dict[int, str] = {}

    while left or running:
        while left and len(running) < WORKERS:
            chunk, left = left[:8], left[8:]
            started += 1
            path = answers / str(started)
            pid = forked(lambda chunk=chunk, path=path: work(empty, chunk, path))
            running[pid] = path, chunk
        if kills < 40 and chance.random() < 0.3:
            kills += 1
            os.kill(chance.choice(list(running)), signal.SIGKILL)
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.02)
            continue
        path, chunk = running.pop(pid)
        for line in path.read_text().splitlines() if path.exists() else []:
            number, _, answer = line.partition(' ')
            first[int(number)] = answer
        left += [number for number in chunk if number not in first]
    assert len(first) == MACHINES
    assert kills >= 20
    given = [answer for answer in first.values() if answer != 'None None']
    assert len(given) == len(set(given)) == 650
    assert dict(State.parse(empty.texts()['state']).quotas) == {'a': 50, 'b': 0}
    for name, count in (('a', 250), ('b', 400)):
        entries = Cmdb.parse(empty.texts()[f'{name}.cmdb']).entries
        used = [entry for entry in entries if entry.get('used')]
        assert len(used) == len({entry['mac'] for entry in used}) == count
    for number in range(0, MACHINES, 5):
        again = install(numbered(number), empty.store, empty.settings).decision
        assert first[number] == f'{again.profile} {again.variables.get("host")}'


def test_a_stopped_holder_is_named_and_does_not_stop_the_others_for_ever(
    empty: Deployment,
) -> None:
    empty.write(state="[('vm', 2)]", vm_specs=VM, vm_configure='pass', vm_cmdb="[{'host': 'h1'}]")
    read, write = os.pipe()

    def hold() -> None:
        with empty.store.transaction('10.0.0.99'):
            os.write(write, b'x')
            os.kill(os.getpid(), signal.SIGSTOP)

    holder = forked(hold)
    try:
        assert os.read(read, 1) == b'x'
        os.waitpid(holder, os.WUNTRACED)
        impatient = empty.settings._replace(lock_timeout=0.3)
        with pytest.raises(LockTimeout, match=f'held by pid {holder} for 10.0.0.99 since'):
            install(machine(1), FileStore(impatient), impatient)
        assert list(empty.hw.glob('*.hw')) == []
    finally:
        os.kill(holder, signal.SIGCONT)
        os.waitpid(holder, 0)
        os.close(read)
        os.close(write)
    answer = install(machine(1), empty.store, empty.settings)
    assert answer.decision.variables['host'] == 'h1'


def test_a_full_disk(empty: Deployment, needs: Callable[[str, str], str]) -> None:
    """A small one of its own: a clear error, and nothing is half done."""
    program = needs('mount', 'mount')
    mount = [program, '-t', 'tmpfs', '-o', 'size=256k', 'edeploy-test', str(empty.config)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('needs the right to mount a tmpfs')
    try:
        hosts = repr([{'host': f'h{n}', 'pad': 'x' * 60} for n in range(1200)])
        empty.write(state="[('vm', 2)]", vm_specs=VM, vm_configure='pass', vm_cmdb=hosts)
        before = empty.texts()
        (empty.config / 'ballast').write_bytes(b'x' * 120_000)
        with pytest.raises(StoreError, match=r'cannot write .*vm.cmdb: No space left on device'):
            install(machine(1), empty.store, empty.settings)
        (empty.config / 'ballast').unlink()
        assert empty.texts() == before
        answer = install(machine(1), empty.store, empty.settings)
        assert answer.decision.variables['host'] == 'h0'
        assert empty.texts()['state'] == "[('vm', 1)]"
    finally:
        subprocess.run(['umount', empty.config], check=True)


def test_one_query_tells_why_a_machine_was_given_what(empty: Deployment) -> None:
    """By any of its keys, with the time, the address and the reasons."""
    empty.write(
        state="[('big', 1), ('vm', 2)]",
        big_specs="[('disk', '$d', 'size', 'gt(100)')]",
        vm_specs=VM,
        vm_configure='pass',
        vm_cmdb="[{'ip': '10.0.0.7'}]",
    )
    install(machine(1), empty.store, empty.settings, '192.168.0.9')
    report_failure(machine(1), 'vm', empty.store, empty.settings)
    install(machine(2), empty.store, empty.settings)
    with sqlite3.connect(empty.hw / 'ledger.sqlite') as db:
        rows = db.execute(
            'SELECT date(time) = date(), address, profile, status, variables, reasons, '
            'length(inventory), length(configuration) FROM history '
            "WHERE machine IN (SELECT machine FROM keys WHERE value LIKE '%/SERIAL1')"
        ).fetchall()
        refused = db.execute("SELECT reasons FROM history WHERE name LIKE 'SERIAL2%'").fetchall()
    db.close()
    assert [row[:4] for row in rows] == [
        (1, '192.168.0.9', 'vm', 'installing'),
        (1, '', 'vm', 'failed'),
    ]
    assert '"ip": "10.0.0.7"' in rows[0][4]
    assert rows[0][5:] == ('["big: its spec does not match"]', 64, 64)
    assert 'no entry left: 1 of 1 used' in refused[0][0]


def test_the_ledger_remembers_what_was_released(empty: Deployment) -> None:
    """With the times, and the inventory that was uploaded."""
    empty.write(
        state="[('big', 1), ('vm', 2)]",
        big_specs="[('disk', '$d', 'size', 'gt(100)')]",
        big_configure='pass',
        vm_specs=VM,
        vm_configure='pass',
        vm_cmdb="[{'host': 'h1'}]",
    )
    for size in ('10', '200', '200'):
        install(machine(1, size=size), empty.store, empty.settings)
    with sqlite3.connect(empty.hw / 'ledger.sqlite') as db:
        query = (
            'SELECT profile, status, changed > since, inventory FROM assignments ORDER BY since'
        )
        rows = db.execute(query).fetchall()
    db.close()
    assert rows == [
        ('vm', 'released', 1, machine(1).digest),
        ('big', 'installing', 0, machine(1, size='200').digest),
    ]
    install(machine(1), empty.store, empty.settings)
    assert empty.texts()['state'] == "[('big', 1), ('vm', 1)]"
    assert install(machine(2), empty.store, empty.settings).script is None


def test_what_an_upload_costs_the_disk(empty: Deployment) -> None:
    """Each file that changes and its folder are synced, and the ledger commits once."""
    empty.write(state="[('vm', 2)]", vm_specs=VM, vm_configure='pass', vm_cmdb="[{'host': 'h1'}]")
    install(machine(9), empty.store, empty.settings)
    calls: list[str] = []

    def count(frame: object, event: str, called: object) -> None:
        if event == 'c_call' and getattr(called, '__name__', '') == 'fsync':
            calls.append('fsync')

    report_failure(machine(9), 'vm', empty.store, empty.settings)
    empty.write(vm_cmdb="[{'host': 'h1'}, {'host': 'h2'}]")
    for number, syncs in ((1, 5), (1, 2)):
        calls.clear()
        sys.setprofile(count)
        try:
            install(machine(number), empty.store, empty.settings)
        finally:
            sys.setprofile(None)
        assert len(calls) == syncs


HOSTS = "[{'host': 'h0', 'ip': '10.0.0.0'}, {'host': 'h1', 'ip': '10.0.0.1'}, {'host': 'h2', 'ip': '10.0.0.2'}]"
machines = st.integers(0, 4)


class SideBySide(RuleBasedStateMachine):
    """Both stores are told the same, and must say the same."""

    folder: Path

    @initialize(quota=st.sampled_from(['1', '2', "'*'"]))
    def begin(self, quota: str) -> None:
        SideBySide.count += 1
        self.files = Deployment(SideBySide.folder / str(SideBySide.count))
        for path in (self.files.root, self.files.config, self.files.hw):
            path.mkdir()
        self.files.configure().write(
            state=f"[('big', 1), ('vm', {quota})]",
            big_specs=VM.replace('gt(4)', 'gt(100)'),
            big_configure='pass',
            big_cmdb="[{'host': 'big'}]",
            vm_specs=VM,
            vm_configure='pass',
            vm_cmdb=HOSTS,
        )
        self.memory = MemoryStore(self.files.texts())
        self.answers: dict[int, tuple[object, ...]] = {}

    count = 0

    def both(self, ask: Callable[[object], object]) -> object:
        ours = ask(self.files.store)
        theirs = ask(self.memory)
        assert ours == theirs
        return ours

    @rule(number=machines, size=st.sampled_from(['10', '200']))
    def upload(self, number: int, size: str) -> None:
        def ask(store: object) -> tuple[object, ...]:
            try:
                decision = install(machine(number, size=size), store, self.files.settings).decision
            except UnclearEntry as unclear:
                return None, str(unclear)
            return decision.profile, dict(decision.variables), list(map(str, decision.refusals))

        first = self.both(ask)
        texts = self.files.texts()
        assert self.both(ask)[:2] == first[:2]
        assert self.files.texts() == texts

    @rule(number=machines, profile=st.sampled_from(['vm', 'big']))
    def report(self, number: int, profile: str) -> None:
        self.both(
            lambda store: (
                report_failure(machine(number), profile, store, self.files.settings).decision.note
            )
        )

    @rule(id=st.integers(1, 6), forget=st.booleans())
    def operator_releases(self, id: int, forget: bool) -> None:
        self.operate(lambda desk: release([id], desk, forget))

    @rule(id=st.integers(1, 6), decide=st.sampled_from([fail, installed]))
    def operator_notes(self, id: int, decide: Callable[..., Ruling]) -> None:
        self.operate(lambda desk: decide(id, desk))

    @rule(id=st.integers(1, 6), profile=st.sampled_from(['vm', 'big']), place=st.integers(0, 3))
    def operator_reassigns(self, id: int, profile: str, place: int) -> None:
        def to(desk: Transaction) -> Ruling:
            known = desk.machine(id)
            number = int(known.name[len('SERIAL')]) if known else 0
            return reassign(id, profile, machine(number), desk, wish=Wish(place))

        self.operate(to)

    def operate(self, ruling_of: Callable[[Transaction], Ruling]) -> None:
        def ask(store: Store) -> object:
            try:
                with store.transaction() as desk:
                    ruling = ruling_of(desk)
                    desk.rule(ruling)
            except EdeployError as refused:
                return str(refused)
            return ruling.steps

        self.both(ask)

    @rule(number=machines)
    def die(self, number: int) -> None:
        """Between the commit and the files, where there are files to write."""

        def upload() -> None:
            sys.addaudithook(lambda event, args: event == 'os.rename' and os._exit(9))
            install(machine(number), self.files.store, self.files.settings)

        os.waitpid(forked(upload), 0)
        with suppress(UnclearEntry):
            install(machine(number), self.memory, self.files.settings)
        with self.files.store.transaction():
            pass

    @rule(
        edit=st.sampled_from(['free', 'delete', 'field', 'turn', 'add', 'quota']),
        at=st.integers(0, 5),
    )
    def edit(self, edit: str, at: int) -> None:
        texts = self.files.texts()
        entries = [dict(entry) for entry in Cmdb.parse(texts['vm.cmdb']).entries]
        if edit == 'quota':
            self.write('state', f"[('big', 1), ('vm', {at})]")
            return
        if edit == 'add':
            entries.append({'host': f'new{len(entries)}-{at}', 'ip': f'10.1.{at}.{len(entries)}'})
        elif edit == 'turn':
            entries = entries[::-1]
        elif entries:
            entry = entries[at % len(entries)]
            if edit == 'delete':
                entries.remove(entry)
            elif edit == 'free':
                for name in ('used', 'disk', 'eth', 'mac'):
                    entry.pop(name, None)
            else:
                entry['ip'] = f'10.9.9.{at}'
        self.write('vm.cmdb', Cmdb.of(entries).render())

    def write(self, name: str, text: str) -> None:
        self.files.put(name, text)
        self.memory.files[name] = text

    @invariant()
    def the_files_agree(self) -> None:
        if not hasattr(self, 'memory'):
            return
        texts = self.files.texts()
        for name in ('state', 'vm.cmdb', 'big.cmdb'):
            assert texts[name] == self.memory.files[name]

    @invariant()
    def nobody_shares(self) -> None:
        """No quota below zero, and no two machines that know themselves in one entry."""
        if not hasattr(self, 'memory'):
            return
        quotas = State.parse(self.files.texts()['state']).quotas
        assert all(quota == '*' or quota >= 0 for quota in quotas.values())
        cmdb = Cmdb.parse(self.files.texts()['vm.cmdb'])
        claims = [held.claim for held in self.memory.held.values() if held.profile == 'vm']
        holders = cmdb.holders(claim for claim in claims if claim)
        assert len(set(holders.held.values())) == len(holders.held)


def test_both_stores_agree(tmp_path: Path) -> None:
    SideBySide.folder = tmp_path
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        SideBySide, settings=settings(max_examples=50, stateful_step_count=12, deadline=None)
    )
