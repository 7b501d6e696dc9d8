// The page: one state, one `draw`, every control changes the first and calls the second.
"use strict";

const $ = (id) => document.getElementById(id);
const PRESETS = DATA.presets;
const NAMES = { frames: "Frames", rows: "Patches down", columns: "Patches across", blocks: "Blocks", every: "Shift in every … block" };
const BEGIN = {
  tiles: [PRESETS.A, PRESETS.C], frames: 16, rows: 14, columns: 14, blocks: 12, every: 2, border: "circular",
  clip: Object.keys(DATA.clips)[0], frame: 8, view: "mixed", after: 2, asks: { h: 7, w: 7 }, model: DATA.models[0].name, order: "filmed", digit: 0,
};
const VIEWS = ["mixed", "cube", "meets"], ORDERS = ["filmed", "reversed", "shuffled", "frozen"];
const OWN = "own";

let state = structuredClone(BEGIN), past = [], ahead = [], atlas = null, own = null, timer = 0, ready = false;
const pieces = []; // what each side is made of on the page

// ------------------------------------------------------------------ state: in the address, undone, redone

/** The state as text for the address; what is as at the beginning is left out. */
function written(s) {
  const found = new URLSearchParams();
  s.tiles.forEach((tile, k) => {
    const known = knownAs(tile, PRESETS);
    found.set("ab"[k], known && !known.moved ? known.name : tileText(tile));
  });
  for (const name of ["frames", "rows", "columns", "blocks", "every", "border", "clip", "frame", "view", "after", "model", "order", "digit"]) {
    if (s[name] !== BEGIN[name] && !(name === "clip" && s.clip === OWN)) found.set(name, s[name]);
  }
  if (s.asks.h !== BEGIN.asks.h || s.asks.w !== BEGIN.asks.w) found.set("asks", `${s.asks.h},${s.asks.w}`);
  return found.toString().replaceAll("+", "%20");
}

