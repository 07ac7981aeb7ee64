"""The installer's parts, without a machine: real files, programs and servers on loopback."""

import gzip
import hashlib
import http.server
import io
import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import INVENTORIES, ROOT, Deployment
from edeploylib.inventory import Inventory
from edeploylib.node import detect, finish, network, outcome, params, roles, upload
from edeploylib.node.install import Machine, Places, attempt, guarded
from edeploylib.node.log import Failure, Log, printable
from edeploylib.node.network import Lease, Rule
from edeploylib.web.upload import Application
from webserver import free_port, running


class Heard(NamedTuple):
    """A log in a scratch folder, and the console beside it."""

    log: Log
    console: io.StringIO

    @property
    def said(self) -> str:
        return self.console.getvalue()

    @property
    def kept(self) -> str:
        return self.log.path.read_text()


@pytest.fixture
def heard(tmp_path: Path) -> Heard:
    console = io.StringIO()
    return Heard(Log(tmp_path / 'install.log', console, clock=lambda: 1), console)


# The command line


def test_a_parameter_that_is_not_given_has_edeploys_default() -> None:
    found = params.parse('quiet SERV=10.0.0.1')
    assert found == params.Params(serv='10.0.0.1', rserv='10.0.0.1')
    assert found.upload_url == 'http://10.0.0.1:80/cgi-bin/upload.py'
    assert (found.rserv_port, found.rpath, found.section) == (831, 'install', 'SERVER')
    assert (found.onsuccess, found.onfailure) == ('reboot', 'console')


def test_all_parameters_are_read() -> None:
    found = params.parse(
        'SERV=a HTTP_PORT=9000 HTTP_PATH=/cgi-bin/edeploy/ SECTION=LAB HSERV=b HSERV_PORT=8080 '
        'HPATH=/trees RSERV=c RSERV_PORT=1515 RPATH=/roles/ ONSUCCESS=kexec ONFAILURE=halt '
        'KEXEC_KERNEL=vmlinuz-6.1 UPLOAD_LOG=1 VERBOSE=1 IP=eth0:dhcp,other:none\n'
    )
    rules = (Rule('eth0', 'dhcp'), Rule('other', 'none'))
    assert found == params.Params(
        *('a', 9000, '/cgi-bin/edeploy/', 'LAB', 'b', 8080, '/trees', 'c', 1515, 'roles'),
        *('kexec', 'halt', 'vmlinuz-6.1', True, True, rules, ()),
    )
    assert found.upload_url == 'http://a:9000/cgi-bin/edeploy/upload.py'


@pytest.mark.parametrize(
    ('cmdline', 'kept'),
    [
        ('SERV=a | console=ttyS0 quiet |', ('console=ttyS0', 'quiet')),
        ('SERV=a | console=ttyS0', ('console=ttyS0',)),
        ('| a=1 | SERV=a | b |', ('a=1', 'b')),
        ('SERV=a | x="y | z" |', ('x="y | z"',)),
        ('SERV=a', ()),
    ],
)
def test_words_between_bars_are_kept_for_the_installed_system(
    cmdline: str, kept: tuple[str, ...]
) -> None:
    found = params.parse(cmdline)
    assert (found.serv, found.kept) == ('a', kept)


def test_words_between_bars_are_no_parameters() -> None:
    assert params.parse('SERV=a | SERV=b |').serv == 'a'


def test_quotes_hold_blanks_together_as_in_the_kernel() -> None:
    assert params.split('a="b  c"\t"d=e f" g\n')[0] == ['a=b  c', 'd=e f', 'g']


@given(st.text('ab"| =\t', max_size=30))
def test_any_command_line_is_cut_into_words_without_loss(cmdline: str) -> None:
    words, kept = params.split(cmdline)
    characters = ''.join([*words, *kept]).replace('"', '').replace(' ', '').replace('\t', '')
    assert sorted(characters.replace('|', '')) == sorted(
        char for char in cmdline if char not in ' \t"|'
    )


@pytest.mark.parametrize(
    ('cmdline', 'reason'),
    [
        ('quiet', 'SERV is not on the kernel command line'),
        ('SERV=a HTTP_PORT=http', "HTTP_PORT='http': expected a port, 1 to 65535"),
        ('SERV=a RSERV_PORT=0', "RSERV_PORT='0': expected a port"),
        (
            'SERV=a ONSUCCESS=dance',
            "ONSUCCESS='dance': expected one of reboot, halt, kexec, console",
        ),
        ('SERV=a ONFAILURE=kexec', "ONFAILURE='kexec': expected one of console, halt, reboot"),
        ('SERV=a VERBOSE=yes', "VERBOSE='yes': expected 0 or 1"),
        ('SERV=10.0.0.1:8080', 'expected a name or an address, the port is HTTP_PORT'),
        ('SERV=http://10.0.0.1', 'expected a name or an address'),
        ('SERV="a b"', 'expected a name or an address'),
        ('SERV=a HTTP_PATH="/a b/"', 'expected a path without blanks'),
        ('SERV=a IP=', "IP='': expected CARD:dhcp"),
        ('SERV=a IP=eth0', "found 'eth0'"),
        ('SERV=a IP=eth0:10.0.0.5', "expected dhcp, none or ADDRESS/BITS in 'eth0:10.0.0.5'"),
        (
            'SERV=a IP=eth0:10.0.0.300/24',
            "expected dhcp, none or ADDRESS/BITS in 'eth0:10.0.0.300/24'",
        ),
        ('SERV=a IP=eth0:dhcp@0', "expected a VLAN from 1 to 4094, found '0'"),
    ],
)
def test_a_bad_parameter_is_named_with_what_was_expected(cmdline: str, reason: str) -> None:
    with pytest.raises(Failure) as failure:
        params.parse(cmdline)
    assert reason in str(failure.value)


