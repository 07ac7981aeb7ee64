"""``edeployctl plan``, as a process."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import racks
from conftest import INVENTORIES, Deployment
from edeploylib.errors import EdeployError
from edeploylib.inventory import Inventory
from edeploylib.service import install
from test_desk import desk
from test_simulate import box


def plan(deployment: Deployment, *arguments: object) -> tuple[int, str, str]:
    return desk('plan', '--conf', deployment.conf, *arguments)


def answer(deployment: Deployment, *arguments: object) -> Any:
    return json.loads(plan(deployment, *arguments, '--json')[1])


def put(folder: Path, *inventories: Inventory) -> Path:
    folder.mkdir(exist_ok=True)
    for number, inventory in enumerate(inventories):
        (folder / f'{number:03d}.hw').write_text(inventory.render())
    return folder


@pytest.fixture
def lab(empty: Deployment) -> Deployment:
    """Two kinds of disks, and a profile for each; the small ones get an entry."""
    return empty.write(
        state="[('small', 2), ('large', 1)]",
        small_specs="[('disk', '$disk', 'size', 'le(2)'), ('network', '$eth', 'serial', '$mac')]",
        small_configure='print(var)\n',
        small_cmdb="generate({'hostname': 'h1-3', 'ip': '10.0.0.1-3'})",
        large_specs="[('disk', '$disk', 'size', 'gt(2)')]",
        large_configure='print(var)\n',
    )


def test_a_plan_is_what_the_same_uploads_then_get(samples: Deployment, tmp_path: Path) -> None:
    """Forty machines and the samples, some known already, one of them broken."""
    machines = racks.rack(40)
    rack = racks.write(tmp_path / 'rack', machines)
    samples.put('state', "[('blade', 30), ('vm', 1), ('storage', 4), ('rack', 3)]")
    samples.put(
        'blade.specs',
        "[('system', 'product', 'vendor', 'HP'), ('network', '$e', 'serial', '$mac')]",
    )
    samples.put('blade.configure', 'print(var)')
    samples.put('blade.cmdb', "generate({'hostname': 'b1-35', 'vlan': 7})")
    for number in (3, 7):
        install(Inventory.of(machines[number]), samples.store, samples.settings)
    (rack / 'z.hw').write_text('nothing')
    status, out, err = plan(samples, rack, INVENTORIES, '--json')
    found = json.loads(out)
    assert (status, err) == (2, '')
    assert [one['file'] for one in found['broken']] == [str(rack / 'z.hw')]
    assert len(found['machines']) == 43
    for one in found['machines']:
        inventory = Inventory.parse(Path(one['file']).read_bytes())
        try:
            decision = install(inventory, samples.store, samples.settings).decision
        except EdeployError as error:
            assert str(error) == one['error']
            continue
        assert (decision.profile, decision.variables) == (one['profile'], one['variables'])
        assert [r.reason for r in decision.refusals] == [r['reason'] for r in one['refusals']]
    after = answer(samples, rack / 'm001.json')
    assert after['quotas'] == found['quotas']
    assert after['entries'] == found['entries']


def everything_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, b'' if path.is_dir() else path.read_bytes())
        for path in (folder, *folder.rglob('*'))
    }


def test_nothing_is_written_and_nothing_made(lab: Deployment) -> None:
    put(lab.hw, box('S1', 1, 1), box('S2', 9, 2), box('S3', 9, 3))
    before = everything_in(lab.root)
    for option in ([], ['--order', 'any'], ['--feasible'], ['--against', lab.config]):
        plan(lab, *option)
    assert everything_in(lab.root) == before
    install(box('S1', 1, 1), lab.store, lab.settings)
    before = everything_in(lab.root)
    assert answer(lab)['machines'][0]['kept']
    assert everything_in(lab.root) == before


def test_machines_keep_what_they_hold_and_refusals_say_why(lab: Deployment) -> None:
    install(box('S1', 1, 1), lab.store, lab.settings)
    hw = put(lab.root / 'new', box('S1', 1, 1), box('S2', 9, 2), box('S3', 9, 3))
    status, out, err = plan(lab, hw)
    assert (status, err) == (1, '')
    lines = out.splitlines()
    assert lines[1].split() == [
        'S1-02-00-00-00-00-01',
        'small',
        'h1',
        '10.0.0.1',
        'has',
        'it',
        'already',
    ]
    assert lines[3].split() == ['S3-02-00-00-00-00-03', '-', 'refused']
    assert 'no pro' in lines[4]
    assert '  large: its quota is spent' in lines
    assert 'quotas left: small 1, large 0' in lines
    assert 'CMDB entries left: small 2 of 3' in lines
    assert lines[-1] == '2 of 3 machines get a profile: small 1, large 1; 1 refused'


def test_a_configdir_alone_knows_nobody(lab: Deployment) -> None:
    install(box('S1', 1, 1), lab.store, lab.settings)
    hw = put(lab.root / 'new', box('S1', 2, 1))
    status, out, _ = desk('plan', hw, '--configdir', lab.config)
    assert (status, 'h1 10.0.0.1' in out, 'already' in out) == (0, True, False)
    status, out, _ = plan(lab, hw, '--configdir', lab.config)
    assert (status, 'h1 10.0.0.1' in out, 'already' in out) == (0, True, True)
    assert desk('plan', '--configdir', lab.config)[0] == 2
    assert desk('plan', hw, '--configdir', lab.root / 'none') == (
        2,
        '',
        f'no configuration: {lab.root}/none does not exist\n',
    )


def test_one_machine_s_error_is_its_own(lab: Deployment) -> None:
    """A conflict of identity, a profile's broken file, an inventory that cannot be read."""
    hw = put(lab.root / 'new', box('S1', 1, 1), box('S2', 1, 1), box('S3', 9, 3))
    lab.put('large.configure', 'print(')
    (hw / '003.hw').write_text('[')
    status, out, err = plan(lab, hw)
    assert (status, f'{hw}/003.hw:1:2: not JSON' in err) == (2, True)
    assert 'error: this is another machine with a known address' in out
    assert 'large.configure:1:6: not Python 3' in out
    last = '1 of 3 machines get a profile: small 1; 2 errors; 1 broken inventory left out'
    assert out.splitlines()[-1] == last
    (hw / '003.hw').unlink()
    assert plan(lab, hw)[0] == 1
    lab.put('state', 'nothing')
    assert plan(lab, hw)[0] == 2


