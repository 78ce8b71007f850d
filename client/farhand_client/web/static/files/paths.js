// @ts-check
/** Paths on a host: bytes, which a place in the page's URL and a text field have as text. */

import { fromBase64, printable, toBase64, toWire } from "../wire/values.js";

const SLASH = 47;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * Return the words of a place for a path: its text, or base64 where it is no text.
 * @param {Uint8Array} path
 * @returns {string[]}
 */
export function placeOf(path) {
  if (path.length === 0) return [];
  const value = toWire(path);
  return typeof value === "string" ? [value] : [toBase64(path), "bytes"];
}

/**
 * Return the path of a place.
 * @param {string[]} words
 * @returns {Uint8Array}
 */
export function pathOf(words) {
  return words[1] === "bytes" ? fromBase64(words[0]) : encoder.encode(words[0] ?? "");
}

/** Return a path for people. @param {Uint8Array} path */
export function shownPath(path) {
  return path.length === 0 ? "~" : printable(decoder.decode(path));
}

/** Return the last name of a path for people. @param {Uint8Array} path */
export function shownName(path) {
  return shownPath(path.subarray(path.lastIndexOf(SLASH, path.length - 2) + 1)).replace(/\/$/, "");
}

/**
 * Return the directory that a path is in; null for the root.
 * @param {Uint8Array} path
 * @returns {Uint8Array | null}
 */
export function parentOf(path) {
  let end = path.length;
  while (end > 1 && path[end - 1] === SLASH) end--;
  if (end === 1 && path[0] === SLASH) return null;
  const own = path.subarray(0, end);
  const slash = own.lastIndexOf(SLASH);
  const last = decoder.decode(own.subarray(slash + 1));
  if (last === ".." || last === "") return encoder.encode(`${decoder.decode(own)}${last === "" ? "" : "/"}..`);
  if (slash === -1) return new Uint8Array(0);
  return own.subarray(0, Math.max(slash, 1));
}
