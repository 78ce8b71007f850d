// @ts-check
/** Uploads: files that were picked or dropped, read a chunk at a time and sent as the receiver wants them. */

import { ProtocolError } from "../wire/frames.js";
import { Blake3, blake3 } from "./blake3.js";
import { AttemptLost, TransferChannel, refused, transferred } from "./channel.js";
import { Basis, EntryKind, Frame, MAX_UNANSWERED, TRANSFER_CHUNK, sameBytes, unpackChunks } from "./frames.js";

/** Modes of what has none in a browser: those of new files with the usual umask. */
const FILE_MODE = 0o644;
const DIRECTORY_MODE = 0o755;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** errno(3) for a file that cannot be read. */
const EIO = 5;

/**
 * @typedef {{ path: string, file: File | null }} Upload a file, or without one a directory
 * @typedef {{ path: string, sentence: string }} UploadFailure
 * @typedef {{ files: number, skipped: number, bytes: number, failures: UploadFailure[] }} Uploaded
 */

/**
 * Upload files into a directory. What is in place stays if another fails.
 * @param {import("../wire/host.js").Host} host
 * @param {Uint8Array} directory
 * @param {Upload[]} uploads each directory before what is in it
 * @param {{ signal: AbortSignal, progress: (bytes: number) => void }} about
 * @returns {Promise<Uploaded>}
 */
export async function sendFiles(host, directory, uploads, { signal, progress }) {
  let fresh = 0;
  const options = { operation: /** @type {const} */ ("put"), paths: [directory], into: true };
  return transferred(host, options, signal, () => fresh, (channel) =>
    new FileSender(channel, uploads, progress, (bytes) => (fresh += bytes)).run(),
  );
}

/**
 * @typedef {object} Pending a file without an answer
 * @property {number} number
 * @property {Upload} upload
 * @property {number} basis
 * @property {{ length: number, digest: Uint8Array }[]} have
 * @property {Uint8Array | null} digest once it was sent
 * @property {boolean} failed
 * @property {boolean} aborted
 */

class FileSender {
  /**
   * @param {TransferChannel} channel
   * @param {Upload[]} uploads
   * @param {(bytes: number) => void} progress
   * @param {(bytes: number) => void} sent
   */
  constructor(channel, uploads, progress, sent) {
    this._channel = channel;
    this._uploads = uploads;
    this._progress = progress;
    this._sent = sent;
    this._next = 0;
    this._walked = false;
    this._bytes = 0;
    /** @type {Map<number, Pending>} */
    this._pending = new Map();
    /** @type {Pending[]} */
    this._jobs = [];
    /** @type {Uploaded} */
    this._uploaded = { files: 0, skipped: 0, bytes: 0, failures: [] };
    this._summary = false;
    /** @type {Error | null} */
    this._broken = null;
    this._wake = () => {};
  }

  /** @returns {Promise<Uploaded>} */
  async run() {
    const taking = this._takeAnswers();
    try {
      await this._sendAll();
      await this._channel.send(Frame.FINISH);
      while (!this._summary) await this._answer();
    } finally {
      this._channel.close({ done: this._summary });
      await taking;
    }
    return this._uploaded;
  }

  async _sendAll() {
    while (true) {
      this._check();
      await this._announce();
      const job = this._jobs.shift();
      if (job !== undefined) await this._content(job);
      else if (this._walked && this._pending.size === 0) return;
      else await this._answer();
    }
  }

  _check() {
    if (this._broken !== null) throw this._broken;
  }

  /** Wait for another answer. Rejects if there will be none. @returns {Promise<void>} */
  async _answer() {
    this._check();
    await new Promise((resolve) => (this._wake = () => resolve(undefined)));
    this._check();
  }

  /** Send entries, as many as may be without an answer. */
  async _announce() {
    while (this._next < this._uploads.length && this._pending.size < MAX_UNANSWERED) {
      const number = this._next++;
      const upload = this._uploads[number];
      const entry = { number, path: encoder.encode(upload.path) };
      if (upload.file === null) {
        const mtime = BigInt(Date.now()) * 1_000_000n;
        await this._channel.send(Frame.ENTRY, { ...entry, kind: EntryKind.DIRECTORY, mode: DIRECTORY_MODE, mtime });
        continue;
      }
      this._pending.set(number, { number, upload, basis: Basis.NOTHING, have: [], digest: null, failed: false, aborted: false });
      const { size, lastModified } = upload.file;
      const mtime = BigInt(lastModified) * 1_000_000n;
      await this._channel.send(Frame.ENTRY, { ...entry, kind: EntryKind.REGULAR, mode: FILE_MODE, mtime, size });
    }
    if (this._next === this._uploads.length && !this._walked) {
      this._walked = true;
      const size = this._uploads.reduce((sum, { file }) => sum + (file?.size ?? 0), 0);
      await this._channel.send(Frame.WALKED, { entries: this._next, size, complete: 1 });
    }
  }

