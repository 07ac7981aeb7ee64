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


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """An inventory and a spec that it satisfies."""
    hw, specs = tmp_path / 'hw', tmp_path / 'specs'
    hw.write_text(
        "[('disk', 'vda', 'size', '10'), ('cpu', 'logical', 'number', 2), ('disk', 'b', 'size', '9')]"
    )
    specs.write_text(
        "[('cpu', 'logical', 'number', '$$n'), ('disk', '$disk', 'size', '$s=gt(4)')]"
    )
    return hw, specs


def test_match_prints_each_variable_with_its_rule_and_fact(pair: tuple[Path, Path]) -> None:
    assert run_match(*pair) == (
        0,
        f"""\
{pair[1]}: match
  variable  value  by rule                                     from fact
  $$n       2      1 ('cpu', 'logical', 'number', '$$n')       [1] ('cpu', 'logical', 'number', 2)
  $disk     'vda'  2 ('disk', '$disk', 'size', '$s=gt(4)')     [0] ('disk', 'vda', 'size', '10')
  $s        '10'   2 ('disk', '$disk', 'size', '$s=gt(4)')     [0] ('disk', 'vda', 'size', '10')
  rules that other facts could serve, if they stood alone: 2 (1 of 2)
""".replace(
            'by rule                                     from',
            'by rule                                  from',
        )
        .replace("'$$n')       [", "'$$n')    [")
        .replace("gt(4)')     [", "gt(4)')  ["),
        '',
    )


def test_match_for_programs(pair: tuple[Path, Path]) -> None:
    hw, specs = pair
    status, out, _ = run_match(hw, specs, '--json')
    (found,) = json.loads(out)['specs']
    assert (status, found['match'], found['keys']) == (0, True, {'n': 2})
    assert found['rules'][1] == {
        'rule': 2,
        'fact': 0,
        'choices': 2,
        'terms': ['disk', '$disk', 'size', '$s=gt(4)'],
    }
    assert run_match(hw, specs, '--var', 'disk') == (0, 'vda\n', '')
    assert run_match(hw, specs, '--var', '$disk') == (0, 'vda\n', '')
    assert run_match(hw, specs, '--quiet') == (0, '', '')
    status, out, err = run_match(hw, specs, '--var', 'nonsense')
    assert (status, out, err) == (2, '', "no variable 'nonsense', the spec captures n, disk, s\n")


def test_match_for_programs_where_there_is_none(pair: tuple[Path, Path]) -> None:
    hw, specs = pair
    specs.write_text("[('disk', '$disk', 'size', 'gt(40)')]")
    status, out, _ = run_match(hw, specs, '--json')
    (reason,) = json.loads(out)['specs'][0]['reasons']
    assert (status, reason['kind'], reason['rules']) == (1, 'no fact', [1])
    assert run_match(hw, specs, '--quiet') == (1, '', '')
    status, out, err = run_match(hw, specs, '--var', 'disk')
    assert (status, out) == (1, '')
    assert err.startswith('no fact serves rule 1')


def test_match_of_several_specs_goes_on_behind_a_broken_one(pair: tuple[Path, Path]) -> None:
    """All mistakes of a file at once, and the other files all the same."""
    hw, specs = pair
    bad = specs.with_name('bad.specs')
    bad.write_text("[\n ('a', 'b', 'c', 'gt(x)'),\n ('a', 'b', 'c'),\n ('$', 'b', 'c', 'd'),\n]")
    status, out, err = run_match(hw, bad, specs)
    assert (status, out.splitlines()[0]) == (2, f'{specs}: match')
    assert [line for line in err.splitlines() if line.startswith(str(bad))] == [
        f"{bad}:2:18: 'gt(x)': expected a number, found 'x'",
        f'{bad}:3:2: expected 4 elements (category, name, property, value), found 3',
        f"{bad}:4:3: '$': expected the name of a variable after '$'",
    ]
    status, out, _ = run_match(hw, bad, specs, '--json')
    assert (status, len(json.loads(out)['specs'][0]['errors'])) == (2, 3)


