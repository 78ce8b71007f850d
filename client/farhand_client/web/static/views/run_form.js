// @ts-check
/** The form that starts a run: a program with its arguments as they are, or a line for the shell. */

import { h } from "../dom.js";
import { t } from "../text/text.js";
import { DirectoryCompletion } from "../files/completion.js";
import { commandLine, parseTime } from "../wire/runs.js";
import { printable } from "../wire/values.js";
import { startRun } from "./starting.js";
import { forgetForm, queryOf, saveForm, savedForms } from "./stored_forms.js";

/** @typedef {import("../wire/runs.js").RunForm} RunForm */

export class RunFormView {
  /** @param {import("../app.js").Context} context */
  constructor({ host, go, query }) {
    this._host = host;
    this._go = go;
    /** @type {import("../wire/attachment.js").Attachment | null} */
    this._starting = null;
    this._arguments = h("div", { class: "arguments" });
    this._shell = h("textarea", { rows: 3, spellcheck: "false", "aria-label": t("shell-line"), on: { input: () => this._changed() } });
    this._asShell = h("input", { type: "checkbox", on: { change: () => this._switch() } });
    this._directory = h("input", { placeholder: t("directory-hint"), spellcheck: "false", list: "directories", on: { input: () => this._changed() } });
    const directories = h("datalist", { id: "directories" });
    this._completion = new DirectoryCompletion(host, this._directory, directories);
    this._environment = h("textarea", { placeholder: t("environment-hint"), spellcheck: "false", on: { input: () => this._changed() } });
    this._timeout = h("input", { placeholder: t("timeout-hint"), on: { input: () => this._changed() } });
    this._terminal = h("input", { type: "checkbox", on: { change: () => this._changed() } });
    this._wrong = h("p", { class: "wrong", role: "alert" });
    this._line = h("pre", { tabindex: 0 });
    this._list = h(
      "fieldset",
      {},
      h("legend", {}, t("as-list")),
      this._arguments,
      h("button", { type: "button", on: { click: () => this._add("", true) } }, t("add-argument")),
    );
    this._text = h("fieldset", { hidden: true }, h("legend", {}, t("shell-line")), this._shell);
    this._saved = h("div", { class: "saved" });
    this._drawSaved();
    const copy = h("button", { type: "button", on: { click: () => this._copy(copy) } }, t("copy"));
    this.element = h(
      "section",
      { "aria-label": t("new-run") },
      h(
        "form",
        { class: "run-form", on: { submit: (/** @type {Event} */ event) => this._submit(event) } },
        h("a", { href: go.url(host.name) }, `← ${t("back")}`),
        h("h2", {}, t("new-run")),
        this._saved,
        h("label", { class: "check" }, this._asShell, t("as-shell")),
        this._list,
        this._text,
        directories,
        h("div", { class: "pair" }, h("label", {}, t("directory"), this._directory), h("label", {}, t("timeout"), this._timeout)),
        h("label", {}, t("environment"), this._environment),
        h("label", { class: "check" }, this._terminal, t("use-terminal")),
        this._wrong,
        h("div", { class: "buttons" }, h("button", { class: "primary", type: "submit" }, t("start"))),
        h("fieldset", {}, h("legend", {}, t("as-command")), this._line, h("div", { class: "buttons" }, copy)),
      ),
    );
    this._fill(query);
  }

  close() {
    this._completion.close();
    this._starting?.leave();
  }

  _drawSaved() {
    const names = [...savedForms().keys()];
    const select = h(
      "select",
      { "aria-label": t("saved-forms"), on: { change: () => this._open(select.value) } },
      h("option", { value: "" }, t("saved-forms")),
      names.map((name) => h("option", { value: name }, printable(name))),
    );
    const forget = h("button", { type: "button", on: { click: () => this._forget() } }, t("forget-form"));
    forget.disabled = this._opened === "";
    const name = h("input", { "aria-label": t("form-name"), placeholder: t("form-name"), value: this._opened, maxlength: 100 });
    const save = h("button", { type: "button", on: { click: () => this._save(name.value.trim()) } }, t("save-form"));
    this._saved.replaceChildren(select, forget, name, save);
    select.value = this._opened;
  }

  /** The saved form that is shown. */
  _opened = "";

