// Two or three entries of a track beside each other, chosen by the reader and kept in the URL. Everything is in the
// page: which facts each seed has right, a bit each, and interval and p-value of each pair. Texts go in as text, never
// as markup.
"use strict";

const ALPHA = 0.05;
const FINEST = 10000;  // parts of 1 a p-value is told in
const SLOTS = ["a", "b", "c"];
const SPLITS = ["held", "unknown"];
const AT_FIRST = 200;  // rows

// A number for the reader, as fthall.leaderboard.board.number writes it: half to even, a real minus sign, never -0.
function number(value) {
  const tie = Math.abs(value * 4) % 2 === 1;  // only quarters lie exactly between two tenths
  const text = (tie ? 2 * Math.round(value * 5) / 10 : value).toFixed(1);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function signed(value) {
  const text = number(value);
  return Number(text.replace("−", "-")) > 0 ? "+" + text : text;
}

function pText(p) { return p < 1 / FINEST ? "below 0.0001" : p.toFixed(4); }

// Exact two-sided McNemar test, as fthall.measure.stats.mcnemar: 2 P[Bin(lost + gained, 1/2) <= min(lost, gained)].
function mcnemar(lost, gained) {
  const n = lost + gained;
  let choose = 0;  // logarithm of n over k
  let tail = 0;
  for (let k = 0; k <= Math.min(lost, gained); k += 1) {
    if (k > 0) choose += Math.log((n - k + 1) / k);
    tail += Math.exp(choose - n * Math.LN2);
  }
  return Math.min(1, 2 * tail);
}

// Holm's adjusted p-values, in the order given.
function holm(values) {
  const order = values.map((_, at) => at).sort((x, y) => values[x] - values[y]);
  const adjusted = [];
  let most = 0;
  order.forEach((at, rank) => {
    most = Math.max(most, Math.min(1, values[at] * (values.length - rank)));
    adjusted[at] = most;
  });
  return adjusted;
}

function bytes(text) { return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); }

// An array of 0 and 1, an item each; the first is the highest bit of the first byte.
function bits(text, count) {
  const packed = bytes(text);
  return Array.from({ length: count }, (_, at) => packed[at >> 3] >> (7 - at % 8) & 1);
}

// Whole numbers of two bytes, the lower one first.
function words(text) {
  const packed = bytes(text);
  return Array.from({ length: packed.length / 2 }, (_, at) => packed[2 * at] + 256 * packed[2 * at + 1]);
}

// Where the pair of two different places is, in the upper triangle of a matrix row by row.
function pairAt(one, other, count) {
  const [row, column] = one < other ? [one, other] : [other, one];
  return row * count - row * (row + 1) / 2 + column - row - 1;
}

// Whether the first has a fact right and the second has not; each is how many seeds have it right, and of how many.
const beats = {
  majority: ([x, m], [y, n]) => 2 * x > m && 2 * y <= n,
  all: ([x, m], [y]) => x === m && y === 0,
  any: ([x, m], [y, n]) => x * n > y * m,
};

// What the URL asks for: at most three entries, each once, and what to say of the others.
function asked(text, slugs) {
  const found = [];
  const said = [];
  text.split(",").map((slug) => slug.trim()).filter(Boolean).forEach((slug) => {
    const name = slug.length > 70 ? slug.slice(0, 70) + "…" : slug;
    if (!slugs.includes(slug)) said.push("There is no entry “" + name + "” on this track; choose below.");
    else if (found.includes(slug)) said.push("“" + slug + "” was named twice; it stands here once.");
    else if (found.length === SLOTS.length) said.push("Three entries at most: “" + slug + "” is left out.");
    else found.push(slug);
  });
  return [found, said.slice(0, 5)];
}

