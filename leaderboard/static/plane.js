// The plane can be explored: the same chart, drawn in the page by Vega, which is loaded once somebody asks for it.
"use strict";
(() => {
  const loaded = {};
  const load = (source) => loaded[source] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = source;
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => { delete loaded[source]; script.remove(); reject(new Error(source)); });
    document.head.append(script);
  });

  const button = (text, label, press) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    if (label) made.setAttribute("aria-label", label);
    made.addEventListener("click", press);
    return made;
  };

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (view, figure) => {
    const style = getComputedStyle(figure);
    const own = (name) => style.getPropertyValue("--" + name).trim();
    ["ink", "quiet", "line", "frame"].forEach((name) => view.signal(name, own(name)));
    view.signal("palette", [0, 1, 2, 3, 4, 5, 6].map((at) => own("c" + at)));
    view.signal("font", style.fontFamily).signal("live", true);
  };

  // Beside the pointer, and inside the window. Moved through the object model: the policy allows no style attributes.
  const tip = document.createElement("div");
  tip.className = "plane-tip";
  const tell = (handler, event, item, value) => {
    tip.hidden = !value;
    if (!value) return;
    const name = document.createElement("b");
    name.textContent = value.title;
    tip.replaceChildren(name, ...value.about.map((text) => {
      const line = document.createElement("span");
      line.textContent = text;
      return line;
    }));
    document.body.append(tip);
    const place = (at, size, most) => Math.max(4, at + 14 + size > most ? at - 14 - size : at + 14) + "px";
    tip.style.left = place(event.clientX, tip.offsetWidth, document.documentElement.clientWidth);
    tip.style.top = place(event.clientY, tip.offsetHeight, innerHeight);
  };

  const open = async (figure, inside) => {
    await Promise.all([load("vega.js"), load(figure.dataset.plane + ".plane.js")]);
    const { parse, View, expr } = window.fthallVega;
    const spec = window.fthallPlanes[figure.dataset.plane];
    const view = new View(parse(spec, null, { ast: true }), {
      expr, renderer: "svg", container: inside, hover: true, tooltip: tell, logLevel: 1,
    });
    const sides = spec.padding.left + spec.padding.right;
    const fit = () => view.width(Math.max(200, inside.clientWidth - sides)).runAsync();
    const marks = [...figure.querySelectorAll("[data-entry]")];
    const filter = () => {
      const gone = marks.filter((mark) => mark.classList.contains("filtered"));
      return view.signal("gone", Object.fromEntries(gone.map((mark) => [mark.dataset.entry, true]))).runAsync();
    };
    const repaint = () => { paint(view, figure); return view.runAsync(); };
    let down = null;
    view.addEventListener("pointerdown", (event) => { down = [event.clientX, event.clientY]; });
    view.addEventListener("click", (event, item) => {
      const href = item && item.datum && item.datum.href;
      const still = down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 4;
      if (!href || !still) return;
      if (event.ctrlKey || event.metaKey) window.open(href, "_blank", "noopener");
      else location.href = href;
    });
    paint(view, figure);
    await filter();
    await fit();
    dark.addEventListener("change", repaint);
    const watch = new MutationObserver(filter);
    marks.forEach((mark) => watch.observe(mark, { attributes: true, attributeFilter: ["class"] }));
    const size = new ResizeObserver(fit);
    size.observe(inside);
    const zoom = (by) => {
      const [x, y] = ["xdomain", "ydomain"].map((name) => view.signal(name).reduce((a, b) => a + b) / 2);
      return view.signal("zoom", { by, x, y }).runAsync();
    };
    return {
      zoom,
      reset: () => view.signal("xdomain", view.signal("across")).signal("ydomain", view.signal("down")).runAsync(),
      close: () => {
        dark.removeEventListener("change", repaint);
        watch.disconnect();
        size.disconnect();
        view.finalize();
        tip.remove();
      },
    };
  };

  document.querySelectorAll("figure.plane[data-plane]").forEach((figure) => {
    const scroll = figure.querySelector(".scroll");
    const inside = document.createElement("div");
    inside.className = "live";
    inside.setAttribute("aria-hidden", "true");  // the table below has the numbers and the links
    const said = document.createElement("span");
    said.setAttribute("role", "status");
    let shown = null;
    const tools = [
      button("+", "Zoom in", () => shown.zoom(1 / 1.5)),
      button("−", "Zoom out", () => shown.zoom(1.5)),
      button("Reset", "", () => shown.reset()),
    ];
    const toggle = button("Explore", "", async () => {
      if (shown) {
        shown.close();
        shown = null;
        inside.remove();
      } else {
        toggle.disabled = true;
        said.textContent = "Loading …";
        scroll.append(inside);
        figure.classList.add("exploring");
        try {
          shown = await open(figure, inside);
          said.textContent = "Wheel: zoom. Drag: move. Click: the entry’s page.";
        } catch {
          said.textContent = "The chart could not be loaded.";
          inside.remove();
        }
        toggle.disabled = false;
      }
      if (!shown && said.textContent.startsWith("Wheel")) said.textContent = "";
      figure.classList.toggle("exploring", Boolean(shown));
      toggle.textContent = shown ? "Back to the picture" : "Explore";
      tools.forEach((tool) => { tool.hidden = !shown; });
      toggle.focus();
    });
    tools.forEach((tool) => { tool.hidden = true; });
    const bar = document.createElement("div");
    bar.className = "plane-tools";
    bar.append(toggle, ...tools, said);
    figure.prepend(bar);
  });
})();
