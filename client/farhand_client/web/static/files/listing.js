// @ts-check
/** What is in a directory: a transfer that is stopped once the directory is listed, so that policy and names are those of transfers. */

import { TransferChannel, TransferRefused, refused } from "./channel.js";
import { EntryKind, Frame, joinPath, rowsOf } from "./frames.js";

/** Entries of a directory that a page lists. Nobody reads more, and a path can be typed. */
export const MAX_LISTED = 20_000;

/** errno(3): the path is no directory. */
export const ENOTDIR = 20;

/**
 * @typedef {object} Listed
 * @property {number} kind
 * @property {Uint8Array} name
 * @property {number} size in bytes; -1 if that is known only at the end
 * @property {number} modified in milliseconds since the epoch
 * @property {Uint8Array} target of a symbolic link
 */

/**
 * Return a path in which nothing is a pattern.
 * @param {Uint8Array} path
 */
export function escapePattern(path) {
  const escaped = [];
  for (const byte of path) {
    if (byte === 42 || byte === 63 || byte === 91) escaped.push(91, byte, 93);
    else escaped.push(byte);
  }
  return Uint8Array.from(escaped);
}

/**
 * List a directory. Rejects with a `TransferRefused` or `Refusal` if that cannot be done.
 * @param {import("../wire/host.js").Host} host
 * @param {Uint8Array} path relative to the home directory; empty for that
 * @param {{ internal?: boolean, signal?: AbortSignal }} [about]
 * @returns {Promise<{ entries: Listed[], whole: boolean }>}
 */
export async function listDirectory(host, path, { internal = true, signal } = {}) {
  const directory = joinPath(path.length === 0 ? Uint8Array.of(46) : path, new Uint8Array(0));
  // Of what is below the directories in it nothing is sent.
  const options = { operation: /** @type {const} */ ("get"), paths: [escapePattern(directory)], excludes: ["/*/*"], dry_run: true };
  const channel = new TransferChannel(host, options, { internal });
  const stop = () => channel.close();
  signal?.addEventListener("abort", stop, { once: true });
  /** @type {Listed[]} */
  const entries = [];
  try {
    await channel.begin();
    for await (const frame of channel.frames()) {
      if (frame.frame === Frame.PROBLEM && frame.errno !== 0 && entries.length === 0) {
        throw refused(frame);
      } else if (frame.frame === Frame.ENTRY && frame.number > 0) {
        entries.push(listed(frame));
        if (frame.kind === EntryKind.REGULAR) await channel.send(Frame.SKIP, { number: frame.number, files: 1 });
      } else if (frame.frame === Frame.FILE_TABLE) {
        const rows = rowsOf(frame);
        for (const row of rows) entries.push(listed(row));
        await channel.send(Frame.SKIP, { number: frame.number, files: rows.length });
      } else if (frame.frame === Frame.LISTED && frame.number === 0) {
        return { entries, whole: frame.complete === 1 };
      } else if (frame.frame === Frame.WALKED) {
        throw new TransferRefused("the directory was not listed", 0);
      }
      if (entries.length >= MAX_LISTED) return { entries, whole: false };
    }
    throw new Error("unreachable");
  } finally {
    signal?.removeEventListener("abort", stop);
    channel.close();
  }
}

/**
 * @param {import("./frames.js").TransferFrame} entry
 * @returns {Listed}
 */
function listed({ kind, path, size, mtime, target }) {
  return { kind, name: path.subarray(path.lastIndexOf(47) + 1), size, modified: Number(mtime / 1_000_000n), target };
}
