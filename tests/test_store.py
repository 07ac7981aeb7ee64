"""What a machine is given, on both stores: who holds what, and what the files say after."""

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import FrameType

import pytest

from conftest import Deployment
from edeploylib.cmdb import Cmdb
from edeploylib.errors import (
    CmdbError,
    ConfigureError,
    EdeployError,
    EditedMeanwhile,
    IdentityConflict,
    LockTimeout,
    MissingFile,
    SearchLimitExceeded,
    SpecError,
    StateError,
    StoreError,
    UnclearEntry,
)
from edeploylib.inventory import Inventory
from edeploylib.select import Decision, fail, select
from edeploylib.service import install, refusal_lines
from edeploylib.spec import Spec
from edeploylib.store import FileStore, MemoryStore, Store
from edeploylib.store.cache import parsed
from edeploylib.store.lock import locked
from edeploylib.store.records import Records

VM = "[('disk', '$disk', 'size', 'gt(4)'), ('network', '$eth', 'serial', '$mac')]"
HOSTS = "[{'host': 'h1'}, {'host': 'h2'}]"


def machine(number: int, *more: tuple[object, ...], size: str = '10') -> Inventory:
    return Inventory.of(
        [
            ('system', 'product', 'serial', f'SERIAL{number}'),
            ('disk', 'vda', 'size', size),
            ('network', 'eth0', 'serial', f'02:00:00:00:00:{number:02x}'),
            *more,
        ]
    )


class World:
    """A store of either kind, with its configuration's texts."""

    def __init__(
        self,
        store: Store,
        texts: Callable[[], Mapping[str, str]],
        write: Callable[[str, str | None], None] = lambda name, text: None,
    ) -> None:
        self.store = store
        self.texts = texts
        self.write = write

    def upload(self, inventory: Inventory) -> Decision:
        with self.store.transaction('a test') as world:
            decision = select(inventory, world)
            world.commit(decision)
            return decision

    def report(self, inventory: Inventory, profile: str) -> Decision:
        with self.store.transaction() as world:
            decision = fail(inventory, profile, world)
            world.commit(decision)
            return decision


@pytest.fixture(params=['memory', 'files'])
def make(request: pytest.FixtureRequest, empty: Deployment) -> Callable[..., World]:
    def world(**files: str) -> World:
        if request.param == 'files':
            empty.write(**files)
            return World(empty.store, empty.texts, empty.put)
        store = MemoryStore({name.replace('_', '.'): text for name, text in files.items()})

        def put(name: str, text: str | None) -> None:
            store.files.pop(name, None)
            store.files.update({} if text is None else {name: text})

        return World(store, lambda: store.files, put)

    return world


def lab(make: Callable[..., World], **changes: str) -> World:
    files = {
        'state': "[('vm', 2)]",
        'vm_specs': VM,
        'vm_configure': 'pass',
        'vm_cmdb': HOSTS,
        **changes,
    }
    return make(**{name: text for name, text in files.items() if text is not None})


def edit(world: World, name: str, old: str, new: str) -> None:
    """As the operator does, between uploads."""
    text = world.texts()[name]
    assert old in text
    world.write(name, text.replace(old, new))


def rename(world: World, old: str, new: str) -> None:
    world.write(new, world.texts()[old])
    world.write(old, None)


def test_a_machine_gets_its_profile_its_entry_and_a_unit(make) -> None:
    world = lab(make)
    decision = world.upload(machine(1))
    assert decision.profile == 'vm'
    assert decision.variables == {
        'disk': 'vda',
        'eth': 'eth0',
        'mac': '02:00:00:00:00:01',
        'host': 'h1',
        'used': 1,
    }
    assert world.texts()['state'] == "[('vm', 1)]"
    assert world.texts()['vm.cmdb'].endswith(" {'host': 'h2'}]")


def test_the_same_machine_gets_the_same_answer_and_consumes_nothing(make) -> None:
    """A lost reply, a retry, a reboot: even when the quota is spent."""
    world = lab(make, state="[('vm', 1)]")
    first = world.upload(machine(1))
    texts = dict(world.texts())
    for _ in range(3):
        again = world.upload(machine(1))
        assert (again.profile, again.variables) == (first.profile, first.variables)
        assert world.texts() == texts
    assert texts['state'] == "[('vm', 0)]"


def test_another_machine_gets_another_entry_until_none_is_left(make) -> None:
    world = lab(make, state="[('vm', '*')]")
    assert [world.upload(machine(n)).variables['host'] for n in (1, 2)] == ['h1', 'h2']
    refused = world.upload(machine(3))
    assert refused.profile is None
    assert [str(reason) for reason in refused.refusals] == [
        'vm: its CMDB has no entry for it: no entry left: 2 of 2 used'
    ]