/** A state from such text. What cannot be is left as at the beginning, and said. */
function readState(text) {
  const s = structuredClone(BEGIN), wrong = [];
  let given;
  try { given = new URLSearchParams(text.replace(/^#/, "")); } catch { return { s, wrong: ["the link cannot be read"] }; }
  for (const name of Object.keys(LIMITS)) if (given.has(name)) {
    const message = wholeNumber(name, given.get(name), (value) => { s[name] = value; });
    if (message) wrong.push(message);
  }
  const choose = (name, choices) => {
    if (!given.has(name)) return;
    if (choices.includes(given.get(name))) s[name] = given.get(name);
    else wrong.push(`${name} cannot be '${given.get(name).slice(0, 30)}'`);
  };
  choose("border", BORDERS);
  choose("view", VIEWS);
  choose("order", ORDERS);
  choose("clip", [...Object.keys(DATA.clips), "numbers", "digit"]);
  choose("model", DATA.models.map((model) => model.name));
  ["a", "b"].forEach((side, k) => {
    if (!given.has(side)) return;
    try {
      const tile = parseTile(given.get(side), PRESETS), message = misfit(tile, s.frames);
      if (message) throw new Error(message);
      s.tiles[k] = tile;
    } catch (error) { wrong.push(error.message); }
  });
  for (const name of ["frame", "after", "digit"]) if (given.has(name)) s[name] = Math.trunc(Number(given.get(name))) || 0;
  const [h, w] = (given.get("asks") || "").split(",").map(Number);
  if (Number.isInteger(h) && Number.isInteger(w)) s.asks = { h, w };
  return { s: keptInside(s), wrong };
}

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

function keptInside(s) {
  s.frame = clamp(s.frame, 0, s.frames - 1);
  s.after = clamp(s.after, 0, s.blocks);
  s.digit = clamp(s.digit, 0, 2 * DATA.digits.labels.length - 1);
  s.asks = { h: clamp(s.asks.h, 0, s.rows - 1), w: clamp(s.asks.w, 0, s.columns - 1) };
  return s;
}

function wholeNumber(name, text, use) {
  const [low, high] = LIMITS[name], value = /^\s*\d{1,4}\s*$/.test(text) ? Number(text) : NaN;
  if (!(value >= low && value <= high)) return `${NAMES[name]} must be a whole number from ${low} to ${high}, not '${String(text).slice(0, 20)}'`;
  use(value);
  return "";
}

/** Change the state; `forget` for what is not worth an undo (the frame that plays). */
function change(update, forget = false) {
  if (!forget) {
    past.push(structuredClone(state));
    if (past.length > 200) past.shift();
    ahead = [];
  }
  Object.assign(state, update);
  keptInside(state);
  draw();
}

function step(from, to) {
  if (!from.length) return;
  to.push(structuredClone(state));
  state = from.pop();
  loadClip();
  draw();
}

const setting = (k) => ({ ...state, tile: state.tiles[k] });

// ------------------------------------------------------------------ one side of the pair

function makeSide(k) {
  const side = "12"[k], id = "ab"[k], card = document.createElement("section");
  card.className = `card ${id}`;
  card.setAttribute("aria-label", `Pattern ${side}`);
  card.innerHTML = `
    <div class="card-head"><h2><span class="badge ${id}"></span>Pattern ${side}<span id="name-${id}"></span></h2>
      <label class="field">Start from <select id="preset-${id}"></select></label></div>
    <div class="work">
      <div>
        <div class="tile" id="tile-${id}" role="grid" tabindex="-1" aria-label="Tile of pattern ${side}: offsets in frames"></div>
        <div class="size"><span class="touch">Offset</span><button type="button" class="touch" data-by="-1" aria-label="Pattern ${side}: the chosen cell one frame ahead">−</button><button type="button" class="touch" data-by="1" aria-label="Pattern ${side}: the chosen cell one frame back">+</button>
          <span>Rows</span><button type="button" data-size="rows,-1" aria-label="Pattern ${side}: one row less">−</button><button type="button" data-size="rows,1" aria-label="Pattern ${side}: one row more">+</button>
          <span>Columns</span><button type="button" data-size="columns,-1" aria-label="Pattern ${side}: one column less">−</button><button type="button" data-size="columns,1" aria-label="Pattern ${side}: one column more">+</button></div>
        <label class="away" for="text-${id}">Tile of pattern ${side} as text</label>
        <textarea class="text" id="text-${id}" rows="2" spellcheck="false" autocomplete="off" aria-describedby="wrong-${id}"></textarea>
        <p class="wrong" id="wrong-${id}" role="alert"></p>
      </div>
      <div><canvas class="picture" id="picture-${id}" width="448" height="448" role="img" tabindex="0"></canvas>
        <p class="meets quiet" id="meets-${id}"></p></div>
    </div>
    <dl class="facts" id="facts-${id}"></dl>
    <ul class="notes" id="notes-${id}"></ul>`;
  $("pair").append(card);
  const preset = $(`preset-${id}`);
  preset.innerHTML = Object.entries(PRESETS).map(([name]) => `<option value="${name}">${name}</option>`).join("") + '<option value="" disabled>drawn</option>';
  preset.onchange = () => setTile(k, PRESETS[preset.value].map((row) => [...row]));
  const text = $(`text-${id}`);
  text.oninput = () => {
    try {
      const tile = parseTile(text.value, PRESETS), message = misfit(tile, state.frames);
      if (message) throw new Error(message);
      said(text, `wrong-${id}`, "");
      if (!sameTile(tile, state.tiles[k])) setTile(k, tile);
    } catch (error) { said(text, `wrong-${id}`, error.message); }
  };
  text.onkeydown = (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); text.blur(); } };
  text.onblur = () => { said(text, `wrong-${id}`, ""); text.value = tileText(state.tiles[k]); };
  card.querySelectorAll("[data-size]").forEach((button) => {
    button.onclick = () => resize(k, ...button.dataset.size.split(","));
  });
  const picture = $(`picture-${id}`);
  picture.onclick = (event) => {
    if (state.view !== "mixed") return;
    const box = picture.getBoundingClientRect();
    change({ asks: { h: Math.floor(((event.clientY - box.top) / box.height) * state.rows), w: Math.floor(((event.clientX - box.left) / box.width) * state.columns) } });
  };
  picture.onkeydown = (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    change({ asks: { h: state.asks.h + move[0], w: state.asks.w + move[1] } });
  };
  makeTile(k, $(`tile-${id}`));
  pieces.push({ id, side });
}

function said(field, where, message) {
  field.setAttribute("aria-invalid", message ? "true" : "false");
  if ($(where).textContent !== message) $(where).textContent = message;
}

function makeTile(k, grid) {
  const place = (cell) => cell.dataset.at.split(",").map(Number);
  const by = (cell, step) => { const [h, w] = place(cell); setCell(k, h, w, state.tiles[k][h][w] + step); };
  grid.onclick = (event) => {
    const cell = event.target.closest("button");
    if (cell) { focusCell(grid, cell); by(cell, event.shiftKey ? -1 : 1); }
  };
  grid.parentElement.querySelectorAll("[data-by]").forEach((button) => { // a finger has no second button
    button.onclick = () => by(grid.querySelector('[tabindex="0"]'), Number(button.dataset.by));
  });
  grid.oncontextmenu = (event) => {
    const cell = event.target.closest("button");
    if (!cell) return;
    event.preventDefault();
    by(cell, -1);
  };
  grid.onkeydown = (event) => {
    const cell = event.target.closest("button");
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const [h, w] = place(cell), tile = state.tiles[k], key = event.key;
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -w], End: [0, tile[0].length] }[key];
    if (move) focusCell(grid, grid.querySelector(`[data-at="${clamp(h + move[0], 0, tile.length - 1)},${clamp(w + move[1], 0, tile[0].length - 1)}"]`));
    else if (key === "+" || key === "=") by(cell, 1);
    else if (key === "-" || key === "−") by(cell, -1);
    else if (/^\d$/.test(key)) setCell(k, h, w, Number(key));
    else if (key === "n") setCell(k, h, w, -tile[h][w]);
    else if (key === "Delete" || key === "Backspace") setCell(k, h, w, 0);
    else if (key === "Enter" || key === " ") by(cell, event.shiftKey ? -1 : 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
}

function focusCell(grid, cell) {
  grid.querySelectorAll("button").forEach((other) => { other.tabIndex = other === cell ? 0 : -1; });
  cell.focus();
}

function setCell(k, h, w, offset) {
  const most = state.frames - 1, tile = state.tiles[k].map((row) => [...row]);
  tile[h][w] = (offset > most ? -most : offset < -most ? most : offset) || 0; // past the end it goes on at the other
  setTile(k, tile);
  $("announce").textContent = cellLabel(h, w, tile[h][w]);
}

function setTile(k, tile) {
  const message = misfit(tile, state.frames);
  if (message) { said($(`text-${"ab"[k]}`), `wrong-${"ab"[k]}`, message); drawSide(k); return; }
  change({ tiles: state.tiles.map((old, i) => (i === k ? tile : old)) });
}

function resize(k, what, by) {
  const tile = state.tiles[k].map((row) => [...row]);
  if (what === "rows") { if (by > 0) tile.push(tile[0].map(() => 0)); else tile.pop(); }
  else tile.forEach((row) => (by > 0 ? row.push(0) : row.pop()));
  if (tile.length && tile[0].length && Math.max(tile.length, tile[0].length) <= LARGEST_TILE) setTile(k, tile);
}

const cellLabel = (h, w, k) => `row ${h + 1}, column ${w + 1}: offset ${k}, ${k === 0 ? "its own frame" : `${Math.abs(k)} frame${Math.abs(k) > 1 ? "s" : ""} ${k > 0 ? "back" : "ahead"}`}`;

// ------------------------------------------------------------------ drawing

function draw() {
  if (!ready) return;
  const found = [0, 1].map((k) => facts(setting(k), DATA.constants));
  drawControls();
  [0, 1].forEach((k) => drawSide(k, found[k]));
  drawReceptiveFields(found);
  drawWays();
  drawTake();
  labSoon();
  pieces.forEach((piece, k) => { piece.facts = found[k]; });
  keepAddress();
}

let addressTimer = 0;
function keepAddress() { // browsers slow a page down that writes its address too often
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => { try { history.replaceState(null, "", "#" + written(state)); } catch { /* a frame without an address */ } }, 120);
}

