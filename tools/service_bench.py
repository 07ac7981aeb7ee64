"""What the service bears: uploads as CGI and as WSGI under one Apache, all commits durable.

Each machine is one client that uploads over loopback, one upload after the
other; the clients share the machine's cores with the server.
"""

import http.client
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environment
import webserver

CONCURRENCY = (1, 4, 16, 64)
STORM = 300
MANY = 10_000
# So many uploads are enough for a figure, after which no new one begins.
LEAST_SECONDS = 4.0

Progress = Callable[[str], None]

_SPEC = """[
    ('system', 'product', 'serial', '$serial'),
    ('disk', '$disk', 'size', 'gt(4)'),
    ('network', '$eth', 'serial', '$mac'),
]
"""


def body_of(number: int) -> bytes:
    """The upload of a machine of its own, of some 60 facts."""
    facts: list[list[object]] = [
        ['system', 'product', 'vendor', 'HPE'],
        ['system', 'product', 'name', 'ProLiant DL380 Gen10'],
        ['system', 'product', 'serial', f'CZ{number:06}'],
        ['cpu', 'logical', 'number', 40],
        ['memory', 'total', 'size', 137438953472],
    ]
    for disk in range(6):
        for name, value in (('size', 480), ('vendor', 'HP'), ('model', 'VK000480'), ('rev', '1')):
            facts.append(['disk', f'sd{"abcdef"[disk]}', name, value])
    for card in range(4):
        mac = f'02:{card:02x}:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}'
        for name, value in (('serial', mac), ('link', 'yes'), ('driver', 'i40e'), ('speed', '10')):
            facts.append(['network', f'eth{card}', name, value])
    head = '--B\r\nContent-Disposition: form-data; name="file"; filename="hw.json"\r\n\r\n'
    return f'{head}{json.dumps(facts)}\r\n--B--\r\n'.encode()


class Client:
    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    def upload(self, body: bytes) -> float:
        """The seconds that an upload takes from the connection to the script."""
        assert self._address.hostname
        begun = time.perf_counter()
        connection = http.client.HTTPConnection(
            self._address.hostname, self._address.port, timeout=300
        )
        kind = {'Content-Type': 'multipart/form-data; boundary=B'}
        connection.request('POST', self._address.path, body, kind)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status != 200 or b'#EDEPLOY_PROFILE = node' not in text:
            raise RuntimeError(f'HTTP {response.status}: {text.decode(errors="replace")}')
        return time.perf_counter() - begun


def load(url: str, bodies: Sequence[bytes], clients: int, most: int) -> dict[str, float]:
    """Uploads by so many clients at once, in turn of the bodies."""
    left = list(range(most))
    times: list[float] = []
    failures: list[BaseException] = []
    client = Client(url)
    ends = time.perf_counter() + LEAST_SECONDS if most > len(bodies) else float('inf')

    def work() -> None:
        try:
            while left and time.perf_counter() < ends:
                times.append(client.upload(bodies[left.pop() % len(bodies)]))
        except IndexError:
            pass  # another took the last one
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    if failures:
        raise failures[0]
    centiles = statistics.quantiles(times, n=100)
    return {
        'uploads': len(times),
        'seconds': took,
        'per_second': len(times) / took,
        'p50_ms': centiles[49] * 1000,
        'p99_ms': centiles[98] * 1000,
    }


def deployment(root: Path, entries: int) -> Path:
    for name in ('config', 'hw', 'logs'):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
        (root / name).chmod(0o777)
    config = root / 'config'
    (config / 'state').write_text("[('node', '*')]\n")
    (config / 'node.specs').write_text(_SPEC)
    (config / 'node.configure').write_text("run(['true'])\n")
    listed = ''.join(f" {{'ip': '10.0.{n >> 8}.{n & 255}'}},\n" for n in range(entries))
    (config / 'node.cmdb').write_text(f'[\n{listed}]\n')
    for path in config.iterdir():
        path.chmod(0o666)
    conf = root / 'edeploy.conf'
    lines = (f'CONFIGDIR = {config}', f'HWDIR = {root}/hw', f'LOCKFILE = {root}/hw/lock')
    conf.write_text('\n'.join(('[SERVER]', *lines, 'LOCKTIMEOUT = 300', '')))
    return conf


