// A small video ViT in plain JavaScript: the zoo's weights, real clips, any mosaic. Also runs in a worker.
"use strict";

const SIZE = 24, PATCH = 8, SIDE = SIZE / PATCH, PLACES = SIDE * SIDE, TIMES = 16, WIDTH = 64, HEADS = 4, HIDDEN = 128;
const TOKENS = TIMES * PLACES;

function halfToFloat(h) {
  const sign = h & 0x8000 ? -1 : 1, exponent = (h >> 10) & 31, fraction = h & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Tensors by name out of a safetensors file with half-precision numbers. */
function readSafetensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))), tensors = {};
  for (const [name, about] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [begin, end] = about.data_offsets.map((x) => x + 8 + length), values = new Float32Array((end - begin) / 2);
    for (let i = 0; i < values.length; i++) values[i] = halfToFloat(view.getUint16(begin + 2 * i, true));
    tensors[name.replace("image_model.", "").replace("attn.attention.", "attn.")] = values;
  }
  return tensors;
}

/** y[i, o] = sum over c of x[i, c]·w[o, c] + b[o]; four outputs at a time, which is what makes it fast. */
function linear(x, w, b, y, rows, from, to) {
  for (let i = 0; i < rows; i++) {
    const xi = i * from, yi = i * to;
    for (let o = 0; o < to; o += 4) {
      let s0 = b[o], s1 = b[o + 1], s2 = b[o + 2], s3 = b[o + 3];
      let w0 = o * from, w1 = w0 + from, w2 = w1 + from, w3 = w2 + from;
      for (let c = 0; c < from; c++) {
        const v = x[xi + c];
        s0 += v * w[w0++]; s1 += v * w[w1++]; s2 += v * w[w2++]; s3 += v * w[w3++];
      }
      y[yi + o] = s0; y[yi + o + 1] = s1; y[yi + o + 2] = s2; y[yi + o + 3] = s3;
    }
  }
}

function layerNorm(x, weight, bias, y, rows) {
  for (let i = 0; i < rows; i++) {
    const at = i * WIDTH;
    let mean = 0, square = 0;
    for (let c = 0; c < WIDTH; c++) mean += x[at + c];
    mean /= WIDTH;
    for (let c = 0; c < WIDTH; c++) square += (x[at + c] - mean) ** 2;
    const scale = 1 / Math.sqrt(square / WIDTH + 1e-6);
    for (let c = 0; c < WIDTH; c++) y[at + c] = (x[at + c] - mean) * scale * weight[c] + bias[c];
  }
}

