"""The upload page, as a function from request to response."""

import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from webob import Request, Response

from conftest import INVENTORIES, Deployment
from edeploylib.inventory import Inventory
from edeploylib.web.upload import Application

VM = (INVENTORIES / 'vm.json').read_bytes()
NAME = 'StandardPC-NotSpecified-52-54-00-88-17-3c'

Post = Callable[..., Response]


@pytest.fixture
def post(samples: Deployment) -> Post:
    application = Application(str(samples.conf))

    def post(
        data: bytes | None = VM, address: str = '10.0.0.7', method: str = 'POST', **fields: str
    ) -> Response:
        sent: dict[str, object] = dict(fields)
        if data is not None:
            sent['file'] = ('hw.json', data)
        request = Request.blank('/cgi-bin/upload.py', POST=sent)
        request.environ.update(REMOTE_ADDR=address, REQUEST_METHOD=method)
        return request.get_response(application)

    return post


def refused(response: Response, status: int) -> str:
    """The reason, as the machine prints it that runs the answer."""
    assert response.status_int == status
    assert response.content_type == 'text/x-shellscript'
    assert response.text.startswith('#!/bin/sh\n')
    done = subprocess.run(['sh', '-c', response.text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, '')
    assert re.search(r'\n\(request=[0-9a-f]{8}\)\n$', done.stderr)
    return re.sub(r'\(request=[0-9a-f]{8}\)\n$', '', done.stderr)


def test_a_match_answers_with_the_script(post: Post, samples: Deployment) -> None:
    response = post()
    assert response.status_int == 200
    assert (response.content_type, response.charset) == ('text/x-python', 'UTF-8')
    assert response.text.startswith('#!/usr/bin/env python3\n#EDEPLOY_PROFILE = vm\n')
    assert "'hostname': 'host03'" in response.text
    assert "'used': 1" in samples.texts()['vm.cmdb']
    assert Inventory.parse((samples.hw / f'{NAME}.hw').read_text()) == Inventory.parse(VM)


def test_two_uploads_are_one_machine(post: Post, samples: Deployment) -> None:
    tag = (INVENTORIES / 'rack.json').read_bytes()
    first = post(tag)
    texts = samples.texts()
    assert "('rack', 2)" in texts['state']
    assert post(tag).body == first.body
    assert samples.texts() == texts


def test_a_failure_report_is_answered_with_a_comment(post: Post, samples: Deployment) -> None:
    tag = (INVENTORIES / 'rack.json').read_bytes()
    post(tag)
    response = post(tag, failure='rack')
    assert response.status_int == 200
    assert response.text == "# the failure of 'rack' is noted, its quota given back\n"
    assert "('rack', 3)" in samples.texts()['state']
    assert post(tag, failure='rack').text == "# ignored: the failure of 'rack' is known already\n"
    assert "('rack', 3)" in samples.texts()['state']
    odd = post(tag, failure='x\n rm -rf /\n')
    assert odd.text == "# ignored: this machine holds profile 'rack', not 'x\\n rm -rf /\\n'\n"


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (b'', 'file: expected a list of facts, found an empty file'),
        (b'{"a": 1}', 'file: expected a list of facts, found an object'),
        (b'[["a", "b", "c"]]', 'file: fact [0]: expected 4 elements'),
        (b'[["a", "b", "c", "d", "e"]]', 'file: fact [0]: expected 4 elements'),
        (b'[["a", "b", "c", "d"', "file:1:21: not JSON: Expecting ',' delimiter"),
        (b'[' * 100_000, 'file: nested too deep for a list of facts'),
        (b'[["a", "b", "c", "\xff"]]', 'file: expected UTF-8, found byte 0xff at offset 18'),
        (None, 'No file passed to the CGI'),
    ],
)
def test_a_bad_upload_is_told_what_is_wrong(post: Post, samples: Deployment, data, reason) -> None:
    before = samples.texts()
    assert refused(post(data, section='SERVER'), 400).startswith(reason)
    assert samples.texts() == before
    assert list(samples.hw.iterdir()) == []


@pytest.mark.parametrize('method', ['GET', 'HEAD', 'PUT', 'DELETE'])
def test_only_post_acts(post: Post, samples: Deployment, method: str) -> None:
    """GET says that there was no file."""
    before = samples.texts()
    response = post(method=method)
    assert response.status_int == 400
    if method != 'HEAD':
        assert refused(response, 400) == 'No file passed to the CGI\n'
    assert samples.texts() == before