@pytest.mark.parametrize(
    ('cmdline', 'how'),
    [
        ('ONFAILURE=halt HTTP_PORT=x', 'halt'),
        ('ONFAILURE=reboot', 'reboot'),
        ('ONFAILURE=dance', 'console'),
        ('', 'console'),
        ('| ONFAILURE=halt |', 'console'),
    ],
)
def test_onfailure_is_known_though_the_rest_is_wrong(cmdline: str, how: str) -> None:
    assert params.on_failure(cmdline) == how


# The network


def test_each_card_has_the_rule_that_names_it_else_that_of_other() -> None:
    rules = network.parse_rules('eth0:192.168.1.2/24@101,eth1:dhcp@7,other:none')
    assert network.rule_of('eth0', rules) == Rule('eth0', '192.168.1.2/24', 101)
    assert network.rule_of('eth1', rules) == Rule('eth1', 'dhcp', 7)
    assert network.rule_of('eth2', rules) == Rule('eth2', 'none')
    assert network.rule_of('eth2', rules[:1]) == Rule('eth2', 'none')


def test_a_fixed_address_on_a_vlan_is_set_on_the_vlans_device() -> None:
    commands = [
        ' '.join(command) for command in network.commands_of(Rule('eth0', '10.0.0.2/8', 9))
    ]
    assert commands == [
        'ip link set eth0 up',
        'ip link add link eth0 name eth0.9 type vlan id 9',
        'ip link set eth0.9 up',
        'ip address replace 10.0.0.2/8 dev eth0.9',
    ]


def test_a_card_that_is_to_have_none_is_left_alone() -> None:
    assert network.commands_of(Rule('eth0', 'none')) == []


def test_only_hardware_with_ethernet_is_a_card(tmp_path: Path) -> None:
    for name, kind, is_hardware in (
        ('eth1', '1', True),
        ('eth0', '1', True),
        ('lo', '772', False),
        ('dummy0', '1', False),
        ('ib0', '32', True),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'type').write_text(f'{kind}\n')
        if is_hardware:
            (tmp_path / name / 'device').mkdir()
    assert network.cards(tmp_path) == ['eth0', 'eth1']


def test_a_lease_becomes_an_address_a_route_and_name_servers() -> None:
    lease = network.parse_lease(
        'eth0',
        {'ip': '10.0.2.15', 'subnet': '255.255.255.0', 'router': '10.0.2.2 10.0.2.9',
         'dns': '10.0.2.3 10.0.2.4', 'domain': 'rack.example'},
    )  # fmt: skip
    assert lease == Lease(
        'eth0', '10.0.2.15/24', ('10.0.2.2', '10.0.2.9'), ('10.0.2.3', '10.0.2.4'), 'rack.example'
    )
    assert [' '.join(command) for command in network.commands_of_lease(lease, 100)] == [
        'ip address replace 10.0.2.15/24 dev eth0',
        'ip route replace default via 10.0.2.2 dev eth0 metric 100',
    ]
    assert network.resolv_conf([lease]) == (
        'search rack.example\nnameserver 10.0.2.3\nnameserver 10.0.2.4\n'
    )


@pytest.mark.parametrize(
    'given', [{}, {'ip': '10.0.0.1; reboot'}, {'ip': '10.0.0.1', 'router': '-all'}]
)
def test_a_lease_with_what_is_no_address_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Failure, match='gave what is no address'):
        network.parse_lease('eth0', given)


class Cards(NamedTuple):
    """A /sys/class/net, the places of leases, and programs that stand for ip and udhcpc."""

    root: Path
    log: Log

    def add(self, card: str, *, cable: bool = True, lease: str = '') -> None:
        """``lease`` is the address that a DHCP server has for it; without, none answers."""
        folder = self.root / 'net' / card
        (folder / 'device').mkdir(parents=True)
        (folder / 'type').write_text('1\n')
        (folder / 'carrier').write_text(f'{int(cable)}\n')
        (self.root / f'server-{card}').write_text(lease)

    def bring_up(self, ip: str) -> list[str]:
        rules = network.parse_rules(ip)
        return network.bring_up(rules, self.log, self.root / 'net', self.root / 'run', self.root)

    @property
    def commands(self) -> list[str]:
        return (self.root / 'commands').read_text().splitlines()


UDHCPC = """\
while [ $# -gt 0 ]; do [ "$1" = -i ] && card=$2; shift; done
ip=$(cat {root}/server-$card)
[ -n "$ip" ] || exec sleep 60
printf 'ip=%s\\0subnet=255.255.255.0\\0dns=10.0.0.1\\0' "$ip" > {root}/run/lease-$card
"""


