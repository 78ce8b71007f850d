// @ts-check
/** The files of a host: a directory at a time, downloads, and uploads by button or by dropping files on the page. */

import { confirmDialog, h } from "../dom.js";
import { droppedUploads, pickedUploads } from "../files/dropped.js";
import { EntryKind, joinPath } from "../files/frames.js";
import { ended, jobsOf } from "../files/jobs.js";
import { ENOTDIR, listDirectory } from "../files/listing.js";
import { parentOf, pathOf, placeOf, shownName, shownPath } from "../files/paths.js";
import { receivePath } from "../files/receiving.js";
import { sendFiles } from "../files/sending.js";
import { openSink } from "../files/sinks.js";
import { moment, size, t } from "../text/text.js";
import { printable } from "../wire/values.js";

/** Rows of the table: more elements make a browser slow, and nobody reads so many. */
const MAX_SHOWN = 1000;

/** Milliseconds between two drawings of the progress. */
const DRAW_AGAIN = 200;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @typedef {import("../files/listing.js").Listed} Listed */

export class FilesView {
  /** @param {import("../app.js").Context} context */
  constructor({ host, go, rest }) {
    this._host = host;
    this._go = go;
    this._path = pathOf(rest);
    this._jobs = jobsOf(host);
    this._closing = new AbortController();
    /** @type {Listed[]} */
    this._entries = [];
    this._drawTimer = 0;

    this._typed = h("input", { "aria-label": t("path"), placeholder: t("directory-hint"), spellcheck: "false", autocapitalize: "off" });
    this._typed.value = decoder.decode(this._path);
    this._filter = h("input", { type: "search", placeholder: t("filter-files"), "aria-label": t("filter-files"), on: { input: () => this._draw() } });
    this._picker = h("input", { type: "file", multiple: true, hidden: true, on: { change: () => this._picked(this._picker) } });
    this._directoryPicker = h("input", { type: "file", webkitdirectory: true, hidden: true, on: { change: () => this._picked(this._directoryPicker) } });
    this._body = h("tbody");
    this._note = h("p", { class: "note", role: "status" }, t("loading"));
    this._transfers = h("section", { class: "transfers", "aria-label": t("transfers"), hidden: true });
    const name = shownPath(this._path);
    this.element = h(
      "section",
      {
        class: "files",
        "aria-label": t("files"),
        on: {
          dragover: (/** @type {DragEvent} */ event) => this._dragged(event),
          dragleave: () => this.element.classList.remove("drop"),
          drop: (/** @type {DragEvent} */ event) => this._dropped(event),
        },
      },
      h(
        "form",
        { class: "tools", on: { submit: (/** @type {Event} */ event) => this._goTo(event) } },
        h("a", { href: go.url(host.name) }, `← ${t("back")}`),
        h("a", { class: "button", href: this._url(new Uint8Array(0)), title: t("home"), "aria-label": t("home") }, "~"),
        h("a", { class: "button", href: this._url(Uint8Array.of(47)), title: "/" }, "/"),
        this._typed,
        h("button", { type: "submit" }, t("go")),
      ),
      h(
        "div",
        { class: "tools" },
        this._filter,
        h("span", { class: "space" }),
        h("button", { on: { click: () => this._download(this._path, true) } }, t("download-directory")),
        h("button", { on: { click: () => this._directoryPicker.click() } }, t("upload-directory")),
        h("button", { class: "primary", on: { click: () => this._picker.click() } }, t("upload")),
        this._picker,
        this._directoryPicker,
      ),
      h(
        "div",
        { class: "table-scroll", tabindex: 0, role: "region", "aria-label": t("files-of", { directory: name }) },
        h("table", {}, h("thead", {}, h("tr", {}, ["name", "size", "modified"].map((key) => h("th", { scope: "col", class: key }, t(key))))), this._body),
      ),
      this._note,
      h("p", { class: "note drop-note" }, t("drop-here")),
      this._transfers,
    );
    this._changed = () => {
      this._drawTimer ||= setTimeout(() => this._drawTransfers(), DRAW_AGAIN);
    };
    this._jobs.addEventListener("change", this._changed);
    this._drawTransfers();
    go.title(`${name} · ${host.name}`);
    this._load();
  }

  close() {
    this._closing.abort();
    clearTimeout(this._drawTimer);
    this._jobs.removeEventListener("change", this._changed);
  }

