// What is drawn: mixed frame, exploded cube, who meets whom, receptive fields and the chart of their coverage.
"use strict";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function mixColours(from, to, share) {
  const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)), a = parts(from), b = parts(to);
  return `rgb(${a.map((x, i) => Math.round(x + share * (b[i] - x))).join(" ")})`;
}

/** The colour of an offset: orange past, blue future, paler when near. The package's pictures have the same. */
function offsetColour(offset, palest = 0) {
  const { now, past, future, largest, power } = DATA.colours, size = Math.abs(offset);
  return mixColours(now, offset > 0 ? past : future, palest + (1 - palest) * (size / Math.max(largest, size, 1)) ** power);
}

/** Dark or light, whichever is read better on an offset's colour (WCAG 2 luminance: 0.179 is as far from both). */
const inkOn = (offset) => {
  const [r, g, b] = offsetColour(offset).match(/\d+/g).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
};

/** Which frame of the clip stands for frame t of the setting: a clip of another length is played slower or faster. */
const frameOfClip = (atlas, t, frames) => Math.min(atlas.frames - 1, Math.floor((t * atlas.frames) / frames));

/** Edges of patches in pixels, whole numbers that leave no gaps. */
const edges = (count, size) => Array.from({ length: count + 1 }, (_, i) => Math.round((i * size) / count));

function copyPatch(context, atlas, frame, s, h, w, x, y, width, height) {
  const scale = SHOWN;
  context.drawImage(atlas.canvas, frame * SHOWN + (w * scale) / s.columns, (h * scale) / s.rows, scale / s.columns, scale / s.rows, x, y, width, height);
}

/** The mixed frame, each patch outlined in the colour of its offset. */
function drawMixed(canvas, s, atlas, asks) {
  const context = canvas.getContext("2d"), size = canvas.width, ys = edges(s.rows, size), xs = edges(s.columns, size);
  context.imageSmoothingQuality = "low";
  for (let h = 0; h < s.rows; h++) for (let w = 0; w < s.columns; w++) {
    const from = sourceFrame(s, s.frame, h, w), x = xs[w], y = ys[h], width = xs[w + 1] - x, height = ys[h + 1] - y;
    if (from < 0) { context.fillStyle = "#000"; context.fillRect(x, y, width, height); }
    else copyPatch(context, atlas, frameOfClip(atlas, from, s.frames), s, h, w, x, y, width, height);
    const offset = offsetAt(s.tile, h, w);
    if (!offset) continue;
    context.strokeStyle = offsetColour(offset, 0.5);
    context.lineWidth = Math.max(1, size / (160 * Math.max(s.rows, s.columns) / 14));
    context.strokeRect(x + 1, y + 1, width - 2, height - 2);
  }
  outline(context, xs[asks.w], ys[asks.h], xs[asks.w + 1] - xs[asks.w], ys[asks.h + 1] - ys[asks.h]);
}

function outline(context, x, y, width, height) {
  context.lineWidth = 3;
  context.strokeStyle = "#000";
  context.strokeRect(x + 1.5, y + 1.5, width - 3, height - 3);
  context.lineWidth = 1.2;
  context.strokeStyle = "#fff";
  context.strokeRect(x + 1.5, y + 1.5, width - 3, height - 3);
}

/** All frames in depth, pale, and in each the patches that fly out of it into the mixed frame. */
function drawCube(canvas, s, atlas) {
  const context = canvas.getContext("2d"), size = canvas.width, sheet = size * 0.5;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, size, size);
  const stepX = (size - sheet * 0.72 - 8) / Math.max(1, s.frames - 1), rise = size * 0.2;
  for (let t = s.frames - 1; t >= 0; t--) {
    // a sheet seen from the side: narrower, and its right edge lower
    context.setTransform(0.62, 0.16, 0, 1, 4 + t * stepX, size * 0.36 - (rise * t) / Math.max(1, s.frames - 1));
    context.globalAlpha = 0.16;
    context.drawImage(atlas.canvas, frameOfClip(atlas, t, s.frames) * SHOWN, 0, SHOWN, SHOWN, 0, 0, sheet, sheet);
    context.globalAlpha = 1;
    context.strokeStyle = css("--rule");
    context.lineWidth = 1;
    context.strokeRect(0, 0, sheet, sheet);
    for (let h = 0; h < s.rows; h++) for (let w = 0; w < s.columns; w++) {
      if (sourceFrame(s, s.frame, h, w) !== t) continue;
      const x = (w * sheet) / s.columns, y = (h * sheet) / s.rows, width = sheet / s.columns, height = sheet / s.rows;
      copyPatch(context, atlas, frameOfClip(atlas, t, s.frames), s, h, w, x, y, width, height);
      const offset = offsetAt(s.tile, h, w);
      context.strokeStyle = offset ? offsetColour(offset, 0.6) : css("--ink");
      context.lineWidth = offset ? 1.6 : 0.8;
      context.strokeRect(x, y, width, height);
    }
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = css("--quiet");
  context.font = `${Math.round(size / 32)}px system-ui, sans-serif`;
  context.fillText("frame 0", 6, size * 0.985);
  context.textAlign = "right";
  context.fillText(`frame ${s.frames - 1}`, size - 6, size * 0.08);
  context.textAlign = "left";
}

