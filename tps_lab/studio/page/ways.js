// Other ways of mixing space and time: whom the query patch meets in a block. Tests hold them equal to the package's.
"use strict";

/** Whether `key` is in a window around `query` that covers about half of the axis, pushed inside at its ends. */
function near(query, key, length) {
  const size = Math.min(length, Math.max(3, Math.floor(length / 2) | 1));
  const first = Math.min(Math.max(query - Math.floor(size / 2), 0), length - size);
  return key >= first && key < first + size;
}

/** Whole frames beside it, and of frames further away a band, half as wide with every doubling of the distance. */
function radial(s, q, k) {
  const patches = s.rows * s.columns, frames = Math.abs(q.t - k.t), apart = Math.abs((q.h - k.h) * s.columns + q.w - k.w);
  let parts = 1;
  while (parts < frames + 1) parts *= 2;
  return frames <= 1 || k.t === 0 || (apart * parts <= patches && frames % Math.max(Math.floor(parts / patches), 1) === 0);
}

// the package's name: title, one line, and who meets whom
const WAYS = {
  spatial: ["Spatial", "its own frame", (s, q, k) => k.t === q.t],
  divided: ["Divided (T+S)", "its own place at all times, then its own frame", (s, q, k) => k.t === q.t || (k.h === q.h && k.w === q.w)],
  joint: ["Joint", "all patches of all frames", () => true],
  natten: ["NATTEN", "a window around it, in space and time", (s, q, k) => near(q.t, k.t, s.frames) && near(q.h, k.h, s.rows) && near(q.w, k.w, s.columns)],
  causal: ["Frame-causal", "its own frame and all earlier ones", (s, q, k) => k.t <= q.t],
  "first-and-previous": ["First and previous frame", "its own frame, the one before, and the first", (s, q, k) => k.t === q.t || k.t === q.t - 1 || k.t === 0],
  radial: ["Radial", "frames nearby, and ever narrower bands of frames further away", radial],
};

/** The patches, one byte each, that patch `asks` of frame s.frame meets; `meets` is (s, query, key) → whether it does. */
function metIn(s, asks, meets) {
  const found = new Uint8Array(s.frames * s.rows * s.columns), query = { t: s.frame, ...asks };
  let i = 0;
  for (let t = 0; t < s.frames; t++) for (let h = 0; h < s.rows; h++) for (let w = 0; w < s.columns; w++) found[i++] = meets(s, query, { t, h, w });
  return found;
}

/** The same of a layer with patch shift: both patches look around in one mixed frame. */
const meetsInTile = (s, q, k) => {
  const group = mixedFrameOf(s, q.t, q.h, q.w);
  return group >= 0 && sourceFrame(s, group, k.h, k.w) === k.t;
};
