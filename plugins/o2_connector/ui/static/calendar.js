// The calendar: a year at a time, a cell for each day, which leads to its window.

import { GLYPHS, MONTHS, chip, dayName, h, inFull, isOver, kind, many, windowLink, windowName } from "./dom.js";

const WEEKDAYS = ["Mon", "", "Wed", "", "Fri", "", ""];

/** Draw a year of the archive.
 *
 * @param chosen what the person looks at: `year`, which this sets.
 * @param again draws everything anew.
 */
export function calendar(data, chosen, again) {
  const first = new Date(`${data.first}T00:00:00Z`);
  const days = data.days.map(([state, start, end], number) => {
    const date = new Date(first);
    date.setUTCDate(date.getUTCDate() + number);
    return { date, state, name: windowName(new Date(start * 1000), new Date(end * 1000)) };
  });
  const years = [...new Set(days.map(({ date }) => date.getUTCFullYear()))].reverse();
  if (!years.length) return "";
  const year = years.includes(chosen.year) ? chosen.year : years[0];
  const needs = (each) => days.filter(({ date, state }) => date.getUTCFullYear() === each && !isOver(state)).length;
  return h(
    "section",
    { "aria-labelledby": "calendar" },
    h("h2", { id: "calendar" }, "Calendar"),
    h(
      "div",
      { class: "chips", role: "group", "aria-label": "Year" },
      years.map((each) =>
        chip(
          each,
          `${each}${needs(each) ? ` (${needs(each)})` : ""}`,
          each === year,
          needs(each) ? `${each}, ${many(needs(each), "day needs", "days need")} somebody` : null,
          () => {
            chosen.year = each;
            again();
          },
        ),
      ),
    ),
    yearOf(
      year,
      days.filter(({ date }) => date.getUTCFullYear() === year),
    ),
    h(
      "ul",
      { class: "legend", "aria-hidden": "true" },
      Object.keys(GLYPHS).map((state) =>
        h("li", null, h("span", { class: `day ${kind(state)}` }, glyph(state)), state),
      ),
    ),
  );
}

const glyph = (state) => (state === "archived" ? "" : GLYPHS[state]);

function yearOf(year, days) {
  const newYear = new Date(Date.UTC(year, 0, 1));
  const offset = (newYear.getUTCDay() + 6) % 7; // of its first day in the week, which begins on Monday
  const column = (date) => Math.floor((Math.round((date - newYear) / 86_400_000) + offset) / 7) + 2;
  const months = [...Array(12).keys()].map((month) => {
    const name = h("span", { "aria-hidden": "true" }, MONTHS[month].slice(0, 3));
    return place(name, 1, column(new Date(Date.UTC(year, month, 1))));
  });
  const weekdays = WEEKDAYS.map((name, row) =>
    place(h("span", { "aria-hidden": "true", class: "weekday" }, name), row + 2, 1),
  );
  const cells = days.map(({ date, state, name }, number) => {
    const label = `${dayName(date.toISOString().slice(0, 10), inFull)}: ${state}`;
    const cell = h(
      "a",
      {
        class: `day ${kind(state)}`,
        href: windowLink(name),
        title: label,
        "aria-label": label,
        tabindex: number === days.length - 1 ? "0" : "-1",
        "data-key": `day ${date.toISOString().slice(0, 10)}`,
      },
      glyph(state),
    );
    return place(cell, ((date.getUTCDay() + 6) % 7) + 2, column(date));
  });
  return h(
    "div",
    { class: "scroll" },
    h(
      "div",
      {
        class: "year",
        role: "group",
        "aria-label": `Days of ${year}; arrow keys move`,
        onkeydown: (event) => move(event, cells),
      },
      months,
      weekdays,
      cells,
    ),
  );
}

function place(element, row, column) {
  element.style.gridRow = row;
  element.style.gridColumn = column;
  return element;
}

/** Move among days by arrow keys: up and down a day, left and right a week. One of them takes part in the Tab order. */
function move(event, cells) {
  const step = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -7, ArrowRight: 7, Home: -Infinity, End: Infinity }[event.key];
  const at = cells.indexOf(event.target);
  if (step === undefined || at < 0) return;
  event.preventDefault();
  const next = cells[Math.max(0, Math.min(cells.length - 1, at + step))];
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
