// The page is whole without this script. It adds sorting by column and a filter, both kept in the URL.
"use strict";
(() => {
  const url = new URL(location.href);
  const remember = (key, value) => {
    if (value) url.searchParams.set(key, value);
    else url.searchParams.delete(key);
    url.hash = location.hash;
    try { history.replaceState(null, "", url); } catch { /* some browsers forbid it for files */ }
  };

  const value = (body, column) => body.rows[0].cells[column].dataset.value;
  const compare = (kind, one, other) => kind === "number" ? one - other : one.localeCompare(other);

  function sort(table, column, direction) {
    const heads = [...table.tHead.rows[0].cells];
    const sign = direction === "ascending" ? 1 : -1;
    const bodies = [...table.tBodies].sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      if (x === "" || y === "") return (x === "") - (y === "");  // what has no number stays last
      return sign * compare(heads[column].dataset.sort, x, y);
    });
    table.append(...bodies);
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    });
  }

  document.querySelectorAll("table.entries").forEach((table) => {
    const key = "sort-" + table.closest("section").id;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const first = head.dataset.sort === "number" ? "descending" : "ascending";
        const second = first === "descending" ? "ascending" : "descending";
        const direction = head.getAttribute("aria-sort") === first ? second : first;
        sort(table, column, direction);
        remember(key, column + "-" + direction);
      });
    });
    const [, column, direction] = /^(\d+)-(ascending|descending)$/.exec(url.searchParams.get(key) || "") || [];
    if (direction && column < table.tHead.rows[0].cells.length) sort(table, Number(column), direction);
  });

  const tools = document.querySelector(".tools");
  if (tools) {
    const input = tools.querySelector("input");
    const output = tools.querySelector("output");
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      document.querySelectorAll("[data-search]").forEach((element) => {
        const text = element.dataset.search.toLowerCase();
        element.classList.toggle("filtered", !words.every((word) => text.includes(word)));
      });
      const all = document.querySelectorAll("tbody[data-search]");
      const shown = [...all].filter((body) => !body.classList.contains("filtered"));
      output.textContent = words.length ? shown.length + " of " + all.length + " entries" : "";
    };
    input.value = url.searchParams.get("show") || "";
    input.addEventListener("input", () => { filter(); remember("show", input.value.trim()); });
    tools.hidden = false;
    filter();
  }

  const kinds = document.querySelector(".kinds");
  if (kinds) {
    const rows = [...document.querySelectorAll("[data-kinds]")];
    const boxes = [...kinds.querySelectorAll("input")];
    const output = kinds.querySelector("output");
    const show = () => {
      const wanted = boxes.filter((box) => box.checked).map((box) => box.value);
      rows.forEach((row) => {
        const own = row.dataset.kinds.split(" ");
        row.classList.toggle("filtered", wanted.length > 0 && !wanted.some((kind) => own.includes(kind)));
      });
      const shown = rows.filter((row) => !row.classList.contains("filtered")).length;
      output.textContent = wanted.length ? shown + " of " + rows.length + " facts" : "";
      remember("answers", wanted.join(","));
    };
    const before = (url.searchParams.get("answers") || "").split(",");
    boxes.forEach((box) => { box.checked = before.includes(box.value); box.addEventListener("change", show); });
    kinds.hidden = false;
    show();
  }

  // Where the plane is wider than the window, its right end is what matters: who learns the new facts.
  document.querySelectorAll(".plane .scroll").forEach((element) => { element.scrollLeft = element.scrollWidth; });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("figure details:not([open])")];
    closed.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => { closed.forEach((details) => { details.open = false; }); });
})();
