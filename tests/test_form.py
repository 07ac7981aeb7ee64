"""What a form may be, and what it costs."""

import io
import json

import pytest
from webob import Request

from conftest import Deployment
from edeploylib.web.form import LONGEST_TEXT, MOST_FACTS
from edeploylib.web.upload import Application
from test_upload import refused

HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="hw.json"\r\n'
TAIL = b'\r\n--B--\r\n'


def asked(body: bytes, kind: str = 'multipart/form-data; boundary=B') -> Request:
    return Request.blank('/', method='POST', body=body, content_type=kind)


def reason(deployment: Deployment, request: Request, status: int = 400) -> str:
    return refused(request.get_response(Application(str(deployment.conf))), status)


@pytest.mark.parametrize(
    ('header', 'expected'),
    [
        (b'Content-Type: text/plain; charset=punycode', 'in UTF-8'),
        (b'Content-Type: text/plain; CHARSET="utf-8; x"', 'in UTF-8'),
        (b'Content-Type: text/plain; charset=utf-8; charset=idna', 'in UTF-8'),
        (b'Content-Type: text/plain;\r\n charset=idna', 'a header of several lines'),
        (b'X: y\rContent-Type: text/plain; charset=idna', 'a header of several lines'),
        (b'Content-Type: multipart/mixed; boundary=C', 'without forms in its parts'),
        (b'content-type: application/x-www-form-urlencoded', 'without forms in its parts'),
        (b'X: ' + b'y' * 70_000, 'headers of parts of at most 4096 bytes each'),
        (b'X: y\r\n' * 20_000, 'and 65536 in all'),
        (b'Content-Transfer-Encoding: base64', 'without a Content-Transfer-Encoding'),
        (b'content-transfer-encoding : Quoted-Printable', 'without a Content-Transfer-Encoding'),
    ],
)
def test_odd_headers_of_a_part_are_refused(
    samples: Deployment, header: bytes, expected: str
) -> None:
    """The parser of forms would hand them to any codec, or to itself."""
    assert expected in reason(samples, asked(HEAD + header + b'\r\n\r\n[]' + TAIL))


@pytest.mark.parametrize('charset', [b'utf-8', b'UTF-8', b'"utf8"', b'us-ascii'])
def test_utf_8_may_be_said(samples: Deployment, charset: bytes) -> None:
    header = b'Content-Type: application/json; charset=' + charset + b'\r\n\r\n'
    assert 'no profile can take' in reason(samples, asked(HEAD + header + b'[]' + TAIL), 404)


def test_the_kind_of_form_is_that_in_any_case(samples: Deployment) -> None:
    request = asked(HEAD + b'\r\n[]' + TAIL, 'Multipart/FORM-data; boundary=B')
    assert 'no profile can take' in reason(samples, request, 404)


def test_a_form_of_many_parts_is_refused(samples: Deployment) -> None:
    part = b'--B\r\nA:\r\n\r\n' + b'x' * 1001 + b'\r\n'
    assert 'a form of at most 32 parts' in reason(samples, asked(part * 1100 + TAIL))


def test_a_form_of_many_lines_is_refused(samples: Deployment) -> None:
    body = HEAD + b'\r\n' + b'\n' * 1_100_000 + TAIL
    assert 'at most 1000000 lines' in reason(samples, asked(body))


def test_a_long_field_is_refused(samples: Deployment) -> None:
    field = (
        b'--B\r\nContent-Disposition: form-data; name="section"\r\n\r\n' + b'x' * 1001 + b'\r\n'
    )
    assert 'at most 1000 characters as section' in reason(
        samples, asked(field + HEAD + b'\r\n[]' + TAIL)
    )


def test_a_form_without_its_last_boundary_is_refused(samples: Deployment) -> None:
    """It may be half of one."""
    assert 'the last boundary is missing' in reason(samples, asked(HEAD + b'\r\n[]\r\n'))


def test_a_client_that_goes_is_told_to_the_log_only(samples: Deployment) -> None:
    request = asked(HEAD + b'\r\n[]' + TAIL)
    length = request.content_length
    request.environ['wsgi.input'] = io.BytesIO(HEAD + b'\r\n[')
    assert f'the upload ended after {len(HEAD) + 3} of {length} bytes' in reason(samples, request)