function drawControls() {
  for (const name of Object.keys(LIMITS)) {
    const field = $(name);
    if (document.activeElement !== field || field.getAttribute("aria-invalid") !== "true") field.value = state[name];
  }
  $("border").value = state.border;
  $("frame").max = state.frames - 1;
  $("frame").value = state.frame;
  $("frame-said").textContent = `${state.frame}, of 0 to ${state.frames - 1}`;
  $("after").max = state.blocks;
  $("after").value = state.after;
  $("after-said").textContent = `${state.after} of ${state.blocks}`;
  $("clip").value = state.clip;
  document.querySelectorAll('[name="view"]').forEach((radio) => { radio.checked = radio.value === state.view; });
  $("undo").disabled = !past.length;
  $("redo").disabled = !ahead.length;
}

function drawTile(k) {
  const grid = $(`tile-${"ab"[k]}`), tile = state.tiles[k], columns = tile[0].length;
  if (grid.dataset.shape !== `${tile.length}x${columns}`) {
    grid.dataset.shape = `${tile.length}x${columns}`;
    grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    grid.style.setProperty("--columns", columns);
    grid.innerHTML = tile.map((row, h) => `<div role="row" style="display:contents">${row.map((_, w) => `<button type="button" role="gridcell" data-at="${h},${w}" tabindex="${h + w ? -1 : 0}"></button>`).join("")}</div>`).join("");
  }
  for (const cell of grid.querySelectorAll("button")) {
    const [h, w] = cell.dataset.at.split(",").map(Number), offset = tile[h][w];
    cell.textContent = signed(offset);
    cell.style.background = offsetColour(offset);
    cell.style.color = inkOn(offset);
    cell.setAttribute("aria-label", cellLabel(h, w, offset));
  }
}