@pytest.fixture
def cards(tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> Cards:
    for name, text in (('ip', f'echo "$@" >> {tmp_path}/commands\n'), ('busybox', UDHCPC)):
        program = tmp_path / 'bin' / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\n{text.replace("{root}", str(tmp_path))}')
        program.chmod(0o755)
    (tmp_path / 'run').mkdir()
    monkeypatch.setenv('PATH', f'{tmp_path}/bin:{os.environ["PATH"]}')
    return Cards(tmp_path, heard.log)


def test_a_card_without_cable_does_not_hold_up_the_others(cards: Cards) -> None:
    cards.add('eth0', cable=False)
    cards.add('eth1', lease='10.0.0.7')
    assert cards.bring_up('other:dhcp') == ['eth1 10.0.0.7/24']
    assert 'address replace 10.0.0.7/24 dev eth1' in cards.commands
    assert (cards.root / 'resolv.conf').read_text() == 'nameserver 10.0.0.1\n'


def test_fixed_and_given_addresses_go_together(cards: Cards) -> None:
    cards.add('eth0')
    cards.add('eth1', lease='10.0.0.7')
    cards.add('eth2', lease='10.0.0.8')
    found = cards.bring_up('eth0:192.168.1.2/16,eth1:dhcp,other:none')
    assert found == ['eth0 192.168.1.2/16', 'eth1 10.0.0.7/24']
    assert not any('eth2' in command for command in cards.commands)


def test_a_machine_whose_cards_are_all_to_be_left_alone_is_told(cards: Cards) -> None:
    cards.add('eth0')
    with pytest.raises(Failure, match='the parameter IP leaves all cards alone: eth0'):
        cards.bring_up('other:none')


def test_a_network_without_an_answer_is_told_card_by_card(
    cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cards.root / 'bin/busybox').write_text('#!/bin/sh\nexit 1\n')
    cards.add('eth0')
    cards.add('eth1', cable=False)
    with pytest.raises(Failure) as failure:
        cards.bring_up('other:dhcp')
    assert str(failure.value) == (
        'no card got an address by DHCP: eth0: no answer; eth1: no cable'
    )


# The console and the log


def test_what_others_say_cannot_act_on_the_terminal() -> None:
    assert printable('a\x1b[2J\r\x9bé') == r'a\x1b[2J\r\x9bé'


@given(st.text())
def test_nothing_printable_is_changed(text: str) -> None:
    assert printable(text).isprintable()
    assert not text.isprintable() or printable(text) == text


def test_a_failing_program_is_told_with_its_last_lines(heard: Heard) -> None:
    with pytest.raises(Failure) as failure:
        heard.log.run(['sh', '-c', 'seq 30; echo why >&2; exit 3'], what='the script')
    lines = str(failure.value).split('\n')
    assert lines[0] == 'the script failed with status 3'
    assert lines[1:] == [*map(str, range(12, 31)), 'why']
    assert '+ sh -c' in heard.kept
    assert heard.said == ''


def test_a_program_that_is_not_there_is_a_failure(heard: Heard) -> None:
    with pytest.raises(Failure, match='no-such-program: No such file or directory'):
        heard.log.run(['no-such-program'])


def test_a_program_that_leaves_one_behind_has_ended(heard: Heard) -> None:
    """Though what runs in the background has its output open: a daemon of a configure script."""
    status, last = heard.log.try_run(['sh', '-c', 'sleep 30 & echo $!; printf end'])
    os.kill(int(last[0]), signal.SIGTERM)
    assert (status, last[1]) == (0, 'end')


def test_the_console_hears_of_a_program_that_takes_long(tmp_path: Path) -> None:
    """It is told each minute, by a clock that runs fast here."""
    ticks = itertools.count(step=25)
    console = io.StringIO()
    log = Log(tmp_path / 'log', console, clock=lambda: next(ticks))
    log.run(['sh', '-c', 'for i in 1 2 3 4; do echo $i; sleep 0.02; done'])
    assert 'sh has been running for 60 s' in console.getvalue()


def test_a_verbose_console_hears_all(tmp_path: Path) -> None:
    console = io.StringIO()
    log = Log(tmp_path / 'log', console, verbose=True)
    log.run(['echo', 'hello'])
    assert 'hello' in console.getvalue()


# Detection


FACTS = [
    ['system', 'product', 'name', 'Standard PC (i440FX)'],
    ['system', 'product', 'vendor', 'QEMU'],
    ['system', 'product', 'serial', 'S/1'],
    ['disk', 'vda', 'size', '4'],
    ['network', 'ib0', 'serial', '80:00:00:48:fe:80'],
    ['network', 'eth0', 'serial', '52:54:00:AA:BB:CC'],
]


def detector(output: str, status: int = 0) -> list[str]:
    return ['sh', '-c', f'printf "%s" \'{output}\'; echo noise >&2; exit {status}']


def test_what_the_detector_prints_is_the_inventory(heard: Heard) -> None:
    found = detect.detect(heard.log, detector(json.dumps(FACTS)))
    assert detect.facts_of(found) == FACTS
    assert 'noise' in heard.kept
    assert 'QEMU Standard PC (i440FX), serial S/1, disks vda, cards eth0 ib0' in detect.summary(
        FACTS
    )


@pytest.mark.parametrize(
    ('command', 'reason'),
    [
        (detector('[]', 1), 'hardware detection failed with status 1:\nnoise'),
        (detector('oops'), 'printed no JSON'),
        (detector('{}'), 'printed no list of facts'),
        (detector('[[1, 2]]'), 'printed no list of facts'),
        (['no-such-detector'], 'no-such-detector: No such file'),
    ],
)
def test_a_detector_that_fails_is_told(heard: Heard, command: list[str], reason: str) -> None:
    with pytest.raises(Failure) as failure:
        detect.detect(heard.log, command)
    assert reason in str(failure.value)


@pytest.mark.parametrize(
    'facts',
    [
        FACTS,
        FACTS[1:4],
        FACTS[:1],
        *(json.loads(p.read_text()) for p in INVENTORIES.glob('*.json')),
    ],
)
def test_the_machine_and_the_server_have_one_name_for_it(facts: list[list[object]]) -> None:
    assert detect.name_of(facts) == Inventory.parse(json.dumps(facts)).sysname


# The upload


Answer = tuple[str, list[tuple[str, str]]]


class Site(NamedTuple):
    """The real page on loopback, answers that it gives before, and what it was asked."""

    url: str
    deployment: Deployment
    before: list[Answer]
    waits: list[float]

    def server(self, heard: Heard, patience: float = 300) -> upload.Server:
        return upload.Server(self.url, 'SERVER', heard.log, patience, self.waits.append)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(samples: Deployment) -> Iterator[Site]:
    page = Application(str(samples.conf))
    before: list[Answer] = []

    def answer(environ: dict[str, object], start: Callable[..., object]) -> object:
        if not before:
            return page(environ, start)  # type: ignore[arg-type]
        environ['wsgi.input'].read(int(str(environ['CONTENT_LENGTH'])))  # type: ignore[attr-defined]
        start(*before.pop(0))
        return [b'later']

    with make_server('127.0.0.1', 0, answer, handler_class=_Quiet) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        url = f'http://127.0.0.1:{server.server_port}/cgi-bin/upload.py'
        yield Site(url, samples, before, [])
        server.shutdown()
        thread.join()


VM = (INVENTORIES / 'vm.json').read_bytes()


def test_an_upload_gets_the_configure_script(site: Site, heard: Heard) -> None:
    script = site.server(heard).script_for(VM)
    assert upload.profile_of(script) == 'vm'
    assert "'hostname': 'host03'" in script
    assert site.waits == []


def test_a_server_that_is_busy_is_asked_again(site: Site, heard: Heard) -> None:
    site.before.append(('503 Busy', [('Retry-After', '20')]))
    site.before.extend([('502 Bad', []), ('504 Late', [])])
    assert 'EDEPLOY_PROFILE' in site.server(heard).script_for(VM)
    assert site.waits == [20, 2, 4]
    assert 'is busy (503): later; again in 20 s' in heard.said


def test_no_server_is_waited_for_longer_than_patience(site: Site, heard: Heard) -> None:
    """However long it asks one to wait."""
    site.before.extend([('503 Busy', [('Retry-After', '60')])] * 9)
    site.before.append(('503 Busy', [('Retry-After', '9' * 5000)]))
    with pytest.raises(Failure, match='given up after 100 s'):
        site.server(heard, 100).script_for(VM)
    assert sum(site.waits) == 100


def test_a_profile_may_have_blanks_in_its_name(site: Site, heard: Heard) -> None:
    for kind in ('specs', 'configure', 'cmdb'):
        (site.deployment.config / f'vm.{kind}').rename(site.deployment.config / f'my vm.{kind}')
    site.deployment.put('state', "[('my vm', 1)]")
    server = site.server(heard)
    assert upload.profile_of(server.script_for(VM)) == 'my vm'
    assert 'its quota given back' in server.report_failure(VM, 'my vm')


def test_an_answer_that_is_cut_off_is_none(heard: Heard) -> None:
    """Half of a configure script would be run as root."""
    listening = socket.create_server(('127.0.0.1', 0))

    def cut_off() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                head = b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n'
                connection.sendall(head + b'#!/usr/bin/env python3\n#EDEPLOY_PROFILE = vm\n')

    thread = threading.Thread(target=cut_off)
    thread.start()
    url = f'http://127.0.0.1:{listening.getsockname()[1]}/upload.py'
    server = upload.Server(url, 'SERVER', heard.log, 0.5, lambda seconds: None)
    with listening, pytest.raises(Failure, match='given up'):
        server.script_for(b'[]')
    thread.join()


def test_a_full_log_ends_no_installation(tmp_path: Path) -> None:
    """The machine must come to its end, and the server hear of it."""
    console = io.StringIO()
    log = Log(Path('/dev/full'), console)
    log.step('still here')
    assert log.try_run(['sh', '-c', 'echo much; exit 3']) == (3, ['much'])
    assert 'still here' in console.getvalue()


def test_a_server_that_is_away_is_waited_for_and_given_up(heard: Heard, tmp_path: Path) -> None:
    waits: list[float] = []
    server = upload.Server('http://127.0.0.1:9/upload.py', 'SERVER', heard.log, 40, waits.append)
    with pytest.raises(
        Failure, match=r'no answer from .*: Connection refused\ngiven up after 40 s'
    ):
        server.script_for(VM)
    assert waits == [1, 2, 4, 8, 15, 10]


@given(st.floats(0.5, 10_000))
def test_the_pauses_add_up_to_the_patience(patience: float) -> None:
    *waits, last = upload.pauses(patience)
    assert last is None
    assert sum(wait or 0 for wait in waits) == pytest.approx(patience)
    assert all(wait is not None and wait <= 15 for wait in waits)


def test_a_refusal_is_told_as_the_server_explains_it(site: Site, heard: Heard) -> None:
    site.deployment.write(state="[('rack', 3)]")
    with pytest.raises(Failure) as failure:
        site.server(heard).script_for(VM)
    lines = str(failure.value).split('\n')
    assert lines[0] == 'the server refuses (404):'
    assert lines[1].startswith('no profile can take StandardPC')
    assert lines[2].strip().startswith('rack: ')
    assert site.waits == []


@given(st.lists(st.text(st.characters(exclude_categories=['Cs', 'Cc']), max_size=20), min_size=1))
def test_every_refusal_is_read_as_a_shell_would_print_it(lines: list[str]) -> None:
    words = ' \\\n    '.join(map(shlex.quote, lines))
    body = f"#!/bin/sh\nprintf '%s\\n' \\\n    {words} >&2\nexit 1\n"
    assert upload.reason_of(body).split('\n') == lines


def test_a_refusal_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / 'mark'
    body = f"#!/bin/sh\nprintf '%s\\n' 'no' >&2; touch {mark}\nexit 1\n"
    assert 'no' in upload.reason_of(body)
    assert not mark.exists()


def test_a_page_that_is_none_of_ours_is_shown() -> None:
    assert upload.reason_of('<h1>Bad Gateway</h1>\n') == '<h1>Bad Gateway</h1>'
    assert upload.reason_of('') == 'it does not say why'


def test_an_answer_that_is_no_configure_script_is_never_run(heard: Heard) -> None:
    with pytest.raises(Failure, match=r"no configure script; it begins with '<html>'"):
        upload.profile_of('<html>\n')


def test_a_failure_gives_the_quota_back(site: Site, heard: Heard) -> None:
    site.deployment.write(state="[('vm', 1)]")
    server = site.server(heard)
    server.script_for(VM)
    assert site.deployment.texts()['state'] == "[('vm', 0)]"
    assert 'vm' in server.report_failure(VM, 'vm')
    assert site.deployment.texts()['state'] == "[('vm', 1)]"


# The role


def test_what_the_script_chose_is_read_as_a_shell_reads_it(tmp_path: Path) -> None:
    path = tmp_path / 'vars'
    path.write_text(
        "ROLE=old\nROLE=base\nVERS='D12-F.1.0.0'\nDISK='/dev/a b'\nPXEMNGR_URL='http://x/?a=1&b='\n"
    )
    choice = roles.Choice.read(path)
    assert choice[:5] == ('base', 'D12-F.1.0.0', '/dev/a b', 'http://x/?a=1&b=', '')


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (None, 'chose no ROLE: it is to call set_role()'),
        ('ROLE=a\nDISK=b\n', 'chose no VERS'),
        ('ROLE=../etc\nVERS=1\nDISK=b\n', "ROLE='../etc': expected letters"),
        ("ROLE='a", '/vars is not readable'),
        (
            'ROLE=a\nVERS=1\nDISK=--version\n',
            "DISK='--version': expected a disk, such as /dev/sda",
        ),
    ],
)
def test_a_script_that_chose_no_role_is_told(
    tmp_path: Path, text: str | None, reason: str
) -> None:
    if text is not None:
        (tmp_path / 'vars').write_text(text)
    with pytest.raises(Failure) as failure:
        roles.Choice.read(tmp_path / 'vars')
    assert reason in str(failure.value)


