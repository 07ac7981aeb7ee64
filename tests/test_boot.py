"""The samples of config/boot, read by the programs that they are for; and roles and images."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import trees
from conftest import CONFIG, ROOT
from edeploylib.node import client, params
from trees import BuildError, Report, read_role
from webserver import MODULES, free_port, running

BOOT = CONFIG / 'boot'
Needs = Callable[[str, str], str]


def test_dnsmasq_takes_its_sample(needs: Needs) -> None:
    dnsmasq = needs('dnsmasq', 'dnsmasq-base')
    command = [dnsmasq, '--test', f'--conf-file={BOOT}/dnsmasq.conf']
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, 'dnsmasq: syntax check OK.\n')


def test_rsync_serves_a_tree_with_its_sample(tmp_path: Path, needs: Needs) -> None:
    """Here: another folder, port and user; builds that are under way are not seen."""
    rsync = needs('rsync', 'rsync')
    for folder in ('install/D12/base', 'install/D12/.base.building-1'):
        (tmp_path / folder).mkdir(parents=True)
    text = (BOOT / 'rsyncd.conf').read_text()
    for old, new in (
        ('/var/lib/edeploy', str(tmp_path)),
        ('192.168.122.0/24', '127.0.0.1'),
        ('chroot = yes', 'chroot = no'),
        ('uid = root\ngid = root', f'uid = {os.getuid()}\ngid = {os.getgid()}'),
    ):
        assert old in text
        text = text.replace(old, new)
    conf = tmp_path / 'rsyncd.conf'
    conf.write_text(text)
    port = free_port()
    where = ['--address=127.0.0.1', f'--port={port}', f'--log-file={tmp_path}/log']
    daemon = subprocess.Popen([rsync, '--daemon', '--no-detach', f'--config={conf}', *where])
    try:
        listing = [rsync, '--list-only', f'rsync://127.0.0.1:{port}/install/D12/']
        for _ in range(200):
            done = subprocess.run(listing, capture_output=True, text=True)
            if done.returncode != 10:
                break
            time.sleep(0.02)
        assert done.returncode == 0, done.stderr
        assert [line.split()[-1] for line in done.stdout.splitlines()] == ['.', 'base']
    finally:
        daemon.terminate()
        daemon.wait()


APACHE = """\
ServerRoot {root}
ServerName localhost
PidFile {root}/httpd.pid
ErrorLog {root}/error.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
{user}
<Directory />
    Require all denied
</Directory>
Include {root}/boot.conf
"""


def test_apache_serves_image_and_archives_and_no_more(needs: Needs) -> None:
    """Not the trees beside the archives, which hold each system's secrets."""
    apache = needs('apache2', 'apache2')
    with tempfile.TemporaryDirectory() as scratch:
        root, port = Path(scratch), free_port()
        root.chmod(0o755)
        for name in ('pxe/vmlinuz', 'pxe/initrd.log', 'install/a-1.edeploy', 'install/1/a-1.edeploy',
                     'install/1/a-1.edeploy.sha256', 'install/1/a/etc/shadow'):  # fmt: skip
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        sample = (BOOT / 'apache.conf').read_text()
        (root / 'boot.conf').write_text(sample.replace('/var/lib/edeploy', scratch))
        user = 'User nobody\nGroup nogroup' if os.geteuid() == 0 else ''
        text = APACHE.format(root=root, port=port, modules=MODULES, user=user)
        (root / 'httpd.conf').write_text(text)
        command = [apache, '-D', 'FOREGROUND', '-f', str(root / 'httpd.conf')]
        with running(command, [port], root / 'error.log'):
            found = {
                path: client.get(f'http://127.0.0.1:{port}{path}').status
                for path in ('/pxe/vmlinuz', '//install/a-1.edeploy', '/install/1/a-1.edeploy',
                             '/install/1/a-1.edeploy.sha256', '/pxe/initrd.log', '/pxe/',
                             '/install/1/a/etc/shadow', '/install/1/')
            }  # fmt: skip
    assert [path for path, status in found.items() if status == 200] == [
        '/pxe/vmlinuz', '//install/a-1.edeploy', '/install/1/a-1.edeploy',
        '/install/1/a-1.edeploy.sha256',
    ]  # fmt: skip
    assert set(found.values()) <= {200, 403, 404}


@pytest.mark.parametrize('name', ['boot.ipxe', 'pxelinux.cfg'])
def test_the_parameters_of_the_samples_are_read(name: str) -> None:
    text = (BOOT / name).read_text().replace('${server}', '192.168.122.1')
    lines = re.findall(r'(?:set parameters|APPEND) (.*)', text)
    assert lines
    for line in lines:
        assert params.parse(line).upload_url == 'http://192.168.122.1:80/cgi-bin/upload.py'


# Role files


