"""What the tests share: a deployment in a scratch folder, and what the machine must have."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

import strategies  # noqa: F401  registers the settings profiles
from edeploylib.settings import Settings
from edeploylib.store import FileStore

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / 'config'
INVENTORIES = CONFIG / 'inventories'

settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'edeploy'))


@pytest.fixture
def needs() -> Callable[[str, str], str]:
    """The path of a program; without it the test skips, and in CI it fails."""

    def path_of(program: str, package: str) -> str:
        found = shutil.which(program, path=f'{os.environ["PATH"]}:/usr/sbin:/sbin')
        if not found:
            reason = f'needs {program}: apt-get install {package}'
            (pytest.fail if os.environ.get('CI') else pytest.skip)(reason)
        return found

    return path_of


class Deployment(NamedTuple):
    """A CONFIGDIR and all that belongs to it, in one scratch folder."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / 'config'

    @property
    def hw(self) -> Path:
        return self.root / 'hw'

    @property
    def conf(self) -> Path:
        return self.root / 'edeploy.conf'

    @property
    def settings(self) -> Settings:
        return Settings.load(str(self.conf))

    @property
    def store(self) -> FileStore:
        return FileStore(self.settings)

    def write(self, **files: str) -> 'Deployment':
        """Files of CONFIGDIR: ``vm_specs='[...]'`` is vm.specs."""
        for name, text in files.items():
            (self.config / name.replace('_', '.')).write_text(text)
        return self

    def put(self, name: str, text: str | None) -> None:
        """A file of CONFIGDIR, or none."""
        path = self.config / name
        path.unlink() if text is None else path.write_text(text)

    def configure(self, **changes: str) -> 'Deployment':
        lines = {
            'CONFIGDIR': str(self.config),
            'HWDIR': str(self.hw),
            'LOGDIR': str(self.root / 'logs'),
            'LOCKFILE': str(self.root / 'lock'),
            **changes,
        }
        text = ''.join(f'{key} = {value}\n' for key, value in lines.items())
        self.conf.write_text(f'[SERVER]\n{text}')
        return self

    def texts(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.config.iterdir() if path.is_file()}


@pytest.fixture
def empty(tmp_path: Path) -> Deployment:
    deployment = Deployment(tmp_path)
    deployment.config.mkdir()
    deployment.hw.mkdir()
    return deployment.configure()


@pytest.fixture
def samples(empty: Deployment) -> Deployment:
    """The samples of config/."""
    for path in profile_files():
        shutil.copy(path, empty.config)
    return empty


def profile_files() -> list[Path]:
    """The state of config/ and the files of its profiles."""
    kinds = ('.specs', '.configure', '.cmdb')
    return [path for path in CONFIG.iterdir() if path.name == 'state' or path.suffix in kinds]


@pytest.fixture
def python() -> str:
    return sys.executable
