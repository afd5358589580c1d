"use strict";
// Comforts; the page is whole without them.
const element = (tag, text = "", ...kids) => {
  const made = document.createElement(tag);
  made.append(text, ...kids);
  return made;
};

// Links into what is folded, or not laid out yet.
const reveal = id => {
  const target = document.getElementById(id);
  for (let node = target; node; node = node.parentElement) {
    if (node.tagName === "DETAILS") node.open = true;
    node.style.contentVisibility = "visible";
  }
  if (target) target.scrollIntoView();
};

// A button that copies a command, and says so.
const spoken = element("p");
spoken.role = "status";
spoken.className = "unseen";
document.body.append(spoken);
for (const block of document.querySelectorAll("pre.command")) {
  const button = element("button", "Copy");
  button.type = "button";
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(block.textContent.trim());
      button.textContent = spoken.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block);
      button.textContent = spoken.textContent = "Selected";
    }
    setTimeout(() => {
      button.textContent = "Copy";
      spoken.textContent = "";
    }, 3000);
  };
  block.before(button);
}

// The leader table, as the address says: #leaders?Task=ptb&Architecture=gru&Architecture=lstm&sort=-Score
let show = () => {};
const table = document.querySelector("table.leaders");
if (table) {
  const [body] = table.tBodies, rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const names = heads.map(head => head.textContent);
  const text = (row, column) => row.cells[column].firstChild.textContent;
  const distinct = column => [...new Set(rows.map(row => text(row, column)))];
  const box = element("div");
  box.className = "filters";
  box.role = "group";
  box.ariaLabel = "Rows to show";
  const tick = label => {
    const input = element("input");
    input.type = "checkbox";
    input.value = label;
    box.append(element("label", input, label));
    return input;
  };
  const choices = [0, 10].map(column => {
    const input = element("select", new Option("all", ""), ...distinct(column).map(word => new Option(word)));
    box.append(element("label", names[column], input));
    return { column, input };
  });
  const archs = distinct(1).sort().map(tick), first = tick("leaders only");
  const reset = element("button", "Reset"), count = element("p");
  count.role = "status";
  box.append(reset, count);
  table.parentElement.before(box);
  let order = "";

  // What is wanted goes into the address, and the table follows the address.
  const go = () => {
    const query = new URLSearchParams(), wanted = archs.filter(arch => arch.checked);
    for (const { column, input } of choices) if (input.value) query.append(names[column], input.value);
    if (!wanted[0]) query.append(names[1], "");
    if (wanted.length < archs.length) for (const arch of wanted) query.append(names[1], arch.value);
    if (first.checked) query.append("leaders", "only");
    if (order) query.append("sort", order);
    location.hash = "leaders?" + query;
  };
  box.onchange = go;
  reset.onclick = () => location.hash = "leaders?";
  heads.forEach((head, n) => {
    const button = element("button", ...head.childNodes);
    button.onclick = () => {
      order = (order === names[n] ? "-" : "") + names[n];
      go();
    };
    head.append(button);
  });

  const words = new Intl.Collator("en", { numeric: true });
  const sorted = (column, sign) => {
    const { className, dataset: { within } } = heads[column], said = row => text(row, column);
    const number = row => parseFloat(row.cells[column].dataset.v ?? said(row).replaceAll(",", ""));
    const by = className
      ? (a, b) => isNaN(a = number(a)) - isNaN(b = number(b)) || sign * (a - b)
      : (a, b) => sign * words.compare(said(a), said(b));
    // Within: the tasks differ in unit.
    return [...rows].sort((a, b) => within && words.compare(text(a, 0), text(b, 0)) || by(a, b));
  };
  show = query => {
    const [, minus, name] = /(-?)(.*)/.exec(query.get("sort") ?? ""), column = names.indexOf(name);
    order = column < 0 ? "" : minus + name;
    body.append(...(order ? sorted(column, minus ? -1 : 1) : rows));
    heads.forEach((head, n) => head.ariaSort = n === column ? minus ? "descending" : "ascending" : null);
    for (const { column, input } of choices) {
      input.value = query.get(names[column]) ?? "";
      if (input.selectedIndex < 0) input.value = "";
    }
    const wanted = query.getAll(names[1]);
    for (const arch of archs) arch.checked = !wanted.length || wanted.includes(arch.value);
    first.checked = query.has("leaders");
    for (const row of rows) row.hidden = choices.some(({ column, input }) => input.value && input.value !== text(row, column))
      || !archs.some(arch => arch.checked && arch.value === text(row, 1)) || first.checked && row.className !== "top";
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`
      + (order && `, by ${name}, ${heads[column].ariaSort}${heads[column].dataset.within ?? ""}`);
  };
  show(new URLSearchParams());
}

// The address: of a section, or of the leader table's state.
let place;
const follow = () => {
  const [id, query] = location.hash.slice(1).split("?");
  if (!id || id === "leaders") show(new URLSearchParams(query));
  if (id !== place || query === undefined) reveal(id);
  place = id;
};
addEventListener("hashchange", follow);
follow();