@pytest.mark.parametrize('name', sorted(path.stem for path in trees.ROLES.glob('*.role')))
def test_the_roles_are_read(name: str) -> None:
    role = read_role(name)
    assert role.lineage[0].suite
    assert len(role.fingerprint) == 64


def roles(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f'{name}.role').write_text(text)
    return folder


SOURCES = 'sources = deb http://mirror.example/debian bookworm main\n'


def test_a_role_is_made_from_another(tmp_path: Path) -> None:
    folder = roles(
        tmp_path,
        base=f'[role]\n{SOURCES}packages =\n    a\n    # not this\n    b\n',
        web='[role]\nfrom = base\npackages = nginx php\nrun =\n    echo a = b\n    true\n',
    )
    role = read_role('web', folder)
    assert [each.name for each in role.lineage] == ['base', 'web']
    assert role.lineage[0].packages == ('a', 'b')
    assert role.lineage[0].suite == 'bookworm'
    assert role.packages == ('nginx', 'php')
    assert role.run == ('echo a = b', 'true')


def test_a_suite_is_found_behind_options(tmp_path: Path) -> None:
    line = 'sources = deb [signed-by=/a b] http://u noble main universe\n'
    assert read_role('a', roles(tmp_path, a=f'[role]\n{line}')).suite == 'noble'
    assert read_role('b', roles(tmp_path, b='[role]\nsuite = sid\n')).suite == 'sid'


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('packages = a\n', 'no section'),
        ('[role]\npackages = a\n', "expected one of 'from', 'suite' and 'sources'"),
        (f'[role]\n{SOURCES}from = a\n', "expected one of 'from', 'suite' and 'sources'"),
        (f'[role]\n{SOURCES}package = a\n', "unknown key 'package'"),
        (f'[role]\n{SOURCES}[other]\n', "expected one section, [role], found ['role', 'other']"),
        (f'[role]\n{SOURCES}suite = sid\n', "expected one of 'from', 'suite' and 'sources'"),
        ('[role]\nsuite = a b\n', "'a b' is no suite"),
        ('[role]\nsources = http://mirror.example\n', "expected 'deb URL SUITE COMPONENT'"),
        (f'[role]\n{SOURCES}files = none\n', 'files = none, and'),
        (f'[role]\n{SOURCES}script = none\n', 'script = none, and'),
        ('[role]\nfrom = other\n', "there is no role 'other'"),
        ('[role]\nfrom = x\n', "role 'x' is made from itself: x"),
        ('[role]\nfrom = ../x\n', "'../x' is no role"),
    ],
)
def test_a_mistake_in_a_role_is_told_with_its_file(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BuildError) as error:
        read_role('x', roles(tmp_path, x=text))
    assert reason in str(error.value)
    assert '\n' not in str(error.value)


def test_a_fingerprint_tells_whatever_a_tree_is_made_from(tmp_path: Path) -> None:
    """The role file, those below it, its files and their modes, and its script."""
    (tmp_path / 'a.files').mkdir()
    (tmp_path / 'a.files/x').write_text('1')
    (tmp_path / 'a.script').write_text('1')
    text = f'[role]\n{SOURCES}files = a.files\nscript = a.script\n'
    roles(tmp_path, a=text, b='[role]\nfrom = a\n')
    seen = [read_role('b', tmp_path).fingerprint]
    for change in (
        lambda: (tmp_path / 'a.files/x').write_text('2'),
        lambda: (tmp_path / 'a.files/x').chmod(0o755),
        lambda: (tmp_path / 'a.script').write_text('2'),
        lambda: roles(tmp_path, a=f'{text}packages = c\n'),
        lambda: roles(tmp_path, b='[role]\nfrom = a\nrun = true\n'),
    ):
        change()
        seen.append(read_role('b', tmp_path).fingerprint)
    assert len(set(seen)) == len(seen)


# Trees


def a_tree(folder: Path) -> Path:
    """As packages leave it: a file of a package, and one that the build made."""
    for name in ('etc', 'usr/bin', 'var/lib/dpkg/info', 'var/log/apt', 'var/cache/apt', 'tmp'):
        (folder / name).mkdir(parents=True)
    (folder / 'usr/bin/program').write_text('program')
    os.utime(folder / 'usr/bin/program', (1_600_000_000, 1_600_000_000))
    (folder / 'var/lib/dpkg/info/program.list').write_text('/.\n/usr/bin/program\n/usr/bin/gone\n')
    (folder / 'etc/made').write_text('made')
    (folder / 'etc/link').symlink_to('made')
    (folder / 'etc/machine-id').write_text('0123')
    (folder / 'etc/resolv.conf').write_text('nameserver 10.0.0.1')
    (folder / 'var/log/apt/term.log').write_text('today')
    (folder / 'var/log/dpkg.log').write_text('today')
    (folder / 'tmp/left').mkdir()
    return folder


