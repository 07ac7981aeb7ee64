"""Blank machines, installed for real: ``tools/test --machines``.

Each scenario is an emulated machine, or two; two run at a time, in the order of the tests, and
what they have left behind is looked at by the tests that name them.
"""

import gzip
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

import machine as emulated
from conftest import ROOT
from edeploylib.cmdb import Cmdb
from edeploylib.state import State
from machine import Built, Machine, Site

pytestmark = pytest.mark.machines

PROFILES = Path(__file__).parent / 'machines' / 'config'

# A machine that is slower than this hangs: other work may share the cores.
PATIENCE = 1200

# What a system is asked after the login.
QUESTIONS = {
    'conf': 'cat /var/lib/edeploy/conf',
    'hostname': 'hostname',
    'addresses': 'ip -brief -4 address',
    'fstab': 'cat /etc/fstab',
    'mounts': 'findmnt --real --noheadings --list --output TARGET,SOURCE,FSTYPE',
    'swaps': 'cat /proc/swaps',
    'cmdline': 'cat /proc/cmdline',
    'log': 'cat /var/log/edeploy.log',
    'cloud': 'cat /etc/cloud/cloud.cfg.d/90-edeploy.cfg',
    'firmware': 'ls /sys/firmware',
    'efi': 'ls /boot/efi/EFI/BOOT',
    'failed': 'systemctl --failed --no-legend',
}


class Run(NamedTuple):
    """What an installation said, and what the system then answered; {} if it has none."""

    site: Site
    machine: Machine
    said: str
    system: dict[str, str]

    def quota(self, profile: str) -> object:
        text = (self.site.config / 'state').read_text()
        return dict(State.parse(text, 'state').quotas)[profile]

    def entry(self, profile: str) -> dict[str, object]:
        """The entry of the CMDB that has the machine's MAC."""
        text = (self.site.config / f'{profile}.cmdb').read_text()
        found = [e for e in Cmdb.parse(text, 'cmdb').entries if e.get('mac') == self.machine.mac]
        assert len(found) == 1, text
        return dict(found[0])

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """Profile and status of all that the ledger knows of the machine."""
        query = (
            'SELECT assignments.profile, assignments.status FROM assignments '
            'JOIN machines ON machines.id = assignments.machine WHERE machines.name LIKE ?'
        )
        with closing(sqlite3.connect(self.site.hw / 'ledger.sqlite')) as ledger:
            return ledger.execute(query, [f'%-{self.machine.serial}-%']).fetchall()


class Farm:
    """The scenarios' runs, two at a time."""

    def __init__(self, built: Built, root: Path) -> None:
        self.built = built
        self.root = root
        self._pool = ThreadPoolExecutor(2)
        self._runs: dict[str, Future[Run]] = {}
        self._sites: dict[str, Site] = {}
        self._lock = threading.Lock()
        self._count = 0

    def start(self, name: str) -> None:
        if name not in self._runs:
            self._runs[name] = self._pool.submit(SCENARIOS[name], self)

    def run(self, name: str) -> Run:
        return self._runs[name].result()

    def site(self, name: str, **files: str) -> Site:
        """The site of that name; its config is the profiles of tests/machines, and these files."""
        with self._lock:
            if name not in self._sites:
                site = self._sites[name] = Site(self.root / name, self.built, PROFILES)
                for file, text in files.items():
                    (site.config / file.replace('_', '.')).write_text(text)
                site.__enter__()
            return self._sites[name]

    def machine(self, site: Site, name: str, **settings: object) -> Machine:
        with self._lock:
            self._count += 1
            return Machine(site, name, number=self._count, cores=1, **settings)  # type: ignore[arg-type]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for site in self._sites.values():
            site.__exit__(None, None, None)


@pytest.fixture(scope='session')
def farm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Farm]:
    for program, package in (
        ('qemu-system-x86_64', 'qemu-system-x86'),
        ('mmdebstrap', 'mmdebstrap'),
        ('rsync', 'rsync'),
        ('cpio', 'cpio'),
        ('zstd', 'zstd'),
    ):
        if not shutil.which(program, path=f'{os.environ["PATH"]}:/usr/sbin:/sbin'):
            reason = f'needs {program}: apt-get install {package}'
            (pytest.fail if os.environ.get('CI') else pytest.skip)(reason)
    if os.geteuid() != 0:
        pytest.skip('needs root, to build trees of files')
    cache = Path(os.environ.get('EDEPLOY_CACHE', ROOT / '.cache'))
    try:
        built = emulated.build(cache, ['lvm'])
    except emulated.MachineError as error:
        (pytest.fail if os.environ.get('CI') else pytest.skip)(str(error))
    farm = Farm(built, tmp_path_factory.mktemp('farm'))
    for item in request.session.items:
        for mark in item.iter_markers('scenario'):
            for name in mark.args:
                farm.start(name)
    try:
        yield farm
    finally:
        farm.close()
        shutil.rmtree(farm.root)


