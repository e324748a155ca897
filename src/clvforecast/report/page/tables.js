// Tables that Python wrote: sorting by a heading, and showing those of the chosen period.

/** Sort by the column of a heading, numbers by their exact value; the arrow is read out by aria-sort. */
function sortBy(button) {
  const head = button.closest("th"), table = button.closest("table"), at = [...head.parentNode.children].indexOf(head);
  const isDown = head.getAttribute("aria-sort") !== "descending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
  const value = (row) => row.cells[at].dataset.value;
  const compare = (a, b) => {
    if (value(a) === undefined) return b.cells[at].textContent.localeCompare(a.cells[at].textContent);
    const [x, y] = [Number(value(a)), Number(value(b))];
    return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : y - x;
  };
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => (isDown ? compare(a, b) : compare(b, a)));
  body.append(...rows);
}

/** Show in a section only what belongs to the chosen value of an attribute. */
function showOnly(section, attribute, value) {
  for (const part of section.querySelectorAll(`[data-${attribute}]`)) part.hidden = part.dataset[attribute] !== value;
}

function connectTables() {
  for (const button of document.querySelectorAll("table.sortable thead button, .sortable thead button")) {
    button.addEventListener("click", () => sortBy(button));
  }
}

/** A select that changes what its section shows, and perhaps draws. */
function onChoice(id, then) {
  byId(id)?.addEventListener("change", (event) => then(event.target.value, event.target.closest("section")));
}
