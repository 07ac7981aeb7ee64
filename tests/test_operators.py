"""The commands by which operators see and decide, as processes; the rest is in test_release.py."""

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from conftest import INVENTORIES, ROOT, Deployment
from edeploylib.errors import (
    IdentityConflict,
    NotPossible,
    SeveralMachines,
    StoreError,
    UnknownMachine,
)
from edeploylib.hostinfo import hostinfo
from edeploylib.inventory import Inventory
from edeploylib.overview import OVERDUE, age, find, overview, seconds
from edeploylib.release import release
from edeploylib.select import select
from edeploylib.service import install, report_failure
from edeploylib.store.records import glance
from test_desk import desk
from test_store import VM, machine

NAME = 'SERIAL{0}-02-00-00-00-00-0{0}'
HOSTS = """[
 {'hostname': 'h1', 'ip': '10.0.0.1'},
 {'hostname': 'h2', 'ip': '10.0.0.2'},
 {'hostname': 'h3', 'ip': '10.0.0.3'},
]
"""


@pytest.fixture
def rack(empty: Deployment) -> Deployment:
    """Machines 1 and 2 hold h1 and h2; machine 9 was refused."""
    empty.write(
        state="[('big', 1), ('vm', 5)]\n",
        big_specs=VM.replace('gt(4)', 'gt(100)'),
        big_configure='pass',
        vm_specs=VM,
        vm_configure='pass',
        vm_cmdb=HOSTS,
    )
    for number in (1, 2):
        install(machine(number), empty.store, empty.settings, f'192.168.0.{number}')
    install(machine(9, size='1'), empty.store, empty.settings, '192.168.0.9')
    return empty


def ask(deployment: Deployment, *words: object, stdin: bytes = b'') -> tuple[int, str, str]:
    return desk(*words, '--conf', deployment.conf, stdin=stdin)


def data(deployment: Deployment, *words: object) -> dict[str, object]:
    status, out, err = ask(deployment, *words, '--json')
    assert (status, err) == (0, '')
    return json.loads(out)


