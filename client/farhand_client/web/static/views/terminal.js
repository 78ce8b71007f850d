// @ts-check
/** A terminal: a new login shell, or the one of a run that goes on. */

import { h } from "../dom.js";
import { size as sizeText, t } from "../text/text.js";
import { Attachment } from "../wire/attachment.js";
import { runInfo } from "../wire/requests.js";
import { outcomeText } from "../wire/runs.js";
import { newRunId, printable } from "../wire/values.js";
import { KeyBar } from "./key_bar.js";
import { Screen } from "./screen.js";

/** Bytes of output in flight: what still comes after Ctrl-C, as for the command line. */
const WINDOW = 262_144;

/** @param {import("../app.js").Context} context */
export function newTerminal(context) {
  return new TerminalView(context, newRunId(), true);
}

/** @param {import("../app.js").Context} context */
export function attachedTerminal(context) {
  return new TerminalView(context, context.rest[0], false);
}

class TerminalView {
  /**
   * @param {import("../app.js").Context} context
   * @param {string} id
   * @param {boolean} start
   */
  constructor({ host, go, query }, id, start) {
    this._host = host;
    this._go = go;
    this._id = id;
    this._watch = query.has("watch");
    /** @type {Attachment | null} */
    this._attachment = null;
    this._closed = false;
    /** Output before this offset was there when this page came. */
    this._past = 0;
    this._state = h("span", { class: "quiet", role: "status" });
    this._bar = h("div", { class: "tools" });
    this._ask = h("div", { class: "notice", hidden: true });
    this._place = h("div", { class: "screen", "aria-label": t("terminal-of", { host: host.name }) });
    this._keys = new KeyBar((bytes) => this._typed(bytes), () => this._screen?.terminal.focus());
    this.element = h("section", { class: "terminal-view", "aria-label": t("terminal") }, this._bar, this._ask, this._place, this._keys.element);
    /** @type {Screen | null} */
    this._screen = null;
    this.element.addEventListener("shown", () => this._begin(start), { once: true });
    this._drawBar();
  }

  pending = () => this._attachment?.pending ?? 0;

  close() {
    this._closed = true;
    this._attachment?.leave();
    this._screen?.close();
  }

  _drawBar() {
    const reader = h(
      "button",
      {
        "aria-pressed": "false",
        on: {
          click: () => {
            const on = reader.getAttribute("aria-pressed") !== "true";
            reader.setAttribute("aria-pressed", String(on));
            if (this._screen !== null) this._screen.terminal.options.screenReaderMode = on;
          },
        },
      },
      t("screen-reader"),
    );
    this._bar.replaceChildren(
      h("a", { href: this._go.url(this._host.name) }, `← ${t("back")}`),
      this._state,
      h("span", { class: "space" }),
      h("a", { class: "button", href: this._go.url(this._host.name, "runs", this._id) }, t("details")),
      reader,
    );
  }

  /** @param {boolean} start */
  async _begin(start) {
    await document.fonts.ready;
    const screen = new Screen(
      this._place,
      {
        typed: (bytes) => this._typed(bytes),
        resized: (size) => this._attachment?.resize(size),
        copies: (text) => this._askToCopy(text),
      },
      { readOnly: this._watch },
    );
    this._screen = screen;
    screen.terminal.attachCustomKeyEventHandler((event) => {
      // The way out of the terminal for those who have no mouse.
      if (event.type === "keydown" && event.key === "F6" && event.ctrlKey) {
        /** @type {HTMLElement | null} */ (this._bar.querySelector("a"))?.focus();
        return false;
      }
      return true;
    });
    const size = screen.fitting;
    screen.resize(size);
    if (start) {
      const run = {
        type: "run",
        id: this._id,
        login: true,
        stdin: true,
        merge_stderr: true,
        terminal: { name: "xterm-256color", size },
      };
      this._attach({ run, size, window: WINDOW, types: true, hold: true });
    } else {
      try {
        const info = await runInfo(this._host, this._id);
        if (this._closed) return;
        this._past = info.stdout;
        screen.replaying = this._past > 0;
        if (info.outcome !== undefined) {
          this._state.textContent = outcomeText(info.outcome);
          this._attach({ stdout: 0, window: WINDOW, size: null });
          return;
        }
      } catch (error) {
        this._state.textContent = t("run-missing", { why: printable(/** @type {Error} */ (error).message) });
        return;
      }
      this._attach({ stdout: 0, window: WINDOW, types: !this._watch, hold: !this._watch, size });
    }
    screen.terminal.focus();
  }

  /** @param {import("../wire/attachment.js").AttachmentOptions} options */
  _attach(options) {
    const screen = /** @type {Screen} */ (this._screen);
    const attachment = new Attachment(this._host, this._id, options, {
      data: async (stream, bytes, offset) => {
        await screen.write(bytes);
        if (screen.replaying && offset + bytes.length >= this._past) screen.replaying = false;
        attachment.consumed(stream, bytes.length);
      },
      gap: (stream, offset, bytes) => {
        if (offset + bytes >= this._past) screen.replaying = false;
      },
      message: (message) => this._message(message),
    });
    this._attachment = attachment;
    attachment.begin();
  }

  /** @param {import("../wire/connection.js").Message} message */
  _message(message) {
    const screen = /** @type {Screen} */ (this._screen);
    switch (message.type) {
      case "started":
        history.replaceState(null, "", this._go.url(this._host.name, "runs", this._id, "terminal") + (this._watch ? "?watch" : ""));
        this._state.textContent = this._watch ? t("read-only") : "";
        if (!message.stdin && !this._watch) this._offerToShare();
        break;
      case "resize":
        screen.resize({ columns: message.columns, rows: message.rows });
        break;
      case "ended":
        this._state.textContent = outcomeText(message.outcome);
        screen.terminal.options.disableStdin = true;
        break;
      case "error":
        this._state.textContent = printable(message.message);
        break;
    }
  }

  _offerToShare() {
    const take = h(
      "button",
      {
        on: {
          click: () => {
            const stdout = this._attachment?.offsets.stdout ?? 0;
            this._attachment?.leave();
            this._ask.hidden = true;
            const size = /** @type {Screen} */ (this._screen).fitting;
            this._attach({ stdout, window: WINDOW, types: true, share: true, hold: true, size });
            this._screen?.terminal.focus();
          },
        },
      },
      t("take"),
    );
    this._ask.replaceChildren(t("not-feeding"), take);
    this._ask.hidden = false;
  }

  /** @param {Uint8Array} bytes */
  _typed(bytes) {
    if (this._watch) return;
    this._attachment?.write(this._keys.applied(bytes));
  }

  /** @param {string} text */
  _askToCopy(text) {
    const done = () => {
      this._ask.hidden = true;
      this._screen?.terminal.focus();
    };
    this._ask.replaceChildren(
      t("copy-request", { bytes: sizeText(new TextEncoder().encode(text).length) }),
      h("button", { on: { click: () => navigator.clipboard.writeText(text).finally(done) } }, t("allow")),
      h("button", { on: { click: done } }, t("deny")),
    );
    this._ask.hidden = false;
  }
}
