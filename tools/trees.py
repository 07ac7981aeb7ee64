"""Trees of files: role files are read, their trees built, and archives packed.

A role file is an INI file with one section, ``[role]``; its lists have an item a line::

    from       another role, whose tree this one starts from
    suite      of Debian or Ubuntu, from where mmdebstrap finds it, with its updates
    sources    lines of APT's sources.list in its place; the first one's suite is installed
    variant    how much is there to start with: mmdebstrap's word, default apt
    packages   Debian or Ubuntu packages
    files      a folder, beside the role file, that is copied over the tree
    run        commands of a shell in the tree
    script     a program, beside the role file, that is run in the tree

A role has one of ``from``, ``suite`` and ``sources``.
"""

import configparser
import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROLES = Path(__file__).resolve().parent.parent / 'config' / 'roles'

# To be raised where the same role files give another tree than before.
_RECIPE = 1

# Documentation is for people who sit at a machine.
_LEFT_OUT = ('/usr/share/doc/*', '/usr/share/info/*', '/usr/share/locale/*', '/usr/share/man/*')
_KEPT = ('/usr/share/doc/*/copyright',)

# What differs from build to build, or belongs to the machine where it was built.
_TRACES = (
    'etc/hostname',
    'etc/resolv.conf',
    'etc/ssh/ssh_host_*',
    'run/*',
    'tmp/*',
    'usr/sbin/policy-rc.d',
    'var/cache/apt/*.bin',
    'var/cache/apt/archives/*.deb',
    'var/cache/debconf/*-old',
    'var/cache/ldconfig/aux-cache',
    'var/lib/apt/lists/*',
    'var/lib/dpkg/*-old',
    'var/lib/systemd/random-seed',
    'var/log/*.log',
    'var/log/apt/*',
    'var/tmp/*',
)

# One time, by which initial RAM disks and passwords' ages are made; seal() has the tree's own.
_SETTINGS = {
    'DEBIAN_FRONTEND': 'noninteractive',
    'LC_ALL': 'C.UTF-8',
    'SOURCE_DATE_EPOCH': '946684800',
}

_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._+-]*')


_PR_SET_PDEATHSIG = 1


class BuildError(Exception):
    """Why a tree cannot be built; its text is for the operator."""


class Role(NamedTuple):
    """A role file. ``parent`` is None for a role that is made from packages alone."""

    name: str
    path: Path
    parent: 'Role | None' = None
    suite: str = ''
    sources: tuple[str, ...] = ()
    variant: str = 'apt'
    packages: tuple[str, ...] = ()
    files: Path | None = None
    run: tuple[str, ...] = ()
    script: Path | None = None

    @property
    def fingerprint(self) -> str:
        """Of all that the tree is made from, but for the packages' versions."""
        digest = hashlib.sha256(f'{_RECIPE}'.encode())
        for role in self.lineage:
            paths = [role.path, *_files(role.files), *([role.script] if role.script else [])]
            for path in paths:
                is_program = path.stat().st_mode & 0o100 if path.is_file() else 0
                digest.update(f'{path.relative_to(role.path.parent)} {is_program}\0'.encode())
                if path.is_symlink():
                    digest.update(os.readlink(path).encode())
                elif path.is_file():
                    digest.update(path.read_bytes())
        return digest.hexdigest()

    @property
    def lineage(self) -> list['Role']:
        """The role that it all begins with first."""
        return [*(self.parent.lineage if self.parent else []), self]


def read_role(name: str, folder: Path = ROLES, below: tuple[str, ...] = ()) -> Role:
    """The role NAME.role of a folder, with those that it is made from.

    Raises BuildError with the file and what is wrong.
    """
    check_name('role', name)
    path = folder / f'{name}.role'
    if name in below:
        raise BuildError(f'{path}: role {name!r} is made from itself: {" <- ".join(below)}')
    if not path.is_file():
        there = sorted(other.stem for other in folder.glob('*.role'))
        raise BuildError(f'there is no role {name!r} in {folder}: there are {", ".join(there)}')
    values = _values(path)
    if sum(key in values for key in ('from', 'suite', 'sources')) != 1:
        raise BuildError(f"{path}: expected one of 'from', 'suite' and 'sources'")
    sources = tuple(_lines(values.get('sources', '')))
    for line in sources:
        if not re.fullmatch(r'deb( \[[^]]*\])? \S+ \S+( \S+)+', line):
            raise BuildError(f"{path}: expected 'deb URL SUITE COMPONENT', found {line!r}")
    beside = {
        key: path.parent / values[key].strip() for key in ('files', 'script') if key in values
    }
    for key, there in beside.items():
        if not values[key].strip():
            raise BuildError(f'{path}: expected a name as {key}')
        if not (there.is_dir() if key == 'files' else there.is_file()):
            raise BuildError(f'{path}: {key} = {there.name}, and {there} is not there')
    parent = values.get('from')
    return Role(
        name,
        path,
        read_role(parent.strip(), folder, (*below, name)) if parent else None,
        _suite(values.get('suite', ''), sources),
        sources,
        values.get('variant', 'apt').strip(),
        tuple(values.get('packages', '').split()),
        beside.get('files'),
        tuple(_lines(values.get('run', ''))),
        beside.get('script'),
    )


