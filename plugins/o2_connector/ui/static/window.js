// One window: its runs, tasks, causes, what waits, whom it covers, and its reports.

import { changes, coverage } from "./coverage.js";
import {
  airflowLink,
  ask,
  asked,
  badge,
  clock,
  count,
  fill,
  formLink,
  h,
  many,
  problem,
  section,
  table,
  took,
  windowLink,
} from "./dom.js";
import { downloads, runs, tasks } from "./runs.js";

const EVERY = 15_000; // milliseconds until a window that is at work is looked at again

export async function showWindow(main, name, run) {
  try {
    const answer = await ask(`api/windows/${encodeURIComponent(name)}${run ? `?run=${encodeURIComponent(run)}` : ""}`);
    const opened = await answer.json();
    draw(main, opened);
    if (opened.state === "running") setTimeout(() => showWindow(main, name, run), EVERY);
  } catch (error) {
    fill(main, back(), h("h1", null, "O2 archive"), problem(error.message));
  }
}

function draw(main, opened) {
  const times = clock(opened.zone);
  const [start, end] = [new Date(opened.start), new Date(opened.end)];
  const title = times.window(start, end);
  document.title = `${title} – O2 archive`;
  const shown = opened.passages.find(({ run_id }) => run_id === opened.shown);
  fill(
    main,
    h(
      "nav",
      { class: "path", "aria-label": "Windows" },
      back(),
      beside(opened.older, "Older window"),
      beside(opened.newer, "Newer window"),
    ),
    h("h1", null, `${title} `, badge(opened.state), opened.late && h("span", { class: "badge is-late" }, "late")),
    h("p", { class: "quiet" }, `${times.moment(start)} to ${times.moment(end)}, ${opened.zone}`),
    actions(opened, start, end),
    opened.parts.length > 0 &&
      h(
        "p",
        null,
        "Other windows share time with it: ",
        opened.parts.map((name) => [h("a", { href: windowLink(name) }, partName(name, times)), " "]),
      ),
    shown ? [book(opened, shown, times), troubles(opened, times)] : gap(),
    waiting(opened, times),
    runs(opened, times),
    tasks(opened),
    coverage(opened.told?.coverage),
    changes(opened.told?.changes),
  );
}

