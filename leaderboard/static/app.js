// The pages are whole without this script. It adds sorting, filters and choosing, all of it kept in the address.
"use strict";
(() => {
  const url = new URL(location.href);
  let soon;
  const remember = (key, value) => {
    if (value) url.searchParams.set(key, value);
    else url.searchParams.delete(key);
    url.hash = location.hash;
    clearTimeout(soon);
    soon = setTimeout(() => {  // what the reader sees comes first: this takes a while
      try { history.replaceState(null, "", url.href.replaceAll("%2C", ",")); } catch { /* some browsers forbid it for files */ }
    });
  };
  const link = (href, text) => {
    const made = document.createElement("a");
    made.href = href;
    made.textContent = text;
    return made;
  };

  const table = document.querySelector("table.entries");
  if (table) board();

  function board() {
    // In the order of the page: by score, and the order in which the bits of data-alike count the entries.
    const bodies = [...table.tBodies];
    const heads = [...table.tHead.rows[0].cells];
    const names = heads.map((head) => head.firstChild.textContent.trim().toLowerCase().replace(/\W+/g, "-"));
    const at = (name) => names.indexOf(name);
    const number = (cell) => {
      const known = cell.firstChild && !cell.matches(".none, .unchecked");
      return known ? parseFloat(cell.firstChild.textContent.replace("−", "-")) : NaN;
    };
    const rows = bodies.map((body) => {
      const [cells, { dataset }] = [body.rows[0].cells, body];
      const anchor = cells[0].querySelector("a");
      return {
        body, cells, ...dataset, anchor,
        title: anchor ? anchor.textContent : "",
        text: (cells[0].textContent + " " + (dataset.entry || "")).toLowerCase(),
        date: (cells[0].querySelector("time") || {}).textContent || "",
        numbers: [...cells].map((cell, column) => column ? number(cell) : NaN),
      };
    });
    const entries = rows.filter((row) => row.entry);
    const marks = [...document.querySelectorAll(".plane [data-entry]")];

    // Sorting
    const order = (column, direction) => {
      const sign = direction === "ascending" ? 1 : -1;
      const text = heads[column].dataset.sort === "text";
      const sorted = [...rows].sort((a, b) => {
        if (text) return sign * a.text.localeCompare(b.text);
        const [x, y] = [a.numbers[column], b.numbers[column]];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);  // without a number: last
        return sign * (x - y);
      });
      table.append(...sorted.map((row) => row.body));
      table.classList.toggle("sorted", names[column] !== "rank" || direction !== "ascending");
      heads.forEach((head, place) => {
        if (place === column) head.setAttribute("aria-sort", direction);
        else head.removeAttribute("aria-sort");
      });
    };
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const first = head.dataset.sort === "number" ? "descending" : "ascending";
        const second = first === "descending" ? "ascending" : "descending";
        const direction = head.getAttribute("aria-sort") === first ? second : first;
        order(column, direction);
        remember("sort", names[column] + "-" + direction);
      });
    });
    const [, column, direction] = /^(.+)-(ascending|descending)$/.exec(url.searchParams.get("sort") || "") || [];
    if (names.includes(column)) order(at(column), direction);

    // Filters, and how much must be learned
    const filters = document.querySelector(".filters");
    const fields = [...filters.querySelectorAll("input, select")];
    const output = filters.querySelector("output");
    const need = document.getElementById("need");
    const wanted = () => Object.fromEntries(fields.map((field) => [field.name, field.value.trim()]));
    const learned = (row) => row.numbers[at("unknown")];
    const level = () => need && need.value !== "" ? Math.min(100, Math.max(0, Number(need.value))) : null;

    const filter = () => {
      const { show, family, tier, seeds, since } = wanted();
      const words = show.toLowerCase().split(/\s+/).filter(Boolean);
      const least = level();
      const hidden = new Set();
      for (const row of entries) {
        const fits = words.every((word) => row.text.includes(word))
          && (!family || row.family === family)
          && (!tier || row.tier === tier)
          && (!seeds || row.numbers[at("seeds")] >= Number(seeds))
          && (!since || row.date >= since)
          && (least === null || learned(row) >= least);
        row.fits = fits;
        const gone = !fits && row.always === undefined;
        if (gone) hidden.add(row.entry);
        row.body.classList.toggle("filtered", gone);
      }
      marks.forEach((mark) => mark.classList.toggle("filtered", hidden.has(mark.dataset.entry)));
      const any = words.length || family || tier || seeds || since || least !== null;
      const left = entries.filter((row) => row.fits).length;
      output.textContent = any ? `${left} of ${entries.length} entries; reference, SFT and base stay` : "";
      choose(least);
      document.querySelectorAll("a.track-link").forEach((other) => {
        const [page] = other.getAttribute("href").split("?");
        const query = new URLSearchParams([...url.searchParams].filter(([key]) => key !== "entries")).toString();
        other.setAttribute("href", query ? page + "?" + query : page);
      });
    };

    // Which one for my case?
    const choose = (least) => {
      const answer = document.querySelector(".case output");
      if (!answer) return;
      answer.replaceChildren();
      if (least === null) return;
      if (least === 0) {
        answer.append("Then leave the new facts out of the training: the reference is what is left.");
        return;
      }
      const forgotten = (row) => row.numbers[at("forgetting")];
      const left = entries
        .filter((row) => row.fits && row.tier !== "refuted" && !(forgotten(row) !== forgotten(row)))
        .filter((row) => !row.cells[0].querySelector(".tag:first-child")?.textContent.startsWith("reference"))
        .sort((a, b) => forgotten(a) - forgotten(b));
      if (!left.length) {
        answer.append("Nobody who is shown gets there.");
        return;
      }
      const [best] = left;
      const bits = BigInt("0x" + best.alike);
      const alike = left.slice(1).filter((row) => (bits >> BigInt(entries.indexOf(row))) & 1n);
      const within = best.cells[at("forgetting")].querySelector("small");
      const points = best.cells[at("forgetting")].firstChild.textContent;
      answer.append(left.length === 1 ? "One is left: " : left.length + " are left. The least is forgotten by ");
      answer.append(link(best.anchor.href, best.title), `: ${points} points`);
      if (within) answer.append(` (${within.textContent.replace(", n.s.", ", not significant")})`);
      answer.append(`, ${best.tier}. `);
      if (alike.length) {
        answer.append("Not told apart from it: ");
        alike.slice(0, 8).forEach((row, place) => {
          answer.append(place ? ", " : "", link(row.anchor.href, row.title));
        });
        answer.append(alike.length > 8 ? ` and ${alike.length - 8} more.` : ".");
      } else if (left.length > 1) {
        answer.append("The others forget significantly more, or cannot be told for sure to.");
      }
    };

    const changed = (name, value) => { remember(name, value); filter(); };
    fields.forEach((field) => {
      const before = url.searchParams.get(field.name) || "";
      if (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === before)) field.value = before;
      field.addEventListener("input", () => changed(field.name, field.value.trim()));
    });
    filters.querySelector("button").addEventListener("click", () => {
      fields.forEach((field) => { field.value = ""; remember(field.name, ""); });
      if (need) { need.value = ""; remember("need", ""); }
      filter();
    });
    if (need) {
      need.value = url.searchParams.get("need") || "";
      need.addEventListener("input", () => changed("need", need.value));
    }

    // Choosing entries for comparison
    const compare = document.querySelector("a.compare-link");
    const page = compare.getAttribute("href");
    const bar = document.createElement("p");
    bar.className = "bar-compare";
    bar.setAttribute("role", "status");
    table.closest(".scroll").after(bar);
    let chosen = (url.searchParams.get("entries") || "").split(",").filter((slug) => entries.some((row) => row.entry === slug));
    chosen = [...new Set(chosen)].slice(0, 3);
    const boxes = new Map(entries.map((row) => {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.setAttribute("aria-label", "compare " + row.title);
      box.title = "compare";
      box.addEventListener("change", () => {
        chosen = box.checked ? [...chosen, row.entry] : chosen.filter((slug) => slug !== row.entry);
        remember("entries", chosen.join(","));
        picked();
      });
      row.cells[0].prepend(box);
      return [row.entry, box];
    }));
    const picked = () => {
      boxes.forEach((box, slug) => {
        box.checked = chosen.includes(slug);
        box.disabled = chosen.length >= 3 && !box.checked;
      });
      bar.replaceChildren();
      if (chosen.length > 1) {
        bar.append(link(`${page}?entries=${chosen.join(",")}`, `Compare these ${chosen.length} entries, fact by fact`));
      } else {
        bar.append(chosen.length ? "Tick one or two more to compare." : "Tick two or three entries to compare them.");
      }
    };

    document.querySelectorAll(".tools").forEach((tools) => { tools.hidden = false; });
    filter();
    picked();
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