def snapshot(deployment: Deployment) -> dict[str, tuple[int, bytes]]:
    """All files, with the time of their last change."""
    paths = [path for path in deployment.root.rglob('*') if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_status_shows_machines_profiles_and_refusals(rack: Deployment) -> None:
    before = snapshot(rack)
    status, out, err = ask(rack, 'status')
    assert (status, err) == (0, '')
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ['2', 'machines']
    assert lines[2][:6] == ['1', NAME.format(1), 'vm', 'h1', 'installing', lines[2][5]]
    assert lines[2][-4:] == ['installing,', lines[2][-3], 'ago', '192.168.0.1']
    assert 'profile  quota left  installing  installed  failed  entries  used  held  free' in out
    assert ['big', '1', '0', '0', '0', '-', '-', '-', '-'] in lines
    assert ['vm', '3', '2', '0', '0', '3', '2', '2', '1'] in lines
    assert 'refused, and not heard of since: 1' in out
    assert out.rstrip().endswith(
        'from 192.168.0.9\n    big: its spec does not match\n    vm: its spec does not match'
    )
    assert snapshot(rack) == before


def test_status_as_json_has_all_of_it(rack: Deployment) -> None:
    there = data(rack, 'status')
    assert [one['entry']['ip'] for one in there['machines']] == ['10.0.0.1', '10.0.0.2']
    assert there['machines'][0]['keys'] == [
        {'kind': 'mac', 'value': '02:00:00:00:00:01'},
        {'kind': 'serial', 'value': '/SERIAL1'},
    ]
    assert there['profiles'][1] == {
        'profile': 'vm', 'quota': 3, 'installing': 2, 'installed': 0, 'failed': 0,
        'entries': 3, 'used': 2, 'held': 2, 'free': 1,
    }  # fmt: skip
    (refusal,) = there['refusals']
    assert (refusal['name'], refusal['what']) == (NAME.format(9), 'refused')
    assert there['problems'] == []


def test_status_of_a_deployment_that_no_machine_has_met(empty: Deployment) -> None:
    """Nothing is made by looking; an empty ledger is none either."""
    empty.write(state="[('vm', 1)]")
    before = snapshot(empty)
    status, out, err = ask(empty, 'status')
    assert (status, out.split('\n')[0], err) == (0, '0 machines', '')
    assert snapshot(empty) == before
    Path(empty.settings.ledger).touch()
    assert ask(empty, 'status')[0] == 0
    assert Path(empty.settings.ledger).stat().st_size == 0


def test_status_tells_what_it_cannot_read_and_shows_the_rest(rack: Deployment) -> None:
    rack.write(vm_cmdb='[')
    status, out, err = ask(rack, 'status')
    assert (status, NAME.format(2) in out) == (2, True)
    assert 'vm.cmdb:1:1: ' in err
    rack.write(state='x')
    status, out, err = ask(rack, 'status')
    assert (status, NAME.format(2) in out) == (2, True)
    assert 'state:1:1: expected a list of profiles' in err
    Path(rack.settings.ledger).write_text('no ledger at all, but long enough for one')
    status, out, err = ask(rack, 'status')
    assert (status, out) == (2, '')
    assert 'ledger.sqlite: file is not a database' in err


@pytest.mark.parametrize(
    ('words', 'found'),
    [
        (('--profile', 'vm'), [1, 2]),
        (('--profile', 'big'), []),
        (('--status', 'installing'), [2]),
        (('--failed',), [1]),
        (('--since', '1d'), [1, 2]),
        (('--since', '0s'), []),
        (('--name', '*L2-*'), [2]),
        (('--name', 'h1'), [1]),
        (('--name', 'H1', '--profile', 'vm'), []),
    ],
    ids=str,
)
def test_filters(rack: Deployment, words, found) -> None:
    report_failure(machine(1), 'vm', rack.store, rack.settings)
    status, out, _ = ask(rack, 'status', *words)
    assert status == (0 if found else 1)
    assert [int(line.split()[0]) for line in out.splitlines()[2:]] == found


def test_refusals_that_nothing_has_followed(rack: Deployment) -> None:
    assert ask(rack, 'status', '--refused')[0] == 0
    assert ask(rack, 'status', '--refused', '--name', 'x')[0] == 1
    assert ask(rack, 'status', '1', '--refused')[0] == 2
    install(machine(9), rack.store, rack.settings)
    assert ask(rack, 'status', '--refused')[0] == 1


def test_an_installation_that_takes_long_is_marked(rack: Deployment) -> None:
    with sqlite3.connect(rack.settings.ledger) as db:
        db.execute(f'UPDATE journal SET time = time - {OVERDUE} WHERE machine = 1')
    db.close()
    first, second = data(rack, 'status')['machines']
    assert (first['overdue'], second['overdue']) == (True, False)
    assert 'installing, overdue  ' in ask(rack, 'status')[1]
    assert ask(rack, 'installed', '1')[0] == 0
    assert 'overdue' not in ask(rack, 'status')[1]


def test_the_history_of_a_machine(rack: Deployment) -> None:
    for _ in range(3):
        install(machine(1), rack.store, rack.settings, '192.168.0.1')
    swapped = [*machine(1).facts[:2], ('network', 'eth0', 'serial', '02:00:00:00:00:0a')]
    install(Inventory.of(swapped), rack.store, rack.settings, '192.168.0.7')
    report_failure(machine(1), 'vm', rack.store, rack.settings, '192.168.0.1')
    assert ask(rack, 'release', 'h1')[0] == 0
    status, out, _ = ask(rack, 'status', 'SERIAL1')
    assert status == 0
    history = [line[23:] if line[2:4] == '20' else line for line in out.splitlines()]
    assert history[:4] == [
        f'machine 1: {NAME.format(1)}',
        '  mac 02:00:00:00:00:01',
        '  mac 02:00:00:00:00:0a',
        '  serial /SERIAL1',
    ]
    assert history[history.index('history') :] == [
        'history',
        'installing vm from 192.168.0.1, 2 times',
        "    disk = 'vda'",
        "    eth = 'eth0'",
        "    hostname = 'h1'",
        "    ip = '10.0.0.1'",
        "    mac = '02:00:00:00:00:01'",
        '    big: its spec does not match',
        'unchanged vm from 192.168.0.1, 2 times',
        '    big: its spec does not match',
        'installing vm from 192.168.0.7',
        "    mac = '02:00:00:00:00:0a', was '02:00:00:00:00:01'",
        '    big: its spec does not match',
        'failed vm from 192.168.0.1',
        f'released vm from {who()}, the command line',
        '    vm: entry 0 freed',
    ]
    there = data(rack, 'status', '1')
    assert [one['status'] for one in there['assignments']] == ['released']
    assert [one['what'] for one in there['history']][-2:] == ['failed', 'released']


def who() -> str:
    done = subprocess.run(['id', '-un'], capture_output=True, text=True, check=True)
    caller = os.environ.get('SUDO_USER')
    return f'{caller} as {done.stdout.strip()}' if caller else done.stdout.strip()


def test_who_was_refused_or_forgotten_has_a_history_too(rack: Deployment) -> None:
    status, out, _ = ask(rack, 'status', NAME.format(9))
    assert (status, 'refused from 192.168.0.9' in out) == (0, True)
    ask(rack, 'release', '2', '--forget')
    status, out, _ = ask(rack, 'status', '2')
    assert (status, 'forgotten vm from ' in out) == (0, True)
    status, out, err = ask(rack, 'status', 'SERAIL1')
    assert (status, out) == (1, '')
    assert err == "no machine is known as 'SERAIL1'\nhint: did you mean serial1 or /serial1?\n"


@pytest.mark.parametrize(
    'name',
    ['1', NAME.format(1), f'hw/{NAME.format(1)}.hw', 'serial1', '/SERIAL1', '02-00-00-00-00-01',
     '02:00:00:00:00:01', 'h1', 'H1', '10.0.0.1'],
)  # fmt: skip
def test_a_machine_has_many_names(rack: Deployment, name: str) -> None:
    with glance(rack.settings) as world:
        assert find(name, overview(world).machines).id == 1


def test_a_machine_is_called_what_the_operator_writes_into_its_entry(rack: Deployment) -> None:
    text = rack.texts()['vm.cmdb']
    rack.write(vm_cmdb=text.replace("'h1'", "'n1'").replace("'h3'", "'h1'"))
    with glance(rack.settings) as world:
        machines = overview(world).machines
    assert find('n1', machines).id == 1
    with pytest.raises(UnknownMachine):
        find('h1', machines)


def test_a_name_of_two_machines_is_none(rack: Deployment) -> None:
    text = rack.texts()['vm.cmdb']
    rack.write(vm_cmdb=text.replace('10.0.0.2', '10.0.0.1'))
    with glance(rack.settings) as world:
        machines = overview(world).machines
    with pytest.raises(SeveralMachines, match=r'machine 1 \(.*, h1\), or machine 2 \(.*, h2\)'):
        find('10.0.0.1', machines)
    assert ask(rack, 'hardware-info', '10.0.0.1')[0] == 2
    assert ask(rack, 'status', '10.0.0.1')[0] == 2


def test_a_dry_run_shows_the_difference_and_makes_none(rack: Deployment) -> None:
    before = snapshot(rack)
    status, out, err = ask(rack, 'release', '1', '--dry-run')
    assert (status, err) == (0, '')
    assert out.splitlines() == [
        f"would be: machine 1 ({NAME.format(1)}): released (vm); a unit of 'vm' given back; "
        'vm: entry 0 freed',
        '--- state',
        '+++ state',
        '@@ -1 +1 @@',
        "-[('big', 1), ('vm', 3)]",
        "+[('big', 1), ('vm', 4)]",
        '--- vm.cmdb',
        '+++ vm.cmdb',
        '@@ -1,8 +1,3 @@',
        ' [',
        *(f'-{line}' for line in rack.texts()['vm.cmdb'].splitlines()[1:7]),
        "+ {'hostname': 'h1', 'ip': '10.0.0.1'},",
        rack.texts()['vm.cmdb'].splitlines()[7].join([' ', '']),
    ]
    for words in (
        ('fail', '1'),
        ('installed', '1'),
        ('forget-key', '/serial1'),
        ('reassign', 'h1', 'vm', '--entry', 'hostname=h3'),
        ('release', '--profile', 'vm', '--forget'),
    ):
        status, out, _ = ask(rack, *words, '--dry-run')
        assert (status, out[:9]) == (0, 'would be:')
    assert snapshot(rack) == before


def on_terminal(deployment: Deployment, answer: str, *words: str) -> int:
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, '-m', 'edeploylib', *words, '--conf', str(deployment.conf)]
        process = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.write(ours, answer.encode())
        return process.wait(60)
    finally:
        os.close(ours)
        os.close(theirs)