def test_what_is_told_of_any_order_is_proved_or_seen(lab: Deployment) -> None:
    hw = put(lab.root / 'new', box('S1', 1, 1), box('S2', 9, 2), box('S3', 9, 3))
    status, out, _ = plan(lab, hw, '--order', 'any')
    assert status == 1
    assert 'small             one of 3  proved' in out
    assert 'contested: 2 machines match large, which takes 1' in out
    assert (
        out.splitlines()[-1]
        == '1 of 3 machines get the same in any order; 2 were seen to vary, 0 might'
    )
    found = answer(lab, hw, '--order', 'any')
    assert [one['proved'] for one in found['machines']] == [True, False, False]
    assert [one['outcome'] for one in found['machines'][1]['seen']] == ['profile', 'refused']
    lab.put('state', "[('small', 1), ('large', 2)]")
    assert plan(lab, hw, '--order', 'any')[0] == 0


def test_what_would_change_is_shown_as_a_diff(lab: Deployment, tmp_path: Path) -> None:
    hw = put(lab.root / 'new', box('S1', 1, 1), box('S2', 9, 2))
    other = tmp_path / 'other'
    other.mkdir()
    for name, text in lab.texts().items():
        (other / name).write_text(text)
    assert plan(lab, hw, '--against', other) == (
        0,
        '0 of 2 machines would get another answer\n',
        '',
    )
    (other / 'large.configure').write_text('print(var)\nprint(1)\n')
    status, out, _ = plan(lab, hw, '--against', other, '--diff')
    assert status == 1
    assert 'S2-02-00-00-00-00-02  large    -      +1 -0\n' in out
    assert f'+++ {other}: S2-02-00-00-00-00-02\n' in out
    assert '\n+print(1)\n' in out
    assert out.endswith('1 of 2 machines would get another answer\n')
    (other / 'state').write_text("[('large', 1)]")
    changes = answer(lab, hw, '--against', other)['changes']
    assert [one['profiles'] for one in changes] == [['small', None], ['large', 'large']]
    assert changes[0]['entries'][0]['hostname'] == 'h1'