  /** @param {string} name */
  _open(name) {
    const form = savedForms().get(name);
    if (form === undefined) return;
    this._opened = name;
    this._arguments.replaceChildren();
    this._shell.value = "";
    this._asShell.checked = false;
    this._fill(new URLSearchParams(form));
    this._drawSaved();
  }

  _forget() {
    forgetForm(this._opened);
    this._opened = "";
    this._drawSaved();
  }

  /** @param {string} name */
  _save(name) {
    const form = this._form();
    if (typeof form === "string" || name === "") {
      this._wrong.textContent = typeof form === "string" ? form : t("no-form-name");
      return;
    }
    if (!saveForm(name, queryOf(form))) {
      this._wrong.textContent = t("form-too-large");
      return;
    }
    this._opened = name;
    this._wrong.textContent = "";
    this._drawSaved();
  }

  /** Take what the URL says, so that a form can be shared. @param {URLSearchParams} query */
  _fill(query) {
    for (const word of query.getAll("arg")) this._add(word);
    const shell = query.get("shell");
    if (shell !== null) {
      this._shell.value = shell;
      this._asShell.checked = true;
    } else if (!query.has("arg")) {
      this._add("");
    }
    this._directory.value = query.get("cwd") ?? "";
    this._environment.value = query.getAll("env").join("\n");
    this._timeout.value = query.get("timeout") ?? "";
    this._terminal.checked = query.has("terminal");
    this._switch();
  }

  /**
   * @param {string} value
   * @param {boolean} [focus]
   */
  _add(value, focus = false) {
    const input = h("input", { spellcheck: "false", autocapitalize: "off", autocomplete: "off", on: { input: () => this._changed() } });
    input.value = value;
    const remove = h(
      "button",
      {
        type: "button",
        on: {
          click: () => {
            row.remove();
            this._number();
            this._changed();
          },
        },
      },
      "✕",
    );
    const row = h("div", { class: "argument" }, input, remove);
    this._arguments.append(row);
    this._number();
    this._changed();
    if (focus) input.focus();
  }

  _number() {
    [...this._arguments.children].forEach((row, number) => {
      const label = number === 0 ? t("program") : t("argument", { number });
      row.querySelector("input")?.setAttribute("aria-label", label);
      row.querySelector("input")?.setAttribute("placeholder", label);
      row.querySelector("button")?.setAttribute("aria-label", t("remove-argument", { number }));
    });
  }

  _switch() {
    this._list.hidden = this._asShell.checked;
    this._text.hidden = !this._asShell.checked;
    if (this._arguments.childElementCount === 0) this._add("");
    this._changed();
  }

  /** @returns {RunForm | string} what is wrong, as a sentence */
  _form() {
    const argv = [...this._arguments.querySelectorAll("input")].map((input) => input.value);
    const shell = this._asShell.checked ? this._shell.value : null;
    if (shell === null ? (argv[0] ?? "") === "" : shell.trim() === "") return t("no-program");
    /** @type {[string, string][]} */
    const environment = [];
    for (const line of this._environment.value.split("\n").filter((text) => text.trim() !== "")) {
      const at = line.indexOf("=");
      if (at < 1) return t("wrong-environment", { text: printable(line) });
      environment.push([line.slice(0, at), line.slice(at + 1)]);
    }
    const timeout = this._timeout.value.trim() === "" ? null : parseTime(this._timeout.value);
    if (timeout === null && this._timeout.value.trim() !== "") return t("wrong-time", { text: printable(this._timeout.value) });
    return {
      argv,
      shell,
      directory: this._directory.value,
      environment,
      timeout,
      terminal: this._terminal.checked,
    };
  }

  _changed() {
    const form = this._form();
    this._line.textContent = typeof form === "string" ? "" : commandLine(this._host.name, form);
    this._wrong.textContent = "";
  }

  /** @param {HTMLButtonElement} button */
  async _copy(button) {
    await navigator.clipboard.writeText(this._line.textContent ?? "");
    button.textContent = t("copied");
  }

  /** @param {Event} event */
  _submit(event) {
    event.preventDefault();
    const form = this._form();
    if (typeof form === "string") {
      this._wrong.textContent = form;
      return;
    }
    if (this._starting !== null) return;
    this._starting = startRun(this._host, form, {
      started: (words) => this._go.to(...words),
      failed: (why) => {
        this._starting = null;
        this._wrong.textContent = printable(why);
      },
    });
  }
}
