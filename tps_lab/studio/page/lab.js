// The trained model: what it says of the chosen test clip at once, then clip by clip of all in the page.
"use strict";

const lab = { models: {}, bytes: {}, clips: [], worker: null, asked: 0, tallies: [null, null], asks: { t: 8, p: 4 } };
const MODEL_CODE = document.getElementById("model-code").textContent;
// Runs beside the page: gets a model once, then questions; answers in small parts, and stops when a newer question comes.
const WORKER_CODE = `
const models = {};
let clips = [], about = {}, newest = {};
onmessage = async ({ data }) => {
  if (data.weights) { models[data.name] = new SmallViT(readSafetensors(data.weights), data.kind); return; }
  if (data.clips) { clips = data.clips; about = data.about; return; }
  newest[data.side] = data.ticket;
  const order = frameOrder(data.order), model = models[data.name];
  for (let i = 0; i < 2 * clips.length; i++) {
    const given = i % 2 ? order.map((t) => 15 - t) : order;
    const logits = model.logits(normalised(clips[i >> 1], given, about), data.tile, data.border);
    postMessage({ side: data.side, ticket: data.ticket, clip: i, said: logits.indexOf(Math.max(...logits)) });
    await new Promise((next) => setTimeout(next));
    if (newest[data.side] !== data.ticket) return;
  }
};`;

const softmax = (logits) => {
  const most = Math.max(...logits), parts = [...logits].map((x) => Math.exp(x - most)), sum = parts.reduce((a, b) => a + b);
  return parts.map((x) => x / sum);
};

/** The label of clip i, as filmed: even ones are scenes shown forwards, odd ones the same scenes backwards. */
const labelOf = (i) => DATA.digits.labels[i >> 1] + (i % 2);
const opposite = (label) => label ^ 1;

async function startLab() {
  const digits = DATA.digits, all = await inflated(digits.pixels), size = TIMES * SIZE * SIZE;
  for (let i = 0; i < digits.labels.length; i++) lab.clips.push(all.subarray(i * size, (i + 1) * size));
  for (const model of DATA.models) {
    lab.bytes[model.name] = bytesOf(model.weights);
    lab.models[model.name] = new SmallViT(readSafetensors(lab.bytes[model.name]), model.kind);
  }
  try {
    lab.worker = new Worker(URL.createObjectURL(new Blob([MODEL_CODE, WORKER_CODE], { type: "text/javascript" })));
    lab.worker.onmessage = ({ data }) => count(data.side, data.ticket, data.clip, data.said);
    for (const model of DATA.models) lab.worker.postMessage({ name: model.name, kind: model.kind, weights: lab.bytes[model.name] });
    lab.worker.postMessage({ clips: lab.clips, about: digits });
  } catch {
    lab.worker = null; // a frame without leave for workers: the page itself goes through the clips
  }
}

const framesOf = (state, i) => {
  const order = frameOrder(state.order);
  return i % 2 ? order.map((t) => TIMES - 1 - t) : order;
};

/** Ask the model about the chosen clip under one tile. */
function answerNow(state, tile, attention) {
  const i = state.digit, clip = normalised(lab.clips[i >> 1], framesOf(state, i), DATA.digits);
  return lab.models[state.model].logits(clip, tile, state.border, attention);
}

/** Start to go through all clips under a side's tile; what was under way for it is dropped. */
function goThrough(side, state, tile) {
  const ticket = ++lab.asked, tally = { ticket, model: state.model, order: state.order, done: 0, right: 0, reverse: 0, key: tallyKey(state, tile) };
  lab.tallies[side] = tally;
  if (lab.worker) {
    lab.worker.postMessage({ side, ticket, name: state.model, order: state.order, tile, border: state.border });
    return;
  }
  const order = { ...state };
  const step = (i) => {
    if (lab.tallies[side] !== tally || i >= 2 * lab.clips.length) return;
    const logits = answerNow({ ...order, digit: i }, tile);
    count(side, ticket, i, logits.indexOf(Math.max(...logits)));
    setTimeout(step, 0, i + 1);
  };
  setTimeout(step, 200, 0);
}

const tallyKey = (state, tile) => [state.model, state.order, state.border, tileText(tile)].join("|");

function count(side, ticket, clip, said) {
  const tally = lab.tallies[side];
  if (!tally || tally.ticket !== ticket) return;
  tally.done++;
  tally.right += said === labelOf(clip);
  tally.reverse += said === opposite(labelOf(clip));
  if (!lab.painting) {
    lab.painting = true;
    requestAnimationFrame(() => { lab.painting = false; lab.onTally?.(); });
  }
}

/** The last block in which the model mixes time by patches; -1: none does. */
function lastMixing(kind, depth) {
  for (let index = depth - 1; index >= 0; index--) if (turnOf(kind, index) === "patches") return index;
  return depth - 1;
}

/** The clip's frames in a row; with `seen`, how much the query patch looks at each patch of its mixed frame. */
function drawStrip(canvas, state, tile, seen, kind) {
  const wide = canvas.clientWidth > 700 || !seen, across = wide ? 16 : 8, scale = 3, cell = SIZE * scale, gap = 4, place = PATCH * scale;
  canvas.width = across * (cell + gap) - gap;
  canvas.height = (TIMES / across) * (cell + gap) - gap;
  const context = canvas.getContext("2d"), small = canvasOf(SIZE, SIZE), pen = small.getContext("2d");
  context.imageSmoothingEnabled = false;
  const order = framesOf(state, state.digit), clip = lab.clips[state.digit >> 1], setting = { tile, border: state.border, frames: TIMES };
  const corner = (t) => [(t % across) * (cell + gap), Math.floor(t / across) * (cell + gap)];
  for (let t = 0; t < TIMES; t++) {
    const [x, y] = corner(t);
    pen.putImageData(inkPicture(clip.subarray(order[t] * SIZE * SIZE, (order[t] + 1) * SIZE * SIZE)), 0, 0);
    context.drawImage(small, x, y, cell, cell);
  }
  if (!seen) return;
  const { t, p } = lab.asks, used = kind === "spatial" ? { ...setting, tile: [[0]] } : setting;
  const group = mixedFrameOf(used, t, Math.floor(p / SIDE), p % SIDE);
  for (let k = 0; group >= 0 && k < PLACES; k++) {
    const from = sourceFrame(used, group, Math.floor(k / SIDE), k % SIDE);
    if (from < 0) continue;
    const [x, y] = corner(from);
    context.fillStyle = `rgb(0 114 178 / ${Math.min(0.85, 0.08 + 1.6 * seen[(t * PLACES + p) * PLACES + k])})`;
    context.fillRect(x + (k % SIDE) * place, y + Math.floor(k / SIDE) * place, place, place);
  }
  const [x, y] = corner(t);
  outline(context, x + (p % SIDE) * place, y + Math.floor(p / SIDE) * place, place, place);
}

/** The patch of a strip under the pointer, as {t, p}; null between frames. */
function patchAt(canvas, event) {
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width, cell = SIZE * 3, gap = 4;
  const across = Math.round((canvas.width + gap) / (cell + gap));
  const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
  const column = Math.floor(x / (cell + gap)), row = Math.floor(y / (cell + gap)), i = x - column * (cell + gap), j = y - row * (cell + gap);
  if (i >= cell || j >= cell) return null;
  return { t: row * across + column, p: Math.floor(j / (PATCH * 3)) * SIDE + Math.floor(i / (PATCH * 3)) };
}
