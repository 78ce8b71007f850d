// @ts-check
/**
 * The output of a run as rows, in the order in which it came. Bytes are kept as bytes, and become text when they are shown:
 * a million rows take their bytes and 21 more each.
 */

import { StyleTable } from "./styles.js";

/** Bytes and rows that a page keeps; of more, the oldest go, and the page says so. A browser has to stay below 200 MiB with
 * 100 MB of output; all of it can be downloaded. */
export const MAX_BYTES = 64 * 1024 * 1024;
export const MAX_ROWS = 1_200_000;

/** Bytes of one row; a longer line is cut into several. What fits on no screen need not be one element. */
export const MAX_ROW = 16384;

const BLOCK = 1024 * 1024;

const NEWLINE = 10;
const RETURN = 13;
const ESCAPE = 27;
const BRACKET = 91;
const DIGIT_0 = 48;
const LETTER_M = 109;

/** What a row is. */
export const Row = Object.freeze({ STDOUT: 0, STDERR: 1, GAP: 2 });

/**
 * @typedef {object} OutputRow
 * @property {number} kind
 * @property {string} text without escape sequences; empty for a gap
 * @property {{ text: string, style: number }[]} parts the text in chunks of one style
 * @property {number} gap bytes that are missing
 */

const decoder = new TextDecoder();

export class OutputLog {
  constructor() {
    this.styles = new StyleTable();
    /** Rows that were dropped, and the bytes in them. */
    this.dropped = 0;
    this.droppedBytes = 0;
    /** @type {Uint8Array[]} */
    this._blocks = [new Uint8Array(BLOCK)];
    this._firstBlock = 0;
    this._filled = 0;
    // Rows in rings of chunks: block, start, length, kind and style before.
    this._size = 0;
    this._place = new Float64Array(1024);
    this._length = new Uint16Array(1024);
    this._kind = new Uint8Array(1024);
    this._style = new Uint16Array(1024);
    /** The offset of each row's first byte in its stream. */
    this._offset = new Float64Array(1024);
    this._written = [0, 0];
    this._first = 0;
    /** The row that each stream may still continue; -1 if its last one is complete. */
    this._openRow = [-1, -1];
    this._openStyle = [0, 0];
  }

  /** Number of rows that are kept. */
  get rows() {
    return this._size;
  }

  /**
   * Add bytes of a stream. Cost: linear in their number.
   * @param {number} kind `Row.STDOUT` or `Row.STDERR`
   * @param {Uint8Array} bytes
   */
  add(kind, bytes) {
    let at = 0;
    while (at < bytes.length) {
      if (this._openRow[kind] === -1) at = this._addWhole(kind, bytes, at);
      if (at === bytes.length) break;
      let end = bytes.indexOf(NEWLINE, at);
      const whole = end !== -1;
      if (!whole) end = bytes.length;
      this._append(kind, bytes.subarray(at, end), whole);
      if (whole) this._written[kind]++;
      at = end + 1;
    }
    this._drop();
  }

  /**
   * Note that bytes of a stream are missing here.
   * @param {number} kind
   * @param {number} bytes
   */
  addGap(kind, bytes) {
    this._openRow[kind] = -1;
    this._push(this._write(new TextEncoder().encode(String(bytes))), String(bytes).length, Row.GAP, 0);
    this._written[kind] += bytes;
  }

  /**
   * Return what a row is.
   * @param {number} number
   */
  kind(number) {
    return this._kind[this._slot(number)];
  }

  /**
   * Return the stream of a row and the offset of its first byte there; null for a gap.
   * @param {number} number
   */
  offset(number) {
    const at = this._slot(number);
    return this._kind[at] === Row.GAP ? null : { kind: this._kind[at], offset: this._offset[at] };
  }

  /**
   * Return a row by its number, from 0.
   * @param {number} number
   * @returns {OutputRow}
   */
  row(number) {
    const at = this._slot(number);
    const bytes = this._bytes(at);
    if (this._kind[at] === Row.GAP) {
      return { kind: Row.GAP, text: "", parts: [], gap: Number(decoder.decode(bytes)) };
    }
    const parts = this._parts(decoder.decode(bytes), this._style[at]);
    return { kind: this._kind[at], text: parts.map((part) => part.text).join(""), parts, gap: 0 };
  }