def test_match_goes_through_a_folder_as_an_upload_would(samples: Deployment) -> None:
    """And changes nothing."""
    before = samples.texts()
    status, out, _ = run_match(INVENTORIES / 'storage.json', samples.config)
    assert status == 0
    assert out.splitlines()[:2] == [
        'rack: no, its spec does not match',
        "  no fact serves rule 1 ('system', 'product', 'serial', '$$tag=regexp(^TAG[0-9]+$)')",
    ]
    assert 'storage: would be taken\n  with the entry {' in out
    assert "  hostname = 'store01'\n" in out
    assert out.endswith('not asked: vm\n')
    samples.write(state="[('rack', 0), ('storage', 1)]", storage_cmdb="[{'a': 1, 'used': 1}]")
    status, out, _ = run_match(INVENTORIES / 'storage.json', samples.config)
    assert (status, out) == (
        1,
        'rack: no, its quota is spent\n'
        'storage: no, its CMDB has no entry for it: no entry left: 1 of 1 used\n',
    )
    status, out, _ = run_match(INVENTORIES / 'storage.json', samples.config, '--json')
    assert (status, json.loads(out)['profile']) == (1, None)
    status, out, err = run_match(INVENTORIES / 'storage.json', samples.config, '--var', 'eth')
    assert (status, out, 'rack: its quota is spent' in err) == (1, '', True)
    samples.write(storage_specs='[')
    status, _, err = run_match(INVENTORIES / 'storage.json', samples.config)
    assert (status, 'storage.specs:1:1: not a Python literal' in err) == (2, True)
    rest = {name: text for name, text in samples.texts().items() if not name.startswith('s')}
    assert rest == {name: text for name, text in before.items() if not name.startswith('s')}


@pytest.mark.parametrize('width', [60, 300])
def test_match_on_a_terminal(pair: tuple[Path, Path], width: int) -> None:
    """In colour, unless asked not to, and as wide as it is."""
    pexpect = pytest.importorskip('pexpect')
    for no_color in ('', '1'):
        if not os.path.exists('/dev/pts/ptmx'):
            pytest.skip('needs pseudo terminals: mount -t devpts devpts /dev/pts')
        child = pexpect.spawn(
            sys.executable,
            ['-m', 'edeploylib.match', *map(str, pair)],
            env={**os.environ, 'NO_COLOR': no_color, 'COLUMNS': ''},
            dimensions=(40, width),
        )
        lines = child.read().decode().splitlines()
        child.close()
        table = [line for line in lines if line.startswith('  $')]
        assert len(table) == 3
        assert all(len(line) <= width for line in table)
        assert ('…' in table[0]) == (width == 60)
        assert ('\x1b[' in ''.join(lines)) == (no_color == '')


def test_match_reads_standard_input(samples: Deployment) -> None:
    vm = (INVENTORIES / 'vm.json').read_bytes()
    status, out, _ = run_match('-', samples.config / 'vm.specs', stdin=vm)
    assert (status, out.count('\n  $')) == (0, 3)


def test_match_says_no(samples: Deployment) -> None:
    found = run_match(INVENTORIES / 'vm.json', samples.config / 'storage.specs')
    assert found[0] == 1
    assert found[1].startswith(
        f'{samples.config}/storage.specs: no match\n  no fact serves rule 1'
    )


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
    assert (status, out.splitlines()[0]) == (1, f'{tmp_path}/specs: no match')
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


def test_upload_from_the_command_line_warns(samples: Deployment) -> None:
    """Of slips in specs, and of edits that do not fit."""
    rack = INVENTORIES / 'rack.json'
    run(UPLOAD, '-f', rack, '--conf', samples.conf)
    samples.write(rack_specs="[('disk', '$d', 'size', 'not(gte(4))')]", rack_cmdb="[{'tag': 'x'}]")
    status, _, err = run(UPLOAD, '-f', INVENTORIES / 'storage.json', '--conf', samples.conf)
    assert status == 0
    assert 'warning: rack: the entry of machine 1 is no longer there\n' in err
    assert 'did you mean ge?' in err


def test_upload_from_the_command_line_refuses(samples: Deployment, tmp_path: Path) -> None:
    nothing = tmp_path / 'nothing.hw'
    nothing.write_text('[]')
    status, out, err = run(UPLOAD, '-f', nothing, '--conf', samples.conf)
    assert (status, out) == (1, '')
    assert '  vm: its spec does not match\n    no fact serves rule 1' in err
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
    assert (status, "'é€\\x1b[2J'" in out) == (0, True)
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


def test_match_notices_that_its_arguments_are_swapped(pair: tuple[Path, Path]) -> None:
    hw, specs = pair
    _, _, err = run_match(specs, hw)
    assert err == f'warning: {specs} has facts that look like rules: is it the spec?\n'