  /** @param {Pending} job */
  async _content(job) {
    if (job.failed) return;
    const file = /** @type {File} */ (job.upload.file);
    const { number } = job;
    const hash = new Blake3();
    try {
      for (let at = 0, chunk = 0; at < file.size; chunk++) {
        if (job.failed) break;
        this._check();
        // A browser refuses to read a file that has changed since it was picked.
        const bytes = new Uint8Array(await file.slice(at, at + TRANSFER_CHUNK).arrayBuffer());
        hash.update(bytes);
        const have = job.have[chunk];
        if (have !== undefined && have.length === bytes.length && sameBytes(have.digest, blake3(bytes))) {
          await this._channel.send(Frame.COPY, { number, offset: at, length: bytes.length, source: at });
        } else {
          await this._channel.send(Frame.DATA, { number, offset: at, data: bytes });
          this._sent(bytes.length);
        }
        at += bytes.length;
        this._progress(this._bytes + at);
      }
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      job.aborted = true;
      this._fail(job, error.message);
      const sentence = encoder.encode("the file cannot be read, or has changed since it was chosen");
      await this._channel.send(Frame.ABORT, { number, errno: EIO, sentence });
      return;
    }
    this._bytes += file.size;
    if (job.failed) {
      await this._channel.send(Frame.ABORT, { number });
      return;
    }
    job.digest = hash.digest();
    const mtime = BigInt(file.lastModified) * 1_000_000n;
    await this._channel.send(Frame.FILE_END, { number, size: file.size, mtime, mode: FILE_MODE, blake3: job.digest });
  }

  /**
   * @param {Pending} job
   * @param {string} sentence
   */
  _fail(job, sentence) {
    this._uploaded.failures.push({ path: job.upload.path, sentence });
  }

  async _takeAnswers() {
    try {
      for await (const frame of this._channel.frames()) {
        this._take(frame);
        this._wake();
        if (this._summary) return;
      }
      throw new AttemptLost("the transfer has ended early");
    } catch (error) {
      this._broken = /** @type {Error} */ (error);
    }
    this._wake();
  }

  /** @param {import("./frames.js").TransferFrame} frame */
  _take(frame) {
    switch (frame.frame) {
      case Frame.SKIP:
        for (let number = frame.number; number < Math.min(frame.number + frame.files, this._next); number++) {
          const skipped = this._pending.get(number);
          if (skipped === undefined) continue;
          this._pending.delete(number);
          this._uploaded.skipped++;
          this._bytes += skipped.upload.file?.size ?? 0;
          this._progress(this._bytes);
        }
        break;
      case Frame.WANT: {
        const job = this._job(frame);
        job.basis = frame.basis;
        for (const chunk of unpackChunks(frame.have)) job.have.push(chunk);
        if (frame.basis !== Basis.NOTHING && frame.basis !== Basis.PARTIAL) throw new ProtocolError("a basis that was not agreed on");
        if (frame.last) this._jobs.push(job);
        break;
      }
      case Frame.FILE_DONE: {
        const job = this._job(frame);
        if (job.digest === null || !sameBytes(job.digest, frame.blake3)) throw new ProtocolError("the digest of something else");
        this._pending.delete(frame.number);
        this._uploaded.files++;
        this._uploaded.bytes += job.upload.file?.size ?? 0;
        break;
      }
      case Frame.FAILED: {
        const job = this._pending.get(frame.number);
        const path = job?.upload.path ?? this._uploads[frame.number]?.path ?? "";
        this._pending.delete(frame.number);
        if (job?.aborted) break;
        if (job !== undefined) job.failed = true;
        if (frame.errno || frame.sentence.length > 0) {
          this._uploaded.failures.push({ path, sentence: decoder.decode(frame.sentence) });
        }
        break;
      }
      case Frame.PROBLEM:
        if (frame.errno !== 0) this._uploaded.failures.push({ path: decoder.decode(frame.path), sentence: refused(frame).message });
        break;
      case Frame.SUMMARY:
        this._summary = true;
        break;
      case Frame.MADE:
      case Frame.DELETED:
        break;
      default:
        throw new ProtocolError(`a receiver that sends frame ${frame.frame}`);
    }
  }

  /** @param {import("./frames.js").TransferFrame} frame */
  _job(frame) {
    const job = this._pending.get(frame.number);
    if (job === undefined) throw new ProtocolError(`an answer to entry ${frame.number}, which has one`);
    return job;
  }
}