def _suite(named: str, sources: Sequence[str]) -> str:
    if sources:
        return re.sub(r'\[.*?\]', '', sources[0]).split()[2]
    if named:
        check_name('suite', named.strip())
    return named.strip()


def check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BuildError(f'{name!r} is no {what}: expected letters, digits and ._+-')


def _values(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, delimiters='=', comment_prefixes='#')
    try:
        parser.read_string(path.read_text(), str(path))
    except configparser.Error as error:
        raise BuildError(str(error).replace('\n', ' ')) from None
    if parser.sections() != ['role']:
        raise BuildError(f'{path}: expected one section, [role], found {parser.sections()}')
    values = dict(parser['role'])
    for key in values:
        if key not in {
            'from',
            'suite',
            'sources',
            'variant',
            'packages',
            'files',
            'run',
            'script',
        }:
            raise BuildError(f'{path}: unknown key {key!r}')
    return values


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _files(folder: Path | None) -> list[Path]:
    return sorted(folder.rglob('*')) if folder else []


class Report:
    """Steps with their times on a stream, and all that programs say in a log."""

    def __init__(self, log: Path, what: str) -> None:
        self._began = time.monotonic()
        self._what = what
        self.log = log
        log.write_text('')

    def step(self, text: str) -> None:
        line = f'[{time.monotonic() - self._began:6.1f} s] {self._what}: {text}'
        print(line, file=sys.stderr, flush=True)
        with self.log.open('a') as log:
            log.write(f'{line}\n')

    def run(self, *command: str | Path) -> None:
        """Run a program; raises BuildError with its last lines if it fails."""
        words = [str(word) for word in command]
        with self.log.open('a') as log:
            log.write(f'+ {" ".join(words)}\n')
            log.flush()
            settings = {**os.environ, **_SETTINGS}
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=settings,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
            except OSError as error:
                raise BuildError(f'{words[0]}: {error.strerror}') from None
            try:
                status = process.wait()
            except BaseException:
                # With all that it has started: nothing must write on.
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
        if status:
            last = '\n'.join(self.log.read_text(errors='replace').splitlines()[-20:])
            raise BuildError(
                f'{self._what}: {words[0]} failed with status {status}; the last of {self.log}:\n'
                f'{last}'
            )


def _end_with_parent() -> None:
    """What a build has started does not go on when it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def build(role: Role, tree: Path, report: Report, parent: Path | None = None) -> None:
    """Make a role's tree; ``parent`` is the tree of the role that it is made from."""
    began = time.time()
    if parent is not None:
        report.step(f'copying the tree of {parent.name}')
        report.run('cp', '--archive', '--reflink=auto', parent, tree)
        if role.packages:
            report.step(f'{len(role.packages)} packages with what they need')
            _install(role, tree, report)
    else:
        report.step(f'{role.suite} with {len(role.packages)} packages and what they need')
        _bootstrap(role, tree, report)
    if role.files:
        report.step(f'files of {role.files.name}')
        _lay_over(role.files, tree, report)
    for command in role.run:
        report.step(command)
        in_tree(report, tree, 'sh', '-ec', command)
    if role.script:
        report.step(f'running {role.script.name}')
        inside = tree / '.edeploy-script'
        shutil.copyfile(role.script, inside)
        inside.chmod(0o700)
        in_tree(report, tree, f'/{inside.name}')
        inside.unlink()
    report.step('removing the traces of the build')
    clean(tree)
    seal(tree, began)


