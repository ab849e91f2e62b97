// The runs over a window, and the tasks of one of them.

import { DAG, airflowLink, badge, count, h, section, table, took, windowLink } from "./dom.js";

/** The reports of a book. */
export const downloads = (digest) =>
  ["CSV", "JSON"].map((form) =>
    h(
      "a",
      { class: "button", href: `api/books/${digest}/report.${form.toLowerCase()}`, download: true },
      `Report, ${form}`,
    ),
  );

export function runs({ passages, shown, name }, times) {
  if (!passages.length) return "";
  const rows = passages.map((run) =>
    h(
      "tr",
      { "aria-current": run.run_id === shown ? "true" : null },
      h(
        "th",
        { scope: "row" },
        h("a", { href: `${windowLink(name)}&run=${encodeURIComponent(run.run_id)}` }, run.run_id),
        run.dry_run && " (dry run)",
      ),
      h("td", null, run.state ? badge(run.state) : h("span", { class: "quiet" }, "Airflow has forgotten it")),
      h("td", null, run.started_at ? times.moment(new Date(run.started_at)) : "not begun"),
      h(
        "td",
        { class: "number" },
        run.started_at && run.ended_at ? took((new Date(run.ended_at) - new Date(run.started_at)) / 1000) : "",
      ),
      h("td", null, run.book ? outcome(run.book) : run.failed.length ? `failed: ${run.failed.join(", ")}` : "no book"),
      h("td", { class: "downloads" }, run.book && downloads(run.book.digest)),
      h("td", null, run.state && airflowLink(`dags/${DAG}/runs/${encodeURIComponent(run.run_id)}`, "In Airflow")),
    ),
  );
  return section(
    "Runs",
    table(
      "Runs over this window, the newest first",
      [["Run"], ["State"], ["Began"], ["Took", "number"], ["Book"], ["Reports"], [""]],
      rows,
    ),
  );
}

function outcome({ balanced, counts }) {
  if (!balanced) return "does not balance";
  return `${count(counts.imported)} imported, ${count(counts.skipped)} skipped, ${count(counts.failed)} failed`;
}

export function tasks({ tasks: all, shown }) {
  if (!all.length) return "";
  const groups = Map.groupBy
    ? Map.groupBy(all, ({ task_id }) => task_id)
    : all.reduce((map, each) => map.set(each.task_id, [...(map.get(each.task_id) ?? []), each]), new Map());
  const rows = [...groups].flatMap(([task, instances]) =>
    instances.length > 1 ? mapped(task, instances, shown) : instances.map((each) => taskRow(each, shown)),
  );
  return section(
    "Tasks",
    h("p", { class: "quiet" }, `Of ${shown}.`),
    table(
      "Tasks in the order in which they began",
      [["Task"], ["State"], ["Tries", "number"], ["Took", "number"], [""]],
      rows,
    ),
  );
}

function taskRow({ task_id, map_index, name, state, tries, seconds }, run) {
  const path = `dags/${DAG}/runs/${encodeURIComponent(run)}/tasks/${task_id}${map_index < 0 ? "" : `/mapped/${map_index}`}`;
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, task_id, map_index >= 0 && ` ${name ?? map_index}`),
    h("td", null, badge(state ?? "waiting")),
    h("td", { class: "number" }, count(tries)),
    h("td", { class: "number" }, took(seconds)),
    h("td", null, airflowLink(path, "Log", { "aria-label": `Log of ${task_id} ${name ?? ""}` })),
  );
}

/** One row for all map indexes; those that did not succeed have rows of their own below it, the others when asked for. */
function mapped(task, instances, run) {
  const states = new Map();
  for (const { state } of instances) states.set(state ?? "waiting", (states.get(state ?? "waiting") ?? 0) + 1);
  const longest = Math.max(...instances.map(({ seconds }) => seconds ?? 0));
  const rest = instances.filter(({ state }) => state !== "success");
  return [
    h(
      "tr",
      null,
      h("th", { scope: "row" }, `${task} (${instances.length})`),
      h(
        "td",
        null,
        [...states].map(([state, number]) => [badge(`${state}`), ` ${number} `]),
      ),
      h("td", { class: "number" }, count(Math.max(...instances.map(({ tries }) => tries)))),
      h("td", { class: "number" }, longest ? `${took(longest)} at most` : ""),
      h("td", null, airflowLink(`dags/${DAG}/runs/${encodeURIComponent(run)}/tasks/${task}/mapped`, "All")),
    ),
    ...rest.map((each) => taskRow(each, run)),
  ];
}