def family_of(server: webserver.Server) -> list[int]:
    """A server's process and all that it has started."""
    family = {server.process.pid}
    parents = {
        int(path.parent.name): int(stat_of(path)[1]) for path in Path('/proc').glob('[0-9]*/stat')
    }
    for _ in range(3):
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sorted(family)


def stat_of(path: Path) -> list[str]:
    """The fields of a process from its state on."""
    try:
        return path.read_text().rpartition(') ')[2].split()
    except OSError:  # it has ended
        return ['0'] * 50


def memory_of(server: webserver.Server) -> float:
    """The resident memory of all of a server's processes, in MB."""
    pages = sum(int(stat_of(Path(f'/proc/{pid}/stat'))[21]) for pid in family_of(server))
    return pages * resource.getpagesize() / 1e6


def cpu_of(server: webserver.Server) -> float:
    """The seconds of CPU time of a server's processes, those that have ended included."""
    stats = [stat_of(Path(f'/proc/{pid}/stat')) for pid in family_of(server)]
    return sum(int(time) for stat in stats for time in stat[11:15]) / os.sysconf('SC_CLK_TCK')


_EMPTY = """\
from wsgiref.handlers import CGIHandler
from webob import Request, Response

def application(environ, start_response):
    request = Request(environ)
    return Response('ok', content_type='text/plain', charset='UTF-8')(environ, start_response)

CGIHandler().run(application)
"""


def programs(home: Path, root: Path, conf: Path, runs: int = 21) -> dict[str, float]:
    """The CPU seconds of a CGI program: an empty one, an upload, and a test of addresses."""
    empty = root / 'empty.py'
    empty.write_text(_EMPTY)
    (root / 'body').write_bytes(body_of(1))
    config = root / 'config'
    address = _SPEC.replace("'$serial'", "'$serial=not(network(10.0.0.0/8))'")
    address = address.replace("'$mac'", "'$mac=not(network(10.0.0.0/8))'")
    times: dict[str, list[float]] = {'empty': [], 'upload': [], 'address': []}
    for _ in range(runs):
        for name, its in times.items():
            (config / 'node.specs').write_text(address if name == 'address' else _SPEC)
            program = empty if name == 'empty' else home / 'bin/upload.py'
            command = [str(home / 'bin/python'), str(program)]
            its.append(_cpu_of_program(command, root / 'body', conf))
    return {name: statistics.median(its) for name, its in times.items()}


