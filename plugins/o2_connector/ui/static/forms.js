// Fill in Airflow's own trigger and backfill forms from a link, for they take nothing from a URL themselves:
//
//   dags/o2_network_archive?o2_form=trigger&day=2026-11-21&dry_run=true
//   dags/o2_network_archive?o2_form=trigger&window_start=2026-11-21T00:00:00Z&window_end=2026-11-21T12:00:00Z
//   dags/o2_network_archive?o2_form=backfill&from=2026-11-20T00:00:00Z&to=2026-11-22T00:00:00Z&runs=completed
//
// Airflow loads this into each of its pages, as a component that shows nothing. It never sends a form: a person looks at
// it and does. Where Airflow's page is not as it was, the person is on the DAG's page, a click away from the form.

const PATIENCE = 30_000; // milliseconds for Airflow to show what is waited for

globalThis["O2 archive forms"] = () => null;

const asked = new URLSearchParams(location.search);
if (asked.has("o2_form") && location.pathname.endsWith("/dags/o2_network_archive")) {
  history.replaceState(history.state, "", location.pathname); // so that the form does not open again by itself
  dispatchEvent(new PopStateEvent("popstate", { state: history.state })); // Airflow's router takes the query along else
  fill(asked.get("o2_form")).catch((error) => console.warn(`O2 archive: the form is not filled in: ${error.message}`));
}

async function fill(form) {
  const button = () => document.querySelector('[data-testid="trigger-dag-button"]:enabled');
  (await until(button, "the trigger button")).click();
  const dialog = await until(
    () => document.querySelector('[role="dialog"] input[type="radio"][value="single"]')?.closest('[role="dialog"]'),
    "the form",
  );
  await until(() => dialog.contains(document.activeElement), "the form to take the focus"); // or it takes it from a panel
  if (form === "trigger") await trigger(dialog);
  else await backfill(dialog);
}

async function trigger(dialog) {
  await until(() => dialog.querySelector('input[name^="element_"]'), "the parameters");
  if (asked.has("day")) type(await input(dialog, "day"), asked.get("day"));
  if (asked.get("dry_run") === "true") (await input(dialog, "dry_run")).click();
  for (const [name, label] of Object.entries({ window_start: "Window start", window_end: "Window end" })) {
    if (asked.has(name)) await choose(await open(dialog, label), new Date(asked.get(name)));
  }
}

async function backfill(dialog) {
  const radio = () => dialog.querySelector('input[type="radio"][value="backfill"]:enabled');
  (await until(radio, "the backfill form")).click();
  const [from, to] = await until(() => some(dialog.querySelectorAll('[data-testid="datetime-input"]'), 2), "the dates");
  await choose(from, new Date(asked.get("from")));
  await choose(to, new Date(asked.get("to")));
  if (asked.has("runs")) dialog.querySelector(`input[type="radio"][value="${CSS.escape(asked.get("runs"))}"]`)?.click();
}

const input = (dialog, name) => until(() => dialog.querySelector(`input[name="element_${name}"]`), `the field ${name}`);
const some = (found, least) => (found.length >= least ? [...found] : null);

/** Find the date and time field of a parameter, and open the section that it lies in. */
async function open(dialog, label) {
  const field = () =>
    [...dialog.querySelectorAll("label")]
      .find((each) => each.textContent.trim() === label)
      ?.closest('[data-part="root"]')
      ?.querySelector('[data-testid="datetime-input"]');
  const section = () =>
    field()?.closest('[data-part="item-content"]')?.parentElement.querySelector('[data-part="item-trigger"]');
  await until(section, `the field ${label}`);
  while (section().getAttribute("aria-expanded") === "false") {
    section().focus(); // only a section that has the focus hears a click
    await pause();
    section().click();
    await pause();
  }
  return until(() => (field().offsetParent ? field() : null), `the section of ${label}`);
}

/** Set a date and time field, which is a panel with an input for each, in the time zone that the person chose. */
async function choose(field, moment) {
  field.click();
  const panel = () => document.getElementById(field.getAttribute("aria-controls"));
  const [date, time] = await until(() => some(panel()?.querySelectorAll("input") ?? [], 2), "the date's panel");
  const zone = [...panel().querySelectorAll("p")].map((each) => each.textContent).find(isZone);
  const [day, hour] = moment.toLocaleString("sv-SE", { timeZone: zone }).split(" ");
  type(date, day.replaceAll("-", "/"));
  await pause();
  type(time, hour.slice(0, 5));
  await pause();
  field.click();
  await until(() => !panel()?.offsetParent, "the date's panel to close");
}

function isZone(text) {
  try {
    return Boolean(text && new Intl.DateTimeFormat("en", { timeZone: text }));
  } catch {
    return false;
  }
}

/** Write into an input as a person does: React hears of it. */
function type(element, value) {
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(element, value);
  element.dispatchEvent(new Event("input", { bubbles: true }));
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

async function until(find, what) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await pause()) {
    const found = find();
    if (found) return found;
  }
  throw new Error(`${what} did not come`);
}