CHOICE = roles.Choice('base', 'D12', '/dev/vda')


def test_where_a_role_is_fetched_from() -> None:
    given_ = params.parse('SERV=10.0.0.1 HSERV=fe80::1 HSERV_PORT=8080 RSERV_PORT=1515')
    assert roles.rsync_url(CHOICE, given_) == 'rsync://10.0.0.1:1515/install/D12/base/'
    assert roles.archive_urls(CHOICE, given_) == (
        'http://[fe80::1]:8080/install/base-D12.edeploy',
        'http://[fe80::1]:8080/install/D12/base-D12.edeploy',
    )


def tree(folder: Path) -> Path:
    (folder / 'etc').mkdir(parents=True)
    (folder / 'etc/role').write_text('base')
    (folder / 'etc/role').chmod(0o640)
    (folder / 'bin').symlink_to('usr/bin')
    os.link(folder / 'etc/role', folder / 'etc/same')
    return folder


def is_same(target: Path) -> bool:
    role = target / 'etc/role'
    return (
        role.read_text() == 'base'
        and role.stat().st_mode & 0o777 == 0o640
        and role.stat().st_ino == (target / 'etc/same').stat().st_ino
        and (target / 'bin').readlink() == Path('usr/bin')
    )


class Files(NamedTuple):
    """A folder that is served by HTTP, with answers that are given before."""

    folder: Path
    url: str
    before: list[str]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    folder = tmp_path / 'served'
    folder.mkdir()
    before: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            how = before.pop(0) if before else ''
            if how == 'busy':
                self.send_error(503)
            elif how == 'cut':
                data = (folder / self.path.lstrip('/')).read_bytes()
                self.send_response(200)
                self.send_header('Content-Length', str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield Files(folder, f'http://127.0.0.1:{server.server_port}', before)
        server.shutdown()
        thread.join()


def pack(folder: Path, archive: Path, how: str = '') -> None:
    with tarfile.open(archive, f'w:{how}') as tar:  # type: ignore[call-overload]
        tar.add(folder, '.')
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    Path(f'{archive}.sha256').write_text(f'{digest}  {archive.name}\n')


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / 'chroot').mkdir()
    return tmp_path / 'chroot'