def _cpu_of_program(command: Sequence[str], body: Path, conf: Path) -> float:
    environ = {
        **os.environ,
        'GATEWAY_INTERFACE': 'CGI/1.1',
        'REQUEST_METHOD': 'POST',
        'CONTENT_TYPE': 'multipart/form-data; boundary=B',
        'CONTENT_LENGTH': str(body.stat().st_size),
        'SERVER_NAME': 'localhost',
        'SERVER_PORT': '80',
        'SERVER_PROTOCOL': 'HTTP/1.1',
        'EDEPLOY_CONF': str(conf),
    }
    pipes = {'stdin': body.open('rb'), 'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    with pipes['stdin']:
        process = subprocess.Popen(command, env=environ, **pipes)
        used = os.wait4(process.pid, 0)[2]
    process.returncode = 0  # waited for already
    return used.ru_utime + used.ru_stime


def run(progress: Progress) -> dict[str, Any]:
    """All figures: by the way of serving and the number of clients, the storms, the memory."""
    if not environment.install('apache2', 'libapache2-mod-wsgi-py3', 'python3', 'python3-venv'):
        sys.exit('the service needs Apache: apt-get install apache2 libapache2-mod-wsgi-py3')
    apache = shutil.which('apache2', path='/usr/sbin:/usr/bin') or 'apache2'
    root = Path(tempfile.mkdtemp(prefix='edeploy-bench-'))
    root.chmod(0o777)
    rows: list[dict[str, Any]] = []
    storms: dict[str, dict[str, float]] = {}
    try:
        with webserver.installed() as home:
            conf = deployment(root, STORM)
            with webserver.apache(['cgi', 'wsgi'], apache, home, root, conf) as servers:
                for kind, server in servers.items():
                    progress(f'{kind}: a storm of {STORM} new machines')
                    deployment(root, STORM)
                    storms[kind] = load(server.url, list(map(body_of, range(STORM))), STORM, STORM)
                deployment(root, STORM)
                known = list(map(body_of, range(64)))
                load(servers['wsgi'].url, known, 8, 64)
                progress('CGI programs')
                cgi = programs(home, root, conf)
                for clients in CONCURRENCY:
                    for kind, server in servers.items():
                        progress(f'{kind}: {clients} clients')
                        spent = cpu_of(server)
                        figures = load(server.url, known, clients, MANY)
                        cpu = (cpu_of(server) - spent) / figures['uploads'] * 1000
                        # Apache leaves its CGI programs' times to nobody.
                        cpu += cgi['upload'] * 1000 if kind == 'cgi' else 0
                        rows.append({'kind': kind, 'clients': clients, 'cpu_ms': cpu, **figures})
                progress(f'wsgi: the memory of {MANY:,} uploads')
                before = memory_of(servers['wsgi'])
                for _ in range(MANY // 500):
                    load(servers['wsgi'].url, known * 8, 16, 500)
                after = memory_of(servers['wsgi'])
    finally:
        shutil.rmtree(root)
    return {
        'cgi': cgi,
        'load': rows,
        'storm': storms,
        'memory_mb': {'before': before, 'after': after},
    }


def text_of(figures: dict[str, Any]) -> str:
    head = ('clients', 'uploads/s', '', 'ratio', 'CPU ms', '', 'ratio', 'p50 ms', '', 'p99 ms', '')
    kinds = ('', 'CGI', 'WSGI', '', 'CGI', 'WSGI', '', 'CGI', 'WSGI', 'CGI', 'WSGI')
    lines = [''.join(cell.rjust(10) for cell in row) for row in (head, kinds)]
    rows = figures['load']
    for clients in dict.fromkeys(row['clients'] for row in rows):
        cgi, wsgi = (
            next(row for row in rows if (row['kind'], row['clients']) == (kind, clients))
            for kind in ('cgi', 'wsgi')
        )
        cells = [clients, cgi['per_second'], wsgi['per_second']]
        cells += [wsgi['per_second'] / cgi['per_second'], cgi['cpu_ms'], wsgi['cpu_ms']]
        cells += [cgi['cpu_ms'] / wsgi['cpu_ms']]
        cells += [one[name] for name in ('p50_ms', 'p99_ms') for one in (cgi, wsgi)]
        shown = [str(cell) if isinstance(cell, int) else f'{cell:.1f}' for cell in cells]
        lines.append(''.join(cell.rjust(10) for cell in shown))
    for kind, storm in figures['storm'].items():
        lines.append(
            f'{STORM} new machines at once, {kind.upper()}: all answered after '
            f'{storm["seconds"]:.1f} s, p50 {storm["p50_ms"] / 1000:.1f} s'
        )
    cgi = figures['cgi']
    lines.append(
        f'CGI program: {cgi["upload"] / cgi["empty"]:.2f} times the CPU of an empty one with '
        f'WebOb, {cgi["address"] / cgi["empty"]:.2f} where addresses are tested'
    )
    memory = figures['memory_mb']
    lines.append(
        f'memory of the WSGI server: {memory["before"]:.0f} MB, '
        f'after {MANY:,} uploads {memory["after"]:.0f} MB'
    )
    return '\n'.join(lines)