def test_refusals_stand_in_the_order_of_the_state(make) -> None:
    """And a spent quota skips a profile without reading it."""
    world = lab(
        make,
        state="[('spent', 0), ('big', 1), ('vm', 1)]",
        spent_specs='broken',
        big_specs="[('disk', '$d', 'size', 'gt(1000)')]",
        big_configure='pass',
        vm_cmdb='[]',
    )
    refused = world.upload(machine(1))
    assert [str(reason) for reason in refused.refusals] == [
        'spent: its quota is spent',
        'big: its spec does not match',
        'vm: its CMDB has no entry for it: no entry left: 0 of 0 used',
    ]


def test_a_state_without_profiles_takes_nobody(make) -> None:
    refused = lab(make, state='[]').upload(machine(1))
    assert refused.profile is None
    assert refusal_lines(refused, machine(1))[1:] == ['  the state lists no profile']


def test_a_failure_report_gives_the_quota_back_once_and_keeps_the_entry(make) -> None:
    world = lab(make, state="[('vm', 1)]")
    world.upload(machine(1))
    assert (
        world.report(machine(1), 'vm').note == "the failure of 'vm' is noted, its quota given back"
    )
    assert world.texts()['state'] == "[('vm', 1)]"
    assert world.report(machine(1), 'vm').note == "ignored: the failure of 'vm' is known already"
    assert world.texts()['state'] == "[('vm', 1)]"
    assert world.upload(machine(2)).variables['host'] == 'h2'
    assert world.upload(machine(1)).profile is None