def no_sleep(seconds: float) -> None:
    pass


@pytest.mark.parametrize('how', ['', 'gz', 'xz'])
def test_an_archive_is_unpacked_whatever_it_is_compressed_with(
    tmp_path: Path, files: Files, target: Path, heard: Heard, how: str
) -> None:
    pack(tree(tmp_path / 'tree'), files.folder / 'base.edeploy', how)
    roles.fetch_http((f'{files.url}/base.edeploy',), target, heard.log)
    assert is_same(target)


def test_an_archive_of_zstd_is_unpacked(
    tmp_path: Path, files: Files, target: Path, heard: Heard, needs: Callable[[str, str], str]
) -> None:
    archive = files.folder / 'base.edeploy'
    pack(tree(tmp_path / 'tree'), archive)
    subprocess.run([needs('zstd', 'zstd'), '-q', '--rm', archive], check=True)
    Path(f'{archive}.zst').rename(archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    Path(f'{archive}.sha256').write_text(f'{digest}  base.edeploy\n')
    roles.fetch_http((f'{files.url}/base.edeploy',), target, heard.log)
    assert is_same(target)


def test_the_second_place_is_tried_if_the_first_has_none(
    tmp_path: Path, files: Files, target: Path, heard: Heard
) -> None:
    pack(tree(tmp_path / 'tree'), files.folder / 'base.edeploy')
    roles.fetch_http((f'{files.url}/none.edeploy', f'{files.url}/base.edeploy'), target, heard.log)
    assert is_same(target)


@pytest.mark.parametrize('before', [['busy'], ['', 'busy'], ['', 'cut'], ['', 'cut', '', 'cut']])
def test_a_transfer_that_breaks_off_begins_anew(
    tmp_path: Path, files: Files, target: Path, heard: Heard, before: list[str]
) -> None:
    pack(tree(tmp_path / 'tree'), files.folder / 'base.edeploy')
    files.before.extend(before)
    roles.fetch_http((f'{files.url}/base.edeploy',), target, heard.log, no_sleep)
    assert is_same(target)
    assert 'again in 2 s' in heard.said


def test_a_role_that_is_not_there_is_told_with_where_it_should_be(
    files: Files, target: Path, heard: Heard
) -> None:
    urls = (f'{files.url}/a.edeploy', f'{files.url}/b.edeploy')
    with pytest.raises(Failure, match='the role is not on the server') as failure:
        roles.fetch_http(urls, target, heard.log, no_sleep)
    assert all(f'{url}.sha256' in str(failure.value) for url in urls)


def test_an_archive_that_is_damaged_is_refused(
    tmp_path: Path, files: Files, target: Path, heard: Heard
) -> None:
    archive = files.folder / 'base.edeploy'
    pack(tree(tmp_path / 'tree'), archive)
    damaged = bytearray(archive.read_bytes())
    damaged[-1] ^= 1  # in what tar itself does not look at
    archive.write_bytes(damaged)
    with pytest.raises(Failure, match='is damaged: its checksum is'):
        roles.fetch_http((f'{files.url}/base.edeploy',), target, heard.log, no_sleep)


def test_an_archive_that_is_none_is_refused(files: Files, target: Path, heard: Heard) -> None:
    archive = files.folder / 'base.edeploy'
    archive.write_bytes(b'no archive' * 1000)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    Path(f'{archive}.sha256').write_text(digest)
    with pytest.raises(Failure, match=r'cannot be unpacked \(tar status 2\)'):
        roles.fetch_http((f'{files.url}/base.edeploy',), target, heard.log, no_sleep)


def test_a_server_that_is_away_is_given_up(target: Path, heard: Heard) -> None:
    waits: list[float] = []
    with pytest.raises(Failure, match='Connection refused; given up after 5 attempts'):
        roles.fetch_http(('http://127.0.0.1:9/a.edeploy',), target, heard.log, waits.append)
    assert waits == [2, 4, 8, 16]


class Daemon(NamedTuple):
    """An rsync daemon that serves a folder as install."""

    folder: Path
    url: str


@pytest.fixture
def daemon(tmp_path: Path, needs: Callable[[str, str], str]) -> Iterator[Daemon]:
    folder, port = tmp_path / 'trees', free_port()
    folder.mkdir()
    conf = tmp_path / 'rsyncd.conf'
    ids = f'uid = {os.getuid()}\ngid = {os.getgid()}\n'
    conf.write_text(f'{ids}use chroot = no\n[install]\npath = {folder}\n')
    command = [needs('rsync', 'rsync'), '--daemon', '--no-detach', f'--config={conf}']
    command += ['--address=127.0.0.1', f'--port={port}', f'--log-file={tmp_path}/rsyncd.log']
    with running(command, [port], tmp_path / 'daemon.log'):
        yield Daemon(folder, f'rsync://127.0.0.1:{port}/install')


def test_a_tree_is_copied_by_rsync_as_it_is(daemon: Daemon, target: Path, heard: Heard) -> None:
    tree(daemon.folder / 'D12/base')
    roles.fetch_rsync(f'{daemon.url}/D12/base/', target, heard.log, no_sleep)
    assert is_same(target)


def test_a_tree_that_is_not_there_is_told(daemon: Daemon, target: Path, heard: Heard) -> None:
    with pytest.raises(Failure) as failure:
        roles.fetch_rsync(f'{daemon.url}/D12/none/', target, heard.log, no_sleep)
    assert f'{daemon.url}/D12/none/ cannot be copied (rsync status 23):' in str(failure.value)
    assert 'No such file or directory' in str(failure.value)


def test_an_rsync_server_that_is_away_is_given_up(
    target: Path, heard: Heard, needs: Callable[[str, str], str]
) -> None:
    needs('rsync', 'rsync')
    waits: list[float] = []
    with pytest.raises(Failure, match=r'rsync status 10\):\n(.*\n)*.*Connection refused'):
        roles.fetch_rsync('rsync://127.0.0.1:9/install/', target, heard.log, waits.append)
    assert waits == [2, 4, 8, 16]


# What makes a system of it


MOUNTS = """\
/dev/vda1 / ext4 rw 0 0
/dev/vg/root {chroot} ext4 rw 0 0
/dev/vdb2 {chroot}/var xfs rw 0 0
/dev/vda2 {chroot}/boot/efi vfat rw 0 0
/dev/vdc1 {chroot}/srv/a\\040b ext4 rw 0 0
tmpfs {chroot}/run tmpfs rw 0 0
/dev/vdd1 {chroot}-other ext4 rw 0 0
"""


def test_fstab_has_what_the_script_has_mounted(tmp_path: Path) -> None:
    mounts = finish.parse_mounts(MOUNTS.format(chroot='/chroot'))
    swaps = 'Filename Type Size Used Priority\n/dev/vda3 partition 1 0 -2\n'
    uuids = {'/dev/vda2': 'AB-CD', '/dev/vdb2': 'u-b', '/dev/vda3': 'u-s'}
    assert finish.fstab(Path('/chroot'), mounts, uuids, swaps) == (
        '# Written by edeploy.\n'
        '/dev/vg/root / ext4 errors=remount-ro 0 1\n'
        'UUID=AB-CD /boot/efi vfat umask=0077 0 0\n'
        '/dev/vdc1 /srv/a\\040b ext4 errors=remount-ro 0 2\n'
        'UUID=u-b /var xfs defaults 0 2\n'
        'UUID=u-s none swap sw 0 0\n'
    )
    assert finish.root_of(finish.fstab(Path('/chroot'), mounts, {})) == '/dev/vg/root'


def test_no_link_of_a_role_leads_out_of_the_new_system(tmp_path: Path) -> None:
    """What is told to be written is written there, or told not to be."""
    chroot, outside = tmp_path / 'chroot', tmp_path / 'outside'
    (chroot / 'etc').mkdir(parents=True)
    outside.mkdir()
    (chroot / 'etc/fstab').symlink_to(outside / 'fstab')
    finish.write(chroot, 'etc/fstab', 'mine')
    assert (chroot / 'etc/fstab').read_text() == 'mine'
    (chroot / 'var').mkdir()
    (chroot / 'var/log').symlink_to(outside / 'gone')
    (tmp_path / 'log').write_text('a log')
    with pytest.raises(Failure, match='the role has a link at .*/var/log that leads out of it'):
        finish.leave_log(tmp_path / 'log', chroot)
    assert list(outside.iterdir()) == []


def test_fstab_keeps_what_was_meant() -> None:
    """Subvolumes, and what a mount may not do; not what is no disk's."""
    mounts = finish.parse_mounts(
        '/dev/sda1 /chroot btrfs rw,relatime,subvolid=256,subvol=/@ 0 0\n'
        '/dev/sda1 /chroot/home btrfs rw,noatime,subvol=/@home 0 0\n'
        '/dev/sda2 /chroot/srv xfs ro,nosuid,noexec,prjquota,inode64 0 0\n'
        'cgroup2 /chroot/sys/fs/cgroup cgroup2 rw 0 0\n/dev/sr0 /chroot/cd iso9660 ro 0 0\n'
    )
    swaps = 'Filename\n/chroot/swapfile file 1 0 -2\n/dev/zram0 partition 1 0 -3\n'
    assert finish.fstab(Path('/chroot'), mounts, {}, swaps).splitlines()[1:] == [
        '/dev/sda1 / btrfs defaults,subvol=/@ 0 1',
        '/dev/sda1 /home btrfs defaults,noatime,subvol=/@home 0 2',
        '/dev/sda2 /srv xfs defaults,ro,nosuid,noexec,prjquota 0 2',
        '/swapfile none swap sw 0 0',
    ]


@pytest.mark.parametrize(
    ('text', 'is_efi', 'reason'),
    [
        ('/dev/vda1 / ext4 rw 0 0\n', False, 'nothing is mounted at /chroot'),
        ('tmpfs /chroot tmpfs rw 0 0\n', False, 'nothing is mounted at /chroot'),
        ('/dev/vda1 /chroot ext4 rw 0 0\n', True, 'nothing is mounted at /chroot/boot/efi'),
    ],
)
def test_a_script_that_mounted_too_little_is_told(text: str, is_efi: bool, reason: str) -> None:
    with pytest.raises(Failure, match=reason):
        finish.check_target(Path('/chroot'), finish.parse_mounts(text), is_efi)


def test_files_of_the_script_go_through_the_links_of_the_tree(
    tmp_path: Path, target: Path, heard: Heard, needs: Callable[[str, str], str]
) -> None:
    """Systems have /lib as a link to /usr/lib: a file in it must not replace the link."""
    needs('rsync', 'rsync')
    (target / 'usr/lib').mkdir(parents=True)
    (target / 'lib').symlink_to('usr/lib')
    source = tmp_path / 'post_rsync'
    (source / 'lib/systemd').mkdir(parents=True)
    (source / 'lib/systemd/new').write_text('new')
    (source / 'lib/systemd/new').chmod(0o600)
    finish.copy_post_rsync(source, target, heard.log)
    assert (target / 'lib').is_symlink()
    assert (target / 'usr/lib/systemd/new').read_text() == 'new'
    assert (target / 'usr/lib/systemd/new').stat().st_mode & 0o777 == 0o600


def test_a_script_that_leaves_no_files_is_fine(tmp_path: Path, target: Path, heard: Heard) -> None:
    finish.copy_post_rsync(tmp_path / 'none', target, heard.log)
    assert list(target.iterdir()) == []


def test_grub_goes_to_the_disk_or_where_uefi_looks() -> None:
    assert finish.grub_commands('/dev/vda', False)[0] == [
        'grub-install', '--target=i386-pc', '/dev/vda',
    ]  # fmt: skip
    efi = finish.grub_commands('/dev/vda', True)[0]
    assert {'--target=x86_64-efi', '--removable', '--no-nvram'} <= set(efi)


def test_kept_words_reach_grub_as_they_are(tmp_path: Path) -> None:
    kept = ('console=ttyS0', 'x="a b"', '$(reboot)', 'back\\slash', '`y`')
    given_ = params.Params('a', kept=kept)
    finish.write_boot_settings(given_, tmp_path)
    path = tmp_path / 'etc/default/grub.d/edeploy.cfg'
    shell = f'GRUB_CMDLINE_LINUX=first; . {path}; printf %s "$GRUB_CMDLINE_LINUX"'
    read = subprocess.run(['sh', '-c', shell], capture_output=True, text=True, check=True)
    assert read.stdout == ' '.join(['first', *kept])


def test_conf_is_read_by_a_shell(tmp_path: Path) -> None:
    choice = roles.Choice('my role', 'D12', '/dev/vda', '', 'http://m/"?', {'ROLE': 'my role'})
    finish.write_conf(choice, params.parse('SERV=10.0.0.1 SECTION=LAB'), tmp_path)
    shell = f'. {tmp_path}/var/lib/edeploy/conf; echo "$ROLE $RSERV:$RSERV_PORT $SECTION"'
    read = subprocess.run(['sh', '-c', shell], capture_output=True, text=True, check=True)
    assert read.stdout == 'my role 10.0.0.1:831 LAB\n'
    cloud = (tmp_path / 'etc/cloud/cloud.cfg.d/90-edeploy.cfg').read_text()
    assert 'metadata_urls: ["http://m/\\"?"]' in cloud


def test_a_role_without_grub_is_told(tmp_path: Path, heard: Heard) -> None:
    with pytest.raises(Failure, match='the role has no grub-install'):
        finish.install_grub('/dev/vda', False, tmp_path, heard.log)


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('', 'vmlinuz-6.1.0-10-amd64'),
        ('vmlinuz-6.1.0-9-amd64', 'vmlinuz-6.1.0-9-amd64'),
        ('/boot/vmlinuz-6.1.0-9-amd64', 'vmlinuz-6.1.0-9-amd64'),
    ],
)
def test_kexec_takes_the_kernel_that_is_named_or_the_newest(
    tmp_path: Path, name: str, found: str
) -> None:
    (tmp_path / 'boot').mkdir()
    for version in ('5.10.0-30', '6.1.0-9', '6.1.0-10'):
        (tmp_path / f'boot/vmlinuz-{version}-amd64').touch()
    assert outcome.kernel_of(tmp_path, name).name == found


