// The list of accounts: typed search, sorting, and pages, so that only the rows that are seen exist.

const ROWS_A_PAGE = 25;
const LIST = { order: null, query: "", sort: "mean", isDown: true, page: 0, folded: null };

const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** What is searched of every account: its name and its segments, without case and accents. */
function searchable() {
  LIST.folded ??= ACCOUNTS.ids.map((id, i) => folded([id, ...ACCOUNTS.segments.map((segment) => segment.of(i))].join("\n")));
  return LIST.folded;
}

/** One unit for the rows that are seen: that of their middle account, so that the smaller half can be read too. */
let LIST_UNIT = unitFor(0);

function listUnit(shown) {
  const ranges = shown.map((i) => ["lower", "q50", "upper"].map((name) => ACCOUNTS.amount(name, i))).filter((ends) => ends.some((end) => end !== 0));
  if (!ranges.length) return unitFor(Math.max(0, ...shown.map((i) => ACCOUNTS.amount(TO_DATE, i))));
  ranges.sort((a, b) => Math.max(...a) - Math.max(...b));
  return rangeUnit([ranges[ranges.length >> 1]]);
}

/** Columns of the list: title, what it is sorted by, its text, and whether narrow screens leave it out. */
const LIST_COLUMNS = [
  { key: "id", title: "Account" },
  ...ACCOUNTS.segments.map((segment) => ({ key: `segment ${segment.name}`, title: titled(segment.name), text: (i) => segment.of(i), wide: true })),
  amountColumn(TO_DATE, "To date", true),
  amountColumn("mean", "Mean", true),
  { key: "q50", title: `Median (${RANGE} range)`, n: true, value: (i) => ACCOUNTS.columns.q50[i],
    text: (i) => money(ACCOUNTS.amount("q50", i), LIST_UNIT),
    range: (i) => `(${money(ACCOUNTS.amount("lower", i), LIST_UNIT)} to ${money(ACCOUNTS.amount("upper", i), LIST_UNIT)})` },
  shareColumn("p_next_renewal", "Renews", false),
  ...("p_active_12m" in ACCOUNTS.columns ? [shareColumn("p_active_12m", "Active in 12 months", true)] : []),
];

