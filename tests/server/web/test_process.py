from pathlib import Path

import pytest

from farhand_server.config import ConfigError, ServiceConfig, load
from farhand_server.web.process import CORE_SAYS_WHY, WebSetupError, page_files, site_context, web_setup
from tests.support.site_certificate import make_site_certificate


def config(tmp_path: Path, text: str) -> ServiceConfig:
    file = tmp_path / "farhandd.toml"
    file.write_text(f"[web]\n{text}\n")
    return load(file)


def test_the_page_is_complete_although_the_client_s_code_is_not_loaded() -> None:
    assert {"/index.html", "/app.js", "/wire/passkey.js", "/views/login.js"} <= page_files().keys()


def test_a_site_on_this_machine_needs_no_certificate(tmp_path: Path) -> None:
    setup = web_setup(config(tmp_path, 'origin = "http://localhost:8080"\nlogin_deadline = 60'))
    assert setup.tls is None
    assert setup.settings.login_deadline == 60 + CORE_SAYS_WHY
    assert setup.browsers is not None


def test_any_other_site_has_its_own_certificate(tmp_path: Path) -> None:
    certificate, key = make_site_certificate(tmp_path, "farhand.example.net")
    text = f'origin = "https://farhand.example.net"\ncertificate = "{certificate}"\nkey = "{key}"'
    assert web_setup(config(tmp_path, text)).tls is not None
    with pytest.raises(WebSetupError, match=r"needs web.certificate and web.key"):
        web_setup(config(tmp_path, 'origin = "https://farhand.example.net"'))
    assert web_setup(config(tmp_path, 'origin = "https://farhand.example.net"'), certificate, key).tls is not None
    with pytest.raises(WebSetupError, match=r"there is no site: set web.origin"):
        web_setup(config(tmp_path, ""))


def test_files_that_are_no_certificate_and_key_are_named(tmp_path: Path) -> None:
    certificate, key = make_site_certificate(tmp_path, "farhand.example.net")
    with pytest.raises(WebSetupError, match=r"web.certificate .*nothing or web.key .*: No such file or directory"):
        site_context(tmp_path / "nothing", key)
    with pytest.raises(WebSetupError, match="cannot be used"):
        site_context(key, certificate)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('listen = ["127.0.0.1:1"]', "listen needs origin"),
        ('listen = ["127.0.0.1:1"]\norigin = "https://a.example"', "needs certificate and key"),
        ('listen = ["0.0.0.0:1"]\norigin = "http://localhost:1"', "listen only on 127.0.0.1"),
        ('certificate = "/a"', "certificate and key go together"),
    ],
)
def test_a_site_that_browsers_would_not_use_is_a_mistake_in_the_configuration(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        config(tmp_path, text)
