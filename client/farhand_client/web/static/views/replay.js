// @ts-check
/** Plays a recording: the output of a terminal with its pauses, at any speed, from any place. */

import { h } from "../dom.js";
import { span, t } from "../text/text.js";
import { requestMarks } from "../output/marks.js";
import { Attachment } from "../wire/attachment.js";
import { runInfo } from "../wire/requests.js";
import { printable } from "../wire/values.js";
import { Screen } from "./screen.js";

/** Bytes of a recording that a page holds; of a longer one it plays the end. */
const MAX_RECORDING = 64 * 1024 * 1024;

/** Milliseconds to which a pause is cut on request. */
const LONGEST_PAUSE = 1000;

const SPEEDS = [0.5, 1, 2, 5, 10];

export class ReplayView {
  /** @param {import("../app.js").Context} context */
  constructor({ host, go, rest }) {
    this._host = host;
    this._id = rest[0];
    this._closed = false;
    /** @type {import("../output/marks.js").Mark[]} */
    this._marks = [];
    /** Times at which the marks are shown, pauses cut or not. @type {number[]} */
    this._times = [];
    /** @type {Uint8Array[]} */
    this._chunks = [];
    this._first = 0;
    this._bytes = new Uint8Array(0);
    this._next = 0;
    this._position = 0;
    this._since = 0;
    this._playing = false;
    this._frame = 0;

    this._play = h("button", { class: "primary", on: { click: () => (this._playing ? this._pause() : this._start()) } }, t("play"));
    this._scrubber = h("input", {
      class: "scrubber",
      type: "range",
      min: 0,
      max: 0,
      value: 0,
      "aria-label": t("position"),
      on: { input: () => this._seek(Number(this._scrubber.value)) },
    });
    this._clock = h("output", {}, "0:00");
    this._speed = h(
      "select",
      { "aria-label": t("speed"), on: { change: () => this._rebase() } },
      SPEEDS.map((speed) => h("option", { value: speed, selected: speed === 1 }, `${speed}×`)),
    );
    this._cut = h("input", { type: "checkbox", id: "cut-pauses", on: { change: () => this._schedule() } });
    this._search = h("input", { type: "search", placeholder: t("search-output"), "aria-label": t("search-output"), on: { change: () => this._find() } });
    this._note = h("span", { class: "quiet", role: "status" });
    this._place = h("div", { class: "screen" });
    this.element = h(
      "section",
      { class: "terminal-view", "aria-label": t("replay") },
      h(
        "div",
        { class: "tools" },
        h("a", { href: go.url(host.name, "runs", this._id) }, `← ${t("details")}`),
        this._play,
        this._scrubber,
        this._clock,
        this._speed,
        h("label", { for: "cut-pauses" }, this._cut, t("cut-pauses")),
        this._search,
        this._note,
      ),
      this._place,
    );
    /** @type {Screen | null} */
    this._screen = null;
    /** @type {Attachment | null} */
    this._attachment = null;
    this.element.addEventListener("shown", () => this._load(), { once: true });
  }

  close() {
    this._closed = true;
    cancelAnimationFrame(this._frame);
    this._attachment?.leave();
    this._screen?.close();
  }

  async _load() {
    this._screen = new Screen(this._place, {}, { readOnly: true });
    this._screen.replaying = true;
    try {
      const info = await runInfo(this._host, this._id);
      this._marks = await requestMarks(this._host, this._id);
      await this._fetch(Math.max(0, info.stdout - MAX_RECORDING));
    } catch (error) {
      this._note.textContent = t("run-missing", { why: printable(/** @type {Error} */ (error).message) });
      return;
    }
    if (this._closed) return;
    this._schedule();
    this._start();
  }