function drawSide(k, found) {
  const { id } = pieces[k], s = setting(k), known = knownAs(s.tile, PRESETS), text = $(`text-${id}`);
  drawTile(k);
  $(`preset-${id}`).value = known && !known.moved ? known.name : "";
  $(`name-${id}`).textContent = known ? `: ${known.name}${known.moved ? ", begun at another corner" : ""}` : ": drawn";
  if (document.activeElement !== text) { text.value = tileText(s.tile); said(text, `wrong-${id}`, ""); }
  drawPicture(k);
  if (!found) return;
  const full = found.first_full > 0 ? `, all after block ${found.first_full}` : "", last = found.coverage[found.coverage.length - 1];
  const means = { "any order": "frames never meet, so nothing can be learnt from motion", cyclic: "a clip that starts later and wraps around gets the same answer", none: "its ends tell the model where the clip begins" };
  $(`facts-${id}`).innerHTML = [
    ["Frames mixed", framesMixedHere(s), `distinct frames in one mixed frame${found.frames_mixed > framesMixedHere(s) ? `; ${found.frames_mixed} in a longer clip` : ""}`],
    ["Shifted patches", percent(found.shifted_share), "share of the tile that is not 0"],
    ["Unevenness", `${(100 * found.unevenness).toFixed(0)} points`, "0: even everywhere; above 40: clumped"],
    ["Reach of a layer", `${found.reach} frame${found.reach === 1 ? "" : "s"}`, "largest difference of two offsets"],
    ["Coverage", percent(last), `of the clip in the middle patch’s receptive field${full}`],
    ["Symmetry", found.symmetry, means[found.symmetry]],
    ["Attention", `${(found.macs / 1e9).toFixed(2)} G`, "multiply-adds per clip, as for spatial attention"],
    ["Moved by shifting", `${(found.moved_bytes / 2 ** 20).toFixed(0)} MiB`, "per clip, read and written; spatial: 0"],
    ["Training memory", `${(found.training_bytes / 2 ** 30).toFixed(2)} GiB`, `peak of a step of ${BATCH} clips with AdamW, predicted`],
  ].map(([name, figure, about]) => `<div><dt>${name}</dt><dd><b>${figure}</b><small>${about}</small></dd></div>`).join("");
  const notes = [];
  if (known && !known.moved && DATA.notes[known.name]) notes.push(`${known.name}: ${DATA.notes[known.name]}.`);
  if (found.unevenness > 0.4) notes.push(`Uneven: somewhere an offset's share of a 3×3 neighbourhood differs by ${(100 * found.unevenness).toFixed(0)} points from its share of the whole.`);
  if (found.unreached.length) notes.push(`Never reached: nothing from ${found.unreached.length} of ${s.frames} frames (${found.unreached.slice(0, 6).join(", ")}${found.unreached.length > 6 ? " …" : ""}) gets to the middle one.`);
  $(`notes-${id}`).innerHTML = notes.map((note) => `<li>${note}</li>`).join("");
}

