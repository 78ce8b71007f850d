// @ts-check
/** The frames of a transfer: a five-byte header and a payload (protocol/README.md, section 11). */

import { ProtocolError } from "../wire/frames.js";

/** @enum {number} */
export const Frame = Object.freeze({
  OPTIONS: 1, READY: 2, ENTRY: 3, PROBLEM: 4, LISTED: 5, WALKED: 6, SKIP: 7, WANT: 8, DATA: 9, HOLE: 10, COPY: 11,
  FILE_END: 12, ABORT: 13, FILE_DONE: 14, FAILED: 15, DELETED: 16, FINISH: 17, SUMMARY: 18, RESTART: 19, MADE: 20,
  FILE_TABLE: 21,
});

/** @enum {number} */
export const EntryKind = Object.freeze({ REGULAR: 0, DIRECTORY: 1, SYMLINK: 2, HARDLINK: 3 });

/** @enum {number} */
export const Basis = Object.freeze({ NOTHING: 0, PARTIAL: 1 });

export const TRANSFER_CHUNK = 1024 * 1024;
export const MAX_PAYLOAD = 1114112;
export const MAX_UNANSWERED = 2048;
export const MAX_SENTENCE = 2048;
export const DIGEST = 32;

const HEADER = 5;

/** Fields of each kind in their order: `u8`, `u32`, `u64`, `i64`, and `bytes`, of which the last one has no length. */
/** @type {Record<number, [string, string][]>} */
const LAYOUT = {
  [Frame.OPTIONS]: [["text", "bytes"]],
  [Frame.READY]: [["text", "bytes"]],
  [Frame.ENTRY]: [
    ["number", "u32"], ["kind", "u8"], ["mode", "u32"], ["uid", "u32"], ["gid", "u32"], ["mtime", "i64"], ["size", "i64"],
    ["path", "bytes"], ["target", "bytes"], ["xattrs", "bytes"],
  ],
  [Frame.PROBLEM]: [["errno", "u32"], ["path", "bytes"], ["sentence", "bytes"]],
  [Frame.LISTED]: [["number", "u32"], ["complete", "u8"]],
  [Frame.WALKED]: [["entries", "u64"], ["size", "u64"], ["complete", "u8"]],
  [Frame.SKIP]: [["number", "u32"], ["files", "u32"]],
  [Frame.WANT]: [["number", "u32"], ["basis", "u8"], ["last", "u8"], ["have", "bytes"]],
  [Frame.DATA]: [["number", "u32"], ["offset", "u64"], ["data", "bytes"]],
  [Frame.HOLE]: [["number", "u32"], ["offset", "u64"], ["length", "u64"]],
  [Frame.COPY]: [["number", "u32"], ["offset", "u64"], ["length", "u64"], ["source", "u64"]],
  [Frame.FILE_END]: [["number", "u32"], ["size", "u64"], ["mtime", "i64"], ["mode", "u32"], ["blake3", "bytes"], ["sha256", "bytes"]],
  [Frame.ABORT]: [["number", "u32"], ["errno", "u32"], ["sentence", "bytes"]],
  [Frame.FILE_DONE]: [["number", "u32"], ["blake3", "bytes"]],
  [Frame.FAILED]: [["number", "u32"], ["errno", "u32"], ["sentence", "bytes"]],
  [Frame.DELETED]: [["path", "bytes"]],
  [Frame.FINISH]: [],
  [Frame.SUMMARY]: [["text", "bytes"]],
  [Frame.RESTART]: [["number", "u32"]],
  [Frame.MADE]: [["kind", "u8"], ["change", "u8"], ["path", "bytes"]],
  [Frame.FILE_TABLE]: [
    ["number", "u32"], ["directory", "bytes"], ["modes", "bytes"], ["sizes", "bytes"], ["mtimes", "bytes"], ["names", "bytes"],
  ],
};

/** @type {Record<string, number>} */
const SIZES = { u8: 1, u32: 4, u64: 8, i64: 8 };

const NOTHING = new Uint8Array(0);

/**
 * Fields that are left out are 0 or empty. Times are nanoseconds as bigint; sizes and offsets are numbers.
 * @typedef {{ frame: number, [field: string]: any }} TransferFrame
 */

/**
 * Return a frame's bytes.
 * @param {number} frame
 * @param {Record<string, number | bigint | Uint8Array>} [values]
 */
export function encodeTransferFrame(frame, values = {}) {
  const fields = LAYOUT[frame];
  let size = 0;
  fields.forEach(([name, type], at) => {
    if (type === "bytes") size += (at < fields.length - 1 ? 4 : 0) + (/** @type {Uint8Array} */ (values[name]) ?? NOTHING).length;
    else size += SIZES[type];
  });
  const bytes = new Uint8Array(HEADER + size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, size);
  view.setUint8(4, frame);
  let to = HEADER;
  fields.forEach(([name, type], at) => {
    const value = values[name] ?? (type === "bytes" ? NOTHING : 0);
    if (value instanceof Uint8Array) {
      if (at < fields.length - 1) {
        view.setUint32(to, value.length);
        to += 4;
      }
      bytes.set(value, to);
      to += value.length;
      return;
    }
    if (type === "u8") view.setUint8(to, Number(value));
    else if (type === "u32") view.setUint32(to, Number(value));
    else view.setBigInt64(to, BigInt(value));
    to += SIZES[type];
  });
  return bytes;
}

/**
 * Return the fields of a payload.
 * @param {number} frame
 * @param {Uint8Array} payload
 * @returns {TransferFrame}
 */
