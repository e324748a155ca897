// The numbers of the page. Accounts are columns: typed arrays, money in whole cents.

const DATA = JSON.parse(byId("data").textContent);
const ARRAYS = { int16: Int16Array, int32: Int32Array, float32: Float32Array, float64: Float64Array };
const CURRENCY = DATA.currency;
const { noun: NOUN, done: DONE, to_date: TO_DATE } = DATA.counted;
const RANGE = `${number(100 * DATA.ci_prob, Number.isInteger(100 * DATA.ci_prob) ? 0 : 1)}%`;

/** A typed array of what Python packed; a value that all share is repeated. */
function unpacked(packed, n) {
  if ("same" in packed) return new Float64Array(n).fill(packed.same);
  const bytes = Uint8Array.from(atob(packed.base64), (character) => character.charCodeAt(0));
  return new ARRAYS[packed.type](bytes.buffer);
}

const ACCOUNTS = (() => {
  const { n, ids, segments, numbers, years } = DATA.accounts;
  const columns = Object.fromEntries(Object.entries(numbers).map(([name, packed]) => [name, unpacked(packed, n)]));
  const levels = Object.entries(segments).map(([name, { levels, codes }]) => {
    const own = unpacked(codes, n);
    return { name, of: (i) => (own[i] < 0 ? "not given" : levels[own[i]]) };
  });
  const byYear = Object.entries(years ?? {}).map(([end, packed]) => ({ end, cents: unpacked(packed, n) }));
  const amount = (name, i) => (name in columns ? columns[name][i] / 100 : NaN);
  const share = (name, i) => (name in columns ? columns[name][i] : NaN);
  return { n, ids, columns, segments: levels, years: byYear, hasHistory: years !== null, amount, share };
})();

/** Rows of a small table whose columns are lists. */
function rowsOf(table) {
  const names = Object.keys(table);
  return (table[names[0]] ?? []).map((_, i) => Object.fromEntries(names.map((name) => [name, table[name][i]])));
}