def test_an_inventory_has_so_many_facts(samples: Deployment) -> None:
    facts = [['a', 'b', 'c', str(number)] for number in range(MOST_FACTS + 1)]
    body = HEAD + b'\r\n' + json.dumps(facts).encode() + TAIL
    assert f'at most {MOST_FACTS} facts, found {MOST_FACTS + 1}' in reason(samples, asked(body))
    body = HEAD + b'\r\n' + json.dumps(facts[:-1]).encode() + TAIL
    assert 'no profile can take' in reason(samples, asked(body), 404)


@pytest.mark.parametrize('one', [b'[],', b'(),', b'0,', b'"",'])
def test_what_would_grow_in_memory_is_refused_before_it_is_read(
    samples: Deployment, one: bytes
) -> None:
    body = HEAD + b'\r\n[' + one * 1_100_000 + b'0]' + TAIL
    assert f'at most {MOST_FACTS} facts' in reason(samples, asked(body))


@pytest.mark.parametrize('place', range(4))
def test_the_texts_of_a_fact_are_so_long(samples: Deployment, place: int) -> None:
    fact = ['a', 'b', 'c', 'd']
    fact[place] = 'x' * (LONGEST_TEXT + 1)
    body = HEAD + b'\r\n' + json.dumps([['a', 'b', 'c', 1], fact]).encode() + TAIL
    assert reason(samples, asked(body)) == (
        f'file: fact [1]: expected texts of at most {LONGEST_TEXT} characters\n'
    )


def test_facts_that_are_left_out_count_too(
    samples: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """And are told in some lines, each of a length that no log cuts."""
    odd = [['x' * 20_000, 'b', 'c', None]] * 5 + [['\x1b\u00e9' * 5000, 'b', 'c', None]] * 40
    body = HEAD + b'\r\n' + json.dumps([*odd, ['a', 'b', 'c', 1]]).encode() + TAIL
    reason(samples, asked(body), 404)
    told = [record.getMessage() for record in caplog.records]
    assert sum('left out' in line for line in told) == 21
    assert 'and 25 more facts left out' in caplog.text
    assert max(map(len, told)) < 8000
    many = [['a', 'b', 'c', None]] * (MOST_FACTS + 1)
    assert 'facts, found' in reason(
        samples, asked(HEAD + b'\r\n' + json.dumps(many).encode() + TAIL)
    )


def test_an_inventory_in_python_that_is_none_is_refused_at_its_first_line(
    samples: Deployment,
) -> None:
    body = HEAD + b'\r\n#\n' + b'1\n' * 500_000 + TAIL
    assert reason(samples, asked(body)).startswith(
        'file:2: expected a fact a line, found a number'
    )


class Chunks(io.BytesIO):
    """What a server gives of a body in chunks."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if b'!' in data:
            raise RuntimeError('invalid chunk size')
        return data


def chunked(deployment: Deployment, data: bytes) -> tuple[Request, Chunks]:
    request = asked(b'')
    chunks = Chunks(data)
    request.content_length = None
    request.environ.update({'wsgi.input': chunks, 'wsgi.input_terminated': True})
    return request, chunks


def test_what_is_no_http_is_the_clients_fault(samples: Deployment) -> None:
    request, _ = chunked(samples, HEAD + b'\r\n!')
    assert 'the upload broke off' in reason(samples, request)


def test_what_is_refused_is_read_to_its_end(samples: Deployment) -> None:
    """Else the client that sends it would never see the answer."""
    samples.configure(ALLOW='192.168.0.0/16')
    request, chunks = chunked(samples, b'x' * 1_000_000)
    reason(samples, request, 403)
    assert chunks.read() == b''


def test_who_waits_for_leave_to_send_is_not_made_to(samples: Deployment) -> None:
    samples.configure(ALLOW='192.168.0.0/16')
    request = asked(HEAD + b'\r\n[]' + TAIL)
    request.headers['Expect'] = '100-continue'
    body = request.environ['wsgi.input']
    reason(samples, request, 403)
    assert body.tell() == 0