  /** @param {number} from */
  _fetch(from) {
    return new Promise((resolve, reject) => {
      this._first = from;
      const attachment = new Attachment(this._host, this._id, { stdout: from, follow: false }, {
        data: (stream, bytes) => {
          this._chunks.push(new Uint8Array(bytes));
          attachment.consumed(stream, bytes.length);
        },
        gap: (_, offset, bytes) => {
          this._first = offset + bytes;
          this._chunks = [];
        },
        message: (message) => {
          if (message.type === "error") reject(new Error(message.message));
          if (message.type !== "done" && message.type !== "ended") return;
          this._bytes = joined(this._chunks);
          this._chunks = [];
          resolve(undefined);
        },
        failed: reject,
      });
      this._attachment = attachment;
      attachment.begin();
    });
  }

  /** Compute when each mark is shown. */
  _schedule() {
    let before = 0;
    let at = 0;
    this._times = this._marks.map((mark) => {
      const pause = mark.at - before;
      before = mark.at;
      at += this._cut.checked ? Math.min(pause, LONGEST_PAUSE) : pause;
      return at;
    });
    this._scrubber.max = String(at);
    this._position = this._next === 0 ? 0 : this._times[this._next - 1];
    this._rebase();
    this._show();
  }

  _rebase() {
    this._since = performance.now() - this._position / Number(this._speed.value);
  }

  _start() {
    if (this._next >= this._marks.length) this._seek(0);
    this._playing = true;
    this._play.textContent = t("pause");
    this._rebase();
    this._frame = requestAnimationFrame(() => this._tick());
  }

  _pause() {
    this._playing = false;
    this._play.textContent = t("play");
    cancelAnimationFrame(this._frame);
  }

  _tick() {
    if (!this._playing) return;
    this._position = (performance.now() - this._since) * Number(this._speed.value);
    this._writeUntil(this._position);
    this._show();
    if (this._next >= this._marks.length) this._pause();
    else this._frame = requestAnimationFrame(() => this._tick());
  }

  /** @param {number} position */
  _seek(position) {
    this._position = position;
    this._rebase();
    if (this._next > 0 && this._times[this._next - 1] > position) {
      this._screen?.terminal.reset();
      this._next = 0;
    }
    this._writeUntil(position);
    this._show();
  }

  /** @param {number} position */
  _writeUntil(position) {
    const screen = /** @type {Screen} */ (this._screen);
    for (; this._next < this._marks.length && this._times[this._next] <= position; this._next++) {
      const mark = this._marks[this._next];
      if (mark.size) screen.resize(mark.size);
      if (mark.stdout === undefined) continue;
      const start = this._offsetBefore(this._next);
      screen.terminal.write(this._bytes.subarray(Math.max(0, start - this._first), Math.max(0, mark.stdout - this._first)));
    }
  }

  /** @param {number} number */
  _offsetBefore(number) {
    for (let at = number - 1; at >= 0; at--) {
      const { stdout } = this._marks[at];
      if (stdout !== undefined) return stdout;
    }
    return 0;
  }

  _show() {
    this._scrubber.value = String(this._position);
    this._clock.textContent = `${span(this._position / 1000)} / ${span(Number(this._scrubber.max) / 1000)}`;
  }

  /** Go to the next place at which the text was written. */
  _find() {
    const wanted = new TextEncoder().encode(this._search.value);
    if (wanted.length === 0) return;
    const from = this._next === 0 ? 0 : this._offsetBefore(this._next) - this._first;
    let at = find(this._bytes, wanted, from);
    if (at === -1) at = find(this._bytes, wanted, 0);
    this._note.textContent = t("matches", { count: at === -1 ? 0 : 1 });
    if (at === -1) return;
    const offset = this._first + at + wanted.length;
    const number = this._marks.findIndex((mark) => mark.stdout !== undefined && mark.stdout >= offset);
    if (number !== -1) {
      this._pause();
      this._seek(this._times[number]);
    }
  }
}

/** @param {Uint8Array[]} chunks */
function joined(chunks) {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * @param {Uint8Array} bytes
 * @param {Uint8Array} wanted
 * @param {number} from
 */
function find(bytes, wanted, from) {
  for (let at = bytes.indexOf(wanted[0], from); at !== -1; at = bytes.indexOf(wanted[0], at + 1)) {
    let same = 1;
    while (same < wanted.length && bytes[at + same] === wanted[same]) same++;
    if (same === wanted.length) return at;
  }
  return -1;
}
