// @ts-check
/** A host: one connection after the other, so that an outage is only a pause for whatever is registered. */

import { Connection, ConnectionEnd } from "./connection.js";

/**
 * @typedef {object} Resumable
 * @property {(connection: Connection) => void} open Continue on a new connection.
 * @property {(why: ConnectionEnd) => void} fail There will be no further connection.
 */

/** @typedef {"unused" | "connecting" | "connected" | "waiting" | "failed"} HostState */

/** Milliseconds for which an outage is mended by itself: a walk to another room, a closed lid at a meeting. */
export const RECONNECT_TIME = 15 * 60_000;

/** Milliseconds between two attempts at most, as for the command line. */
const MAX_DELAY = 5000;
const FIRST_DELAY = 100;

export class Host extends EventTarget {
  /**
   * @param {string} name
   * @param {(name: string) => WebSocket} dial
   * @param {import("./passkey.js").PasskeyLogin | null} [login]
   */
  constructor(name, dial, login = null) {
    super();
    this.name = name;
    this._dial = dial;
    this._login = login;
    /** @type {HostState} */
    this.state = "unused";
    /** Why the last connection has ended. @type {ConnectionEnd | null} */
    this.why = null;
    /** When the attempts end, in milliseconds since the epoch; 0 without an outage. */
    this.until = 0;
    /** @type {Connection | null} */
    this.connection = null;
    /** @type {Set<Resumable>} */
    this._registered = new Set();
    this._attempts = 0;
    this._timer = 0;
  }

  /** The user that the service has logged in, and the machine's own name. */
  get accepted() {
    return this.connection?.accepted ?? null;
  }

  /** Connect, unless that is under way. After a failure it begins anew. */
  use() {
    if (this.state === "unused" || this.state === "failed") {
      this._attempts = 0;
      this.until = this.state === "failed" ? Date.now() + RECONNECT_TIME : 0;
      this._connect();
    }
  }

  /** Whether a person has to log in for each connection, so that none is made by itself. */
  get attended() {
    return this._login !== null;
  }

  /** Try again now rather than later: the network is back, or somebody looks at the page. */
  hurry() {
    if (this.state === "waiting" && !this.attended) this._connect();
  }

  /** Try again, because somebody wants to. */
  again() {
    if (this.state === "waiting") this._connect();
    else this.use();
  }

  /**
   * Open `resumable` on this connection and on every later one, until it is unregistered.
   * @param {Resumable} resumable
   */
  register(resumable) {
    this._registered.add(resumable);
    if (this.connection?.accepted) resumable.open(this.connection);
    else this.use();
  }

  /** @param {Resumable} resumable */
  unregister(resumable) {
    this._registered.delete(resumable);
  }

  /**
   * Ask for something that has a short answer, and ask again if the connection is lost before.
   * @param {import("./connection.js").Message} message
   * @returns {Promise<import("./connection.js").Message[]>} what was answered; rejects with a `Refusal` or `ConnectionEnd`
   */
  request(message) {
    return new Promise((resolve, reject) => {
      /** @type {import("./connection.js").Message[]} */
      let answers = [];
      const asking = {
        /** @param {Connection} connection */
        open: (connection) => {
          answers = [];
          connection.open(message, {
            received: (answer) => {
              if (answer.type === "error") {
                this.unregister(asking);
                reject(new Refusal(answer.code, answer.message));
                return;
              }
              answers.push(answer);
              if (answer.type === "done" || answer.type === "matched" || answer.type === "service_status") {
                this.unregister(asking);
                resolve(answers);
              }
            },
            lost: () => {},
          });
        },
        fail: reject,
      };
      this.register(asking);
    });
  }

  /** Close the connection; nothing is registered any more. */
  close() {
    clearTimeout(this._timer);
    this._registered.clear();
    const connection = this.connection;
    this.connection = null;
    this._become("unused");
    connection?.close();
  }

  _connect() {
    clearTimeout(this._timer);
    this._become("connecting");
    const connection = new Connection(this._dial(this.name), {
      ready: () => {
        this._attempts = 0;
        this.until = 0;
        this.why = null;
        this._become("connected");
        for (const resumable of [...this._registered]) resumable.open(connection);
      },
      ended: (why) => {
        if (this.connection === connection) this._lost(why);
      },
    }, this._login);
    this.connection = connection;
  }

  /** @param {ConnectionEnd} why */
  _lost(why) {
    this.connection = null;
    this.why = why;
    const now = Date.now();
    if (this.attended && (!why.fatal || this._registered.size > 0) && why.code !== "logged_out") {
      // Whatever is shown stays, and goes on once somebody has logged in again.
      this._become("waiting");
      return;
    }
    if (this.until === 0) this.until = now + RECONNECT_TIME;
    if (why.fatal || now >= this.until) {
      this._become("failed");
      for (const resumable of [...this._registered]) resumable.fail(why);
      this._registered.clear();
      return;
    }
    // As the command line does: a random time, so that pages that lost a service together do not return together.
    const longest = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** Math.min(this._attempts++, 6));
    this._timer = setTimeout(() => this._connect(), Math.random() * longest);
    this._become("waiting");
  }

  /** @param {HostState} state */
  _become(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}

/** A request was refused by the service. */
export class Refusal extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}
