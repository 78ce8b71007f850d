// @ts-check
/** When output was written: the offsets of each stream at moments since a run's start (protocol/README.md, `mark`). */

/** @typedef {{ at: number, stdout?: number, stderr?: number, size?: { columns: number, rows: number } }} Mark */

/**
 * Ask the service for all marks of a run.
 * @param {import("../wire/host.js").Host} host
 * @param {string} id
 * @returns {Promise<Mark[]>}
 */
export async function requestMarks(host, id) {
  const answers = await host.request({ type: "recording", id });
  return answers.flatMap((answer) => (answer.type === "marks" ? answer.marks : []));
}

/** @type {WeakMap<Mark[], Record<string, Mark[]>>} */
const byStream = new WeakMap();

/**
 * Return the first mark at which a stream had so many bytes; null if there is none yet.
 * @param {Mark[]} marks
 * @param {"stdout" | "stderr"} stream
 * @param {number} offset
 */
export function firstMark(marks, stream, offset) {
  let split = byStream.get(marks);
  if (split === undefined) {
    split = {
      stdout: marks.filter((mark) => mark.stdout !== undefined),
      stderr: marks.filter((mark) => mark.stderr !== undefined),
    };
    byStream.set(marks, split);
  }
  const own = split[stream];
  let low = 0;
  let high = own.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((own[middle][stream] ?? 0) < offset) low = middle + 1;
    else high = middle;
  }
  return own[low] ?? null;
}
