from pathlib import Path

import pytest

from edeploylib.errors import EdeployError, MissingFile, SettingsError, StoreError, UnknownSection
from edeploylib.settings import Conf, Settings

REQUIRED = 'CONFIGDIR = /c\nHWDIR = /h\nLOCKFILE = /l\n'


def load(folder: Path, text: str | bytes, section: str = 'SERVER') -> Settings:
    path = folder / 'edeploy.conf'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Settings.load(str(path), section)


def test_an_old_file_is_read_as_it_is(tmp_path: Path) -> None:
    """The guide's example; and Python 2's comments behind a value."""
    found = load(
        tmp_path,
        '[SERVER]\n\n'
        'HEALTHDIR   = /var/lib/edeploy/health/\n'
        'CONFIGDIR   = /var/lib/edeploy/config/ ; text files\n'
        'LOGDIR      = /var/lib/edeploy/config/logs\n'
        'HWDIR       = /var/lib/edeploy/hw/\n'
        'LOCKFILE    = /var/lock/apache2/edeploy.lock\n'
        'USEPXEMNGR  = True\n'
        'PXEMNGRURL  = http://192.168.122.1:8000/\n'
        'METADATAURL = http://192.168.122.1/\n',
    )
    assert found == Settings(
        section='SERVER',
        healthdir='/var/lib/edeploy/health',
        configdir='/var/lib/edeploy/config',
        logdir='/var/lib/edeploy/config/logs',
        hwdir='/var/lib/edeploy/hw',
        ledger='/var/lib/edeploy/hw/ledger.sqlite',
        lockfile='/var/lock/apache2/edeploy.lock',
        pxemngr_url='http://192.168.122.1:8000/',
        metadata_url='http://192.168.122.1/',
    )


def test_our_own_settings(tmp_path: Path) -> None:
    text = (
        f'[LAB]\n{REQUIRED}LEDGER = sub/ledger\nLOCKTIMEOUT = 2.5\nMAXUPLOAD = 1 MiB\n'
        'ALLOW = 10.0.0.7/8, fd00::/8\nIGNOREMACS = 00-E0-4C-68-00-01 00:e0:4c:68:00:02\n'
        'PXEMNGRURL = http://unused/\n'
    )
    found = load(tmp_path, text, 'LAB')
    assert found.ledger == str(tmp_path / 'sub/ledger')
    assert (found.lock_timeout, found.max_upload) == (2.5, 1024**2)
    assert found.allow == ('10.0.0.0/8', 'fd00::/8')
    assert found.ignored_macs == {'00:e0:4c:68:00:01', '00:e0:4c:68:00:02'}
    assert found.pxemngr_url == ''


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('CONFIGDIR = /c\n', ':1: expected a [section] first'),
        ('[SERVER]\nnonsense\n', ':2: expected KEY = value'),
        (f'[SERVER]\n{REQUIRED}HWDIR = /x\n', ':5: HWDIR stands twice in [SERVER]'),
        ('[SERVER]\n[SERVER]\n', ':2: section [SERVER] stands twice'),
        ('[SERVER]\nHWDIR = /h\nLOCKFILE = /l\n', ': expected CONFIGDIR in section [SERVER]'),
        (f'[SERVER]\n{REQUIRED}HWDIRS = /h\n', ':5: unknown setting HWDIRS, expected one of ALLOW'),
        (f'[SERVER]\n{REQUIRED}LOCKTIMEOUT = soon\n',
         ":5: LOCKTIMEOUT: expected a number of seconds, at most 86400, found 'soon'"),
        (f'[SERVER]\n{REQUIRED}MAXUPLOAD = -1\n',
         ":5: MAXUPLOAD: expected a number of bytes, such as 16 MiB, found '-1'"),
        (f'[SERVER]\n{REQUIRED}USEPXEMNGR = maybe\n',
         ":5: USEPXEMNGR: expected True or False, found 'maybe'"),
        (f'[SERVER]\n{REQUIRED}USEPXEMNGR = True\n',
         ': expected PXEMNGRURL in section [SERVER] with USEPXEMNGR'),
        (f'[SERVER]\n{REQUIRED}METADATAURL = ftp://x\n',
         ":5: METADATAURL: expected a URL that begins with http:// or https://, found 'ftp://x'"),
        (f'[SERVER]\n{REQUIRED}ALLOW = 10.0.0.0/33\n',
         ":5: ALLOW: expected networks such as 10.0.0.0/8, found '10.0.0.0/33'"),
        (f'[SERVER]\n{REQUIRED}IGNOREMACS = 00:11\n',
         ":5: IGNOREMACS: expected addresses such as 52:54:00:12:34:56, found '00:11'"),
        (b'[SERVER]\nHWDIR = \xff\n', ': expected UTF-8'),
        (f'[SERVER]\n{REQUIRED}LEDGER = a\0b\n', ":5: LEDGER: expected a path, found 'a\\x00b'"),
        (f'[SERVER]\n{REQUIRED}LOCKTIMEOUT = 10GB\n',
         ":5: LOCKTIMEOUT: expected a number of seconds, at most 86400, found '10GB'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_key_and_line(tmp_path: Path, text, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    assert str(refused.value).startswith(f'{tmp_path}/edeploy.conf{message}')


@pytest.mark.parametrize('section', ['LAB', 'DEFAULT', '', 'a\nb'])
def test_an_unknown_section_is_refused(tmp_path: Path, section: str) -> None:
    with pytest.raises(UnknownSection, match='edeploy.conf: unknown section .* expected SERVER'):
        load(tmp_path, f'[DEFAULT]\n{REQUIRED}[SERVER]\n', section)


def test_no_file_and_an_unreadable_one_are_two_things(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match='does not exist'):
        Settings.load(str(tmp_path / 'none'))
    with pytest.raises(StoreError, match='Is a directory'):
        Settings.load(str(tmp_path))


@pytest.mark.parametrize('name', ['a\0b', '\ud800'])
def test_what_can_be_no_file_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match='is no name of a file'):
        Settings.load(name)


def test_all_sections_that_can_be_read(tmp_path: Path) -> None:
    """One that is broken is nobody else's fault."""
    path = tmp_path / 'edeploy.conf'
    path.write_text(f'[A]\n{REQUIRED}[B]\nMAXUPLOAD = x\n[C]\n{REQUIRED}MAXUPLOAD = 7\n')
    assert {name: its.max_upload for name, its in Conf.read(str(path)).sections.items()} == {
        'A': 1 << 24,
        'C': 7,
    }


def test_the_sample_is_read() -> None:
    sample = Path(__file__).parent.parent / 'config' / 'edeploy.conf'
    try:
        assert Settings.load(str(sample)).lock_timeout == 60
    except EdeployError as error:
        pytest.fail(error.report())
