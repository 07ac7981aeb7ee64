"""A simulation of uploads and the same uploads made for real."""

import hashlib
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Deployment
from edeploylib.errors import EdeployError, StoreError
from edeploylib.inventory import Inventory
from edeploylib.service import install, refusal_lines, report_failure
from edeploylib.simulate import Fate, Files, Simulation, simulate
from edeploylib.state import ProfileName
from edeploylib.store.snapshot import Snapshot

SPECS = {
    'tagged': "[('system', 'product', 'serial', '$$tag'), ('disk', '$disk', 'size', 'ge(2)')]",
    'small': "[('disk', '$disk', 'size', 'le(2)'), ('network', '$eth', 'serial', '$mac')]",
    'any': '[]',
    'broken': "[('disk'",
}
CMDBS = {
    'tagged': "[{'tag': 'S1', 'ip': '1'}, {'tag': 'S3', 'ip': '3'}, {'tag': 'S3', 'ip': '4'}]",
    'small': "generate({'host': 'h1-3', 'ip': '10.0.0.1-3'})",
}


def box(serial: str, size: int, mac: int) -> Inventory:
    return Inventory.of(
        [
            ('system', 'product', 'serial', serial),
            ('disk', 'vda', 'size', size),
            ('network', 'eth0', 'serial', f'02:00:00:00:00:{mac:02x}'),
        ]
    )


boxes = st.builds(
    box, st.sampled_from(['S1', 'S2', 'S3', 'S4', 'S5', '']), st.integers(1, 3), st.integers(1, 6)
)
states = st.lists(
    st.tuples(st.sampled_from([*SPECS]), st.sampled_from([0, 1, 2, 3, '*'])),
    unique_by=lambda listed: listed[0],
    max_size=4,
)


def deployed(empty: Deployment, state: list[tuple[str, object]]) -> Deployment:
    empty.put('state', repr(state))
    for name, text in SPECS.items():
        empty.put(f'{name}.specs', text)
        empty.put(f'{name}.configure', 'print(var)')
    for name, text in CMDBS.items():
        empty.put(f'{name}.cmdb', text)
    for path in empty.hw.iterdir():
        path.unlink()
    return empty


def edited(deployment: Deployment, edit: str) -> None:
    """What an operator may do to the files while machines hold entries."""
    texts = deployment.texts()
    if edit == 'free':
        deployment.put('small.cmdb', texts['small.cmdb'].replace("'used': 1", "'note': 1"))
    elif edit == 'swap':
        swapped = texts['tagged.cmdb'].replace("'3'", "'x'").replace("'4'", "'3'")
        deployment.put('tagged.cmdb', swapped)
    elif edit == 'rename':
        for kind in ('specs', 'configure', 'cmdb'):
            deployment.put(f'tiny.{kind}', texts[f'small.{kind}'])
        deployment.put('state', texts['state'].replace('small', 'tiny'))
    elif edit == 'delete':
        deployment.put('small.cmdb', None)


def outcome(fate: Fate) -> object:
    if fate.decision is None:
        return str(fate.error)
    lines = refusal_lines(fate.decision, fate.inventory) if fate.profile is None else []
    return fate.profile, dict(fate.decision.variables), lines


