// The page: a window where one is asked for, everything in short otherwise.

import { fill, h, problem } from "./dom.js";

/** Lead from Airflow's frame to another of its pages. The frame may not do it; a link in the page around it may. */
function leaveFrame(event) {
  const link = event.target.closest?.("a[data-airflow]");
  if (!link || window.parent === window || event.button > 1) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  if (event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey) outside.target = "_blank";
  window.parent.document.body.append(outside);
  outside.click();
  outside.remove();
}

addEventListener("click", leaveFrame);
addEventListener("auxclick", leaveFrame);

const main = document.getElementById("main");
const data = JSON.parse(document.getElementById("data").textContent);
const asked = new URLSearchParams(location.search);
if (data?.detail) {
  fill(main, h("h1", null, "O2 archive"), problem(data.detail));
} else if (asked.get("window")) {
  const { showWindow } = await import("./window.js");
  await showWindow(main, asked.get("window"), asked.get("run"));
} else {
  const { showOverview } = await import("./overview.js");
  showOverview(main, data);
}
