// What a tile does, from the tile alone. No page here: tests hold every figure equal to the Python package's.
"use strict";

const LIMITS = { frames: [2, 64], rows: [1, 32], columns: [1, 32], blocks: [1, 24], every: [1, 4] };
const BORDERS = ["circular", "zero", "edge"];
const LARGEST_TILE = 12;
const CHANNELS = 384, MLP = 4, BATCH = 8; // of the ViT-S whose costs are shown, and clips of its training step

const modulo = (a, n) => ((a % n) + n) % n;
const flat = (tile) => [].concat(...tile);
const offsetsOf = (tile) => [...new Set(flat(tile))].sort((a, b) => a - b);
const tileText = (tile) => tile.map((row) => row.join(" ")).join(" / ");
const sameTile = (a, b) => tileText(a) === tileText(b);
const offsetAt = (tile, h, w) => tile[h % tile.length][w % tile[0].length];

/** A tile from a preset's name or from text such as "0 1 / -1 0"; throws an Error whose message is one line. */
function parseTile(text, presets) {
  text = String(text).trim();
  if (/[A-Za-z]/.test(text) && !/[/,\s[\]]/.test(text)) {
    const known = Object.keys(presets).find((name) => name.toLowerCase() === text.toLowerCase());
    if (known) return presets[known].map((row) => [...row]);
    throw new Error(`no pattern is called '${text.slice(0, 30)}'; there are ${Object.keys(presets).join(", ")}`);
  }
  if (text.startsWith("[[") && text.endsWith("]]")) text = text.slice(2, -2).replace(/\]\s*,\s*\[/g, " / ");
  const rows = text.split(/[/\n]/);
  if (rows.length && !rows[rows.length - 1].trim()) rows.pop();
  const tile = rows.map((row) => row.trim().split(/[,\s]+/).filter(Boolean).map((word) => {
    if (!/^[+\-−]?\d+$/.test(word)) throw new Error(`'${word.slice(0, 30)}' is not a whole number of frames`);
    return Number(word.replace("−", "-")) || 0; // no negative zero
  }));
  if (!tile.length || !tile[0].length) throw new Error("empty tile; write rows of whole numbers, like 0 1 / -1 0");
  const lengths = tile.map((row) => row.length);
  if (new Set(lengths).size > 1) throw new Error(`ragged tile: its rows have ${lengths.join(", ")} entries`);
  if (Math.max(tile.length, tile[0].length) > LARGEST_TILE) {
    throw new Error(`a tile of ${tile.length}×${tile[0].length} is too large to draw here: at most ${LARGEST_TILE}×${LARGEST_TILE}`);
  }
  return tile;
}

/** Why a tile does not fit a clip, as one line; "" if it does. */
function misfit(tile, frames) {
  const far = flat(tile).find((k) => Math.abs(k) >= frames);
  return far === undefined ? "" : `offset ${signed(far)} does not fit a clip of ${frames} frames: at most ${frames - 1} either way`;
}

const signed = (k) => (k > 0 ? "+" : k < 0 ? "−" : "") + Math.abs(k);

/** The frame that a place in the line of frames stands for, or -1 for none. */
function frameUnder(border, t, frames) {
  if (t >= 0 && t < frames) return t;
  if (border === "circular") return modulo(t, frames);
  return border === "edge" ? Math.min(Math.max(t, 0), frames - 1) : -1;
}

/** From which frame patch (h, w) of mixed frame t comes; -1: zeros. */
const sourceFrame = (s, t, h, w) => frameUnder(s.border, t - offsetAt(s.tile, h, w), s.frames);

/** In which mixed frame patch (h, w) of frame t looks around; -1: in none. */
const mixedFrameOf = (s, t, h, w) => frameUnder(s.border, t + offsetAt(s.tile, h, w), s.frames);

const framesMixed = (tile) => offsetsOf(tile).length;
const shiftedShare = (tile) => flat(tile).filter((k) => k !== 0).length / flat(tile).length;
const reachOfLayer = (tile) => Math.max(...flat(tile)) - Math.min(...flat(tile));

