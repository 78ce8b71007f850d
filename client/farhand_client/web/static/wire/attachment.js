// @ts-check
/**
 * A run's output and input, through any number of connections: offsets say where each begins again (protocol/README.md,
 * section 7). Nothing is shown twice and nothing is typed twice.
 */

import { randomBytes, toBase64 } from "./values.js";

/**
 * @typedef {import("./connection.js").Connection} Connection
 * @typedef {import("./connection.js").ConnectionEnd} ConnectionEnd
 * @typedef {import("./connection.js").Message} Message
 * @typedef {"stdout" | "stderr"} OutputStream
 */

/**
 * @typedef {object} AttachmentOwner
 * @property {(stream: OutputStream, bytes: Uint8Array, offset: number) => void} data
 * @property {(stream: OutputStream, offset: number, bytes: number) => void} [gap]
 * @property {(message: Message) => void} [message] `started`, `exit`, `ended`, `resize`, `end` or `error`.
 * @property {(why: ConnectionEnd) => void} [failed] There will be no further connection.
 * @property {() => void} [changed] Typed bytes were sent or acknowledged.
 */

/**
 * @typedef {object} AttachmentOptions
 * @property {Message} [run] The request that starts the run; without it the run exists.
 * @property {number} [stdout] The first offset wanted.
 * @property {number} [stderr] Without one, that stream is not sent.
 * @property {number} [window] Bytes in flight.
 * @property {boolean} [follow]
 * @property {boolean} [types] Whether this page feeds the run.
 * @property {number} [stdin] The offset of the first byte of stdin.
 * @property {boolean} [share] Whether it types beside whoever does.
 * @property {boolean} [hold]
 * @property {{ columns: number, rows: number } | null} [size]
 * @property {number} [pending] Bytes of input that may wait; `MAX_PENDING` without it.
 */

/** Bytes of typed text that wait while there is no connection; more is refused. A page of text is 4 KiB. */
export const MAX_PENDING = 1024 * 1024;

export class Attachment {
  /**
   * @param {import("./host.js").Host} host
   * @param {string} id
   * @param {AttachmentOptions} options
   * @param {AttachmentOwner} owner
   */
  constructor(host, id, options, owner) {
    this.host = host;
    this.id = id;
    this._options = { follow: true, types: false, stdin: 0, share: false, hold: false, size: null, ...options };
    this._owner = owner;
    this._key = toBase64(randomBytes(16));
    this._window = options.window ?? 1024 * 1024;
    this._maxPending = options.pending ?? MAX_PENDING;
    /** @type {Record<OutputStream, number | undefined>} */
    this.offsets = { stdout: options.run ? 0 : options.stdout, stderr: options.run ? 0 : options.stderr };
    /** @type {Record<OutputStream, number>} */
    this._unacknowledged = { stdout: 0, stderr: 0 };
    this._startKnown = false;
    this._done = false;
    /** @type {Connection | null} */
    this._connection = null;
    this._channel = 0;
    // stdin: bytes from `_acknowledged` on are kept until the program has read them.
    this._acknowledged = this._options.stdin ?? 0;
    this._sent = this._acknowledged;
    this._credit = 0;
    /** @type {Uint8Array[]} */
    this._typed = [];
    this._typedSize = 0;
    this._stdinEnded = false;
    this._endSent = false;
    this._feeds = false;
  }

  /** Begin; continues by itself after an outage. */
  begin() {
    this.host.register(this);
  }

  /** Whether what is typed reaches the program. */
  get feeds() {
    return this._feeds;
  }

  /** Bytes that were typed and that the program has not read, as far as is known. */
  get pending() {
    return this._typedSize;
  }

  /**
   * Type bytes. Returns whether they were accepted: not if too much waits already.
   * @param {Uint8Array} bytes
   */
  write(bytes) {
    if (this._stdinEnded || this._typedSize + bytes.length > this._maxPending) return false;
    if (bytes.length > 0) {
      this._typed.push(bytes);
      this._typedSize += bytes.length;
      this._pump();
    }
    return true;
  }

  /** End stdin. */
  endInput() {
    this._stdinEnded = true;
    this._pump();
  }

  /** @param {number} number */
  signal(number) {
    this._send({ type: "signal", number });
  }

  /** Stop the run: TERM, a grace period, KILL. */
  stop() {
    this._send({ type: "stop" });
  }

  /** @param {{ columns: number, rows: number }} size */
  resize(size) {
    this._options.size = size;
    this._send({ type: "resize", ...size });
  }

