// @ts-check
/** The output of a run on a page: both streams as they came or one alone, with times, search and downloads. */

import { h } from "../dom.js";
import { t } from "../text/text.js";
import { OutputLog, Row } from "./log.js";
import { firstMark } from "./marks.js";
import { rowElement } from "./row_element.js";
import { VirtualRows } from "./rows.js";

/** Milliseconds of a frame that are spent on new output, so that the page stays quick under a flood of it. */
const BUDGET = 8;

/** @type {Record<"stdout" | "stderr", number>} */
const KINDS = { stdout: Row.STDOUT, stderr: Row.STDERR };

/**
 * @typedef {object} OutputOwner
 * @property {(stream: "stdout" | "stderr", bytes: number) => void} consumed Bytes have been shown: more may come.
 * @property {() => Promise<import("./marks.js").Mark[]>} marks Ask when the output was written.
 * @property {(stream: "stdout" | "stderr") => void} download
 */

export class OutputView {
  /** @param {OutputOwner} owner */
  constructor(owner) {
    this._owner = owner;
    this.log = new OutputLog();
    /** @type {{ stream: "stdout" | "stderr", bytes: Uint8Array, gap: number }[]} */
    this._arrived = [];
    this._frame = 0;
    this._shownDropped = 0;
    /** Rows of the stream that is shown alone; null for all. @type {number[] | null} */
    this._only = null;
    this._kind = /** @type {number} */ (Row.STDOUT);
    this._scanned = 0;
    this._times = false;
    /** @type {import("./marks.js").Mark[]} */
    this._marks = [];
    /** @type {number[]} */
    this._found = [];
    this._foundAt = -1;

    const streams = h(
      "select",
      { "aria-label": t("streams"), on: { change: () => this._choose(streams.value) } },
      ["merged", "stdout", "stderr"].map((value) => h("option", { value }, t(value))),
    );
    const follow = h(
      "button",
      { "aria-pressed": "true", on: { click: () => (this._rows.following = !this._rows.following) } },
      t("follow"),
    );
    const times = h("button", { "aria-pressed": "false", on: { click: () => this._showTimes(times) } }, t("times"));
    this._jump = h("input", {
      type: "number",
      min: 0,
      step: "any",
      hidden: true,
      placeholder: t("jump-to-time"),
      "aria-label": t("jump-to-time"),
      on: { change: () => this._jumpTo(Number(this._jump.value)) },
    });
    this._search = h("input", {
      type: "search",
      placeholder: t("search-output"),
      "aria-label": t("search-output"),
      on: {
        keydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key === "Enter") this._find();
        },
      },
    });
    this._matches = h("span", { class: "quiet", role: "status" });
    this._dropped = h("p", { class: "note", hidden: true });
    this._empty = h("p", { class: "note" }, t("no-output"));
    const viewport = h("div", {
      class: "output-view",
      tabindex: 0,
      role: "log",
      "aria-label": t("output"),
      "aria-live": "off",
    });
    this._rows = new VirtualRows(viewport, (number) => this._draw(number));
    this._rows.onFollow = () => follow.setAttribute("aria-pressed", String(this._rows.following));
    this.elements = [
      h(
        "div",
        { class: "tools" },
        streams,
        follow,
        times,
        this._jump,
        this._search,
        this._matches,
        h("button", { "aria-label": t("previous-match"), on: { click: () => this._step(-1) } }, "↑"),
        h("button", { "aria-label": t("next-match"), on: { click: () => this._step(1) } }, "↓"),
        h("span", { class: "space" }),
        h("button", { on: { click: () => owner.download("stdout") } }, t("download-stdout")),
        h("button", { on: { click: () => owner.download("stderr") } }, t("download-stderr")),
      ),
      this._dropped,
      this._empty,
      viewport,
    ];
  }

  /**
   * Show bytes of a stream, soon.
   * @param {"stdout" | "stderr"} stream
   * @param {Uint8Array} bytes
   */
  add(stream, bytes) {
    this._queue({ stream, bytes, gap: 0 });
  }

  /**
   * Show that bytes of a stream are missing.
   * @param {"stdout" | "stderr"} stream
   * @param {number} bytes
   */
  addGap(stream, bytes) {
    this._queue({ stream, bytes: new Uint8Array(0), gap: bytes });
  }

  close() {
    this._rows.close();
    cancelAnimationFrame(this._frame);
  }

  /** @param {{ stream: "stdout" | "stderr", bytes: Uint8Array, gap: number }} chunk */
  _queue(chunk) {
    this._arrived.push(chunk);
    if (this._frame === 0) this._frame = requestAnimationFrame(() => this._take());
  }

  /** Add what has arrived, as much as a frame has time for; the rest waits, and with it the service. */
  _take() {
    this._frame = 0;
    const until = performance.now() + BUDGET;
    let taken = 0;
    while (taken < this._arrived.length && (taken === 0 || performance.now() < until)) {
      const { stream, bytes, gap } = this._arrived[taken++];
      if (gap > 0) {
        this.log.addGap(KINDS[stream], gap);
      } else {
        this.log.add(KINDS[stream], bytes);
        this._owner.consumed(stream, bytes.length);
      }
    }
    this._arrived.splice(0, taken);
    if (this._arrived.length > 0) this._frame = requestAnimationFrame(() => this._take());
    this._refresh();
  }

  _refresh() {
    this._empty.hidden = this.log.rows > 0;
    const newlyDropped = this.log.dropped - this._shownDropped;
    this._shownDropped = this.log.dropped;
    if (this.log.dropped > 0) {
      this._dropped.hidden = false;
      this._dropped.textContent = t("dropped", { rows: this.log.dropped });
    }
    if (newlyDropped > 0) this._found = this._found.map((number) => number - newlyDropped);
    if (this._only !== null) this._scan(this._only, newlyDropped);
    this._rows.update(this._count, this._only === null ? newlyDropped : 0);
  }

  get _count() {
    return this._only === null ? this.log.rows : this._only.length;
  }

  /** @param {number} shown */
  _number(shown) {
    return this._only === null ? shown : this._only[shown];
  }

  /**
   * Add new rows to those of the stream that is shown alone.
   * @param {number[]} only
   * @param {number} dropped
   */
  _scan(only, dropped) {
    if (dropped > 0) {
      this._scanned = Math.max(0, this._scanned - dropped);
      let kept = 0;
      for (const number of only) if (number >= dropped) only[kept++] = number - dropped;
      only.length = kept;
    }
    for (; this._scanned < this.log.rows; this._scanned++) {
      if (this.log.kind(this._scanned) === this._kind) only.push(this._scanned);
    }
  }

  /** @param {string} streams */
  _choose(streams) {
    this._only = streams === "merged" ? null : [];
    this._kind = streams === "stderr" ? Row.STDERR : Row.STDOUT;
    this._scanned = 0;
    this._refresh();
  }

  /** @param {number} shown */
  _draw(shown) {
    const number = this._number(shown);
    const found = this._foundAt >= 0 && this._found[this._foundAt] === number;
    return rowElement(this.log, number, { found, time: this._times ? this._timeText(number) : null });
  }

  /** @param {HTMLButtonElement} button */
  async _showTimes(button) {
    this._times = !this._times;
    button.setAttribute("aria-pressed", String(this._times));
    this._jump.hidden = !this._times;
    if (this._times) this._marks = await this._owner.marks();
    this._refresh();
  }

  /**
   * Return when a row was written, in seconds since the start; null if that is not known.
   * @param {number} number
   */
  _time(number) {
    const place = this.log.offset(number);
    if (place === null) return null;
    const mark = firstMark(this._marks, place.kind === Row.STDERR ? "stderr" : "stdout", place.offset + 1);
    return mark === null ? null : mark.at / 1000;
  }

  /** @param {number} number */
  _timeText(number) {
    return this._time(number)?.toFixed(3).padStart(9) ?? "";
  }

  /** Scroll to the first row that is not earlier. @param {number} seconds */
  _jumpTo(seconds) {
    let low = 0;
    let high = this._count;
    // Rows are in the order in which they came, so their times ascend.
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this._time(this._number(middle)) ?? Infinity) < seconds) low = middle + 1;
      else high = middle;
    }
    this._rows.show(low);
  }

  _find() {
    const text = this._search.value;
    this._found = text === "" ? [] : this.log.search(text);
    this._foundAt = -1;
    this._matches.textContent = text === "" ? "" : t("matches", { count: this._found.length });
    this._step(1);
  }

  /** @param {number} by */
  _step(by) {
    if (this._found.length === 0) return;
    this._foundAt = (this._foundAt + by + this._found.length) % this._found.length;
    const number = this._found[this._foundAt];
    const shown = this._only === null ? number : this._only.indexOf(number);
    if (shown >= 0) this._rows.show(shown);
    this._matches.textContent = `${this._foundAt + 1} / ${this._found.length}`;
    this._rows.update(this._count);
  }
}
