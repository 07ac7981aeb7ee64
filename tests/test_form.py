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
        (b'X: ' + b'y' * 70_000, 'headers of parts of at most 65536 bytes'),
        (b'X: y\r\n' * 20_000, 'headers of parts of at most 65536 bytes'),
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
    part = b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n'
    assert 'headers of parts' in reason(samples, asked(part * 5000 + TAIL))


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
