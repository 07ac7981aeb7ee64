"""What eDeploy's own guide says of its examples is what happens."""

from edeploylib.cmdb import Cmdb
from edeploylib.inventory import Inventory
from edeploylib.select import Decision, select
from edeploylib.store import MemoryStore

SPECS = """[
    ('disk', '$disk', 'size', 'gt(4)'),
    ('network', '$eth', 'ipv4', 'network(192.168.122.0/24)'),
    ('network', '$eth', 'serial', '$mac'),
]
"""
CMDB = """[
 {'ip': '192.168.122.3', 'hostname': 'host03'},
 {'ip': '192.168.122.4', 'hostname': 'host04'},
 {'ip': '192.168.122.5', 'hostname': 'host05'},
 {'ip': '192.168.122.6', 'hostname': 'host06'},
 {'ip': '192.168.122.7', 'hostname': 'host07'}
]
"""
TAGGED = """[
 ('system', 'product', 'serial', '$$tag'),
 ('network', '$eth', 'serial', '$mac'),
]
"""


def upload(store: MemoryStore, mac: str, *more: tuple[object, ...]) -> Decision:
    inventory = Inventory.of(
        [
            ('disk', 'vda', 'size', '10'),
            ('network', 'eth0', 'ipv4', '192.168.122.57'),
            ('network', 'eth0', 'serial', mac),
            *more,
        ]
    )
    with store.transaction() as world:
        decision = select(inventory, world)
        world.commit(decision)
    return decision


def test_hp_takes_four_and_vm_any_number() -> None:
    files = {'state': "[('hp', 4), ('vm', '*')]", 'hp.specs': SPECS, 'vm.specs': SPECS}
    store = MemoryStore({**files, 'hp.configure': '', 'vm.configure': ''})
    profiles = [upload(store, f'02:00:00:00:00:{n:02x}').profile for n in range(8)]
    assert profiles == ['hp'] * 4 + ['vm'] * 4
    assert store.files['state'] == "[('hp', 0), ('vm', '*')]"


def test_an_entry_that_is_used() -> None:
    """The first entry takes the variables and is marked; the others stay."""
    store = MemoryStore(
        {'state': "[('vm', '*')]", 'vm.specs': SPECS, 'vm.configure': '', 'vm.cmdb': CMDB}
    )
    upload(store, '52:54:00:88:17:3c')
    assert Cmdb.parse(store.files['vm.cmdb']).entries == (
        {
            'disk': 'vda',
            'eth': 'eth0',
            'hostname': 'host03',
            'ip': '192.168.122.3',
            'mac': '52:54:00:88:17:3c',
            'used': 1,
        },
        *Cmdb.parse(CMDB).entries[1:],
    )


def test_generate_gives_the_same_list_and_stores_it_in_the_regular_form() -> None:
    text = "generate({'ip': '192.168.122.3-7', 'hostname': 'host03-07'})"
    assert Cmdb.parse(text).entries == Cmdb.parse(CMDB).entries
    store = MemoryStore(
        {'state': "[('vm', '*')]", 'vm.specs': SPECS, 'vm.configure': '', 'vm.cmdb': text}
    )
    upload(store, '52:54:00:88:17:3c')
    assert Cmdb.parse(store.files['vm.cmdb']).entries[1:] == Cmdb.parse(CMDB).entries[1:]


def test_two_dollars_alone_choose_the_entry() -> None:
    """Though MACs and names of interfaces are not known in advance."""
    cmdb = """generate({'tag': ('TAG1', 'TAG2', 'TAG3'),
          'ip': '192.168.122.3-5',
          'hostname': 'host3-5'})"""
    store = MemoryStore(
        {'state': "[('vm', '*')]", 'vm.specs': TAGGED, 'vm.configure': '', 'vm.cmdb': cmdb}
    )
    tag = ('system', 'product', 'serial', 'TAG2')
    decision = upload(store, '52:54:00:88:17:3c', tag)
    assert decision.variables == {
        'tag': 'TAG2',
        'ip': '192.168.122.4',
        'hostname': 'host4',
        'eth': 'eth0',
        'mac': '52:54:00:88:17:3c',
        'used': 1,
    }
    unknown = upload(store, '52:54:00:88:17:3d', ('system', 'product', 'serial', 'TAG9'))
    assert [str(reason) for reason in unknown.refusals] == [
        "vm: its CMDB has no entry for it: no entry has tag='TAG9'"
    ]