@pytest.mark.parametrize('name', ['', 'none', '../etc/passwd'])
def test_a_kernel_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / 'boot').mkdir()
    with pytest.raises(Failure):
        outcome.kernel_of(tmp_path, name)


# The steps


@pytest.fixture
def machine(site: Site, heard: Heard, tmp_path: Path) -> Machine:
    """One whose hardware is known, before the upload."""
    root = tmp_path / 'root'
    places = Places.below(root)
    for path in (places.chroot, places.mounts.parent, places.log.parent):
        path.mkdir(parents=True)
    places.mounts.write_text(f'/dev/vda2 {places.chroot} ext4 rw 0 0\n')
    found = Machine(
        params.Params('127.0.0.1', upload_log=True), site.server(heard), places, heard.log
    )
    found.hardware, found.name = VM, 'vm'
    return found


CONFIGURE = "open('mark', 'w').write(var['hostname'])\nset_role('base', 'D12', '/dev/vda')\n"


def test_the_configure_script_is_run_and_its_choice_read(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    site.deployment.write(vm_configure=CONFIGURE)
    choice = machine.configure(machine.ask())
    assert choice[:3] == ('base', 'D12', '/dev/vda')
    assert (tmp_path / 'mark').read_text() == 'host03'


def test_a_configure_script_that_fails_gives_the_quota_back(
    machine: Machine, site: Site, heard: Heard
) -> None:
    site.deployment.write(state="[('vm', 1)]", vm_configure="run('echo no disk; exit 5')")

    def work() -> None:
        machine.configure(machine.ask())

    reason = guarded(work, heard.log)
    assert reason.startswith('the configure script of profile vm failed with status 5\n')
    assert 'no disk' in reason
    assert site.deployment.texts()['state'] == "[('vm', 0)]"
    machine.give_back()
    assert site.deployment.texts()['state'] == "[('vm', 1)]"
    assert 'the server knows of the failure' in heard.said


def test_an_attempt_that_fails_says_why_once(
    machine: Machine, heard: Heard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here there is no card that is to be used; nothing was asked of the server."""
    machine.params = machine.params._replace(ip=(Rule('other', 'none'),))
    (machine.places.net / 'eth0/device').mkdir(parents=True)
    (machine.places.net / 'eth0/type').write_text('1')
    machine.name = ''
    (tmp_path / 'ip').write_text('#!/bin/sh\n')
    (tmp_path / 'ip').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    assert attempt(machine) != ''
    assert heard.said.count('FAILED: ') == 1


def test_a_machine_that_got_no_profile_has_nothing_to_give_back(
    machine: Machine, site: Site, heard: Heard
) -> None:
    machine.give_back()
    assert heard.said == ''


def test_a_bug_ends_an_installation_as_a_failure_does(heard: Heard) -> None:
    """With the place in the log, and no traceback on the console."""

    def work() -> None:
        raise ZeroDivisionError('of nothing')

    assert guarded(work, heard.log) == 'internal error, see the log: ZeroDivisionError: of nothing'
    assert 'test_node.py' in heard.kept
    assert heard.said == ''


def test_a_server_that_cannot_be_told_is_no_second_failure(machine: Machine, heard: Heard) -> None:
    machine.profile = 'vm'
    machine.server = machine.server._replace(url='http://127.0.0.1:9/', patience=3)
    machine.give_back()
    machine.upload_log()
    assert 'could not be told of the failure' in heard.said
    assert 'the log could not be saved' in heard.said


def test_the_installer_needs_no_more_than_its_own_folder(tmp_path: Path) -> None:
    """It is copied into the image as files."""
    inside = tmp_path / 'edeploylib/node'
    inside.mkdir(parents=True)
    for path in (ROOT / 'edeploylib/node').glob('*.py'):
        (inside / path.name).write_text(path.read_text())
    code = 'import edeploylib.node.install as i; print(i.__file__)'
    done = subprocess.run(
        ['python3', '-I', '-S', '-c', f'import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}'],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(inside / 'install.py'), done.stderr


def test_a_log_is_compressed_for_the_server(heard: Heard) -> None:
    """As the field file with a name that ends in .log.gz, which the page knows it by."""
    asked: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers['Content-Length'])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f'http://127.0.0.1:{server.server_port}/'
        upload.Server(url, 'LAB', heard.log).save_log('vm-1', b'a line\n')
        thread.join()
    (body,) = asked
    assert b'name="section"\r\n\r\nLAB\r\n' in body
    assert b'name="file"; filename="vm-1.log.gz"' in body
    assert gzip.decompress(body[body.index(b'\x1f\x8b') :].rpartition(b'\r\n--')[0]) == b'a line\n'
