// @ts-check
/**
 * Frames: an eight-byte header (length 24 bits, kind 8, channel 32, big-endian) and the payload.
 * The specification is protocol/README.md, section 2.
 */

export const HEADER_SIZE = 8;

/** @enum {number} */
export const Kind = Object.freeze({ MESSAGE: 1, STDIN: 2, STDOUT: 3, STDERR: 4 });

/** Bytes of a message and of a data frame that this client accepts; a service sends no larger ones. */
export const LIMITS = Object.freeze({ message: 4 * 1024 * 1024, data: 65536, window: 4 * 1024 * 1024, channels: 1024 });

/** The peer has sent what no service sends; the connection cannot go on. */
export class ProtocolError extends Error {}

/**
 * @typedef {{ kind: number, channel: number, payload: Uint8Array }} Frame
 */

/**
 * Return a frame's bytes.
 * @param {number} kind
 * @param {number} channel
 * @param {Uint8Array} payload
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeFrame(kind, channel, payload) {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, ((payload.length << 8) | kind) >>> 0);
  view.setUint32(4, channel);
  bytes.set(payload, HEADER_SIZE);
  return bytes;
}

/** Splits what arrives into frames. Each byte is copied once at most, however it is cut. */
export class FrameReader {
  constructor() {
    /** @type {Uint8Array} */
    this._header = new Uint8Array(HEADER_SIZE);
    this._headerFilled = 0;
    /** @type {Uint8Array | null} */
    this._payload = null;
    this._filled = 0;
    this._kind = 0;
    this._channel = 0;
  }

  /**
   * Return the frames that are complete with these bytes. A payload may be a view of `bytes`.
   * @param {Uint8Array} bytes
   * @returns {Frame[]}
   * @throws {ProtocolError}
   */
  feed(bytes) {
    /** @type {Frame[]} */
    const frames = [];
    let at = 0;
    while (at < bytes.length || (this._payload === null && this._headerFilled === HEADER_SIZE)) {
      if (this._payload === null) {
        const missing = HEADER_SIZE - this._headerFilled;
        const part = bytes.subarray(at, at + missing);
        this._header.set(part, this._headerFilled);
        this._headerFilled += part.length;
        at += part.length;
        if (this._headerFilled < HEADER_SIZE) break;
        const length = this._check();
        if (bytes.length - at >= length) {
          frames.push({ kind: this._kind, channel: this._channel, payload: bytes.subarray(at, at + length) });
          at += length;
          this._headerFilled = 0;
          continue;
        }
        this._payload = new Uint8Array(length);
        this._filled = 0;
      }
      const part = bytes.subarray(at, at + this._payload.length - this._filled);
      this._payload.set(part, this._filled);
      this._filled += part.length;
      at += part.length;
      if (this._filled < this._payload.length) break;
      frames.push({ kind: this._kind, channel: this._channel, payload: this._payload });
      this._payload = null;
      this._headerFilled = 0;
    }
    return frames;
  }

  /** Read the header, check it, and return the length of the payload. */
  _check() {
    const view = new DataView(this._header.buffer);
    const word = view.getUint32(0);
    const length = word >>> 8;
    this._kind = word & 0xff;
    this._channel = view.getUint32(4);
    if (this._kind === Kind.MESSAGE) {
      if (length > LIMITS.message) throw new ProtocolError(`a message of ${length} bytes`);
    } else if (this._kind === Kind.STDOUT || this._kind === Kind.STDERR) {
      if (length > LIMITS.data || length === 0) throw new ProtocolError(`a data frame of ${length} bytes`);
    } else {
      throw new ProtocolError(`a frame of kind ${this._kind}`);
    }
    return length;
  }
}