@pytest.fixture
def runs(request: pytest.FixtureRequest, farm: Farm) -> list[Run]:
    return [farm.run(name) for mark in request.node.iter_markers('scenario') for name in mark.args]


@pytest.fixture
def run(runs: list[Run]) -> Run:
    (only,) = runs
    return only


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.scenario(*names)


# The scenarios


def installed(machine: Machine, **parameters: str) -> Run:
    """Install a machine, turn it on again, and ask its system."""
    site = machine.site
    given = site.parameters(**parameters) + ' | edeploy.kept=1 |'
    with machine.boot(given) as console:
        said = console.wait(PATIENCE)
    assert 'ONSUCCESS=reboot: starting again' in said, said[-4000:]
    with machine.boot(given) as console:
        console.log_in(PATIENCE)
        system = {name: console.ask(question) for name, question in QUESTIONS.items()}
    return Run(site, machine, said, system)


def refused(machine: Machine, **parameters: str) -> Run:
    """Boot a machine that will not be installed."""
    with machine.boot(machine.site.parameters(**parameters)) as console:
        said = console.wait(PATIENCE)
    return Run(machine.site, machine, said, {})


def by_rsync(farm: Farm) -> Run:
    return installed(farm.machine(farm.site('main'), 'rsync'))


def by_http(farm: Farm) -> Run:
    site = farm.site('main')
    return installed(farm.machine(site, 'http'), **site.by_http)


def uefi(farm: Farm) -> Run:
    return installed(farm.machine(farm.site('main'), 'uefi', uefi=True))


def two_disks(farm: Farm) -> Run:
    site = farm.site('main')
    return installed(farm.machine(site, 'two', product='edeploy_two', disks=(4, 6)))


def lvm(farm: Farm) -> Run:
    return installed(farm.machine(farm.site('main'), 'lvm', product='edeploy_lvm'))


def unknown(farm: Farm) -> Run:
    """It comes by pxelinux, the others by iPXE."""
    machine = farm.machine(farm.site('unknown'), 'unknown', product='toaster', pxelinux=True)
    return refused(machine, ONFAILURE='reboot')


def exhausted(farm: Farm) -> Run:
    """With a shell at the end, that is tried."""
    site = farm.site('exhausted', vm_cmdb="[{'hostname': 'node1', 'used': 1}]\n")
    machine = farm.machine(site, 'exhausted')
    with machine.boot(site.parameters(ONFAILURE='console')) as console:
        said = console.expect('ONFAILURE=console: a shell is on the console', PATIENCE)
        console.expect('# ', PATIENCE)
        shell = console.ask('test -s /hw.json && echo it is here', PATIENCE)
    return Run(site, machine, said, {'shell': shell})


def away(farm: Farm) -> Run:
    """The server is away for 20 s; then the configure script fails."""
    site = farm.site('away', vm_configure="run('echo no such controller; exit 7')\n")
    site.stop_service()
    machine = farm.machine(site, 'away')
    with machine.boot(site.parameters()) as console:
        console.expect('no answer from', PATIENCE)
        threading.Event().wait(20)
        site.start_service()
        said = console.wait(PATIENCE)
    return Run(site, machine, said, {})


def missing(farm: Farm) -> Run:
    configure = (PROFILES / 'vm.configure').read_text().replace("'base'", "'bsae'")
    return refused(farm.machine(farm.site('missing', vm_configure=configure), 'missing'))


def damaged(farm: Farm) -> Run:
    """The archive is a small one, and other than its checksum says."""
    configure = (PROFILES / 'vm.configure').read_text().replace("'base'", "'damaged'")
    site = farm.site('damaged', vm_configure=configure)
    folder = site.root / 'files/install'
    folder.mkdir(parents=True)
    archive = folder / 'damaged-D12-F.1.0.0.edeploy'
    tree = site.root / 'tree/etc'
    tree.mkdir(parents=True)
    shutil.make_archive(str(archive), 'gztar', tree.parent)
    Path(f'{archive}.tar.gz').rename(archive)
    Path(f'{archive}.sha256').write_text(f'{"0" * 64}  {archive.name}\n')
    return refused(farm.machine(site, 'damaged'), **site.by_http)


SCENARIOS: dict[str, Callable[[Farm], Run]] = {
    scenario.__name__: scenario
    for scenario in (
        by_rsync, by_http, uefi, two_disks, lvm, unknown, exhausted, away, missing, damaged,
    )
}  # fmt: skip


# What an installation leaves behind


def check(run: Run, profile: str, role: str = 'base') -> None:
    """What holds of every machine that was installed, on it and on the server."""
    entry = run.entry(profile)
    conf = dict(line.split('=', 1) for line in run.system['conf'].splitlines())
    assert (conf['ROLE'], conf['VERS'], conf['PROFILE']) == (role, 'D12-F.1.0.0', profile)
    assert run.system['hostname'].strip() == entry['hostname']
    assert f'{entry["ip"]}/24' in run.system['addresses']
    assert 'edeploy.kept=1' in run.system['cmdline']
    assert f'profile {profile}' in run.system['log']
    assert 'metadata_urls' in run.system['cloud']
    assert run.system['failed'] == ''
    assert entry['used'] == 1
    assert run.statuses == [(profile, 'installing')]
    (hardware,) = run.site.hw.glob(f'*-{run.machine.serial}-*.hw')
    assert f"'{run.machine.mac}'" in hardware.read_text()
    assert '/localboot/ 200' in run.site.requests


