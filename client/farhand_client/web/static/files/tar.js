// @ts-check
/** Headers of a tar archive, in GNU's form: names are bytes of any length, and sizes have no limit (tar(5)). */

import { EntryKind } from "./frames.js";

const BLOCK = 512;
const NAME = 100;

/** The first size that eleven octal digits do not hold. */
const MAX_OCTAL = 8 ** 11;

/** @type {Record<number, string>} */
const TYPES = { [EntryKind.REGULAR]: "0", [EntryKind.HARDLINK]: "1", [EntryKind.SYMLINK]: "2", [EntryKind.DIRECTORY]: "5" };

/**
 * Return the header of a member. Its length depends on path and target alone.
 * @param {{ kind: number, mode: number, mtime: bigint, size: number, path: Uint8Array, target: Uint8Array }} member
 * @returns {Uint8Array}
 */
export function tarHeader({ kind, mode, mtime, size, path, target }) {
  const name = kind === EntryKind.DIRECTORY ? Uint8Array.of(...path, 47) : path;
  const parts = [];
  if (target.length > NAME) parts.push(header("K", LONG, 0, 0, target.length + 1, EMPTY), padded(target));
  if (name.length > NAME) parts.push(header("L", LONG, 0, 0, name.length + 1, EMPTY), padded(name));
  const seconds = mtime > 0n ? Number(mtime / 1_000_000_000n) : 0;
  parts.push(header(TYPES[kind], name, mode & 0o777, seconds, kind === EntryKind.REGULAR ? size : 0, target));
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const EMPTY = new Uint8Array(0);
const LONG = new TextEncoder().encode("././@LongLink");

/** The two blocks that end an archive. */
export const TAR_END = new Uint8Array(2 * BLOCK);

/**
 * Return how many zeros follow a content of so many bytes.
 * @param {number} size
 */
export function tarPadding(size) {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** @param {Uint8Array} text */
function padded(text) {
  const bytes = new Uint8Array(text.length + 1 + tarPadding(text.length + 1));
  bytes.set(text);
  return bytes;
}

/**
 * @param {string} type
 * @param {Uint8Array} name
 * @param {number} mode
 * @param {number} seconds
 * @param {number} size
 * @param {Uint8Array} target
 */
function header(type, name, mode, seconds, size, target) {
  const bytes = new Uint8Array(BLOCK);
  bytes.set(name.subarray(0, NAME), 0);
  octal(bytes, 100, 8, mode);
  octal(bytes, 108, 8, 0);
  octal(bytes, 116, 8, 0);
  if (size < MAX_OCTAL) octal(bytes, 124, 12, size);
  else binary(bytes, 124, 12, size);
  octal(bytes, 136, 12, Math.min(seconds, MAX_OCTAL - 1));
  bytes[156] = type.charCodeAt(0);
  bytes.set(target.subarray(0, NAME), 157);
  bytes.set(new TextEncoder().encode("ustar  \0"), 257);
  bytes.fill(32, 148, 156);
  octal(bytes, 148, 7, bytes.reduce((sum, byte) => sum + byte, 0));
  return bytes;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} width digits and a NUL
 * @param {number} value
 */
function octal(bytes, at, width, value) {
  bytes.set(new TextEncoder().encode(value.toString(8).padStart(width - 1, "0")), at);
  bytes[at + width - 1] = 0;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} width
 * @param {number} value
 */
function binary(bytes, at, width, value) {
  let rest = BigInt(value);
  for (let place = at + width - 1; place > at; place--) {
    bytes[place] = Number(rest & 255n);
    rest >>= 8n;
  }
  bytes[at] = 0x80;
}
