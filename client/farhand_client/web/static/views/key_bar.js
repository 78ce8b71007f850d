// @ts-check
/** Keys that a phone lacks, and those that a browser takes for itself. */

import { h } from "../dom.js";
import { t } from "../text/text.js";

const ESC = "\x1b";

/** @type {[string, string][]} */
const KEYS = [
  ["Esc", ESC],
  ["Tab", "\t"],
  ["↑", `${ESC}[A`],
  ["↓", `${ESC}[B`],
  ["←", `${ESC}[D`],
  ["→", `${ESC}[C`],
  ["Home", `${ESC}[H`],
  ["End", `${ESC}[F`],
  ["PgUp", `${ESC}[5~`],
  ["PgDn", `${ESC}[6~`],
  ["Ctrl-C", "\x03"],
  ["Ctrl-D", "\x04"],
  ["Ctrl-W", "\x17"],
  ["Ctrl-T", "\x14"],
  ["Ctrl-N", "\x0e"],
];

const encoder = new TextEncoder();

export class KeyBar {
  /**
   * @param {(bytes: Uint8Array) => void} typed
   * @param {() => void} focus returns to the terminal
   */
  constructor(typed, focus) {
    this._control = false;
    this._button = h(
      "button",
      {
        "aria-pressed": "false",
        on: {
          click: () => {
            this._press(!this._control);
            focus();
          },
        },
      },
      t("ctrl"),
    );
    this.element = h(
      "div",
      { class: "key-bar", role: "toolbar", "aria-label": t("more-keys") },
      this._button,
      KEYS.map(([name, text]) =>
        h(
          "button",
          {
            // Without this the terminal would lose the focus, and a phone its keyboard.
            on: {
              mousedown: (/** @type {Event} */ event) => event.preventDefault(),
              click: () => {
                typed(encoder.encode(text));
                focus();
              },
            },
          },
          name,
        ),
      ),
    );
  }

  /**
   * Return what is typed, with Ctrl if that is pressed on the bar.
   * @param {Uint8Array} bytes
   */
  applied(bytes) {
    if (!this._control || bytes.length !== 1) return bytes;
    this._press(false);
    const code = bytes[0];
    const letter = code >= 97 && code <= 122 ? code - 32 : code;
    return letter >= 64 && letter < 96 ? Uint8Array.of(letter & 31) : bytes;
  }

  /** @param {boolean} on */
  _press(on) {
    this._control = on;
    this._button.setAttribute("aria-pressed", String(on));
  }
}