function drawPicture(k) {
  const { id, side } = pieces[k], s = setting(k), canvas = $(`picture-${id}`), met = meetings(s, state.asks);
  const sentence = met.patches ? `Patch (${state.asks.h}, ${state.asks.w}) of frame ${s.frame} meets ${met.patches} patches of ${met.frames} frame${met.frames === 1 ? "" : "s"} in a layer.`
    : `Patch (${state.asks.h}, ${state.asks.w}) of frame ${s.frame} meets nothing: it fell off the clip's end.`;
  if (state.view === "cube") drawCube(canvas, s, atlas);
  else if (state.view === "meets") drawMeets(canvas, s, atlas, state.asks);
  else drawMixed(canvas, s, atlas, state.asks);
  const what = { mixed: "Mixed frame", cube: "All frames in depth, with the patches of mixed frame", meets: "Patches that meet, frame by frame, for frame" }[state.view];
  canvas.setAttribute("aria-label", `Pattern ${side}: ${what} ${s.frame} of the clip. ${sentence} Arrow keys choose the patch.`);
  $(`meets-${id}`).textContent = sentence;
}

function drawReceptiveFields(found) {
  const share = found.map((f) => percent(f.coverage[state.after], f.coverage[state.after] < 0.01 ? 2 : 0));
  $("receptive-said").textContent = `After block ${state.after}: ${shortName(0)} ${share[0]}, ${shortName(1)} ${share[1]}.`;
  $("chart").innerHTML = coverageChart(found, state.after);
  found.forEach((f, k) => {
    const id = "ab"[k], canvas = $(`strip-${id}`), s = setting(k);
    drawReceptiveField(canvas, s, f.receptiveFields[state.after], middleToken(s));
    canvas.setAttribute("aria-label", `Pattern ${"12"[k]}: the receptive field covers ${share[k]} of the patches after block ${state.after}`);
    $(`strip-said-${id}`).textContent = share[k];
  });
}

/** The query patch, in a layer of each pattern and in a block of every other way. */
function drawWays() {
  const token = (state.frame * state.rows + state.asks.h) * state.columns + state.asks.w, total = state.frames * state.rows * state.columns;
  $("ways-said").textContent = `It is patch (${state.asks.h}, ${state.asks.w}) of frame ${state.frame}.`;
  for (const figure of $("ways").children) {
    const k = "ab".indexOf(figure.dataset.way), s = k < 0 ? state : setting(k), canvas = figure.querySelector("canvas");
    const found = metIn(s, state.asks, k < 0 ? WAYS[figure.dataset.way][2] : meetsInTile), met = found.reduce((a, b) => a + b, 0);
    drawReceptiveField(canvas, s, found, token, 8);
    const sentence = `meets ${met} of ${total} patches`;
    figure.querySelector("b").textContent = percent(met / total, met / total < 0.01 ? 2 : 0);
    canvas.setAttribute("aria-label", `${figure.querySelector("h3").textContent}: ${sentence}`);
  }
}

/** "A", or "pattern 1" for one that has no name of its own. */
function shortName(k) {
  const known = knownAs(state.tiles[k], PRESETS), other = knownAs(state.tiles[1 - k], PRESETS);
  return known && !known.moved && known.name !== other?.name ? known.name : `pattern ${k + 1}`;
}

function drawTake() {
  pieces.forEach(({ id }, k) => {
    const found = copies(setting(k), PRESETS);
    for (const kind of ["text", "yaml", "python"]) $(`${kind}-copy-${id}`).value = found[kind];
  });
}

// ------------------------------------------------------------------ the trained model's part

/** The model's part comes after the picture is painted, one side at a time: a forward pass takes longer than a picture. */
let labTicket = 0;
function labSoon() {
  const ticket = ++labTicket, next = (draw) => new Promise((done) => setTimeout(() => { if (ticket === labTicket) { draw(); done(); } }));
  requestAnimationFrame(() => next(drawQuestion).then(() => next(() => drawAnswer(0))).then(() => next(() => drawAnswer(1))));
}

function drawQuestion() {
  const model = DATA.models.find((one) => one.name === state.model), label = labelOf(state.digit);
  $("model").value = state.model;
  $("order").value = state.order;
  $("digit").value = state.digit;
  $("digit-said").textContent = `${state.digit + 1} of ${2 * DATA.digits.labels.length}: ${DATA.digits.classes[label]}`;
  $("model-said").textContent = `${model.about} With the pattern it was trained on it gets ${model.top1_pct.toFixed(1)} % of all ${model.test_clips} test clips right.`;
  if (!lab.clips.length) return;
  const strip = $("digit-strip");
  drawStrip(strip, state, [[0]], null, model.kind);
  strip.setAttribute("aria-label", `The clip's 16 frames, ${state.order}: a digit, motion ${DATA.digits.classes[label]}`);
}

