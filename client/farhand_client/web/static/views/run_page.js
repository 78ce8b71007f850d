// @ts-check
/** A run: what it is, what it has written, how it ended, and what can be done with it. */

import { confirmDialog, h } from "../dom.js";
import { requestMarks } from "../output/marks.js";
import { OutputView } from "../output/output_view.js";
import { t } from "../text/text.js";
import { Attachment } from "../wire/attachment.js";
import { runInfo, signalRun, stopRun } from "../wire/requests.js";
import { OFFERED_SIGNALS, outcomeClass, outcomeDetail, outcomeText, signalName } from "../wire/runs.js";
import { printable } from "../wire/values.js";
import { download } from "./download.js";
import { facts } from "./facts.js";
import { startRun } from "./starting.js";
import { formOf, startedForm } from "./stored_forms.js";

/** Bytes in flight to the page: enough for a quick network, and little enough to stop at once. */
const WINDOW = 1024 * 1024;

export class RunPage {
  /** @param {import("../app.js").Context} context */
  constructor({ host, go, rest }) {
    this._host = host;
    this._go = go;
    this._id = rest[0];
    /** @type {import("../wire/runs.js").RunInfo | null} */
    this._info = null;
    /** @type {any} */
    this._ended = null;
    /** @type {Attachment | null} */
    this._attachment = null;
    /** @type {Attachment | null} */
    this._starting = null;
    this._closed = false;
    this._notify = false;

    this._command = h("h2", {}, this._id);
    this._badge = h("span", { class: "badge", role: "status" });
    this._detail = h("span", { class: "quiet" });
    this._actions = h("span", { class: "tools", role: "toolbar", "aria-label": t("command") });
    this._facts = h("dl", { class: "facts" });
    this._output = new OutputView({
      consumed: (stream, bytes) => this._attachment?.consumed(stream, bytes),
      marks: () => requestMarks(host, this._id),
      download: (stream) => this._tried(download(host, this._id, stream, `${this._id.slice(0, 13)}.${stream}`)),
    });
    this._input = h("input", {
      "aria-label": t("type-input"),
      placeholder: t("type-input"),
      autocomplete: "off",
      spellcheck: "false",
    });
    this._inputLine = h(
      "form",
      { class: "input-line", hidden: true, on: { submit: (/** @type {Event} */ event) => this._typed(event) } },
      this._input,
      h("button", { type: "button", on: { click: () => this._endInput() } }, t("end-input")),
    );
    this.element = h(
      "section",
      { class: "run-page", "aria-label": t("output") },
      h(
        "div",
        { class: "title" },
        h("a", { href: go.url(host.name) }, `← ${t("back")}`),
        this._command,
        this._badge,
        this._detail,
      ),
      this._actions,
      h("details", {}, h("summary", {}, t("details")), this._facts),
      this._output.elements,
      this._inputLine,
    );
    this._load();
  }

  pending = () => this._attachment?.pending ?? 0;

  close() {
    this._closed = true;
    this._attachment?.leave();
    this._starting?.leave();
    this._output.close();
  }

  async _load() {
    try {
      this._info = await runInfo(this._host, this._id);
    } catch (error) {
      this._badge.textContent = t("run-missing", { why: printable(/** @type {Error} */ (error).message) });
      return;
    }
    if (this._closed) return;
    this._showInfo();
    if (this._info.transfer || this._info.forward) return; // its output is frames, for the client that has begun it
    const feeds = this._info.stdin !== undefined && !this._info.terminal;
    /** @type {import("../wire/attachment.js").AttachmentOptions} */
    const options = { stdout: 0, window: WINDOW, types: feeds, stdin: this._info.stdin ?? 0 };
    if (!this._info.terminal) options.stderr = 0;
    this._attachment = new Attachment(this._host, this._id, options, {
      data: (stream, bytes) => this._output.add(stream, bytes),
      gap: (stream, _, bytes) => this._output.addGap(stream, bytes),
      message: (message) => this._message(message),
    });
    this._attachment.begin();
  }

  /** @param {import("../wire/connection.js").Message} message */
  _message(message) {
    if (message.type === "started") {
      this._inputLine.hidden = !message.stdin;
    } else if (message.type === "exit" || message.type === "ended") {
      if (this._info !== null) this._info.outcome = message.outcome;
      if (message.type === "ended") {
        this._ended = message;
        this._inputLine.hidden = true;
        if (this._notify) this._notice();
      }
      this._showInfo();
    } else if (message.type === "error") {
      this._detail.textContent = printable(message.message);
    }
  }