// The error function, Numerical Recipes' erfcc: wrong by 1.2e-7 at most, so GELU is right to float32.
function erf(x) {
  const z = Math.abs(x), t = 1 / (1 + z / 2);
  const c = t * Math.exp(-z * z - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
  return x >= 0 ? 1 - c : c - 1;
}

/** TCS: in every head an eighth of the channels comes from the frame before and an eighth from the frame after. */
function shiftChannels(x, y) {
  const perHead = WIDTH / HEADS, fold = Math.floor(perHead / 8), step = PLACES * WIDTH;
  y.set(x);
  for (let t = 0; t < TIMES; t++) for (let i = 0; i < step; i++) {
    const channel = i % perHead;
    if (channel < fold) { if (t > 0) y[t * step + i] = x[(t - 1) * step + i]; }
    else if (channel < 2 * fold && t < TIMES - 1) y[t * step + i] = x[(t + 1) * step + i];
  }
}

/** What block `index` does: "space", "patches" (TPS) or "channels" (TCS). `kind` is a model's, tps or tps+tcs or spatial. */
function turnOf(kind, index) {
  if (kind === "tps") return index % 2 ? "patches" : "space";
  if (kind === "tps+tcs") return index % 2 ? "channels" : "patches";
  return "space";
}

class SmallViT {
  /** weights: of `readSafetensors`; kind: of `turnOf`. */
  constructor(weights, kind) {
    this.weights = weights;
    this.kind = kind;
    this.depth = 1 + Math.max(...Object.keys(weights).map((name) => Number((name.match(/^blocks\.(\d+)\./) || [0, -1])[1])));
    this.classes = weights["head.bias"].length;
    // The clips are grey: what three equal channels are multiplied by is the sum of the weights.
    const full = weights["patch_embed.proj.weight"], pixels = PATCH * PATCH;
    this.embedding = new Float32Array(WIDTH * pixels);
    for (let o = 0; o < WIDTH; o++) for (let p = 0; p < pixels; p++) {
      this.embedding[o * pixels + p] = full[(3 * o) * pixels + p] + full[(3 * o + 1) * pixels + p] + full[(3 * o + 2) * pixels + p];
    }
    const room = (n) => new Float32Array(TOKENS * n);
    this.room = { pixels: room(pixels), x: room(WIDTH), y: room(WIDTH), z: room(WIDTH), qkv: new Float32Array((TOKENS + 1) * 3 * WIDTH), hidden: room(HIDDEN) };
    this.padded = new Float32Array(4 * Math.ceil(this.classes / 4) * WIDTH);
    this.padded.set(weights["head.weight"]);
  }

  /**
   * Logits of one clip.
   * @param clip ink of (16, 24, 24) pixels, normalised
   * @param tile the mosaic, and @param border what enters at the clip's ends
   * @param attention if given, an array that gets per block a Float32Array (tokens, places): what each looks at
   */
  logits(clip, tile, border, attention) {
    const { pixels, x, y, z, qkv, hidden } = this.room, w = this.weights, count = PATCH * PATCH;
    for (let t = 0; t < TIMES; t++) for (let p = 0; p < PLACES; p++) {
      const top = Math.floor(p / SIDE) * PATCH, left = (p % SIDE) * PATCH;
      for (let i = 0; i < PATCH; i++) for (let j = 0; j < PATCH; j++) {
        pixels[(t * PLACES + p) * count + i * PATCH + j] = clip[(t * SIZE + top + i) * SIZE + left + j];
      }
    }
    linear(pixels, this.embedding, w["patch_embed.proj.bias"], x, TOKENS, count, WIDTH);
    const position = w["pos_embed"];
    for (let i = 0; i < TOKENS * WIDTH; i++) x[i] += position[i % (PLACES * WIDTH)];
    for (let index = 0; index < this.depth; index++) {
      const name = `blocks.${index}.`, turn = turnOf(this.kind, index);
      layerNorm(x, w[name + "norm1.weight"], w[name + "norm1.bias"], y, TOKENS);
      let normed = y;
      if (turn === "channels") { shiftChannels(y, z); normed = z; }
      linear(normed, w[name + "attn.qkv.weight"], w[name + "attn.qkv.bias"], qkv, TOKENS, WIDTH, 3 * WIDTH);
      qkv.set(w[name + "attn.qkv.bias"], TOKENS * 3 * WIDTH); // of the zeros that stand where a border leaves a hole
      const seen = attention ? (attention[index] = new Float32Array(TOKENS * PLACES)) : null;
      const lost = this.attend(qkv, y, turn === "patches" ? tile : [[0]], border, seen);
      linear(y, w[name + "attn.proj.weight"], w[name + "attn.proj.bias"], z, TOKENS, WIDTH, WIDTH);
      for (let i = 0; i < TOKENS; i++) if (!lost[i]) for (let c = i * WIDTH; c < (i + 1) * WIDTH; c++) x[c] += z[c];
      layerNorm(x, w[name + "norm2.weight"], w[name + "norm2.bias"], y, TOKENS);
      linear(y, w[name + "mlp.fc1.weight"], w[name + "mlp.fc1.bias"], hidden, TOKENS, WIDTH, HIDDEN);
      for (let i = 0; i < hidden.length; i++) hidden[i] *= 0.5 * (1 + erf(hidden[i] * Math.SQRT1_2));
      linear(hidden, w[name + "mlp.fc2.weight"], w[name + "mlp.fc2.bias"], z, TOKENS, HIDDEN, WIDTH);
      for (let i = 0; i < x.length; i++) x[i] += z[i];
    }
    const mean = new Float32Array(WIDTH), normed = new Float32Array(WIDTH), answer = new Float32Array(this.padded.length / WIDTH);
    for (let c = 0; c < WIDTH; c++) {
      let sum = 0;
      for (let i = 0; i < TOKENS; i++) sum += x[i * WIDTH + c];
      mean[c] = sum / TOKENS;
    }
    layerNorm(mean, w["fc_norm.weight"], w["fc_norm.bias"], normed, 1);
    const bias = new Float32Array(answer.length);
    bias.set(w["head.bias"]);
    linear(normed, this.padded, bias, answer, 1, WIDTH, answer.length);
    return answer.slice(0, this.classes);
  }

  /** Attention inside mixed frames, and each patch's answer back to where it came from. Returns who got none. */
  attend(qkv, out, tile, border, seen) {
    const setting = { tile, border, frames: TIMES }, perHead = WIDTH / HEADS, scale = 1 / Math.sqrt(perHead);
    const lost = new Uint8Array(TOKENS), score = new Float32Array(PLACES);
    const holds = [];
    for (let t = 0; t < TIMES; t++) holds.push(Array.from({ length: PLACES }, (_, p) => {
      const from = sourceFrame(setting, t, Math.floor(p / SIDE), p % SIDE);
      return from < 0 ? TOKENS : from * PLACES + p;
    }));
    for (let t = 0; t < TIMES; t++) for (let p = 0; p < PLACES; p++) {
      const token = t * PLACES + p, group = mixedFrameOf(setting, t, Math.floor(p / SIDE), p % SIDE);
      if (group < 0) { lost[token] = 1; continue; }
      // Under the border "edge" the end frame stands in several mixed frames: who asks is what stands in this one.
      const asks = holds[group][p] * 3 * WIDTH;
      for (let head = 0; head < HEADS; head++) {
        let most = -Infinity, total = 0;
        for (let k = 0; k < PLACES; k++) {
          let dot = 0;
          const a = asks + head * perHead, b = holds[group][k] * 3 * WIDTH + WIDTH + head * perHead;
          for (let c = 0; c < perHead; c++) dot += qkv[a + c] * qkv[b + c];
          score[k] = dot * scale;
          if (score[k] > most) most = score[k];
        }
        for (let k = 0; k < PLACES; k++) total += score[k] = Math.exp(score[k] - most);
        const o = token * WIDTH + head * perHead;
        for (let c = 0; c < perHead; c++) {
          let sum = 0;
          for (let k = 0; k < PLACES; k++) sum += score[k] * qkv[holds[group][k] * 3 * WIDTH + 2 * WIDTH + head * perHead + c];
          out[o + c] = sum / total;
        }
        if (seen) for (let k = 0; k < PLACES; k++) seen[token * PLACES + k] += score[k] / total / HEADS;
      }
    }
    return lost;
  }
}

/** Which frames a clip shows: as filmed, backwards, in a fixed disorder, or the middle one only. */
function frameOrder(name) {
  const all = Array.from({ length: TIMES }, (_, t) => t);
  if (name === "reversed") return all.reverse();
  if (name === "shuffled") return all.map((t) => (t * 7 + 3) % TIMES);
  return name === "frozen" ? all.map(() => TIMES >> 1) : all;
}

/** A stored clip (bytes of ink, 0 to 255) as the model takes it. */
function normalised(bytes, order, about) {
  const clip = new Float32Array(TIMES * SIZE * SIZE), size = SIZE * SIZE;
  for (let t = 0; t < TIMES; t++) for (let i = 0; i < size; i++) {
    clip[t * size + i] = (about.low + (about.high - about.low) * bytes[order[t] * size + i] / 255 - about.mean) / about.spread;
  }
  return clip;
}
