// @ts-check
/** Downloads: a file as it is, a directory as a tar archive. What has arrived is checked against its digest before anybody gets it. */

import { ProtocolError } from "../wire/frames.js";
import { Blake3 } from "./blake3.js";
import { AttemptLost, TransferChannel, TransferRefused, refused, transferred } from "./channel.js";
import { Basis, EntryKind, Frame, TRANSFER_CHUNK, packChunks, rowsOf, sameBytes } from "./frames.js";
import { escapePattern } from "./listing.js";
import { TAR_END, tarHeader, tarPadding } from "./tar.js";

/** Digests that are sent at once: of 16 GiB. What comes after that is sent again by another attempt. */
const MAX_DIGESTS = 16384;

/** Entries that wait for their place in an archive while the content of a file arrives, some 300 bytes each. */
const MAX_QUEUED = 200_000;

const ZEROS = new Uint8Array(TRANSFER_CHUNK);
const encoder = new TextEncoder();

/** errno(3) for content that is not what was sent, and for what an archive cannot have. */
const EBADMSG = 74;

/**
 * @typedef {import("./frames.js").TransferFrame} TransferFrame
 * @typedef {{ path: Uint8Array, sentence: string }} Failure
 * @typedef {{ bytes: number, files: number, failures: Failure[], digest: Uint8Array | null }} Received
 */

/**
 * Download a path into a sink, which the caller finishes or discards.
 * @param {import("../wire/host.js").Host} host
 * @param {Uint8Array} path
 * @param {boolean} archive whether a tar archive is made
 * @param {import("./sinks.js").Sink} sink
 * @param {{ signal: AbortSignal, progress: (bytes: number, total: number | null) => void }} about
 * @returns {Promise<Received>}
 */
export async function receivePath(host, path, archive, sink, { signal, progress }) {
  const earlier = { kept: new KeptChunks(), fresh: 0 };
  const options = { operation: /** @type {const} */ ("get"), paths: [escapePattern(path)] };
  return transferred(host, options, signal, () => earlier.fresh, (channel) =>
    new PathReceiver(archive, sink, progress, earlier).run(channel),
  );
}

/** One attempt. */
class PathReceiver {
  /**
   * @param {boolean} archive
   * @param {import("./sinks.js").Sink} sink
   * @param {(bytes: number, total: number | null) => void} progress
   * @param {{ kept: KeptChunks, fresh: number }} earlier what is in the sink of a single file, and the bytes of it that have arrived in
   *   all attempts
   */
  constructor(archive, sink, progress, earlier) {
    this._archive = archive;
    this._sink = sink;
    this._progress = progress;
    this._earlier = earlier;
    this._end = 0;
    this._bytes = 0;
    this._files = 0;
    /** @type {number | null} */
    this._total = null;
    /** @type {Failure[]} */
    this._failures = [];
    /** Entries in the order of their places in the archive. @type {TransferFrame[]} */
    this._queue = [];
    this._taken = 0;
    /** Paths of files by the number of their entry, for their further names. @type {Map<number, Uint8Array>} */
    this._paths = new Map();
    /** @type {FileContent | null} */
    this._content = null;
    /** @type {Uint8Array | null} */
    this._digest = null;
    this._found = false;
  }

  /**
   * @param {TransferChannel} channel
   * @returns {Promise<Received>}
   */
  async run(channel) {
    for await (const frame of channel.frames()) {
      switch (frame.frame) {
        case Frame.ENTRY:
          await this._entry(channel, frame);
          break;
        case Frame.FILE_TABLE:
          for (const row of rowsOf(frame)) await this._entry(channel, row);
          break;
        case Frame.DATA:
        case Frame.HOLE:
        case Frame.COPY:
          await this._arrived(frame);
          break;
        case Frame.RESTART:
          this._contentOf(frame.number);
          this._start(/** @type {FileContent} */ (this._content).entry);
          break;
        case Frame.FILE_END:
          await this._fileEnd(channel, frame);
          break;
        case Frame.ABORT:
          await this._abort(channel, frame);
          break;
        case Frame.PROBLEM:
          if (frame.errno !== 0 && !this._found) throw refused(frame);
          if (frame.errno !== 0) this._failures.push({ path: frame.path, sentence: refused(frame).message });
          break;
        case Frame.WALKED:
          this._total = frame.size;
          break;
        case Frame.FINISH:
          return this._finish(channel);
      }
    }
    throw new AttemptLost("the transfer has ended early");
  }