def test_what_is_in_the_way_is_named(lab: Deployment) -> None:
    hw = put(lab.root / 'new', box('S1', 1, 1), box('S2', 9, 2), box('S3', 9, 3))
    status, out, _ = plan(lab, hw, '--feasible')
    assert status == 1
    assert (
        'can all machines be placed at once? no, at most 2 of 3\n'
        '  2 machines match only large; large takes 1: S2-02-00-00-00-00-02, S3-02-00-00-00-00-03\n'
        'can all quotas be filled at once? no, at most 2 of 3\n'
        '  small wants 2 machines; 1 matches it: S1-02-00-00-00-00-01\n'
    ) in out
    found = answer(lab, hw, '--feasible')
    (crowd,) = found['machines']['bottlenecks']
    assert crowd['limits'] == [{'profile': 'large', 'count': 1, 'label': '', 'is_quota': True}]
    lab.put('large.specs', '[')
    assert 'warning: ' in plan(lab, hw, '--feasible')[2]


def test_a_client_s_text_does_not_reach_the_terminal_raw(lab: Deployment) -> None:
    evil = Inventory.of(
        [('disk', '\x1b[31m', 'size', '1'), ('network', 'e\x1b', 'serial', '02:00:00:00:00:01')]
    )
    lab.put('small.cmdb', "[{'x': 1}]")
    hw = put(lab.root / 'new', evil, box('S2', 1, 2))
    for option in ([], ['--order', 'any'], ['--feasible'], ['--against', lab.config]):
        _, out, err = plan(lab, hw, *option)
        assert '\x1b' not in out + err, option
    assert '\x1b' not in ''.join(desk('learn', hw)[1:])


def test_what_is_in_doubt_is_not_proved(lab: Deployment) -> None:
    """The upload is refused, whichever comes first."""
    one = box('S1', 1, 1)
    install(one, lab.store, lab.settings)
    lab.put(
        'small.cmdb',
        "[{'hostname': 'h1', 'ip': '10.0.0.9', 'used': 1}, "
        "{'hostname': 'h9', 'ip': '10.0.0.1', 'used': 1}]",
    )
    hw = put(lab.root / 'new', one)
    status, out, _ = plan(lab, hw, '--order', 'any')
    assert (status, 'error' in out) == (1, True)
    assert plan(lab, hw, '--feasible')[0] == 1
    with pytest.raises(EdeployError, match='unclear'):
        install(one, lab.store, lab.settings)


def test_a_profile_that_cannot_be_left_is_told(lab: Deployment) -> None:
    one = box('S1', 1, 1)
    install(one, lab.store, lab.settings)
    lab.put('state', "[('small', 2), ('large', 1), ('any', 1)]")
    lab.put('small.specs', "[('disk', '$disk', 'size', 'gt(9)')]")
    lab.put('small.cmdb', '[')
    lab.put('any.specs', '[]')
    lab.put('any.configure', 'print(var)')
    hw = put(lab.root / 'new', one)
    for option in ([], ['--order', 'any']):
        assert plan(lab, hw, *option)[0] == 1
    with pytest.raises(EdeployError, match=r'small\.cmdb'):
        install(one, lab.store, lab.settings)


def test_what_is_no_file_is_not_waited_for(lab: Deployment) -> None:
    """Neither by a plan nor by a check, nor by the uploads that come meanwhile."""
    os.mkfifo(lab.config / 'old.specs')
    hw = put(lab.root / 'new', box('S1', 1, 1))
    os.mkfifo(hw / 'z.json')
    assert plan(lab, hw)[0] == 0
    status, out, _ = desk('check', lab.config)
    assert (status, 'old.specs' in out) == (1, True)


def test_a_name_of_a_file_makes_no_line_of_its_own(lab: Deployment) -> None:
    hw = put(lab.root / 'new')
    (hw / 'a\n12 of 12 machines get a profile\n.json').write_text('nothing')
    status, out, err = plan(lab, hw)
    assert status == 2
    assert '12 of 12 machines get a profile' not in (out + err).splitlines()
    assert '\x1b' not in plan(lab, '--\x1b[31mevil')[2]
