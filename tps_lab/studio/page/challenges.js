// Tasks for a class. `check` looks at {tile, frames, rows, columns, blocks, every, border}, its facts and what the
// trained model made of it, and says in one line what is met or missing; `solved` decides.
"use strict";

const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

/** The receptive field of the middle patch after `blocks` blocks of another depth. */
function receptiveFieldAfter(s, blocks) {
  const setting = { ...s, blocks };
  return receptiveFieldByBlock(setting, middleToken(setting))[blocks];
}

function framesReached(s, field) {
  const perFrame = s.rows * s.columns;
  let frames = 0;
  for (let t = 0; t < s.frames; t++) frames += field.subarray(t * perFrame, (t + 1) * perFrame).some(Boolean);
  return frames;
}

const CHALLENGES = [
  {
    title: "Far with few shifts",
    task: "Reach all 16 frames within 4 blocks (shift in every second one) with at most half of the patches shifted.",
    hints: ["Four blocks have two layers of patch shift, and their reaches add up.",
      "From frame t a layer reaches t + k − k' for every two offsets k, k' of the tile. Which few offsets differ from each other by many different amounts?",
      "0, 1 and 4 differ by 1, 3 and 4. Try 0, 1, 4 and 6 on a 2×4 tile."],
    check(s) {
      if (s.frames !== 16 || s.every !== 2) return { solved: false, said: "Set 16 frames and shift in every 2nd block first." };
      const frames = framesReached(s, receptiveFieldAfter(s, 4)), share = shiftedShare(s.tile);
      return { solved: frames === 16 && share <= 0.5, said: `After 4 blocks it reaches ${frames} of 16 frames, with ${percent(share)} of the patches shifted.` };
    },
  },
  {
    title: "All move, none meet",
    task: "Shift every single patch, and yet let no two frames ever meet.",
    hints: ["Frames meet when a mixed frame holds patches of different moments.", "What if all patches come from the same other moment? The border must be circular."],
    check(s, facts) {
      const share = shiftedShare(s.tile), blind = facts.symmetry === "any order";
      if (!anyBlockShifts(s)) return { solved: false, said: `No block shifts: set ${s.every} or more blocks first.` };
      return { solved: share === 1 && blind, said: `${percent(share)} of the patches are shifted, and frames ${blind ? "never meet" : "do meet"}.` };
    },
  },
  {
    title: "Half of the clip stays out of reach",
    task: "Use at least three different offsets, so that half of the 16 frames is never reached, however many blocks there are.",
    hints: ["The difference of two offsets is a step from one frame to another. Which steps never lead from an even frame to an odd one?", "Use even offsets only, and an even number of frames."],
    check(s, facts) {
      const unreached = facts.unreached.length, offsets = facts.frames_mixed;
      return { solved: s.frames === 16 && s.blocks >= 8 && unreached >= 8 && offsets >= 3,
        said: `${offsets} different offsets; ${unreached} of ${s.frames} frames are not reached after ${s.blocks} blocks${s.blocks < 8 ? " (set 8 or more)" : ""}.` };
    },
  },
  {
    title: "Four moments, evenly",
    task: "Mix exactly four frames so evenly that the unevenness is 0: each offset has the same share of every 3×3 neighbourhood as of the whole.",
    hints: ["A 2×2 tile cannot do it: a 3×3 neighbourhood holds one of its cells four times, two of them twice and one once.", "In a 3×3 tile every 3×3 neighbourhood is the whole tile, only moved."],
    check(s, facts) {
      return { solved: facts.frames_mixed === 4 && facts.unevenness < 1e-9, said: `${facts.frames_mixed} frames are mixed, and the unevenness is ${(100 * facts.unevenness).toFixed(0)} points.` };
    },
  },
  {
    title: "Where does the clip begin?",
    task: "With a circular border such a model cannot tell which frame is the first. Make one that can, and whose receptive field still covers every patch after 6 blocks.",
    hints: ["A circle has no beginning. Which borders do not wrap around?", "Choose the border “edge” in the settings, and a tile that reaches far, such as C or D."],
    check(s, facts) {
      const share = shareOf(receptiveFieldAfter(s, 6));
      return { solved: facts.symmetry === "none" && share === 1, said: `The symmetry is “${facts.symmetry}”, and after 6 blocks its receptive field covers ${percent(share, share < 1 && share > 0.99 ? 1 : 0)} of the patches.` };
    },
  },
  {
    title: "Time runs backwards",
    task: "Leave clips as they are, and change only the pattern, so that the model TPS-C mistakes most motions for their reverse: right for left, grow for shrink.",
    hints: ["With tile C, a patch with offset +1 shows the frame before. In a clip played backwards, that is the frame after.", "Flip the sign of every offset of C."],
    check(s, facts, accuracy) {
      if (!accuracy || accuracy.model !== "opposites/tps" || accuracy.order !== "filmed") return { solved: false, said: "Choose the model TPS-C and frames as filmed, and let it go through the clips." };
      const reverse = accuracy.reverse / accuracy.done;
      return { solved: accuracy.done >= 60 && reverse > 0.8, said: `Of ${accuracy.done} clips it mistakes ${percent(reverse)} for their reverse.` };
    },
  },
];
