// @ts-check
/** Completes the path of a directory on a host while it is typed. */

import { EntryKind } from "./frames.js";
import { listDirectory } from "./listing.js";

/** Milliseconds without another key until the service is asked. */
const PAUSE = 200;

/** Directories that are offered. A list of a screen is read; a longer one is typed at. */
const MAX_OFFERED = 50;

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true });

export class DirectoryCompletion {
  /**
   * @param {import("../wire/host.js").Host} host
   * @param {HTMLInputElement} input
   * @param {HTMLDataListElement} list of the input
   */
  constructor(host, input, list) {
    this._host = host;
    this._input = input;
    this._list = list;
    this._timer = 0;
    /** What is in the directory that was asked for last. @type {{ directory: string, names: string[] } | null} */
    this._known = null;
    this._asking = new AbortController();
    input.addEventListener("input", () => this._typed());
    input.addEventListener("focus", () => this._typed());
  }

  close() {
    clearTimeout(this._timer);
    this._asking.abort();
  }

  _typed() {
    clearTimeout(this._timer);
    const directory = this._input.value.slice(0, this._input.value.lastIndexOf("/") + 1);
    if (this._known?.directory === directory) this._offer();
    else this._timer = setTimeout(() => this._ask(directory), PAUSE);
  }

  /** @param {string} directory */
  async _ask(directory) {
    this._asking.abort();
    this._asking = new AbortController();
    const { signal } = this._asking;
    try {
      const { entries } = await listDirectory(this._host, encoder.encode(directory), { internal: true, signal });
      if (signal.aborted) return;
      // A link may lead to a directory; what is no text cannot be typed.
      const wanted = entries.filter(({ kind }) => kind === EntryKind.DIRECTORY || kind === EntryKind.SYMLINK);
      this._known = { directory, names: wanted.flatMap(({ name }) => text(name)).sort() };
    } catch {
      if (signal.aborted) return;
      this._known = { directory, names: [] }; // nothing can be offered; the run says what is wrong with its directory
    }
    this._offer();
  }

  _offer() {
    if (this._known === null) return;
    const { directory, names } = this._known;
    const begun = this._input.value.slice(directory.length);
    // Hidden ones after a dot, as in a shell.
    const offered = names.filter((name) => name.startsWith(begun) && (begun.startsWith(".") || !name.startsWith(".")));
    this._list.replaceChildren(
      ...offered.slice(0, MAX_OFFERED).map((name) => {
        const option = document.createElement("option");
        option.value = `${directory}${name}/`;
        return option;
      }),
    );
  }
}

/** @param {Uint8Array} name */
function text(name) {
  try {
    return [strict.decode(name)];
  } catch {
    return [];
  }
}
