"""What a web process goes by: the site, its certificate, and the limits."""

from __future__ import annotations

import ssl
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from farhand_protocol.page import PageFile, page_files_in
from farhand_server import __version__
from farhand_server.config import ServiceConfig
from farhand_server.config.origin import site_name
from farhand_server.edge.preliminary import BrowserEntry
from farhand_server.edge.process import FacingSetup

from .exchange import HttpExchange
from .requests import WebSite

CORE_SAYS_WHY = 5.0
"""Seconds that a login may take longer here than in the core, which can tell the browser that it took too long."""


class WebSetupError(ValueError):
    """The web door cannot be set up. The message says why, and what to do."""


def web_setup(config: ServiceConfig, certificate: Path | None = None, key: Path | None = None) -> FacingSetup:
    """Return how to serve the site of a configuration. The paths replace those of the configuration.

    Raises OSError and ValueError for what cannot be used.
    """
    web = config.web
    certificate, key = certificate or web.certificate, key or web.key
    if web.origin is None:
        raise WebSetupError("there is no site: set web.origin, such as https://farhand.example.net")
    secure = web.origin.startswith("https:")
    if secure and (certificate is None or key is None):
        raise WebSetupError(f"{web.origin} needs web.certificate and web.key")
    site = WebSite(web.origin, site_name(web.origin), page_files(), __version__)
    settings = config.edge.model_copy(update={"login_deadline": web.login_deadline + CORE_SAYS_WHY})
    tls = site_context(certificate, key) if secure and certificate is not None and key is not None else None
    return FacingSetup(settings, tls, BrowserEntry(lambda stream: HttpExchange(site, stream), web.idle))


def site_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS context of a site: TLS 1.3, as every browser with passkeys has, and HTTP/1.1.

    Raises `WebSetupError` for files that do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        why = (error.reason or "no certificate and key in PEM").lower().replace("_", " ")
        raise WebSetupError(f"web.certificate {certificate} and web.key {key} cannot be used: {why}") from None
    except OSError as error:
        raise WebSetupError(f"web.certificate {certificate} or web.key {key}: {error.strerror}") from None
    return context


@cache
def page_files() -> dict[str, PageFile]:
    """Return the files of the page. They belong to the client's package, whose code is not loaded for them."""
    spec = find_spec("farhand_client")
    if spec is None or not spec.submodule_search_locations:
        raise WebSetupError("the page is missing: the package farhand_client is not installed")
    return page_files_in(Path(spec.submodule_search_locations[0], "web", "static").iterdir())
