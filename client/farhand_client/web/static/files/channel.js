// @ts-check
/** A transfer's run as frames both ways, through outages; and one attempt after the other until a transfer is done. */

import { ProtocolError } from "../wire/frames.js";
import { Attachment } from "../wire/attachment.js";
import { Refusal } from "../wire/host.js";
import { outcomeText } from "../wire/runs.js";
import { newRunId, printable, toWire } from "../wire/values.js";
import { Frame, TransferReader, encodeTransferFrame } from "./frames.js";

/** @typedef {import("./frames.js").TransferFrame} TransferFrame */

/** Bytes that wait to be read by the run: two chunks of a file, the one that is sent and the next. */
const MAX_WAITING = 2 * 1024 * 1024 + 65536;

/** Bytes in flight to the page: a chunk of a file, and the next one. */
const WINDOW = 2 * 1024 * 1024;

/** Attempts in a row that moved nothing, after which another one has no point: as for the command line. */
const MAX_FRUITLESS = 3;

/** Milliseconds between two attempts: a service that restarts needs a second or two. */
const RETRY_DELAY = 2000;

/** Refusals after which another run may do it: the run is gone, or the service restarts. */
const OVER = new Set(["unknown_run", "expired", "unavailable", "draining", "replaced"]);

const decoder = new TextDecoder();

/** The run has ended before the transfer was over; another one may continue it. */
export class AttemptLost extends Error {}

/** What the service has refused or could not do, with the number that Linux gives it. */
export class TransferRefused extends Error {
  /**
   * @param {string} message
   * @param {number} errno
   */
  constructor(message, errno) {
    super(message);
    this.errno = errno;
  }
}

export class TransferChannel {
  /**
   * @param {import("../wire/host.js").Host} host
   * @param {{ operation: "put" | "get", paths: Uint8Array[], [option: string]: any }} options those of section 11
   * @param {{ internal?: boolean }} [about] `internal` for what nobody has asked for, such as a completion
   */
  constructor(host, options, { internal = false } = {}) {
    const paths = options.paths.map(toWire);
    this._options = { ...options, paths };
    /** @type {import("../wire/connection.js").Message} */
    const run = {
      type: "run",
      id: newRunId(),
      transfer: { access: options.operation === "put" ? "write" : "read", paths },
      stdin: true,
      kill_after: 10,
    };
    if (internal) run.internal = true;
    this._reader = new TransferReader();
    /** @type {Uint8Array[]} */
    this._arrived = [];
    /** @type {Error | null} */
    this._end = null;
    this._wake = () => {};
    this._said = "";
    this._attachment = new Attachment(host, run.id, { run, window: WINDOW, pending: MAX_WAITING * 2, types: true, hold: true }, {
      data: (stream, bytes) => this._data(stream, bytes),
      message: (message) => this._message(message),
      failed: (why) => this._ended(why),
      changed: () => this._wake(),
    });
  }

  /** Begin, and return whether the service can do this. Rejects with what it says. */
  async begin() {
    this._attachment.begin();
    this._attachment.write(encodeTransferFrame(Frame.OPTIONS, { text: new TextEncoder().encode(JSON.stringify(this._options)) }));
    for await (const frame of this.frames()) {
      if (frame.frame === Frame.READY) return;
      if (frame.frame === Frame.PROBLEM) throw refused(frame);
      throw new ProtocolError(`a transfer that begins with frame ${frame.frame}`);
    }
    throw new AttemptLost("the transfer has ended before it began");
  }

  /**
   * Yield frames; the run waits until each was taken. Rejects if the run ends.
   * @returns {AsyncGenerator<TransferFrame, void, void>}
   */
  async *frames() {
    while (true) {
      while (this._unread.length > 0) yield /** @type {TransferFrame} */ (this._unread.shift());
      const bytes = this._arrived.shift();
      if (bytes !== undefined) {
        this._unread = this._reader.feed(bytes);
        this._attachment.consumed("stdout", bytes.length);
      } else if (this._end !== null) {
        throw this._end;
      } else {
        await this._change();
      }
    }
  }

  /** @type {TransferFrame[]} */
  _unread = [];