/** How many frames stand in a row of a strip. */
const perRow = (frames) => (frames <= 8 ? 4 : frames <= 16 ? 4 : 8);

/** Frames with the patches that the asking one meets in a layer with patch shift. */
function drawMeets(canvas, s, atlas, asks) {
  const context = canvas.getContext("2d"), size = canvas.width, across = perRow(s.frames), down = Math.ceil(s.frames / across);
  const gap = 8, label = 12, cell = Math.min((size - gap * (across - 1)) / across, (size - gap * (down - 1)) / down - label);
  const group = mixedFrameOf(s, s.frame, asks.h, asks.w);
  context.clearRect(0, 0, size, size);
  context.font = "600 11px system-ui, sans-serif";
  for (let t = 0; t < s.frames; t++) {
    const left = (t % across) * (cell + gap), top = Math.floor(t / across) * (cell + gap + label) + label;
    context.fillStyle = css("--quiet");
    context.fillText(String(t), left, top - 2);
    context.globalAlpha = 0.25;
    context.drawImage(atlas.canvas, frameOfClip(atlas, t, s.frames) * SHOWN, 0, SHOWN, SHOWN, left, top, cell, cell);
    context.globalAlpha = 1;
    for (let h = 0; h < s.rows; h++) for (let w = 0; w < s.columns; w++) {
      if (group < 0 || sourceFrame(s, group, h, w) !== t) continue;
      const x = left + (w * cell) / s.columns, y = top + (h * cell) / s.rows, width = cell / s.columns, height = cell / s.rows;
      copyPatch(context, atlas, frameOfClip(atlas, t, s.frames), s, h, w, x, y, width, height);
      context.fillStyle = css("--reached");
      context.globalAlpha = 0.45;
      context.fillRect(x, y, width, height);
      context.globalAlpha = 1;
    }
    if (t === s.frame) outline(context, left + (asks.w * cell) / s.columns - 1, top + (asks.h * cell) / s.rows - 1, cell / s.columns + 2, cell / s.rows + 2);
    context.strokeStyle = css("--rule");
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, top + 0.5, cell - 1, cell - 1);
  }
}

/** How many patches, of how many frames, the asking one meets in a layer with patch shift. */
function meetings(s, asks) {
  const group = mixedFrameOf(s, s.frame, asks.h, asks.w), frames = new Set();
  let patches = 0;
  for (let h = 0; group >= 0 && h < s.rows; h++) for (let w = 0; w < s.columns; w++) {
    const from = sourceFrame(s, group, h, w);
    if (from < 0) continue;
    patches++;
    frames.add(from);
  }
  return { patches, frames: frames.size };
}

/** A receptive field, a pixel per patch, frames side by side; the browser enlarges it without smoothing. */
function drawReceptiveField(canvas, s, field, token, most = 16) {
  const across = Math.min(s.frames, most), down = Math.ceil(s.frames / across), perFrame = s.rows * s.columns;
  canvas.width = across * (s.columns + 1) - 1;
  canvas.height = down * (s.rows + 1) - 1;
  const picture = new ImageData(canvas.width, canvas.height);
  const colour = (name) => css(name).match(/\w\w/g).slice(0, 3).map((part) => parseInt(part, 16));
  const blue = colour("--reached"), pale = colour("--unreached"), black = colour("--ink");
  for (let i = 0; i < field.length; i++) {
    const t = Math.floor(i / perFrame), p = i % perFrame;
    const x = (t % across) * (s.columns + 1) + (p % s.columns), y = Math.floor(t / across) * (s.rows + 1) + Math.floor(p / s.columns);
    picture.data.set([...(i === token ? black : field[i] ? blue : pale), 255], 4 * (y * canvas.width + x));
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** Shares by block of both sides, as steps. */
function coverageChart(sides, after) {
  const width = 420, height = 190, left = 40, bottom = 26, top = 8, right = 10;
  const blocks = sides[0].coverage.length - 1, x = (b) => left + ((width - left - right) * b) / Math.max(1, blocks);
  const y = (share) => height - bottom - (height - bottom - top) * share;
  const grid = [0, 0.5, 1].map((v) => `<path class="rule" d="M${left} ${y(v)}H${width - right}"/><text x="${left - 6}" y="${y(v) + 4}" text-anchor="end">${100 * v} %</text>`);
  const ticks = Array.from({ length: blocks + 1 }, (_, b) => b).filter((b) => b % Math.ceil(blocks / 12) === 0)
    .map((b) => `<text x="${x(b)}" y="${height - 8}" text-anchor="middle">${b}</text>`);
  const lines = sides.map((side, k) => `<path class="line side-${"ab"[k]}" d="${side.coverage.map((v, b) => `${b ? "L" : "M"}${x(b).toFixed(1)} ${y(v).toFixed(1)}`).join("")}"/>`
    + `<circle class="dot side-${"ab"[k]}" cx="${x(after)}" cy="${y(side.coverage[after])}" r="5"/>`);
  const said = sides.map((side, k) => `pattern ${k + 1} ${side.coverage.map((v) => Math.round(100 * v)).join(", ")}`).join("; ");
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Coverage after blocks 0 to ${blocks}, in per cent: ${said}">`
    + `<path class="here" d="M${x(after)} ${top}V${height - bottom}"/>${grid.join("")}${ticks.join("")}${lines.join("")}</svg>`;
}