def test_a_failed_machine_comes_back_to_its_entry_for_a_unit(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    world.report(machine(1), 'vm')
    assert world.upload(machine(1)).variables['host'] == 'h1'
    assert world.texts()['state'] == "[('vm', 1)]"


@pytest.mark.parametrize(
    ('number', 'profile', 'note'),
    [
        (1, 'hp', "ignored: this machine holds profile 'vm', not 'hp'"),
        (1, '../x\n', "ignored: this machine holds profile 'vm', not '../x\\n'"),
        (2, 'vm', "ignored: this machine holds no profile, not 'vm'"),
    ],
)
def test_any_other_failure_report_changes_nothing(make, number, profile, note) -> None:
    world = lab(make)
    world.upload(machine(1))
    before = dict(world.texts())
    assert world.report(machine(number), profile).note == note
    assert world.texts() == before
    assert world.upload(machine(2)).variables['host'] == 'h2'


def test_a_failure_report_of_a_profile_without_limit_hands_out_nothing(make) -> None:
    world = lab(make, state="[('vm', '*')]")
    world.upload(machine(1))
    before = dict(world.texts())
    note = world.report(machine(1), 'vm').note
    assert note == "the failure of 'vm' is noted, there is no quota to give back"
    assert world.texts() == before


def test_a_machine_that_moves_gives_back_its_unit_and_its_entry(make) -> None:
    """The old profile's CMDB is as it was."""
    world = lab(
        make,
        state="[('big', 1), ('vm', 2)]",
        big_specs="[('disk', '$d', 'size', 'gt(100)')]",
        big_configure='pass',
    )
    world.upload(machine(1))
    assert world.texts()['state'] == "[('big', 1), ('vm', 1)]"
    assert world.upload(machine(1, size='200')).profile == 'big'
    assert world.texts()['state'] == "[('big', 0), ('vm', 2)]"
    assert world.texts()['vm.cmdb'] == HOSTS
    assert world.upload(machine(2)).variables['host'] == 'h1'


def test_a_machine_whose_key_changes_moves_to_the_keys_entry(make) -> None:
    """Within one CMDB: the former entry is released."""
    world = lab(
        make,
        vm_specs="[('case', 'tag', 'is', '$$tag')]",
        vm_cmdb="[{'tag': 'A', 'host': 'a'}, {'tag': 'B', 'host': 'b'}]",
    )
    assert world.upload(machine(1, ('case', 'tag', 'is', 'A'))).variables['host'] == 'a'
    assert world.upload(machine(1, ('case', 'tag', 'is', 'B'))).variables['host'] == 'b'
    assert world.texts()['vm.cmdb'] == (
        "[{'tag': 'A', 'host': 'a'}, {'tag': 'B', 'host': 'b', 'used': 1}]"
    )
    assert world.texts()['state'] == "[('vm', 1)]"


def test_a_swapped_card_changes_nothing_but_the_address(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    swapped = [*machine(1).facts[:2], ('network', 'eth0', 'serial', '02:00:00:00:00:99')]
    again = world.upload(Inventory.of(swapped))
    assert (again.variables['host'], again.variables['mac']) == ('h1', '02:00:00:00:00:99')
    assert world.texts()['state'] == "[('vm', 1)]"
    assert world.upload(Inventory.of(swapped[1:])).variables['host'] == 'h1'


def test_a_known_card_in_another_machine_is_a_conflict(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    before = dict(world.texts())
    with pytest.raises(IdentityConflict, match=r"of machine 1 \(SERIAL1-.*'/SERIAL2' is not"):
        world.upload(
            Inventory.of([*machine(2).facts[:2], ('network', 'e', 'serial', '02:00:00:00:00:01')])
        )
    assert world.texts() == before


def test_a_synthetic_cmdb_is_written_out_and_its_original_kept(make) -> None:
    original = "generate({'ip': '192.168.122.3-7', 'hostname': 'host03-07'})"
    world = lab(make, vm_cmdb=original)
    world.upload(machine(1))
    assert world.texts()['vm.cmdb.orig'] == original
    assert world.texts()['vm.cmdb'].count('hostname') == 5
    assert world.upload(machine(2)).variables['hostname'] == 'host04'
    assert world.texts()['vm.cmdb.orig'] == original


def test_a_transaction_that_is_over_takes_nothing(make) -> None:
    world = lab(make)
    with world.store.transaction() as transaction:
        decision = select(machine(1), transaction)
    before = dict(world.texts())
    with pytest.raises(StoreError, match='the transaction is over'):
        transaction.commit(decision)
    assert {name: text for name, text in world.texts().items() if name[0] != '.'} == before


def test_an_entry_used_before_the_ledger_existed_is_taken_over(make) -> None:
    """By the machine whose variables it includes."""
    used = "{'host': 'h2', 'disk': 'vda', 'eth': 'eth0', 'mac': '02:00:00:00:00:01', 'used': 1}"
    world = lab(make, vm_cmdb=f"[{{'host': 'h1'}}, {used}]")
    assert world.upload(machine(1)).variables['host'] == 'h2'
    assert world.upload(machine(2)).variables['host'] == 'h1'


KEYED = VM.replace('$disk', '$$disk')


def test_an_entry_that_was_edited_stays_its_machines(make) -> None:
    """Though its keys are those of many, and it is marked as used."""
    world = lab(make, vm_specs=KEYED, vm_cmdb="[{'disk': 'vda', 'host': 'h1', 'ip': '1'}]")
    world.upload(machine(1))
    edit(world, 'vm.cmdb', "'ip': '1'", "'ip': '2'")
    assert world.upload(machine(2)).profile is None
    assert world.upload(machine(1)).variables['ip'] == '2'


def test_a_retry_with_equal_entries_changes_nothing(make) -> None:
    world = lab(make, vm_specs=KEYED, vm_cmdb="[{'disk': 'vda'}, {'disk': 'vda'}]")
    world.upload(machine(1))
    world.upload(machine(2))
    before = dict(world.texts())
    for number in (2, 1, 2):
        world.upload(machine(number))
        assert world.texts() == before


SIZES = "[('disk', '$disk', 'size', '$size')]"
VLANS = "[{'host': 'a', 'vlan': 1}, {'host': 'b', 'vlan': 1}, {'host': 'c', 'vlan': 1}]"


def test_a_deleted_entry_takes_no_other_with_it(make) -> None:
    """Though what was captured is the same on all machines."""
    world = lab(make, state="[('vm', '*')]", vm_specs=SIZES, vm_cmdb=VLANS)
    assert [world.upload(machine(n)).variables['host'] for n in (1, 2)] == ['a', 'b']
    lines = world.texts()['vm.cmdb']
    start = lines.index("{'host': 'b'")
    world.write('vm.cmdb', '[' + lines[start:].replace("'vlan': 1", "'vlan': 2", 1))
    assert world.upload(machine(1)).variables['host'] == 'c'
    assert world.upload(machine(2)).variables['host'] == 'b'


@pytest.mark.parametrize('free', [False, True])
@pytest.mark.parametrize('top', ['', "{'host': 'n'}, "])
def test_an_entry_that_is_edited_and_moved_stays_its_machines(make, free: bool, top: str) -> None:
    """Another that alone has a value of it now is not taken for it."""
    world = lab(make, vm_cmdb="[{'host': 'h0', 'vlan': 1}, {'host': 'h1', 'vlan': 1}]")
    world.upload(machine(1))
    entry = dict(Cmdb.parse(world.texts()['vm.cmdb']).entries[0])
    if free:
        entry = {'host': 'h0', 'vlan': 1}
    entry['vlan'] = 2
    world.write('vm.cmdb', f"[{top}{{'host': 'h1', 'vlan': 1}}, {entry!r}]")
    try:
        given = world.upload(machine(1)).variables['host']
    except UnclearEntry:
        assert free
        return
    assert given == 'h0'


def test_what_does_not_fit_is_told(make) -> None:
    """An entry that is gone, and entries of which none can tell whose they are."""
    world = lab(make, state="[('vm', '*')]", vm_specs=SIZES, vm_cmdb=VLANS)
    world.upload(machine(1))
    world.upload(machine(2))
    world.write('vm.cmdb', "[{'host': 'c', 'vlan': 1}, {'host': 'd'}]")
    assert world.upload(machine(3)).contradictions == (
        'vm: the entry of machine 1 is no longer there',
        'vm: the entry of machine 2 is no longer there',
    )
    used = "'disk': 'vda', 'size': '10', 'used': 1}"
    world.write(
        'vm.cmdb', f"[{{'host': 'c', 'vlan': 1, {used}, {{'host': 'e', {used}, {{'host': 'f'}}]"
    )
    answer = world.upload(machine(4))
    assert answer.variables['host'] == 'f'
    assert answer.contradictions == ('vm: entry 1 may be that of machine 1 or 2',)
    edit(world, 'state', "('vm', '*')", "('vm', '*'), ('other', '*')")
    with pytest.raises(
        UnclearEntry, match=r'unclear which of the entries \[1\] .* machine 1 holds'
    ):
        world.upload(machine(1))


def test_a_cmdb_that_has_gone_is_told(make) -> None:
    """The profile has none now; but machines held entries of it."""
    world = lab(make)
    world.upload(machine(1))
    world.write('vm.cmdb', None)
    answer = world.upload(machine(2))
    assert answer.contradictions == ('vm: its CMDB is gone, of which 1 machines hold entries',)


def test_a_machine_that_leaves_a_renamed_profile_frees_its_entry(make) -> None:
    world = lab(make, vm_specs=KEYED, vm_cmdb="[{'disk': 'vda', 'host': 'h1'}]")
    world.upload(machine(1))
    for name in ('vm.specs', 'vm.configure', 'vm.cmdb'):
        rename(world, name, name.replace('vm', 'kvm'))
    world.write('other.specs', '[]')
    world.write('other.configure', 'pass')
    world.write('state', "[('kvm', 0), ('other', 1)]")
    assert world.upload(machine(1)).profile == 'other'
    assert Cmdb.parse(world.texts()['kvm.cmdb']).entries == ({'disk': 'vda', 'host': 'h1'},)


def test_an_entry_that_is_edited_twice_stays_its_machines(make) -> None:
    """And a release keeps what was edited."""
    world = lab(
        make,
        state="[('big', '*'), ('vm', '*')]",
        vm_specs=SIZES,
        vm_cmdb="[{'host': 'a', 'vlan': 1}, {'host': 'b', 'vlan': 1}]",
        big_specs="[('disk', '$d', 'size', 'gt(100)')]",
        big_configure='pass',
    )
    world.upload(machine(1))
    edit(world, 'vm.cmdb', "'host': 'a'", "'host': 'x'")
    assert world.upload(machine(1)).variables['host'] == 'x'
    edit(world, 'vm.cmdb', "'host': 'x', 'vlan': 1", "'host': 'x', 'vlan': 9")
    assert world.upload(machine(2)).variables['host'] == 'b'
    assert world.upload(machine(1)).variables['host'] == 'x'
    world.upload(machine(1, size='200'))
    assert Cmdb.parse(world.texts()['vm.cmdb']).entries[0] == {'host': 'x', 'vlan': 9}


def test_the_entries_of_a_renamed_profile_stay_their_machines(make) -> None:
    world = lab(make, vm_specs=KEYED, vm_cmdb="[{'disk': 'vda', 'host': 'h1'}]")
    world.upload(machine(1))
    for name in ('vm.specs', 'vm.configure', 'vm.cmdb'):
        rename(world, name, name.replace('vm', 'kvm'))
    edit(world, 'state', "'vm'", "'kvm'")
    assert world.upload(machine(2)).profile is None
    again = world.upload(machine(1))
    assert (again.profile, again.variables['host']) == ('kvm', 'h1')


def test_a_profile_without_cmdb_gives_the_variables_alone(make) -> None:
    decision = lab(make, vm_cmdb=None).upload(machine(1))
    assert decision.variables == {'disk': 'vda', 'eth': 'eth0', 'mac': '02:00:00:00:00:01'}


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        ({'state': None}, MissingFile, 'no state: .*/state does not exist'),
        ({'state': 'x'}, StateError, 'state:1:1: expected a list of profiles'),
        ({'vm_specs': None}, MissingFile, "profile 'vm' has quota but no spec: .*vm.specs"),
        ({'vm_specs': '[('}, SpecError, r'vm.specs:1:2: .*never closed'),
        (
            {'vm_configure': None},
            MissingFile,
            "'vm' has quota but no configure script: .*configure",
        ),
        (
            {'vm_configure': 'x = 1\nprint "old"'},
            ConfigureError,
            'vm.configure:2:1: not Python 3: ',
        ),
        ({'vm_cmdb': ''}, CmdbError, 'vm.cmdb: the file is empty'),
        ({'vm_cmdb': '[7]'}, CmdbError, 'vm.cmdb:1:2: expected an entry'),
    ],
)
def test_a_broken_file_stops_the_selection(make, changes, error, message: str) -> None:
    """Never silently the next profile."""
    others = {'ok_specs': '[]', 'ok_configure': 'pass'}
    world = lab(make, **{'state': "[('vm', 1), ('ok', 1)]", **others, **changes})
    before = dict(world.texts())
    with pytest.raises(error, match=message):
        world.upload(machine(1))
    assert world.texts() == before


def test_giving_up_never_lets_the_next_profile_have_the_machine(make) -> None:
    rules = [('disk', f'$a{i}', f'$b{i}', f'$c{i}') for i in range(41)]
    disks = [('disk', f'sd{i}', 'size', '1') for i in range(40)]
    world = lab(
        make, state="[('hard', 1), ('vm', 1)]", hard_specs=repr(rules), hard_configure='pass'
    )
    try:
        assert world.upload(Inventory.of(disks)).profile is None
    except SearchLimitExceeded as gave_up:
        assert str(gave_up).startswith("profile 'hard': gave up after")


# The store of files.


def test_the_inventory_is_saved_under_the_machines_name(empty: Deployment) -> None:
    with empty.store.transaction() as world:
        world.save(machine(1))
    saved = (empty.hw / 'SERIAL1-02-00-00-00-00-01.hw').read_text()
    assert Inventory.parse(saved) == machine(1)


def files_lab(empty: Deployment) -> World:
    empty.write(state="[('vm', 2)]", vm_specs=VM, vm_configure='pass', vm_cmdb=HOSTS)
    return World(empty.store, empty.texts)


def test_files_keep_their_mode_and_links(empty: Deployment) -> None:
    world = files_lab(empty)
    kept = empty.root / 'elsewhere'
    (empty.config / 'state').rename(kept)
    kept.chmod(0o640)
    (empty.config / 'state').symlink_to(kept)
    world.upload(machine(1))
    assert (empty.config / 'state').is_symlink()
    assert kept.read_text() == "[('vm', 1)]"
    assert kept.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(empty.config)) == ['state', 'vm.cmdb', 'vm.configure', 'vm.specs']


