// Everything in short: what needs somebody, a calendar, and a table of all windows.

import { calendar } from "./calendar.js";
import {
  GLYPHS,
  airflowLink,
  ask,
  asked,
  badge,
  chip,
  clock,
  count,
  fill,
  formLink,
  h,
  isOver,
  kind,
  many,
  problem,
  table,
  took,
  windowLink,
  windowName,
} from "./dom.js";

const EVERY = 30_000; // milliseconds until the page looks again
const PAGE = 50; // rows of the table at a time
const COUNTS = [
  "From source",
  "For import",
  "Imported",
  "Partially",
  "Skipped",
  "Failed",
  "Parked",
  "Rejected",
  "Waiting",
];

const chosen = { year: null, state: null, page: 0 }; // what the person looks at, kept when the page looks again

/** Show what the server put into the page, and go on looking. */
export function showOverview(main, data) {
  let [text, tag] = [JSON.stringify(data), null];
  draw(main, data);
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await ask("api/windows", tag ? { "If-None-Match": tag } : {});
      main.querySelector(".unreachable")?.remove();
      if (answer.status === 304) return;
      tag = answer.headers.get("ETag");
      const fresh = await answer.text();
      if (fresh === text) return;
      text = fresh;
      redraw(main, JSON.parse(fresh));
    } catch (error) {
      main.querySelector(".unreachable")?.remove();
      const said = problem(error.message);
      said.classList.add("unreachable");
      main.prepend(said);
    }
  }, EVERY);
}

