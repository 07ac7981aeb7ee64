"""The virtual environment of the tools, made when it is missing or out of date."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / '.venv'


def python(*extras: str) -> Path:
    """The environment's Python, with the project and these extras installed.

    Ends the program with the reason if it cannot be made.
    """
    executable = HOME / 'bin' / 'python'
    wanted = _fingerprint(extras)
    mark = HOME / f'installed-{"-".join(extras) or "plain"}'
    if mark.is_file() and mark.read_text() == wanted and _starts(executable):
        return executable
    if not _starts(executable):
        _say(f'making a virtual environment in {HOME}')
        _make()
    what = f'{ROOT}[{",".join(extras)}]' if extras else str(ROOT)
    _say(f'installing edeploy{" with " + ", ".join(extras) if extras else ""}')
    pip = [executable, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    if subprocess.run([*pip, '--editable', what], check=False).returncode:
        sys.exit('pip could not install what is needed: see above')
    mark.write_text(wanted)
    return executable


def install(*packages: str) -> bool:
    """Install Debian packages if this machine lets us; whether they are there now."""
    missing = [package for package in packages if not _installed(package)]
    if not missing:
        return True
    if os.geteuid() != 0 or not shutil.which('apt-get'):
        return False
    _say(f'installing {", ".join(missing)}')
    settings = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
    apt = ['apt-get', '--quiet=2', '--option=Dpkg::Use-Pty=0']
    subprocess.run([*apt, 'update'], env=settings, check=False, stdout=subprocess.DEVNULL)
    done = subprocess.run(
        [*apt, 'install', '--yes', '--no-install-recommends', *missing],
        env={**settings, 'POLICY_RC_D': 'none'},
        check=False,
        stdout=subprocess.DEVNULL,
    )
    return done.returncode == 0


def _make() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    command = [os.path.realpath(sys.executable), '-m', 'venv', str(HOME)]
    if subprocess.run(command, check=False, capture_output=True).returncode == 0:
        return
    # Debian keeps a part of venv in a package of its own.
    shutil.rmtree(HOME, ignore_errors=True)
    install('python3-venv')
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'python3 cannot make a virtual environment:\n{done.stdout}{done.stderr}')


def _starts(executable: Path) -> bool:
    try:
        done = subprocess.run([executable, '-c', 'import pip'], check=False, capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def _fingerprint(extras: tuple[str, ...]) -> str:
    files = [ROOT / 'setup.cfg', ROOT / 'pyproject.toml']
    parts = [str(ROOT), sys.version, *extras, *(file.read_text() for file in files)]
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()


def _installed(package: str) -> bool:
    query = ['dpkg-query', '--show', '--showformat=${db:Status-Status}', package]
    try:
        done = subprocess.run(query, check=False, capture_output=True, text=True)
    except OSError:
        return False
    return done.stdout == 'installed'


def _say(text: str) -> None:
    print(f'{text} ...', file=sys.stderr, flush=True)
