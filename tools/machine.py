"""Emulated machines, and a whole deployment on this machine's loopback for them.

A machine is QEMU without KVM: a device that can be opened is no proof that it works. It
boots over the network from its card's own iPXE, and sees the loopback as 10.0.2.2.
"""

import contextlib
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import environment
from webserver import free_port

PACKAGES = (
    'cpio',
    'ipxe-qemu',
    'mmdebstrap',
    'ovmf',
    'pxelinux',
    'qemu-system-x86',
    'rsync',
    'seabios',
    'syslinux-common',
    'zstd',
)

# Where machines find this one.
HOST = '10.0.2.2'

_OVMF = Path('/usr/share/OVMF')
_PXELINUX = (
    Path('/usr/lib/PXELINUX/pxelinux.0'),
    Path('/usr/lib/syslinux/modules/bios/ldlinux.c32'),
)
_BOOT = environment.ROOT / 'config' / 'boot'

# The upload page, a thread a request.
_SERVICE = """
import logging, sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
from edeploylib.web.upload import application
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
logging.basicConfig(level=logging.INFO)
make_server('127.0.0.1', int(sys.argv[1]), application, Server).serve_forever()
"""

Heard = Callable[[str], None]


class MachineError(Exception):
    """What an emulated machine, or a server for it, should have done and did not."""


class Built(NamedTuple):
    """What machines are given: the folder of roles, and that of kernel and image."""

    install: Path
    pxe: Path
    version: str


def build(cache: Path, roles: Sequence[str]) -> Built:
    """Build what is missing of roles and image in a folder, both at once."""
    tools = environment.ROOT / 'tools'
    built = Built(cache / 'install', cache / 'pxe', 'D12-F.1.0.0')
    kernel = ('--kernel', 'linux-image-cloud-amd64')
    image = subprocess.Popen(
        [sys.executable, tools / 'build-pxe', '--to', built.pxe, *kernel],
        stdout=subprocess.DEVNULL,
    )
    try:
        for role in roles:
            subprocess.run(
                [tools / 'build-role', role, built.version, '--install', built.install, '--again'],
                check=True,
                stdout=subprocess.DEVNULL,
            )
    except subprocess.CalledProcessError as error:
        image.terminate()
        raise MachineError(f'the role {role} could not be built: see above') from error
    finally:
        status = image.wait()
    if status:
        raise MachineError('the image could not be built: see above')
    return built


