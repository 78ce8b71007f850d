// @ts-check
/** Values inside messages: bytes as strings or base64 (protocol/README.md, section 3), ids and keys. */

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** @typedef {string | { base64: string }} WireBytes */

/**
 * Return the one form that bytes have in a message.
 * @param {Uint8Array} bytes
 * @returns {WireBytes}
 */
export function toWire(bytes) {
  try {
    return strict.decode(bytes);
  } catch {
    return { base64: toBase64(bytes) };
  }
}

/**
 * Return the bytes of a value in a message.
 * @param {WireBytes} value
 * @returns {Uint8Array}
 */
export function fromWire(value) {
  return typeof value === "string" ? encoder.encode(value) : fromBase64(value.base64);
}

/**
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/**
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/**
 * @param {number} size
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function randomBytes(size) {
  return crypto.getRandomValues(new Uint8Array(size));
}

/**
 * Return a new run id: a UUID of version 7 (RFC 9562, section 5.7), so that ids sort by time.
 * @param {number} [now] milliseconds since the epoch
 * @returns {string}
 */
export function newRunId(now = Date.now()) {
  const bytes = randomBytes(16);
  new DataView(bytes.buffer).setUint16(0, Math.floor(now / 2 ** 32));
  new DataView(bytes.buffer).setUint32(2, now % 2 ** 32);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/**
 * Return text in which nothing acts on a screen: control and direction characters are written as escapes, so that no text of a
 * service or a program can pass for one of this page. Line ends too, unless `lines`.
 * @param {string} text
 * @param {{ lines?: boolean }} [options]
 * @returns {string}
 */
export function printable(text, { lines = false } = {}) {
  // eslint-disable-next-line no-control-regex
  const acting = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/gu;
  return text.replace(acting, (character) => {
    if (lines && character === "\n") return character;
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    const code = character.codePointAt(0) ?? 0;
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
