"""The commands, as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import INVENTORIES, ROOT, Deployment

UPLOAD = str(ROOT / 'cgi-bin' / 'upload.py')


def run(*arguments: object, stdin: bytes = b'', **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **environ},
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert b'Traceback' not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def run_match(*arguments: object, stdin: bytes = b'') -> tuple[int, str, str]:
    return run('-m', 'edeploylib.match', *arguments, stdin=stdin)


def test_match_prints_each_variable_with_its_rule_and_fact(tmp_path: Path) -> None:
    (tmp_path / 'hw').write_text(
        "[('disk', 'vda', 'size', '10'), ('cpu', 'logical', 'number', 2)]"
    )
    (tmp_path / 'specs').write_text(
        "[('cpu', 'logical', 'number', '$$n'), ('disk', '$disk', 'size', '$s=gt(4)')]"
    )
    assert run_match(tmp_path / 'hw', tmp_path / 'specs') == (
        0,
        "$$n = 2  by rule 1 ('cpu', 'logical', 'number', '$$n') "
        "from fact [1] ('cpu', 'logical', 'number', 2)\n"
        "$disk = 'vda'  by rule 2 ('disk', '$disk', 'size', '$s=gt(4)') "
        "from fact [0] ('disk', 'vda', 'size', '10')\n"
        "$s = '10'  by rule 2 ('disk', '$disk', 'size', '$s=gt(4)') "
        "from fact [0] ('disk', 'vda', 'size', '10')\n",
        '',
    )


def test_match_reads_standard_input(samples: Deployment) -> None:
    vm = (INVENTORIES / 'vm.json').read_bytes()
    status, out, _ = run_match('-', samples.config / 'vm.specs', stdin=vm)
    assert (status, out.count('\n')) == (0, 3)


def test_match_says_no(samples: Deployment) -> None:
    found = run_match(INVENTORIES / 'vm.json', samples.config / 'storage.specs')
    assert found == (1, 'no match\n', '')


@pytest.mark.parametrize(
    ('hw', 'specs', 'message'),
    [
        ('[["a"]]', '[]', '{hw}: fact [0]: expected 4 elements (category, name, property, value)'),
        ('[]', "[('a', 'b', 'c', 'gt(x)')]", "{specs}:1:18: 'gt(x)': expected a number"),
        (None, '[]', 'cannot read {hw}: No such file or directory'),
        ('[]', None, 'cannot read {specs}: No such file or directory'),
        ('[' * 100_000, '[]', '{hw}: nested too deep for a list of facts'),
    ],
)
def test_match_tells_an_error_and_exits_2(tmp_path: Path, hw, specs, message: str) -> None:
    paths = {'hw': tmp_path / 'hw', 'specs': tmp_path / 'specs'}
    for name, text in (('hw', hw), ('specs', specs)):
        if text is not None:
            paths[name].write_text(text)
    status, out, err = run_match(paths['hw'], paths['specs'])
    assert (status, out) == (2, '')
    assert err.startswith(message.format(**paths))


def test_match_warns_of_what_is_hardly_meant(tmp_path: Path) -> None:
    (tmp_path / 'hw').write_text('[["a", "b", "c", null]]')
    (tmp_path / 'specs').write_text("[('a', 'b', 'c', 'rnage(1, 2)')]")
    status, out, err = run_match(tmp_path / 'hw', tmp_path / 'specs')
    assert (status, out) == (1, 'no match\n')
    assert err == (
        "warning: fact [0] ('a', 'b', 'c') left out: its value is null\n"
        f"warning: {tmp_path}/specs:1:18: 'rnage(1, 2)' looks like a call of an unknown operator: "
        'did you mean range?\n'
    )


@pytest.mark.parametrize('command', [('-m', 'edeploylib.match'), (UPLOAD,)])
def test_help_and_wrong_arguments(command: tuple[str, ...]) -> None:
    status, out, _ = run(*command, '--help')
    assert status == 0
    assert 'exit status: 0' in out
    status, _, err = run(*command, '--nonsense')
    assert (status, err[:6]) == (2, 'usage:')


def test_upload_from_the_command_line(samples: Deployment) -> None:
    """The same answer as over HTTP, and the same changes."""
    rack = INVENTORIES / 'rack.json'
    status, out, err = run(UPLOAD, '-f', rack, EDEPLOY_CONF=str(samples.conf))
    assert (status, err) == (0, '')
    assert '#EDEPLOY_PROFILE = rack\n' in out
    assert "('rack', 2)" in samples.texts()['state']
    assert (samples.hw / 'Blade3-TAG2-02-00-00-00-02-01.hw').exists()

    status, out, err = run(
        UPLOAD, '-f', '-', '-F', 'rack', '--conf', samples.conf, stdin=rack.read_bytes()
    )
    assert (status, out, err) == (
        0,
        "# the failure of 'rack' is noted, its quota given back\n",
        '',
    )
    assert "('rack', 3)" in samples.texts()['state']


def test_upload_from_the_command_line_refuses(samples: Deployment, tmp_path: Path) -> None:
    nothing = tmp_path / 'nothing.hw'
    nothing.write_text('[]')
    status, out, err = run(UPLOAD, '-f', nothing, '--conf', samples.conf)
    assert (status, out) == (1, '')
    assert err.splitlines()[-1] == '  vm: its spec does not match'
    status, out, err = run(UPLOAD, '-f', nothing, '--conf', tmp_path / 'none')
    assert (status, out) == (2, '')
    assert err.startswith('no settings: ')
    status, out, err = run(UPLOAD, '-f', nothing, '--conf', samples.conf, '--section', 'LAB')
    assert (status, err) == (2, f"{samples.conf}: unknown section 'LAB', expected SERVER\n")


def test_upload_as_cgi(samples: Deployment) -> None:
    """As any web server runs it: the environment and standard input."""
    rack = (INVENTORIES / 'rack.json').read_bytes()
    body = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="h"\r\n\r\n'
        + rack
        + b'\r\n--B--\r\n'
    )
    environ = {
        'GATEWAY_INTERFACE': 'CGI/1.1',
        'REQUEST_METHOD': 'POST',
        'SERVER_NAME': 'localhost',
        'SERVER_PORT': '80',
        'SERVER_PROTOCOL': 'HTTP/1.1',
        'REMOTE_ADDR': '10.0.0.7',
        'CONTENT_TYPE': 'multipart/form-data; boundary=B',
        'CONTENT_LENGTH': str(len(body)),
        'EDEPLOY_CONF': str(samples.conf),
    }
    status, out, err = run(UPLOAD, stdin=body, **environ)
    assert status == 0
    head, _, script = out.replace('\r\n', '\n').partition('\n\n')
    assert head.startswith('Status: 200 OK')
    assert script.startswith('#!/usr/bin/env python3\n#EDEPLOY_PROFILE = rack\n')
    assert 'machine=Blade3-TAG2-02-00-00-00-02-01 profile=rack' in err


def test_try_shows_the_main_job() -> None:
    """And refuses what cannot be."""
    status, out, err = run(ROOT / 'tools' / 'try')
    assert status == 0, err
    assert '#EDEPLOY_PROFILE = vm\n' in out
    assert "+  'used': 1}," in err
    status, out, err = run(ROOT / 'tools' / 'try', '--hw', ROOT / 'nonsense.json')
    assert status == 2
    assert err.endswith('nonsense.json is no file\n')


def test_try_refuses_as_the_server_does(tmp_path: Path) -> None:
    hw = tmp_path / 'hw.json'
    hw.write_text(json.dumps([['a', 'b', 'c', 'd']]))
    status, out, err = run(ROOT / 'tools' / 'try', '--hw', hw)
    assert (status, out[:10]) == (1, '#!/bin/sh\n')
    assert err.endswith('HTTP 404; this is what changed on the server:\nnothing\n')


@pytest.mark.parametrize('command', [[UPLOAD, '-f'], ['-m', 'edeploylib.match']])
@pytest.mark.parametrize('shell', ['>/dev/full', '>&-', '<&-', '2>&-'])
def test_a_broken_terminal_is_an_error(
    samples: Deployment, command: list[str], shell: str
) -> None:
    """And not the exit status of a refusal, nor a traceback."""
    rest = [] if UPLOAD in command else [samples.config / 'rack.specs']
    words = [sys.executable, *command, INVENTORIES / 'rack.json', *rest]
    done = subprocess.run(
        ['sh', '-c', f'"$@" {shell}', 'sh', *map(str, words)],
        env={**os.environ, 'EDEPLOY_CONF': str(samples.conf)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr


def test_any_text_is_printed_on_any_terminal(samples: Deployment, tmp_path: Path) -> None:
    hw = tmp_path / 'hw.json'
    hw.write_text(json.dumps([['a', 'b', 'c', 'é€\x1b[2J']]))
    (tmp_path / 'é\x1b[2J.specs').write_text("[('a', 'b', 'c', '$v')]")
    specs = tmp_path / 'é\x1b[2J.specs'
    ascii = {
        'PYTHONIOENCODING': 'ascii',
        'LC_ALL': 'C',
        'PYTHONUTF8': '0',
        'PYTHONCOERCECLOCALE': '0',
    }
    status, out, _ = run('-m', 'edeploylib.match', hw, specs, **ascii)
    assert (status, out.startswith("$v = 'é€\\x1b[2J'")) == (0, True)
    specs.write_text('[')
    status, _, err = run('-m', 'edeploylib.match', hw, specs, **ascii)
    assert (status, '\x1b' in err) == (2, False)


def test_bench_measures() -> None:
    """Without the peer, which takes its time."""
    status, out, _ = run(ROOT / 'tools' / 'bench', '--no-peer', '--json', '--only', 'pigeon')
    figures = json.loads(out)
    assert status == 0
    assert [row['size'] for row in figures['match']] == [3, 6, 12, 24]
    assert all(0 < row['warm'] <= row['cold'] * 2 for row in figures['match'])
    assert set(figures['growth']) == {'pigeonhole'}