class Site:
    """A deployment: the upload page, an HTTP server for files, and rsync, on free ports."""

    def __init__(self, root: Path, built: Built, config: Path) -> None:
        self.root = root
        self.built = built
        self.config = root / 'config'
        self.hw = root / 'hw'
        self.logs = root / 'logs'
        self.conf = root / 'edeploy.conf'
        self.port = free_port()
        self.rsync_port = free_port()
        self.requests: list[str] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        root.mkdir(parents=True)
        shutil.copytree(config, self.config)
        for folder in (self.hw, self.logs):
            folder.mkdir()

    def __enter__(self) -> 'Site':
        folders = (self.root / 'files', self.built.install.parent)
        self._files = _serve_files(folders, self.requests)
        self.files_port = self._files.server_address[1]
        self.conf.write_text(
            f'[SERVER]\nCONFIGDIR = {self.config}\nHWDIR = {self.hw}\nLOGDIR = {self.logs}\n'
            f'LOCKFILE = {self.root}/lock\n'
            f'USEPXEMNGR = True\nPXEMNGRURL = http://{HOST}:{self.files_port}/\n'
            f'METADATAURL = http://{HOST}:{self.files_port}/metadata/\n'
        )
        self.start_rsync()
        self.start_service()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.shutdown()
        self._files.server_close()
        for name in list(self._processes):
            self._stop(name)

    def start_service(self) -> None:
        python = environment.python()
        self._start(
            'service',
            self.port,
            [python, '-W', 'ignore', '-c', _SERVICE, self.port],
            {'EDEPLOY_CONF': str(self.conf)},
        )

    def stop_service(self) -> None:
        self._stop('service')

    def start_rsync(self) -> None:
        conf = self.root / 'rsyncd.conf'
        conf.write_text(
            f'uid = root\ngid = root\nuse chroot = no\nread only = yes\n'
            f'log file = {self.root}/rsyncd.log\n[install]\npath = {self.built.install}\n'
        )
        daemon = ['rsync', '--daemon', '--no-detach', f'--config={conf}', '--address=127.0.0.1']
        self._start('rsync', self.rsync_port, [*daemon, f'--port={self.rsync_port}'])

    def _start(
        self,
        name: str,
        port: int,
        command: Sequence[object],
        settings: dict[str, str] | None = None,
    ) -> None:
        with (self.root / f'{name}.log').open('ab') as log:
            self._processes[name] = process = subprocess.Popen(
                [str(word) for word in command],
                env={**os.environ, **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port), 1):
                return
            time.sleep(0.05)
        raise MachineError(f'{name} did not start: {(self.root / f"{name}.log").read_text()}')

    def _stop(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.terminate()
            process.wait()

    def parameters(self, **others: str) -> str:
        """The kernel's command line of an installation; '' leaves a parameter out."""
        given = {
            'SERV': HOST,
            'HTTP_PORT': str(self.port),
            'RSERV_PORT': str(self.rsync_port),
            'UPLOAD_LOG': '1',
            'ONSUCCESS': 'reboot',
            'ONFAILURE': 'halt',
            **others,
        }
        words = [f'{name}={value}' for name, value in given.items() if value]
        return ' '.join(['console=ttyS0', 'panic=-1', 'quiet', *words])

    @property
    def by_http(self) -> dict[str, str]:
        """The parameters that make a machine fetch its role by HTTP."""
        return {'HSERV': HOST, 'HSERV_PORT': str(self.files_port), 'HPATH': '/install/'}


class _Files(http.server.SimpleHTTPRequestHandler):
    """Files of several folders, the first that has one; and of pxemngr what machines ask."""

    folders: Sequence[Path]
    requests: list[str]

    def translate_path(self, path: str) -> str:
        tried = []
        for folder in self.folders:
            self.directory = str(folder)
            tried.append(super().translate_path(path))
        return next((there for there in tried if os.path.exists(there)), tried[-1])

    def do_GET(self) -> None:
        if self.path == '/localboot/':
            self.send_response(200)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def log_request(self, code: object = '-', size: object = '-') -> None:
        self.requests.append(f'{self.path} {getattr(code, "value", code)}')


def _serve_files(folders: Sequence[Path], requests: list[str]) -> http.server.ThreadingHTTPServer:
    handler = type('Files', (_Files,), {'folders': folders, 'requests': requests})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Machine:
    """A machine with blank disks, which outlives its emulator: each boot is a QEMU of its own.

    A reset within one QEMU makes what follows many times slower. Disks are sizes in GiB.
    """

    def __init__(
        self,
        site: Site,
        name: str,
        *,
        number: int = 1,
        product: str = 'edeploy_vm',
        disks: Sequence[int] = (4,),
        uefi: bool = False,
        pxelinux: bool = False,
        cores: int = 2,
    ) -> None:
        self.site = site
        self.folder = site.root / name
        self.folder.mkdir()
        self.serial = name.upper()
        self.product = product
        self.mac = f'52:54:12:00:00:{number:02x}'
        self.uefi = uefi
        self.pxelinux = pxelinux
        self.cores = cores
        self.disks = [self.folder / f'{index}.img' for index in range(len(disks))]
        for disk, size in zip(self.disks, disks, strict=True):
            with disk.open('wb') as file:
                file.truncate(size << 30)
        if uefi:
            shutil.copy(_OVMF / 'OVMF_VARS_4M.fd', self.folder / 'vars.fd')

    @property
    def is_blank(self) -> bool:
        """Whether nothing at all was written to its disks."""
        return not any(disk.stat().st_blocks for disk in self.disks)

    @property
    def boot_sector(self) -> bytes:
        with self.disks[0].open('rb') as disk:
            return disk.read(512)

    @contextlib.contextmanager
    def boot(self, parameters: str, heard: Heard = lambda line: None) -> Iterator['Console']:
        """Turn it on; it boots its first disk if that is bootable, else over the network."""
        tftp = self.folder / 'tftp'
        tftp.mkdir(exist_ok=True)
        if self.pxelinux:
            bootfile = self._offer_pxelinux(tftp, parameters)
        else:
            bootfile = self._offer_ipxe(tftp, parameters)
        process = subprocess.Popen(
            self._command(tftp, bootfile),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        console = Console(process, self.folder / 'console.log', heard)
        try:
            yield console
        finally:
            console.close()

    def _offer_ipxe(self, tftp: Path, parameters: str) -> str:
        """What iPXE fetches by TFTP, from the sample; it goes on by HTTP."""
        pxe = f'http://{HOST}:{self.site.files_port}/{self.site.built.pxe.name}'
        script = (_BOOT / 'boot.ipxe').read_text()
        for name, value in (('pxe', pxe), ('parameters', parameters)):
            script = _replaced(rf'(?m)(?<=^set {name} ).*$', value, script)
        (tftp / 'boot.ipxe').write_text(script)
        return 'boot.ipxe'

    def _offer_pxelinux(self, tftp: Path, parameters: str) -> str:
        """What pxelinux fetches by TFTP, from the sample."""
        script = (_BOOT / 'pxelinux.cfg').read_text()
        (tftp / 'pxelinux.cfg').mkdir(exist_ok=True)
        script = _replaced(r'(?<=APPEND ).*', parameters, script)
        (tftp / 'pxelinux.cfg/default').write_text(script)
        for path in _PXELINUX:
            shutil.copy(path, tftp)
        for name in ('vmlinuz', 'initrd.pxe'):
            shutil.copy(self.site.built.pxe / name, tftp)
        return 'pxelinux.0'

    def _command(self, tftp: Path, bootfile: str) -> list[str]:
        words = '-accel tcg,thread=multi -machine pc -cpu max -m 1024 -no-reboot -nodefaults '
        words += '-display none -serial stdio -monitor none '
        words += f'-smp {self.cores} '
        words += (
            f'-smbios type=1,manufacturer=edeploy,product={self.product},serial={self.serial} '
        )
        words += '-object rng-random,id=r0,filename=/dev/urandom -device virtio-rng-pci,rng=r0 '
        words += f'-netdev user,id=n0,tftp={tftp},bootfile=/{bootfile} '
        words += f'-device virtio-net-pci,netdev=n0,mac={self.mac},bootindex=9 '
        for index, disk in enumerate(self.disks):
            words += (
                f'-drive file={disk},if=none,id=d{index},format=raw,cache=unsafe,discard=unmap '
            )
            words += f'-device virtio-blk-pci,drive=d{index},bootindex={index} '
        if self.uefi:
            code = _OVMF / 'OVMF_CODE_4M.fd'
            words += f'-drive if=pflash,format=raw,unit=0,readonly=on,file={code} '
            words += f'-drive if=pflash,format=raw,unit=1,file={self.folder}/vars.fd '
        return ['qemu-system-x86_64', *words.split()]


def _replaced(pattern: str, value: str, text: str) -> str:
    """A sample with the first match of a pattern replaced."""
    found = re.search(pattern, text)
    assert found, f'{pattern} is not in the sample'
    return text[: found.start()] + value + text[found.end() :]


class Console:
    """A machine's serial line, read as it comes: a prompt has no end of line."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, heard: Heard) -> None:
        self._process = process
        self._log = log
        self._heard = heard
        self._news = threading.Condition()
        self._ended = False
        self.text = ''
        self._seen = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        rest = b''
        with self._log.open('ab') as log:
            while data := os.read(self._process.stdout.fileno(), 1 << 16):
                log.write(data)
                log.flush()
                *lines, rest = (rest + data).split(b'\n')
                with self._news:
                    self.text += data.decode(errors='replace').replace('\r', '')
                    self._news.notify_all()
                for line in lines:
                    self._heard(line.decode(errors='replace').strip())
        with self._news:
            self._ended = True
            self._news.notify_all()

    def expect(self, words: str, seconds: float) -> str:
        """What is said up to the words, since the last that were expected."""
        deadline = time.monotonic() + seconds
        with self._news:
            while (at := self.text.find(words, self._seen)) < 0:
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = 'the machine has ended' if self._ended else f'{seconds:g} s are over'
                    last = '\n'.join(self.text.splitlines()[-40:])
                    raise MachineError(f'{words!r} was expected, and {why}:\n{last}')
                self._news.wait(left)
            said = self.text[self._seen : at]
            self._seen = at + len(words)
        return said

    def wait(self, seconds: float) -> str:
        """All that was said, once the machine has turned itself off, or would start again."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            last = '\n'.join(self.text.splitlines()[-40:])
            raise MachineError(f'the machine still runs after {seconds:g} s:\n{last}') from None
        self._reader.join()
        return self.text

    def type(self, words: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f'{words}\n'.encode())
        self._process.stdin.flush()

    def log_in(self, seconds: float) -> None:
        self.expect('login: ', seconds)
        self.type('root')
        self.expect('# ', 60)

    def ask(self, command: str, seconds: float = 60) -> str:
        """What a command of the system prints."""
        # The terminal echoes what is typed: the marks are not in it as they are printed.
        self.type(f'echo "<"answer; {command}; echo "answer"">"')
        self.expect('<answer\n', seconds)
        answer = self.expect('answer>', seconds)
        self.expect('# ', seconds)
        return answer

    def close(self) -> None:
        """Pull the plug."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with contextlib.suppress(OSError):
                pipe.close()
