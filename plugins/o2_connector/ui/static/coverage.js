// Whom a window covers, and what another mapping would change.

import { count, h, many, section, table } from "./dom.js";

export function coverage(found) {
  if (!found) return "";
  const { known, with_items, silent, silent_days, unknown } = found;
  return section(
    "Coverage",
    h(
      "p",
      null,
      `${count(with_items)} of ${many(known, "known number")} had items. `,
      silent
        ? `${many(silent.length, "enrolled number")} had none for ${many(silent_days, "day")}.`
        : `Silent numbers are not told: not all of the last ${many(silent_days, "day")} is archived.`,
    ),
    silent?.length > 0 &&
      h(
        "details",
        null,
        h("summary", null, "Silent numbers"),
        table(
          "Silent numbers",
          [["Number"], ["Mapping row"]],
          silent.map(({ number, place }) => h("tr", null, h("th", { scope: "row" }, number), h("td", null, place))),
        ),
      ),
    unknown.length > 0 &&
      h(
        "details",
        null,
        h("summary", null, "Numbers without a mailbox that have most items"),
        table(
          "Unknown numbers",
          [["Number"], ["Items", "number"], ["Captured at this end"], ["One of its items"]],
          unknown.map(({ number, items, side, item_id }) =>
            h(
              "tr",
              null,
              h("th", { scope: "row" }, number),
              h("td", { class: "number" }, count(items)),
              h("td", null, side ? "yes" : "no"),
              h("td", null, h("code", null, item_id)),
            ),
          ),
        ),
      ),
  );
}

export function changes(found) {
  if (!found) return "";
  const { against, added, moved, lost, unchanged, numbers } = found;
  return section(
    "What this mapping would change",
    h(
      "p",
      null,
      `Against ${against ? `run ${against}` : "nothing, for no run has archived this window"}: ${count(added)} deliveries added, ${count(moved)} moved, ${count(lost)} lost, ${count(unchanged)} unchanged.`,
    ),
    numbers.length > 0 &&
      table(
        "Numbers that change",
        [["Number"], ["Added", "number"], ["Moved", "number"], ["Lost", "number"], ["Mapping row"]],
        numbers.map((each) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, each.number),
            ["added", "moved", "lost"].map((name) => h("td", { class: "number" }, count(each[name]))),
            h("td", null, each.place ?? ""),
          ),
        ),
      ),
  );
}
