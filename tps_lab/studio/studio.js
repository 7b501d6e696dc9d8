// The face of the studio. State: model "asked" (what is chosen), "answer" (what Python found), "wrong" (messages).
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const signed = (offset) => (offset > 0 ? `+${offset}` : offset < 0 ? `−${-offset}` : "0");
const spoken = (offset) => (offset > 0 ? `${offset} frames back` : offset < 0 ? `${-offset} frames ahead` : "its own frame");

function render({ model, el }) {
  const get = (name) => model.get(name);
  const ask = (changes) => {
    model.set("asked", { ...get("asked"), ...changes });
    model.save_changes();
  };
  let focus = [0, 0];
  const own_id = `tps-studio-${Math.random().toString(36).slice(2)}`;

  // ------------------------------------------------------------------ the tile
  const tile = () => (get("answer").tile || [[0]]).map((row) => [...row]);
  const textOf = (rows) => rows.map((row) => row.join(" ")).join(" / ");
  const largest = () => Math.max(1, parseInt(get("asked").frames, 10) - 1);
  const put = (row, column, offset) => {
    const rows = tile();
    const most = largest();
    rows[row][column] = offset > most ? -most : offset < -most ? most : offset;
    focus = [row, column];
    ask({ tile: textOf(rows) });
  };
  const resize = (down, across) => {
    const rows = tile();
    ask({ tile: textOf(Array.from({ length: down }, (_, i) => Array.from({ length: across }, (_, j) => rows[i]?.[j] ?? 0))) });
  };
  const board = element("div", { class: "board", role: "grid", "aria-label": "the tile: offsets in frames" });
  let typed = "";
  const drawBoard = () => {
    const rows = tile(), colours = get("answer").colours || {};
    const held = board.contains(document.activeElement);
    focus = [Math.min(focus[0], rows.length - 1), Math.min(focus[1], rows[0].length - 1)];
    board.style.gridTemplateColumns = `repeat(${rows[0].length}, minmax(2.2rem, 3.4rem))`;
    board.replaceChildren(...rows.map((row, i) => element("div", { role: "row", class: "row" }, ...row.map((offset, j) => {
      const colour = colours[offset] || "#ffffff";
      const dark = parseInt(colour.slice(1, 3), 16) + parseInt(colour.slice(3, 5), 16) + parseInt(colour.slice(5, 7), 16) < 400;
      const cell = element("button", {
        type: "button", role: "gridcell", class: "cell", tabindex: i === focus[0] && j === focus[1] ? 0 : -1,
        "aria-label": `row ${i + 1}, column ${j + 1}: offset ${offset}, ${spoken(offset)}`, text: signed(offset),
        title: "click: one frame further back; shift-click: ahead; or type a number",
        onclick: (event) => put(i, j, offset + (event.shiftKey ? -1 : 1)),
        oncontextmenu: (event) => { event.preventDefault(); put(i, j, offset - 1); },
        onkeydown: (event) => key(event, i, j, offset),
        onfocus: () => { if (focus[0] !== i || focus[1] !== j) typed = ""; focus = [i, j]; },
      });
      cell.style.background = colour;
      cell.style.color = dark ? "#ffffff" : "#1a1a1a";
      return cell;
    }))));
    if (held) focusCell();
  };
  const focusCell = () => board.children[focus[0]]?.children[focus[1]]?.focus();
  const key = (event, i, j, offset) => {
    const rows = tile();
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (moves[event.key]) {
      event.preventDefault();
      typed = "";
      focus = [Math.min(Math.max(i + moves[event.key][0], 0), rows.length - 1), Math.min(Math.max(j + moves[event.key][1], 0), rows[0].length - 1)];
      drawBoard();
      focusCell();
    } else if (event.key === "+" || event.key === "=") { event.preventDefault(); typed = ""; put(i, j, offset + 1); }
    else if (event.key === "-" && typed === "" ) { event.preventDefault(); typed = "-"; }
    else if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); typed = ""; put(i, j, 0); }
    else if (/^[0-9]$/.test(event.key)) {
      event.preventDefault();
      typed = (typed + event.key).slice(-3);
      const value = parseInt(typed, 10);
      if (Math.abs(value) <= largest()) put(i, j, value); else { typed = event.key; put(i, j, parseInt(typed, 10)); }
    }
  };

  // ------------------------------------------------------------------ fields
  const messages = {};
  const field = (name, label, control) => {
    messages[name] = element("span", { class: "wrong", role: "alert", id: `${own_id}-${name}` });
    control.setAttribute("aria-describedby", messages[name].id);
    const labelled = element("label", {}, element("span", { class: "label", text: label }), control);
    return element("div", { class: "field" }, labelled, messages[name]);
  };
  const number = (name, low, high) => {
    const control = element("input", {
      type: "number", min: low, max: high, value: get("asked")[name],
      oninput: () => ask(name === "frames" ? { frames: control.value, frame: Math.floor(control.value / 2) || 0 } : { [name]: control.value }),
    });
    return control;
  };
  const select = (name, options, label = (x) => x) => {
    const control = element("select", { onchange: () => ask({ [name]: control.value }) },
      ...options.map((option) => element("option", { value: option, text: label(option) })));
    control.value = get("asked")[name];
    return control;
  };
  const choices = get("choices");
  const preset = element("select", {
    onchange: () => { if (preset.value) ask({ tile: choices.patterns[preset.value] }); },
  }, element("option", { value: "", text: "your own" }), ...Object.keys(choices.patterns).map((name) => element("option", { value: name, text: name })));
  const text = element("input", { type: "text", spellcheck: "false", class: "wide" });
  const down = element("input", { type: "number", min: 1, max: 12 });
  const across = element("input", { type: "number", min: 1, max: 12 });
  const own = element("input", { type: "text", class: "wide", placeholder: "clip.mp4" });
  const frame = element("input", { type: "range", min: 0, value: 0, oninput: () => ask({ frame: +frame.value }) });
  // JupyterLab keeps Enter in an output from doing what it does elsewhere, so it is done here
  for (const [control, act] of [
    [text, () => ask({ tile: text.value })],
    [down, () => resize(Math.min(12, Math.max(1, +down.value || 1)), tile()[0].length)],
    [across, () => resize(tile().length, Math.min(12, Math.max(1, +across.value || 1)))],
    [own, () => own.value.trim() && ask({ clip: own.value.trim() })],
  ]) {
    control.addEventListener("change", act);
    control.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); act(); } });
  }
  const frameSaid = element("output", { class: "quiet" });

  // ------------------------------------------------------------------ what is shown
  const mixed = element("img", { class: "picture" }), original = element("img", { class: "picture" });
  const strip = element("img", { class: "strip" }), heard = element("img", { class: "strip" });
  const facts = element("div", { class: "facts" });
  const costsOf = element("p", { class: "quiet" });
  const said = element("ul", { class: "said", "aria-live": "polite" });
  const copyButton = (kind, label) => {
    const button = element("button", {
      type: "button", class: "copy", text: label,
      onclick: async () => {
        const what = get("answer").copy[kind];
        taken.value = what;
        try { await navigator.clipboard.writeText(what); status.textContent = `${label}: copied`; }
        catch { taken.focus(); taken.select(); status.textContent = "select and copy the text below"; }
      },
    });
    return button;
  };
  const taken = element("textarea", { readonly: "", rows: 2, "aria-label": "the pattern as text, YAML or Python", class: "wide" });
  const status = element("span", { class: "quiet", role: "status" });

  const group = (title, ...parts) => element("section", {}, element("h3", { text: title }), ...parts);
  // or JupyterLab takes Enter, digits and arrows in here for its own shortcuts ("0 0" restarts the kernel)
  const root = element("div", { class: "tps-studio", "data-lm-suppress-shortcuts": "true" },
    element("div", { class: "column" }, group("Tile", board,
      element("p", { class: "quiet", text: "Click a cell: one frame further back; shift-click: ahead. Keys: arrows, + and −, digits. Orange is the past, blue the future." }),
      field("preset", "Begin with", preset), field("tile", "As text", text),
      element("div", { class: "pair" }, field("down", "Rows", down), field("across", "Columns", across)),
      element("div", { class: "copies" }, copyButton("text", "Copy text"), copyButton("yaml", "Copy YAML"), copyButton("python", "Copy Python")), status, taken),
    group("Clip and model",
      field("clip", "Clip", select("clip", [...new Set([...choices.clips, get("asked").clip])])), field("own", "or a video file", own),
      element("div", { class: "pair" }, field("rows", "Patches down", number("rows", 1, 32)), field("columns", "across", number("columns", 1, 32))),
      element("div", { class: "pair" }, field("frames", "Frames", number("frames", 2, 64)), field("depth", "Blocks", number("depth", 1, 24))),
      element("div", { class: "pair" }, field("every", "Shift in every … block", number("every", 1, 4)), field("border", "Border", select("border", ["circular", "zero", "edge"]))))),
    group("Mixed frame", mixed, element("div", { class: "pair" }, frame, frameSaid),
      element("p", { class: "quiet", text: "The frame itself, unmixed:" }), original),
    group("What it does", said, facts, costsOf),
    element("section", { class: "whole" }, element("h3", { text: "Frame by frame" }), strip, heard,
      element("p", { class: "quiet", text: "Above the clip; below, in blue, the patches of each frame that the black one has heard of after all blocks." })),
  );
  root.addEventListener("keydown", (event) => event.stopPropagation());
  frame.setAttribute("aria-label", "which mixed frame");
  el.replaceChildren(root);

  const draw = () => {
    const found = get("answer");
    if (!found.tile) return;
    drawBoard();
    if (document.activeElement !== text) text.value = found.text;
    preset.value = found.name in choices.patterns ? found.name : "";
    if (document.activeElement !== down) down.value = found.tile.length;
    if (document.activeElement !== across) across.value = found.tile[0].length;
    frame.max = get("asked").frames - 1;
    frame.value = found.frame;
    frameSaid.textContent = `frame ${found.frame}`;
    const about = `pattern ${found.name || found.text}`;
    for (const [image, source, alt] of [[mixed, found.mixed, `frame ${found.frame} mixed by ${about}`], [original, found.original, `frame ${found.frame} of the clip`],
      [strip, found.strip, "the frames of the clip"], [heard, found.heard, found.facts.filter((fact) => fact.name === "Heard of").map((fact) => `${fact.figure} ${fact.about}`).join()]]) {
      image.src = source;
      image.alt = alt;
    }
    facts.replaceChildren(...found.facts.map(({ name, figure, about }) => element("p", { class: "fact" },
      element("span", { class: "name", text: name }), element("strong", { text: figure }), element("span", { class: "about", text: about }))));
    costsOf.textContent = found.costs_of;
    said.replaceChildren(...found.warnings.map((line) => element("li", { text: line })));
    taken.value = found.copy.text;
  };
  const complain = () => {
    const wrong = get("wrong");
    for (const [name, line] of Object.entries(messages)) line.textContent = wrong[name] || "";
  };
  model.on("change:answer", draw);
  model.on("change:wrong", complain);
  draw();
  complain();
}

export default { render };
