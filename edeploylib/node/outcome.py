"""How an installation ends: ONSUCCESS and ONFAILURE."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from edeploylib.node.finish import root_of
from edeploylib.node.log import Failure, Log
from edeploylib.node.params import Params

# The machine's own ways down; busybox asks the kernel, whatever else runs.
_WAYS = {'reboot': ['busybox', 'reboot', '-f'], 'halt': ['busybox', 'poweroff', '-f']}
_WORDS = {
    'reboot': 'starting again',
    'halt': 'turning off',
    'console': 'a shell is on the console',
    'kexec': 'starting the new kernel',
}


def end(how: str, why: str, log: Log) -> None:
    """Do as the parameter says; a shell that ends starts the machine again."""
    log.step(f'{why}={how}: {_WORDS[how]}')
    if how == 'console':
        shell(log)
        how = 'reboot'
    command = ['kexec', '--exec'] if how == 'kexec' else _WAYS[how]
    subprocess.run(['sync'], check=False)
    status, last = log.try_run(command)
    if status:
        log.step('\n'.join([f'{shlex.join(command)} failed', *last]))
        subprocess.run(_WAYS['reboot'], check=False)


def shell(log: Log, active: Path = Path('/sys/class/tty/console/active')) -> None:
    """A shell on the last console of the kernel's command line."""
    try:
        terminal = f'/dev/{active.read_text().split()[-1]}'
        with open(terminal, 'r+b', buffering=0) as tty:
            command = ['setsid', '--ctty', '--wait', 'bash', '-i']
            subprocess.run(command, stdin=tty, stdout=tty, stderr=tty, check=False)
    except (OSError, IndexError) as error:
        log.step(f'there is no shell: {error}')


def load_kernel(params: Params, chroot: Path, log: Log) -> None:
    """Load the new system's kernel for kexec; raises Failure if it cannot be."""
    kernel = kernel_of(chroot, params.kexec_kernel)
    version = kernel.name.partition('-')[2]
    initrd = kernel.with_name(f'initrd.img-{version}')
    root = root_of((chroot / 'etc/fstab').read_text(encoding='utf-8'))
    if not root:
        raise Failure('the new system has no root in its fstab')
    cmdline = ' '.join([f'root={root}', 'ro', *params.kept])
    command = ['kexec', '--load', str(kernel), f'--command-line={cmdline}']
    log.run([*command, f'--initrd={initrd}'] if initrd.exists() else command)


def kernel_of(chroot: Path, name: str) -> Path:
    """The kernel that KEXEC_KERNEL names below /boot, else the newest there."""
    boot = chroot / 'boot'
    if name:
        found = boot / name.removeprefix('/boot/').lstrip('/')
        if '..' in found.parts or not found.is_file():
            raise Failure(f'KEXEC_KERNEL={name!r} is not in /boot of the new system')
        return found
    kernels = sorted(boot.glob('vmlinu[xz]-*'), key=_version)
    if not kernels:
        raise Failure('there is no kernel in /boot of the new system')
    return kernels[-1]


def _version(kernel: Path) -> list[tuple[int, str]]:
    words = kernel.name.replace('.', '-').split('-')
    return [(int(word), '') if word.isdigit() else (-1, word) for word in words]