function page() {
  const root = document.querySelector(".compare");
  const data = JSON.parse(document.getElementById("data").textContent);
  const entries = data.entries;
  if (entries.length < 2) return;
  const slugs = entries.map((entry) => entry.slug);
  const rows = new Map([...document.querySelectorAll("tr[data-entry]")].map((row) => [row.dataset.entry, row]));
  const find = (selector) => root.querySelector(selector);
  const select = (name) => find("select[name=" + name + "]");
  const apart = Object.fromEntries(SPLITS.map((split) => {
    const { unit, half, p } = data.pairs[split];
    return [split, { half: words(half).map((value) => value * unit), p: words(p).map((value) => value / FINEST) }];
  }));

  // ---- the state, which is the URL's
  const url = new URL(location.href);
  const given = url.searchParams.get("entries");
  const [named, complaints] = asked(given === null ? data.start.join(",") : given, slugs);
  const one = (name, allowed) => {
    const value = url.searchParams.get(name) || "";
    return allowed.includes(value) ? value : allowed[0];
  };
  const state = {
    entries: named,
    facts: one("facts", SPLITS),
    by: one("by", Object.keys(beats)),
    right: url.searchParams.get("right") || "",
    relation: url.searchParams.get("relation") || "",
    rows: one("rows", ["", "all"]),
  };
  const usual = { facts: "held", by: "majority" };
  function remember() {
    Object.entries(state).forEach(([key, value]) => {
      const text = Array.isArray(value) ? value.join(",") : value;
      if (text && text !== usual[key]) url.searchParams.set(key, text);
      else url.searchParams.delete(key);
    });
    url.search = url.searchParams.toString().replaceAll("%2C", ",");
    url.hash = location.hash;
    try { history.replaceState(null, "", url); } catch { /* some browsers forbid it for files */ }
  }

  // ---- elements
  function make(tag, text, attributes) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    Object.entries(attributes || {}).forEach(([name, value]) => made.setAttribute(name, value));
    return made;
  }
  function option(text, value) { return make("option", text, { value }); }
  function row(...cells) {
    const made = make("tr");
    made.append(...cells);
    return made;
  }
  function badge(at) { return make("b", SLOTS[at].toUpperCase(), { class: "badge" }); }
  function pairHead(x, y) {
    const made = make("th", undefined, { scope: "row", class: "pair" });
    made.append(badge(x), " − ", badge(y));
    return made;
  }

  // ---- what each chosen entry has right
  const unpacked = new Map();
  function right(slug, split) {
    const key = split + " " + slug;
    if (!unpacked.has(key)) {
      const entry = entries[slugs.indexOf(slug)];
      const count = data.facts[split].relation.length;
      unpacked.set(key, entry[split].map((text) => bits(text, count)));
    }
    return unpacked.get(key);
  }
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  function mean(slug, split) {
    const seeds = right(slug, split).map((seed) => 100 * sum(seed) / seed.length);
    return sum(seeds) / seeds.length;
  }
  function pairs() {
    const at = state.entries.map((_, place) => place);
    return at.flatMap((x) => at.filter((y) => y > x).map((y) => [x, y]));
  }
  function title(at) { return entries[slugs.indexOf(state.entries[at])].title; }

  // ---- choosing
  const families = new Map();
  entries.forEach((entry) => {
    if (!families.has(entry.method)) families.set(entry.method, []);
    families.get(entry.method).push(entry);
  });
  function short(text) {
    const letters = [...text];
    return letters.length > 60 ? letters.slice(0, 60).join("") + "…" : text;
  }
  SLOTS.forEach((slot, at) => {
    const box = select(slot);
    box.append(option(at < 2 ? "choose an entry" : "nobody else", ""));
    [...families.keys()].sort().forEach((method) => {
      const group = make("optgroup", undefined, { label: method });
      const own = [...families.get(method)].sort((x, y) => x.title.localeCompare(y.title, "en"));
      const name = ({ title, reference }) => short(title) + (reference ? " (reference)" : "");
      group.append(...own.map((entry) => option(name(entry), entry.slug)));
      box.append(group);
    });
    box.addEventListener("change", () => {
      const wanted = SLOTS.map((name) => select(name).value);
      const said = [];
      if (box.value && wanted.some((slug, other) => other !== at && slug === box.value)) {
        said.push("That entry is chosen already; choose another.");
        wanted[at] = state.entries[at] === box.value ? "" : state.entries[at] || "";
      }
      const before = state.entries.join();
      state.entries = wanted.filter((slug, place) => slug && wanted.indexOf(slug) === place);
      if (state.entries.join() !== before) Object.assign(state, { right: "", rows: "" });
      show(said);
    });
  });
  function messages(said) {
    if (state.entries.length === 0 && said.length === 0) said = ["Choose two entries."];
    if (state.entries.length === 1) said = [...said, "Choose a second entry to compare it with."];
    find(".messages").textContent = said.join(" ");
  }

  // ---- numbers: those of the table of all entries, a column an entry
  function numbers() {
    const table = find(".beside");
    const heads = [...document.querySelectorAll(".all thead th:not([data-alone])")];
    const cells = heads.map((_, at) => state.entries.map((slug) => rows.get(slug).cells[at]));
    table.tHead.replaceChildren(row(make("td"), ...cells[0].map((cell, at) => {
      const head = make("th", undefined, { scope: "col" });
      head.append(badge(at), " ", ...[...cell.childNodes].map((node) => node.cloneNode(true)));
      return head;
    })));
    table.tBodies[0].replaceChildren(...heads.slice(1).map((head, at) => {
      const first = make("th", undefined, { scope: "row" });
      first.append(...[...head.childNodes].map((node) => node.cloneNode(true)));
      return row(first, ...cells[at + 1].map((cell) => cell.cloneNode(true)));
    }));
  }

  // ---- differences between methods
  const WHAT = { held: "Old facts kept", unknown: "New facts learned" };
  function difference(x, y, split) {
    const [one, other] = [state.entries[x], state.entries[y]];
    const points = mean(one, split) - mean(other, split);
    const at = pairAt(slugs.indexOf(one), slugs.indexOf(other), slugs.length);
    const half = apart[split].half[at];
    return { x, y, points, low: points - half, high: points + half, p: apart[split].p[at] };
  }
  function verdict(split, { x, y, points, p }) {
    const floor = split === "held" ? data.floor || 0 : 0;
    const [better, worse] = points > 0 ? [x, y] : [y, x];
    const made = make("li");
    const name = (at) => [badge(at), " ", make("bdi", title(at))];
    if (p < ALPHA && Math.abs(points) > floor) {
      const did = split === "held" ? " keeps " : " learns ";
      const of = split === "held" ? " points more of the old facts than " : " points more of the new facts than ";
      made.append(...name(better), did + number(Math.abs(points)) + of, ...name(worse), ".");
    } else {
      const why = points !== 0 && Math.abs(points) <= floor ? ": other batches change as much" : "";
      made.append(...name(x), " and ", ...name(y), " are not told apart by what they ",
        (split === "held" ? "keep" : "learn") + " (" + number(Math.abs(points)) + " points apart" + why + ").");
    }
    return made;
  }
  function whisker({ points, low, high }, reach) {
    const space = "http://www.w3.org/2000/svg";
    const draw = (tag, attributes) => {
      const made = document.createElementNS(space, tag);
      Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
      return made;
    };
    const x = (value) => (80 + 76 * value / reach).toFixed(1);
    const svg = draw("svg", { viewBox: "0 0 160 16", width: 160, height: 16, "aria-hidden": "true" });
    svg.append(
      draw("path", { class: "zero", d: "M80 0V16" }),
      draw("path", { class: "span", d: "M" + x(low) + " 8H" + x(high) }),
      draw("circle", { class: "dot", cx: x(points), cy: 8, r: 3.5 }),
    );
    const cell = make("td", undefined, { class: "whisker" });
    cell.append(svg);
    return cell;
  }
  function differences() {
    const table = find(".apart");
    [...table.tBodies].forEach((body) => body.remove());
    const found = SPLITS.map((split) => pairs().map(([x, y]) => difference(x, y, split)));
    const reach = Math.max(1, ...found.flat().flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)]));
    find(".said").replaceChildren(...SPLITS.flatMap((split, at) => found[at].map((one) => verdict(split, one))));
    SPLITS.forEach((split, at) => {
      const body = make("tbody");
      body.append(row(make("th", WHAT[split], { scope: "rowgroup", colspan: 5 })));
      body.append(...found[at].map((one) => row(
        pairHead(one.x, one.y),
        make("td", signed(one.points)),
        make("td", number(one.low) + " to " + number(one.high)),
        whisker(one, reach),
        make("td", pText(one.p), { class: one.p < ALPHA ? "clear" : "" }),
      )));
      table.append(body);
    });
  }

  // ---- checkpoints, seed by seed
  function seeds() {
    const tests = pairs().flatMap(([x, y]) => {
      const [one, other] = [x, y].map((at) => entries[slugs.indexOf(state.entries[at])]);
      const common = one.seeds.filter((seed) => other.seeds.includes(seed)).sort((s, t) => s - t);
      const paired = common.map((seed) => [seed, one.seeds.indexOf(seed), other.seeds.indexOf(seed)]);
      return (paired.length ? paired : [[null, 0, 0]]).map(([seed, s, t]) => {
        const told = Object.fromEntries(SPLITS.map((split) => {
          const [mine, yours] = [right(one.slug, split)[s], right(other.slug, split)[t]];
          const lost = sum(mine.map((bit, at) => bit & ~yours[at]));
          const gained = sum(yours.map((bit, at) => bit & ~mine[at]));
          return [split, { lost, gained, points: 100 * (lost - gained) / mine.length, p: mcnemar(lost, gained) }];
        }));
        const label = seed === null ? one.seeds[0] + " and " + other.seeds[0] + " †" : String(seed);
        return { x, y, label, told, alone: seed === null };
      });
    });
    const adjusted = Object.fromEntries(SPLITS.map((split) => [split, holm(tests.map(({ told }) => told[split].p))]));
    find(".seeds tbody").replaceChildren(...tests.map(({ x, y, label, told }, at) => row(
      pairHead(x, y),
      make("td", label),
      ...SPLITS.flatMap((split) => {
        const p = adjusted[split][at];
        const { lost, gained, points } = told[split];
        return [
          make("td", lost), make("td", gained), make("td", signed(points)),
          make("td", pText(p), { class: p < ALPHA ? "clear" : "" }),
        ];
      }),
    )));
    find(".family").textContent = tests.length;
    find(".unpaired").hidden = !tests.some(({ alone }) => alone);
  }

  // ---- the facts
  function facts() {
    const about = data.facts[state.facts];
    const all = about.relation;
    const counts = state.entries.map((slug) => {
      const own = right(slug, state.facts);
      return all.map((_, at) => [sum(own.map((seed) => seed[at])), own.length]);
    });
    if (!about.relations.includes(state.relation)) state.relation = "";
    const ways = pairs().flatMap(([x, y]) => [[x, y], [y, x]]);
    const key = ([x, y]) => SLOTS[x] + "-" + SLOTS[y];
    if (!ways.some((way) => key(way) === state.right)) state.right = "";
    const test = beats[state.by];
    const differs = ([x, y], at) => test(counts[x][at], counts[y][at]);
    const places = all.map((_, at) => at);
    const inRelation = (at) => !state.relation || about.relations[all[at]] === state.relation;
    const within = places.filter((at) => inRelation(at) && ways.some((way) => differs(way, at)));
    const way = ways.find((one) => key(one) === state.right);
    const found = way ? within.filter((at) => differs(way, at)) : within;
    const share = (x, at) => counts[x][at][0] / counts[x][at][1];
    const width = (at) => {
      const shares = (way || counts.map((_, x) => x)).map((x) => share(x, at));
      return Math.max(...shares) - Math.min(...shares);
    };
    const widths = new Map(found.map((at) => [at, width(at)]));
    found.sort((s, t) => widths.get(t) - widths.get(s) || s - t);

    const letter = (x) => SLOTS[x].toUpperCase();
    select("right").replaceChildren(
      option("one has it, another not (" + within.length + ")", ""),
      ...ways.map((one) => {
        const count = within.filter((at) => differs(one, at)).length;
        return option(letter(one[0]) + " right, " + letter(one[1]) + " not (" + count + ")", key(one));
      }),
    );
    const any = (at) => way ? differs(way, at) : ways.some((one) => differs(one, at));
    const ofRelation = about.relations.map((_, number) => places.filter((at) => all[at] === number && any(at)).length);
    select("relation").replaceChildren(
      option("all (" + sum(ofRelation) + ")", ""),
      ...about.relations.map((name, at) => option(name.replaceAll("_", " ") + " (" + ofRelation[at] + ")", name)),
    );
    ["facts", "by", "right", "relation"].forEach((name) => { select(name).value = state[name]; });

    const shown = state.rows === "all" ? found : found.slice(0, AT_FIRST);
    const table = find(".differ");
    table.tHead.replaceChildren(row(
      make("th", about.gold ? "Question" : "Fact", { scope: "col" }),
      ...(about.gold ? [make("th", "Answer", { scope: "col" })] : []),
      make("th", "Relation", { scope: "col", class: "relation" }),
      ...state.entries.map((_, at) => {
        const head = make("th", undefined, { scope: "col", class: "count" });
        const below = make("small");
        below.append(make("bdi", short(title(at))));
        head.append(badge(at), below);
        return head;
      }),
    ));
    table.tBodies[0].replaceChildren(...shown.map((at) => row(
      make("th", about.begin[all[at]] + about.name[at], { scope: "row" }),
      ...(about.gold ? [make("td", about.gold[at])] : []),
      make("td", about.relations[all[at]].replaceAll("_", " "), { class: "relation" }),
      ...counts.map((own) => {
        const [has, of] = own[at];
        return make("td", has + "/" + of, { class: "count " + (has === of ? "full" : has ? "part" : "bare") });
      }),
    )));
    table.closest(".scroll").hidden = found.length === 0;
    const what = (state.facts === "held" ? " held-out facts" : " new facts")
      + (state.relation ? " (" + state.relation.replaceAll("_", " ") + ")" : "");
    find(".counted").textContent = found.length + " of " + places.filter(inRelation).length + what + (way
      ? " that " + letter(way[0]) + " has right and " + letter(way[1]) + " has not"
      : " that one of them has right and another has not")
      + (shown.length < found.length ? "; the first " + shown.length + " are shown." : ".");
    find(".whole").hidden = found.length <= AT_FIRST;
    const more = state.rows === "all" ? "Show the first " + AT_FIRST : "Show all " + found.length;
    find(".whole button").textContent = more;
  }
  ["facts", "by", "right", "relation"].forEach((name) => select(name).addEventListener("change", () => {
    state[name] = select(name).value;
    state.rows = "";
    facts();
    remember();
  }));
  find(".whole button").addEventListener("click", () => {
    state.rows = state.rows === "all" ? "" : "all";
    facts();
    remember();
  });

  const titled = document.title;
  function show(said) {
    const names = state.entries.map((_, at) => short(title(at))).join(" – ");
    document.title = [names, titled].filter(Boolean).join(" · ");
    SLOTS.forEach((slot, at) => { select(slot).value = state.entries[at] || ""; });
    messages(said);
    const enough = state.entries.length > 1;
    find(".results").hidden = !enough;
    if (enough) [numbers, differences, seeds, facts].forEach((part) => part());
    remember();
  }

  document.querySelector(".scriptless").hidden = true;
  document.querySelector(".every").open = false;
  root.hidden = false;
  show(complaints);
}

if (typeof document !== "undefined") page();
else module.exports = { number, pText, mcnemar, holm, bits, words, pairAt, beats, asked };