  /**
   * Return the numbers of rows with a text, ignoring case, the first `most` from row `from` on.
   * @param {string} text
   * @param {number} from
   * @param {number} to
   */
  search(text, from = 0, to = this._size) {
    const wanted = text.toLowerCase();
    const found = [];
    for (let number = from; number < to; number++) {
      if (this.row(number).text.toLowerCase().includes(wanted)) found.push(number);
    }
    return found;
  }

  /**
   * Add the lines that begin at `at` and are whole and short, all but the last one of a chunk as a rule: their bytes are copied at
   * once. Return where the first one begins that is not.
   * @param {number} kind
   * @param {Uint8Array} bytes
   * @param {number} at
   */
  _addWhole(kind, bytes, at) {
    const part = bytes.subarray(at, Math.min(bytes.lastIndexOf(NEWLINE) + 1, at + BLOCK));
    if (part.length === 0) return at;
    const place = this._write(part);
    const styled = part.indexOf(ESCAPE) !== -1;
    let start = 0;
    while (start < part.length) {
      const end = part.indexOf(NEWLINE, start);
      if (end === -1 || end - start > MAX_ROW) break;
      const style = this._openStyle[kind];
      this._push(place + start, end - start, kind, style);
      this._written[kind] += end - start + 1;
      if (styled) this._openStyle[kind] = this._styleAfter(part.subarray(start, end), style);
      start = end + 1;
    }
    this._filled -= part.length - start;
    return at + start;
  }

  /**
   * @param {number} kind
   * @param {Uint8Array} bytes
   * @param {boolean} whole
   */
  _append(kind, bytes, whole) {
    let open = this._openRow[kind];
    do {
      if (open === -1) {
        const part = bytes.subarray(0, MAX_ROW);
        open = this._push(this._write(part), part.length, kind, this._openStyle[kind]);
        this._written[kind] += part.length;
        bytes = bytes.subarray(part.length);
      } else {
        open = this._continue(open, bytes.subarray(0, MAX_ROW - this._length[this._at(open)]));
        this._written[kind] += this._continued;
        bytes = bytes.subarray(this._continued);
      }
      if (bytes.length > 0 || whole) {
        const at = this._at(open);
        this._openStyle[kind] = this._styleAfter(this._bytes(at), this._style[at]);
        if (bytes.length > 0) open = -1;
      }
    } while (bytes.length > 0);
    this._openRow[kind] = whole ? -1 : open;
  }

  /**
   * Lengthen a row. Its bytes move to the end if others have been written since; a row is short, so this is cheap.
   * @param {number} open
   * @param {Uint8Array} bytes
   */
  _continue(open, bytes) {
    const at = this._at(open);
    const before = this._bytes(at);
    this._continued = bytes.length;
    if (this._place[at] + this._length[at] === this._end && this._filled + bytes.length <= BLOCK) {
      this._blocks[this._blocks.length - 1].set(bytes, this._filled);
      this._filled += bytes.length;
    } else {
      const joined = new Uint8Array(before.length + bytes.length);
      joined.set(before);
      joined.set(bytes, before.length);
      this._place[at] = this._write(joined);
    }
    this._length[at] += bytes.length;
    return open;
  }

  _continued = 0;

  /** The place of the next byte: blocks have a place each, a megabyte apart. */
  get _end() {
    return (this._firstBlock + this._blocks.length - 1) * BLOCK + this._filled;
  }

  /**
   * Store bytes and return their place.
   * @param {Uint8Array} bytes
   */
  _write(bytes) {
    if (this._filled + bytes.length > BLOCK) {
      this._blocks.push(new Uint8Array(BLOCK));
      this._filled = 0;
    }
    const place = this._end;
    this._blocks[this._blocks.length - 1].set(bytes, this._filled);
    this._filled += bytes.length;
    return place;
  }

