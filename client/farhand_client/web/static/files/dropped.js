// @ts-check
/** Files and directories that were dropped on the page, or picked, as a list of uploads. */

/** @typedef {import("./sending.js").Upload} Upload */

/** Files of one upload: their names are held in memory. For more there is `farhand put`. */
export const MAX_UPLOADS = 100_000;

/**
 * Return what was dropped. To be called while the event is handled: later its items are gone.
 * @param {DataTransfer} dropped
 * @returns {Promise<Upload[]>}
 */
export async function droppedUploads(dropped) {
  const items = [...dropped.items].map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  /** @type {Upload[]} */
  const uploads = [];
  for (const { entry, file } of items) {
    if (entry !== null) await collect(entry, uploads);
    else if (file !== null) uploads.push({ path: file.name, file }); // of another page, not of the file system
  }
  return uploads;
}

/**
 * @param {FileSystemEntry} entry
 * @param {Upload[]} uploads
 */
async function collect(entry, uploads) {
  if (uploads.length >= MAX_UPLOADS) throw new Error(`more than ${MAX_UPLOADS} files`);
  const path = entry.fullPath.replace(/^\/+/, "");
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
    uploads.push({ path, file });
    return;
  }
  uploads.push({ path, file: null });
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  while (true) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const each of some) await collect(each, uploads);
  }
}

/**
 * Return what was picked; a picked directory's files have a path, and each of its directories comes before what is in it.
 * @param {Iterable<File>} files
 * @returns {Upload[]}
 */
export function pickedUploads(files) {
  /** @type {Upload[]} */
  const uploads = [];
  const directories = new Set();
  for (const file of files) {
    const path = file.webkitRelativePath || file.name;
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      const directory = path.slice(0, at);
      if (directories.has(directory)) continue;
      directories.add(directory);
      uploads.push({ path: directory, file: null });
    }
    uploads.push({ path, file });
  }
  return uploads;
}
