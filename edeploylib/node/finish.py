"""What makes a tree on a disk a system of its own: files, fstab, boot loader."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edeploylib.node.log import Failure, Log
from edeploylib.node.params import Params
from edeploylib.node.roles import Choice

# What programs in the new system find of the running one.
_BOUND = ('dev', 'proc', 'sys', 'run')

_ON_DISKS = {'btrfs', 'exfat', 'ext2', 'ext3', 'ext4', 'f2fs', 'jfs', 'vfat', 'xfs'}

# What of a mount's options is the operator's will, and not the kernel's way to say a default.
_WILL = re.compile(
    'subvol=.+|ro|noexec|nosuid|nodev|noatime|nodiratime|discard|compress.*|[upg]?r?j?quota|acl'
)


class Mount(NamedTuple):
    """A line of ``/proc/self/mounts``."""

    device: str
    place: str
    kind: str
    options: str = ''


def parse_mounts(text: str) -> list[Mount]:
    rows = (line.split(' ') for line in text.splitlines())
    return [
        Mount(_plain(row[0]), _plain(row[1]), row[2], row[3] if len(row) > 3 else '')
        for row in rows
        if len(row) > 2
    ]


def _plain(word: str) -> str:
    return re.sub(r'\\([0-7]{3})', lambda found: chr(int(found[1], 8)), word)


def mounts_below(chroot: Path, mounts: Iterable[Mount]) -> list[Mount]:
    """The file systems of the new system, the outer ones first; the last on a place counts."""
    last = {
        mount.place: mount
        for mount in mounts
        if mount.place == str(chroot) or mount.place.startswith(f'{chroot}/')
        if mount.kind in _ON_DISKS
    }
    return [last[place] for place in sorted(last)]


def check_target(chroot: Path, mounts: Iterable[Mount], is_efi: bool) -> None:
    """Raises Failure if the configure script left no place for the tree."""
    places = [mount.place for mount in mounts_below(chroot, mounts)]
    if str(chroot) not in places:
        raise Failure(f'nothing is mounted at {chroot}: the configure script is to do that')
    if is_efi and f'{chroot}/boot/efi' not in places:
        raise Failure(
            f'the machine has booted by UEFI, and nothing is mounted at {chroot}/boot/efi: '
            'the configure script is to make an EFI system partition'
        )


def fstab(chroot: Path, mounts: Iterable[Mount], uuids: dict[str, str], swaps: str = '') -> str:
    """A line for each file system below the chroot and each swap in ``/proc/swaps``."""
    lines = []
    for mount in mounts_below(chroot, mounts):
        place = mount.place.removeprefix(str(chroot)) or '/'
        order = 1 if place == '/' else 0 if mount.kind == 'vfat' else 2
        options = 'errors=remount-ro' if mount.kind.startswith('ext') else 'defaults'
        options = 'umask=0077' if mount.kind == 'vfat' else options
        wanted = [word for word in mount.options.split(',') if _WILL.fullmatch(word)]
        options = ','.join([options, *wanted])
        shown = place.replace('\\', '\\134').replace(' ', '\\040').replace('\t', '\\011')
        lines.append(f'{_by_uuid(mount.device, uuids)} {shown} {mount.kind} {options} 0 {order}')
    for row in swaps.splitlines()[1:]:
        device = row.split()[0]
        if device.startswith(f'{chroot}/'):
            device = device.removeprefix(str(chroot))  # a file of the system to be
        elif not device.startswith('/dev/zram'):
            device = _by_uuid(device, uuids)
        else:
            continue
        lines.append(f'{device} none swap sw 0 0')
    return ''.join(f'{line}\n' for line in ['# Written by edeploy.', *lines])


def _by_uuid(device: str, uuids: dict[str, str]) -> str:
    return f'UUID={uuids[device]}' if uuids.get(device) else device


def root_of(text: str) -> str:
    """The device of the root in an fstab, '' if there is none."""
    rows = (line.split() for line in text.splitlines() if not line.lstrip().startswith('#'))
    return next((row[0] for row in rows if len(row) > 1 and row[1] == '/'), '')


def copy_post_rsync(source: Path, chroot: Path, log: Log) -> None:
    """Lay the configure script's files over the tree, through the tree's own links."""
    if source.is_dir():
        log.run(['rsync', '-aHAX', '--numeric-ids', '--keep-dirlinks', f'{source}/', f'{chroot}/'])


def conf(choice: Choice, params: Params) -> str:
    """``/var/lib/edeploy/conf``: where the system came from, in variables of a shell."""
    values = {
        **choice.settings,
        'SERV': params.serv,
        'HTTP_PORT': params.http_port,
        'HTTP_PATH': params.http_path,
        'SECTION': params.section,
        'HSERV': params.hserv,
        'HSERV_PORT': params.hserv_port,
        'HPATH': params.hpath,
        'RSERV': params.rserv,
        'RSERV_PORT': params.rserv_port,
        'RPATH': params.rpath,
    }
    return ''.join(
        f'{name}={shlex.quote(str(value))}\n' for name, value in values.items() if value != ''
    )


def write_conf(choice: Choice, params: Params, chroot: Path) -> None:
    write(chroot, 'var/lib/edeploy/conf', conf(choice, params))
    if choice.metadata_url:
        # YAML reads a text as JSON writes it.
        source = f'datasource:\n  Ec2:\n    metadata_urls: [{json.dumps(choice.metadata_url)}]\n'
        listed = 'datasource_list: [Ec2]\n'
        write(chroot, 'etc/cloud/cloud.cfg.d/90-edeploy.cfg', listed + source)


def write(chroot: Path, name: str, text: str) -> Path:
    path = _inside(chroot, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')
    return path


def _inside(chroot: Path, name: str) -> Path:
    """A file's place in the new system, whatever links its tree has; raises Failure."""
    path = chroot / name
    if not path.parent.resolve().is_relative_to(chroot.resolve()):
        raise Failure(f'the role has a link at {path.parent} that leads out of it')
    if path.is_symlink():
        path.unlink()
    return path