  /**
   * Send a frame; resolves when the next one may be sent.
   * @param {number} frame
   * @param {Record<string, number | bigint | Uint8Array>} [values]
   */
  async send(frame, values = {}) {
    if (this._end !== null) throw this._end;
    this._attachment.write(encodeTransferFrame(frame, values));
    while (this._attachment.pending > MAX_WAITING && this._end === null) await this._change();
  }

  /** Resolve when something has changed: bytes have arrived, were taken by the run, or it has ended. @returns {Promise<void>} */
  _change() {
    const before = this._wake;
    return new Promise((resolve) => {
      this._wake = () => {
        this._wake = () => {};
        before();
        resolve();
      };
    });
  }

  /** The transfer is over: let the run end, and stop it unless it is `done`. */
  close({ done = false } = {}) {
    if (this._end === null) {
      this._attachment.endInput();
      if (!done) this._attachment.stop();
    }
    this._ended(new AttemptLost("closed"));
  }

  /**
   * @param {string} stream
   * @param {Uint8Array} bytes
   */
  _data(stream, bytes) {
    if (stream === "stdout" && this._end === null) {
      this._arrived.push(bytes);
      this._wake();
      return;
    }
    // The worker writes to stderr only what nobody has foreseen.
    if (stream === "stderr" && this._said.length < 4096) this._said += decoder.decode(bytes);
    this._attachment.consumed(/** @type {"stdout" | "stderr"} */ (stream), bytes.length);
  }

  /** @param {import("../wire/connection.js").Message} message */
  _message(message) {
    if (message.type === "error") {
      this._ended(OVER.has(message.code) ? new AttemptLost(message.message) : new Refusal(message.code, message.message));
    } else if (message.type === "ended") {
      const { outcome } = message;
      const said = this._said.trim();
      const text = `${outcomeText(outcome)}${outcome.message ? `: ${outcome.message}` : ""}${said ? `: ${said}` : ""}`;
      const lost =
        outcome.status === "signaled" ||
        outcome.status === "lost" ||
        (outcome.status === "exited" && outcome.code !== 0) ||
        (outcome.status === "killed" && (outcome.reason === "disconnected" || outcome.reason === "draining"));
      this._ended(lost ? new AttemptLost(text) : new Error(text));
    }
  }

  /** @param {Error} why */
  _ended(why) {
    this._end ??= why;
    this._wake();
  }
}

/**
 * Return what a PROBLEM or an ABORT says as an error.
 * @param {TransferFrame} frame
 */
export function refused(frame) {
  const path = frame.path?.length ? `${printable(decoder.decode(frame.path))}: ` : "";
  return new TransferRefused(`${path}${printable(decoder.decode(frame.sentence))}`, frame.errno);
}

/**
 * Do a transfer as `attempts` does, each attempt on a channel of its own, which is closed when the attempt is over or given up.
 * @template T
 * @param {import("../wire/host.js").Host} host
 * @param {{ operation: "put" | "get", paths: Uint8Array[], [option: string]: any }} options
 * @param {AbortSignal} signal
 * @param {() => number} moved counts what was moved
 * @param {(channel: TransferChannel) => Promise<T>} work the service has agreed to the options
 * @returns {Promise<T>}
 */
export function transferred(host, options, signal, moved, work) {
  return attempts(signal, moved, async () => {
    const channel = new TransferChannel(host, options);
    const stop = () => channel.close();
    signal.addEventListener("abort", stop, { once: true });
    try {
      await channel.begin();
      const done = await work(channel);
      channel.close({ done: true });
      return done;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      channel.close();
    }
  });
}

/**
 * Do a transfer: attempt after attempt while each one moves something, since the next continues where one was cut off.
 * @template T
 * @param {AbortSignal} signal
 * @param {() => number} moved counts what was moved
 * @param {() => Promise<T>} attempt rejects with `AttemptLost` if another one may continue
 * @returns {Promise<T>}
 */
async function attempts(signal, moved, attempt) {
  let fruitless = 0;
  while (true) {
    const before = moved();
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof AttemptLost) || signal.aborted) throw error;
      fruitless = moved() > before ? 0 : fruitless + 1;
      if (fruitless >= MAX_FRUITLESS) throw error;
    }
    await new Promise((resolve) => {
      setTimeout(resolve, RETRY_DELAY);
      signal.addEventListener("abort", resolve, { once: true });
    });
    signal.throwIfAborted();
  }
}
