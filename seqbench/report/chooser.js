{
  // Answers as seqbench/analyse/chooser.py does; `element` is that of page.js.
  const all = document.querySelector("[data-options]");
  const { archs, families, bands, units, tasks } = JSON.parse(all.dataset.options);
  const and = list => (list.length > 1 ? list.slice(0, -1).join(", ") + " and " : "") + list.at(-1);
  const amount = x => isNaN(x) ? "–" : x.toLocaleString("en", { maximumSignificantDigits: 21 });
  const share = p => isNaN(p) ? "–" : p < 0.5 ? "under 1 %" : p >= 99.5 ? "over 99 %" : p.toFixed() + " %";
  const sum = list => list.reduce((x, y) => x + y);
  const fields = element("fieldset", element("legend", "Your case"));
  const field = (label, input) => {
    input.ariaLabel = label;
    return fields.appendChild(element("label", label, input)).lastChild;
  };
  const select = (label, words) => field(label, element("select", ...["any", ...words].map(word => element("option", word))));
  const family = select("Task family", families), length = select("Sequence length", bands);
  const limits = [0, 1, 4].map(k =>
    [k, field("At most " + units[k], Object.assign(element("input"), { type: "number", min: 0, step: "any" }))]);
  const said = element("output");
  const box = all.querySelector(".scroll").cloneNode(true), [table] = box.children;
  box.ariaLabel = table.caption.textContent = "Your case";
  const body = element("tbody");
  table.replaceChildren(table.caption, table.tHead, body);

  const show = () => {
    const of = families[family.selectedIndex - 1], band = length.selectedIndex - 1;
    const own = tasks.filter(t => (!of || t.family === of) && (band < 0 || t.band === band));
    if (box.hidden = !own[0]) return said.textContent = "No measurement matches.";
    const weights = own.map(t => 1 / own.filter(u => u.name === t.name).length);
    const mean = get => sum(own.map((t, n) => weights[n] * get(t))) / sum(weights);
    const rows = archs.map((arch, i) => {
      const costs = units.map((_, k) => Math.max(...own.map(t => t.costs[i][k] ?? NaN)));  // NaN: not measured
      const why = own.find(t => t.outs[i])?.outs[i];
      const out = why ? `${why} on ${and(own.filter(t => t.outs[i] === why).map(t => t.id))}` : limits
        .filter(([k, { value }]) => value && !(costs[k] <= value))
        .map(([k]) => `${amount(costs[k])} ${units[k]}: ${costs[k] ? "over the limit" : "not measured"}`).join("; ");
      return { arch, i, out, costs, score: mean(t => t.score[i]), best: NaN };
    });
    const left = rows.filter(row => !row.out);
    const odds = (of, row) => {
      if (of[1]) return of[sum(left.map(r => 2 ** r.i))][left.indexOf(row)];
      const total = sum(left.map(r => of[0][r.i]));
      return 1000 * (total ? of[0][row.i] / total : 1 / left.length);
    };
    if (own.every(t => t.odds[0])) for (const row of left) row.best = mean(t => odds(t.odds, row)) / 10;
    const over = (...pair) => {
      const [a, b] = pair.map(row => [-row.score, ...row.costs.slice(0, 4)]);
      return a.every((x, k) => x <= b[k] || Object.is(x, b[k])) && a.some((x, k) => x < b[k]);
    };
    const front = left.filter(row => !left.some(r => over(r, row)));
    for (const row of left) {
      const better = front.filter(r => over(r, row)).map(r => r.arch);
      row.out = better[0] && `behind ${and(better)} in every mean`;
    }
    rows.sort((a, b) => !!a.out - !!b.out || (b.best || -1) - (a.best || -1));
    const told = {};
    for (const t of left[0] ? own : []) {
      const top = left.reduce((a, b) => t.score[b.i] > t.score[a.i] ? b : a);
      const peers = left.filter(row => !t.beats[top.i].includes(row.i)).map(row => row.arch);
      const words = !left[1] ? `only ${peers} is left` : !peers[1] ? `${peers} is better than the rest`
        : `${t.seeds} cannot tell ${and(peers)} apart`;
      (told[words] ??= []).push(t.id);
    }
    const best = rows.filter(row => !row.out).map(row => `${row.arch} ${share(row.best)}`);
    said.textContent = [best[0] ? `On the front, with P(best): ${best.join(", ")}.` : "No architecture is left.",
      ...Object.entries(told).map(([words, ids]) => `On ${and(ids)}, ${words}.`)].join(" ");
    body.replaceChildren(...rows.map(({ arch, best, score, costs, out }) => element("tr", element("th", arch),
      ...[share(best), score.toFixed(3), ...costs.map(amount), out || "on the front"].map(word => element("td", word)))));
  };
  fields.addEventListener("input", show);
  all.before(fields, said, box);
  all.open = false;
  show();
}