/** Draw anew, and leave the focus where it was. */
function redraw(main, data) {
  const focused = document.activeElement?.dataset.key;
  draw(main, data);
  if (focused) main.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function draw(main, data) {
  const times = clock(data.zone);
  const rows = data.rows.map(([start, end, state, counts, seconds, late]) => ({
    start: new Date(start * 1000),
    end: new Date(end * 1000),
    state,
    counts,
    seconds,
    late,
  }));
  const again = () => redraw(main, data);
  fill(
    main,
    h("h1", null, "O2 archive"),
    data.altered > 0 &&
      problem(
        `${many(data.altered, "book is", "books are")} not what the digest says: run o2-archive verify, which names each.`,
      ),
    ...(rows.length
      ? [summary(data, rows, times), calendar(data, chosen, again), windows(rows, times, again)]
      : [nothingYet()]),
  );
}

function nothingYet() {
  return h(
    "section",
    { class: "empty" },
    h("h2", null, "No window has been archived yet"),
    h("p", null, "Let the DAG go, and every night the day before is archived. Or archive one day now."),
    h(
      "p",
      { class: "actions" },
      airflowLink("dags/o2_network_archive", "Open the DAG", { class: "button" }),
      formLink("trigger", {}, "Archive a day"),
    ),
  );
}

// What needs somebody

function summary(data, rows, times) {
  const missing = data.days
    .filter(([state]) => state === "not archived")
    .map(([, start, end]) => ({ start: new Date(start * 1000), end: new Date(end * 1000) }));
  const troubled = rows.filter((row) => !isOver(row.state) && row.state !== "not archived").reverse();
  const running = rows.filter((row) => row.state === "running");
  const last = rows.find((row) => row.state === "archived" || row.state === "nothing captured");
  const lines = [
    last && h("li", null, "Archived last: ", link(last, times), "."),
    running.length > 0 &&
      h(
        "li",
        null,
        `${many(running.length, "window")} at work: `,
        running.slice(0, 4).map((row) => [link(row, times), " "]),
      ),
    missing.length > 0 &&
      h(
        "li",
        { class: "needs" },
        h("strong", null, `${many(missing.length, "day")} not archived`),
        ", the oldest ",
        link(missing[0], times),
        ". ",
        backfill(missing, times),
      ),
    troubled.length > 0 &&
      h(
        "li",
        { class: "needs" },
        h("strong", null, `${many(troubled.length, "window needs", "windows need")} somebody`),
        ", the oldest ",
        link(troubled[0], times),
        ".",
      ),
    data.replay && h("li", null, waits(data.replay, times)),
  ];
  return h("ul", { class: "summary" }, lines);
}

const link = (row, times) =>
  h("a", { href: windowLink(windowName(row.start, row.end)) }, times.window(row.start, row.end));

/** Lead to the backfill of the oldest days that are missing together. */
function backfill(missing, times) {
  let last = 0;
  while (missing[last + 1] && +missing[last + 1].start === +missing[last].end) last += 1;
  const [from, to] = [missing[0], missing[last]];
  const which = last ? `${many(last + 1, "day")} from ${times.window(from.start, from.end)}` : "it";
  return formLink("backfill", { from: from.start.toISOString(), to: to.start.toISOString() }, `Backfill ${which} …`);
}

function waits({ at, parked, waiting, oldest }, times) {
  const when = `At the last replay, ${times.moment(new Date(at))},`;
  if (parked + waiting === 0) return `${when} nothing waited for a mailbox.`;
  const since = oldest == null ? "" : `, the oldest since ${times.moment(new Date(oldest))}`;
  return `${when} ${many(parked, "item was", "items were")} parked still and ${count(waiting)} waited for somebody else${since}.`;
}

// The table

function windows(rows, times, again) {
  const states = Object.keys(GLYPHS).filter((state) => rows.some((row) => row.state === state));
  const choose = (state) => () => {
    Object.assign(chosen, { state, page: 0 });
    again();
  };
  const found = chosen.state ? rows.filter((row) => row.state === chosen.state) : rows;
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const page = Math.min(chosen.page, pages - 1);
  const shown = found.slice(page * PAGE, (page + 1) * PAGE);
  const turn = (by, label) =>
    h(
      "button",
      {
        disabled: page + by < 0 || page + by >= pages,
        "data-key": label,
        onclick: () => {
          chosen.page = page + by;
          again();
        },
      },
      label,
    );
  return h(
    "section",
    { "aria-labelledby": "windows" },
    h("h2", { id: "windows" }, "Windows"),
    h(
      "div",
      { class: "chips", role: "group", "aria-label": "State" },
      chip("all", `All ${count(rows.length)}`, !chosen.state, null, choose(null)),
      states.map((state) =>
        chip(
          state,
          [
            h("span", { "aria-hidden": "true" }, GLYPHS[state]),
            ` ${state} ${count(rows.filter((row) => row.state === state).length)}`,
          ],
          chosen.state === state,
          null,
          choose(state),
        ),
      ),
    ),
    table(
      "Windows, the newest first",
      [["Window"], ["State"], ...COUNTS.map((name) => [name, "number"]), ["Took", "number"], [""]],
      shown.map((row) => windowRow(row, times)),
    ),
    pages > 1 &&
      h(
        "nav",
        { class: "pages", "aria-label": "Pages" },
        turn(-1, "Newer"),
        h("span", { role: "status" }, `Page ${page + 1} of ${pages}`),
        turn(1, "Older"),
      ),
  );
}

function windowRow(row, times) {
  const name = times.window(row.start, row.end);
  const gap = !row.counts;
  const again = isOver(row.state)
    ? ""
    : formLink("trigger", asked(row.start, row.end, times.day(row.start, row.end)), "Archive …", {
        "aria-label": `Archive ${name}`,
      });
  return h(
    "tr",
    { class: kind(row.state) },
    h(
      "th",
      { scope: "row" },
      h("a", { href: windowLink(windowName(row.start, row.end)), "data-key": `row ${+row.start} ${+row.end}` }, name),
    ),
    h("td", null, badge(row.state), row.late && h("span", { class: "badge is-late" }, "late")),
    gap
      ? h("td", { colspan: COUNTS.length, class: "quiet" }, row.state === "running" ? "no book yet" : "no book")
      : row.counts.map((number, column) => countCell(COUNTS[column], number)),
    h("td", { class: "number" }, took(row.seconds)),
    h("td", { class: "actions" }, again),
  );
}

function countCell(name, number) {
  const style =
    number === 0 ? "quiet" : { Failed: "bad", Partially: "odd", Parked: "odd", Rejected: "odd", Waiting: "odd" }[name];
  return h("td", { class: `number ${style ?? ""}` }, count(number));
}