function drawAnswer(k) {
  if (!lab.clips.length) return;
  const { id, side } = pieces[k], tile = state.tiles[k], message = misfit(tile, TIMES), verdict = $(`verdict-${id}`);
  const model = DATA.models.find((one) => one.name === state.model), label = labelOf(state.digit);
  const question = [tallyKey(state, tile), state.digit, lab.asks.t, lab.asks.p, $(`look-${id}`).clientWidth].join("|");
  if (pieces[k].answered === question) return; // nothing that it depends on has changed
  pieces[k].answered = question;
  if (message) {
    verdict.className = "verdict";
    verdict.textContent = "The model sees 16 frames: " + message;
    lab.tallies[k] = null;
    drawTally(k);
    return;
  }
  const attention = [], logits = answerNow(state, tile, attention), chances = softmax(logits);
  const ranked = chances.map((share, i) => [share, i]).sort((a, b) => b[0] - a[0]).slice(0, 3), top = ranked[0][1];
  verdict.className = `verdict ${top === label ? "right" : "not"}`;
  verdict.textContent = `${top === label ? "✓" : "✗"} ${DATA.digits.classes[top]}` + (top === label ? "" : top === opposite(label) ? ": the reverse of what was filmed" : `: it was ${DATA.digits.classes[label]}`);
  $(`tops-${id}`).innerHTML = ranked.map(([share, i]) => `<li><span>${DATA.digits.classes[i]}</span><span class="meter"><i style="width:${(100 * share).toFixed(1)}%"></i></span><span>${percent(share)}</span></li>`).join("");
  const block = lastMixing(model.kind, attention.length), strip = $(`look-${id}`);
  drawStrip(strip, state, tile, attention[block], model.kind);
  strip.setAttribute("aria-label", `Pattern ${side}: where patch ${lab.asks.p + 1} of frame ${lab.asks.t} looks in block ${block + 1}`);
  if (lab.tallies[k]?.key !== tallyKey(state, tile)) goThrough(k, state, tile);
  drawTally(k);
}

function drawTally(k) {
  const id = "ab"[k], tally = lab.tallies[k], bar = $(`tally-${id}`);
  if (!tally || !tally.done) {
    bar.innerHTML = "";
    $(`tally-said-${id}`).textContent = tally ? "going through the clips …" : "";
    return;
  }
  const { right, reverse, done } = tally, other = done - right - reverse, width = (n) => `style="width:${(100 * n) / done}%"`;
  bar.innerHTML = `<i class="right" ${width(right)}></i><i class="reverse" ${width(reverse)}></i><i class="other" ${width(other)}></i>`;
  $(`tally-said-${id}`).textContent = `${percent(right / done, 1)} as filmed, ${percent(reverse / done, 1)} its reverse, ${percent(other / done, 1)} other (${done} of ${2 * lab.clips.length} clips)`;
  window.dispatchEvent(new Event("tally"));
}

function makeLab() {
  $("model").innerHTML = DATA.models.map((model) => `<option value="${model.name}">${model.title}</option>`).join("");
  $("digit").max = 2 * DATA.digits.labels.length - 1;
  pieces.forEach(({ id, side }) => {
    const box = document.createElement("div");
    box.className = "answer";
    box.innerHTML = `<h3><span class="badge ${id}"></span>With pattern ${side} it says</h3><p class="verdict" id="verdict-${id}" role="status">…</p><ul class="tops" id="tops-${id}"></ul>
      <canvas class="strip" id="look-${id}" role="img"></canvas><div class="meter big" id="tally-${id}" aria-hidden="true"></div><p class="quiet" id="tally-said-${id}"></p>`;
    $("answers").append(box);
    $(`look-${id}`).onclick = (event) => {
      const at = patchAt($(`look-${id}`), event);
      if (at) { lab.asks = at; labSoon(); }
    };
  });
  $("model").onchange = () => change({ model: $("model").value });
  $("order").onchange = () => change({ order: $("order").value });
  $("digit").oninput = () => change({ digit: Number($("digit").value) }, true);
  const clips = 2 * DATA.digits.labels.length;
  $("before").onclick = () => change({ digit: modulo(state.digit - 1, clips) }, true);
  $("next").onclick = () => change({ digit: modulo(state.digit + 1, clips) }, true);
  lab.onTally = () => [0, 1].forEach(drawTally);
}

// ------------------------------------------------------------------ challenges, taking along