def really(inventory: Inventory, deployment: Deployment) -> object:
    try:
        decision = install(inventory, deployment.store, deployment.settings).decision
    except EdeployError as error:
        return str(error)
    lines = refusal_lines(decision, inventory) if decision.profile is None else []
    return decision.profile, dict(decision.variables), lines


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    state=states,
    known=st.lists(boxes, max_size=3),
    failed=st.sampled_from(['small', 'tagged', 'none']),
    edit=st.sampled_from(['none', 'free', 'swap', 'rename', 'delete']),
    coming=st.lists(boxes, min_size=1, max_size=6),
)
def test_a_simulation_tells_what_the_store_then_does(
    empty: Deployment,
    state: list[tuple[str, object]],
    known: list[Inventory],
    failed: str,
    edit: str,
    coming: list[Inventory],
) -> None:
    """Profiles, entries, refusals and errors, and what is left in the files.

    Whatever is known before, whatever failed, and whatever the operator edits.
    """
    deployment = deployed(empty, state)
    for inventory in known:
        really(inventory, deployment)
    if known:
        with suppress(EdeployError):
            report_failure(known[0], failed, deployment.store, deployment.settings)
    edited(deployment, edit)
    before = deployment.texts()
    files = Files(Snapshot.of(deployment.settings))
    fates, after = simulate(files, coming)
    assert deployment.texts() == before
    assert [outcome(fate) for fate in fates] == [really(one, deployment) for one in coming]
    now = Simulation(Files(Snapshot.of(deployment.settings)))
    assert after.state() == now.state()
    for profile in now.state().quotas:
        assert after.claims(profile) == now.claims(profile)
        ours, theirs = after.cmdb(profile), now.cmdb(profile)
        assert (ours and ours.entries) == (theirs and theirs.entries)


def test_what_is_committed_and_not_yet_in_its_file_counts(empty: Deployment) -> None:
    """As after a kill between the ledger's commit and the renames."""
    deployment = deployed(empty, [('small', 2)])
    before = deployment.texts()
    really(box('S1', 1, 1), deployment)
    after = deployment.texts()
    with sqlite3.connect(deployment.settings.ledger) as ledger:
        for name in ('state', 'small.cmdb'):
            deployment.put(name, before[name])
            base = hashlib.sha256(before[name].encode()).hexdigest()
            row = ('SERVER', str(deployment.config / name), base, after[name].encode())
            ledger.execute('INSERT INTO unwritten VALUES (?, ?, ?, ?)', row)
    ledger.close()
    snapshot = Snapshot.of(deployment.settings)
    assert snapshot.texts['state'] == after['state'].encode()
    (fate,), _ = simulate(Files(snapshot), [box('S2', 1, 2)])
    assert fate.entry and fate.entry['host'] == 'h2'
    deployment.put('state', "[('small', 7)]  # edited since")
    assert b'7' in bytes(Snapshot.of(deployment.settings).texts['state'])  # type: ignore[arg-type]


def test_a_snapshot_makes_no_ledger(empty: Deployment) -> None:
    deployment = deployed(empty, [('any', 1)])
    assert Snapshot.of(deployment.settings).machines == ()
    assert not Path(deployment.settings.ledger).exists()
    Path(deployment.settings.ledger).write_bytes(b'')
    assert Snapshot.of(deployment.settings).machines == ()
    really(box('S1', 1, 1), deployment)
    with sqlite3.connect(deployment.settings.ledger) as ledger:
        ledger.execute('PRAGMA user_version = 9')
    ledger.close()
    with pytest.raises(StoreError, match='expected a ledger of version 1, found 9'):
        Snapshot.of(deployment.settings)
    Path(deployment.settings.ledger).write_bytes(b'no ledger' * 1000)
    with pytest.raises(StoreError, match='file is not a database'):
        Snapshot.of(deployment.settings)


def test_a_snapshot_among_uploads_is_of_one_instant(empty: Deployment) -> None:
    """What is left and what is held add up, whenever it is taken."""
    deployment = deployed(empty, [('small', 3), ('any', 30)])
    failures = []

    def upload() -> None:
        failures.extend(
            error
            for number in range(20)
            if not isinstance(error := really(box(f'M{number}', 2, number), deployment), tuple)
        )

    uploads = threading.Thread(target=upload)
    uploads.start()
    taken = 0
    while uploads.is_alive() or not taken:
        world = Simulation(Files(snapshot := Snapshot.of(deployment.settings)))
        left = sum(int(quota) for quota in world.state().quotas.values())
        assert left + len(snapshot.assignments) == 33
        cmdb = world.cmdb(ProfileName('small'))
        assert cmdb is not None
        held = cmdb.holders(world.claims(ProfileName('small'))).held
        used = [index for index, entry in enumerate(cmdb.entries) if entry.get('used')]
        assert sorted(held) == used
        taken += 1
    uploads.join()
    assert failures == []
