"use strict";
// Sorts and filters the tables of the page, and copies its command. Without it everything is there to be read.
(() => {
  const textOf = new Intl.Collator(undefined, { numeric: true });
  /** Row to all of its cells: those of hidden columns are taken out of the page, or thousands of rows sort slowly. */
  const allCells = new WeakMap();

  /** What a cell is sorted by; null for one that has nothing, or no number where there are numbers. */
  function keyOf(cell, isNumber) {
    const text = cell.textContent.trim();
    if (!isNumber) return text || null;
    const value = text === "inf" ? Infinity : text === "-inf" ? -Infinity : text ? Number(text) : NaN;
    return Number.isNaN(value) ? null : value;
  }

  function compared(one, other, isNumber) {
    if (isNumber) return one < other ? -1 : one > other ? 1 : 0;
    return textOf.compare(one, other);
  }

  /** Sorts a table's rows; what is missing comes last in either direction, and equal rows stay as they are. */
  function sort(table, header, descending) {
    const isNumber = header.dataset.kind === "number";
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => {
      const cells = allCells.get(row) || row.cells;
      return [keyOf(cells[header.cellIndex], isNumber), row];
    });
    const known = rows.filter(([key]) => key !== null);
    const missing = rows.filter(([key]) => key === null);
    known.sort(([one], [other]) => (descending ? compared(other, one, isNumber) : compared(one, other, isNumber)));
    const sorted = document.createDocumentFragment();
    for (const [, row] of [...known, ...missing]) sorted.append(row);
    body.append(sorted);
    for (const own of table.tHead.rows[0].cells) own.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  }

  function makeSortable(table) {
    for (const header of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        sort(table, header, header.getAttribute("aria-sort") === "ascending");
      });
    }
  }

  /** Adds what the rows have in a column to its choice, each with how many rows have it. */
  function fill(select, cells) {
    const counts = new Map();
    for (const cell of cells) counts.set(cell, (counts.get(cell) || 0) + 1);
    for (const [value, count] of counts) {
      if (value) select.append(new Option(`${value} (${count})`, value));
    }
  }

  function makeFiltered(bar) {
    const table = document.getElementById(bar.dataset.table);
    const headers = Array.from(table.tHead.rows[0].cells);
    // Read before the headers get their buttons, and in the order of the page, whatever is sorted later.
    const names = headers.map((header) => header.textContent.trim());
    const rows = Array.from(table.tBodies[0].rows, (row) => {
      const cells = Array.from(row.cells, (cell) => cell.textContent);
      allCells.set(row, Array.from(row.cells));
      return { row, cells, text: cells.join("\n").toLowerCase() };
    });
    const words = bar.querySelector("input[type=search]");
    const everything = bar.querySelector("input[type=checkbox]");
    const choices = Array.from(bar.querySelectorAll("select"), (select) => {
      return { select, column: names.indexOf(select.dataset.column) };
    });
    for (const { select, column } of choices) fill(select, rows.map((own) => own.cells[column]));

    /** Hides columns that are wanted last, and those in which no row that is shown has anything. */
    function hideColumns(shown) {
      const hidden = headers.map((header, place) => {
        const last = everything && !everything.checked && header.classList.contains("extra");
        return Boolean(last || (shown.length && !shown.some((own) => own.cells[place])));
      });
      if (headers.every((header, place) => header.hidden === hidden[place])) return;
      headers.forEach((header, place) => (header.hidden = hidden[place]));
      for (const { row } of rows) row.replaceChildren(...allCells.get(row).filter((_, place) => !hidden[place]));
    }

    function apply() {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = choices.filter(({ select }) => select.value);
      const shown = [];
      for (const own of rows) {
        const fits =
          wanted.every((word) => own.text.includes(word)) &&
          chosen.every(({ select, column }) => own.cells[column] === select.value);
        if (own.row.hidden === fits) own.row.hidden = !fits;
        if (fits) shown.push(own);
      }
      hideColumns(shown);
      bar.querySelector("output").textContent = `${shown.length} of ${rows.length} rows shown`;
    }

    for (const control of bar.querySelectorAll("input, select")) control.addEventListener("input", apply);
    bar.hidden = false;
    apply();
  }

  function makeCopied(command) {
    const button = document.createElement("button");
    const said = document.createElement("span");
    button.type = "button";
    button.textContent = "copy the command";
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      const pre = command.querySelector("pre");
      try {
        await navigator.clipboard.writeText(pre.textContent);
        said.textContent = " copied";
      } catch {
        getSelection().selectAllChildren(pre);
        said.textContent = " selected: copy it with the keyboard";
      }
    });
    command.append(button, said);
  }

  for (const bar of document.querySelectorAll(".filters")) makeFiltered(bar);
  for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
  for (const command of document.querySelectorAll(".command")) makeCopied(command);
})();
