// Draws the PNG icons from the shapes of public/icon.svg, without a browser: flat shapes, four by four samples a pixel.
import { writeFileSync } from "node:fs";
import { deflateSync } from "node:zlib";

const ground = [11, 107, 97];
const white = [255, 255, 255];

/** Signed distance to a rounded rectangle: negative inside. */
function rounded(x, y, left, top, right, bottom, radius) {
  const dx = Math.abs(x - (left + right) / 2) - ((right - left) / 2 - radius);
  const dy = Math.abs(y - (top + bottom) / 2) - ((bottom - top) / 2 - radius);
  return Math.hypot(Math.max(dx, 0), Math.max(dy, 0)) + Math.min(Math.max(dx, dy), 0) - radius;
}

function inTriangle(x, y, [a, b, c]) {
  const side = (p, q) => (x - q[0]) * (p[1] - q[1]) - (p[0] - q[0]) * (y - q[1]);
  const s = [side(a, b), side(b, c), side(c, a)];
  return s.every((v) => v >= 0) || s.every((v) => v <= 0);
}

const first = (x, y) =>
  rounded(x, y, 7, 7, 22, 18, 3.5) <= 0 ||
  inTriangle(x, y, [
    [7, 14],
    [7, 21.5],
    [14, 17],
  ]);
// The second bubble is behind the first, with a gap around it.
const second = (x, y) =>
  (rounded(x, y, 12.5, 12.2, 25, 23, 3.2) <= 0 && rounded(x, y, 5.4, 5.4, 23.9, 20.2, 4.8) > 0) ||
  inTriangle(x, y, [
    [25, 19],
    [25, 26],
    [18, 22.5],
  ]);

/** The colour at a point of the 32-grid, with its opacity. */
function colour(x, y, corner) {
  if (rounded(x, y, 0, 0, 32, 32, corner) > 0) return [0, 0, 0, 0];
  if (first(x, y)) return [...white, 255];
  if (second(x, y)) return [...white.map((v, i) => Math.round(v * 0.6 + ground[i] * 0.4)), 255];
  return [...ground, 255];
}

function draw(size, corner, scale) {
  const rows = Buffer.alloc(size * (size * 4 + 1));
  for (let py = 0; py < size; py++) {
    for (let px = 0; px < size; px++) {
      const sum = [0, 0, 0, 0];
      for (let s = 0; s < 16; s++) {
        const at = (p, o) => (((p + o) / size) * 32 - 16) / scale + 16;
        const x = at(px, ((s % 4) + 0.5) / 4);
        const y = at(py, (Math.floor(s / 4) + 0.5) / 4);
        const [r, g, b, a] =
          scale < 1 && corner === 0 && (x < 0 || y < 0 || x > 32 || y > 32) ? [...ground, 255] : colour(x, y, corner);
        sum[0] += r * a;
        sum[1] += g * a;
        sum[2] += b * a;
        sum[3] += a;
      }
      const at = py * (size * 4 + 1) + 1 + px * 4;
      for (let c = 0; c < 3; c++) rows[at + c] = sum[3] === 0 ? 0 : Math.round(sum[c] / sum[3]);
      rows[at + 3] = Math.round(sum[3] / 16);
    }
  }
  return rows;
}

const table = Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name, "latin1"), data]);
  let crc = 0xffffffff;
  for (const byte of body) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE((crc ^ 0xffffffff) >>> 0, body.length + 4);
  return out;
}

function png(size, corner, scale) {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(size, 0);
  head.writeUInt32BE(size, 4);
  head.set([8, 6, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", head),
    chunk("IDAT", deflateSync(draw(size, corner, scale), { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

const out = (name, bytes) => writeFileSync(new URL(`../public/${name}`, import.meta.url), bytes);
out("icon-180.png", png(180, 0, 1)); // iOS cuts the corners itself
out("icon-192.png", png(192, 9, 1));
out("icon-512.png", png(512, 9, 1));
out("icon-maskable-512.png", png(512, 0, 0.8)); // with room for any shape