function decode(frame, payload) {
  const fields = LAYOUT[frame];
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  /** @type {TransferFrame} */
  const found = { frame };
  let at = 0;
  fields.forEach(([name, type], field) => {
    if (type === "bytes") {
      let length = payload.length - at;
      if (field < fields.length - 1) {
        if (length < 4) throw new ProtocolError("a transfer frame that is cut off");
        length = view.getUint32(at);
        at += 4;
      }
      if (at + length > payload.length) throw new ProtocolError("a transfer frame that is cut off");
      found[name] = payload.subarray(at, at + length);
      at += length;
      return;
    }
    if (at + SIZES[type] > payload.length) throw new ProtocolError("a transfer frame that is cut off");
    if (type === "u8") found[name] = view.getUint8(at);
    else if (type === "u32") found[name] = view.getUint32(at);
    else found[name] = number(name, type === "u64" ? view.getBigUint64(at) : view.getBigInt64(at));
    at += SIZES[type];
  });
  if (at !== payload.length) throw new ProtocolError("a transfer frame with bytes left over");
  return found;
}

/**
 * Return a size or an offset as a number that counts exactly: up to 8 PiB. Times stay as they are.
 * @param {string} name
 * @param {bigint} value
 */
function number(name, value) {
  if (name === "mtime") return value;
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolError(`a ${name} of ${value}`);
  return Number(value);
}

/** Splits the stdout of a transfer's run into frames. */
export class TransferReader {
  constructor() {
    this._header = new Uint8Array(HEADER);
    this._headerFilled = 0;
    /** @type {Uint8Array | null} */
    this._payload = null;
    this._filled = 0;
  }

  /**
   * Return the frames that are complete with these bytes.
   * @param {Uint8Array} bytes
   * @returns {TransferFrame[]}
   * @throws {ProtocolError}
   */
  feed(bytes) {
    /** @type {TransferFrame[]} */
    const found = [];
    for (let at = 0; at < bytes.length; ) {
      if (this._payload === null) {
        const part = bytes.subarray(at, at + HEADER - this._headerFilled);
        this._header.set(part, this._headerFilled);
        this._headerFilled += part.length;
        at += part.length;
        if (this._headerFilled < HEADER) break;
        const length = new DataView(this._header.buffer).getUint32(0);
        if (length > MAX_PAYLOAD || !(this._header[4] in LAYOUT)) {
          throw new ProtocolError(`a transfer frame of kind ${this._header[4]} and ${length} bytes`);
        }
        this._payload = new Uint8Array(length);
        this._filled = 0;
      }
      const part = bytes.subarray(at, at + this._payload.length - this._filled);
      this._payload.set(part, this._filled);
      this._filled += part.length;
      at += part.length;
      if (this._filled < this._payload.length) break;
      found.push(decode(this._header[4], this._payload));
      this._payload = null;
      this._headerFilled = 0;
    }
    return found;
  }
}

/**
 * Return the files of a table as entries.
 * @param {TransferFrame} table
 * @returns {TransferFrame[]}
 */
export function rowsOf(table) {
  const names = splitNames(table.names);
  const modes = new DataView(table.modes.buffer, table.modes.byteOffset, table.modes.length);
  const sizes = new DataView(table.sizes.buffer, table.sizes.byteOffset, table.sizes.length);
  const mtimes = new DataView(table.mtimes.buffer, table.mtimes.byteOffset, table.mtimes.length);
  if (modes.byteLength !== names.length * 2 || sizes.byteLength !== names.length * 8 || mtimes.byteLength !== names.length * 8) {
    throw new ProtocolError("a table of files whose columns differ in length");
  }
  return names.map((name, row) => ({
    frame: Frame.ENTRY,
    number: table.number + row,
    kind: EntryKind.REGULAR,
    mode: modes.getUint16(row * 2),
    mtime: mtimes.getBigInt64(row * 8),
    size: number("size", sizes.getBigUint64(row * 8)),
    path: joinPath(table.directory, name),
    target: NOTHING,
    xattrs: NOTHING,
  }));
}

/** @param {Uint8Array} names joined by NUL */
function splitNames(names) {
  const found = [];
  for (let at = 0; ; ) {
    const end = names.indexOf(0, at);
    found.push(names.subarray(at, end === -1 ? names.length : end));
    if (end === -1) return found;
    at = end + 1;
  }
}

/**
 * @param {Uint8Array} directory
 * @param {Uint8Array} name
 */
export function joinPath(directory, name) {
  if (directory.length === 0) return name;
  const slash = directory[directory.length - 1] === 47 ? 0 : 1;
  const path = new Uint8Array(directory.length + slash + name.length);
  path.set(directory);
  if (slash) path[directory.length] = 47;
  path.set(name, directory.length + slash);
  return path;
}

/**
 * Return lengths and digests as a WANT has them.
 * @param {{ length: number, digest: Uint8Array }[]} chunks
 */
export function packChunks(chunks) {
  const bytes = new Uint8Array(chunks.length * (4 + DIGEST));
  const view = new DataView(bytes.buffer);
  chunks.forEach(({ length, digest }, at) => {
    view.setUint32(at * (4 + DIGEST), length);
    bytes.set(digest, at * (4 + DIGEST) + 4);
  });
  return bytes;
}

/**
 * @param {Uint8Array} have
 * @returns {{ length: number, digest: Uint8Array }[]}
 */
export function unpackChunks(have) {
  if (have.length % (4 + DIGEST) !== 0) throw new ProtocolError("digests that are cut off");
  const view = new DataView(have.buffer, have.byteOffset, have.length);
  const found = [];
  for (let at = 0; at < have.length; at += 4 + DIGEST) {
    found.push({ length: view.getUint32(at), digest: have.subarray(at + 4, at + 4 + DIGEST) });
  }
  return found;
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function sameBytes(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