  /**
   * @param {TransferChannel} channel
   * @param {TransferFrame} entry
   */
  async _entry(channel, entry) {
    this._found = true;
    if (!this._archive) {
      if (entry.number !== 0 || entry.kind !== EntryKind.REGULAR) throw new TransferRefused("this is no file", EBADMSG);
      if (this._total === null && entry.size >= 0) this._total = entry.size;
      this._queue.push(entry);
      if (entry.size < this._earlier.kept.size) this._earlier.kept = new KeptChunks();
      const basis = this._earlier.kept.size > 0 ? Basis.PARTIAL : Basis.NOTHING;
      await channel.send(Frame.WANT, { number: 0, basis, last: 1, have: packChunks(this._earlier.kept.chunks) });
      return;
    }
    if (this._queue.length - this._taken >= MAX_QUEUED) throw new Error("more files at once than an archive in this page can have");
    this._queue.push(entry);
    if (entry.kind === EntryKind.REGULAR) await channel.send(Frame.WANT, { number: entry.number, basis: Basis.NOTHING, last: 1 });
    else if (this._content === null) await this._writeOthers();
  }

  /** Write what has no content and is next in the archive. */
  async _writeOthers() {
    while (this._taken < this._queue.length && this._queue[this._taken].kind !== EntryKind.REGULAR) {
      const entry = this._queue[this._taken++];
      let { target } = entry;
      if (entry.kind === EntryKind.HARDLINK) {
        const other = this._paths.get(Number(new TextDecoder().decode(target)));
        if (other === undefined) {
          this._failures.push({ path: entry.path, sentence: "the file of which this is another name is missing" });
          continue;
        }
        target = other;
      }
      if (entry.path.length === 0) continue;
      await this._append(tarHeader(/** @type {any} */ ({ ...entry, target })));
    }
    // Not at each one: that would take time in proportion to the square of their number.
    if (this._taken * 2 > this._queue.length) {
      this._queue.splice(0, this._taken);
      this._taken = 0;
    }
  }

  /** @param {Uint8Array} bytes */
  async _append(bytes) {
    await this._sink.write(this._end, bytes);
    this._end += bytes.length;
  }

  /**
   * Return the content that is due, begun if need be.
   * @param {number} number
   */
  _contentOf(number) {
    if (this._content === null) {
      const next = this._queue[this._taken];
      if (next === undefined || next.number !== number) throw new ProtocolError(`content of entry ${number}, which is not next`);
      this._start(next);
    }
    const content = /** @type {FileContent} */ (this._content);
    if (content.entry.number !== number) throw new ProtocolError(`content of entry ${number}, which is not next`);
    return content;
  }

  /** @param {TransferFrame} entry */
  _start(entry) {
    if (this._content !== null) this._bytes -= this._content.size;
    const header = this._archive ? tarHeader(/** @type {any} */ (entry)).length : 0;
    this._content = new FileContent(entry, this._end + header);
  }

  /** @param {TransferFrame} frame */
  async _arrived(frame) {
    if (this._content === null) await this._writeOthers();
    const content = this._contentOf(frame.number);
    if (frame.offset !== content.size) throw new ProtocolError("content that leaves bytes out");
    if (frame.frame === Frame.COPY) {
      this._keep(content, frame);
      return;
    }
    if (content.copied > 0 && content.copied < this._earlier.kept.size) {
      // Only some of what is here is the same: without its digest it is of no use.
      this._earlier.kept = new KeptChunks();
      throw new AttemptLost("the file has changed");
    }
    if (frame.frame === Frame.DATA) {
      await this._write(content, frame.data);
      if (!this._archive) this._earlier.fresh += frame.data.length;
      return;
    }
    for (let left = frame.length; left > 0; left -= TRANSFER_CHUNK) {
      await this._write(content, ZEROS.subarray(0, Math.min(left, TRANSFER_CHUNK)));
    }
  }

  /**
   * @param {FileContent} content
   * @param {Uint8Array} bytes
   */
  async _write(content, bytes) {
    if (!this._archive && content.size === 0) this._earlier.kept = new KeptChunks();
    await this._sink.write(content.place + content.size, bytes);
    content.size += bytes.length;
    if (this._archive) content.hash.update(bytes);
    else this._earlier.kept.add(bytes, content.hash);
    this._bytes += bytes.length;
    this._progress(this._bytes, this._total);
  }

  /**
   * What is there of an earlier attempt stays; its digest is known once all of it is copied.
   * @param {FileContent} content
   * @param {TransferFrame} frame
   */
  _keep(content, frame) {
    if (this._archive || frame.source !== frame.offset || content.size !== content.copied || content.size + frame.length > this._earlier.kept.size) {
      throw new ProtocolError("a copy of what was not offered");
    }
    content.size += frame.length;
    content.copied += frame.length;
    if (content.copied === this._earlier.kept.size) {
      content.hash = this._earlier.kept.hash.copy();
      this._earlier.kept.reopen();
    }
    this._bytes += frame.length;
    this._progress(this._bytes, this._total);
  }

