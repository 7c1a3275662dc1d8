"""Keys of clients: what is read, what is let in, and that no key is ever shown."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.cost import Amount
from autotts.errors import InputError
from autotts.serve.keys import ANYONE, Client, Keys, check_units, refuses

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdefgh"


def written(folder: Path, text: str, name: str = "keys.toml") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def loaded(folder: Path, text: str, name: str = "keys.toml", **environ: str) -> Keys:
    return Keys.load(written(folder, text, name), environ)


def shown_by(key: str, name: str = "authorization") -> dict[str, str]:
    return {name: f"Bearer {key}" if name == "authorization" else key}


def test_without_keys_anyone_is_let_in_whatever_is_shown() -> None:
    for headers in ({}, shown_by("anything")):
        assert Keys.none().who(headers) is ANYONE
    assert Keys.load(None, {}).clients == ()
    assert ANYONE.admin


def test_a_file_of_lines(tmp_path: Path) -> None:
    keys = loaded(tmp_path, f"# ours\n\n{ALICE}  # Alice\n  {BOB}\n", "keys.txt")
    assert [client.name for client in keys.clients] == ["key-1", "key-2"]
    assert keys.who(shown_by(BOB)) == Client("key-2", admin=True)
    assert keys.warnings == ()


def test_a_key_of_the_environment_where_there_is_no_file(tmp_path: Path) -> None:
    keys = Keys.load(None, {"AUTOTTS_API_KEY": ALICE + "\n"})
    assert keys.who(shown_by(ALICE)) == Client("key", admin=True)
    assert loaded(tmp_path, BOB, "keys.txt", AUTOTTS_API_KEY=ALICE).who(shown_by(ALICE)) is None


def test_a_file_of_tables(tmp_path: Path) -> None:
    digest = hashlib.sha256(BOB.encode()).hexdigest()
    keys = loaded(
        tmp_path,
        f"""
        [clients.alice]
        key = "{ALICE}"
        requests_per_minute = 60
        at_once = 8
        budget = "1e18flops"
        per = "hour"
        [clients.bob]
        key_sha256 = "{digest.upper()}"
        [clients."prometheus.1"]
        key_env = "SCRAPER"
        admin = true
        """,
        SCRAPER="scraper-0123456789",
    )
    assert keys.who(shown_by(ALICE)) == Client("alice", 8, 60.0, Amount(1e18, "flops"), "hour")
    assert keys.who(shown_by(BOB)) == Client("bob", None, None, None, "day")
    assert keys.who(shown_by("scraper-0123456789")) == Client("prometheus.1", admin=True)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {ALICE}"},
        {"authorization": f"bearer   {ALICE} "},
        {"authorization": f"BEARER {ALICE}"},
        {"api-key": ALICE},
        {"x-api-key": ALICE},
        {"authorization": "Basic eDp5", "api-key": ALICE},
    ],
)
def test_a_key_is_shown_as_clients_show_it(headers: dict[str, str], tmp_path: Path) -> None:
    found = loaded(tmp_path, ALICE, "k").who(headers)
    assert found is not None and found.name == "key-1"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": ALICE},
        {"authorization": f"Basic {ALICE}"},
        {"authorization": f"Bearer {ALICE}x"},
        {"authorization": f"Bearer {ALICE[:-1]}"},
        {"authorization": f"Bearer {ALICE.upper()}"},
        {"authorization": "Bearer \xff\udcff"},
        {"authorization": "Bearer wrong", "api-key": ALICE},
        {"api-key": ""},
        {"cookie": ALICE},
    ],
)
def test_whoever_shows_no_key_or_another_is_nobody(headers: dict[str, str], tmp_path: Path) -> None:
    assert loaded(tmp_path, ALICE, "k").who(headers) is None


@given(st.text())
def test_no_other_key_is_let_in(key: str) -> None:
    keys = Keys({hashlib.sha256(ALICE.encode()).digest(): ANYONE})
    assert (keys.who(shown_by(key)) is ANYONE) is (key.strip() == ALICE)


def test_every_key_is_compared_also_after_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = hmac.compare_digest, []

    def counted(a: bytes, b: bytes) -> bool:
        count.append(a)
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    names = [ALICE, BOB, "carol-0123456789abcd"]
    keys = Keys({hashlib.sha256(name.encode()).digest(): Client(name[:3]) for name in names})
    for name in (*names, "nobody"):
        count.clear()
        keys.who(shown_by(name))
        assert len(count) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "one key at least"),
        ("[clients]", "one key at least"),
        ("key = 1", "the file: expected known keys only, found 'key'"),
        ("clients = 1", "expected a table"),
        ("[clients]\nalice = 1", "clients.alice: expected a table"),
        ("[clients.'a b']\nkey = 'x'", "expected names"),
        ("[clients.a]", "clients.a: expected one of key, key_sha256, key_env, found none"),
        (f"[clients.a]\nkey = '{ALICE}'\nkey_env = 'X'", "found key and key_env"),
        ("[clients.a]\nkey = 3", "clients.a.key: expected a text"),
        ("[clients.a]\nkey = ''", "at least 16 characters, found 0"),
        ("[clients.a]\nkey = 'short'", "at least 16 characters, found 5"),
        (f"[clients.a]\nkey = 'with space {ALICE}'", "printable ASCII"),
        ("[clients.a]\nkey_sha256 = 'abc'", "64 hexadecimal"),
        ("[clients.a]\nkey_env = 'MISSING'", "MISSING to be set"),
        (f"[clients.a]\nkey_env = '{ALICE}'", "name of an environment variable"),
        (f"[clients.a]\nkey = '{ALICE}'\nat_onse = 3", "did you mean 'at_once'"),
        (f"[clients.a]\nkey = '{ALICE}'\nat_once = 0", "clients.a.at_once"),
        (f"[clients.a]\nkey = '{ALICE}'\nat_once = 1.5", "clients.a.at_once"),
        (f"[clients.a]\nkey = '{ALICE}'\nrequests_per_minute = 0", "above 0"),
        (f"[clients.a]\nkey = '{ALICE}'\nrequests_per_minute = inf", "above 0"),
        (f"[clients.a]\nkey = '{ALICE}'\nbudget = '3'", "clients.a.budget: expected a positive number"),
        (f"[clients.a]\nkey = '{ALICE}'\nbudget = 3", "clients.a.budget"),
        (f"[clients.a]\nkey = '{ALICE}'\nper = 'day'", "a budget beside it"),
        (f"[clients.a]\nkey = '{ALICE}'\nbudget = '3calls'\nper = 'week'", "one of day, hour, month, ever"),
        (f"[clients.a]\nkey = '{ALICE}'\nadmin = 1", "true or false"),
        (f"[clients.a]\nkey = '{ALICE}'\n[clients.b]\nkey = '{ALICE}'", "the one of a again"),
        (f"[clients.a]\nkey = {ALICE}", "expected TOML, found something else (at line 2"),
        (f"[clients.a]\nkey = '{ALICE}'\nkey = '{ALICE}'", "expected TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_without_a_key(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, text)
    words = str(caught.value)
    assert said in words and str(tmp_path) in words and ALICE not in words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# none\n", "one key at least"),
        (f"{ALICE}\nshort\n", "line 2: expected a key of at least 16"),
        (f"{ALICE}\n{ALICE}\n", "line 2: expected keys that differ, found the one of key-1 again"),
        (f"{ALICE} {BOB}", "line 1: expected a key of printable ASCII without spaces"),
        ("ä" * 20, "printable ASCII"),
    ],
)
def test_what_is_wrong_with_a_line_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, text, "keys.txt")
    assert said in str(caught.value) and ALICE not in str(caught.value)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        Keys.load(tmp_path / "none.toml", {})
    with pytest.raises(InputError, match="found none"):
        Keys.load(tmp_path, {})
    (tmp_path / "raw").write_bytes(b"\xff" * 20)
    with pytest.raises(InputError, match="UTF-8"):
        Keys.load(tmp_path / "raw", {})
    (tmp_path / "long").write_bytes(b"x" * (2 << 20))
    with pytest.raises(InputError, match="more than"):
        Keys.load(tmp_path / "long", {})
    with pytest.raises(InputError, match="AUTOTTS_API_KEY: expected a key of at least"):
        Keys.load(None, {"AUTOTTS_API_KEY": "short"})


def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    path = written(tmp_path, ALICE, "keys.txt")
    path.chmod(0o644)
    (warning,) = Keys.load(path, {}).warnings
    assert "chmod 600" in warning and ALICE not in warning


def test_keys_are_never_shown(tmp_path: Path) -> None:
    keys = loaded(tmp_path, f"[clients.alice]\nkey = '{ALICE}'")
    digest = hashlib.sha256(ALICE.encode())
    for text in (repr(keys), str(keys), repr(keys.clients), f"{keys!r}"):
        assert "alice" in text and ALICE not in text and digest.hexdigest() not in text
    assert repr(Keys.none()) == "Keys(anyone)"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_on_this_machine_no_key_is_needed(host: str) -> None:
    refuses(host, Keys.none())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "localhost.example.org", "128.0.0.1"])
def test_beyond_this_machine_a_key_is_needed(host: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--api-key-file"):
        refuses(host, Keys.none())
    refuses(host, loaded(tmp_path, ALICE, "keys.txt"))


def test_a_budget_in_another_unit_than_the_policys_is_refused_before_anybody_asks(tmp_path: Path) -> None:
    keys = loaded(tmp_path, f"[clients.a]\nkey = '{ALICE}'\nbudget = '3usd'\n[clients.b]\nkey = '{BOB}'")
    check_units(keys, "usd")
    with pytest.raises(InputError, match=r"clients\.a\.budget: expected an amount in flops, .* found 3usd"):
        check_units(keys, "flops")
