// @ts-check
/**
 * One connection to a service over a WebSocket, from `hello` to its end. The WebSocket carries the bytes of the protocol;
 * where its messages begin and end means nothing. Whoever opens a channel gives an endpoint, which is told everything.
 */

import { Kind, LIMITS, FrameReader, ProtocolError, encodeFrame } from "./frames.js";
import { t } from "../text/text.js";
import { fromBase64, randomBytes, toBase64 } from "./values.js";

/** @typedef {{ type: string, [field: string]: any }} Message */

/**
 * @typedef {object} Endpoint
 * @property {(message: Message) => void} received A message on the channel.
 * @property {(stream: "stdout" | "stderr", bytes: Uint8Array) => void} [data] Bytes of a stream.
 * @property {(why: ConnectionEnd) => void} lost The connection has ended, and the channel with it.
 */

/** Why a connection has ended. `fatal`: another attempt would end in the same way. */
export class ConnectionEnd extends Error {
  /**
   * @param {string} message
   * @param {{ fatal?: boolean, code?: string }} [about]
   */
  constructor(message, { fatal = false, code = "" } = {}) {
    super(message);
    this.fatal = fatal;
    this.code = code;
  }
}

/** Messages that are the service's last one on a channel (section 6). */
const FINAL = new Set(["ended", "done", "matched", "service_status", "error"]);

/** Codes of errors after which another attempt has no point, until somebody wants one. */
const FATAL = new Set(["denied", "unsupported_version", "login_failed"]);

/** Features of the protocol that this client knows. */
export const FEATURES = ["files", "left-processes", "loop-holds", "run-details", "service-status", "shares"];

/** Milliseconds of silence until the service is pinged, and until the connection counts as lost. */
const PING_AFTER = 10_000;
const LOST_AFTER = 25_000;

/** Bytes that wait in the WebSocket above which `full` is true: what is sent in a fraction of a second. */
const FULL = 1024 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The close codes of farhand web. */
const CLOSED = Object.freeze({ ENDED: 4401, UNKNOWN: 4404 });

export class Connection {
  /**
   * @param {WebSocket} socket opened by the caller, with binaryType "arraybuffer"
   * @param {{ ready: (connection: Connection) => void, ended: (why: ConnectionEnd) => void }} owner
   * @param {import("./passkey.js").PasskeyLogin | null} [login] how to log in, at a service's web door
   */
  constructor(socket, owner, login = null) {
    this._socket = socket;
    this._owner = owner;
    this._login = login;
    this._nonce = randomBytes(32);
    this._hello = new Uint8Array();
    this._reader = new FrameReader();
    /** @type {Map<number, { endpoint: Endpoint, closed: boolean }>} */
    this._channels = new Map();
    this._lastChannel = 0;
    this._receivedAt = performance.now();
    this._pinged = false;
    this._timer = 0;
    /** @type {Map<number, { answered: () => void, lost: (why: ConnectionEnd) => void }>} */
    this._pings = new Map();
    this._pingNumber = 0;
    /** @type {ConnectionEnd | null} */
    this.end = null;
    /** @type {Message | null} */
    this.welcome = null;
    /** @type {Message | null} */
    this.accepted = null;
    /** The seconds that the service leaves its runs, once it has said that it shuts down. */
    this.goingAway = /** @type {number | null} */ (null);
    socket.onopen = () => this._opened();
    socket.onmessage = (event) => this._arrived(event);
    socket.onclose = (event) => this._closed(event);
  }

  /**
   * Whether the service has announced a feature.
   * @param {string} feature
   */
  knows(feature) {
    return this.welcome?.features?.includes(feature) ?? false;
  }

  /** Whether so much is unsent that nothing more should be. */
  get full() {
    return this._socket.bufferedAmount > FULL;
  }

  /** Whether something can be sent: not once the socket is closing, which the browser says in an event only later. */
  get _open() {
    return this.end === null && this._socket.readyState === WebSocket.OPEN;
  }

  /** What the service accepts. */
  get limits() {
    return this.welcome?.limits ?? LIMITS;
  }

  /**
   * Open a channel with a request and return its number.
   * @param {Message} request
   * @param {Endpoint} endpoint
   */
  open(request, endpoint) {
    const number = ++this._lastChannel;
    this._channels.set(number, { endpoint, closed: false });
    this.send(number, request);
    return number;
  }

  /**
   * Send a message. After a `close` nothing more may be sent on the channel.
   * @param {number} channel
   * @param {Message} message
   */
  send(channel, message) {
    if (!this._open) return;
    this._socket.send(encodeFrame(Kind.MESSAGE, channel, encoder.encode(JSON.stringify(message))));
  }

  /**
   * Send bytes of stdin, cut into frames.
   * @param {number} channel
   * @param {Uint8Array} bytes
   */
  sendData(channel, bytes) {
    if (!this._open) return;
    const most = Math.min(this.limits.data, LIMITS.data);
    for (let at = 0; at < bytes.length; at += most) {
      this._socket.send(encodeFrame(Kind.STDIN, channel, bytes.subarray(at, at + most)));
    }
  }

  /**
   * Close a channel: what still arrives on it is dropped.
   * @param {number} channel
   */
  closeChannel(channel) {
    const open = this._channels.get(channel);
    if (open === undefined || open.closed) return;
    open.closed = true;
    open.endpoint = { received: () => {}, lost: () => {} };
    this.send(channel, { type: "close" });
  }