def test_a_body_that_is_no_form_has_no_file(samples: Deployment) -> None:
    application = Application(str(samples.conf))
    for kind in ('application/json', 'multipart/form-data', 'text/plain; charset=x'):
        request = Request.blank('/', method='POST', body=VM, content_type=kind)
        refused(request.get_response(application), 400)


def test_an_unknown_section_is_refused(post: Post, samples: Deployment) -> None:
    assert refused(post(section="$(touch x)'"), 400) == (
        f'{samples.conf}: unknown section "$(touch x)\'", expected SERVER\n'
    )


def test_a_section_that_is_a_file_is_refused(post: Post) -> None:
    assert 'expected a text as section' in refused(post(section=('x', b'SERVER')), 400)


def test_no_profile_says_why_for_each(post: Post, samples: Deployment) -> None:
    """Down to rule and fact; and the inventory is saved: it is what one debugs with."""
    reasons = refused(post(b'[["disk", "a", "size", "$(reboot)"]]'), 404).splitlines()
    assert [line for line in reasons[1:] if line[2] != ' '] == [
        '  rack: its spec does not match',
        '  storage: its spec does not match',
        '  vm: its spec does not match',
    ]
    assert (
        "      nearest is [0] ('disk', 'a', 'size', '$(reboot)'): size is '$(reboot)', "
        in '\n'.join(reasons)
    )
    assert len(list(samples.hw.glob('unknown-*.hw'))) == 1


@pytest.mark.parametrize('count', [1, 10, 100, 1000])
def test_the_reasons_fit_a_console(post: Post, samples: Deployment, count: int) -> None:
    samples.write(state=repr([(f'p{n}', 1) for n in range(count)]))
    for number in range(count):
        rules = [('disk', f'${n}', 'size', f'gt({n})') for n in range(30)]
        (samples.config / f'p{number}.specs').write_text(repr(rules))
    reasons = refused(post(b'[["a", "b", "c", "d"]]'), 404).splitlines()
    assert count + 1 <= len(reasons) <= 61 or len(reasons) == 60
    if count > 58:
        assert reasons[-1] == f'  and {count - 58} more profiles'


def test_odd_values_are_left_out(post: Post, samples: Deployment) -> None:
    facts = [*json.loads(VM), ['disk', 'vdb', 'size', None], ['a', 'b', 'c', {'d': 1}]]
    assert post(json.dumps(facts).encode()).status_int == 200
    assert 'left out: its value is null' in (samples.hw / f'{NAME}.hw').read_text()


@pytest.mark.parametrize(
    ('name', 'text', 'reason'),
    [
        ('state', None, 'no state: {config}/state does not exist'),
        ('state', '[', '{config}/state:1:1: not a Python literal'),
        ('rack.specs', None, "profile 'rack' has quota but no spec: {config}/rack.specs does not"),
        ('rack.specs', "[('a')]", '{config}/rack.specs:1:3: expected a rule, a tuple of 4 texts'),
        ('rack.configure', None, "profile 'rack' has quota but no configure script: {config}/"),
        (
            'rack.configure',
            b'# \xff',
            '{config}/rack.configure:1: expected UTF-8, found byte 0xff',
        ),
        (
            'rack.configure',
            'return',
            "{config}/rack.configure:1:1: not Python 3: 'return' outside",
        ),
        (
            'rack.configure',
            'from __future__ import print_function',
            '{config}/rack.configure:1:1: not Python 3: from __future__ is for',
        ),
        ('rack.cmdb', '[7]', '{config}/rack.cmdb:1:2: expected an entry, a dict'),
    ],
)
def test_broken_server_files_are_the_servers_fault(
    post: Post, samples: Deployment, name: str, text, reason: str
) -> None:
    path = samples.config / name
    path.unlink() if text is None else path.write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    rack = (INVENTORIES / 'rack.json').read_bytes()
    assert refused(post(rack), 500).startswith(reason.format(config=samples.config))
    assert (samples.hw / 'Blade3-TAG2-02-00-00-00-02-01.hw').exists()


@pytest.mark.parametrize('name', ['state', 'rack.specs', 'rack.configure', 'rack.cmdb'])
def test_unreadable_server_files_are_the_servers_fault(
    post: Post, samples: Deployment, name
) -> None:
    (samples.config / name).unlink()
    (samples.config / name).mkdir()
    rack = (INVENTORIES / 'rack.json').read_bytes()
    assert refused(post(rack), 500) == f'cannot read {samples.config / name}: Is a directory\n'


