/** The sound of a new message: two soft tones, made here. */
let audio: AudioContext | undefined;
let last = 0;

/** At most one in two seconds: many messages at once are one sound. */
export function chime(now = Date.now()): void {
  if (now - last < 2000) return;
  last = now;
  try {
    audio ??= new AudioContext();
    // A browser that has not been touched yet says no, and that is its right.
    if (audio.state === "suspended") void audio.resume().catch(() => {});
    note(audio, 659.26, 0);
    note(audio, 987.77, 0.11);
  } catch {
    // no sound device
  }
}

function note(to: AudioContext, frequency: number, after: number): void {
  const start = to.currentTime + after;
  const tone = to.createOscillator();
  const volume = to.createGain();
  tone.type = "sine";
  tone.frequency.value = frequency;
  volume.gain.setValueAtTime(0, start);
  volume.gain.linearRampToValueAtTime(0.12, start + 0.012);
  volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.38);
  tone.connect(volume).connect(to.destination);
  tone.start(start);
  tone.stop(start + 0.4);
}