def test_many_are_not_released_unasked(rack: Deployment) -> None:
    before = rack.texts()
    status, out, err = ask(rack, 'release', '--profile', 'vm')
    assert (status, out) == (2, '')
    assert 'Nobody can be asked here, so nothing has been changed\nhint: --yes says so' in err
    assert on_terminal(rack, 'n\n', 'release', '1', '2') == 1
    assert rack.texts() == before
    assert on_terminal(rack, 'y\n', 'release', '1', '2') == 0
    assert rack.texts()['vm.cmdb'] == HOSTS
    assert ask(rack, 'release', '--profile', 'vm', '--yes')[0] == 1


def test_many_are_chosen_by_what_they_are(rack: Deployment) -> None:
    report_failure(machine(1), 'vm', rack.store, rack.settings)
    with sqlite3.connect(rack.settings.ledger) as db:
        db.execute('UPDATE journal SET time = time - 90000 WHERE machine = 1')
    db.close()
    chosen = ('release', '--older-than', '1d', '--dry-run')
    assert [one['machine'] for one in data(rack, *chosen)['machines']] == [1]
    chosen = ('release', '--status', 'failed', '--profile', 'vm', '--forget')
    assert [one['machine'] for one in data(rack, *chosen)['machines']] == [1]
    assert [one['id'] for one in data(rack, 'status')['machines']] == [2]
    for words in ((), ('1', '--profile', 'vm'), ('--older-than', '1y')):
        assert ask(rack, 'release', *words)[0] == 2