  /** @param {Uint8Array} path */
  _url(path) {
    return this._go.url(this._host.name, "files", ...placeOf(path));
  }

  async _load() {
    const { signal } = this._closing;
    try {
      const { entries, whole } = await listDirectory(this._host, this._path, { signal });
      if (signal.aborted) return;
      this._entries = entries.sort(byKindAndName);
      this._draw();
      if (!whole) this._note.textContent = t("directory-cut");
    } catch (error) {
      if (!signal.aborted) this._failed(error);
    }
  }

  /** @param {any} error */
  _failed(error) {
    if (error.errno !== ENOTDIR) {
      this._note.textContent = printable(error.message);
      return;
    }
    const path = shownPath(this._path);
    const get = h("button", { on: { click: () => this._download(this._path, false) } }, t("download-file", { name: shownName(this._path) }));
    this._note.replaceChildren(t("no-directory", { path }), " ", get);
  }

  /** @param {Event} event */
  _goTo(event) {
    event.preventDefault();
    this._go.to(this._host.name, "files", ...placeOf(encoder.encode(this._typed.value)));
  }

  _draw() {
    const wanted = this._filter.value.toLowerCase();
    const found = this._entries.filter(({ name }) => wanted === "" || decoder.decode(name).toLowerCase().includes(wanted));
    const rows = found.slice(0, MAX_SHOWN).map((entry) => this._row(entry));
    const parent = parentOf(this._path);
    if (parent !== null && wanted === "") {
      const link = h("a", { href: this._url(parent), "aria-label": t("parent-directory") }, "..");
      rows.unshift(h("tr", {}, h("td", { class: "name" }, link), h("td", { class: "size" }), h("td", { class: "modified" })));
    }
    this._body.replaceChildren(...rows);
    const more = found.length - MAX_SHOWN;
    if (more > 0) this._note.textContent = t("more-entries", { count: more });
    else this._note.textContent = found.length > 0 ? "" : wanted === "" ? t("empty-directory") : t("no-file-match");
  }

  /** @param {Listed} entry */
  _row(entry) {
    const path = joinPath(this._path, entry.name);
    const name = printable(decoder.decode(entry.name));
    const cells = [];
    if (entry.kind === EntryKind.DIRECTORY) {
      cells.push(h("a", { href: this._url(path) }, `${name}/`), this._button(path, true, t("download-named-directory", { name })));
    } else if (entry.kind === EntryKind.SYMLINK) {
      cells.push(h("a", { href: this._url(path) }, name), h("span", { class: "quiet" }, ` → ${printable(decoder.decode(entry.target))}`));
    } else {
      cells.push(h("span", {}, name), this._button(path, false, t("download-file", { name })));
    }
    const bytes = entry.kind === EntryKind.REGULAR && entry.size >= 0 ? size(entry.size) : "";
    const time = h("time", { datetime: new Date(entry.modified).toISOString() }, moment(entry.modified / 1000));
    return h("tr", {}, h("td", { class: "name" }, ...cells), h("td", { class: "size" }, bytes), h("td", { class: "modified" }, time));
  }

  /**
   * @param {Uint8Array} path
   * @param {boolean} archive
   * @param {string} label
   */
  _button(path, archive, label) {
    return h("button", { class: "plain", "aria-label": label, title: label, on: { click: () => this._download(path, archive) } }, "↓");
  }

  /**
   * @param {Uint8Array} path
   * @param {boolean} archive
   */
  async _download(path, archive) {
    const shown = path.length === 0 ? this._host.name : shownName(path);
    const name = archive ? `${shown}.tar` : shown;
    /** @type {import("../files/sinks.js").Sink} */
    let sink;
    try {
      sink = await openSink(name.replaceAll("/", "_"));
    } catch (error) {
      if (/** @type {Error} */ (error).name !== "AbortError") this._failed(error);
      return;
    }
    const source = path.length === 0 ? Uint8Array.of(46) : path;
    await this._jobs.add(
      name,
      null,
      async ({ controller }, progress) => {
        try {
          const received = await receivePath(this._host, source, archive, sink, { signal: controller.signal, progress });
          await sink.finish(name);
          const bytes = size(received.bytes);
          if (received.failures.length > 0) return someFailed(received.failures.map(({ path: failed, sentence }) => ({ path: shownPath(failed), sentence })));
          return received.digest === null ? t("transfer-done", { bytes }) : t("transfer-checked", { bytes, digest: hex(received.digest).slice(0, 16) });
        } catch (error) {
          await sink.discard().catch(() => {});
          throw error;
        }
      },
      explain,
    );
  }

