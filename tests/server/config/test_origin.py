import pytest

from farhand_server.config.origin import parse_origin, site_name


@pytest.mark.parametrize(
    ("text", "origin", "name"),
    [
        ("https://farhand.example.net", "https://farhand.example.net", "farhand.example.net"),
        ("https://Farhand.Example.net:443/", "https://farhand.example.net", "farhand.example.net"),
        ("https://farhand.example.net:7443", "https://farhand.example.net:7443", "farhand.example.net"),
        ("http://localhost:8080", "http://localhost:8080", "localhost"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(text: str, origin: str, name: str) -> None:
    assert parse_origin(text) == origin
    assert site_name(origin) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("farhand.example.net", "https://NAME"),
        ("https://farhand.example.net/farhand", "without a path"),
        ("https://user@farhand.example.net", "without a path"),
        ("http://farhand.example.net", "browsers use passkeys nowhere else"),
        ("https://192.0.2.1", "no passkeys for addresses"),
        ("https://[::1]:8080", "no passkeys for addresses"),
        ("https://farhand.example.net:port", "must be an origin"),
        ("https://far_hand.example", "no host name"),
        ("https://bücher.example", "no host name"),
    ],
)
def test_what_browsers_accept_no_passkeys_for_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_origin(text)


def test_other_types_are_left_to_the_configuration_s_own_check() -> None:
    assert parse_origin(3) == 3