def test_a_release_of_an_unknown_machine_releases_none(rack: Deployment) -> None:
    before = rack.texts()
    assert ask(rack, 'release', '1', 'h9', '--yes')[0] == 2
    assert rack.texts() == before


def test_the_commands_that_decide(rack: Deployment) -> None:
    assert (
        data(rack, 'reassign', 'h1', 'vm', '--entry', '2')['machines'][0]['what'] == 'installing'
    )
    assert install(machine(1), rack.store, rack.settings).decision.variables['hostname'] == 'h3'
    assert ask(rack, 'reassign', 'h3', 'vm', '--entry', 'x')[0] == 2
    status, _, err = ask(rack, 'reassign', 'h3', 'big')
    assert (status, 'its spec does not match the saved inventory' in err) == (2, True)
    assert ask(rack, 'fail', 'h3')[0] == 0
    assert ask(rack, 'fail', 'h3')[0] == 1
    assert rack.texts()['state'] == "[('big', 1), ('vm', 4)]\n"
    assert ask(rack, 'installed', 'h3')[0] == 0
    assert rack.texts()['state'] == "[('big', 1), ('vm', 3)]\n"
    status, out, _ = ask(rack, 'forget-key', '02-00-00-00-00-02')
    assert (status, out) == (
        0,
        f'machine 2 ({NAME.format(2)}): key forgotten; '
        "no longer known by mac '02:00:00:00:00:02'\n",
    )
    assert ask(rack, 'forget-key', '02-00-00-00-00-02')[0] == 2