  /**
   * Say that bytes of a stream have been processed: so many more may be sent.
   * @param {OutputStream} stream
   * @param {number} bytes
   */
  consumed(stream, bytes) {
    this._unacknowledged[stream] += bytes;
    if (this._unacknowledged[stream] >= this._window / 4) {
      this._send({ type: "credit", stream, bytes: this._unacknowledged[stream] });
      this._unacknowledged[stream] = 0;
    }
  }

  /** Leave the run; it goes on, as it was started. */
  leave() {
    this._done = true;
    this.host.unregister(this);
    this._connection?.closeChannel(this._channel);
    this._connection = null;
  }

  // Called by the host

  /** @param {Connection} connection */
  open(connection) {
    this._connection = connection;
    this._unacknowledged = { stdout: 0, stderr: 0 };
    const { run } = this._options;
    const resumed = this._startKnown || run === undefined;
    this._credit = connection.limits.window;
    this._endSent = false;
    this._sent = run !== undefined && !this._startKnown ? 0 : this._acknowledged;
    const request = resumed ? this._attach() : { ...run, attachment: this._key, window: this._window };
    this._channel = connection.open(/** @type {Message} */ (request), {
      received: (message) => this._received(message),
      data: (stream, bytes) => this._data(stream, bytes),
      lost: () => {
        this._connection = null;
        this._owner.changed?.();
      },
    });
    // A terminal whose size has changed since the request was made.
    if (!resumed && this._options.size !== null && run?.terminal) this._send({ type: "resize", ...this._options.size });
    this._pump();
  }

  /** @param {ConnectionEnd} why */
  fail(why) {
    this._done = true;
    this._owner.failed?.(why);
  }

  _attach() {
    const { follow, types, share, hold, size } = this._options;
    /** @type {Message} */
    const message = { type: "attach", id: this.id, attachment: this._key, window: this._window, follow };
    if (this.offsets.stdout !== undefined) message.stdout = this.offsets.stdout;
    if (this.offsets.stderr !== undefined) message.stderr = this.offsets.stderr;
    if (types) {
      message.stdin = this._acknowledged;
      message.share = share && size !== null;
      message.hold = hold;
    } else {
      message.read_only = true;
    }
    if (size !== null) message.size = size;
    return message;
  }

  /** @param {Message} message */
  _received(message) {
    switch (message.type) {
      case "started":
        this._startKnown = true;
        this._feeds = message.stdin ?? false;
        break;
      case "credit":
        this._acknowledge(message.bytes);
        return;
      case "gap": {
        const stream = /** @type {OutputStream} */ (message.stream);
        this.offsets[stream] = message.offset + message.bytes;
        this._owner.gap?.(stream, message.offset, message.bytes);
        return;
      }
      case "ended":
      case "done":
      case "error":
        this._done = true;
        this._connection = null;
        this.host.unregister(this);
        break;
    }
    this._owner.message?.(message);
  }

  /**
   * @param {OutputStream} stream
   * @param {Uint8Array} bytes
   */
  _data(stream, bytes) {
    const offset = this.offsets[stream] ?? 0;
    this.offsets[stream] = offset + bytes.length;
    this._owner.data(stream, bytes, offset);
  }

  /** @param {number} bytes */
  _acknowledge(bytes) {
    this._credit += bytes;
    this._acknowledged += bytes;
    let drop = bytes;
    while (drop > 0 && this._typed.length > 0) {
      const first = this._typed[0];
      if (first.length <= drop) {
        this._typed.shift();
        this._typedSize -= first.length;
        drop -= first.length;
      } else {
        this._typed[0] = first.subarray(drop);
        this._typedSize -= drop;
        drop = 0;
      }
    }
    this._pump();
    this._owner.changed?.();
  }

  /** Send what was typed and not sent yet, as far as the service accepts it. */
  _pump() {
    const connection = this._connection;
    if (connection === null) {
      this._owner.changed?.();
      return;
    }
    let skip = this._sent - this._acknowledged;
    for (const bytes of this._typed) {
      if (skip >= bytes.length) {
        skip -= bytes.length;
        continue;
      }
      const part = bytes.subarray(skip, skip + this._credit);
      skip = 0;
      if (part.length === 0) break;
      connection.sendData(this._channel, part);
      this._sent += part.length;
      this._credit -= part.length;
    }
    if (this._stdinEnded && !this._endSent && this._sent === this._acknowledged + this._typedSize) {
      this._endSent = true;
      this._send({ type: "end", stream: "stdin" });
    }
  }

  /** @param {Message} message */
  _send(message) {
    this._connection?.send(this._channel, message);
  }
}
