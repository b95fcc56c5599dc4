"""A backup can be put back: rows, bodies in the spool and the certificate, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import psycopg
import pytest

from tests import services as real

pytestmark = pytest.mark.slow


class Installation:
    """An installation's directory and the environment its scripts run in."""

    def __init__(self, root: Path, var: Path, database_url: str) -> None:
        self.root = root
        self.var = var
        self.backups = var / "backups"
        self.env = {
            **os.environ,
            "DATABASE_URL": database_url,
            "SMG_VAR_DIR": str(var),
            "SMG_ENV_FILE": os.devnull,
            "SMG_PYTHON": sys.executable,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
        }

    def call(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.env | more,
            text=True,
            capture_output=True,
            timeout=100,
            check=False,
        )

    def backup(self, **more: str) -> Path:
        done = self.call("deploy/backup/backup.sh", **more)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    def restore(self, file: Path) -> subprocess.CompletedProcess[str]:
        return self.call("deploy/backup/restore.sh", str(file))

    def migrate(self) -> None:
        done = self.call(sys.executable, "manage.py", "migrate", "--verbosity", "0")
        assert done.returncode == 0, done.stderr

    def spool(self, name: str, content: bytes) -> Path:
        path = self.var / "spool" / name[-2:] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory, root_dir: Path) -> Path:
    """A var directory with a migrated SQLite database, to be copied."""
    var = tmp_path_factory.mktemp("var")
    Installation(root_dir, var, f"sqlite:///{var}/smg.sqlite3").migrate()
    return var


@pytest.fixture
def house(migrated: Path, tmp_path: Path, root_dir: Path) -> Installation:
    var = tmp_path / "var"
    shutil.copytree(migrated, var)
    return Installation(root_dir, var, f"sqlite:///{var}/smg.sqlite3")


def customers(house: Installation) -> list[str]:
    with sqlite3.connect(house.var / "smg.sqlite3") as connection:
        return [row[0] for row in connection.execute("SELECT name FROM witness ORDER BY name")]


def write(house: Installation, name: str) -> None:
    connection = sqlite3.connect(house.var / "smg.sqlite3")
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS witness (name TEXT)")
        connection.execute("INSERT INTO witness VALUES (?)", [name])
    connection.close()


def test_sqlite_there_and_back(house: Installation) -> None:
    write(house, "ACME")
    body = house.spool("0000abcd", b"Subject: kept\r\n\r\n")
    (house.var / "tls").mkdir()
    (house.var / "tls" / "cert.pem").write_text("certificate")
    file = house.backup()
    write(house, "written after the backup")
    body.unlink()
    shutil.rmtree(house.var / "tls")

    done = house.restore(file)
    assert done.returncode == 0, done.stderr
    assert customers(house) == ["ACME"]
    assert body.read_bytes() == b"Subject: kept\r\n\r\n"
    assert (house.var / "tls" / "cert.pem").read_text() == "certificate"
    assert (house.var / "smg.sqlite3.before-restore").exists()


def test_nobody_else_can_read_a_backup(house: Installation) -> None:
    file = house.backup()
    assert file.stat().st_mode & 0o077 == 0
    with tarfile.open(file) as archive:
        assert not any(".env" in name for name in archive.getnames())


def test_old_backups_go(house: Installation) -> None:
    house.backups.mkdir()
    for day in range(1, 6):
        (house.backups / f"smg-2026010{day}T000000Z.tar.gz").touch()
    newest = house.backup(SMG_BACKUP_KEEP="2")
    kept = sorted(path.name for path in house.backups.iterdir())
    assert kept == ["smg-20260105T000000Z.tar.gz", newest.name]


def test_a_database_in_use_is_not_replaced(house: Installation) -> None:
    write(house, "ACME")
    file = house.backup()
    write(house, "Globex")
    relay = sqlite3.connect(house.var / "smg.sqlite3")
    relay.execute("SELECT * FROM witness").fetchall()
    done = house.restore(file)
    relay.close()
    assert done.returncode != 0
    assert "stop the gateway first" in done.stderr
    assert customers(house) == ["ACME", "Globex"]


def test_a_damaged_backup_changes_nothing(house: Installation, tmp_path: Path) -> None:
    write(house, "ACME")
    broken = tmp_path / "broken.tar.gz"
    (tmp_path / "kind").write_text("sqlite\n")
    (tmp_path / "database.sqlite3").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with tarfile.open(broken, "w:gz") as archive:
        archive.add(tmp_path / "kind", "kind")
        archive.add(tmp_path / "database.sqlite3", "database.sqlite3")
    assert house.restore(broken).returncode != 0
    assert customers(house) == ["ACME"]


def test_the_wrong_kind_is_refused(house: Installation) -> None:
    file = house.backup()
    house.env["DATABASE_URL"] = "postgres://smg@127.0.0.1:1/smg"
    done = house.restore(file)
    assert done.returncode == 2
    assert "this backup is of sqlite" in done.stderr


def test_postgres_there_and_back(postgres_url: str, tmp_path: Path, root_dir: Path) -> None:
    real.need("pg_dump")
    url = postgres_url.rsplit("/", 1)[0] + "/backup_test"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE backup_test")
    house = Installation(root_dir, tmp_path / "var", url)
    house.env["PATH"] = os.pathsep.join([house.env["PATH"], str(Path(real.need("pg_dump")).parent)])
    house.migrate()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE witness (name text)")
        connection.execute("INSERT INTO witness VALUES ('ACME')")
    file = house.backup()
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO witness VALUES ('written after the backup')")
        connection.commit()
        refused = house.restore(file)
    assert refused.returncode == 1
    assert "stop the gateway" in refused.stderr

    done = house.restore(file)
    assert done.returncode == 0, done.stderr
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT name FROM witness").fetchall() == [("ACME",)]
        assert connection.execute("SELECT count(*) FROM django_migrations").fetchone() != (0,)