const partName = (name, times) =>
  times.window(
    ...name.split("--").map((each) => new Date(each.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"))),
  );
const back = () => h("a", { href: "./" }, "← All windows");
const beside = (name, label) => name && h("a", { href: windowLink(name) }, label);

function actions(opened, start, end) {
  const fields = asked(start, end, opened.day);
  const again = opened.passages.length ? "Archive again …" : "Archive this window …";
  return h(
    "p",
    { class: "actions" },
    formLink("trigger", fields, again),
    formLink("trigger", { ...fields, dry_run: "true" }, "Dry run …"),
    opened.day &&
      formLink(
        "backfill",
        { from: start.toISOString(), to: start.toISOString(), runs: opened.passages.length ? "completed" : "none" },
        "Backfill …",
      ),
    h("span", { class: "quiet" }, "Running a window again delivers nothing twice."),
  );
}

const gap = () =>
  section("Book", h("p", null, "Nothing has been archived for this window, and no run is at work on it."));

// The book of the run that is shown

function book(opened, shown, times) {
  const title = `Book of ${shown.run_id}`;
  if (!shown.book) return section(title, h("p", null, noBook(shown)));
  const { counts, balanced, dry_run, digest, started_at, completed_at, waiting } = shown.book;
  const lines = [
    ["Items from source", counts.available_from_source],
    ["Items for import", counts.available_for_import],
    ["Imported", counts.imported],
    ["Partially imported", counts.partially_imported],
    ["Skipped", counts.skipped],
    ["Failed", counts.failed],
    ["Parked", counts.parked],
    ["Rejected", counts.rejected],
    ["Waiting", waiting],
  ];
  const rules = Object.entries(opened.told?.rules ?? {});
  return section(
    title,
    dry_run && h("p", { class: "notice" }, "A dry run: nothing was written to a mailbox."),
    opened.fault && problem(`The report cannot be believed: ${opened.fault}. Run o2-archive verify.`),
    balanced
      ? h("p", null, "The book balances: every item and every delivery is accounted for.")
      : problem(`The book does not balance: ${opened.told?.contradictions.join("; ") ?? "its report would say why"}.`),
    h(
      "dl",
      { class: "figures" },
      lines.map(([name, number]) =>
        h(
          "div",
          { class: number && name === "Failed" ? "bad" : null },
          h("dt", null, name),
          h("dd", null, count(number)),
        ),
      ),
    ),
    rules.length > 0 &&
      h("p", null, "Deliveries by rule: ", rules.map(([rule, number]) => `${rule} ${count(number)}`).join(", "), "."),
    h(
      "p",
      { class: "quiet" },
      `Closed ${times.moment(new Date(completed_at))}, after ${took((new Date(completed_at) - new Date(started_at)) / 1000)}.`,
      opened.told?.mapping_sha256 && [
        " Mapping ",
        h("code", { title: opened.told.mapping_sha256 }, opened.told.mapping_sha256.slice(0, 12)),
        ".",
      ],
    ),
    h("p", { class: "actions" }, downloads(digest)),
  );
}

function noBook({ state, failed }) {
  if (state === "queued" || state === "running") return "The run is at work; it closes its book at the end.";
  const where = failed.length ? ` Its log says why: see ${failed.join(", ")} below.` : "";
  return `The run ended before there was a book.${where} Nothing is lost, and running it again delivers nothing twice.`;
}

// Causes

function troubles({ troubles: found }, times) {
  if (!found.length) return "";
  const rows = found.map(({ outcome, cause, remedy, count: number, items }) =>
    h(
      "tr",
      null,
      h("td", null, badge(outcome)),
      h("th", { scope: "row" }, cause),
      h("td", { class: "number" }, count(number)),
      h("td", null, remedy),
      h(
        "td",
        null,
        h(
          "details",
          null,
          h("summary", null, items.length < number ? `First ${items.length}` : "Which"),
          h(
            "ul",
            null,
            items.map((item) => h("li", null, itemName(item, times))),
          ),
        ),
      ),
    ),
  );
  return section(
    "What needs somebody, and why",
    table("Causes, with what to do", [["Outcome"], ["Cause"], ["Items", "number"], ["What to do"], [""]], rows),
  );
}

function itemName({ item_id, mailbox, place, since }, times) {
  return [
    item_id && ["item ", h("code", null, item_id), " "],
    mailbox && ["mailbox ", h("code", null, mailbox), " "],
    place && ["at ", h("code", null, place), " "],
    since != null && `since ${times.moment(new Date(since))}`,
  ];
}

// What waits

function waiting({ then, now, replays, people, name }, times) {
  const none = now.parked + now.waiting === 0;
  if (none && !(then && then.parked + then.waiting) && !replays.length) return "";
  const line = ({ parked, waiting: others, oldest }) =>
    `${many(parked, "item")} parked, ${count(others)} waiting for somebody else${oldest == null ? "" : `, the oldest since ${times.moment(new Date(oldest))}`}`;
  return section(
    "Waiting for a mailbox",
    h("dl", { class: "lines" }, then && [h("dt", null, "By the report"), h("dd", null, line(then))], [
      h("dt", null, "Now"),
      h("dd", null, none ? "nothing waits any more" : line(now)),
    ]),
    !none &&
      (people
        ? h(
            "p",
            { class: "actions" },
            h(
              "a",
              { class: "button", href: `api/windows/${encodeURIComponent(name)}/waiting.csv`, download: true },
              "Who waits, CSV",
            ),
            h("span", { class: "quiet" }, "With numbers and addresses."),
          )
        : h(
            "p",
            { class: "quiet" },
            "Numbers and addresses are shown to those alone who may read Airflow's connections.",
          )),
    replays.length > 0 &&
      table(
        "Replays since, of a span with this window in it",
        [
          ["Replay closed"],
          ["Imported", "number"],
          ["Failed", "number"],
          ["Parked still", "number"],
          ["Reports"],
          ["Run"],
        ],
        replays.map((each) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, times.moment(new Date(each.completed_at)), each.dry_run && " (dry run)"),
            h("td", { class: "number" }, count(each.counts.imported)),
            h("td", { class: "number" }, count(each.counts.failed)),
            h("td", { class: "number" }, count(each.counts.parked)),
            h("td", { class: "downloads" }, downloads(each.digest)),
            h("td", null, airflowLink(`dags/o2_replay_parked/runs/${encodeURIComponent(each.run_id)}`, each.run_id)),
          ),
        ),
      ),
  );
}
