"""A service whose web door is open on this machine, and a browser with an authenticator that always agrees."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.service import Service, running_service
from tests.support.web_pages import TIMEOUT

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, CDPSession, Page


@dataclass
class SiteService:
    """The service, the address of its site, and its file of keys."""

    service: Service
    address: str
    keys: Path

    def authorize(self, *lines: str) -> None:
        """Make these the lines of authorized_keys."""
        self.keys.write_text("".join(f"{line}\n" for line in lines))
        self.keys.chmod(0o600)


@contextlib.asynccontextmanager
async def web_site(directory: Path, config: str = "") -> AsyncIterator[SiteService]:
    """Run a service with a web door at `http://localhost:PORT`."""
    with socket.socket() as reserved:
        # The origin needs the port beforehand. Bound and not listening, this socket keeps it from others alone.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        web = f'[web]\nlisten = ["127.0.0.1:{port}"]\norigin = "http://localhost:{port}"\n'
        async with running_service(directory, config=web + config) as service:
            keys = directory / "config/farhand/authorized_keys"
            yield SiteService(service, f"http://localhost:{port}", keys)


@dataclass
class PasskeyBrowser:
    """A window with an authenticator. `faults` is what has gone wrong in it."""

    context: BrowserContext
    page: Page
    cdp: CDPSession
    authenticator: str
    faults: list[str]

    async def touch(self, agrees: bool) -> None:
        """Let whoever is asked to touch the authenticator do so, or not."""
        await self.cdp.send(
            "WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": self.authenticator, "enabled": agrees}
        )


@contextlib.asynccontextmanager
async def passkey_browser(browser: Browser) -> AsyncIterator[PasskeyBrowser]:
    """Open a window without anything from others."""
    context = await browser.new_context(viewport={"width": 1100, "height": 700})
    context.set_default_timeout(TIMEOUT)
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    cdp = await context.new_cdp_session(page)
    options: dict[str, Any] = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    await cdp.send("WebAuthn.enable")
    added = await cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    try:
        yield PasskeyBrowser(context, page, cdp, added["authenticatorId"], faults)
    finally:
        await context.close()
