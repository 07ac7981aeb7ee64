"""The steps from a blank disk to an installed system, in their order."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edeploylib.node import client, detect, finish, outcome, params, roles
from edeploylib.node.log import Failure, Log
from edeploylib.node.network import bring_up
from edeploylib.node.params import Params
from edeploylib.node.upload import Server, profile_of


class Places(NamedTuple):
    """Where things are on the machine; below a scratch folder in tests."""

    chroot: Path = Path('/chroot')
    post_rsync: Path = Path('/post_rsync')
    vars: Path = Path('/vars')
    configure: Path = Path('/configure')
    hardware: Path = Path('/hw.json')
    log: Path = Path('/var/log/edeploy.log')
    mounts: Path = Path('/proc/self/mounts')
    swaps: Path = Path('/proc/swaps')
    efi: Path = Path('/sys/firmware/efi')
    net: Path = Path('/sys/class/net')
    run: Path = Path('/run')
    etc: Path = Path('/etc')

    @classmethod
    def below(cls, root: Path) -> Places:
        return cls(*(root / str(path).lstrip('/') for path in cls()))

    def mounted(self) -> list[finish.Mount]:
        return finish.parse_mounts(self.mounts.read_text(encoding='utf-8'))


class Machine:
    """An installation under way. What it has come to know is needed to report a failure."""

    def __init__(self, given: Params, server: Server, places: Places, log: Log) -> None:
        self.params = given
        self.server = server
        self.places = places
        self.log = log
        self.hardware = b''
        self.name = ''
        self.profile = ''

    def install(self) -> None:
        """All of it; raises Failure."""
        self.connect()
        self.detect()
        script = self.ask()
        choice = self.configure(script)
        self.fetch(choice)
        self.finish(choice)

    def connect(self) -> None:
        places = self.places
        addresses = bring_up(self.params.ip, self.log, places.net, places.run, places.etc)
        self.log.step(f'network: {", ".join(addresses)}')

    def detect(self) -> None:
        self.log.step('detecting the hardware')
        self.hardware = detect.detect(self.log)
        self.places.hardware.write_bytes(self.hardware)
        facts = detect.facts_of(self.hardware)
        self.name = detect.name_of(facts)
        self.log.step(detect.summary(facts))

    def ask(self) -> str:
        """The configure script that the server gives."""
        self.log.step(f'uploading to {self.server.url}')
        script = self.server.script_for(self.hardware)
        self.profile = profile_of(script)
        self.log.step(f'profile {self.profile}')
        return script

    def configure(self, script: str) -> roles.Choice:
        """Run the configure script; what it chose."""
        self.log.step('running the configure script')
        self.places.configure.write_text(script, encoding='utf-8')
        self.places.vars.unlink(missing_ok=True)
        self.log.run(
            [sys.executable, self.places.configure],
            what=f'the configure script of profile {self.profile}',
            environment={**os.environ, 'EDEPLOY_VARS': str(self.places.vars)},
        )
        choice = roles.Choice.read(self.places.vars)
        mounted = self.places.mounted()
        finish.check_target(self.places.chroot, mounted, self.places.efi.exists())
        return choice

    def fetch(self, choice: roles.Choice) -> None:
        how = 'HTTP' if self.params.hserv else 'rsync'
        self.log.step(f'fetching role {choice.role} {choice.version} by {how}')
        roles.fetch(choice, self.params, self.places.chroot, self.log)

    def finish(self, choice: roles.Choice) -> None:
        chroot, is_efi = self.places.chroot, self.places.efi.exists()
        self.log.step('laying the files of the configure script over it')
        finish.copy_post_rsync(self.places.post_rsync, chroot, self.log)
        self._write_fstab()
        finish.write_conf(choice, self.params, chroot)
        finish.write_boot_settings(self.params, chroot)
        self.log.step(f'GRUB for {"UEFI" if is_efi else f"BIOS on {choice.disk}"}')
        with finish.bound(chroot, self.log):
            finish.install_grub(choice.disk, is_efi, chroot, self.log)
        if self.params.onsuccess == 'kexec':
            outcome.load_kernel(self.params, chroot, self.log)
        if choice.pxemngr_url:
            self._boot_locally(choice.pxemngr_url)
        self.log.step('installed')
        finish.leave_log(self.places.log, chroot)
        finish.unmount(chroot, self.log)

    def _write_fstab(self) -> None:
        if (self.places.post_rsync / 'etc/fstab').exists():
            return
        mounted = self.places.mounted()
        swaps = self.places.swaps.read_text() if self.places.swaps.exists() else ''
        here = [mount.device for mount in finish.mounts_below(self.places.chroot, mounted)]
        here += [row.split()[0] for row in swaps.splitlines()[1:]]
        uuids = finish.uuids_of(here, self.log)
        text = finish.fstab(self.places.chroot, mounted, uuids, swaps)
        finish.write(self.places.chroot, 'etc/fstab', text)

    def _boot_locally(self, url: str) -> None:
        """Have pxemngr start this machine from its disk from now on."""
        wanted = f'{url.rstrip("/")}/localboot/'
        try:
            status = client.get(wanted).status
        except client.NO_ANSWER as error:
            raise Failure(f'pxemngr does not answer at {wanted}: {client.why(error)}') from None
        if status != 200:
            raise Failure(f'pxemngr refuses {wanted}: HTTP {status}')

    def give_back(self) -> None:
        """Tell the server of a failure, so that another machine can have the place."""
        if self.profile:
            try:
                said = self.server.report_failure(self.hardware, self.profile)
                self.log.step(f'the server knows of the failure: {said}')
            except Failure as failure:
                self.log.step(f'the server could not be told of the failure: {failure}')

    def upload_log(self) -> None:
        """Leave the log on the server, if the command line says so; it is no failure if not."""
        if self.params.upload_log and self.name:
            try:
                self.server.save_log(self.name, self.log.path.read_bytes())
            except Failure as failure:
                self.log.step(f'the log could not be saved on the server: {failure}')


def guarded(work: Callable[[], None], log: Log) -> str:
    """Why work failed, '' if it did not. A bug must not leave a machine without an end."""
    try:
        work()
    except Failure as failure:
        return str(failure)
    except Exception as bug:
        for line in traceback.format_exc().splitlines():
            log.note(line)
        return f'internal error, see the log: {type(bug).__name__}: {bug}'
    return ''


def attempt(machine: Machine) -> str:
    """Install, and tell the server how it went; why it failed, '' if it did not."""
    reason = guarded(machine.install, machine.log)
    if reason:
        machine.log.step(f'FAILED: {reason}')
        guarded(machine.give_back, machine.log)
    guarded(machine.upload_log, machine.log)
    return reason


def main(cmdline: Path = Path('/proc/cmdline')) -> None:
    """Install, and end as the kernel's command line says; it does not return on a machine."""
    text = cmdline.read_text(encoding='utf-8', errors='replace')
    places = Places()
    log = Log(places.log, verbose=params.is_verbose(text))
    try:
        given = params.parse(text)
    except Failure as failure:
        log.step(f'FAILED: {failure}')
        outcome.end(params.on_failure(text), 'ONFAILURE', log)
        return
    server = Server(given.upload_url, given.section, log)
    if attempt(Machine(given, server, places, log)):
        outcome.end(given.onfailure, 'ONFAILURE', log)
    else:
        outcome.end(given.onsuccess, 'ONSUCCESS', log)


if __name__ == '__main__':
    main()
    # Only a machine that could neither be started again nor turned off comes here.
    subprocess.run(['busybox', 'reboot', '-f'], check=False)