def packed(folder: Path, began: float) -> bytes:
    tree = a_tree(folder / 'tree')
    trees.clean(tree)
    trees.seal(tree, began)
    archive = folder / 'base-1.edeploy'
    trees.pack(tree, archive, Report(folder / 'log', 'base'))
    return archive.read_bytes()


def test_the_same_files_give_the_same_archive(tmp_path: Path, needs: Needs) -> None:
    """Whenever they are built, and in whatever order they come."""
    needs('zstd', 'zstd')
    first, second = tmp_path / 'first', tmp_path / 'second'
    first.mkdir()
    second.mkdir()
    assert packed(first, time.time()) == packed(second, time.time() + 3600)
    check = ['sha256sum', '--check', '--quiet', 'base-1.edeploy.sha256']
    assert subprocess.run(check, cwd=first).returncode == 0


def test_a_tree_keeps_no_trace_of_its_build(tmp_path: Path) -> None:
    tree = a_tree(tmp_path / 'tree')
    trees.clean(tree)
    left = {str(path.relative_to(tree)) for path in tree.rglob('*') if not path.is_dir()}
    assert left == {
        'etc/link', 'etc/machine-id', 'etc/made', 'usr/bin/program',
        'var/lib/dpkg/info/program.list',
    }  # fmt: skip
    assert (tree / 'etc/machine-id').read_text() == ''
    assert list((tree / 'tmp').iterdir()) == []


def test_no_link_of_a_tree_leads_to_the_builders_files(tmp_path: Path) -> None:
    """A role may have any links; the builder is root."""
    tree = a_tree(tmp_path / 'tree')
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'file').write_text('mine')
    (mine / 'id').write_text('mine')
    (tree / 'var/tmp').symlink_to(mine)
    (tree / 'etc/machine-id').unlink()
    (tree / 'etc/machine-id').symlink_to(mine / 'id')
    trees.clean(tree)
    assert {path.name: path.read_text() for path in mine.iterdir()} == {
        'file': 'mine',
        'id': 'mine',
    }
    assert (tree / 'etc/machine-id').read_text() == ''
    assert not (tree / 'etc/machine-id').is_symlink()


def test_what_a_build_makes_is_as_old_as_its_newest_package(tmp_path: Path) -> None:
    tree = a_tree(tmp_path / 'tree')
    trees.seal(tree, time.time())
    assert {path.lstat().st_mtime for path in [tree, *tree.rglob('*')]} == {1_600_000_000}


def built(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    text: str = '[role]\nsuite = sid\n',
) -> list[str]:
    """Publish a role with that program for mmdebstrap; the names that are there then."""
    path = folder / 'bin/mmdebstrap'
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\nfor tree; do :; done\n{program}\n')
    path.chmod(0o755)
    monkeypatch.setenv('PATH', f'{path.parent}:{os.environ["PATH"]}')
    roles(folder, base=text)
    install = folder / 'install'
    try:
        trees.publish(read_role('base', folder), 'D12', install)
    finally:
        names = sorted(path.name for path in (install / 'D12').iterdir())
    return names


GOOD = 'mkdir -p "$tree/etc" && echo one > "$tree/etc/one"'
WHOLE = ['base', 'base-D12.edeploy', 'base-D12.edeploy.sha256', 'base.built', 'base.log']


def test_a_role_is_there_as_a_tree_and_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: Needs
) -> None:
    needs('zstd', 'zstd')
    assert built(tmp_path, monkeypatch, GOOD) == WHOLE
    assert (tmp_path / 'install/D12/base/etc/one').read_text() == 'one\n'


def test_a_role_that_is_there_is_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: Needs
) -> None:
    needs('zstd', 'zstd')
    built(tmp_path, monkeypatch, GOOD)
    assert built(tmp_path, monkeypatch, 'exit 9') == WHOLE


def test_another_role_is_never_put_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: Needs
) -> None:
    """Unless one asks for it: machines may be installing it."""
    needs('zstd', 'zstd')
    built(tmp_path, monkeypatch, GOOD)
    with pytest.raises(BuildError, match='was made from other files: choose another version'):
        built(tmp_path, monkeypatch, GOOD, f'[role]\n{SOURCES}packages = more\n')
    (tmp_path / 'install/D12/base.built').unlink()
    with pytest.raises(BuildError, match='was made from other files'):
        built(tmp_path, monkeypatch, GOOD)  # it may have been made by hand


def test_what_is_mounted_in_a_tree_is_told(tmp_path: Path) -> None:
    mounts = tmp_path / 'mounts'
    mounts.write_text(f'/dev/a / ext4 rw 0 0\n/dev/b {tmp_path}/tree/mnt\\040x ext4 rw 0 0\n')
    assert trees.mounts_below(tmp_path / 'tree', mounts) == [f'{tmp_path}/tree/mnt x']
    assert trees.mounts_below(tmp_path / 'other', mounts) == []


