"""``python -m edeploylib COMMAND``, as processes."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from edeploylib.cli.desk import COMMANDS


def desk(*arguments: object, stdin: bytes = b'', **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, '-m', 'edeploylib', *map(str, arguments)],
        env={**os.environ, **environ},
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert b'Traceback' not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_has_its_help_and_its_place_in_the_readme(command: str) -> None:
    importlib.import_module(f'edeploylib.cli.{command.replace("-", "_")}')
    status, out, _ = desk(command, '--help')
    assert status == 0
    assert 'exit status' in out
    assert all(option in out for option in ('--conf', '--section', '--json'))
    assert f'$ python -m edeploylib {command} ' in (ROOT / 'README.rst').read_text()


def test_a_slip_in_the_command_line_is_an_error() -> None:
    for words in ([], ['chekc'], ['verify-cmdb', 'ip']):
        assert desk(*words)[0] == 2
    assert desk('--version') == (0, 'edeploy 0.1.0\n', '')


def test_verify_cmdb_finds_a_used_entry(tmp_path: Path) -> None:
    cmdb = tmp_path / 'vm.cmdb'
    cmdb.write_text("[{'ip': '1', 'used': 1}, {'ip': '2'}, {'ip': 2, 'used': 1, 'x': '\\x1b'}]")
    assert desk('verify-cmdb', 'ip', '1', cmdb) == (
        0,
        f"{cmdb}: entry 0 is used: {{'ip': '1', 'used': 1}}\n",
        '',
    )
    status, out, _ = desk('verify-cmdb', 'ip', '2', cmdb, '--json')
    assert (status, [one['index'] for one in json.loads(out)['entries']]) == (0, [1, 2])
    assert desk('verify-cmdb', 'ip', '3', cmdb) == (1, "no entry has ip='3'\n", '')
    assert desk('verify-cmdb', 'ip', '2', '-', stdin=b"[{'ip': '2'}]")[0] == 1
    assert desk('verify-cmdb', 'ip', '2', '-', stdin=b'[')[0] == 2
    assert desk('verify-cmdb', 'ip', '2', tmp_path / 'none') == (
        2,
        '',
        f'cannot read {tmp_path}/none: No such file or directory\n',
    )