  /** @param {HTMLInputElement} picker */
  _picked(picker) {
    const uploads = pickedUploads(picker.files ?? []);
    this._upload(uploads);
    picker.value = "";
  }

  /** @param {DragEvent} event */
  _dragged(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    this.element.classList.add("drop");
  }

  /** @param {DragEvent} event */
  async _dropped(event) {
    this.element.classList.remove("drop");
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    try {
      await this._upload(await droppedUploads(event.dataTransfer));
    } catch (error) {
      this._failed(error);
    }
  }

  /** @param {import("../files/sending.js").Upload[]} uploads */
  async _upload(uploads) {
    if (uploads.length === 0) return;
    const here = new Set(this._entries.filter(({ kind }) => kind !== EntryKind.DIRECTORY).map(({ name }) => decoder.decode(name)));
    const existing = uploads.filter(({ path, file }) => file !== null && here.has(path));
    if (existing.length > 0) {
      const question = t("replace-question", { count: existing.length, name: printable(existing[0].path) });
      if (!(await confirmDialog(question, { yes: t("replace"), no: t("no") }))) return;
    }
    const total = uploads.reduce((sum, { file }) => sum + (file?.size ?? 0), 0);
    const files = uploads.filter(({ file }) => file !== null).length;
    const what = uploads.length === 1 ? printable(uploads[0].path) : t("several-files", { count: files });
    const directory = this._path.length === 0 ? Uint8Array.of(46) : this._path;
    await this._jobs.add(
      t("upload-to", { name: what, directory: shownPath(this._path) }),
      total,
      async ({ controller }, progress) => {
        const uploaded = await sendFiles(this._host, directory, uploads, { signal: controller.signal, progress });
        if (uploaded.failures.length > 0) throw new SomeFailed(someFailed(uploaded.failures));
        return t("transfer-uploaded", { files: uploaded.files, bytes: size(uploaded.bytes), skipped: uploaded.skipped });
      },
      explain,
    );
    if (!this._closing.signal.aborted) await this._load();
  }

  _drawTransfers() {
    this._drawTimer = 0;
    const { jobs } = this._jobs;
    this._transfers.hidden = jobs.length === 0;
    const clear = h("button", { class: "plain", on: { click: () => this._jobs.clear() } }, t("clear-transfers"));
    this._transfers.replaceChildren(
      h("h2", {}, t("transfers")),
      h("ul", {}, jobs.map((job) => h("li", { class: job.state }, h("span", { class: "name" }, printable(job.name)), ...this._progress(job)))),
      jobs.some(ended) ? clear : "",
    );
  }

  /** @param {import("../files/jobs.js").TransferJob} job */
  _progress(job) {
    if (job.state === "cancelled") return [h("span", {}, t("transfer-cancelled"))];
    if (ended(job)) return [h("span", { role: "status" }, job.text)];
    const bar = h("progress", { "aria-label": printable(job.name), value: job.total === null ? null : job.done, max: job.total || null });
    const text = job.state === "waiting" ? t("transfer-waiting") : job.total === null ? size(job.done) : t("transfer-progress", { done: size(job.done), total: size(job.total) });
    return [bar, h("span", {}, text), h("button", { on: { click: () => job.controller.abort() } }, t("cancel"))];
  }
}

class SomeFailed extends Error {}

/** @param {{ path: string, sentence: string }[]} failures */
function someFailed(failures) {
  const [{ path, sentence }] = failures;
  return t("transfer-some-failed", { count: failures.length, path: printable(path), why: printable(sentence) });
}

/** @param {any} error */
function explain(error) {
  return error instanceof SomeFailed ? error.message : t("transfer-failed", { why: printable(error.message) });
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const collator = new Intl.Collator(undefined, { numeric: true });

/**
 * @param {Listed} one
 * @param {Listed} other
 */
function byKindAndName(one, other) {
  const directories = Number(other.kind === EntryKind.DIRECTORY) - Number(one.kind === EntryKind.DIRECTORY);
  return directories || collator.compare(decoder.decode(one.name), decoder.decode(other.name));
}