@pytest.mark.parametrize(
    ('conf', 'reason'),
    [
        (None, 'no settings: {conf} does not exist'),
        ('', '{conf}: expected a [section], the file has none'),
        ('[LAB]', "{conf}: unknown section 'SERVER', expected LAB"),
        ('CONFIGDIR = x', '{conf}:1: expected a [section] first'),
        ('[SERVER]\nHWDIRS = x', '{conf}:2: unknown setting HWDIRS'),
    ],
)
def test_broken_settings_are_told(post: Post, samples: Deployment, conf, reason: str) -> None:
    samples.conf.unlink() if conf is None else samples.conf.write_text(conf)
    response = post()
    assert refused(response, 400 if conf == '[LAB]' else 500).startswith(
        reason.format(conf=samples.conf)
    )


def test_an_identity_conflict_names_both(post: Post) -> None:
    post()
    other = VM.replace(b'3f0c2a41', b'ffffff41')
    answer = refused(post(other), 409)
    assert "mac '52:54:00:88:17:3c' is of machine 1" in answer
    assert 'it is new, with cards from elsewhere: edeployctl forget-key 52:54:00' in answer


def test_a_lock_not_had_in_time_is_worth_a_retry(post: Post, samples: Deployment) -> None:
    samples.configure(LOCKTIMEOUT='0.1')
    with samples.store.transaction('10.0.0.9'):
        response = post()
    assert 'for 10.0.0.9 since' in refused(response, 503)
    assert int(response.headers['Retry-After']) > 0


def test_a_door_that_is_shut(post: Post, samples: Deployment) -> None:
    samples.configure(ALLOW='192.168.0.0/16, fd00::/8')
    assert refused(post(), 403) == "address '10.0.0.7' may not upload here\n"
    assert post(address='192.168.1.1').status_int == 200
    assert post(address='::ffff:192.168.1.1').status_int == 200
    assert post(address='::ffff:10.0.0.7').status_int == 403
    assert post(address='fd00::7').status_int == 200
    assert post(address='').status_int == 403


@pytest.mark.parametrize('slip', ['LOCKTIMEOUT = five', 'LOCKTIMOUT = 5', 'MAXUPLOAD = 1 Mib'])
@pytest.mark.parametrize(
    ('other', 'far', 'near'),
    [('ALLOW = 192.168.0.0/16', 403, 200), ('MAXUPLOAD = 100', 413, 413)],
)
def test_what_another_section_says_hides_no_mistake(
    post: Post, samples: Deployment, slip: str, other: str, far: int, near: int
) -> None:
    """A section that is broken is told with its line, and the others serve on."""
    good = samples.conf.read_text()
    samples.conf.write_text(f'{good}{slip}\n{good.replace("SERVER", "LAB")}{other}\n')
    assert refused(post(), 500).startswith(f'{samples.conf}:6: ')
    assert post(section='LAB').status_int == far
    assert post(section='LAB', address='192.168.0.1').status_int == near


def test_a_mistake_in_a_section_opens_no_door_to_any_size(post: Post, samples: Deployment) -> None:
    """What is larger than all sections allow, and than the default, is not read."""
    samples.conf.write_text(f'{samples.conf.read_text()}[LAB]\nMAXUPLOAD = x\n')
    request = Request.blank('/', method='POST', content_type='multipart/form-data; boundary=B')
    request.content_length = (16 << 20) + 1
    request.environ['wsgi.input'] = io.BytesIO(b'x' * 100)
    response = request.get_response(Application(str(samples.conf)))
    assert 'at most 16777216 bytes' in refused(response, 413)


def test_what_is_too_large(post: Post, samples: Deployment) -> None:
    samples.configure(MAXUPLOAD='0.5 kB')
    found = r'expected an upload of at most 500 bytes \(MAXUPLOAD\), found [0-9]+\n'
    assert re.fullmatch(found, refused(post(), 413))