@of('by_rsync')
def test_a_blank_machine_installs_its_role_by_rsync(run: Run) -> None:
    check(run, 'vm')
    assert 'fetching role base D12-F.1.0.0 by rsync' in run.said
    assert 'UUID=' in run.system['fstab']
    assert '/dev/vda3 ext4' in ' '.join(run.system['mounts'].split())
    assert b'GRUB' in run.machine.boot_sector
    assert 'efi' not in run.system['firmware'].split()


@of('by_http')
def test_a_blank_machine_installs_its_role_by_http(run: Run) -> None:
    check(run, 'vm')
    assert 'fetching role base D12-F.1.0.0 by HTTP' in run.said
    assert '/install/D12-F.1.0.0/base-D12-F.1.0.0.edeploy 200' in run.site.requests


@of('by_rsync', 'by_http')
def test_two_machines_at_once_get_two_entries(runs: list[Run]) -> None:
    hosts = {run.system['hostname'].strip() for run in runs}
    assert len(hosts) == 2
    assert hosts < {'node1', 'node2', 'node3'}


@of('uefi')
def test_a_blank_machine_with_uefi_is_installed(run: Run) -> None:
    check(run, 'vm')
    assert 'efi' in run.system['firmware'].split()
    assert 'BOOTX64.EFI' in run.system['efi'].upper()
    assert '/boot/efi vfat' in run.system['fstab']


@of('two_disks')
def test_a_second_disk_has_var(run: Run) -> None:
    check(run, 'two')
    assert '/var /dev/vdb1 ext4' in ' '.join(run.system['mounts'].split())
    assert ' /var ext4' in run.system['fstab']


@of('lvm')
def test_the_root_is_a_logical_volume(run: Run) -> None:
    check(run, 'lvm', 'lvm')
    assert '/ /dev/mapper/system-root ext4' in ' '.join(run.system['mounts'].split())
    assert 'partition' in run.system['swaps']
    assert 'Written by edeploy' not in run.system['fstab']


@of('by_rsync', 'by_http', 'uefi', 'two_disks', 'lvm')
def test_each_machine_has_used_up_one_unit(runs: list[Run]) -> None:
    assert [runs[0].quota(profile) for profile in ('two', 'lvm', 'vm')] == [0, 0, 0]


@of('by_rsync')
def test_the_log_is_saved_on_the_server(run: Run) -> None:
    (log,) = run.site.logs.glob(f'*-{run.machine.serial}-*.log.gz')
    assert 'edeploy: installed' in gzip.decompress(log.read_bytes()).decode()


# Refusals


@of('unknown')
def test_a_machine_that_no_profile_takes_is_left_alone(run: Run) -> None:
    assert 'no profile can take toaster-' in run.said
    assert 'the rule wants' in run.said
    assert 'ONFAILURE=reboot: starting again' in run.said
    assert run.machine.is_blank
    assert run.quota('vm') == 3


@of('exhausted')
def test_a_machine_for_which_the_cmdb_has_no_entry_is_left_alone(run: Run) -> None:
    assert 'no entry left: 1 of 1 used' in run.said
    assert run.machine.is_blank
    assert run.quota('vm') == 3


@of('exhausted')
def test_a_failed_machine_gives_a_shell_if_it_is_to(run: Run) -> None:
    assert 'it is here' in run.system['shell']


@of('away')
def test_a_server_that_is_away_for_a_while_is_waited_for(run: Run) -> None:
    assert 'no answer from' in run.said
    assert 'edeploy: profile vm' in run.said


@of('away')
def test_a_configure_script_that_fails_gives_the_quota_back(run: Run) -> None:
    assert 'no such controller' in run.said
    assert 'FAILED: the configure script of profile vm failed with status 7' in run.said
    assert 'ONFAILURE=halt: turning off' in run.said
    assert run.machine.is_blank
    assert run.quota('vm') == 3
    assert run.statuses == [('vm', 'failed')]


@of('missing')
def test_a_role_that_the_server_lacks_gives_the_quota_back(run: Run) -> None:
    assert '/install/D12-F.1.0.0/bsae/ cannot be copied' in run.said
    assert 'No such file or directory' in run.said
    assert 'ONFAILURE=halt: turning off' in run.said
    assert run.quota('vm') == 3


@of('damaged')
def test_an_archive_with_another_checksum_gives_the_quota_back(run: Run) -> None:
    assert 'damaged-D12-F.1.0.0.edeploy is damaged: its checksum is' in run.said
    assert 'ONFAILURE=halt: turning off' in run.said
    assert run.quota('vm') == 3
    assert b'GRUB' not in run.machine.boot_sector
