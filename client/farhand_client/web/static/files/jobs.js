// @ts-check
/** The transfers of this page, which go on while it shows something else. */

/** Transfers at once; others wait. More would only share the same connection. */
const MAX_ACTIVE = 4;

/** Ended transfers that are still shown. */
const MAX_ENDED = 50;

/**
 * @typedef {object} TransferJob
 * @property {string} name
 * @property {"waiting" | "active" | "done" | "failed" | "cancelled"} state
 * @property {number} done bytes
 * @property {number | null} total
 * @property {string} text what came of it
 * @property {AbortController} controller
 */

export class TransferJobs extends EventTarget {
  constructor() {
    super();
    /** @type {TransferJob[]} */
    this.jobs = [];
    /** @type {(() => void)[]} */
    this._waiting = [];
    this._active = 0;
    this._warn = (/** @type {BeforeUnloadEvent} */ event) => event.preventDefault();
  }

  /**
   * Do a transfer; `work` reports its progress and returns what is to be said of it. Resolves at its end, however it ended.
   * @param {string} name
   * @param {number | null} total
   * @param {(job: TransferJob, progress: (done: number, total?: number | null) => void) => Promise<string>} work
   * @param {(error: any) => string} explain
   */
  async add(name, total, work, explain) {
    /** @type {TransferJob} */
    const job = { name, state: "waiting", done: 0, total, text: "", controller: new AbortController() };
    this.jobs.unshift(job);
    this._changed();
    if (this._active++ === 0) addEventListener("beforeunload", this._warn);
    if (this._active > MAX_ACTIVE) await new Promise((resolve) => this._waiting.push(() => resolve(undefined)));
    try {
      job.controller.signal.throwIfAborted();
      job.state = "active";
      this._changed();
      job.text = await work(job, (done, known = total) => {
        job.done = done;
        job.total = known;
        this._changed();
      });
      job.state = "done";
    } catch (error) {
      job.state = job.controller.signal.aborted ? "cancelled" : "failed";
      if (job.state === "failed") job.text = explain(error);
    }
    if (--this._active === 0) removeEventListener("beforeunload", this._warn);
    this._waiting.shift()?.();
    this.jobs.filter((each) => ended(each)).slice(MAX_ENDED).forEach((old) => this.jobs.splice(this.jobs.indexOf(old), 1));
    this._changed();
  }

  /** Forget those that have ended. */
  clear() {
    this.jobs = this.jobs.filter((job) => !ended(job));
    this._changed();
  }

  _changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {TransferJob} job */
export function ended(job) {
  return job.state !== "waiting" && job.state !== "active";
}

/** @type {WeakMap<import("../wire/host.js").Host, TransferJobs>} */
const byHost = new WeakMap();

/** @param {import("../wire/host.js").Host} host */
export function jobsOf(host) {
  let jobs = byHost.get(host);
  if (jobs === undefined) byHost.set(host, (jobs = new TransferJobs()));
  return jobs;
}
