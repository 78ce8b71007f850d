// @ts-check
/** What the page knows about runs: outcomes in words, signals, and requests as a line for the command line. */

import { t } from "../text/text.js";
import { printable } from "./values.js";

/**
 * @typedef {{ status: string, code?: number, signal?: number, reason?: string, message?: string, what?: string, error?: string }} Outcome
 * @typedef {{ id: string, owner: string, command: string, began: number, duration: number, stdout: number, stderr: number,
 *   stdin?: number, pid?: number, attachments?: number, on_disconnect?: string, outcome?: Outcome,
 *   terminal?: { columns: number, rows: number }, left_processes?: any, login?: boolean, tty?: string,
 *   clients?: { user: string, key?: string, address?: string, types?: boolean }[], internal?: boolean,
 *   transfer?: boolean, forward?: boolean }} RunInfo
 */

/** Names of signals by their number on Linux (signal(7)). */
export const SIGNALS = Object.freeze(
  /** @type {Record<number, string>} */ ({
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
    10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 18: "SIGCONT",
    19: "SIGSTOP", 20: "SIGTSTP", 24: "SIGXCPU", 25: "SIGXFSZ",
  }),
);

/** Signals that the page offers. */
export const OFFERED_SIGNALS = [2, 15, 1, 3, 10, 12, 19, 18, 9];

/** @param {number | undefined} number */
export function signalName(number) {
  return number === undefined ? "" : (SIGNALS[number] ?? `signal ${number}`);
}

/**
 * @param {Outcome | undefined} outcome
 * @returns {string}
 */
export function outcomeText(outcome) {
  if (outcome === undefined) return t("running");
  switch (outcome.status) {
    case "exited":
      return outcome.code === 0 ? t("exited-0") : t("exited", { code: outcome.code ?? 0 });
    case "signaled":
      return t("signaled", { signal: signalName(outcome.signal) });
    case "timed_out":
      return t("timed-out");
    case "killed":
      return t(`killed-${outcome.reason}`);
    case "spawn_failed":
      return t("spawn-failed");
    default:
      return t("lost");
  }
}

/**
 * Return `running`, `good` or `bad`.
 * @param {Outcome | undefined} outcome
 */
export function outcomeClass(outcome) {
  if (outcome === undefined) return "running";
  return outcome.status === "exited" && outcome.code === 0 ? "good" : "bad";
}

/**
 * Return what else an outcome says; empty if nothing.
 * @param {Outcome | undefined} outcome
 */
export function outcomeDetail(outcome) {
  return printable(outcome?.message ?? "");
}

/**
 * Return a word as a POSIX shell reads it.
 * @param {string} word
 */
export function quoted(word) {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * Return the command line that starts the same run.
 * @param {string} host
 * @param {RunForm} form
 */
export function commandLine(host, form) {
  const words = ["farhand", "run"];
  if (form.terminal) words.push("-t");
  if (form.directory) words.push("-C", quoted(form.directory));
  for (const [name, value] of form.environment) words.push("-e", quoted(`${name}=${value}`));
  if (form.timeout) words.push("--timeout", `${form.timeout}`);
  if (form.shell !== null) words.push("--shell", quoted(host), quoted(form.shell));
  else words.push(quoted(host), "--", ...form.argv.map(quoted));
  return words.join(" ");
}

/**
 * @typedef {{ argv: string[], shell: string | null, directory: string, environment: [string, string][],
 *   timeout: number | null, terminal: boolean }} RunForm
 */

/**
 * Return the request that starts a run.
 * @param {string} id
 * @param {RunForm} form
 * @param {{ columns: number, rows: number }} size of a terminal
 * @returns {import("./connection.js").Message}
 */
export function runRequest(id, form, size) {
  /** @type {import("./connection.js").Message} */
  const request = { type: "run", id };
  if (form.shell !== null) request.shell = form.shell;
  else request.argv = form.argv;
  if (form.directory) request.cwd = form.directory;
  if (form.environment.length > 0) request.env = form.environment;
  if (form.timeout !== null) request.timeout = form.timeout;
  // A page is closed by mistake more often than on purpose, and the run has a page of its own.
  request.on_disconnect = "keep";
  if (form.terminal) {
    request.stdin = true;
    request.merge_stderr = true;
    request.terminal = { name: "xterm-256color", size };
  } else {
    // What nobody reads for a while must not stop the program, and a page that comes back wants all of it.
    request.spool = SPOOL;
    request.stdin = true;
  }
  return request;
}

/** Bytes of output that the service keeps for a run started here: as much as a page shows. */
const SPOOL = 64 * 1024 * 1024;

const UNITS = /** @type {Record<string, number>} */ ({ ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 });

/**
 * Return the seconds of a text such as `90`, `90s` or `1h30m`; null if it is no time.
 * @param {string} text
 */
export function parseTime(text) {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) || null;
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(trimmed)) return null;
  let seconds = 0;
  for (const part of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) seconds += Number(part[1]) * UNITS[part[2]];
  return seconds || null;
}