  /** @param {Event} event */
  _typed(event) {
    event.preventDefault();
    if (this._attachment?.write(new TextEncoder().encode(`${this._input.value}\n`))) this._input.value = "";
  }

  _endInput() {
    this._attachment?.endInput();
    this._inputLine.hidden = true;
  }

  /** @param {HTMLButtonElement} button */
  async _askToNotify(button) {
    this._notify = !this._notify && (await Notification.requestPermission()) === "granted";
    button.setAttribute("aria-pressed", String(this._notify));
  }

  _notice() {
    const command = printable(this._info?.command ?? "");
    const outcome = outcomeText(this._ended?.outcome);
    new Notification(t("ended-notice", { command, outcome, host: this._host.name }), { tag: this._id });
  }

  _showInfo() {
    const info = /** @type {import("../wire/runs.js").RunInfo} */ (this._info);
    const outcome = outcomeText(info.outcome);
    this._command.textContent = printable(info.command) || this._id;
    this._badge.textContent = outcome;
    this._badge.className = `badge ${outcomeClass(info.outcome)}`;
    this._detail.textContent = outcomeDetail(info.outcome);
    this._go.title(`${outcome}: ${printable(info.command).slice(0, 40)} · ${this._host.name}`);
    this._actions.replaceChildren(...this._buttons(info));
    this._facts.replaceChildren(
      ...facts(info, this._ended).flatMap(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)]),
    );
  }

  /**
   * @param {import("../wire/runs.js").RunInfo} info
   * @returns {HTMLElement[]}
   */
  _buttons(info) {
    const place = [this._host.name, "runs", this._id];
    const buttons = [];
    const running = info.outcome === undefined;
    if (info.terminal) {
      if (running) {
        buttons.push(
          h("a", { class: "button primary", href: this._go.url(...place, "terminal") }, t("attach")),
          h("a", { class: "button", href: `${this._go.url(...place, "terminal")}?watch` }, t("watch")),
        );
      }
      buttons.push(h("a", { class: "button", href: this._go.url(...place, "replay") }, t("replay")));
    }
    if (running) {
      const notify = h(
        "button",
        { "aria-pressed": String(this._notify), on: { click: () => this._askToNotify(notify) } },
        t("notify-end"),
      );
      buttons.push(h("button", { class: "danger", on: { click: () => this._stop() } }, t("stop")), this._signals(), notify);
    }
    if (!info.login && !info.transfer && !info.forward) {
      // Of a run that another client has started only the text for people is known, which a shell may read otherwise.
      const form = startedForm(this._id);
      if (form !== null) buttons.push(h("button", { on: { click: () => this._again(form) } }, t("restart")));
      const edit = `${this._go.url(this._host.name, "new")}?${form ?? `shell=${encodeURIComponent(info.command)}`}`;
      buttons.push(h("a", { class: "button", href: edit }, t("edit-restart")));
    }
    return buttons;
  }

  /** Start the same again. @param {string} form as in a URL */
  _again(form) {
    if (this._starting !== null) return;
    this._starting = startRun(this._host, formOf(new URLSearchParams(form)), {
      started: (place) => this._go.to(...place),
      failed: (why) => {
        this._starting = null;
        this._detail.textContent = printable(why);
      },
    });
  }

  _signals() {
    const select = h(
      "select",
      {
        "aria-label": t("send-signal"),
        on: {
          change: () => {
            const number = Number(select.value);
            select.value = "";
            this._tried(signalRun(this._host, this._id, number));
          },
        },
      },
      h("option", { value: "" }, t("signal")),
      OFFERED_SIGNALS.map((number) => h("option", { value: number }, signalName(number))),
    );
    return select;
  }

  async _stop() {
    if (!(await confirmDialog(t("stop-question"), { yes: t("stop"), no: t("no") }))) return;
    await this._tried(stopRun(this._host, this._id));
  }

  /** Say why something has failed. @param {Promise<any>} asked */
  async _tried(asked) {
    try {
      await asked;
    } catch (error) {
      this._detail.textContent = printable(/** @type {Error} */ (error).message);
    }
  }
}