def test_an_inventory_that_another_has_overwritten_is_told(rack: Deployment) -> None:
    (rack.hw / f'{NAME.format(1)}.hw').write_text(machine(2).render())
    status, _, err = ask(rack, 'hardware-info', 'h1')
    assert (status, 'is not what machine 1' in err) == (0, True)
    status, _, err = ask(rack, 'reassign', 'h1', 'vm')
    assert (status, 'is not that of machine 1' in err) == (2, True)
    (rack.hw / f'{NAME.format(1)}.hw').unlink()
    status, _, err = ask(rack, 'hardware-info', 'h1')
    assert (status, 'no inventory of machine 1 is saved' in err) == (2, True)


def test_the_hardware_of_a_host(samples: Deployment) -> None:
    sample = Inventory.parse((INVENTORIES / 'storage.json').read_bytes())
    install(sample, samples.store, samples.settings)
    about = data(samples, 'hardware-info', 'store01')
    assert (about['machine'], about['profile']) == (1, 'storage')
    assert about['memory'] == {'bytes': 137438953472, 'banks': []}
    assert about['cpus'] == {'physical': 2, 'logical': 40, 'sockets': []}
    assert about['disks'][1] == {
        'name': 'sdb', 'gigabytes': 240, 'vendor': 'ATA', 'rotational': False
    }  # fmt: skip
    assert about['nics'][1]['mac'] == '9c:dc:71:4e:20:a1'
    assert ask(samples, 'hardware-info', 'store02')[0] == 1


def test_hardware_is_told_as_it_was_detected() -> None:
    """What is no number stays a text, and what is not there is left out."""
    facts = [
        ('memory', 'total', 'size', '8589934592'),
        ('memory', 'bank:0:1', 'size', '8589934592'),
        ('memory', 'bank:0:1', 'clock', 'unknown'),
        ('memory', 'bank:0:1', 'slot', 'DIMM A1'),
        ('memory', 'banks', 'count', '1'),
        ('memory', 'total', 'size', 1024),
        ('cpu', 'physical', 'number', 1),
        ('cpu', 'physical_0', 'product', 'Xeon'),
        ('cpu', 'physical_0', 'cores', '4'),
        ('cpu', 'logical', 'number', '8'),
        ('cpu', 'logical_0', 'governor', 'performance'),
        ('disk', 'logical', 'count', '1'),
        ('disk', '1I:1:1', 'size', '1.8'),
        ('disk', '1I:1:1', 'type', 'SAS'),
        ('disk', '1I:1:1', 'rotational', 'maybe'),
        ('network', 'eth0', 'serial', '02:00:00:00:00:01'),
        ('network', 'eth0', 'size', '1000000000'),
        ('network', 'eth0', 'link', 'yes'),
        ('network', 'eth0', 'driver', 'igb'),
    ]
    assert hostinfo(Inventory.of(facts)) == {
        'system': {},
        'memory': {
            'bytes': 8589935616,
            'banks': [
                {'name': 'bank:0:1', 'bytes': 8589934592, 'hertz': 'unknown', 'slot': 'DIMM A1'}
            ],
        },
        'cpus': {
            'physical': 1,
            'logical': 8,
            'sockets': [{'name': 'physical_0', 'model': 'Xeon', 'cores': 4}],
        },
        'disks': [{'name': '1I:1:1', 'gigabytes': 1.8, 'type': 'SAS', 'rotational': 'maybe'}],
        'nics': [
            {
                'name': 'eth0',
                'mac': '02:00:00:00:00:01',
                'driver': 'igb',
                'bits_per_second': 1000000000,
                'link': True,
            }
        ],
    }
    nothing = hostinfo(Inventory.of([]))
    assert nothing['memory'] == {'bytes': None, 'banks': []}
    assert nothing['cpus'] == {'physical': None, 'logical': None, 'sockets': []}


