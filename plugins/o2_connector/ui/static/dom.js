// What every part of the page needs: elements, and how numbers, times and states are written.

export const AIRFLOW = "../";
export const DAG = "o2_network_archive";

/** Make an element. Attributes that are null or false are left out; `on…` are listeners; children may be lists. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  return fill(element, ...children);
}

/** Put children into an element in place of what it has; null, false and empty ones are left out. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child != null && child !== false && child !== ""));
  return element;
}

const numbers = new Intl.NumberFormat("en-GB");
export const count = (number) => numbers.format(number);
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** Write seconds as a person says them. */
export function took(seconds) {
  if (seconds == null) return "";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
export const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const short = (name) => name.slice(0, 3);

/** Write a date like 2026-11-21 as Sat 21 Nov 2026, or in full. */
export function dayName(date, write = short) {
  const day = new Date(`${date}T00:00:00Z`);
  return `${write(DAYS[day.getUTCDay()])} ${day.getUTCDate()} ${write(MONTHS[day.getUTCMonth()])} ${day.getUTCFullYear()}`;
}
export const inFull = (name) => name;

/** How times are written in the archive's zone. */
export function clock(zone) {
  const two = "2-digit";
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    year: "numeric",
    month: two,
    day: two,
    hour: two,
    minute: two,
    second: two,
  });
  const local = (moment) => {
    const { year, month, day, hour, minute, second } = Object.fromEntries(
      parts.formatToParts(moment).map(({ type, value }) => [type, value]),
    );
    return {
      date: `${year}-${month}-${day}`,
      time: `${hour}:${minute}`,
      midnight: `${hour}${minute}${second}` === "000000",
    };
  };
  const moment = (at) => `${dayName(local(at).date)}, ${local(at).time}`;
  /** The day that a window is, like 2026-11-21; null where it is no whole day. */
  const day = (start, end) => {
    const [first, after] = [local(start), local(end)];
    const next = new Date(`${first.date}T00:00:00Z`);
    next.setUTCDate(next.getUTCDate() + 1);
    const whole = first.midnight && after.midnight && after.date === next.toISOString().slice(0, 10);
    return whole ? first.date : null;
  };
  /** How a window is called: by its day, or by its ends. */
  const window = (start, end) => (day(start, end) ? dayName(day(start, end)) : `${moment(start)} – ${moment(end)}`);
  return { moment, day, window };
}

const instant = (moment) => moment.toISOString().slice(0, 19).replace(/[-:]/g, "") + "Z";
export const windowName = (start, end) => `${instant(start)}--${instant(end)}`;
export const windowLink = (name) => `?window=${encodeURIComponent(name)}`;

/** What stands for each state beside its colour, the states that need a person most first. */
export const GLYPHS = {
  "does not balance": "≠",
  failed: "✕",
  "not archived": "○",
  "with failures": "!",
  running: "…",
  archived: "✓",
  "nothing captured": "–",
};
export const isOver = (state) => state === "archived" || state === "nothing captured" || state === "running";
export const kind = (state) => `is-${(state ?? "unknown").replaceAll(" ", "-").replaceAll("_", "-")}`;
export const badge = (state) =>
  h("span", { class: `badge ${kind(state)}` }, h("span", { "aria-hidden": "true" }, GLYPHS[state] ?? "•"), ` ${state}`);

/** Lead to Airflow's form with a window filled in: forms.js does that, in Airflow's own page. */
export function formLink(form, fields, label, attributes) {
  const query = new URLSearchParams({ o2_form: form, ...fields });
  return airflowLink(`dags/${DAG}?${query}`, label, { class: "button", ...attributes });
}

/** What the trigger form is to be filled in with. It knows no seconds: a window that has any is left to the person. */
export function asked(start, end, day) {
  if (day) return { day };
  const whole = [start, end].every((moment) => moment.getTime() % 60_000 === 0);
  return whole ? { window_start: start.toISOString(), window_end: end.toISOString() } : {};
}

/** Link to another page of Airflow. */
export const airflowLink = (path, label, attributes) =>
  h("a", { href: AIRFLOW + path, "data-airflow": true, ...attributes }, label);

/** Ask for JSON; say in words what went wrong. */
export async function ask(path, headers) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json", ...headers }, cache: "no-store" });
  } catch {
    throw new Error("Airflow's API server cannot be reached. The page tries again by itself.");
  }
  if (answer.status === 401) throw new Error("You are not logged in any more: load the page again.");
  if (answer.status === 304 || answer.ok) return answer;
  const said = await answer.json().catch(() => null);
  throw new Error(said?.detail ?? `Airflow's API server answered ${answer.status}; its log says why.`);
}

export const problem = (text) => h("p", { class: "notice", role: "alert" }, text);

/** A table. Columns are [heading, class]; the first cell of a row is its heading. */
export function table(caption, columns, rows, attributes) {
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h(
      "table",
      attributes,
      h("caption", { class: "hidden" }, caption),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          columns.map(([heading, style]) => h("th", { scope: "col", class: style }, heading)),
        ),
      ),
      h("tbody", null, rows),
    ),
  );
}

/** A button that stays pressed. */
export const chip = (key, label, pressed, spoken, onclick) =>
  h(
    "button",
    { class: "chip", "aria-pressed": String(pressed), "aria-label": spoken, "data-key": `chip ${key}`, onclick },
    label,
  );

export const section = (title, ...parts) => h("section", null, h("h2", null, title), ...parts);