def test_a_bug_gives_no_traceback(samples: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """The page of a store that raises what no store should."""

    class BrokenStore:
        def transaction(self, who: str = '') -> object:
            raise ZeroDivisionError('a bug\n\x1b[2Jfrom=10.0.0.1 profile=forged')

    application = Application(str(samples.conf), lambda settings: BrokenStore())
    request = Request.blank('/', POST={'file': ('hw', VM)})
    assert (
        refused(request.get_response(application), 500) == "internal error, see the server's log\n"
    )
    assert r'a bug\\n\\x1b[2Jfrom' in caplog.text
    assert '\x1b' not in caplog.text


HOSTILE = [
    "'; touch pwned; '",
    '$(touch pwned)`touch pwned`',
    '\x1b[2Jclear\x07\r\n#!/bin/sh\ntouch pwned',
    '\\\n"touch pwned"',
    '%s%n\\0',
]


@pytest.mark.parametrize('shell', ['sh', 'bash'])
@pytest.mark.parametrize('text', HOSTILE)
def test_no_text_of_a_client_runs(post: Post, tmp_path: Path, text: str, shell: str) -> None:
    """In any shell that runs the answer, nor does it steer the console."""
    facts = [['system', 'product', 'name', text], [text, text, text, 7], ['a', None, 'c', 'd']]
    response = post(json.dumps(facts).encode(), section=text)
    done = subprocess.run(
        [shell], input=response.body, cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert not list(tmp_path.rglob('pwned'))
    assert not {*done.stderr} & {0x1B, 0x07, 0x0D}


def form(
    name: str, headers: str = '', data: str = '[]', kind: str = 'multipart/form-data'
) -> Request:
    """A request with one part, written by hand."""
    body = f'--B\r\nContent-Disposition: form-data; name="file"{name}\r\n{headers}\r\n{data}\r\n--B--\r\n'
    return Request.blank(
        '/', method='POST', body=body.encode(), content_type=f'{kind}; boundary=B'
    )


@pytest.mark.parametrize(
    ('request_', 'reason'),
    [
        (
            form('; filename="h"', kind='multipart/form-data; charset=latin-1'),
            'expected multipart',
        ),
        (form('', 'Content-Type: text/plain; charset=bogus\r\n'), 'expected multipart'),
        (form('', 'Content-Type: text/plain; charset="x\x1b[2J"\r\n'), 'expected multipart'),
        (form('', 'Content-Type: text/plain; charset=rot13\r\n'), 'expected multipart'),
        (form('; filename="h"', 'Content-Type: multipart/mixed; boundary=C\r\n'), ''),
        (form('; filename="h"', 'Content-Type: application/x-www-form-urlencoded\r\n'), ''),
        (form('; filename=""', data=''), 'No file passed to the CGI'),
        (form('', data=''), 'No file passed to the CGI'),
        (form('; filename="h"', data=''), 'file: expected a list of facts, found an empty file'),
        (form('', data='{'), 'file:1:2: not JSON: '),
    ],
)
def test_odd_forms_are_the_clients_fault(
    samples: Deployment, caplog: pytest.LogCaptureFixture, request_: Request, reason: str
) -> None:
    """And nothing in them reaches the log as it is."""
    response = request_.get_response(Application(str(samples.conf)))
    assert refused(response, 400).startswith(reason)
    assert '\x1b' not in caplog.text


def test_a_body_without_length_is_bounded_too(samples: Deployment) -> None:
    """It is kept no further than may be, and drained for a while."""
    samples.configure(MAXUPLOAD='1 kB')

    class Endless:
        count = 0

        def read(self, size: int = -1) -> bytes:
            self.count += 1
            return b'x' * min(size, 1 << 16)

        readline = read

    request = form('; filename="h"')
    request.content_length = None
    body = Endless()
    request.environ.update({'wsgi.input': body, 'wsgi.input_terminated': True})
    assert refused(Application(str(samples.conf)).respond(request), 413)
    assert body.count < 5000


def test_a_shut_door_reads_no_body(samples: Deployment) -> None:
    """But drains it, so that the client that sends it sees the answer."""
    samples.configure(ALLOW='192.168.0.0/16')
    request = form('; filename="h"', data='x' * 100_000)
    body = request.body_file_raw
    assert refused(request.get_response(Application(str(samples.conf))), 403)
    assert body.read() == b''


def test_slips_in_specs_are_logged(
    post: Post, samples: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """Of profiles that take the machine, and of those that do not."""
    samples.write(
        rack_specs="[('a', 'b', 'c', 'gtt(4)')]",
        vm_specs="[('disk', '$d', 'size', 'not(rnage(1))')]",
    )
    assert post().status_int == 200
    assert 'did you mean gt?' in caplog.text
    assert 'did you mean range?' in caplog.text
