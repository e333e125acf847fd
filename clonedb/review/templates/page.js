(() => {
  "use strict";
  const one = id => document.getElementById(id);
  const [form, words, file, table, risk, changed, count] =
    ["search", "q", "file", "table", "risk", "changed", "count"].map(one);
  let items = null;

  // Texts are looked up when they are first searched: a megabyte that most readers never ask for.
  const read = () => [...document.querySelectorAll("#items > .item")].map(item => {
    const change = item.dataset.changed ? one(item.dataset.changed) : null;
    const text = item.textContent + (change ? " " + change.textContent : "");
    return { item, text: text.toLowerCase(), tables: item.dataset.tables.split(" ") };
  });

  const search = () => {
    items ??= read();
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { item, text, tables } of items) {
      const data = item.dataset;
      const fits = wanted.every(word => text.includes(word))
        && (!file.value || data.file === file.value)
        && (!table.value || tables.includes(table.value))
        && (!risk.value || (risk.value === "any" ? data.risk !== "" : data.risk === risk.value))
        && (!changed.checked || data.changed !== undefined);
      item.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${items.length} queries`;
  };

  const reveal = () => {
    const target = one(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.hidden) { form.reset(); search(); }
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView();
  };

  form.addEventListener("input", search);
  form.addEventListener("submit", event => event.preventDefault());
  addEventListener("hashchange", reveal);
  addEventListener("keydown", event => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)
        && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      one("all").scrollIntoView();
      words.focus({ preventScroll: true });
    } else if (event.key === "Escape" && form.contains(document.activeElement)) {
      form.reset();
      search();
    }
  });
  // A browser may bring back what was typed before.
  if (words.value || file.value || table.value || risk.value || changed.checked) search();
  reveal();
})();
