// @ts-check
/** Requests with short answers. */

/**
 * Return what the service says about a run. Rejects with a `Refusal`, or an Error if there is no such run.
 * @param {import("./host.js").Host} host
 * @param {string} id
 * @returns {Promise<import("./runs.js").RunInfo>}
 */
export async function runInfo(host, id) {
  const answers = await host.request({ type: "list", ended: true, prefix: id, limit: 2 });
  const runs = answers.flatMap((answer) => (answer.type === "runs" ? answer.runs : []));
  if (runs.length !== 1) throw new Error(id);
  return runs[0];
}

/** Seconds until a run that is stopped is killed, as for `farhand kill`. */
const KILL_AFTER = 10;

/**
 * Stop a run: TERM, ten seconds, KILL, without attaching to it.
 * @param {import("./host.js").Host} host
 * @param {string} id
 */
export function stopRun(host, id) {
  return host.request({ type: "deliver", id, number: 15, kill_after: KILL_AFTER });
}

/**
 * Send a signal to a run.
 * @param {import("./host.js").Host} host
 * @param {string} id
 * @param {number} number
 */
export function signalRun(host, id, number) {
  return host.request({ type: "deliver", id, number });
}