def _lay_over(files: Path, tree: Path, report: Report) -> None:
    """From within, so that links of the tree lead where they do in the system to be."""
    inside = tree / '.edeploy-files'
    report.run('cp', '--recursive', '--no-dereference', '--no-target-directory', files, inside)
    # Whatever the builder's own files are: for all to read, and to run what is a program.
    report.run('chmod', '--recursive', 'u=rwX,go=rX', inside)
    lay = ('cp', '--recursive', '--no-dereference', '--no-target-directory')
    in_tree(report, tree, *lay, f'/{inside.name}', '/')
    shutil.rmtree(inside)


def in_tree(report: Report, tree: Path, *command: str) -> None:
    """Run a program in a tree; its mounts and its processes end with it."""
    settings = {**_SETTINGS, 'HOME': '/root', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
    environment = [f'{name}={value}' for name, value in settings.items()]
    apart = ['unshare', '--mount', '--pid', '--fork', '--kill-child', f'--mount-proc={tree}/proc']
    inside = ['env', '--ignore-environment', *environment, *command]
    report.run(*apart, 'chroot', tree, *inside)


def _bootstrap(role: Role, tree: Path, report: Report) -> None:
    options = [f'--dpkgopt=path-exclude={pattern}' for pattern in _LEFT_OUT]
    options += [f'--dpkgopt=path-include={pattern}' for pattern in _KEPT]
    report.run(
        'mmdebstrap',
        '--mode=root',
        '--format=directory',
        f'--variant={role.variant}',
        f'--include={",".join(role.packages)}',
        *options,
        role.suite,
        tree,
        *role.sources,
    )


def _install(role: Role, tree: Path, report: Report) -> None:
    _put(tree / 'etc/resolv.conf', Path('/etc/resolv.conf').read_text(), tree)
    _put(tree / 'usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', tree).chmod(0o755)
    in_tree(report, tree, 'apt-get', 'update', '--quiet=2')
    apt = ('apt-get', 'install', '--yes', '--quiet=2', '--no-install-recommends')
    in_tree(report, tree, *apt, *role.packages)


def _is_inside(path: Path, tree: Path) -> bool:
    """Whether a path stands in the tree, and no link of it leads to the builder's own files."""
    return path.parent.resolve().is_relative_to(tree.resolve())


def _put(path: Path, text: str, tree: Path) -> Path:
    """A file of the tree, in place of a link, which may lead anywhere."""
    if not _is_inside(path, tree):
        raise BuildError(f'{path} leads out of the tree')
    path.unlink(missing_ok=True)
    path.write_text(text)
    return path


def clean(tree: Path) -> None:
    for pattern in _TRACES:
        for path in tree.glob(pattern):
            if not _is_inside(path, tree):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    lists = tree / 'var/lib/apt/lists/partial'
    if _is_inside(lists, tree):
        lists.mkdir(parents=True, exist_ok=True)
    if (tree / 'etc').is_dir():
        # Empty, it is filled in when the machine starts for the first time.
        _put(tree / 'etc/machine-id', '', tree)


def seal(tree: Path, began: float) -> None:
    """Give all that the build made the time of the newest file that came with a package.

    So the times tell versions of the packages, and nothing of the build.
    """
    paths = list(_walk(tree))
    epoch = int(max((path.lstat().st_mtime for path in _shipped(tree, began)), default=0))
    for path in paths:
        if path.lstat().st_mtime > epoch:
            os.utime(path, (epoch, epoch), follow_symlinks=False)


def _shipped(tree: Path, began: float) -> Iterator[Path]:
    for names in (tree / 'var/lib/dpkg/info').glob('*.list'):
        for name in names.read_text().splitlines():
            path = tree / name.lstrip('/')
            if path.is_file() and not path.is_symlink() and path.lstat().st_mtime < began - 86400:
                yield path


def _walk(tree: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in sorted([*folders, *files]):
            yield Path(folder, name)
    yield tree


def pack(tree: Path, archive: Path, report: Report) -> None:
    """A tree as an archive in one fixed order, with ARCHIVE.sha256 as sha256sum writes it."""
    report.step(f'packing {archive.name}')
    headers = 'exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime'
    report.run(
        'tar',
        '--create',
        '--sort=name',
        '--format=posix',
        f'--pax-option={headers}',
        '--numeric-owner',
        '--xattrs',
        '--acls',
        '--use-compress-program=zstd -3 -T0',
        f'--file={archive}',
        f'--directory={tree}',
        '.',
    )
    digest = sha256(archive)
    Path(f'{archive}.sha256').write_text(f'{digest}  {archive.name}\n')


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def publish(
    role: Role,
    version: str,
    install: Path,
    again: bool = False,
    packed: bool = True,
    anew: bool = False,
) -> Path:
    """Build ROLE of VERSION, and those that it is made from, unless they are there.

    They are there as ``install/VERSION/ROLE/`` and, if packed, as
    ``install/VERSION/ROLE-VERSION.edeploy`` with its ``.sha256``. Raises BuildError if another
    ROLE of that VERSION is there, unless it is to be built ``again``; ``anew`` builds also what
    is there and the same.
    """
    check_name('version', version)
    parent = publish(role.parent, version, install, again, anew=anew) if role.parent else None
    folder = install / version
    folder.mkdir(parents=True, exist_ok=True)
    tree, mark = folder / role.name, folder / f'{role.name}.built'
    with alone(folder):
        archive = folder / f'{role.name}-{version}.edeploy'
        is_there = tree.is_dir() and mark.is_file() and (archive.is_file() or not packed)
        if is_there and mark.read_text().strip() == role.fingerprint and not anew:
            return tree
        if (tree.exists() or archive.exists()) and not again:
            raise BuildError(
                f'{tree} was made from other files: choose another version, or give --again'
            )
        if below := mounts_below(tree):
            raise BuildError(f'{below[0]} is mounted in the tree: unmount it first')
        with scratch(folder, role.name) as work:
            report = Report(folder / f'{role.name}.log', role.name)
            new = work / role.name
            build(role, new, report, parent)
            if packed:
                pack(new, work / f'{role.name}-{version}.edeploy', report)
            mark.unlink(missing_ok=True)
            if tree.exists():
                tree.rename(work / 'old')
            for path in [*work.glob('*.edeploy*'), new]:
                path.rename(folder / path.name)
            mark.write_text(f'{role.fingerprint}\n')
            report.step(f'{tree} is there')
    return tree


def mounts_below(folder: Path, mounts: Path = Path('/proc/self/mounts')) -> list[str]:
    """What is mounted below a folder, which must not be deleted with it."""
    places = (line.split()[1].replace('\\040', ' ') for line in mounts.read_text().splitlines())
    return [place for place in places if Path(place).is_relative_to(folder.resolve())]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Builds of one version wait for each other: they may share a role."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def scratch(folder: Path, name: str) -> Iterator[Path]:
    """A folder that is gone afterwards, and those of builds that were killed."""
    for left in folder.glob(f'.{name}.building-*'):
        if not Path(f'/proc/{left.name.rpartition("-")[2]}').exists():
            # Something of a build that was killed may write to it yet: then the next one.
            shutil.rmtree(left, ignore_errors=True)
    scratch = folder / f'.{name}.building-{os.getpid()}'
    if scratch.exists():  # of a build in a container, whose number was the same
        shutil.rmtree(scratch)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)


def modules_needed(dependencies: str, chosen: Iterable[str]) -> list[str]:
    """The paths in a modules.dep that stand below one of the chosen, and what they need."""
    lines = (line.partition(':') for line in dependencies.splitlines())
    needs = {name: rest.split() for name, _, rest in lines}
    pattern = re.compile('|'.join(f'kernel/{re.escape(path)}(/|$|\\.)' for path in chosen))
    found = {name for name in needs if pattern.match(name)}
    return sorted(found.union(*(needs[name] for name in found)))


def needs(*programs: str) -> None:
    """Raise BuildError if this machine lacks a program."""
    places = f'{os.environ.get("PATH", "")}:/usr/sbin:/sbin'
    for program in programs:
        if not shutil.which(program, path=places):
            raise BuildError(f'needs {program}: apt-get install {PACKAGES.get(program, program)}')


PACKAGES = {'unshare': 'util-linux'}


def told(work: Callable[[], object]) -> int:
    """Run a tool's work; a BuildError is told and is exit status 1."""
    try:
        work()
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('stopped; nothing half-built is left', file=sys.stderr)
        return 2
    return 0


def as_root(arguments: Sequence[str]) -> None:
    """Go on where trees can be built, whose files belong to root and are for all to read.

    What is mounted while they are is mounted there alone, and gone when all of
    it has ended, however that ends. Raises BuildError without root.
    """
    if os.geteuid() != 0:
        raise BuildError(f'needs root: sudo {" ".join(arguments)}')
    os.umask(0o022)
    if os.environ.get('EDEPLOY_APART') != str(os.getpid()):
        needs('unshare')
        os.environ['EDEPLOY_APART'] = str(os.getpid())
        apart = ['unshare', '--mount', '--propagation', 'private', sys.executable]
        os.execvp('unshare', [*apart, *arguments])