function titled(name) {
  const words = name.replace(/_/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function amountColumn(key, title, wide) {
  return { key, title, wide, n: true, value: (i) => ACCOUNTS.columns[key][i], text: (i) => money(ACCOUNTS.amount(key, i), LIST_UNIT) };
}

function shareColumn(key, title, wide) {
  return { key, title, wide, n: true, value: (i) => ACCOUNTS.columns[key][i], text: (i) => percent(ACCOUNTS.share(key, i), 0) };
}

/** Accounts that hold every word of the query, in the chosen order; what is not known comes last. */
function orderAccounts() {
  const words = folded(LIST.query).split(/\s+/).filter(Boolean), texts = words.length ? searchable() : null;
  const found = [];
  for (let i = 0; i < ACCOUNTS.n; i += 1) if (!texts || words.every((word) => texts[i].includes(word))) found.push(i);
  const column = LIST_COLUMNS.find(({ key }) => key === LIST.sort), sign = LIST.isDown ? -1 : 1;
  if (column.n) {
    const value = column.value;
    found.sort((a, b) => {
      const x = value(a), y = value(b);
      return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : sign * (x - y) || a - b;
    });
  } else {
    const text = column.text ?? ((i) => ACCOUNTS.ids[i]), collator = new Intl.Collator("en", { numeric: true });
    found.sort((a, b) => sign * collator.compare(text(a), text(b)) || a - b);
  }
  LIST.order = found;
  LIST.page = 0;
}

function listHead() {
  return el("thead", {}, el("tr", {}, LIST_COLUMNS.map((column) => el("th",
    { scope: "col", class: classOf(column), "aria-sort": column.key === LIST.sort ? (LIST.isDown ? "descending" : "ascending") : null },
    el("button", { type: "button", "data-sort": column.key, onclick: () => sortAccounts(column) }, column.title)))));
}

const classOf = (column) => [column.wide ? "wide" : "", column.n ? "n" : ""].join(" ").trim() || null;

function sortAccounts(column) {
  LIST.isDown = column.key === LIST.sort ? !LIST.isDown : Boolean(column.n);
  LIST.sort = column.key;
  orderAccounts();
  showAccounts();
  document.querySelector(`#account-table [data-sort="${CSS.escape(column.key)}"]`).focus();
}

function listRow(i) {
  const cells = LIST_COLUMNS.slice(1).map((column) => el("td", { class: classOf(column) },
    column.n ? column.text(i) : el("bdi", {}, column.text(i)), column.range ? [" ", el("span", { class: "range" }, column.range(i))] : []));
  const name = el("button", { type: "button", class: "link", "data-account": i }, el("bdi", {}, breakable(ACCOUNTS.ids[i])));
  return el("tr", {}, el("th", { scope: "row" }, name), cells);
}

/** Long names may go on in the next line where their parts end. */
function breakable(name) {
  return name.split(/(?<=[|/_.@:;,-])/).flatMap((part, k) => (k ? [el("wbr"), part] : [part]));
}

function showAccounts() {
  const first = LIST.page * ROWS_A_PAGE, shown = LIST.order.slice(first, first + ROWS_A_PAGE);
  LIST_UNIT = listUnit(shown);
  const caption = `${NOUN} of the next ${DATA.horizon_months} months by account, ${label(LIST_UNIT, CURRENCY)}`;
  const range = LIST_COLUMNS.find((column) => column.range).range, widest = Math.max(0, ...shown.map((i) => range(i).length));
  byId("account-caption").textContent = caption;
  byId("account-table").replaceChildren(el("table", { style: `--range:${widest}ch` }, el("caption", {}, caption), listHead(), el("tbody", {}, shown.map(listRow))));
  const total = LIST.order.length, of = total === ACCOUNTS.n ? "" : ` of ${number(ACCOUNTS.n)}`;
  byId("account-count").textContent = total ? `${counted(total, "account")}${of}` : `No account of ${number(ACCOUNTS.n)} holds these words.`;
  showPages(first, total);
}

function showPages(first, total) {
  const last = Math.min(first + ROWS_A_PAGE, total), turn = (step) => () => turnPage(step);
  const place = el("span", { role: "status" }, total ? `${number(first + 1)} to ${number(last)} of ${number(total)}` : "");
  byId("account-pages").replaceChildren(...(total <= ROWS_A_PAGE ? [] : [
    el("button", { type: "button", id: "page-back", disabled: first === 0, onclick: turn(-1) }, "Previous"), place,
    el("button", { type: "button", id: "page-on", disabled: last >= total, onclick: turn(1) }, "Next")]));
}

function turnPage(step) {
  LIST.page += step;
  showAccounts();
  const [same, other] = step > 0 ? ["page-on", "page-back"] : ["page-back", "page-on"];
  (byId(same).disabled ? byId(other) : byId(same)).focus();
}

/** Arrows walk from name to name, from the search down into the list and back. */
function walkList(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const names = [...document.querySelectorAll("#account-table [data-account]")];
  const at = names.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
  event.preventDefault();
  (at < 0 ? byId("account-search") : names[Math.min(at, names.length - 1)])?.focus();
}

function connectList() {
  const search = byId("account-search"), table = byId("account-table");
  search.addEventListener("input", () => {
    LIST.query = search.value;
    orderAccounts();
    showAccounts();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") walkList(event);
    if (event.key === "Enter" && LIST.order.length) openAccount(LIST.order[0]);
  });
  table.addEventListener("keydown", walkList);
  table.addEventListener("click", (event) => {
    const name = event.target.closest("tr")?.querySelector("[data-account]");
    if (name && !event.target.closest("thead")) openAccount(Number(name.dataset.account), name);
  });
  orderAccounts();
  showAccounts();
}
