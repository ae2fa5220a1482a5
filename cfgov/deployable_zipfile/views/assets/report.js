"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const darkSystem = window.matchMedia("(prefers-color-scheme: dark)");
  let printing = false;

  const element = (tag, text, options) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    return Object.assign(made, options || {});
  };
  const bytes = (count) => {
    for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
      if (count >= size) return (count / size).toFixed(1) + " " + unit;
    }
    return count + " B";
  };
  const share = (part, whole) => (whole ? ((100 * part) / whole).toFixed(1) : "0") + " %";

  // ---- Theme ----
  const themes = ["system", "light", "dark"];
  let theme = 0;
  const isDark = () => !printing && (theme === 2 || (theme === 0 && darkSystem.matches));
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const inks = () =>
    printing
      ? { ink: "#000", soft: "#333", line: "#999", paper: "#fff", panel: "#fff", accent: "#1f5fbf" }
      : { ink: colour("--ink"), soft: colour("--soft"), line: colour("--line"), paper: colour("--paper"),
          panel: colour("--panel"), accent: colour("--accent") };
  // Two of each hue: white text on the darker ones, which the treemap uses, has a contrast of 4.5 or more.
  const palette = ["#2f5fa8", "#8a5a12", "#2d6e45", "#8d3f62", "#5a4b9c", "#8b4330", "#246a73", "#5d6317"];
  const charts = [];
  const redraw = () => charts.forEach((one) => one());

  const button = byId("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    if (theme) document.documentElement.dataset.theme = themes[theme];
    else delete document.documentElement.dataset.theme;
    button.textContent = "Theme: " + (theme ? themes[theme] : "as the system");
    redraw();
  });
  darkSystem.addEventListener("change", redraw);

  // A chart is made when it comes into view: the page is there before the last of them is.
  const lazily = (box, make) => {
    let chart = null;
    const draw = () => {
      if (!chart) {
        chart = echarts.init(box, null, { renderer: "canvas" });
        new ResizeObserver(() => chart.resize()).observe(box);
        make.started && make.started(chart);
      }
      make.draw(chart);
    };
    charts.push(() => { if (chart || printing) draw(); });
    const seen = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) { seen.disconnect(); if (!chart) draw(); }
    }, { rootMargin: "200px" });
    seen.observe(box);
    return () => { if (chart) draw(); };
  };
  window.addEventListener("beforeprint", () => { printing = true; redraw(); });
  window.addEventListener("afterprint", () => { printing = false; redraw(); });

  // ---- Treemap: [name, bytes, children, 1 for a group of small parts] ----
  const nodes = [];
  const wrap = (raw, parent) => {
    const node = { name: raw[0], size: raw[1], parent, children: [], number: nodes.length, group: raw.length > 3 };
    nodes.push(node);
    node.children = (raw[2] || []).map((child) => wrap(child, node));
    return node;
  };
  const root = wrap(data.tree, null);
  const darker = (hex) => "#" + [1, 3, 5].map((at) => Math.round(parseInt(hex.slice(at, at + 2), 16) * 0.72).toString(16).padStart(2, "0")).join("");
  const pathOf = (node) => { const found = []; for (; node; node = node.parent) found.unshift(node); return found; };
  const title = (node) => pathOf(node).slice(1).filter((one) => !one.group || one === node).map((one) => one.name).join(" / ") || root.name;
  let here = root;
  let chosen = -1;
  const say = (text) => { byId("treemap-status").textContent = text; };

  const CHOSEN = "#a34714";
  const cell = (node, depth, colour, picked) => {
    const cells = depth && !node.group ? node.children.map((child) => cell(child, depth - 1, colour, false)) : [];
    const border = picked ? CHOSEN : cells.length ? darker(colour) : inks().paper;
    return {
      name: node.name, value: node.size, at: node.number, children: cells.length ? cells : undefined,
      itemStyle: { color: picked ? CHOSEN : colour, borderColor: border, borderWidth: picked ? 4 : 1, gapWidth: 1 },
    };
  };
  // The chart copies its data, so they hold numbers and not the nodes, whose parents would be copied too.
  const nodeOf = (params) => (params.data ? nodes[params.data.at] : undefined);
  const tip = (params) => {
    const box = element("div", "", { className: "tip" });
    const node = nodeOf(params);
    if (!node) return box;
    const name = element("strong", title(node));
    name.style.cssText = "display:block;max-width:20rem;white-space:normal;overflow-wrap:anywhere";
    box.append(name, bytes(node.size) + ", " + share(node.size, root.size));
    return box;
  };
  const treemap = {
    started(chart) {
      chart.on("click", (params) => {
        let node = nodeOf(params);
        if (!node) return;
        while (node.parent && node.parent !== here && !node.children.length) node = node.parent;
        if (node.children.length) go(node); else choose(here.children.indexOf(node));
      });
    },
    draw(chart) {
      const shades = inks();
      chart.setOption({
        animation: !still.matches, animationDuration: 200, animationDurationUpdate: 200,
        tooltip: { formatter: tip, confine: true, backgroundColor: shades.paper, borderColor: shades.line,
                   textStyle: { color: shades.ink } },
        series: [{
          type: "treemap",
          data: here.children.map((child, number) => cell(child, 1, palette[number % palette.length], number === chosen)),
          roam: false, nodeClick: false,
          breadcrumb: { show: false }, left: 2, right: 2, top: 2, bottom: 2, visibleMin: 40, childrenVisibleMin: 900,
          label: { show: true, color: "#fff", overflow: "truncate", fontSize: 13, lineHeight: 17, position: "insideTopLeft",
                   formatter: (params) => params.name + (nodeOf(params) ? "\n" + bytes(nodeOf(params).size) : "") },
          upperLabel: { show: true, height: 22, color: "#fff", overflow: "truncate", fontSize: 12,
                        formatter: (params) => params.name + (nodeOf(params) ? "  " + bytes(nodeOf(params).size) : "") },
          levels: [
            { itemStyle: { gapWidth: 3, borderWidth: 0, borderColor: shades.paper }, upperLabel: { show: false } },
            { itemStyle: { gapWidth: 1, borderWidth: 1 } },
            { itemStyle: { gapWidth: 1 } },
          ],
        }],
      }, { notMerge: true });
    },
  };
  const drawTreemap = lazily(byId("treemap"), treemap);

  const choose = (number) => {
    chosen = number;
    const node = here.children[number];
    byId("parts").querySelectorAll("li").forEach((item, index) => {
      if (index === number) item.setAttribute("aria-current", "true"); else item.removeAttribute("aria-current");
    });
    if (node) {
      say(node.name + ", " + bytes(node.size) + ", " + share(node.size, here.size) + " of " + here.name + ", " +
          (number + 1) + " of " + here.children.length + (node.children.length ? ", opens" : ""));
    }
    drawTreemap();
  };
  const go = (node, pick) => {
    here = node;
    chosen = -1;
    const trail = byId("trail");
    trail.replaceChildren(...pathOf(node).map((one) => {
      const item = element("li");
      const step = element("button", one.name, { type: "button" });
      if (one === node) step.setAttribute("aria-current", "location");
      step.addEventListener("click", () => { go(one); byId("treemap").focus({ preventScroll: true }); });
      item.append(step);
      return item;
    }));
    byId("parts").replaceChildren(...node.children.map((child) => {
      const item = element("li");
      const name = child.children.length ? element("button", child.name, { type: "button" }) : element("span", child.name);
      if (child.children.length) name.addEventListener("click", () => { go(child); trail.lastChild.firstChild.focus(); });
      else name.className = "leaf";
      item.append(name, element("span", bytes(child.size) + " · " + share(child.size, node.size), { className: "size" }));
      return item;
    }));
    say(node.name + ", " + bytes(node.size) + ", " + node.children.length + " parts");
    if (pick) choose(node.children.indexOf(pick)); else drawTreemap();
  };
  byId("treemap").addEventListener("keydown", (event) => {
    const count = here.children.length;
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in steps && count) choose((Math.max(chosen, steps[event.key] < 0 ? 0 : -1) + steps[event.key] + count) % count);
    else if (event.key === "Home") choose(0);
    else if (event.key === "End") choose(count - 1);
    else if ((event.key === "Enter" || event.key === " ") && chosen >= 0) {
      if (here.children[chosen].children.length) go(here.children[chosen]);
    } else if ((event.key === "Escape" || event.key === "Backspace") && here.parent) go(here.parent, here);
    else return;
    event.preventDefault();
  });

  // ---- Search ----
  const all = [];
  let unnamed = 0;
  const collect = (node, path) => {
    for (const child of node.children) {
      const whole = child.group ? path : path ? path + "/" + child.name : child.name;
      if (!child.group) all.push([whole, whole.toLowerCase(), child]);
      else if (!child.children.length) unnamed += 1;
      collect(child, whole);
    }
  };
  byId("find").addEventListener("input", () => {
    const wanted = byId("find").value.trim().toLowerCase();
    const list = byId("hits");
    if (!all.length) collect(root, "");
    const found = wanted ? all.filter((one) => one[1].includes(wanted)) : [];
    // A folder that matches makes all below it match: those whose own name does come first.
    const own = (one) => (one[2].name.toLowerCase().includes(wanted) ? 0 : 1);
    found.sort((one, other) => own(one) - own(other) || other[2].size - one[2].size);
    list.hidden = !found.length;
    list.replaceChildren(...found.slice(0, 50).map(([whole, , node]) => {
      const item = element("li");
      const hit = element("button", whole, { type: "button" });
      hit.addEventListener("click", () => {
        if (node.children.length) go(node); else go(node.parent, node);
        byId("treemap").focus();
      });
      item.append(hit, element("span", " " + bytes(node.size), { className: "soft" }));
      return item;
    }));
    say(wanted ? found.length + " found" + (found.length > 50 ? ", the first 50 are listed" : "") +
      (unnamed ? "; the smallest parts are not named in this page" : "") : "");
  });
  go(root);

  // ---- Table of packages ----
  const table = byId("package-table");
  const rows = Array.from(table.tBodies[0].rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const value = (row, column) => {
    const own = row.cells[column];
    return own.dataset.value !== undefined ? Number(own.dataset.value) : own.textContent;
  };
  const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  heads.forEach((head, column) => {
    const press = head.querySelector("button");
    if (!press) return;
    press.addEventListener("click", () => {
      const numbers = head.classList.contains("number");
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : !numbers;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sign = up ? 1 : -1;
      rows.sort((one, other) => {
        const [a, b] = [value(one, column), value(other, column)];
        return sign * (numbers ? a - b : order.compare(a, b));
      });
      table.tBodies[0].append(...rows);
    });
  });
  const narrow = () => {
    const wanted = byId("filter").value.trim().toLowerCase();
    const licence = byId("licence").value;
    let count = 0;
    for (const row of rows) {
      const match = row.textContent.toLowerCase().includes(wanted) && (!licence || row.cells[3].textContent === licence);
      row.hidden = !match;
      count += match ? 1 : 0;
    }
    byId("packages-status").textContent = (count === rows.length ? "" : count + " of ") + rows.length + " packages";
  };
  byId("filter").addEventListener("input", narrow);
  byId("licence").addEventListener("change", narrow);

  // ---- Graph: packages as [name, version, bytes, [numbers that it needs]] ----
  const packages = data.packages;
  const tied = (start) => {
    const kept = new Set([start]);
    const follow = (next) => {
      const waiting = [start];
      const seen = new Set(waiting);
      while (waiting.length) for (const one of next(waiting.pop())) if (!seen.has(one)) { seen.add(one); kept.add(one); waiting.push(one); }
    };
    follow((number) => packages[number][3]);
    follow((number) => packages.map((one, other) => (one[3].includes(number) ? other : -1)).filter((other) => other >= 0));
    return kept;
  };
  const graph = {
    draw(chart) {
      const shades = inks();
      const focus = byId("focus").value;
      const kept = focus === "" ? new Set(packages.keys()) : tied(Number(focus));
      const largest = Math.max(1, ...packages.map((one) => one[2]));
      const links = [];
      for (const number of kept) for (const other of packages[number][3]) if (kept.has(other)) links.push({ source: String(number), target: String(other) });
      const room = Math.min(1, Math.max(0.6, Math.sqrt(chart.getWidth() / 700)));
      const loose = new Set(kept);
      links.forEach((link) => { loose.delete(Number(link.source)); loose.delete(Number(link.target)); });
      const drawn = focus === "" ? Array.from(kept).filter((number) => !loose.has(number)) : Array.from(kept);
      byId("graph-status").textContent = drawn.length + " packages, " + links.length + " arrows" +
        (focus === "" && loose.size ? "; " + loose.size + " without any are left out" : "");
      chart.setOption({
        animation: false,
        tooltip: { confine: true, backgroundColor: shades.paper, borderColor: shades.line, textStyle: { color: shades.ink },
          formatter: (params) => {
            const one = params.dataType === "node" ? packages[Number(params.data.id)] : null;
            return element("div", one ? one[0] + " " + one[1] + ", " + bytes(one[2]) : "");
          } },
        series: [{
          type: "graph", layout: "force", roam: "move", draggable: true,
          // The more packages and the less room, the closer together: all of them stay in view.
          force: { layoutAnimation: false, repulsion: room * Math.min(160, 6500 / drawn.length),
                   gravity: (drawn.length > 60 ? 0.17 : 0.12) / room,
                   edgeLength: (drawn.length > 60 ? [15, 48] : [40, 110]).map((length) => room * length) },
          edgeSymbol: ["none", "arrow"], edgeSymbolSize: 7,
          data: drawn.map((number) => ({
            id: String(number), name: packages[number][0], symbolSize: 7 + (drawn.length > 60 ? 11 : 26) * Math.sqrt(packages[number][2] / largest),
            itemStyle: { color: String(number) === focus ? "#b3541e" : shades.accent, borderColor: shades.paper, borderWidth: 1 },
            label: { show: true, position: "right", color: shades.ink, fontSize: 11, width: 140, overflow: "truncate" },
          })),
          links, lineStyle: { color: shades.soft, opacity: 0.55, width: 1, curveness: 0.05 },
          labelLayout: { hideOverlap: true },
          emphasis: { focus: "adjacency", lineStyle: { width: 2, opacity: 1 } },
        }],
      }, { notMerge: true });
    },
  };
  const tiedAtAll = packages.some((one) => one[3].length);
  byId("graph").hidden = !tiedAtAll;
  if (!tiedAtAll) byId("graph-status").textContent = "No package needs another one.";
  const drawGraph = tiedAtAll ? lazily(byId("graph"), graph) : () => {};
  byId("focus").addEventListener("change", drawGraph);

  // ---- Releases: [name, date, bytes] ----
  if (data.history.length) {
    lazily(byId("history-chart"), {
      draw(chart) {
        const shades = inks();
        const axis = { axisLine: { lineStyle: { color: shades.line } }, axisLabel: { color: shades.soft },
                       splitLine: { lineStyle: { color: shades.line } } };
        chart.setOption({
          animation: false,
          grid: { left: 76, right: 24, top: 20, bottom: 40 },
          tooltip: { trigger: "axis", confine: true, backgroundColor: shades.paper, borderColor: shades.line,
            textStyle: { color: shades.ink }, formatter: (params) => {
              const one = data.history[params[0].dataIndex];
              return element("div", one[0] + ", " + one[1] + ": " + bytes(one[2]));
            } },
          xAxis: Object.assign({ type: "category", data: data.history.map((one) => one[1]) }, axis),
          yAxis: Object.assign({ type: "value", min: 0 }, axis,
            { axisLabel: { color: shades.soft, formatter: (size) => bytes(size) } }),
          series: [{ type: "line", data: data.history.map((one) => one[2]), symbolSize: 9, lineStyle: { width: 2.5, color: shades.accent },
                     itemStyle: { color: shades.accent }, areaStyle: { opacity: 0.12, color: shades.accent } }],
        }, { notMerge: true });
      },
    });
  }
  document.documentElement.dataset.ready = "yes";
})();
