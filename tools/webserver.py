"""A real Apache, or gunicorn, of our own on loopback, with the samples of config/."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from environment import ROOT

CONFIG = ROOT / 'config'
MODULES = Path('/usr/lib/apache2/modules')
PAGE = '/cgi-bin/upload.py'

# What Debian and Red Hat have in their own configuration; the paths are scratch ones.
_APACHE = """\
ServerRoot {root}
ServerName localhost
PidFile {root}/httpd.pid
ErrorLog {root}/error.log
LogLevel info
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule env_module {modules}/mod_env.so
LoadModule reqtimeout_module {modules}/mod_reqtimeout.so
SetEnv EDEPLOY_CONF {conf}
Define EDEPLOY_HOME {home}
Define EDEPLOY_USER {name}
"""
_LOAD = {
    'cgi': 'LoadModule cgid_module {modules}/mod_cgid.so\nScriptSock {root}/cgisock\n',
    'wsgi': 'LoadModule wsgi_module {modules}/mod_wsgi.so\nWSGISocketPrefix {root}/wsgi\n',
}
_SITE = """\
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
    Include {site}
</VirtualHost>
"""
_SITES = {'cgi': CONFIG / 'apache.conf', 'wsgi': CONFIG / 'apache-wsgi.conf'}


class Server(NamedTuple):
    """``url`` is the upload page; ``log`` has what the server and the pages tell."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def installed(extras: str = '') -> Iterator[Path]:
    """A real installation that any user can run, with the system's python3."""
    folder = Path(tempfile.mkdtemp(prefix='edeploy-installed-'))
    folder.chmod(0o755)
    try:
        subprocess.run(['/usr/bin/python3', '-m', 'venv', '--without-pip', folder], check=True)
        pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
        what = f'{ROOT}[{extras}]' if extras else str(ROOT)
        subprocess.run([*pip, '--python', folder / 'bin/python', 'install', what], check=True)
        shutil.copy(CONFIG / 'edeploy.wsgi', folder)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def apache(
    kinds: Sequence[str], program: str, home: Path, root: Path, conf: Path
) -> Iterator[dict[str, Server]]:
    """One Apache with the sample sites, of ``cgi`` and ``wsgi``, each on a port of its own."""
    is_root = os.geteuid() == 0
    ports = {kind: free_port() for kind in kinds}
    text = _APACHE.format(
        root=root,
        modules=MODULES,
        conf=conf,
        home=home,
        name='nobody' if is_root else os.environ.get('USER', 'nobody'),
        user='User nobody\nGroup nogroup' if is_root else '',
    )
    for kind, port in ports.items():
        text += _LOAD[kind].format(modules=MODULES, root=root)
        text += _SITE.format(port=port, site=_SITES[kind])
    (root / 'httpd.conf').write_text(text)
    command = [program, '-D', 'FOREGROUND', '-f', str(root / 'httpd.conf')]
    with running(command, list(ports.values()), root / 'error.log') as process:
        yield {
            kind: Server(_url(port), root / 'error.log', process) for kind, port in ports.items()
        }


@contextmanager
def gunicorn(home: Path, root: Path, conf: Path) -> Iterator[Server]:
    port = free_port()
    command = [str(home / 'bin/gunicorn'), '--config', str(CONFIG / 'gunicorn.conf.py')]
    command += ['--bind', f'127.0.0.1:{port}', '--worker-tmp-dir', str(root)]
    if os.geteuid() == 0:
        command += ['--user', 'nobody', '--group', 'nogroup']
    environ = {**os.environ, 'EDEPLOY_CONF': str(conf)}
    with running(command, [port], root / 'error.log', environ) as process:
        yield Server(_url(port), root / 'error.log', process)


def _url(port: int) -> str:
    return f'http://127.0.0.1:{port}{PAGE}'


def free_port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str], ports: Sequence[int], log: Path, environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers on its ports; ``log`` has what it tells."""
    with log.open('ab') as told:
        process = subprocess.Popen(command, stderr=told, env=environ, cwd=log.parent)
    try:
        for port in ports:
            _wait_for(port, process, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f'{server.args!r} did not start: {log.read_text()}')
