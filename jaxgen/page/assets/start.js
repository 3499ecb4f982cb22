// What the page does when it is loaded.

async function start() {
  page.data = JSON.parse(document.getElementById("data").textContent);
  startTheme();
  startCopying();
  if (still()) for (const one of document.querySelectorAll("details.moving")) one.open = false;
  if (page.data.charts) startCurves(document.getElementById("curves"), page.data.charts, page.data.units);
  if (page.data.sweep) startMembers(document.getElementById("sweep"), page.data.sweep);
  if (page.data.model) await startModel(document.getElementById("alive"), page.data.model);
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  page.errors.push(String(error));
  document.documentElement.dataset.ready = "failed";
  document.getElementById("alive")?.append(element("p", { class: "alarm", role: "alert" }, `The live part does not work here: ${error}`));
});