def test_sections_are_separate_worlds_in_one_ledger(empty: Deployment) -> None:
    world = files_lab(empty)
    world.upload(machine(1))
    other = FileStore(empty.settings._replace(section='OTHER'))
    again = World(other, empty.texts).upload(machine(1))
    assert again.variables['host'] == 'h1'
    assert empty.texts()['state'] == "[('vm', 0)]"


def test_what_a_crash_left_unwritten_is_written_by_the_next(empty: Deployment) -> None:
    """A holder that dies right behind the commit of the ledger."""
    world = files_lab(empty)
    before = empty.texts()
    crash(empty)
    assert empty.texts() == {**before, '.vm.cmdb.new': empty.texts()['.vm.cmdb.new'],
                             '.state.new': empty.texts()['.state.new']}  # fmt: skip
    assert world.upload(machine(2)).variables['host'] == 'h2'
    assert empty.texts()['state'] == "[('vm', 0)]"
    assert world.upload(machine(1)).variables['host'] == 'h1'
    assert sorted(os.listdir(empty.config)) == ['state', 'vm.cmdb', 'vm.configure', 'vm.specs']


CRASH = """
import os, sys
sys.path.insert(0, 'tests')
from test_store import World, machine
from edeploylib.settings import Settings
from edeploylib.store import FileStore
sys.addaudithook(lambda event, args: event == 'os.rename' and os._exit(9))
World(FileStore(Settings.load(sys.argv[1])), dict).upload(machine(1))
"""


