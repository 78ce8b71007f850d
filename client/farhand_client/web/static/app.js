// @ts-check
/** The page: hosts on the left, one view on the right. The part of the URL after `#` says which, so that it can be bookmarked. */

import { h } from "./dom.js";
import { LANGUAGES, choose, language, size, t } from "./text/text.js";
import { Host } from "./wire/host.js";
import { printable } from "./wire/values.js";

/**
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {() => void} close
 * @property {string} [title]
 * @property {() => number} [pending] Bytes that were typed and wait for the connection.
 */

/**
 * @typedef {object} Go
 * @property {(...parts: string[]) => string} url
 * @property {(...parts: string[]) => void} to
 * @property {(...parts: string[]) => void} instead Replace the present place.
 * @property {(title: string) => void} title Set the page's title.
 */

/** @typedef {{ host: Host, go: Go, query: URLSearchParams, rest: string[] }} Context */

/** @type {Go} */
const go = {
  url: (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`,
  to: (...parts) => {
    location.hash = go.url(...parts);
  },
  instead: (...parts) => location.replace(go.url(...parts)),
  title: (title) => {
    document.title = `${title} · Farhand`;
  },
};

/** Views by the second word of the place; each is loaded when it is first shown. */
/** @type {Record<string, (context: Context) => Promise<View>>} */
const VIEWS = {
  "": async (context) => new (await import("./views/run_list.js")).RunList(context),
  new: async (context) => new (await import("./views/run_form.js")).RunFormView(context),
  runs: async (context) => {
    if (context.rest[1] === "terminal") return (await import("./views/terminal.js")).attachedTerminal(context);
    if (context.rest[1] === "replay") return new (await import("./views/replay.js")).ReplayView(context);
    return new (await import("./views/run_page.js")).RunPage(context);
  },
  files: async (context) => new (await import("./views/files.js")).FilesView(context),
  terminal: async (context) => (await import("./views/terminal.js")).newTerminal(context),
};

class Page {
  /**
   * @param {{ version: string, hosts: string[] }} about
   * @param {import("./wire/passkey.js").PasskeyLogin | null} login
   */
  constructor(about, login) {
    /** @type {Map<string, Host>} */
    this._hosts = new Map(about.hosts.map((name) => [name, new Host(name, login === null ? dial : () => socket("/connection"), login)]));
    /** @type {View | null} */
    this._view = null;
    this._shown = 0;
    /** @type {Host | null} */
    this._host = null;
    this._list = h("ul", { class: "hosts" });
    this._notice = h("div", { class: "notice", role: "status", "aria-live": "polite", hidden: true });
    this._main = h("main", { id: "content", tabindex: -1 });
    this._heading = h("h1", {}, "Farhand");
    this._build(about.version);
    for (const host of this._hosts.values()) host.addEventListener("change", () => this._changed(host));
    addEventListener("hashchange", () => this._show());
    addEventListener("online", () => this._hurry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this._hurry();
    });
    this._drawHosts();
    this._show();
  }

  /** @param {string} version */
  _build(version) {
    const languages = h(
      "select",
      { "aria-label": "Language / 语言", on: { change: (/** @type {any} */ event) => (choose(event.target.value), location.reload()) } },
      Object.entries(LANGUAGES).map(([key, words]) => h("option", { value: key, selected: key === language }, words.language)),
    );
    document.documentElement.lang = language === "zh" ? "zh-CN" : language;
    const menu = h(
      "nav",
      { id: "menu", "aria-label": t("hosts") },
      h("h2", {}, t("hosts")),
      this._list,
      h("div", { class: "foot" }, languages, h("button", { class: "plain", on: { click: logout } }, t("logout")), h("small", {}, version)),
    );
    const toggle = h(
      "button",
      {
        class: "menu-button",
        "aria-controls": "menu",
        "aria-expanded": "false",
        on: { click: () => toggle.setAttribute("aria-expanded", String(document.body.classList.toggle("menu-open"))) },
      },
      t("menu"),
    );
    document.body.replaceChildren(
      h("a", { class: "skip", href: "#content", on: { click: (/** @type {Event} */ event) => (event.preventDefault(), this._main.focus()) } }, t("skip-to-content")),
      h("header", {}, toggle, this._heading),
      menu,
      h("div", { class: "stage" }, this._notice, this._main),
    );
  }

  _hurry() {
    for (const host of this._hosts.values()) host.hurry();
  }

  async _show() {
    const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
    const words = path.split("/").map(decodeURIComponent);
    const name = words[0] || this._hosts.keys().next().value || "";
    const host = this._hosts.get(name);
    document.body.classList.remove("menu-open");
    const number = ++this._shown;
    this._view?.close();
    this._view = null;
    this._host = host ?? null;
    if (host === undefined) {
      this._main.replaceChildren(h("p", { class: "note" }, t("no-connection", { host: printable(name), why: "?" })));
      return;
    }
    if (host.state === "failed") host.use();
    this._drawHosts();
    this._drawNotice();
    go.title(host.name);
    this._heading.textContent = host.name;
    const view = await (VIEWS[words[1] ?? ""] ?? VIEWS[""])({ host, go, query: new URLSearchParams(search), rest: words.slice(2) });
    if (number !== this._shown) {
      view.close();
      return;
    }
    this._view = view;
    this._main.replaceChildren(view.element);
    view.element.dispatchEvent(new Event("shown"));
  }

  /** @param {Host} host */
  _changed(host) {
    if (host.why?.code === "logged_out") {
      showClosed();
      return;
    }
    this._drawHosts();
    if (host === this._host) this._drawNotice();
  }

  _drawHosts() {
    this._list.replaceChildren(
      ...[...this._hosts.values()].map((host) =>
        h(
          "li",
          {},
          h(
            "a",
            { href: go.url(host.name), class: host === this._host ? "current" : null, "aria-current": host === this._host ? "page" : null },
            h("span", { class: `dot ${host.state}`, "aria-hidden": "true" }),
            h("span", { class: "name" }, printable(host.name)),
            h("span", { class: "hidden-text" }, t(`state-${host.state}`)),
          ),
        ),
      ),
    );
  }

  _drawNotice() {
    const host = this._host;
    if (host === null) return;
    const why = printable(host.why?.message ?? "");
    const again = h("button", { on: { click: () => host.again() } }, t(host.attended ? "passkey-login" : "try-again"));
    if (host.attended && host.state === "waiting") {
      this._notice.replaceChildren(t("passkey-again", { why }), again);
    } else if (host.state === "failed") {
      this._notice.replaceChildren(t("no-connection", { host: host.name, why }), again);
    } else if (host.state === "waiting" || (host.state === "connecting" && host.until > 0)) {
      const until = new Date(host.until).toLocaleTimeString(language);
      const pending = this._view?.pending?.() ?? 0;
      const text = pending > 0 ? t("outage-pending", { why, until, bytes: size(pending) }) : t("outage", { why, until });
      this._notice.replaceChildren(text, again);
    } else if (host.connection !== null && host.connection.goingAway !== null) {
      this._notice.replaceChildren(t("draining", { seconds: Math.round(host.connection.goingAway) }));
    } else {
      this._notice.replaceChildren();
    }
    this._notice.hidden = this._notice.childNodes.length === 0;
  }
}

/** @param {string} path */
function socket(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  const opened = new WebSocket(url, "farhand.1");
  opened.binaryType = "arraybuffer";
  return opened;
}

/** @param {string} name */
function dial(name) {
  return socket(`/hosts/${encodeURIComponent(name)}/connection`);
}

function logout() {
  if (site !== null) {
    location.replace("/"); // the connection is the session, and ends with this page
    return;
  }
  socket("/logout").onclose = showClosed;
}

function showClosed() {
  document.body.className = "closed";
  document.title = "Farhand";
  const again = site === null ? null : h("button", { on: { click: () => location.reload() } }, t("passkey-login"));
  document.body.replaceChildren(
    h("main", {}, h("h1", {}, "Farhand"), h("p", { role: "alert" }, t(site === null ? "logged-out" : "passkey-idle")), again),
  );
}

const answer = await fetch("/about.json", { cache: "no-store" });
const about = answer.ok ? await answer.json() : {};
/** The site whose passkeys log in, at a service's web door; null for farhand web. @type {string | null} */
const site = about.passkeys ?? null;
if (!answer.ok) {
  showClosed();
} else if (site === null) {
  new Page(about, null);
} else {
  const login = await (await import("./views/login.js")).askLogin(site);
  document.body.className = "";
  new Page(about, login);
}
