"""The sample sites under real Apaches and gunicorn, uploaded to by curl, and by real hardware-detect."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import webserver
from conftest import CONFIG, INVENTORIES, Deployment, profile_files
from edeploylib.inventory import Inventory

Needs = Callable[[str, str], str]


class Site(NamedTuple):
    url: str
    deployment: Deployment
    curl: str
    log: Path

    def upload(self, *fields: str, page: str = 'upload.py') -> tuple[int, str]:
        """What a machine's curl gets."""
        forms = [word for field in fields for word in ('-F', field)]
        done = subprocess.run(
            [self.curl, '-s', '-S', '--noproxy', '*', '-w', '\n%{http_code}', *forms,
             self.url.replace('upload.py', page)],
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition('\n')
        return int(status), body

    def told(self, *pairs: str) -> bool:
        """Whether a line of the log has all these pairs; a log may come a moment later."""
        for _ in range(50):
            lines = self.log.read_text(errors='replace').splitlines()
            if any(all(pair in line for pair in pairs) for line in lines):
                return True
            time.sleep(0.1)
        return False


@pytest.fixture(scope='session')
def installed() -> Iterator[Path]:
    """A real installation that any user can run."""
    with webserver.installed('wsgi') as home:
        yield home


@pytest.fixture(params=['cgi', 'wsgi', 'gunicorn'])
def site(request: pytest.FixtureRequest, needs: Needs, installed: Path) -> Iterator[Site]:
    curl = needs('curl', 'curl')
    apache = needs('apache2', 'apache2') if request.param != 'gunicorn' else ''
    if request.param == 'wsgi' and not (webserver.MODULES / 'mod_wsgi.so').exists():
        reason = 'needs mod_wsgi: apt-get install libapache2-mod-wsgi-py3'
        (pytest.fail if os.environ.get('CI') else pytest.skip)(reason)
    root = Path(tempfile.mkdtemp(prefix='edeploy-apache-'))
    deployment = Deployment(root)
    for folder in (root, deployment.config, deployment.hw, root / 'logs', root / 'health'):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    for path in profile_files():
        shutil.copy(path, deployment.config)
        (deployment.config / path.name).chmod(0o666)
    deployment.configure(HEALTHDIR=str(root / 'health'))
    try:
        if request.param == 'gunicorn':
            with webserver.gunicorn(installed, root, deployment.conf) as server:
                yield Site(server.url, deployment, curl, server.log)
        else:
            kinds = [request.param]
            with webserver.apache(kinds, apache, installed, root, deployment.conf) as servers:
                server = servers[request.param]
                yield Site(server.url, deployment, curl, server.log)
    finally:
        shutil.rmtree(root)


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
    assert site.told(
        'event=upload',
        'address=127.0.0.1',
        'machine=Blade3-TAG2-02-00-00-00-02-01 profile=rack status=200 seconds=0.',
    )


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
    id = re.search(r'\(request=([0-9a-f]{8})\)', body)
    assert id and site.told(f'request={id[1]}', 'status=500', 'expected a [section] first')
    assert 'Traceback' not in body + site.log.read_text()


def test_what_the_image_of_old_sends(site: Site, tmp_path: Path) -> None:
    """The script into a file, the failure of its profile, and the log under the host's name."""
    rack = INVENTORIES / 'rack.json'
    script = tmp_path / 'configure'
    curl = [site.curl, '-s', '-S', '--noproxy', '*']
    sent = ['-F', 'section=SERVER', '-F', f'file=@{rack}']
    subprocess.run([*curl, f'-o{script}', *sent, site.url], check=True)
    assert script.read_text().startswith('#!/usr/bin/env python3\n#EDEPLOY_PROFILE = rack\n')
    assert site.upload('section=SERVER', 'failure=rack', f'file=@{rack}')[0] == 200
    assert "('rack', 3)" in site.deployment.texts()['state']
    log = tmp_path / 'node2-02:00:00:00:02:01.log.gz'
    for text in ('first', 'second'):
        log.write_bytes(gzip.compress(text.encode()))
        saved = '# saved as node2-020000000201.log.gz\n'
        assert site.upload('section=SERVER', f'file=@{log}') == (200, saved)
    (former,) = (site.deployment.root / 'logs').glob('node2-020000000201.2*.log.gz')
    assert re.fullmatch(r'node2-020000000201\.[0-9]{14}\.log\.gz', former.name)
    assert gzip.decompress(former.read_bytes()) == b'first'
    assert gzip.decompress((former.parent / 'node2-020000000201.log.gz').read_bytes()) == b'second'
    assert site.told('event=log', 'file=node2-020000000201.log.gz')


def test_a_health_check(site: Site) -> None:
    rack = INVENTORIES / 'rack.json'
    status, body = site.upload(f'file=@{rack}', 'session=burn-in 1', page='upload-health.py')
    assert (status, body[:20]) == (200, '# saved as burn-in1/')
    saved = site.deployment.root / 'health' / body.split()[-1]
    assert re.fullmatch(r'[0-9]{4}_[0-9]{2}_[0-9]{2}-[0-9]{2}h[0-9]{2}', saved.parent.name)
    assert saved.name == 'Blade3-TAG2-02-00-00-00-02-01.hw'
    assert Inventory.parse(saved.read_text()) == Inventory.parse(rack.read_bytes())
    assert site.upload(f'file=@{rack}', page='upload-health.py')[0] == 400


@pytest.mark.parametrize('kind', ['cgi', 'wsgi'])
def test_what_apache_cannot_run_is_told_by_a_script_too(needs: Needs, kind: str) -> None:
    """Machines run what they get, and not an HTML page."""
    apache, curl = needs('apache2', 'apache2'), needs('curl', 'curl')
    root = Path(tempfile.mkdtemp(prefix='edeploy-broken-'))
    subprocess.run(['/usr/bin/python3', '-m', 'venv', '--without-pip', root], check=True)
    root.chmod(0o777)
    for name in ('bin/upload.py', 'edeploy.wsgi'):
        (root / name).write_text('#!/nonexistent\nraise ImportError\n')
        (root / name).chmod(0o755)
    try:
        with webserver.apache([kind], apache, root, root, root / 'edeploy.conf') as servers:
            got = subprocess.run(
                [curl, '-s', '--noproxy', '*', '-F', 'x=y', servers[kind].url],
                capture_output=True,
                check=True,
            ).stdout
    finally:
        shutil.rmtree(root)
    ran = subprocess.run(['sh'], input=got, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, b'')
    assert ran.stderr.startswith(b'edeploy: Apache could not run the page')


def test_a_large_log_comes_through_whole(site: Site, tmp_path: Path) -> None:
    """And one that is larger than MAXUPLOAD is refused by the page, not by the web server."""
    log = tmp_path / 'big.log.gz'
    log.write_bytes(os.urandom(15 << 20))
    assert site.upload(f'file=@{log}') == (200, '# saved as big.log.gz\n')
    assert (site.deployment.root / 'logs' / 'big.log.gz').read_bytes() == log.read_bytes()
    log.write_bytes(bytes(40 << 20))
    status, body = site.upload(f'file=@{log}')
    assert (status, body[:10]) == (413, '#!/bin/sh\n')
    assert 'at most 16777216 bytes' in body


def test_an_upload_in_chunks(site: Site) -> None:
    rack = INVENTORIES / 'rack.json'
    done = subprocess.run(
        [site.curl, '-s', '-S', '--noproxy', '*', '-H', 'Transfer-Encoding: chunked',
         '-F', f'file=@{rack}', site.url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert '#EDEPLOY_PROFILE = rack' in done.stdout


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