  /**
   * @param {TransferChannel} channel
   * @param {TransferFrame} frame
   */
  async _fileEnd(channel, frame) {
    if (this._content === null) await this._writeOthers();
    const content = this._contentOf(frame.number);
    const digest = content.hash.digest();
    if (content.size !== frame.size || !sameBytes(digest, frame.blake3)) {
      const sentence = "what has arrived is not what was sent: the digests differ";
      await channel.send(Frame.FAILED, { number: frame.number, errno: EBADMSG, sentence: encoder.encode(sentence) });
      this._earlier.kept = new KeptChunks();
      if (!this._archive) throw new TransferRefused(sentence, EBADMSG);
      this._leaveOut(content, sentence);
    } else {
      if (this._archive) {
        await this._sink.write(this._end, tarHeader(/** @type {any} */ ({ ...content.entry, size: frame.size, mtime: frame.mtime, mode: frame.mode })));
        this._end = content.place + content.size;
        await this._append(ZEROS.subarray(0, tarPadding(content.size)));
        this._paths.set(frame.number, content.entry.path);
      } else {
        this._end = content.size;
      }
      this._digest = digest;
      this._files++;
      await channel.send(Frame.FILE_DONE, { number: frame.number, blake3: digest });
      this._content = null;
      this._taken++;
    }
    await this._writeOthers();
  }

  /**
   * @param {TransferChannel} channel
   * @param {TransferFrame} frame
   */
  async _abort(channel, frame) {
    if (this._content === null) await this._writeOthers();
    const content = this._contentOf(frame.number);
    if (!this._archive) throw refused(frame);
    await channel.send(Frame.FAILED, { number: frame.number, errno: frame.errno, sentence: frame.sentence });
    this._leaveOut(content, refused(frame).message);
    await this._writeOthers();
  }

  /**
   * A file that did not arrive is not in the archive: the next one takes its place.
   * @param {FileContent} content
   * @param {string} sentence
   */
  _leaveOut(content, sentence) {
    this._bytes -= content.size;
    this._failures.push({ path: content.entry.path, sentence });
    this._content = null;
    this._taken++;
  }

  /**
   * @param {TransferChannel} channel
   * @returns {Promise<Received>}
   */
  async _finish(channel) {
    await this._writeOthers();
    if (this._content !== null || this._taken < this._queue.length || !this._found) throw new ProtocolError("an end before the last file");
    if (this._archive) await this._append(TAR_END);
    await this._sink.truncate(this._end);
    const totals = {
      files: this._files, bytes: this._bytes, sent: this._bytes, kept: 0, skipped: 0, others: 0, deleted: 0,
      failed: this._failures.length, digest: "",
    };
    await channel.send(Frame.SUMMARY, { text: encoder.encode(JSON.stringify(totals)) });
    return { bytes: this._bytes, files: this._files, failures: this._failures, digest: this._archive ? null : this._digest };
  }
}

/** The content of one file while it arrives. */
class FileContent {
  /**
   * @param {TransferFrame} entry
   * @param {number} place in the sink
   */
  constructor(entry, place) {
    this.entry = entry;
    this.place = place;
    this.size = 0;
    /** Bytes at the beginning that were there already. */
    this.copied = 0;
    this.hash = new Blake3();
  }
}

/** The whole chunks of a file that have arrived, each with its digest, and the digest's state after all of them. */
class KeptChunks {
  constructor() {
    /** @type {{ length: number, digest: Uint8Array }[]} */
    this.chunks = [];
    this.hash = new Blake3();
    this.size = 0;
    this._chunk = new Blake3();
    this._filled = 0;
  }

  /** Continue after the last whole chunk. */
  reopen() {
    this._chunk = new Blake3();
    this._filled = 0;
  }

  /**
   * @param {Uint8Array} bytes the next ones
   * @param {Blake3} hash of all content, which gets them too
   */
  add(bytes, hash) {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + TRANSFER_CHUNK - this._filled);
      at += part.length;
      hash.update(part);
      if (this.chunks.length >= MAX_DIGESTS) continue;
      this._chunk.update(part);
      this._filled += part.length;
      if (this._filled === TRANSFER_CHUNK) {
        this.chunks.push({ length: TRANSFER_CHUNK, digest: this._chunk.digest() });
        this.size += TRANSFER_CHUNK;
        this.hash = hash.copy();
        this.reopen();
      }
    }
  }
}
