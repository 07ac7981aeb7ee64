"""pxemngr is told of a machine, by a real program in its place, and is never fatal."""

import os
from pathlib import Path

import pytest
from webob import Request

from conftest import INVENTORIES, Deployment
from edeploylib.pxemngr import register
from edeploylib.web.upload import Application

RACK = INVENTORIES / 'rack.json'
NAME = 'Blade3-TAG2-02-00-00-00-02-01'


@pytest.fixture
def used(samples: Deployment) -> Deployment:
    return samples.configure(USEPXEMNGR='True', PXEMNGRURL='http://10.0.0.1:8000/')


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a program that is the first of its name in PATH."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    return folder / 'pxemngr'


def write(program: Path, text: str) -> None:
    program.write_text(f'#!/bin/sh\n{text}\n')
    program.chmod(0o755)


def upload(deployment: Deployment, told: list[str], **fields: str) -> int:
    request = Request.blank('/', POST={'file': ('hw.json', RACK.read_bytes()), **fields})
    page = Application(str(deployment.conf), tell=lambda level, line: told.append(line))
    return request.get_response(page).status_int


def test_a_machine_is_registered_with_its_name_and_addresses(
    used: Deployment, program: Path, tmp_path: Path
) -> None:
    write(program, f'printf "<%s>" "$@" >> {tmp_path}/called')
    told: list[str] = []
    assert upload(used, told) == 200
    assert (tmp_path / 'called').read_text() == f'<addsystem><{NAME}><02:00:00:00:02:01>'
    assert not any('warning' in line for line in told)


def test_only_machines_that_are_installed_are_registered(
    used: Deployment, program: Path, tmp_path: Path
) -> None:
    write(program, f'echo x >> {tmp_path}/called')
    used.write(state='[]')
    assert upload(used, []) == 404
    assert upload(used, [], failure='rack') == 200
    used.configure()
    used.write(state="[('rack', 1)]")
    assert upload(used, []) == 200  # without USEPXEMNGR
    assert not (tmp_path / 'called').exists()


def test_an_adapter_that_goes_from_box_to_box_names_none(
    used: Deployment, program: Path, tmp_path: Path
) -> None:
    write(program, f'echo x >> {tmp_path}/called')
    used.configure(
        USEPXEMNGR='True', PXEMNGRURL='http://10.0.0.1/', IGNOREMACS='02:00:00:00:02:01'
    )
    assert upload(used, []) == 200
    assert not (tmp_path / 'called').exists()


@pytest.mark.parametrize(
    ('text', 'warning'),
    [
        ('echo no such group >&2; exit 3', 'failed with status 3: no such group'),
        ('kill -9 $$', 'failed with status -9'),
        (None, 'pxemngr could not be run'),
    ],
)
def test_trouble_with_pxemngr_is_told_and_keeps_no_machine_from_its_script(
    used: Deployment, program: Path, text: str | None, warning: str
) -> None:
    if text is not None:
        write(program, text)
    told: list[str] = []
    assert upload(used, told) == 200
    assert any(warning in line for line in told), told


def test_pxemngr_has_so_much_time(program: Path) -> None:
    write(program, 'exec sleep 60')
    said = register('node1', ['02:00:00:00:02:01'], timeout=0.3)
    assert said == 'pxemngr addsystem node1 took more than 0.3 s'
