"""Logs and health checks: what machines send only to be kept."""

import io
import os
import time
from pathlib import Path

import pytest

from conftest import INVENTORIES, Deployment
from edeploylib.errors import LockTimeout, SettingsError, StoreError, UploadError
from edeploylib.inventory import Inventory
from edeploylib.store.archive import save_health, save_log
from edeploylib.store.lock import locked

RACK = Inventory.parse((INVENTORIES / 'rack.json').read_bytes())
SYSNAME = 'Blade3-TAG2-02-00-00-00-02-01'


@pytest.fixture
def kept(empty: Deployment) -> Deployment:
    return empty.configure(HEALTHDIR=str(empty.root / 'health'), LOCKTIMEOUT='0.2')


def log(deployment: Deployment, name: str, text: bytes) -> str:
    return save_log(name, io.BytesIO(text), deployment.settings)


def logs(deployment: Deployment) -> dict[str, bytes]:
    folder = deployment.root / 'logs'
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != '.lock'}


def test_no_log_is_ever_lost(kept: Deployment) -> None:
    """Not even of those that come within the same second."""
    for number in range(5):
        assert log(kept, 'node1.log.gz', b'%d' % number) == 'node1.log.gz'
    assert logs(kept)['node1.log.gz'] == b'4'
    assert sorted(logs(kept).values()) == [b'0', b'1', b'2', b'3', b'4']


def test_a_log_is_put_aside_by_the_time_that_it_was_saved(kept: Deployment) -> None:
    log(kept, 'node1.log.gz', b'first')
    then = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    os.utime(kept.root / 'logs' / 'node1.log.gz', (then, then))
    log(kept, 'node1.log.gz', b'second')
    assert logs(kept) == {'node1.log.gz': b'second', 'node1.20260102030405.log.gz': b'first'}


@pytest.mark.parametrize(
    ('sent', 'saved'),
    [
        ('../../etc/cron.d/x.log.gz', 'x.log.gz'),
        ('C:\\logs\\x.log.gz', 'x.log.gz'),
        ('/x.log.gz', 'x.log.gz'),
        ('.log.gz', 'unknown.log.gz'),
        ('....log.gz', 'unknown.log.gz'),
        ('-rf.log.gz', 'rf.log.gz'),
        ('.lock.log.gz', 'lock.log.gz'),
        ('a b$(c)\x00\n;d.log.gz', 'abcd.log.gz'),
        ('node-é-1.2_3.log.gz', 'node--1.2_3.log.gz'),
        ('x' * 500 + '.log.gz', 'x' * 150 + '.log.gz'),
    ],
)
def test_a_name_is_cleaned_and_stays_in_its_folder(
    kept: Deployment, sent: str, saved: str
) -> None:
    assert log(kept, sent, b'text') == saved
    assert logs(kept) == {saved: b'text'}


def test_a_link_is_replaced_and_not_followed(kept: Deployment) -> None:
    (kept.root / 'logs').mkdir()
    outside = kept.root / 'outside'
    outside.write_text('mine')
    for name in ('node1.log.gz', '.node1.log.gz.new'):
        (kept.root / 'logs' / name).symlink_to(outside)
    log(kept, 'node1.log.gz', b'text')
    assert (outside.read_text(), logs(kept)['node1.log.gz']) == ('mine', b'text')
    assert not (kept.root / 'logs' / 'node1.log.gz').is_symlink()


def test_what_cannot_be_saved_leaves_the_former(kept: Deployment) -> None:
    log(kept, 'node1.log.gz', b'first')

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(28, 'No space left on device')

    with pytest.raises(StoreError, match=r'cannot write .*/logs/node1\.log\.gz: No space left'):
        save_log('node1.log.gz', Broken(), kept.settings)
    assert logs(kept) == {'node1.log.gz': b'first'}


def test_one_at_a_time(kept: Deployment) -> None:
    log(kept, 'node1.log.gz', b'first')
    with (
        locked(str(kept.root / 'logs' / '.lock'), 1, 'another'),
        pytest.raises(LockTimeout, match='another'),
    ):
        log(kept, 'node1.log.gz', b'second')


def test_without_a_folder_for_it(empty: Deployment) -> None:
    empty.configure(LOGDIR='')
    with pytest.raises(SettingsError, match=r'expected LOGDIR in section \[SERVER\]'):
        log(empty, 'node1.log.gz', b'')
    empty.configure(LOGDIR=str(empty.root / 'no' / 'logs'))
    with pytest.raises(StoreError, match='no/logs: No such file or directory'):
        log(empty, 'node1.log.gz', b'')


def test_a_health_check_by_session_and_minute(kept: Deployment) -> None:
    then = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    path = save_health('burn-in', RACK, kept.settings, then)
    assert path == f'burn-in/2026_01_02-03h04/{SYSNAME}.hw'
    assert Inventory.parse((kept.root / 'health' / path).read_text()) == RACK
    assert save_health('burn-in', RACK, kept.settings, then) == path


@pytest.mark.parametrize('session', ['..', '.', '/', '', '$', '\x00', '...-'])
def test_a_session_is_a_name(kept: Deployment, session: str) -> None:
    with pytest.raises(UploadError, match='expected a session with a letter or digit'):
        save_health(session, RACK, kept.settings)


def test_a_session_that_is_a_link_leads_nowhere(kept: Deployment) -> None:
    (kept.root / 'health').mkdir()
    outside = kept.root / 'outside'
    outside.mkdir()
    (kept.root / 'health' / 'burn-in').symlink_to(outside)
    with pytest.raises(StoreError, match='burn-in'):
        save_health('burn-in', RACK, kept.settings)
    assert list(outside.iterdir()) == []


def test_a_folder_that_is_a_link_of_the_operators_is_fine(kept: Deployment) -> None:
    (kept.root / 'elsewhere').mkdir()
    (kept.root / 'logs').symlink_to(Path('elsewhere'))
    log(kept, 'node1.log.gz', b'text')
    assert (kept.root / 'elsewhere' / 'node1.log.gz').read_bytes() == b'text'