/** Largest difference between an offset's share in some 3×3 neighbourhood of the repeated tile and its share overall. */
function unevenness(tile) {
  const rows = tile.length, columns = tile[0].length, cells = rows * columns;
  let gap = 0;
  for (const offset of offsetsOf(tile)) {
    const overall = flat(tile).filter((k) => k === offset).length / cells;
    for (let h = 0; h < rows; h++) for (let w = 0; w < columns; w++) {
      let near = 0;
      for (let i = -1; i <= 1; i++) for (let j = -1; j <= 1; j++) {
        near += tile[modulo(h + i, rows)][modulo(w + j, columns)] === offset;
      }
      gap = Math.max(gap, Math.abs(near / 9 - overall));
    }
  }
  return gap;
}

/** Which changes of the frames' order leave the answer as it is, of a model without a temporal position embedding. */
function symmetry(s) {
  const ring = s.border === "circular", shown = new Set(); // the offsets of the grid's patches; a whole round of the ring is none
  for (let h = 0; h < s.rows; h++) for (let w = 0; w < s.columns; w++) shown.add(onRing(s, offsetAt(s.tile, h, w)));
  if (!anyBlockShifts(s) || (shown.size === 1 && (ring || shown.has(0)))) return "any order";
  return ring ? "cyclic" : "none";
}

const isShiftBlock = (index, every) => index % every === every - 1;
const anyBlockShifts = (s) => s.blocks >= s.every;
const onRing = (s, offset) => (s.border === "circular" ? modulo(offset, s.frames) : offset);

/** How many distinct frames meet in one mixed frame of this clip: on a ring, 8 back of 16 is 8 ahead. */
const framesMixedHere = (s) => Math.min(new Set(offsetsOf(s.tile).map((k) => onRing(s, k))).size, s.frames);

/** The receptive field of one patch after 0, 1, … blocks of a ViT: a Uint8Array over (frame, row, column) each. */
function receptiveFieldByBlock(s, token) {
  const perFrame = s.rows * s.columns, total = s.frames * perFrame;
  const readsFrom = new Int16Array(total), bringsTo = []; // patch → mixed frame; mixed frame → its patches
  for (let t = 0; t < s.frames; t++) {
    const held = new Int32Array(perFrame);
    for (let p = 0; p < perFrame; p++) {
      const h = Math.floor(p / s.columns), w = p % s.columns, from = sourceFrame(s, t, h, w);
      held[p] = from < 0 ? -1 : from * perFrame + p;
      readsFrom[t * perFrame + p] = mixedFrameOf(s, t, h, w);
    }
    bringsTo.push(held);
  }
  const found = [];
  for (let blocks = 0; blocks <= s.blocks; blocks++) {
    const field = new Uint8Array(total);
    field[token] = 1;
    for (let index = blocks - 1; index >= 0; index--) { // from the last block back to the input
      const groups = new Uint8Array(s.frames), shifts = isShiftBlock(index, s.every);
      for (let i = 0; i < total; i++) {
        if (!field[i]) continue;
        const group = shifts ? readsFrom[i] : Math.floor(i / perFrame);
        if (group >= 0) groups[group] = 1;
      }
      for (let g = 0; g < s.frames; g++) {
        if (!groups[g]) continue;
        if (shifts) { for (const i of bringsTo[g]) if (i >= 0) field[i] = 1; }
        else field.fill(1, g * perFrame, (g + 1) * perFrame);
      }
    }
    found.push(field);
  }
  return found;
}

const middleToken = (s) => (Math.floor(s.frames / 2) * s.rows + Math.floor(s.rows / 2)) * s.columns + Math.floor(s.columns / 2);
const shareOf = (field) => field.reduce((a, b) => a + b, 0) / field.length;

/** Multiply-adds of attention in all blocks of a clip: 4·L·C² for projections, 2·pairs·C for products. */
const attentionMacs = (s) => {
  const perFrame = s.rows * s.columns;
  return s.blocks * s.frames * perFrame * CHANNELS * (4 * CHANNELS + 2 * perFrame);
};