  /**
   * Resolve with the round-trip time in milliseconds; reject if the connection ends before.
   * @returns {Promise<number>}
   */
  ping() {
    const began = performance.now();
    return new Promise((resolve, reject) => {
      if (this.end !== null) {
        reject(this.end);
        return;
      }
      const id = ++this._pingNumber;
      this._pings.set(id, { answered: () => resolve(performance.now() - began), lost: reject });
      this.send(0, { type: "ping", id });
    });
  }

  /** Close the connection; runs are left as after any lost connection. */
  close() {
    this._finish(new ConnectionEnd("closed by this page", { fatal: true }));
    this._socket.close();
  }

  _opened() {
    this._receivedAt = performance.now();
    this._timer = setInterval(() => this._look(), 1000);
    const hello = {
      type: "hello",
      versions: [1],
      software: "farhand web",
      features: FEATURES,
      limits: LIMITS,
      nonce: toBase64(this._nonce),
      ...(this._login === null ? {} : { user: this._login.user, server: this._login.server }),
    };
    this._hello = encodeFrame(Kind.MESSAGE, 0, encoder.encode(JSON.stringify(hello)));
    this._socket.send(this._hello);
  }

  _look() {
    const silent = performance.now() - this._receivedAt;
    if (silent > LOST_AFTER) {
      this._finish(new ConnectionEnd("no answer"));
      this._socket.close();
    } else if (silent > PING_AFTER && !this._pinged && this.accepted !== null) {
      this._pinged = true;
      this.send(0, { type: "ping", id: ++this._pingNumber });
    }
  }

  /** @param {MessageEvent} event */
  _arrived(event) {
    if (this.end !== null) return;
    this._receivedAt = performance.now();
    this._pinged = false;
    try {
      if (!(event.data instanceof ArrayBuffer)) throw new ProtocolError("text instead of frames");
      for (const frame of this._reader.feed(new Uint8Array(event.data))) this._frame(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof SyntaxError || error instanceof TypeError)) throw error;
      this._finish(new ConnectionEnd(`the service has broken the protocol: ${error.message}`));
      this._socket.close();
    }
  }

  /** @param {import("./frames.js").Frame} frame */
  _frame({ kind, channel, payload }) {
    if (channel === 0) {
      if (kind !== Kind.MESSAGE) throw new ProtocolError("data on channel 0");
      this._ownMessage(parse(payload));
      return;
    }
    const open = this._channels.get(channel);
    if (open === undefined || this.accepted === null) throw new ProtocolError(`channel ${channel} is not open`);
    if (kind !== Kind.MESSAGE) {
      open.endpoint.data?.(kind === Kind.STDOUT ? "stdout" : "stderr", payload);
      return;
    }
    const message = parse(payload);
    if (FINAL.has(message.type)) {
      this._channels.delete(channel);
      if (!open.closed) this.send(channel, { type: "close" });
    }
    open.endpoint.received(message);
  }

  /** @param {Message} message */
  _ownMessage(message) {
    switch (message.type) {
      case "welcome":
        this.welcome = message;
        if (message.login === true && this._login !== null) this._logIn(this._login, fromBase64(message.nonce));
        break;
      case "refused":
        this._finish(new ConnectionEnd(t("passkey-refused"), { fatal: true, code: "login_failed" }));
        this._socket.close();
        break;
      case "accepted":
        this.accepted = message;
        this._owner.ready(this);
        break;
      case "ping":
        this.send(0, { type: "pong", id: message.id });
        break;
      case "pong":
        this._pings.get(message.id)?.answered();
        this._pings.delete(message.id);
        break;
      case "going_away":
        this.goingAway = message.grace;
        break;
      case "error":
        this._finish(new ConnectionEnd(message.message, { fatal: FATAL.has(message.code), code: message.code }));
        break;
      default:
        throw new ProtocolError(`a message ${message.type} on channel 0`);
    }
  }

  /**
   * @param {import("./passkey.js").PasskeyLogin} login
   * @param {Uint8Array} nonce
   */
  async _logIn(login, nonce) {
    try {
      this.send(0, await login.message(this._hello, this._nonce, nonce));
    } catch (error) {
      // The browser's own sentence: nobody has touched a key, or there is none for this site.
      this._finish(new ConnectionEnd(error instanceof Error ? error.message : String(error), { fatal: true, code: "login_failed" }));
      this._socket.close();
    }
  }

  /** @param {CloseEvent} event */
  _closed(event) {
    const ended = event.code === CLOSED.ENDED;
    const fatal = ended || event.code === CLOSED.UNKNOWN;
    this._finish(new ConnectionEnd(event.reason || "connection lost", { fatal, code: ended ? "logged_out" : "" }));
  }

  /** @param {ConnectionEnd} why */
  _finish(why) {
    if (this.end !== null) return;
    this.end = why;
    clearInterval(this._timer);
    for (const { endpoint } of this._channels.values()) endpoint.lost(why);
    this._channels.clear();
    for (const { lost } of this._pings.values()) lost(why);
    this._pings.clear();
    this._owner.ended(why);
  }
}

/**
 * @param {Uint8Array} payload
 * @returns {Message}
 */
function parse(payload) {
  const message = JSON.parse(decoder.decode(payload));
  if (typeof message !== "object" || message === null || typeof message.type !== "string") {
    throw new ProtocolError("a message without a type");
  }
  return message;
}
