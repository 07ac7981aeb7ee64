"""The codes of findings: how grave each is, what it means and what to do."""

from typing import NamedTuple

ERROR = 'error'
WARNING = 'warning'
NOTE = 'note'
SEVERITIES = (ERROR, WARNING, NOTE)


class Code(NamedTuple):
    """An error keeps a machine from being installed, a warning may; a note does not."""

    severity: str
    summary: str
    advice: str
    example: str


CODES = {
    # Any of the files.
    'empty-file': Code(
        ERROR,
        'a file holds nothing',
        'an empty list is written []; a profile without CMDB has no file NAME.cmdb',
        'a vm.specs of 0 bytes',
    ),
    'not-utf8': Code(
        ERROR,
        'a file is not in UTF-8',
        'save it as UTF-8; iconv -f latin1 -t utf-8 converts it',
        'a comment with an umlaut in Latin-1',
    ),
    'not-a-literal': Code(
        ERROR,
        'a file is no Python literal',
        'look for a bracket, a quote or a comma that is missing just before',
        "[('disk', '$disk', 'size', 'gt(4)'",
    ),
    'unreadable-file': Code(
        ERROR,
        'a file cannot be read',
        'let the user who checks, and that of the web server, read it',
        'a folder named vm.specs',
    ),
    # The state and what it lists.
    'missing-state': Code(
        ERROR,
        'CONFIGDIR has no state',
        "write a file state with a line for each profile, such as [('vm', '*')]",
        'a CONFIGDIR with vm.specs alone',
    ),
    'bad-state': Code(
        ERROR,
        'the state is no list of profiles and quotas',
        "each profile has a name and a number of machines or '*', such as ('vm', 4)",
        "[('vm', -1)]",
    ),
    'duplicate-profile': Code(
        ERROR,
        'the state lists a profile twice',
        'leave the one that stands where its priority is',
        "[('vm', 4), ('vm', '*')]",
    ),
    'no-profiles': Code(
        WARNING,
        'the state lists no profile',
        'no machine can be installed until it lists one',
        '[]',
    ),
    'missing-specs': Code(
        ERROR,
        'a profile has no specs',
        'write NAME.specs, or take the profile out of the state',
        "[('vm', 4)] without vm.specs",
    ),
    'missing-configure': Code(
        ERROR,
        'a profile has no configure script',
        'write NAME.configure, or take the profile out of the state',
        "[('vm', 4)] without vm.configure",
    ),
    'misnamed-file': Code(
        WARNING,
        "a file's name is nearly one that is read",
        'rename it',
        'vm.cmbd instead of vm.cmdb',
    ),
    'unlisted-profile': Code(
        NOTE,
        'a profile has files and is not listed in the state',
        'list it in the state, or move its files elsewhere',
        "old.specs, and the state is [('vm', '*')]",
    ),
    'cmdb-exhausted': Code(
        WARNING,
        'a profile has quota left, and no entry of its CMDB is left',
        'add entries, or free those of machines that are gone',
        "('vm', 2) with [{'ip': '10.0.0.1', 'used': 1}]",
    ),
    'quota-above-cmdb': Code(
        WARNING,
        'a quota is above the entries that the CMDB has left',
        'lower the quota or add entries: a machine without entry goes to the next profile',
        "('vm', 9) with generate({'ip': '10.0.0.1-5'})",
    ),
    # Specs.
    'bad-spec': Code(
        ERROR,
        'a spec has a rule that cannot be read',
        'a rule is a tuple of 4 texts',
        "('disk', '$disk', 'size')",
    ),
    'unknown-operator': Code(
        WARNING,
        'a text looks like a call of an unknown operator',
        'write the operator that is meant; it is compared as a text now',
        'rnage(1, 2)',
    ),
    'test-as-text': Code(
        WARNING,
        'a text begins like a test and is none',
        'a test is the whole text: gt(4), without blank before the bracket',
        'gt (4)',
    ),
    'forgotten-equals': Code(
        WARNING,
        "a variable's name looks like a test",
        "write '=' between a variable and its test: $size=gt(4)",
        '$size>4',
    ),
    'blank-in-variable': Code(
        WARNING,
        "a variable's name has blanks around it",
        'a script finds the variable under that name, with its blanks',
        "'$disk '",
    ),
    'empty-range': Code(
        ERROR,
        'a range that nothing is in',
        'the lower bound comes first: range(1, 14)',
        'range(14, 1)',
    ),
    'impossible-term': Code(
        ERROR,
        'no value satisfies a term',
        'no machine can match the spec: mend the bounds, or use or() instead of and()',
        'and(gt(8), lt(4))',
    ),
    'impossible-variable': Code(
        ERROR,
        "no value satisfies all of a variable's terms",
        'a variable has one value everywhere: use another variable for the other value',
        "('disk', '$a', 'size', '$s=gt(8)'), ('disk', '$b', 'size', '$s=lt(4)')",
    ),
    'same-fact-twice': Code(
        WARNING,
        'two rules want two facts where machines have one',
        'each rule takes a fact of its own: write one rule, with and() or range()',
        "('disk', '$d', 'size', 'gt(4)'), ('disk', '$d', 'size', 'lt(9)')",
    ),
    'costly-regexp': Code(
        WARNING,
        'a regular expression is too costly for values of ordinary length',
        'take the repeat within a repeat out: a search that gives up stops the upload',
        'regexp(^(a+)+$)',
    ),
    'reserved-variable': Code(
        WARNING,
        "a variable is named 'used', which marks the entries of a CMDB",
        'give it another name',
        "('disk', '$used', 'size', 'gt(4)')",
    ),
    'empty-spec': Code(
        WARNING,
        'a spec without rules matches every machine, and profiles come after it',
        'write rules, or list the profile last',
        "vm.specs is []",
    ),
    'unreachable-profile': Code(
        WARNING,
        'a profile is never reached: an earlier one takes all that it could',
        'list it before the other, or narrow the other',
        "[('any', '*'), ('vm', '*')], where any.specs is included in vm.specs",
    ),
    # CMDB.
    'bad-cmdb': Code(
        ERROR,
        'a CMDB cannot be read',
        'a CMDB is a list of dicts, generate({...}), or a sum of these',
        "[{'ip': x}]",
    ),
    'empty-cmdb': Code(
        ERROR,
        'a CMDB has no entries',
        'add entries; a profile without CMDB has no file NAME.cmdb',
        '[]',
    ),
    'unknown-key': Code(
        ERROR,
        'no entry has a key that the spec looks up',
        'name the $$ variable like the key of the entries',
        "$$tag, and the entries are {'serial': 'TAG1'}",
    ),
    'key-without-cmdb': Code(
        WARNING,
        'a spec looks up a key, and the profile has no CMDB',
        'write NAME.cmdb, or one dollar: such a machine is taken without an entry',
        '$$tag without vm.cmdb',
    ),
    'entry-without-key': Code(
        WARNING,
        'an entry lacks a key that the spec looks up, and can never be given',
        'add the key to the entry',
        "$$tag with [{'tag': 'T1'}, {'ip': '10.0.0.2'}]",
    ),
    'entry-without-variable': Code(
        ERROR,
        'an entry lacks a variable that the configure script uses',
        'add the variable to the entry: its machine would fail with KeyError',
        "var['vlan'] with [{'vlan': 1}, {'ip': '10.0.0.2'}]",
    ),
    'duplicate-ip': Code(
        ERROR,
        'two entries have one IP address',
        'give each entry an address of its own',
        "[{'ip': '10.0.0.1'}, {'ip': '10.0.0.1'}]",
    ),
    'duplicate-hostname': Code(
        ERROR,
        'two entries have one host name',
        'give each entry a name of its own',
        "generate({'ip': '10.0.0.1-9', 'hostname': 'node'})",
    ),
    'duplicate-mac': Code(
        ERROR,
        'two entries have one MAC',
        'give each entry the MAC of its own machine',
        "[{'mac': '52:54:00:00:00:01'}, {'mac': '52-54-00-00-00-01'}]",
    ),
    'shared-between-profiles': Code(
        WARNING,
        'entries of two profiles have one address or name',
        'two machines may get it, one of each profile: give each its own',
        "a.cmdb and b.cmdb are both generate({'ip': '10.0.0.1-9'})",
    ),
    'bad-ip': Code(
        ERROR,
        'a value is no IP address',
        'octets go from 0 to 255, without leading zeros',
        "{'ip': '10.0.0.256'}",
    ),
    'bad-mac': Code(
        WARNING,
        'a value is no MAC',
        'write six bytes in hex: 52:54:00:12:34:56',
        "{'mac': '52:54:00:12:34'}",
    ),
    'bad-hostname': Code(
        WARNING,
        'a value is no host name',
        'use letters, digits, dots and dashes',
        "{'hostname': 'web 1'}",
    ),
    'bad-netmask': Code(
        ERROR,
        'a netmask is none',
        'write 255.255.255.0, or the length of the prefix',
        "{'netmask': '255.255.0.255'}",
    ),
    'unusable-address': Code(
        ERROR,
        'an address is that of its network, or its broadcast address',
        'no host can have it: take it out of the range',
        "{'ip': '10.0.0.255', 'netmask': '255.255.255.0'}",
    ),
    'gateway-outside': Code(
        ERROR,
        "a gateway is outside of its host's network",
        'mend the netmask, the gateway or the address',
        "{'ip': '10.0.0.5', 'netmask': '24', 'gateway': '10.0.1.1'}",
    ),
    'gateway-is-host': Code(
        ERROR,
        'a gateway is the host itself',
        "leave the gateway's address out of the range",
        "{'ip': '10.0.0.1', 'gateway': '10.0.0.1'}",
    ),
    'odd-used': Code(
        WARNING,
        "a mark 'used' is not what it seems",
        "write 'used': 1, or leave it out",
        "{'used': '0'} is used, and {'Used': 1} is not",
    ),
    'unequal-lengths': Code(
        WARNING,
        'the counting values of a generate() are of unequal lengths',
        'the shortest ends it: what the longer ones have beyond is never given',
        "generate({'ip': '10.0.0.1-9', 'hostname': 'node1-8'})",
    ),
    'counted-by-accident': Code(
        WARNING,
        'a date, a UUID or a MAC has a range, and counts',
        'put the value in a list for each entry, or write it without dashes between digits',
        "generate({'ip': '10.0.0.1-9', 'since': '2024-01-15'})",
    ),
    'nothing-counts': Code(
        WARNING,
        'a generate() has nothing to count, and gives one entry',
        "write a range, such as '10.0.0.1-9', or the entry without generate()",
        "generate({'ip': '10.0.0.1'})",
    ),
    # Configure scripts.
    'bad-configure': Code(
        ERROR,
        'a configure script is no Python 3',
        'python3 -m py_compile NAME.configure shows it too',
        'if True print(1)',
    ),
    'python2-print': Code(
        ERROR,
        'Python 2: print without brackets',
        'python3 -m lib2to3 is gone: write print(...)',
        "print 'done'",
    ),
    'python2-except': Code(
        ERROR,
        "Python 2: a comma before an exception's name",
        'write: except OSError as error:',
        'except OSError, error:',
    ),
    'python2-octal': Code(
        ERROR,
        'Python 2: an octal number that begins with 0',
        'write 0o644',
        'os.chmod(path, 0644)',
    ),
    'python2-syntax': Code(
        ERROR,
        'Python 2: syntax that Python 3 has no more',
        'write it as Python 3 has it',
        "if a <> b: raise ValueError, 'no'",
    ),
    'python2-tabs': Code(
        ERROR,
        'Python 2: tabs and blanks mixed in the indentation',
        'indent with blanks alone; expand -i -t 8 converts it',
        'a line with a tab below one with 8 blanks',
    ),
    'python2-name': Code(
        ERROR,
        'Python 2: a name that Python 3 has no more',
        'write it as Python 3 has it',
        'unicode(name), raw_input(), xrange(9)',
    ),
    'python2-import': Code(
        ERROR,
        'Python 2: a module that Python 3 has no more, or under another name',
        'import the module of Python 3',
        'import commands',
    ),
    'python2-method': Code(
        ERROR,
        'Python 2: a method that dicts of Python 3 do not have',
        "write 'x' in var, or var.items()",
        "var.has_key('x')",
    ),
    'unknown-variable': Code(
        ERROR,
        'a configure script uses a variable that nothing provides',
        'capture it in the spec, or add it to the CMDB: the machine would fail with KeyError',
        "var['disk'], and no rule has $disk",
    ),
    'unknown-name': Code(
        ERROR,
        'a configure script uses a name that nothing defines',
        'the machine would fail with NameError',
        "cofig('/etc/hostname')",
    ),
    'bad-format': Code(
        ERROR,
        "a '%' in a text that is formatted stands for nothing",
        "write '%%' for a percent sign",
        "'size=100%' % var",
    ),
    # Settings.
    'bad-settings': Code(
        ERROR,
        'a setting is unknown, missing or has a bad value',
        'the README lists all settings',
        'LOCKTIMEOUT = soon',
    ),
    'missing-folder': Code(
        ERROR,
        'a folder that the settings name does not exist',
        'make it, or mend the setting',
        'HWDIR = /var/lib/edeploi/hw',
    ),
    'shared-folder': Code(
        WARNING,
        'two sections have one CONFIGDIR',
        'sections are worlds of their own: both would use up the same quotas and entries',
        '[SERVER] and [LAB] with CONFIGDIR = /srv/config',
    ),
    # The ledger.
    'bad-ledger': Code(
        ERROR,
        'the ledger cannot be read',
        'uploads cannot go on without it: restore it',
        'a ledger that is no SQLite database',
    ),
    'unwritten-files': Code(
        NOTE,
        'a crash has left files to be written',
        'the next upload writes them',
        'a power cut between the commit and the files',
    ),
    'lost-profile': Code(
        WARNING,
        'machines hold a profile that the state does not list',
        'list it again; if it was renamed, its machines keep their entries',
        "two machines hold 'hp', and the state is [('vm', '*')]",
    ),
    'lost-cmdb': Code(
        WARNING,
        "machines hold entries of a CMDB that is gone",
        'restore it: these machines would get no entry at their next upload',
        'vm.cmdb was deleted',
    ),
    'lost-entry': Code(
        WARNING,
        'the entry that a machine holds is gone from the CMDB',
        'its machine gets another at its next upload; restore the entry if it is to keep it',
        "host3 was deleted, and machine 7 holds it",
    ),
    'unclear-entry': Code(
        ERROR,
        'edits have left unclear which machine holds an entry',
        'leave the entry something that no other has, such as its host name',
        'two held entries were given the same values',
    ),
    'unheld-entry': Code(
        NOTE,
        'an entry is used, and no machine that the ledger knows holds it',
        "it is never given: take 'used' out to free it",
        "{'ip': '10.0.0.1', 'used': 1} of a machine from before the ledger",
    ),
    'freed-but-held': Code(
        WARNING,
        'an entry is not marked as used, and a machine holds it',
        "it stays the machine's own: freeing it takes more than taking 'used' out",
        "'used' was deleted by hand",
    ),
    # Permissions.
    'not-readable': Code(
        ERROR,
        "the web server's user cannot read a file or folder",
        'chown or chmod it, and let the user pass all folders above',
        'vm.specs is 0600 of root',
    ),
    'not-writable': Code(
        ERROR,
        "the web server's user cannot write a file or folder",
        'chown -R www-data: the folder',
        'HWDIR is of root',
    ),
}  # fmt: skip
