"""What is said before a start: taken ports with their setting, another gateway, a place that cannot be written to."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, Endpoint
from gateway.preflight import Obstacle, chosen, next_free, only_one, refusal, refuse_taken_ports, settings
from tests.services import free_port


@pytest.fixture
def config(tmp_path: Path) -> Config:
    places = ("WEB_LISTEN", "SMTP_LISTEN", "SMTPS_LISTEN", "METRICS_LISTEN", "DEMO_SINK")
    env = {f"SMG_{name}": f"127.0.0.1:{free_port()}" for name in places}
    return Config.from_env(env | {"SMG_DEMO": "on"}, tmp_path)


def hold(endpoint: Endpoint) -> socket.socket:
    return socket.create_server((endpoint.host, endpoint.port))


def test_free_ports_are_no_obstacle(config: Config) -> None:
    refuse_taken_ports(config)
    assert list(chosen(config)) == []


@pytest.mark.parametrize(
    "setting", ["web_listen", "smtp_listen", "smtps_listen", "metrics_listen", "demo_sink"]
)
def test_every_port_is_looked_at(config: Config, setting: str) -> None:
    value = getattr(config, setting)
    endpoint = value[0] if isinstance(value, tuple) else value
    with hold(endpoint), pytest.raises(Obstacle) as said:
        refuse_taken_ports(config)
    assert str(said.value).startswith(f"{endpoint} is in use by another program")
    assert f"SMG_{setting.upper()}=127.0.0.1:" in str(said.value)


def test_all_taken_ports_are_said_at_once(config: Config) -> None:
    with hold(config.web_listen), hold(config.demo_sink), pytest.raises(Obstacle) as said:
        refuse_taken_ports(config)
    assert len(str(said.value).splitlines()) == 2


def test_what_is_suggested_is_free(config: Config) -> None:
    with hold(config.web_listen):
        other = next_free(config.web_listen)
        assert list(chosen(config)) == [f"SMG_WEB_LISTEN={other}"]
    assert other.port > config.web_listen.port
    assert refusal(other) == 0


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    config = Config.from_env({"SMG_WEB_LISTEN": "192.0.2.1:8000"}, tmp_path)
    with pytest.raises(Obstacle, match=r"192\.0\.2\.1:8000 cannot be used .*change SMG_WEB_LISTEN"):
        refuse_taken_ports(config)


def test_one_gateway_per_directory(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there"
    with only_one(place), pytest.raises(Obstacle, match=f"process {os.getpid()}"):
        only_one(place)
    only_one(place).close()


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Obstacle, match="set SMG_VAR_DIR"):
        only_one(tmp_path / "file")


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "# a comment\nSMG_WEB_LISTEN='[::1]:1'\nexport SMG_HOSTNAME=a.example\n\nnonsense\nSMG_RSPAMD=\"http://h?a=b#c\"\n"
    )
    monkeypatch.setenv("SMG_ENV_FILE", str(file))
    monkeypatch.setenv("SMG_HOSTNAME", "b.example")
    found = settings()
    assert (found["SMG_WEB_LISTEN"], found["SMG_HOSTNAME"]) == ("[::1]:1", "b.example")
    assert found["SMG_RSPAMD"] == "http://h?a=b#c"
    monkeypatch.setenv("SMG_ENV_FILE", str(tmp_path / "none"))
    assert "SMG_RSPAMD" not in settings()


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMG_ENV_FILE", str(tmp_path))  # a directory
    with pytest.raises(ConfigError, match="SMG_ENV_FILE names another file"):
        settings()
