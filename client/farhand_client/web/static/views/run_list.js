// @ts-check
/** The runs of a host, newest first: a table that is kept current while somebody looks at it. */

import { h } from "../dom.js";
import { moment, size, span, t } from "../text/text.js";
import { outcomeClass, outcomeDetail, outcomeText } from "../wire/runs.js";
import { printable } from "../wire/values.js";

/** Milliseconds between two looks at the service. It tells nobody by itself what others start; people read slower than this. */
const LOOK_AGAIN = 2000;

/** Runs asked for at once. */
const PAGE = 100;

export class RunList {
  /** @param {import("../app.js").Context} context */
  constructor({ host, go }) {
    this._host = host;
    this._go = go;
    /** @type {Map<string, import("../wire/runs.js").RunInfo>} */
    this._runs = new Map();
    this._oldest = "";
    this._more = false;
    this._closed = false;
    this._asking = false;
    this._timer = 0;
    this._loaded = false;

    this._filter = h("input", {
      type: "search",
      placeholder: t("filter-runs"),
      "aria-label": t("filter-runs"),
      on: { input: () => this._draw() },
    });
    this._ended = h("input", { type: "checkbox", id: "show-ended", checked: true, on: { change: () => this._changed() } });
    this._body = h("tbody");
    this._note = h("p", { class: "note", role: "status" });
    this._older = h("button", { class: "plain", hidden: true, on: { click: () => this._ask({ older: true }) } }, t("older-runs"));
    const heads = ["state", "command", "owner", "began", "duration", "output", "id"];
    this.element = h(
      "section",
      { class: "run-list" },
      h(
        "div",
        { class: "tools" },
        this._filter,
        h("label", { for: "show-ended" }, this._ended, t("show-ended")),
        h("span", { class: "space" }),
        h("a", { class: "button", href: go.url(host.name, "files") }, t("files")),
        h("a", { class: "button", href: go.url(host.name, "terminal") }, t("new-terminal")),
        h("a", { class: "button primary", href: go.url(host.name, "new") }, t("new-run")),
      ),
      h(
        "div",
        { class: "table-scroll", tabindex: 0, role: "region", "aria-label": t("runs") },
        h("table", {}, h("thead", {}, h("tr", {}, heads.map((key) => h("th", { scope: "col", class: key }, t(key))))), this._body),
      ),
      this._note,
      this._older,
    );
    this._seen = () => {
      if (!document.hidden) this._ask();
    };
    document.addEventListener("visibilitychange", this._seen);
    this._ask();
  }

  close() {
    this._closed = true;
    clearTimeout(this._timer);
    document.removeEventListener("visibilitychange", this._seen);
  }

  _changed() {
    this._runs.clear();
    this._oldest = "";
    this._ask();
  }

  /** @param {{ older?: boolean }} [options] */
  async _ask({ older = false } = {}) {
    if (this._asking) return;
    this._asking = true;
    clearTimeout(this._timer);
    try {
      /** @type {import("../wire/connection.js").Message} */
      const request = { type: "list", ended: this._ended.checked, limit: PAGE };
      if (older) request.before = this._oldest;
      const answers = await this._host.request(request);
      if (this._closed) return;
      const runs = answers.flatMap((answer) => (answer.type === "runs" ? answer.runs : []));
      // Those that were current and are not in the answer have ended, or are known no more.
      if (!older && !this._ended.checked) this._runs.clear();
      for (const run of runs) this._runs.set(run.id, run);
      if (older || !this._loaded) {
        this._more = runs.length === PAGE;
        this._oldest = runs.at(-1)?.id ?? this._oldest;
      }
      this._loaded = true;
      this._draw();
    } catch (error) {
      if (this._closed) return;
      this._note.textContent = printable(/** @type {Error} */ (error).message);
    } finally {
      this._asking = false;
      if (!this._closed) {
        this._timer = setTimeout(() => {
          if (!document.hidden) this._ask();
        }, LOOK_AGAIN);
      }
    }
  }

  _draw() {
    const wanted = this._filter.value.trim().toLowerCase();
    const runs = [...this._runs.values()]
      .filter((run) => !run.internal)
      .filter((run) => wanted === "" || `${run.command} ${run.owner} ${run.id}`.toLowerCase().includes(wanted))
      .sort((one, other) => (one.id < other.id ? 1 : -1));
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.run;
    this._body.replaceChildren(...runs.map((run) => this._row(run)));
    if (focused !== undefined) {
      /** @type {HTMLElement | null} */ (this._body.querySelector(`[data-run="${CSS.escape(focused)}"]`))?.focus();
    }
    this._note.textContent = runs.length > 0 ? "" : wanted === "" ? t("no-runs") : t("no-match");
    this._older.hidden = !this._more;
  }

  /** @param {import("../wire/runs.js").RunInfo} run */
  _row(run) {
    const url = this._go.url(this._host.name, "runs", run.id);
    const state = outcomeText(run.outcome);
    const detail = outcomeDetail(run.outcome);
    return h(
      "tr",
      {
        class: outcomeClass(run.outcome),
        on: {
          click: (/** @type {MouseEvent} */ event) => {
            if (!(event.target instanceof HTMLAnchorElement) && getSelection()?.isCollapsed) location.hash = url;
          },
        },
      },
      h("td", { class: "state" }, h("span", { class: "badge", title: detail || null }, state)),
      h("td", { class: "command" }, h("a", { href: url, "data-run": run.id }, printable(run.command) || "—")),
      h("td", { class: "owner" }, printable(run.owner)),
      h("td", { class: "began" }, h("time", { datetime: new Date(run.began * 1000).toISOString() }, moment(run.began))),
      h("td", { class: "duration" }, span(run.duration)),
      h("td", { class: "output" }, size(run.stdout + run.stderr)),
      h("td", { class: "id" }, h("code", {}, run.id.slice(0, 13))),
    );
  }
}