def crash(empty: Deployment) -> None:
    """An upload of machine 1 that dies between the commit and the files."""
    done = subprocess.run(
        [sys.executable, '-c', CRASH, empty.conf], cwd=Path(__file__).parent.parent, check=False
    )
    assert done.returncode == 9


def test_what_is_edited_after_a_crash_is_kept(
    empty: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what is as the dead upload found it is written."""
    world = files_lab(empty)
    crash(empty)
    empty.write(state="[('vm', 100)]  # by hand")
    assert world.upload(machine(2)).variables['host'] == 'h2'
    assert empty.texts()['state'] == "[('vm', 99)]  # by hand"
    assert 'edited after a crash' in caplog.text


def test_a_folder_that_has_gone_after_a_crash_stops_nobody(empty: Deployment) -> None:
    files_lab(empty)
    crash(empty)
    empty.config.rename(empty.root / 'other')
    empty.configure(CONFIGDIR=str(empty.root / 'other'))
    assert World(empty.store, dict).upload(machine(2)).variables['host'] == 'h2'


def test_an_edit_in_the_moment_of_the_commit_is_not_lost(empty: Deployment) -> None:
    files_lab(empty)
    with empty.store.transaction() as world:
        decision = select(machine(1), world)
        empty.write(state="[('vm', 100)]")
        with pytest.raises(EditedMeanwhile, match='state was edited while this was'):
            world.commit(decision)
    assert empty.texts()['state'] == "[('vm', 100)]"
    answer = install(machine(1), empty.store, empty.settings)
    assert answer.decision.profile == 'vm'
    assert empty.texts()['state'] == "[('vm', 99)]"


def test_a_lock_file_that_is_deleted_keeps_others_out_still(empty: Deployment) -> None:
    files_lab(empty)
    given_ = []

    def upload() -> None:
        given_.append(World(empty.store, dict).upload(machine(2)).variables['host'])

    other = threading.Thread(target=upload)
    with empty.store.transaction() as world:
        decision = select(machine(1), world)
        (empty.root / 'lock').unlink()
        other.start()
        time.sleep(0.2)
        world.commit(decision)
    other.join()
    assert (decision.variables['host'], given_) == ('h1', ['h2'])


def test_an_original_keeps_the_mode_and_is_never_overwritten(empty: Deployment) -> None:
    world = files_lab(empty)
    empty.write(vm_cmdb="generate({'host': 'h1-2'})  # secret")
    (empty.config / 'vm.cmdb').chmod(0o600)
    world.upload(machine(1))
    first = empty.config / 'vm.cmdb.orig'
    assert first.stat().st_mode & 0o777 == 0o600
    text = empty.texts()['vm.cmdb'].strip()
    empty.write(vm_cmdb=f"{text} + generate({{'host': 'h3-4'}})")
    world.upload(machine(2))
    assert first.read_text() == "generate({'host': 'h1-2'})  # secret"
    assert 'h3-4' in (empty.config / 'vm.cmdb.orig.2').read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root: only it makes files for others')
def test_what_root_makes_belongs_to_the_folders_owner(empty: Deployment) -> None:
    """So that the web server can go on with it."""
    for folder in (empty.root, empty.hw):
        os.chown(folder, 65534, 65534)
    files_lab(empty)
    install(machine(1), empty.store, empty.settings)
    made = [empty.root / 'lock', *empty.hw.iterdir()]
    assert len(made) == 3
    assert {path.stat().st_uid for path in made} == {65534}


def test_a_holder_of_the_lock_is_named_to_those_who_wait(empty: Deployment) -> None:
    files_lab(empty)
    impatient = FileStore(empty.settings._replace(lock_timeout=0.2))
    with empty.store.transaction('10.0.0.7'):
        with pytest.raises(LockTimeout) as refused, impatient.transaction():
            pass
    assert f'not free within 0.2 s: held by pid {os.getpid()} for 10.0.0.7 since 20' in str(
        refused.value
    )


def test_who_waits_gets_the_lock_when_it_is_free(empty: Deployment) -> None:
    """And one who gave up does not keep it."""
    files_lab(empty)
    order = []

    def wait(timeout: float, name: str) -> None:
        try:
            with FileStore(empty.settings._replace(lock_timeout=timeout)).transaction():
                order.append(name)
        except LockTimeout:
            order.append(f'{name} gave up')

    with empty.store.transaction():
        early = threading.Thread(target=wait, args=(0.1, 'early'))
        late = threading.Thread(target=wait, args=(60, 'late'))
        early.start()
        early.join()
        late.start()
        time.sleep(0.1)
        order.append('holder')
    late.join()
    assert order == ['early gave up', 'holder', 'late']


def test_many_processes_never_share_an_entry(empty: Deployment) -> None:
    hosts = repr([{'host': f'h{n}'} for n in range(12)])
    empty.write(state="[('vm', 10)]", vm_specs=VM, vm_configure='pass', vm_cmdb=hosts)
    child = (
        'import sys; sys.path.insert(0, "tests")\n'
        'from test_store import World, machine\n'
        'from edeploylib.settings import Settings\n'
        'from edeploylib.store import FileStore\n'
        'world = World(FileStore(Settings.load(sys.argv[1])), dict)\n'
        'for n in range(*map(int, sys.argv[2:])):\n'
        '    print(n, world.upload(machine(n)).variables.get("host"), flush=True)\n'
    )
    children = [
        subprocess.Popen(
            [sys.executable, '-c', child, empty.conf, str(first), str(first + 5)],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (1, 4, 7, 10)
    ]
    answers = [line for one in children for line in one.communicate()[0].splitlines()]
    assert len(answers) == 20
    by_machine = dict(line.split() for line in answers)
    assert len(set(answers)) == len(by_machine) == 14
    hosts_given = [host for host in by_machine.values() if host != 'None']
    assert len(hosts_given) == len(set(hosts_given)) == 10
    assert empty.texts()['state'] == "[('vm', 0)]"


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'HWDIR': '/nonexistent', 'LEDGER': 'ledger'}, 'cannot write /nonexistent/'),
        (
            {'LOCKFILE': '/nonexistent/lock'},
            'cannot open the lock file /nonexistent/lock: No such',
        ),
        (
            {'LEDGER': '/nonexistent/ledger'},
            'cannot create the ledger /nonexistent/ledger: No such',
        ),
    ],
)
def test_what_the_server_lacks_is_named(empty: Deployment, changes, message: str) -> None:
    files_lab(empty)
    empty.configure(**changes)
    with pytest.raises(StoreError, match=message), empty.store.transaction() as world:
        world.save(machine(1))


def test_a_ledger_that_is_none_is_an_error_and_not_an_empty_one(empty: Deployment) -> None:
    world = files_lab(empty)
    (empty.hw / 'ledger.sqlite').write_text(
        'this is no database, but long enough to be looked at' * 9
    )
    with pytest.raises(StoreError, match='ledger.sqlite: file is not a database'):
        world.upload(machine(1))


def test_a_ledger_of_a_newer_version_is_left_alone(empty: Deployment) -> None:
    world = files_lab(empty)
    world.upload(machine(1))
    with sqlite3.connect(empty.hw / 'ledger.sqlite') as db:
        db.execute('PRAGMA user_version = 99')
    db.close()
    with pytest.raises(StoreError, match='expected a ledger of version 1, found 99'):
        world.upload(machine(1))


def test_an_unreadable_file_is_an_error_and_not_a_missing_one(empty: Deployment) -> None:
    world = files_lab(empty)
    (empty.config / 'vm.cmdb').unlink()
    (empty.config / 'vm.cmdb').mkdir()
    with pytest.raises(EdeployError, match='cannot read .*vm.cmdb: Is a directory'):
        world.upload(machine(1))
    assert json.loads(empty.texts()['state'].replace('(', '[').replace(')', ']').replace("'", '"'))


def test_a_file_is_parsed_once_while_it_is_the_same(empty: Deployment) -> None:
    """Only when its last change is so old that the next would be seen."""
    files_lab(empty)
    spec = empty.config / 'vm.specs'
    settled = time.time() + 3
    while time.time() < settled:
        with empty.store.transaction() as world:
            first = world.spec('vm')
        time.sleep(0.25)
    with empty.store.transaction() as world:
        assert world.spec('vm') is first
    spec.write_text(VM.replace('4', '5'))
    with empty.store.transaction() as world:
        changed = world.spec('vm')
        assert changed is not first
        assert changed == Spec.parse(VM.replace('4', '5'))


@pytest.mark.parametrize('replace', [False, True], ids=['in place', 'renamed'])
def test_a_changed_file_is_seen_at_once(empty: Deployment, replace: bool) -> None:
    """Though size and, as some tools leave it, time of change are the same."""
    files_lab(empty)
    spec = empty.config / 'vm.specs'
    for number in range(300):
        text = VM.replace('4', str(number % 10))
        if replace:
            (empty.config / 'new').write_text(text)
            (empty.config / 'new').rename(spec)
        else:
            spec.write_text(text)
        os.utime(spec, (1_000_000_000, 1_000_000_000))
        with empty.store.transaction() as world:
            assert world.spec('vm').rules[0].value.text == f'gt({number % 10})'


def as_text(content: str | bytes, origin: str) -> bytes:
    return bytes(content)


def test_a_file_that_changes_within_a_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    """In place, with the same size, faster than times of change tell apart."""
    path = tmp_path / 'file'
    for number in range(3000):
        path.write_text(f'{number:04}')
        found = parsed(str(path), as_text)
        assert found.value == b'%04d' % number


def test_who_gets_a_lock_file_that_was_deleted_takes_the_new_one(tmp_path: Path) -> None:
    """Else the next would hold another of the same name."""
    path = tmp_path / 'lock'
    excluded = []

    def wait() -> None:
        with locked(str(path), 60, 'the one who waits'):
            try:
                with locked(str(path), 0.1, 'the next'):
                    excluded.append(False)
            except LockTimeout:
                excluded.append(True)

    waiting = threading.Thread(target=wait)
    with locked(str(path), 60, 'the first'):
        waiting.start()
        time.sleep(0.3)
        path.unlink()
    waiting.join()
    assert excluded == [True]


def test_a_lock_names_its_holder_only_while_that_holds_it(samples: Deployment) -> None:
    """Who waits for somebody else is not told of one that has gone."""
    samples.configure(LOCKTIMEOUT='0.1')
    with samples.store.transaction('10.0.0.9'):
        pass
    with open(samples.root / 'lock') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockTimeout, match='held by another$'), samples.store.transaction():
            pass


def test_who_gives_up_on_a_lock_leaves_nothing_for_ever(samples: Deployment) -> None:
    """A server whose lock hangs keeps its threads and descriptors."""
    samples.configure(LOCKTIMEOUT='0.001')
    with open(samples.root / 'lock', 'w') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for _ in range(150):
            with pytest.raises(LockTimeout), samples.store.transaction():
                pass
        assert threading.active_count() < 80
        assert len(os.listdir('/proc/self/fd')) < 150
    samples.configure(LOCKTIMEOUT='20')
    with samples.store.transaction():
        pass


def test_a_profile_that_is_renamed_keeps_its_entries_as_they_are(empty: Deployment) -> None:
    """A machine that comes again takes a unit of the new name, and frees nothing."""
    empty.write(
        state="[('vm', 1)]",
        vm_specs='[]',
        vm_configure='pass',
        vm_cmdb="[{'host': 'h1'}, {'host': 'h2'}]",
    )
    install(machine(1), empty.store, empty.settings)
    text = empty.texts()['vm.cmdb']
    assert "'used': 1" in text
    for kind in ('specs', 'configure', 'cmdb'):
        (empty.config / f'vm.{kind}').rename(empty.config / f'node.{kind}')
    empty.write(state="[('node', 1)]")
    again = install(machine(1), empty.store, empty.settings).decision
    assert again.variables['host'] == 'h1'
    assert empty.texts()['node.cmdb'] == text
    assert empty.texts()['state'] == "[('node', 0)]"


def test_two_serials_of_one_machine_are_told(empty: Deployment) -> None:
    """It is the machine that the UUID names; but it may be two boxes that share it."""
    empty.write(state="[('vm', '*')]", vm_specs='[]', vm_configure='pass')
    facts = [('system', 'product', 'uuid', '4c4c4544-0042-3510-8050-b7c04f315832')]
    one, two = (
        Inventory.of([*facts, ('system', 'product', 'serial', serial)]) for serial in ('A1', 'B2')
    )
    assert install(one, empty.store, empty.settings).warnings == ()
    (warning,) = install(two, empty.store, empty.settings).warnings
    assert "has serial '/B2' too, beside serial '/A1': one box?" in warning
    assert install(two, empty.store, empty.settings).warnings == ()


def test_what_could_not_be_decided_is_in_the_journal(empty: Deployment) -> None:
    """A rack that stays dark is to be seen from the desk."""
    empty.write(state="[('vm', 1)]", vm_specs='[')
    with pytest.raises(SpecError):
        install(machine(1), empty.store, empty.settings)
    with closing(Records(empty.settings.ledger, 'SERVER')) as records:
        (refusal,) = records.last_words()
    assert refusal.name == machine(1).sysname
    assert 'vm.specs:1:1: not a Python literal' in refusal.reasons[0]


def test_a_cmdb_that_comes_back_has_its_holders_still(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    text = world.texts()['vm.cmdb']
    world.write('vm.cmdb', None)
    assert 'host' not in world.upload(machine(1)).variables
    world.write('vm.cmdb', text)
    assert world.upload(machine(1)).variables['host'] == 'h1'
    assert world.upload(machine(2)).variables['host'] == 'h2'


def test_machines_of_a_profile_that_is_gone_are_not_told_of_others(make) -> None:
    world = lab(make)
    world.upload(machine(1))
    for kind in ('specs', 'configure'):
        world.write(f'new.{kind}', world.texts()[f'vm.{kind}'])
    world.write('new.cmdb', "[{'host': 'n1'}]")
    world.write('state', "[('new', 2)]")
    assert world.upload(machine(2)).contradictions == ()


def test_a_card_that_goes_to_another_is_in_the_history_of_both(samples: Deployment) -> None:
    samples.write(state="[('rack', 2)]", rack_specs='[]')
    (samples.config / 'rack.cmdb').unlink()
    card = ('network', 'eth0', 'serial', '02:00:00:00:00:01')
    for serial, cards in (('A1', [card]), ('B2', []), ('B2', [card])):
        box = Inventory.of([('system', 'product', 'serial', serial), *cards])
        install(box, samples.store, samples.settings)
    with closing(Records(samples.settings.ledger, 'SERVER')) as records:
        assert records.history(1)[-1].reasons == ("mac '02:00:00:00:00:01' has gone to machine 2",)


def test_an_edit_in_the_moment_of_the_commit_stays(empty: Deployment) -> None:
    """An operator saves the state between the ledger's commit and the file's being written."""
    empty.write(state="[('vm', 2)]", vm_specs='[]', vm_configure='pass', vm_cmdb=HOSTS)

    def edit_then(frame: FrameType, event: str, _: object) -> None:
        if event == 'call' and frame.f_code.co_name == 'publish':
            empty.write(state="[('vm', 100)]  # mine")

    sys.setprofile(edit_then)
    try:
        answer = install(machine(1), empty.store, empty.settings)
    finally:
        sys.setprofile(None)
    assert answer.decision.variables['host'] == 'h1'
    assert empty.texts()['state'] == "[('vm', 100)]  # mine"
    assert "'used': 1" in empty.texts()['vm.cmdb']
    assert install(machine(2), empty.store, empty.settings).decision.variables['host'] == 'h2'
    assert empty.texts()['state'] == "[('vm', 99)]  # mine"
    assert not list(empty.config.glob('.*'))


def test_a_ledger_that_is_put_in_its_place_is_the_ledger(empty: Deployment) -> None:
    """Though a server keeps what it has opened: a restored one, or none."""
    empty.write(state="[('vm', '*')]", vm_specs='[]', vm_configure='pass', vm_cmdb=HOSTS)
    ledger = Path(empty.settings.ledger)
    install(machine(1), empty.store, empty.settings)
    shutil.copy(ledger, ledger.with_suffix('.copy'))
    install(machine(2), empty.store, empty.settings)
    ledger.with_suffix('.copy').rename(ledger)
    with empty.store.transaction() as world:
        assert [world.machine(id) is not None for id in (1, 2)] == [True, False]
    ledger.unlink()
    with empty.store.transaction() as world:
        assert world.machine(1) is None
    assert ledger.exists()


def test_a_transaction_that_is_given_up_leaves_nothing_to_the_next(empty: Deployment) -> None:
    empty.write(state="[('vm', '*')]", vm_specs='[]', vm_configure='pass')
    with pytest.raises(ZeroDivisionError), empty.store.transaction():
        raise ZeroDivisionError
    with sqlite3.connect(empty.settings.ledger, timeout=0.1) as other:
        other.execute('BEGIN IMMEDIATE')
    other.close()
    assert install(machine(1), empty.store, empty.settings).decision.profile == 'vm'