function makeChallenges() {
  CHALLENGES.forEach((challenge, n) => {
    const item = document.createElement("li");
    item.innerHTML = `<h3>${challenge.title}</h3><p>${challenge.task}</p>
      <span class="buttons"><button type="button" data-check="0">Check 1</button><button type="button" data-check="1">Check 2</button><button type="button" data-hint>Hint</button></span>
      <p role="status" class="said"></p><div class="hints" aria-live="polite"></div>`;
    item.querySelectorAll("[data-check]").forEach((button) => {
      button.onclick = () => {
        const k = Number(button.dataset.check), tally = lab.tallies[k], { solved, said } = challenge.check(setting(k), pieces[k].facts, tally?.done && tally.key === tallyKey(state, state.tiles[k]) ? tally : null);
        const line = item.querySelector(".said");
        line.classList.toggle("solved", solved);
        line.textContent = `${solved ? "✓ Solved. " : "Not yet. "}${said}`;
      };
    });
    let shown = 0;
    item.querySelector("[data-hint]").onclick = (event) => {
      item.querySelector(".hints").insertAdjacentHTML("beforeend", `<p class="hint">${challenge.hints[shown++]}</p>`);
      event.target.disabled = shown === challenge.hints.length;
    };
    item.dataset.challenge = n;
    $("challenges").append(item);
  });
}

function makeTake() {
  pieces.forEach(({ id, side }) => {
    const box = document.createElement("div");
    box.innerHTML = `<h3><span class="badge ${id}"></span>Pattern ${side}</h3>` + [["text", "Text"], ["yaml", "YAML"], ["python", "Python"]].map(([kind, title]) =>
      `<div class="copy"><label class="away" for="${kind}-copy-${id}">Pattern ${side} as ${title}</label><input id="${kind}-copy-${id}" readonly><button type="button" data-copy="${kind}-copy-${id}">Copy ${title}</button></div>`).join("");
    $("take").append(box);
  });
  document.querySelectorAll("[data-copy]").forEach((button) => { button.onclick = () => copied(button, $(button.dataset.copy).value, $(button.dataset.copy)); });
}

/** Into the clipboard; where a page may not, the text is marked so that Ctrl+C takes it. */
async function copied(button, text, field) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    if (field) { field.focus(); field.select(); }
    button.textContent = field ? "Selected: press Ctrl+C" : "Copy the address above";
  }
  $("announce").textContent = button.textContent;
  setTimeout(() => { button.textContent = before; }, 1600);
}

// ------------------------------------------------------------------ clips, playing, controls

const loaded = {};
let clipTicket = 0;
async function loadClip() {
  const ticket = ++clipTicket, name = state.clip;
  let found;
  if (name === OWN && own) found = own;
  else if (name === "numbers") found = numberedClip(state);
  else if (name === "digit") found = lab.clips.length ? digitClip(lab.clips[0]) : numberedClip(state);
  else found = loaded[name] ??= await storedClip(DATA.clips[name] ?? DATA.clips[BEGIN.clip]);
  if (ticket !== clipTicket) return;
  atlas = found;
}

async function takeClip(making, waiting) {
  $("clip-said").classList.remove("wrong");
  $("clip-said").textContent = waiting;
  try {
    own = await making();
    if (!$("clip").querySelector(`[value="${OWN}"]`)) $("clip").insertAdjacentHTML("beforeend", `<option value="${OWN}">your own</option>`);
    past.push(structuredClone(state));
    state.clip = OWN;
    await loadClip();
    $("clip-said").textContent = "Your clip stays in this page: nothing is sent anywhere.";
    draw();
  } catch (error) {
    $("clip-said").textContent = error.message;
    $("clip-said").classList.add("wrong");
  }
}

function play(on) {
  clearInterval(timer);
  timer = on ? setInterval(() => { state.frame = (state.frame + 1) % state.frames; drawControls(); [0, 1].forEach(drawPicture); keepAddress(); }, 140) : 0;
  $("play").textContent = on ? "❚❚ Pause" : "▶ Play";
  $("play").setAttribute("aria-pressed", String(on));
}

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = dark ? "Light" : "Dark";
  $("theme").setAttribute("aria-pressed", String(dark));
  draw();
}