def write_boot_settings(params: Params, chroot: Path) -> None:
    """The words between ``|`` of the command line, for every kernel that GRUB will start."""
    if params.kept:
        words = ' '.join(params.kept)
        for special in '\\"$`':
            words = words.replace(special, f'\\{special}')
        line = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {words}"\n'
        write(chroot, 'etc/default/grub.d/edeploy.cfg', line)


def grub_commands(disk: str, is_efi: bool) -> list[list[str]]:
    """What installs GRUB, run in the new system.

    For UEFI it goes where firmware looks on any disk, so that the order in which the machine
    boots (the network first, or its disk) stays what the operator has set.
    """
    bios = ['grub-install', '--target=i386-pc', disk]
    efi = ['grub-install', '--target=x86_64-efi', '--efi-directory=/boot/efi', '--removable']
    install = [*efi, '--no-nvram'] if is_efi else bios
    return [install, ['grub-mkconfig', '-o', '/boot/grub/grub.cfg']]


def install_grub(disk: str, is_efi: bool, chroot: Path, log: Log) -> None:
    (chroot / 'boot/grub').mkdir(parents=True, exist_ok=True)
    if not any((chroot / folder / 'grub-install').exists() for folder in ('usr/sbin', 'sbin')):
        raise Failure('the role has no grub-install: it is to have grub2-common')
    if not any((chroot / 'boot').glob('vmlinu[xz]*')):
        raise Failure('the role has no kernel in /boot')
    for command in grub_commands(disk, is_efi):
        log.run(['chroot', chroot, *command], what=shlex.join(command))


@contextmanager
def bound(chroot: Path, log: Log) -> Iterator[None]:
    """The running system's devices and processes, inside the new one."""
    done: list[Path] = []
    try:
        for name in _BOUND:
            place = chroot / name
            place.mkdir(exist_ok=True)
            log.run(['mount', '--rbind', f'/{name}', place])
            log.run(['mount', '--make-rslave', place])
            done.append(place)
        yield
    finally:
        for place in reversed(done):
            log.try_run(['umount', '--recursive', '--lazy', place])


def uuids_of(devices: Sequence[str], log: Log) -> dict[str, str]:
    found = {}
    for device in devices:
        status, last = log.try_run(['blkid', '-s', 'UUID', '-o', 'value', device])
        if status == 0 and last:
            found[device] = last[0].strip()
    return found


def unmount(chroot: Path, log: Log) -> None:
    """Bring all to the disk, so that a power cut is harmless from now on."""
    log.run(['sync'])
    log.try_run(['umount', '--recursive', chroot])


def leave_log(source: Path, chroot: Path) -> None:
    target = _inside(chroot, 'var/log/edeploy.log')
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o600)
