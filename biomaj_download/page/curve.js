// The speed of the last hour as a curve, with a text that says the same, and a reading under the
// pointer.

import { fill, part, setAttribute, setText } from "./dom.js";
import { clockText, speedText } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
/** The speed of a shorter time says nothing. */
const SHORTEST_SECONDS = 2;

export class Curve {
  /** `figure` holds the parts `plot` and `reading`. */
  constructor(figure) {
    this.figure = figure;
    this.speeds = [];
    this.svg = made("svg", { preserveAspectRatio: "none", role: "img", class: "speed" });
    this.grid = made("path", { class: "grid" });
    this.area = made("path", { class: "area" });
    this.line = made("path", { class: "line" });
    this.hair = made("path", { class: "hair" });
    this.svg.append(this.grid, this.area, this.line, this.hair);
    this.top = document.createElement("span");
    this.top.className = "top-value";
    this.top.setAttribute("aria-hidden", "true");
    part(figure, "plot").append(this.svg, this.top);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.leave());
  }

  /** `bytes`: of each bucket, oldest first, the last one of now and not full yet. */
  draw({ bytes, bucket_seconds: seconds }, time) {
    const now = new Date(time).getTime();
    const speeds = bytes.map((each) => each / seconds);
    const passedSeconds = (now / 1000) % seconds; // buckets are counted from 1970
    if (speeds.length < 2) return;
    if (passedSeconds < SHORTEST_SECONDS) speeds.pop();
    else speeds[speeds.length - 1] = bytes.at(-1) / passedSeconds;
    this.speeds = speeds;
    this.seconds = seconds;
    this.end = now;
    const most = Math.max(...speeds);
    const top = roundUp(most);
    const points = speeds.map((speed, index) => `${index} ${(HEIGHT * (1 - speed / top)).toFixed(1)}`);
    const width = speeds.length - 1;
    setAttribute(this.svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
    setAttribute(this.grid, "d", [0, 1, 2, 3].map((n) => `M0 ${n * 25}H${width}`).join(""));
    setAttribute(this.line, "d", `M${points.join("L")}`);
    setAttribute(this.area, "d", `M0 ${HEIGHT}L${points.join("L")}L${width} ${HEIGHT}Z`);
    setText(this.top, most ? speedText(top) : "");
    setAttribute(this.svg, "aria-label", this.described(most));
  }

  described(most) {
    if (!most) return "Speed over the last hour: nothing came.";
    const mean = this.speeds.reduce((sum, speed) => sum + speed, 0) / this.speeds.length;
    return (
      `Speed over the last hour: highest ${speedText(most)} at ` +
      `${this.clock(this.speeds.indexOf(most))}, ${speedText(mean)} on the whole, ` +
      `${speedText(this.speeds.at(-1))} last.`
    );
  }

  clock(index) {
    return clockText(this.end - (this.speeds.length - index) * this.seconds * 1000);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const index = Math.round(share * (this.speeds.length - 1));
    if (!(index in this.speeds)) return;
    setAttribute(this.hair, "d", `M${index} 0V${HEIGHT}`);
    fill(this.figure, { reading: `${speedText(this.speeds[index])} at ${this.clock(index)}` });
  }

  leave() {
    setAttribute(this.hair, "d", "");
    fill(this.figure, { reading: "" });
  }
}

/** The next of 1, 2, 4, 6, 8 times a power of ten: a scale that jumps seldom. */
function roundUp(number) {
  if (number <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 4, 6, 8, 10].find((step) => step * power >= number) * power;
}

function made(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