@pytest.mark.parametrize('text', ['42s', '3m', '23h', '12d'])
def test_ages_are_read_as_they_are_written(text: str) -> None:
    assert age(seconds(text)) == text
    assert age(seconds(text) - 1) != text


def test_an_age_that_is_none() -> None:
    assert (age(-3), age(90 * 60)) == ('0s', '1h')
    for text in ('', '3', 'd', '1.5h', '3y', '-1d'):
        with pytest.raises(NotPossible, match='expected an age such as'):
            seconds(text)


def test_what_a_commit_has_still_to_write_is_seen_as_written(rack: Deployment) -> None:
    child = os.fork()
    if child == 0:
        sys.addaudithook(lambda event, args: event == 'os.rename' and os._exit(9))
        install(machine(3), rack.store, rack.settings)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    before = snapshot(rack)
    assert b'02:00:00:00:00:03' not in before[str(rack.config / 'vm.cmdb')][1]
    there = data(rack, 'status')
    assert [one['host'] for one in there['machines']] == ['h1', 'h2', 'h3']
    assert (there['profiles'][1]['quota'], there['profiles'][1]['free']) == (2, 0)
    assert "+[('big', 1), ('vm', 3)]" in ask(rack, 'release', 'h3', '--dry-run')[1]
    assert data(rack, 'hardware-info', 'h3')['nics'][0]['mac'] == '02:00:00:00:00:03'
    assert snapshot(rack) == before
    rack.write(state="[('vm', 7)]")
    assert data(rack, 'status')['profiles'][0]['quota'] == 7


def test_the_journal_is_pruned_but_for_the_last_of_each_machine(rack: Deployment) -> None:
    for _ in range(3):
        install(machine(1), rack.store, rack.settings, '192.168.0.1')
    assert ask(rack, 'installed', '1')[0] == 0
    assert ask(rack, 'release', '2', '--forget')[0] == 0
    with sqlite3.connect(rack.settings.ledger) as db:
        db.execute('UPDATE journal SET time = time - 90000')
    db.close()
    install(machine(3), rack.store, rack.settings)
    assert data(rack, 'prune', '--older-than', '1d', '--dry-run')['removed'] == 6
    assert ask(rack, 'prune', '--older-than', '2d')[0] == 1
    texts = rack.texts()
    assert ask(rack, 'prune', '--older-than', '1d') == (0, '6 lines of the journal removed\n', '')
    assert rack.texts() == texts
    assert [one['what'] for one in data(rack, 'status', '1')['history']] == [
        'unchanged',
        'installed',
    ]
    assert ask(rack, 'hardware-info', 'h1')[0] == 0
    assert [one['id'] for one in data(rack, 'status')['machines']] == [1, 3]
    assert ask(rack, 'status', '--refused')[0] == 1


def test_a_ledger_that_cannot_be_read_is_not_an_empty_one(rack: Deployment) -> None:
    """Its folder is gone, it is no file, or a commit that was killed is still to be undone."""
    ledger = Path(rack.settings.ledger)
    killed = (
        'import os, sqlite3, sys\n'
        'db = sqlite3.connect(sys.argv[1], isolation_level=None)\n'
        "db.execute('PRAGMA cache_size = 1')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "for number in range(50): db.execute('INSERT INTO unwritten VALUES (?, ?, 0, 0)', [number, 'x' * 4096])\n"
        'os.kill(os.getpid(), 9)'
    )
    subprocess.run([sys.executable, '-c', killed, ledger], check=False)
    assert ledger.with_name('ledger.sqlite-journal').stat().st_size > 0
    status, out, err = ask(rack, 'status')
    assert (status, out) == (2, '')
    assert 'hint: an upload was killed while it committed: the next one puts it right' in err
    install(machine(3), rack.store, rack.settings)
    assert ask(rack, 'status', 'h3')[0] == 0
    ledger.unlink()
    ledger.mkdir()
    assert 'ledger.sqlite: Is a directory' in ask(rack, 'status')[2]
    ledger.rmdir()
    rack.configure(LEDGER=str(rack.root / 'none' / 'ledger'))
    assert 'none/ledger: No such file or directory' in ask(rack, 'status', 'h1')[2]