  /**
   * @param {number} place
   * @param {number} length
   * @param {number} kind
   * @param {number} style
   * @returns {number} the row's number since the beginning, dropped ones counted
   */
  _push(place, length, kind, style) {
    if (this._size === this._place.length) this._grow();
    const at = (this._first + this._size) % this._place.length;
    this._place[at] = place;
    this._length[at] = length;
    this._kind[at] = kind;
    this._style[at] = style;
    this._offset[at] = kind === Row.GAP ? 0 : this._written[kind];
    return this.dropped + this._size++;
  }

  _grow() {
    const size = this._place.length * 2;
    /** @template {Float64Array | Uint16Array | Uint8Array} T @param {T} from @param {T} to @returns {T} */
    const moved = (from, to) => {
      to.set(from.subarray(this._first));
      to.set(from.subarray(0, this._first), from.length - this._first);
      return to;
    };
    this._place = moved(this._place, new Float64Array(size));
    this._length = moved(this._length, new Uint16Array(size));
    this._kind = moved(this._kind, new Uint8Array(size));
    this._style = moved(this._style, new Uint16Array(size));
    this._offset = moved(this._offset, new Float64Array(size));
    this._first = 0;
  }

  _drop() {
    while (this._size > MAX_ROWS || (this._blocks.length * BLOCK > MAX_BYTES && this._size > 1)) {
      this.droppedBytes += this._length[this._first];
      this._first = (this._first + 1) % this._place.length;
      this._size--;
      this.dropped++;
      // Rows are stored in the order of their blocks, but for the two that a stream has continued at the end.
      const oldest = Math.floor(this._place[this._first] / BLOCK);
      while (this._firstBlock < oldest && this._blocks.length > 1) {
        this._blocks.shift();
        this._firstBlock++;
      }
    }
    for (const kind of [0, 1]) if (this._openRow[kind] < this.dropped) this._openRow[kind] = -1;
  }

  /** @param {number} number from 0, of those that are kept */
  _slot(number) {
    return (this._first + number) % this._place.length;
  }

  /** @param {number} row since the beginning */
  _at(row) {
    return this._slot(row - this.dropped);
  }

  /** @param {number} at */
  _bytes(at) {
    const place = this._place[at];
    const block = this._blocks[Math.floor(place / BLOCK) - this._firstBlock];
    if (block === undefined) return new Uint8Array(0);
    return block.subarray(place % BLOCK, (place % BLOCK) + this._length[at]);
  }

  /**
   * @param {Uint8Array} bytes
   * @param {number} style
   */
  _styleAfter(bytes, style) {
    const last = bytes.lastIndexOf(ESCAPE);
    if (last === -1) return style;
    // Most programs end a colour in its line: nothing before that matters.
    if (bytes[last + 1] === BRACKET && (bytes[last + 2] === LETTER_M || (bytes[last + 2] === DIGIT_0 && bytes[last + 3] === LETTER_M))) return 0;
    // eslint-disable-next-line no-control-regex
    for (const found of decoder.decode(bytes).matchAll(/\u001b\[([\d;:]*)m/g)) style = this.styles.after(style, found[1]);
    return style;
  }

  /**
   * Return text without escape sequences, in chunks of one style. A carriage return inside writes over what was before it.
   * @param {string} text
   * @param {number} style
   */
  _parts(text, style) {
    if (text.charCodeAt(text.length - 1) === RETURN) text = text.slice(0, -1);
    const start = text.lastIndexOf("\r");
    /** @type {{ text: string, style: number }[]} */
    const parts = [];
    let at = 0;
    // CSI, OSC and DCS sequences, and two-character ones: none acts on anything here.
    // eslint-disable-next-line no-control-regex
    for (const found of text.matchAll(/\u001b(?:\[([0-?]*[ -/]*)([@-~])|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])/g)) {
      add(parts, text.slice(Math.max(at, start + 1), found.index), style);
      at = found.index + found[0].length;
      if (found[2] === "m") style = this.styles.after(style, found[1]);
    }
    add(parts, text.slice(Math.max(at, start + 1)), style);
    return parts;
  }
}

/**
 * @param {{ text: string, style: number }[]} parts
 * @param {string} text
 * @param {number} style
 */
function add(parts, text, style) {
  // eslint-disable-next-line no-control-regex
  const shown = text.replace(/[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  if (shown !== "") parts.push({ text: shown, style });
}
