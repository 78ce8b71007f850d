// @ts-check
/** Forms that this browser keeps: those that were saved by name, and those from which it has started runs. */

/** Saved forms: a list that is read at a glance. Of more the oldest goes. */
const MAX_SAVED = 50;

/** Runs of which the form is known, so that they can be started again as they were. */
const MAX_STARTED = 200;

/** Characters of a form; a browser keeps some five million for a page. */
const MAX_FORM = 8192;

const SAVED = "farhand-saved-forms";
const STARTED = "farhand-started-forms";

/**
 * Return what fills a form in, as in a URL.
 * @param {import("../wire/runs.js").RunForm} form
 */
export function queryOf(form) {
  const query = new URLSearchParams();
  if (form.shell !== null) query.set("shell", form.shell);
  else for (const word of form.argv) query.append("arg", word);
  if (form.directory) query.set("cwd", form.directory);
  for (const [name, value] of form.environment) query.append("env", `${name}=${value}`);
  if (form.timeout !== null) query.set("timeout", `${form.timeout}`);
  if (form.terminal) query.set("terminal", "");
  return query;
}

/**
 * Return the form that `queryOf` was given.
 * @param {URLSearchParams} query
 * @returns {import("../wire/runs.js").RunForm}
 */
export function formOf(query) {
  return {
    argv: query.getAll("arg"),
    shell: query.get("shell"),
    directory: query.get("cwd") ?? "",
    environment: query.getAll("env").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    timeout: query.has("timeout") ? Number(query.get("timeout")) : null,
    terminal: query.has("terminal"),
  };
}

/**
 * @param {string} key
 * @returns {[string, string][]} names and forms, as the query of a URL; the newest last
 */
function read(key) {
  try {
    const found = JSON.parse(localStorage.getItem(key) ?? "[]");
    return Array.isArray(found) ? found.filter((pair) => Array.isArray(pair) && pair.length === 2 && pair.every((word) => typeof word === "string")) : [];
  } catch {
    return []; // written by something else
  }
}

/**
 * @param {string} key
 * @param {string} name
 * @param {string} form
 * @param {number} most
 */
function keep(key, name, form, most) {
  if (name.length + form.length > MAX_FORM) return false;
  const others = read(key).filter(([other]) => other !== name);
  localStorage.setItem(key, JSON.stringify([...others, [name, form]].slice(-most)));
  return true;
}

/** Return the saved forms by name. */
export function savedForms() {
  return new Map(read(SAVED).sort(([one], [other]) => one.localeCompare(other)));
}

/**
 * Save a form; returns whether there was room.
 * @param {string} name
 * @param {URLSearchParams} form
 */
export function saveForm(name, form) {
  return keep(SAVED, name, form.toString(), MAX_SAVED);
}

/** @param {string} name */
export function forgetForm(name) {
  localStorage.setItem(SAVED, JSON.stringify(read(SAVED).filter(([other]) => other !== name)));
}

/**
 * Note what a run was started from.
 * @param {string} id
 * @param {URLSearchParams} form
 */
export function noteStarted(id, form) {
  keep(STARTED, id, form.toString(), MAX_STARTED);
}

/**
 * Return what a run was started from; null if it was not started in this browser, or long ago.
 * @param {string} id
 */
export function startedForm(id) {
  return read(STARTED).find(([other]) => other === id)?.[1] ?? null;
}