def test_a_build_that_fails_leaves_nothing_but_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        BuildError, match=r'mmdebstrap failed with status 25; .*:\n(.*\n)*no space'
    ):
        built(tmp_path, monkeypatch, f'{GOOD}\necho no space >&2\nexit 25')
    assert [path.name for path in (tmp_path / 'install/D12').iterdir()] == ['base.log']


def test_a_build_that_is_stopped_leaves_nothing_half_built(tmp_path: Path) -> None:
    """And nothing that runs on: what the build has started is ended with it."""
    roles(tmp_path, base='[role]\nsuite = sid\n')
    program = tmp_path / 'bin/mmdebstrap'
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/child\nwait\n')
    program.chmod(0o755)
    code = (
        'import signal, sys, trees\nfrom pathlib import Path\n'
        'signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))\n'
        f'root = Path({str(tmp_path)!r})\n'
        "trees.publish(trees.read_role('base', root), 'D12', root / 'install')\n"
    )
    settings = {'PATH': f'{program.parent}:{os.environ["PATH"]}', 'PYTHONPATH': f'{ROOT}/tools'}
    build = subprocess.Popen([sys.executable, '-c', code], env=settings, stderr=subprocess.DEVNULL)
    child = tmp_path / 'child'
    while not (child.is_file() and child.read_text().endswith('\n')):
        assert build.poll() is None
        time.sleep(0.01)
    build.terminate()
    assert build.wait() == 2
    assert [path.name for path in (tmp_path / 'install/D12').iterdir()] == ['base.log']
    status = Path(f'/proc/{child.read_text().strip()}/status')
    assert not status.exists() or '(zombie)' in status.read_text()


def test_what_a_killed_build_has_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: Needs
) -> None:
    needs('zstd', 'zstd')
    done = subprocess.Popen(['true'])
    done.wait()
    left = tmp_path / f'install/D12/.base.building-{done.pid}'
    (left / 'base/etc').mkdir(parents=True)
    assert built(tmp_path, monkeypatch, GOOD) == WHOLE


@pytest.mark.parametrize('arguments', [['none', 'D12'], ['base', '../x'], ['../base', 'D12']])
def test_a_wrong_name_is_told_without_a_traceback(tmp_path: Path, arguments: list[str]) -> None:
    command = [ROOT / 'tools/build-role', *arguments, '--install', tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert repr(next(word for word in arguments if word in ('none', '../x', '../base'))) in (
        done.stderr
    )
    assert list(tmp_path.iterdir()) == []


# The image


def test_modules_come_with_those_that_they_need() -> None:
    """And a name that is chosen is a folder or a module, not the beginning of one."""
    dependencies = (
        'kernel/drivers/net/virtio_net.ko: kernel/drivers/virtio/virtio.ko kernel/net/core/failover.ko\n'
        'kernel/drivers/virtio/virtio.ko:\n'
        'kernel/net/core/failover.ko:\n'
        'kernel/drivers/net/virtio_net_other.ko:\n'
        'kernel/fs/ext4/ext4.ko: kernel/fs/mbcache.ko\n'
        'kernel/fs/mbcache.ko:\n'
        'kernel/fs/ext4x/a.ko:\n'
        'kernel/sound/a.ko: kernel/fs/mbcache.ko\n'
    )
    chosen = ['drivers/net/virtio_net.ko', 'fs/ext4']
    assert trees.modules_needed(dependencies, chosen) == [
        'kernel/drivers/net/virtio_net.ko', 'kernel/drivers/virtio/virtio.ko',
        'kernel/fs/ext4/ext4.ko', 'kernel/fs/mbcache.ko', 'kernel/net/core/failover.ko',
    ]  # fmt: skip


def test_the_machines_node_stands_in_a_list_for_the_detector(tmp_path: Path) -> None:
    """Debian 12's lshw prints it bare, later ones do not."""
    shim = (trees.ROLES / 'pxe.image/usr/local/bin/lshw').read_text()
    fake = tmp_path / 'lshw'
    program = tmp_path / 'shim'
    program.write_text(shim.replace('/usr/bin/lshw', str(fake)))
    head = '<?xml version="1.0"?>\n'
    node = '<node id="a">\n<product>it&apos;s \\n %s</product>\n</node>'
    wanted = f'<list>\n{node}\n</list>\n'
    for printed in (f'{head}{node}\n', f'{head}<list>\n{node}\n</list>\n'):
        (tmp_path / 'xml').write_text(printed)
        fake.write_text(f'#!/bin/sh\ncat {tmp_path}/xml\n')
        fake.chmod(0o755)
        done = subprocess.run(['sh', program, '-xml'], capture_output=True, text=True)
        assert done.stdout.replace(head, '') == wanted
