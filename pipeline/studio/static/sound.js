// The microphone, as the bytes of a WAV file.

import { h, notice } from "./dom.js";

const MOST_SECONDS = 30;

function wav(parts, rate) {
  const count = parts.reduce((sum, part) => sum + part.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (offset, word) => [...word].forEach((letter, index) => view.setUint8(offset + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const part of parts) {
    for (const value of part) {
      view.setInt16(at, Math.max(-1, Math.min(1, value)) * 32767, true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

// A button that records, and gives what it heard when it is pressed again.
export function record(give) {
  let stop = null;
  const button = h("button", { onclick: () => (stop ? stop() : start()) }, "Record");

  async function start() {
    let stream;
    button.disabled = true; // Until a person has allowed it.
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch {
      notice("There is no microphone that this page may use.");
      return;
    } finally {
      button.disabled = false;
    }
    const context = new AudioContext();
    const parts = [];
    const timer = setTimeout(() => stop?.(), MOST_SECONDS * 1000);
    stop = () => {
      clearTimeout(timer);
      stop = null;
      button.textContent = "Record";
      for (const track of stream.getTracks()) track.stop();
      context.close();
      if (parts.length) give(wav(parts, context.sampleRate));
    };
    try {
      await context.audioWorklet.addModule(new URL("./worklets/recorder.js", import.meta.url));
      const node = new AudioWorkletNode(context, "recorder");
      node.port.onmessage = (message) => parts.push(message.data);
      context.createMediaStreamSource(stream).connect(node);
      button.textContent = "Stop, and ask";
    } catch (error) {
      stop?.();
      notice(`Nothing can be recorded: ${error.message}.`);
    }
  }

  return button;
}