/** Bytes that shifting there and back reads and writes per clip, in float32. */
function movedBytes(s) {
  if (offsetsOf(s.tile).length === 1 && s.tile[0][0] === 0) return 0;
  let blocks = 0;
  for (let index = 0; index < s.blocks; index++) blocks += isShiftBlock(index, s.every);
  return 2 * 2 * 4 * s.frames * s.rows * s.columns * CHANNELS * blocks;
}

/** Bytes of the buffer through which an H100 sums up a bias's gradient over so many rows: measure/cuda_kernels.py. */
function sumBuffer(rows) {
  const block = 128, values = Math.ceil(rows / 4), columns = Math.ceil(CHANNELS / block), target = (132 * 2048) / block;
  if (values < 256 || columns > target) return 0;
  const parts = Math.max(Math.min(Math.ceil(target / columns), Math.ceil(values / 16)), Math.ceil(values / 256));
  return parts <= 1 ? 0 : 4 * CHANNELS * parts * block;
}

/** Peak bytes of a training step with AdamW in float32, by hand: tps_lab/studio/judge.py explains each number. */
function trainingBytes(s, constants) {
  const tokens = BATCH * s.frames * s.rows * s.columns, pixels = 3 * 16 * 16, C = CHANNELS;
  const block = (4 + 2 * MLP) * C * C + (9 + MLP) * C;
  const weights = s.blocks * block + (pixels + 1 + s.rows * s.columns + 2) * C + (C + 1) * constants.classes;
  const floats = tokens * (s.blocks * (8 + 2 * MLP) * C + pixels + (2 + MLP + 1) * C);
  return 4 * (floats + 3 * weights + MLP * C * C) + sumBuffer(tokens) + constants.workspaces;
}

/** All figures of a setting {tile, frames, rows, columns, blocks, every, border}. */
function facts(s, constants) {
  const fields = receptiveFieldByBlock(s, middleToken(s)), shares = fields.map(shareOf);
  const last = fields[fields.length - 1], perFrame = s.rows * s.columns, unreached = [];
  for (let t = 0; t < s.frames; t++) if (!last.subarray(t * perFrame, (t + 1) * perFrame).some(Boolean)) unreached.push(t);
  return {
    frames_mixed: framesMixed(s.tile), shifted_share: shiftedShare(s.tile), unevenness: unevenness(s.tile),
    reach: reachOfLayer(s.tile), coverage: shares, first_full: shares.findIndex((x) => x === 1), unreached,
    symmetry: symmetry(s), macs: attentionMacs(s), moved_bytes: movedBytes(s),
    training_bytes: trainingBytes(s, constants), receptiveFields: fields,
  };
}

/** "A", or "A, begun at another corner", or "". */
function knownAs(tile, presets) {
  for (const [name, known] of Object.entries(presets)) if (sameTile(tile, known)) return { name, moved: false };
  for (const [name, known] of Object.entries(presets)) {
    if (known.length !== tile.length || known[0].length !== tile[0].length) continue;
    for (let i = 0; i < known.length; i++) for (let j = 0; j < known[0].length; j++) {
      if (known.every((row, h) => row.every((_, w) => known[(h + i) % known.length][(w + j) % row.length] === tile[h][w]))) {
        return { name, moved: true };
      }
    }
  }
  return null;
}

/** The tile to take along, as the package spells it. */
function copies(s, presets) {
  const known = knownAs(s.tile, presets), named = known && !known.moved ? known.name : tileText(s.tile);
  const options = [
    named === "C" ? "" : `pattern=${named}`, s.border === "circular" ? "" : `border=${s.border}`, s.every === 2 ? "" : `every=${s.every}`,
  ].filter(Boolean).join(", ");
  const variant = options ? `tps(${options})` : "tps";
  return {
    text: tileText(s.tile), yaml: `attention: ["${variant}"]`,
    python: `tps_lab.create_model("vit_small_patch16_224", "${variant}", frames=${s.frames})`,
  };
}
