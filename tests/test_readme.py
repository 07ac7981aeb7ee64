"""What README.rst says is so."""

import doctest
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from docutils.core import publish_string

from conftest import CONFIG, ROOT
from edeploylib.cmdb import Cmdb
from edeploylib.inventory import Inventory
from edeploylib.match import match
from edeploylib.node.params import Params
from edeploylib.settings import Settings
from edeploylib.spec import OPERATORS, Spec
from edeploylib.state import State

README = (ROOT / 'README.rst').read_text()


def named(name: str) -> str:
    """The text of the block with that name."""
    found = re.search(
        rf'code-block:: python\n   :name: {re.escape(name)}\n\n((?:    .*\n|\n)+)', README
    )
    assert found
    return textwrap.dedent(found[1]).strip() + '\n'


@pytest.mark.parametrize('name', ['README.rst', 'CHANGELOG.rst'])
def test_the_pages_are_sound(name: str) -> None:
    """As docutils reads them, without a warning."""
    strict = {'report_level': 2, 'halt_level': 2, 'input_encoding': 'utf-8'}
    publish_string((ROOT / name).read_text(), writer='html5', settings_overrides=strict)


def test_the_examples_of_the_library() -> None:
    failed, tried = doctest.testfile(str(ROOT / 'README.rst'), module_relative=False)
    assert (failed, tried > 10) == (0, True)


def test_the_examples_of_the_command_line(tmp_path: Path) -> None:
    for name in re.findall(r'   :name: (\S+)', README):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(named(name))
    shown = re.findall(r'code-block:: console\n\n((?:    .*\n)+)', README)
    assert shown
    for block in shown:
        command, _, output = textwrap.dedent(block).partition('\n')
        assert command.startswith('$ python ')
        done = subprocess.run(
            [sys.executable, *command.split()[2:]], cwd=tmp_path, capture_output=True, text=True
        )
        assert (done.stdout, done.stderr) == (output, '')


def test_the_files_are_read() -> None:
    assert match(Spec.parse(named('vm.specs')), Inventory.parse(named('hw.py')))
    assert list(State.parse(named('state')).quotas) == ['hp', 'vm']
    assert len(Cmdb.parse(named('vm.cmdb')).entries) == 5


@pytest.mark.parametrize('name', OPERATORS)
def test_every_operator_is_described(name: str) -> None:
    assert f'``{name}({OPERATORS[name].arguments})``' in README


def described(title: str, line: str) -> set[str]:
    """The names in the table of a section."""
    text = README.partition(f'\n{title}\n{line}')[2].partition(f'\n{line * 3}')[0]
    return set(re.findall(r'^``([A-Z_]+)`` +', text, re.MULTILINE))


def test_every_parameter_of_a_machine_is_described_and_no_other() -> None:
    assert described('The image', '~') == {
        name.upper() for name in Params._fields if name != 'kept'
    }


def test_every_setting_is_described_and_no_other() -> None:
    table = described('Settings', '~')
    conf = ROOT / 'config' / 'edeploy.conf'
    known = {name.upper() for name in Settings._fields} - {'SECTION'}
    spelled = {'PXEMNGR_URL': 'PXEMNGRURL', 'METADATA_URL': 'METADATAURL', 'LOCK_TIMEOUT': 'LOCKTIMEOUT',
               'MAX_UPLOAD': 'MAXUPLOAD', 'IGNORED_MACS': 'IGNOREMACS'}  # fmt: skip
    assert table == {spelled.get(name, name) for name in known} | {'USEPXEMNGR'}
    assert set(re.findall(r'^#?([A-Z]+) *=', conf.read_text(), re.MULTILINE)) <= table


@pytest.mark.parametrize('option', ['--hw', '--this-machine', '--machine', '--serve', '--config'])
def test_every_option_of_the_try_is_described(option: str) -> None:
    assert f'tools/try {option}' in README


def test_the_samples_are_sound() -> None:
    """Each profile of the state has its files, and a sample inventory that it takes."""
    for profile in State.parse((CONFIG / 'state').read_text()).quotas:
        spec = Spec.parse((CONFIG / f'{profile}.specs').read_text())
        assert spec.warnings == ()
        assert Cmdb.parse((CONFIG / f'{profile}.cmdb').read_text()).entries
        compile((CONFIG / f'{profile}.configure').read_text(), profile, 'exec')
        assert match(spec, Inventory.parse((CONFIG / f'inventories/{profile}.json').read_bytes()))
