// Sorts tables, saves them as CSV, and unfolds sections. Without it, a page shows the same.
"use strict";
(() => {
  const number = (text) => {
    const found = /^[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?/i.exec(text.trim().replace("−", "-"));
    return found ? Number(found[0].replaceAll(",", "")) : NaN;
  };
  const rowsOf = (table) => [...table.tBodies[0].rows];

  function sort(table, column, header) {
    const before = header.getAttribute("aria-sort");
    const texts = rowsOf(table).map((row) => row.cells[column]?.textContent ?? "");
    const filled = texts.filter((text) => text.trim());
    const numeric = 2 * filled.filter((text) => !Number.isNaN(number(text))).length > filled.length;
    // Numbers begin with the highest, names with the first of the alphabet.
    const ascending = before ? before === "descending" : !numeric;
    const key = (row) => {
      const text = row.cells[column]?.textContent ?? "";
      return numeric ? number(text) : text;
    };
    const isMissing = (value) => value === "" || Number.isNaN(value);
    const compare = (a, b) => (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
    rowsOf(table)
      .map((row) => [key(row), row])
      .sort(([a], [b]) => {
        if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
        return ascending ? compare(a, b) : compare(b, a);
      })
      .forEach(([, row]) => table.tBodies[0].append(row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  }

  const plain = (node) => node.textContent.replace(/\s+/g, " ").trim();
  function quoted(text) {
    // A spreadsheet would run a text that begins like a formula.
    const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(number(text)) ? "'" + text : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }
  function csv(table) {
    const headers = [...table.tHead.rows[0].cells].map(plain);
    const rows = rowsOf(table);
    const withInterval = headers.map((_, k) =>
      rows.some((row) => row.cells[k]?.querySelector(".interval")));
    const head = headers.flatMap((name, k) =>
      withInterval[k] ? [name, `${name}, low`, `${name}, high`] : [name]);
    const lines = rows.map((row) => headers.flatMap((_, k) => {
      const cell = row.cells[k]?.cloneNode(true);
      const interval = cell?.querySelector(".interval");
      const ends = interval ? plain(interval).split(" to ") : ["", ""];
      cell?.querySelectorAll(".interval, .sign").forEach((part) => part.remove());
      const text = cell ? plain(cell) : "";
      return withInterval[k] ? [text, ...ends] : [text];
    }));
    return [head, ...lines].map((line) => line.map(quoted).join(",")).join("\n") + "\n";
  }
  function save(table) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
    link.download = `${table.dataset.name || "table"}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  function button(text, action, name) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    if (name) made.className = name;
    made.addEventListener("click", action);
    return made;
  }

  for (const table of document.querySelectorAll("table[data-name]")) {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const text = header.textContent;
      header.textContent = "";
      header.append(button(text, () => sort(table, column, header)));
    });
    const tool = button("Save as CSV", () => save(table), "tool");
    tool.setAttribute("aria-label", `Save the table ${table.dataset.name} as CSV`);
    table.parentElement.after(tool);
  }

  const folded = [...document.querySelectorAll("details")];
  if (folded.length > 2) {
    const tool = button("Unfold all sections", () => {
      const open = folded.some((part) => !part.open);
      folded.forEach((part) => { part.open = open; });
      tool.textContent = open ? "Fold all sections" : "Unfold all sections";
    }, "tool");
    document.querySelector("h1").after(tool);
  }
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    if (target) target.scrollIntoView();
  };
  window.addEventListener("hashchange", unfold);
  unfold();
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = folded.filter((part) => !part.open);
    opened.forEach((part) => { part.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));
})();
