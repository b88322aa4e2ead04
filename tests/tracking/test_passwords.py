"""A real server that asks for a password: it lets the run in, and the password is nowhere afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

import track
from tests.command_line import CommandLine
from tests.tracking.tools import Server

pytestmark = pytest.mark.slow
PASSWORD = "hush/hush"


def test_a_password_is_in_no_file_log_or_line(
    cli: CommandLine, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.client["sacred"].command("createUser", "me", pwd=PASSWORD, roles=["readWrite"])
    address = f"mongodb://me:{PASSWORD.replace('/', '%2F')}@{server.address().replace(':sacred', '/sacred')}"
    results = [cli.run(f"mongo={address}"), cli.run(verb=("-m", address))]
    assert [result.returncode for result in results] == [0, 0], results
    assert track.main(["push", *map(str, cli.runs()), "-m", address]) == 0
    said = capsys.readouterr()
    assert "is there already, as run 1" in said.out and "as run 2" in said.out
    wrong = cli.run(f"mongo={address.replace('me:', 'me:hush')}")
    assert wrong.returncode == 1 and "mongodb://me:***@127.0.0.1" in wrong.stderr
    assert wrong.stderr.count("\n") == 1 and "refuses (wrong user or password)" in wrong.stderr
    texts = [text for result in (*results, wrong) for text in (result.stdout, result.stderr)]
    assert not any("hush" in text for text in (*texts, said.out, said.err))
    files = [path for path in cli.results.rglob("*") if path.is_file()]
    assert len(files) > 20 and not [path for path in files if b"hush" in path.read_bytes()]
    check_database(server)


def check_database(server: Server) -> None:
    database = server.client["sacred"]
    assert database["runs"].count_documents({"status": "COMPLETED"}) == 2
    for name in database.list_collection_names():
        assert not any("hush" in str(document) for document in database[name].find()), name
    assert database["runs"].find_one({}, {"config.mongo": 1})["config"]["mongo"].startswith("mongodb://me:***@")
    assert Path(str(database["runs"].find_one()["info"]["run_description"])).is_file()
