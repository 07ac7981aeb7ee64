"""A CGI program starts for each request: what one loads is what it needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import INVENTORIES, ROOT, Deployment

# What takes long to load, and what only some requests need.
NEVER = {'logging', 'argparse', 'pydoc', 'inspect', 'dataclasses', 'asyncio', 'unittest', 'pkg_resources',
         'importlib.metadata', 'concurrent.futures', 'edeploylib.cli', 'edeploylib.node.helpers'}  # fmt: skip
SELDOM = {'netaddr', 'edeploylib.explain', 'edeploylib.hints', 'edeploylib.plain', 'edeploylib.pxemngr',
          'edeploylib.store.archive', 'edeploylib.web.health', 'edeploylib.web.site', 'subprocess',
          'shlex', 'difflib', 'traceback'}  # fmt: skip

# Runs a program and tells at its end what was loaded.
REPORT = """
import os, sys
before = {{*sys.modules}}
def exit(status):
    open({!r}, 'w').write(' '.join(sys.modules.keys() - before))
    real(status)
real, os._exit = os._exit, exit
exec(open({!r}).read())
"""


def loaded(
    deployment: Deployment, inventory: bytes, filename: str = 'hw.json', **environ: str
) -> set[str]:
    """The modules that the CGI program has loaded when it has answered an upload."""
    head = f'--B\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    body = head.encode() + inventory + b'\r\n--B--\r\n'
    report = deployment.root / 'loaded'
    done = subprocess.run(
        [sys.executable, '-c', REPORT.format(str(report), str(ROOT / 'cgi-bin' / 'upload.py'))],
        input=body,
        env={
            'PATH': os.environ['PATH'],
            'GATEWAY_INTERFACE': 'CGI/1.1',
            'REQUEST_METHOD': 'POST',
            'SERVER_NAME': 'localhost',
            'SERVER_PORT': '80',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'REMOTE_ADDR': '10.0.0.7',
            'CONTENT_TYPE': 'multipart/form-data; boundary=B',
            'CONTENT_LENGTH': str(len(body)),
            'EDEPLOY_CONF': str(deployment.conf),
            **environ,
        },
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(environ.get('expected', 'Status: 200').encode()), done.stdout
    return set(report.read_text().split())


RACK = (INVENTORIES / 'rack.json').read_bytes()


def test_an_upload_loads_what_it_needs(samples: Deployment) -> None:
    found = loaded(samples, RACK)
    assert {'edeploylib.web.upload', 'sqlite3', 'webob'} <= found
    assert sorted(found & (NEVER | SELDOM)) == []


def test_one_that_comes_again_too(samples: Deployment) -> None:
    loaded(samples, RACK)
    assert sorted(loaded(samples, RACK) & (NEVER | SELDOM)) == []


@pytest.mark.parametrize(
    ('change', 'inventory', 'filename', 'expected', 'more'),
    [
        ({'vm_specs': "[('network', '$e', 'ipv4', 'network(192.168.0.0/16)')]", 'state': "[('vm', 1)]"},
         RACK, 'hw.json', 'Status: 200', {'netaddr'}),
        ({}, b'[["a", "b", "c", "d"]]', 'hw.json', 'Status: 404', {'edeploylib.explain'}),
        ({}, b'[', 'hw.json', 'Status: 400', set()),
        ({}, b'log', 'a.log.gz', 'Status: 200', {'edeploylib.store.archive'}),
    ],
    ids=['an address is tested', 'refused', 'bad', 'log'],
)  # fmt: skip
def test_what_only_some_need_is_loaded_by_them(
    samples: Deployment, change, inventory: bytes, filename: str, expected: str, more: set[str]
) -> None:
    samples.write(**change)
    found = loaded(samples, inventory, filename, expected=expected)
    assert more <= found
    assert not found & {'argparse', 'edeploylib.cli'}


def test_the_installed_programs_are_these() -> None:
    assert {path.name for path in Path(ROOT / 'cgi-bin').iterdir()} == {
        'upload.py',
        'upload-health.py',
    }
