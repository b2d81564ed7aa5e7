"""A PostgreSQL of the tests' own, that can be stopped, started, and frozen."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.patience import PATIENCE_S

NOBODY = 65534

PASSWORD = "correct-horse"


def pgserver_files() -> Path | None:
    """Return the folder of the package that carries a PostgreSQL, if it is installed."""
    package = importlib.util.find_spec("pgserver")
    return None if package is None or package.origin is None else Path(package.origin).parent


def system_binaries() -> Path:
    """Return the folder of the system's initdb and postgres."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert debian, "expected PostgreSQL: pip install pgserver, or Debian's package postgresql"
    return debian[-1].parent


def binaries(readable: Path) -> Path:
    """Return the folder of initdb and postgres, which every user may run.

    readable: where a copy is put for root, in whose environment nobody else may read.
    """
    package = pgserver_files()
    if package is None:
        return system_binaries()
    if os.geteuid() == 0:
        libraries = package.with_name("pgserver.libs")  # the programs look for them beside their package
        if libraries.exists():
            shutil.copytree(libraries, readable / libraries.name)
        no_headers = shutil.ignore_patterns("include", "*.a")
        package = Path(shutil.copytree(package, readable / package.name, ignore=no_headers))
    return package / "pginstall" / "bin"


class PostgreSQLServer:
    """Started at once, on a socket in a folder of its own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="polyseme-pg-"))
        self._bin = binaries(self._folder / "install")
        self._num_schemas = 0
        if os.geteuid() == 0:  # as whom PostgreSQL refuses to run
            os.chown(self._folder, NOBODY, NOBODY)
        self._run(
            "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"
        )
        self.start()

    def start(self) -> None:
        """Start it and return when it answers."""
        settings = ("fsync=off", "listen_addresses=", f"unix_socket_directories={self._folder}")
        flags = [flag for setting in settings for flag in ("-c", setting)]
        self._log = (self._folder / "log").open("ab")
        self._server = subprocess.Popen(
            [self._bin / "postgres", "-D", self._folder / "data", *flags],
            stdout=self._log, stderr=self._log, **self._as_whom(),
        )  # fmt: skip
        end = time.monotonic() + 30
        while True:
            assert self._server.poll() is None, (self._folder / "log").read_text()
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < end, (self._folder / "log").read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        """End it and every connection, as a restart does."""
        self._end(signal.SIGINT)

    def remove(self) -> None:
        """End it at once and remove its files."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def _end(self, how: signal.Signals) -> None:
        self._server.send_signal(how)
        self._server.wait(PATIENCE_S)
        self._log.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server, and the processes behind every connection, in their tracks."""
        with psycopg.connect(self.url("postgres")) as connection:
            query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            backends = connection.execute(f"{query} AND pid <> pg_backend_pid()").fetchall()
        pids = [self._server.pid, *(pid for (pid,) in backends)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def url(self, database: str) -> str:
        return f"postgresql://postgres:{PASSWORD}@/{database}?host={self._folder}"

    def new_url(self) -> str:
        """Return the URL of an empty schema: quicker made and removed than a database."""
        self._num_schemas += 1
        name = f"test{self._num_schemas}"
        with psycopg.connect(self.url("postgres")) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url('postgres')}&options=-csearch_path%3D{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), "-D", str(self._folder / "data"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_whom())
        assert done.returncode == 0, done.stderr

    def _as_whom(self) -> dict[str, Any]:
        whom = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        return {"cwd": self._folder, "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}, **whom}