function makeControls() {
  const titles = Object.entries(DATA.clips).map(([name, about]) => [name, about.title]);
  $("clip").innerHTML = [...titles, ["numbers", "numbered frames"], ["digit", "moving digit"]].map(([name, title]) => `<option value="${name}">${title}</option>`).join("");
  $("credits").textContent = "Clips: " + Object.values(DATA.clips).map((about) => about.credit).join(" · ") + " · " + DATA.digits.credit;
  $("clip").onchange = async () => {
    past.push(structuredClone(state));
    state.clip = $("clip").value;
    await loadClip();
    draw();
  };
  $("file").onchange = () => {
    const file = $("file").files[0];
    if (file) takeClip(() => videoClip(file, state.frames), `reading ${file.name.slice(0, 60)} …`);
    $("file").value = "";
  };
  $("webcam").onclick = () => takeClip(() => webcamClip(state.frames), "the webcam is filming …");
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) takeClip(() => videoClip(file, state.frames), `reading ${file.name.slice(0, 60)} …`);
  });
  $("play").onclick = () => play(!timer);
  $("frame").oninput = () => change({ frame: Number($("frame").value) }, true);
  $("after").oninput = () => change({ after: Number($("after").value) }, true);
  document.querySelectorAll('[name="view"]').forEach((radio) => { radio.onchange = () => change({ view: radio.value }); });
  for (const name of Object.keys(LIMITS)) {
    const field = $(name);
    field.oninput = async () => {
      let value = 0;
      let message = wholeNumber(name, field.value, (found) => { value = found; });
      if (!message && name === "frames") message = state.tiles.map((tile) => misfit(tile, value)).find(Boolean) ?? "";
      said(field, "setting-wrong", message);
      if (message || value === state[name]) return;
      past.push(structuredClone(state));
      ahead = [];
      state[name] = value;
      keptInside(state);
      if (state.clip === "numbers") await loadClip();
      draw();
    };
    field.onblur = () => { said(field, "setting-wrong", ""); field.value = state[name]; };
  }
  $("border").onchange = () => change({ border: $("border").value });
  $("reset").onclick = () => { past.push(structuredClone(state)); state = structuredClone(BEGIN); loadClip().then(draw); };
  $("undo").onclick = () => { step(past, ahead); loadClip().then(draw); };
  $("redo").onclick = () => { step(ahead, past); loadClip().then(draw); };
  $("share").onclick = () => {
    const address = location.href.split("#")[0] + "#" + written(state);
    copied($("share"), address);
  };
  $("theme").onclick = () => theme(document.documentElement.dataset.theme !== "dark");
  document.addEventListener("keydown", (event) => {
    const typing = /^(input|textarea|select|button|summary)$/i.test(event.target.tagName);
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !/^(textarea)$/i.test(event.target.tagName)) {
      event.preventDefault();
      $(event.shiftKey ? "redo" : "undo").click();
    } else if (event.key === " " && !typing) {
      event.preventDefault();
      play(!timer);
    }
  });
  window.addEventListener("hashchange", () => {
    if (location.hash.slice(1) !== written(state)) takeAddress(location.hash);
  });
}

function takeAddress(text) {
  const { s, wrong } = readState(text);
  state = s;
  $("clip-said").textContent = wrong.length ? "From the link: " + wrong.join("; ") + "." : "";
  $("clip-said").classList.toggle("wrong", wrong.length > 0);
  loadClip().then(draw);
}

// ------------------------------------------------------------------ begin

async function begin() {
  [0, 1].forEach(makeSide);
  $("strips").innerHTML = pieces.map(({ id, side }) => `<div class="strip-head"><span><span class="badge ${id}"></span>Pattern ${side}</span><b id="strip-said-${id}"></b></div><canvas class="strip" id="strip-${id}" role="img"></canvas>`).join("");
  const ways = [...pieces.map(({ id, side }) => [id, `Pattern ${side}`, "one mixed frame, in a layer with patch shift"]), ...Object.entries(WAYS).map(([name, way]) => [name, ...way])];
  $("ways").innerHTML = ways.map(([name, title, line]) => `<figure data-way="${name}"><div class="strip-head"><h3>${title}</h3><b></b></div><canvas class="strip" role="img"></canvas><p class="quiet">${line}</p></figure>`).join("");
  makeControls();
  makeLab();
  makeChallenges();
  makeTake();
  const dark = window.matchMedia?.("(prefers-color-scheme: dark)");
  dark?.addEventListener?.("change", (event) => theme(event.matches));
  $("share").hidden = location.protocol === "about:"; // inside a notebook there is no address
  takeAddress(window.STUDIO_START ?? location.hash);
  await loadClip();
  ready = true;
  theme(Boolean(dark?.matches));
  await startLab();
  if (state.clip === "digit") await loadClip();
  draw();
  document.body.dataset.ready = "1";
}
begin();
