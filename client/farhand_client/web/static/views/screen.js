// @ts-check
/** xterm.js as this page uses it: under a strict Content-Security-Policy, and with nothing that leaves the terminal unasked. */

import { confirmDialog } from "../dom.js";
import { t } from "../text/text.js";
import { printable } from "../wire/values.js";
import { FitAddon } from "../vendor/addon-fit/addon-fit.js";
import { Unicode11Addon } from "../vendor/addon-unicode11/addon-unicode11.js";
import { WebLinksAddon } from "../vendor/addon-web-links/addon-web-links.js";
import { Terminal } from "../vendor/xterm/xterm.js";

const STYLES = "/vendor/xterm/xterm.css";

/** Lines above the screen that are kept: what people scroll back; all output is in the recording. */
const SCROLLBACK = 10_000;

/** Bytes that a program may ask to copy: a page of text, and no disk full of it. */
export const MAX_COPIED = 100_000;

let prepared = false;

/**
 * xterm.js makes style elements and style attributes, which the policy of this page forbids, since they could come from
 * anywhere. Both are allowed through the object model, so they go that way.
 */
function prepare() {
  if (prepared) return;
  prepared = true;
  const create = document.createElement.bind(document);
  document.createElement = /** @type {any} */ (
    (/** @type {string} */ tag, /** @type {any} */ options) => (tag === "style" ? adoptedStyle(create("template")) : create(tag, options))
  );
  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style" && this instanceof HTMLElement) this.style.cssText = value;
    else set.call(this, name, value);
  };
  const link = create("link");
  link.rel = "stylesheet";
  link.href = STYLES;
  document.head.append(link);
}

/**
 * Return what stands for a style element: an empty one would already be a violation of the policy.
 * @param {HTMLTemplateElement} element
 */
function adoptedStyle(element) {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  let text = "";
  Object.defineProperty(element, "textContent", {
    get: () => text,
    set: (value) => {
      text = value;
      sheet.replaceSync(value);
    },
  });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

/**
 * @typedef {object} ScreenOwner
 * @property {(bytes: Uint8Array) => void} [typed]
 * @property {(size: { columns: number, rows: number }) => void} [resized]
 * @property {(text: string) => void} [copies] A program wants to copy text to the clipboard.
 */

const encoder = new TextEncoder();

export class Screen {
  /**
   * @param {HTMLElement} element
   * @param {ScreenOwner} owner
   * @param {{ readOnly?: boolean }} [options]
   */
  constructor(element, owner, { readOnly = false } = {}) {
    prepare();
    this._owner = owner;
    /** Whether what is written is old: a terminal answers no question twice. */
    this.replaying = false;
    this.terminal = new Terminal({
      allowProposedApi: true,
      cursorBlink: false,
      disableStdin: readOnly,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      fontSize: 14,
      scrollback: SCROLLBACK,
      minimumContrastRatio: 4.5,
      macOptionIsMeta: true,
      linkHandler: { activate: (_, uri) => open(uri), allowNonHttpProtocols: false },
      theme: { background: "#0c0f11", foreground: "#e4e9ec" },
    });
    this._fit = new FitAddon();
    this.terminal.loadAddon(this._fit);
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = "11";
    this.terminal.loadAddon(new WebLinksAddon((_, uri) => open(uri)));
    this.terminal.open(element);
    this.terminal.onData((text) => owner.typed?.(encoder.encode(text)));
    this.terminal.onBinary((text) => owner.typed?.(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    this._guard();
    element.addEventListener("paste", (event) => this._paste(event), { capture: true });
    this._observer = new ResizeObserver(() => this._measure());
    this._observer.observe(element);
    this._size = { columns: 0, rows: 0 };
  }

  /** The size that fits. */
  get fitting() {
    const found = this._fit.proposeDimensions();
    return { columns: Math.max(2, found?.cols ?? 80), rows: Math.max(2, found?.rows ?? 24) };
  }

  /**
   * Show output; resolves when it is on the screen.
   * @param {Uint8Array | string} data
   * @returns {Promise<void>}
   */
  write(data) {
    return new Promise((resolve) => this.terminal.write(data, resolve));
  }

  /** @param {{ columns: number, rows: number }} size */
  resize({ columns, rows }) {
    if (columns > 0 && rows > 0) this.terminal.resize(columns, rows);
  }

  close() {
    this._observer.disconnect();
    this.terminal.dispose();
  }

  _measure() {
    const size = this.fitting;
    if (size.columns === this._size.columns && size.rows === this._size.rows) return;
    this._size = size;
    this._owner.resized?.(size);
  }

  /** Answer no question of old output, and let nothing out but what somebody has agreed to. */
  _guard() {
    const { parser } = this.terminal;
    const old = () => this.replaying;
    for (const final of ["c", "n", "t"]) parser.registerCsiHandler({ final }, old);
    for (const prefix of [">", "=", "?"]) {
      parser.registerCsiHandler({ prefix, final: "c" }, old);
      parser.registerCsiHandler({ prefix, final: "n" }, old);
      parser.registerCsiHandler({ prefix, final: "q" }, old);
    }
    parser.registerCsiHandler({ intermediates: "$", final: "p" }, old);
    parser.registerCsiHandler({ prefix: "?", intermediates: "$", final: "p" }, old);
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, old);
    for (const identifier of [4, 10, 11, 12]) {
      parser.registerOscHandler(identifier, (data) => this.replaying && data.includes("?"));
    }
    parser.registerOscHandler(52, (data) => this._copies(data));
  }

  /** @param {string} data `c;BASE64` (xterm's control sequences, OSC 52); a question `?` is never answered */
  _copies(data) {
    const encoded = data.slice(data.indexOf(";") + 1);
    if (this.replaying || encoded === "?" || encoded.length > (MAX_COPIED * 4) / 3) return true;
    try {
      this._owner.copies?.(new TextDecoder().decode(Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0))));
    } catch {
      // It is no base64: a program has made a mistake, which is nobody's business here.
    }
    return true;
  }

  /** @param {ClipboardEvent} event */
  async _paste(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    const lines = text.split("\n").length;
    if (lines < 2 || this.terminal.modes.bracketedPasteMode) return;
    // A shell would execute each line at once.
    event.preventDefault();
    event.stopImmediatePropagation();
    if (await confirmDialog(t("paste-question", { lines }), { yes: t("paste"), no: t("no") })) this.terminal.paste(text);
  }
}

/** @param {string} uri */
async function open(uri) {
  if (!/^https?:\/\//i.test(uri)) return;
  if (await confirmDialog(printable(uri), { yes: t("open"), no: t("no") })) window.open(uri, "_blank", "noopener,noreferrer");
}
