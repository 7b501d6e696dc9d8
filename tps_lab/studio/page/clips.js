// Clips to mix. Each becomes one canvas with its frames in a row, from which patches are copied.
"use strict";

const SHOWN = 224; // pixels of a frame's side
const READ_SECONDS = 4; // of a video of one's own

const DATA = JSON.parse(document.getElementById("data").textContent);

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

const atlasOf = (frames) => ({ frames, canvas: canvasOf(SHOWN * frames, SHOWN) });

function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflated(base64) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A stored clip: a picture with its frames in rows of eight. */
async function storedClip(about) {
  const picture = new Image();
  picture.src = about.picture;
  await picture.decode();
  const atlas = atlasOf(about.frames), side = about.side, context = atlas.canvas.getContext("2d");
  for (let t = 0; t < about.frames; t++) {
    context.drawImage(picture, (t % 8) * side, Math.floor(t / 8) * side, side, side, t * SHOWN, 0, SHOWN, SHOWN);
  }
  return atlas;
}

/** Frames that say which they are: in every place the frame's number, on a colour that goes once around. */
function numberedClip(state) {
  const atlas = atlasOf(state.frames), context = atlas.canvas.getContext("2d");
  const down = SHOWN / state.rows, across = SHOWN / state.columns;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = `600 ${Math.max(6, Math.min(down, across * 1.2) * 0.55)}px system-ui, sans-serif`;
  for (let t = 0; t < state.frames; t++) {
    context.fillStyle = `hsl(${(360 * t) / state.frames} 55% 72%)`;
    context.fillRect(t * SHOWN, 0, SHOWN, SHOWN);
    context.fillStyle = "#1a1a1a";
    for (let h = 0; h < state.rows; h++) for (let w = 0; w < state.columns; w++) {
      context.fillText(String(t), t * SHOWN + (w + 0.5) * across, (h + 0.52) * down);
    }
  }
  return atlas;
}

/** A test digit in motion, as the trained model sees it. */
function digitClip(bytes) {
  const atlas = atlasOf(TIMES), context = atlas.canvas.getContext("2d"), small = canvasOf(SIZE, SIZE), pen = small.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (let t = 0; t < TIMES; t++) {
    pen.putImageData(inkPicture(bytes.subarray(t * SIZE * SIZE, (t + 1) * SIZE * SIZE)), 0, 0);
    context.drawImage(small, t * SHOWN, 0, SHOWN, SHOWN);
  }
  return atlas;
}

/** Bytes of ink as a picture: ink is dark, paper is light. */
function inkPicture(bytes) {
  const picture = new ImageData(SIZE, SIZE);
  for (let i = 0; i < bytes.length; i++) {
    picture.data.fill(255 - bytes[i], 4 * i, 4 * i + 3);
    picture.data[4 * i + 3] = 255;
  }
  return picture;
}

function drawCovering(context, video, left) {
  const side = Math.min(video.videoWidth, video.videoHeight);
  context.drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, left, 0, SHOWN, SHOWN);
}

const soon = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function within(promise, seconds, message) {
  return Promise.race([promise, soon(1000 * seconds).then(() => { throw new Error(message); })]);
}

/** A video of one's own, decoded by the browser: `frames` pictures from its first seconds. Throws with one line. */
async function videoClip(file, frames) {
  const video = document.createElement("video"), name = file.name.slice(0, 60);
  video.muted = true;
  video.playsInline = true;
  video.preload = "auto";
  video.src = URL.createObjectURL(file);
  try {
    await within(new Promise((ready, fail) => {
      video.onloadeddata = ready;
      video.onerror = () => fail(new Error(`this browser cannot read ${name} as a video`));
    }), 15, `${name} did not begin to play within 15 s`);
    if (!video.videoWidth) throw new Error(`${name} has no picture, only sound`);
    const length = Number.isFinite(video.duration) ? video.duration : READ_SECONDS;
    const seconds = Math.min(READ_SECONDS, length), atlas = atlasOf(frames), context = atlas.canvas.getContext("2d");
    for (let t = 0; t < frames; t++) {
      const arrived = new Promise((ready) => { video.onseeked = ready; });
      video.currentTime = (seconds * (t + 0.5)) / frames;
      await within(arrived, 10, `${name} cannot be moved to ${video.currentTime.toFixed(1)} s`);
      drawCovering(context, video, t * SHOWN);
    }
    return atlas;
  } finally {
    URL.revokeObjectURL(video.src);
  }
}

/** `frames` pictures of the webcam, ten a second; it is switched off afterwards. Throws with one line. */
async function webcamClip(frames) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("this page may not use a webcam here; open it as a file of its own or over https");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? "the webcam was not allowed" : "no webcam was found");
  }
  try {
    const video = document.createElement("video"), atlas = atlasOf(frames), context = atlas.canvas.getContext("2d");
    video.muted = true;
    video.playsInline = true;
    video.srcObject = stream;
    await within(video.play(), 10, "the webcam sent no picture within 10 s");
    for (let t = 0; t < frames; t++) {
      drawCovering(context, video, t * SHOWN);
      await soon(100);
    }
    return atlas;
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}