def test_no_text_of_a_client_reaches_a_terminal_raw(rack: Deployment) -> None:
    evil = Inventory.of(
        [
            *machine(3).facts,
            ('system', 'product', 'vendor', '\x1b[2J\u202e'),
            ('x', '\x1b', 'y', 'z'),
        ]
    )
    rack.write(vm_specs=f"{VM[:-1]}, ('x', '$evil', 'y', 'z')]")
    install(evil, rack.store, rack.settings, '\x1b]0;x')
    for words in (('status',), ('status', '3'), ('release', '3', '--dry-run'), ('release', '3')):
        status, out, err = ask(rack, *words)
        assert status == 0
        assert (out + err).replace('\n', '').isprintable()


def test_who_only_looks_can_commit_nothing(rack: Deployment) -> None:
    before = snapshot(rack)
    with glance(rack.settings) as world:
        with pytest.raises(StoreError, match='attempt to write a readonly database'):
            world.rule(release([1], world))
    assert snapshot(rack) == before


def test_several_machines_fail_or_are_installed_at_once(rack: Deployment) -> None:
    """All of them or, where one cannot, none."""
    state = rack.texts()['state']
    assert ask(rack, 'fail', 'h1', '9')[0] == 2
    assert rack.texts()['state'] == state
    assert ask(rack, 'fail', 'h1', 'h2', '1')[1].count('its quota given back') == 2
    assert rack.texts()['state'] == state.replace('3', '5')
    assert ask(rack, 'installed', '1', '2')[0] == 0
    assert rack.texts()['state'] == state


def told(text: str, deployment: Deployment) -> str:
    """As the README has it, whenever, wherever and whoever it is."""
    text = re.sub(r'\b[0-9]+[smhd]\b', '0s', text)
    text = re.sub(r'\b20[0-9-]{8} [0-9:]{8}\b', 'NOW', text)
    return text.replace(f'{deployment.hw}/', '/var/lib/edeploy/hw/')


def test_the_examples_of_the_readme(samples: Deployment) -> None:
    """On the samples, in their order."""
    facts = {
        name: Inventory.parse((INVENTORIES / f'{name}.json').read_bytes()).facts
        for name in ('rack', 'vm')
    }
    strange = [(*fact[:3], 'TAG9' if fact[3] == 'TAG2' else fact[3]) for fact in facts['rack']]
    strange = [fact for fact in strange if fact[0] != 'network']
    strange.append(('network', 'eth0', 'serial', '02:00:00:00:02:09'))
    for who_, hardware in (('7', facts['rack']), ('8', facts['vm']), ('9', strange)):
        install(Inventory.of(hardware), samples.store, samples.settings, f'10.0.0.{who_}')
    readme = (ROOT / 'README.rst').read_text()
    swapped = [(*fact[:3], 'TAG3' if fact[3] == 'TAG2' else fact[3]) for fact in facts['rack']]
    with pytest.raises(IdentityConflict) as conflict, samples.store.transaction() as world:
        select(Inventory.of(swapped), world)
    assert textwrap.indent(conflict.value.report(), '    ') in readme
    desk_ = readme[readme.index("\nThe operator's desk\n") :]
    shown = 0
    for block in re.findall(r'::\n\n((?:    .*\n|\n)+)', desk_):
        examples = re.split(r'^\$ python -m edeploylib ', textwrap.dedent(block), flags=re.M)[1:]
        for example in examples:
            command, _, output = example.partition('\n')
            if command.split()[0] in ('status', 'release', 'reassign', 'fail', 'installed',
                                      'forget-key', 'prune', 'hardware-info'):  # fmt: skip
                shown += 1
                found = ask(samples, *command.split())[1]
                assert told(found, samples).rstrip() == told(output, samples).rstrip()
    assert shown == 9
