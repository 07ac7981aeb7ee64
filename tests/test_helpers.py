"""The helpers, run for real as the machine runs them: in a rendered script, by its Python."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from edeploylib.errors import Place
from edeploylib.match import match
from edeploylib.script import render


class Decided(NamedTuple):
    profile: str
    variables: dict[str, object]


class Links(NamedTuple):
    pxemngr_url: str = ''
    metadata_url: str = ''


def script(configure: str, links: Links = Links(), **variables: object) -> str:
    return render(Decided('vm', variables), configure, links)


def run(text: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with ``root`` for its scratch root."""
    path = root / 'configure'
    path.write_text(text)
    return subprocess.run(
        [sys.executable, '-I', '-S', path],
        env={'PATH': os.environ['PATH'], 'EDEPLOY_VARS': str(root / 'vars')},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_begins_as_boot_scripts_expect() -> None:
    """They grep for the profile."""
    lines = script('pass').splitlines()
    assert lines[:2] == ['#!/usr/bin/env python3', '#EDEPLOY_PROFILE = vm']


def test_variables_come_through_as_they_are(tmp_path: Path) -> None:
    """Whatever a client has put into them."""
    variables = {
        'quote': '\'"""\\',
        'newline': 'a\nb\r\0c',
        'code': "'); raise SystemExit(9) #",
        'é€\U0001f600': 'é€\U0001f600',
        'n': 2,
        'list': [1, (2.5, None, True)],
    }
    done = run(script(f'assert var == {variables!r}\nprint("same")', **variables), tmp_path)
    assert (done.returncode, done.stdout) == (0, 'same\n'), done.stderr


def test_the_configure_script_stands_as_it_is() -> None:
    configure = '# é\nprint("""\n%s {x}\n""")'
    assert script(configure).endswith(f'\n{configure}\n')


def test_run_echoes_and_goes_on(tmp_path: Path) -> None:
    done = run(script("run('echo a; echo b >&2')\nrun(['echo', 'c d'])"), tmp_path)
    assert done.returncode == 0
    assert done.stdout == 'a\nc d\n'
    assert done.stderr == "+ echo a; echo b >&2\nb\n+ echo 'c d'\n"


@pytest.mark.parametrize(
    ('command', 'status'),
    [
        ("'exit 3'", 3),
        ("['false']", 1),
        ("'kill -9 $$'", 137),
        ("'no-such-command'", 127),
        ("['no-such-command']", 127),
    ],
)
def test_a_failing_run_ends_the_script(tmp_path: Path, command: str, status: int) -> None:
    """With the command's exit status and a banner that names it."""
    done = run(script(f"run({command})\nprint('never')"), tmp_path)
    assert done.returncode == status
    assert done.stdout == ''
    shown = done.stderr.splitlines()
    assert shown[-3] == shown[-1] == '*' * 72
    assert shown[-2].startswith(f'FAILED with status {status}: ')
    assert 'Traceback' not in done.stderr


def test_config_makes_folders_and_sets_mode_and_owner(tmp_path: Path) -> None:
    ids = f'uid={os.getuid()}, gid={os.getgid()}'
    done = run(
        script(
            f"config('/etc/ssh/key', basedir='root', fmod=0o600, {ids}).write('é')\n"
            f"config('etc/ssh/key', 'a', basedir='root', fmod=0o600, {ids}).write('!')\n"
            f"config('/etc/raw', mode='wb', basedir='root', {ids}).write(b'\\xff')\n"
        ),
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    key = tmp_path / 'root/etc/ssh/key'
    assert key.read_text() == 'é!'
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    raw = tmp_path / 'root/etc/raw'
    assert raw.read_bytes() == b'\xff'
    assert stat.S_IMODE(raw.stat().st_mode) == 0o644


def test_config_writes_below_post_rsync_unless_told_otherwise() -> None:
    import inspect

    from edeploylib.node.helpers import config

    defaults = {p.name: p.default for p in inspect.signature(config).parameters.values()}
    del defaults['name']
    assert defaults == {'mode': 'w', 'basedir': '/post_rsync', 'fmod': 0o644, 'uid': 0, 'gid': 0}


def test_set_role_leaves_shell_variables(tmp_path: Path) -> None:
    """Quoted, so that the installer's shell reads what was meant."""
    links = Links('http://10.0.0.1:8000/', "http://10.0.0.1/?a=1&b='2'")
    done = run(script("set_role('my sql', 'D12-F.1.0.0', '/dev/$(reboot)')", links), tmp_path)
    assert done.returncode == 0, done.stderr
    shell = '. ./vars; printf "%s\\n" "$ROLE" "$VERS" "$DISK" "$PROFILE" "$PXEMNGR_URL" "$METADATA_URL"'
    read = subprocess.run(['sh', '-c', shell], cwd=tmp_path, capture_output=True, text=True)
    assert read.stdout.splitlines() == [
        'my sql',
        'D12-F.1.0.0',
        '/dev/$(reboot)',
        'vm',
        'http://10.0.0.1:8000/',
        "http://10.0.0.1/?a=1&b='2'",
    ]


def test_links_that_are_not_set_leave_nothing(tmp_path: Path) -> None:
    assert run(script("set_role('a', 'b', 'c')"), tmp_path).returncode == 0
    assert (tmp_path / 'vars').read_text() == 'ROLE=a\nVERS=b\nDISK=c\nPROFILE=vm\n'


def test_inject_facts_writes_yaml(tmp_path: Path) -> None:
    done = run(script("inject_facts(var, 'root')", eth='eth0', n=2, tag='a: "b"\n'), tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / 'root/etc/facter/facts.d/edeploy.yaml').read_text()
    assert text == '---\nhw_eth: "eth0"\nhw_n: 2\nhw_tag: "a: \\"b\\"\\n"\n'


def test_a_match_can_be_rendered(tmp_path: Path) -> None:
    """Captured values of every type survive."""
    facts = [('a', 'b', 'c', value) for value in (1, 2.5, True, 'x')]
    found = match([('a', 'b', 'c', f'${n}') for n in range(4)], facts)
    assert found
    done = run(script('print(sorted(var.items()))', **found.variables), tmp_path)
    assert done.stdout == "[('0', 1), ('1', 2.5), ('2', True), ('3', 'x')]\n"


def test_place_of_an_unknown_line_has_no_excerpt() -> None:
    assert Place('x').excerpt == ''
