// @ts-check
/** Saves a run's stream as a file, from the first byte that the service still has. */

import { Attachment } from "../wire/attachment.js";

/**
 * @param {import("../wire/host.js").Host} host
 * @param {string} id
 * @param {"stdout" | "stderr"} stream
 * @param {string} name
 * @returns {Promise<number>} the bytes saved
 */
export async function download(host, id, stream, name) {
  const picked = await pickFile(name);
  /** @type {BlobPart[]} */
  const parts = [];
  let total = 0;
  await new Promise((resolve, reject) => {
    const attachment = new Attachment(
      host,
      id,
      { [stream]: 0, follow: false },
      {
        data: (_, bytes) => {
          total += bytes.length;
          if (picked === null) {
            parts.push(new Uint8Array(bytes));
            attachment.consumed(stream, bytes.length);
          } else {
            picked.write(new Uint8Array(bytes)).then(() => attachment.consumed(stream, bytes.length), reject);
          }
        },
        message: (message) => {
          if (message.type === "error") reject(new Error(message.message));
          if (message.type === "done" || message.type === "ended") resolve(undefined);
        },
        failed: reject,
      },
    );
    attachment.begin();
  });
  if (picked !== null) {
    await picked.close();
    return total;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return total;
}

/**
 * Let the user choose a file to write to, where the browser can; then nothing is held in memory.
 * @param {string} name
 * @returns {Promise<any>}
 */
async function pickFile(name) {
  const choose = /** @type {any} */ (window).showSaveFilePicker;
  if (choose === undefined) return null;
  try {
    const handle = await choose({ suggestedName: name });
    return await handle.createWritable();
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    return null;
  }
}
