"""The `fleetlm` command: which server, with which token, as whom; and where profiles are kept."""

import stat
from pathlib import Path

import pytest
from fleetlm_client.cli.profiles import Profile, Profiles, config_path, load
from fleetlm_client.cli.target import DEFAULT_URL, UnknownProfile, resolve

NOTHING = Profile()
HOME = Profile("http://home:1", "home-token", "alice")
WORK = Profile("https://work", "work-token", "worker")
ENVIRONMENT = {"FLEETLM_URL": "http://env", "FLEETLM_TOKEN": "env-token", "FLEETLM_AS": "eve"}


@pytest.fixture
def known(tmp_path: Path) -> Profiles:
    return Profiles(tmp_path / "fleetlm" / "profiles.json", "home", {"home": HOME, "work": WORK})


def test_what_is_nearer_goes_first(known: Profiles) -> None:
    typed = Profile("http://typed", "typed-token", "me")
    for given, named, environment, url, token, participant in [
        (typed, "work", ENVIRONMENT, "http://typed", "typed-token", "me"),
        (NOTHING, "work", ENVIRONMENT, "https://work", "work-token", "worker"),
        (NOTHING, None, ENVIRONMENT, "http://env", "env-token", "eve"),
        (NOTHING, None, {"FLEETLM_PROFILE": "work"}, "https://work", "work-token", "worker"),
        (NOTHING, None, {"FLEETLM_URL": "", "FLEETLM_AS": ""}, "http://home:1", "home-token", "alice"),
        (Profile(participant="bob"), None, {}, "http://home:1", "home-token", "bob"),
    ]:
        found = resolve(given, named, environment, known)
        assert (found.url, found.token, found.participant) == (url, token, participant)


def test_without_anything_it_is_the_server_of_make_up(tmp_path: Path) -> None:
    found = resolve(NOTHING, None, {}, Profiles(tmp_path))
    assert (found.url, found.token, found.participant) == (DEFAULT_URL, None, None)


def test_the_token_of_a_profile_goes_to_no_other_server(known: Profiles) -> None:
    assert resolve(Profile("http://elsewhere"), None, {}, known).token is None
    assert resolve(NOTHING, None, {"FLEETLM_URL": "http://elsewhere"}, known).token is None
    assert resolve(Profile("http://home:1/"), None, {}, known).token == "home-token"
    assert resolve(Profile("http://elsewhere"), None, {"FLEETLM_TOKEN": "mine"}, known).token == "mine"


def test_the_server_of_the_settings_passes_over_the_profile_in_use_only(known: Profiles) -> None:
    found = resolve(NOTHING, None, {}, known, url="http://settings")
    assert (found.url, found.token, found.participant) == ("http://settings", None, None)
    assert resolve(NOTHING, "work", {}, known, url="http://settings").url == "https://work"


def test_a_profile_that_is_not_there_is_said(known: Profiles) -> None:
    with pytest.raises(UnknownProfile, match="nope"):
        resolve(NOTHING, "nope", {}, known)
    with pytest.raises(UnknownProfile, match="gone"):
        resolve(NOTHING, None, {"FLEETLM_PROFILE": "gone"}, known)


def test_profiles_are_kept_for_their_owner_alone(known: Profiles) -> None:
    known.save()
    assert load(known.path) == known
    assert stat.S_IMODE(known.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(known.path.parent.stat().st_mode) == 0o700
    assert [one.name for one in known.path.parent.iterdir()] == ["profiles.json"]


@pytest.mark.parametrize("held", ["{", "[]", '{"profiles": []}', '{"profiles": {"a": {"url": 7}}}', '"x"'])
def test_a_file_that_is_none_of_ours_is_said_and_kept(tmp_path: Path, held: str) -> None:
    path = tmp_path / "profiles.json"
    path.write_text(held)
    with pytest.raises(ValueError, match=r"profiles\.json is no file of profiles"):
        load(path)
    assert path.read_text() == held


def test_no_file_is_no_profiles(tmp_path: Path) -> None:
    assert load(tmp_path / "none").by_name == {}


def test_they_are_where_the_platform_keeps_settings() -> None:
    assert config_path({"XDG_CONFIG_HOME": "/xdg"}) == Path("/xdg/fleetlm/profiles.json")
    assert config_path({}) == Path.home() / ".config/fleetlm/profiles.json"
