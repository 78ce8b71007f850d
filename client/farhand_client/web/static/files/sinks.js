// @ts-check
/** Where a download is written until it is whole: nobody gets half a file, and memory stays bounded. */

/** Bytes that are held in memory where a browser has no file for them. More is refused rather than tried. */
const MAX_MEMORY = 512 * 1024 * 1024;

/** Milliseconds for which a finished download stays available to the browser, which copies it. */
const KEPT = 60_000;

/** With any other type a browser guesses, and changes the end of a name. */
const BYTES = "application/octet-stream";

/**
 * @typedef {object} Sink
 * @property {(position: number, bytes: Uint8Array) => Promise<void>} write
 * @property {(size: number) => Promise<void>} truncate
 * @property {(name: string) => Promise<void>} finish Give it to the user.
 * @property {() => Promise<void>} discard
 */

/**
 * Return a sink: a file that the user picks, else a file of the browser's own, else memory. To be called while a click is
 * handled. Rejects with an AbortError if the user picks none.
 * @param {string} name
 * @returns {Promise<Sink>}
 */
export async function openSink(name) {
  const pick = /** @type {any} */ (window).showSaveFilePicker;
  if (pick !== undefined) {
    try {
      const handle = await pick({ suggestedName: name });
      return new PickedSink(await handle.createWritable());
    } catch (error) {
      if (/** @type {Error} */ (error).name === "AbortError") throw error;
    }
  }
  try {
    return await OwnFileSink.open();
  } catch {
    return new MemorySink();
  }
}

/** A file that the user has picked: the browser puts it in place when it is closed. */
class PickedSink {
  /** @param {any} writable */
  constructor(writable) {
    this._writable = writable;
  }

  /**
   * @param {number} position
   * @param {Uint8Array} bytes
   */
  write(position, bytes) {
    return this._writable.write({ type: "write", position, data: bytes });
  }

  /** @param {number} size */
  truncate(size) {
    return this._writable.truncate(size);
  }

  finish() {
    return this._writable.close();
  }

  discard() {
    return this._writable.abort();
  }
}

/** A file that only this page sees (the origin's private file system), given to the user as a download when it is whole. */
class OwnFileSink {
  static async open() {
    const directory = await navigator.storage.getDirectory();
    await removeOld(directory);
    const name = `${PREFIX}${Date.now()}-${crypto.randomUUID()}`;
    const handle = await directory.getFileHandle(name, { create: true });
    return new OwnFileSink(directory, name, handle, await handle.createWritable());
  }

  /**
   * @param {FileSystemDirectoryHandle} directory
   * @param {string} name
   * @param {FileSystemFileHandle} handle
   * @param {FileSystemWritableFileStream} writable
   */
  constructor(directory, name, handle, writable) {
    this._directory = directory;
    this._name = name;
    this._handle = handle;
    this._writable = writable;
  }

  /**
   * @param {number} position
   * @param {Uint8Array} bytes
   */
  write(position, bytes) {
    return this._writable.write({ type: "write", position, data: /** @type {Uint8Array<ArrayBuffer>} */ (bytes) });
  }

  /** @param {number} size */
  truncate(size) {
    return this._writable.truncate(size);
  }

  /** @param {string} name */
  async finish(name) {
    await this._writable.close();
    const file = await this._handle.getFile();
    save(file.slice(0, file.size, BYTES), name);
    setTimeout(() => this._directory.removeEntry(this._name).catch(() => {}), KEPT);
  }

  async discard() {
    await this._writable.abort();
    await this._directory.removeEntry(this._name);
  }
}

const PREFIX = "download-";

/** Milliseconds after which a file that a closed page has left is removed: no download takes a day. */
const OLD = 24 * 3600_000;

/** @param {FileSystemDirectoryHandle} directory */
async function removeOld(directory) {
  for await (const name of /** @type {any} */ (directory).keys()) {
    const began = Number(name.slice(PREFIX.length).split("-")[0]);
    if (name.startsWith(PREFIX) && began + OLD < Date.now()) await directory.removeEntry(name).catch(() => {});
  }
}

/** Bytes in memory, in blocks so that none is copied when it grows. */
class MemorySink {
  constructor() {
    /** @type {Uint8Array<ArrayBuffer>[]} */
    this._blocks = [];
    this._size = 0;
  }

  /**
   * @param {number} position
   * @param {Uint8Array} bytes
   */
  async write(position, bytes) {
    await this.truncate(Math.max(this._size, position + bytes.length));
    for (let at = 0; at < bytes.length; ) {
      const place = position + at;
      const part = bytes.subarray(at, at + MEMORY_BLOCK - (place % MEMORY_BLOCK));
      this._blocks[Math.floor(place / MEMORY_BLOCK)].set(part, place % MEMORY_BLOCK);
      at += part.length;
    }
  }

  /** @param {number} size */
  async truncate(size) {
    if (size > MAX_MEMORY) throw new Error(`this browser lets a page keep no file, and ${size} bytes are too many for its memory`);
    const count = Math.ceil(size / MEMORY_BLOCK);
    while (this._blocks.length < count) this._blocks.push(new Uint8Array(MEMORY_BLOCK));
    this._blocks.length = count;
    if (size < this._size && size % MEMORY_BLOCK > 0) this._blocks[count - 1].fill(0, size % MEMORY_BLOCK);
    this._size = size;
  }

  /** @param {string} name */
  async finish(name) {
    const parts = this._blocks.map((block, at) => block.subarray(0, Math.min(MEMORY_BLOCK, this._size - at * MEMORY_BLOCK)));
    save(new Blob(parts, { type: BYTES }), name);
    this._blocks = [];
  }

  async discard() {
    this._blocks = [];
  }
}

const MEMORY_BLOCK = 1024 * 1024;

/**
 * Let the browser download what the page has.
 * @param {Blob} content
 * @param {string} name
 */
export function save(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT);
}
