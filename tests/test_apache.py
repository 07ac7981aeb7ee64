"""The sample site under a real Apache, uploaded to by curl, and by real hardware-detect."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from conftest import CONFIG, INVENTORIES, ROOT, Deployment
from edeploylib.inventory import Inventory

Needs = Callable[[str, str], str]

SERVER = """\
ServerRoot {root}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {root}/httpd.pid
ErrorLog {root}/error.log
LogLevel info
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule env_module {modules}/mod_env.so
LoadModule cgid_module {modules}/mod_cgid.so
ScriptSock {root}/cgisock
SetEnv EDEPLOY_CONF {conf}
Define EDEPLOY_BIN {bin}
Include {site}
"""


class Site(NamedTuple):
    url: str
    deployment: Deployment
    curl: str
    log: Path

    def upload(self, *fields: str) -> tuple[int, str]:
        """What a machine's curl gets."""
        forms = [word for field in fields for word in ('-F', field)]
        done = subprocess.run(
            [self.curl, '-s', '-S', '--noproxy', '*', '-w', '\n%{http_code}', *forms, self.url],
            capture_output=True,
            text=True,
            check=True,
        )
        body, _, status = done.stdout.rpartition('\n')
        return int(status), body


@pytest.fixture(scope='session')
def installed() -> Iterator[Path]:
    """The bin folder of a real installation that any user can run."""
    # Where this test's own Python is private, the system's serves.
    home = os.path.realpath(sys.executable)
    private = any(not os.stat(folder).st_mode & 0o005 for folder in Path(home).parents)
    python = '/usr/bin/python3' if private else home
    if not os.path.exists(python):
        pytest.fail('needs a Python that any user can run: apt-get install python3')
    folder = Path(tempfile.mkdtemp(prefix='edeploy-installed-'))
    folder.chmod(0o755)
    try:
        subprocess.run([python, '-m', 'venv', '--without-pip', folder], check=True)
        pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
        subprocess.run([*pip, '--python', folder / 'bin/python', 'install', ROOT], check=True)
        yield folder / 'bin'
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def site(needs: Needs, installed: Path) -> Iterator[Site]:
    apache, curl = needs('apache2', 'apache2'), needs('curl', 'curl')
    root = Path(tempfile.mkdtemp(prefix='edeploy-apache-'))
    deployment = Deployment(root)
    for folder in (root, deployment.config, deployment.hw):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    for path in CONFIG.iterdir():
        if path.is_file():
            shutil.copy(path, deployment.config)
            (deployment.config / path.name).chmod(0o666)
    deployment.configure()
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    (root / 'httpd.conf').write_text(
        SERVER.format(
            root=root,
            port=port,
            modules='/usr/lib/apache2/modules',
            conf=deployment.conf,
            bin=installed,
            site=CONFIG / 'apache.conf',
            user='User nobody\nGroup nogroup' if os.geteuid() == 0 else '',
        )
    )
    server = subprocess.Popen([apache, '-D', 'FOREGROUND', '-f', root / 'httpd.conf'])
    log = root / 'error.log'
    try:
        wait_for(port, server, log)
        yield Site(f'http://127.0.0.1:{port}/cgi-bin/upload.py', deployment, curl, log)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
        shutil.rmtree(root)


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail('apache2 did not start: ' + (log.read_text() if log.exists() else ''))


def test_a_machine_gets_its_script(site: Site) -> None:
    """And state, CMDB, original and inventory are as they should be, owned by nobody."""
    rack = INVENTORIES / 'rack.json'
    status, body = site.upload(f'file=@{rack}')
    assert status == 200, body + site.log.read_text()
    assert body.startswith('#!/usr/bin/env python3\n#EDEPLOY_PROFILE = rack\n')
    assert "'hostname': 'node2'" in body
    texts = site.deployment.texts()
    assert "('rack', 2)" in texts['state']
    assert "'mac': '02:00:00:00:02:01',\n  'used': 1}" in texts['rack.cmdb']
    assert texts['rack.cmdb.orig'] == (CONFIG / 'rack.cmdb').read_text()
    saved = site.deployment.hw / 'Blade3-TAG2-02-00-00-00-02-01.hw'
    assert Inventory.parse(saved.read_text()) == Inventory.parse(rack.read_bytes())
    if os.geteuid() == 0:
        assert saved.owner() == 'nobody'
    assert site.upload(f'file=@{rack}') == (200, body)
    assert site.deployment.texts() == texts
    assert 'machine=Blade3-TAG2-02-00-00-00-02-01 profile=rack' in site.log.read_text()


def test_refusals_and_failures(site: Site, tmp_path: Path) -> None:
    rack = INVENTORIES / 'rack.json'
    site.upload(f'file=@{rack}', 'section=SERVER')
    status, body = site.upload(f'file=@{rack}', 'failure=rack')
    assert (status, body) == (200, "# the failure of 'rack' is noted, its quota given back\n")
    assert "('rack', 3)" in site.deployment.texts()['state']
    nothing = tmp_path / 'nothing.json'
    nothing.write_text('[]')
    status, body = site.upload(f'file=@{nothing}')
    assert (status, body[:10]) == (404, '#!/bin/sh\n')
    assert 'vm: its spec does not match' in body
    assert site.upload(f'file=@{rack}', 'section=LAB')[0] == 400
    got = subprocess.run(
        [site.curl, '-s', '--noproxy', '*', site.url], capture_output=True, text=True
    )
    assert 'No file passed to the CGI' in got.stdout
    site.deployment.conf.write_text('broken')
    status, body = site.upload(f'file=@{rack}')
    assert (status, body[:10]) == (500, '#!/bin/sh\n')
    assert 'Traceback' not in body + site.log.read_text()


def test_a_folder_that_the_server_may_not_write(site: Site) -> None:
    """Files that it may write are written in place."""
    if os.geteuid() != 0:
        pytest.skip('needs root: the owner of a folder is its writer too')
    (site.deployment.config / 'rack.cmdb').write_text("[{'tag': 'TAG2'}]")
    site.deployment.config.chmod(0o555)
    status, body = site.upload(f'file=@{INVENTORIES / "rack.json"}')
    assert status == 200, body
    assert "('rack', 2)" in site.deployment.texts()['state']
    assert "'used': 1" in site.deployment.texts()['rack.cmdb']
    assert not list(site.deployment.config.glob('.*'))
    (site.deployment.config / 'state').chmod(0o444)
    status, body = site.upload(f'file=@{INVENTORIES / "storage.json"}')
    assert (status, 'cannot write' in body) == (500, True)
    assert "('storage', 4)" in site.deployment.texts()['state']


def test_real_hardware_detect(site: Site, needs: Needs, tmp_path: Path) -> None:
    """What it finds on this machine is accepted, and matched by a spec of disks or CPUs."""
    needs('lshw', 'lshw')
    done = subprocess.run(
        [sys.executable, '-c', 'from hardware.detect import main; main()'],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    detected = tmp_path / 'hw.json'
    detected.write_bytes(done.stdout)
    inventory = Inventory.parse(done.stdout)
    assert len(inventory) > 10
    site.deployment.write(
        state="[('here', 1)]",
        here_specs="[('cpu', 'logical', 'number', '$cpus=ge(1)'), ('memory', 'total', 'size', '$m')]",
        here_configure='print(var)',
    )
    status, body = site.upload(f'file=@{detected}')
    assert status == 200, body
    assert f"'cpus': {os.cpu_count()}," in body
    assert (site.deployment.hw / f'{inventory.sysname}.hw').exists()
