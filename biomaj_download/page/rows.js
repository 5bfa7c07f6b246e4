// The rows that several parts of the page share: bars, files on their way, files that ended.

import { fill, fromTemplate, part, sessionLink, setAttribute, setRows, setText, show } from "./dom.js";
import { clockText, countText, hostText, numberText, sizeText, spanText, speedText } from "./words.js";

/** So many rows are shown until somebody asks for all. */
const FEW = 8;

/**
 * Show shares of a whole: {done: 0.5, failed: 0.1, ...}. `percent`: how far it is, null: unknown;
 * `label` and `text` say it in words.
 */
export function setBar(bar, shares, { label, percent, text }) {
  for (const piece of bar.children) {
    const width = `${(100 * Math.min(shares[piece.dataset.part] ?? 0, 1)).toFixed(2)}%`;
    if (piece.style.width !== width) piece.style.width = width;
  }
  setAttribute(bar, "role", "progressbar");
  setAttribute(bar, "aria-label", label);
  setAttribute(bar, "aria-valuetext", text);
  if (percent === null) bar.removeAttribute("aria-valuenow");
  else setAttribute(bar, "aria-valuenow", String(percent));
  bar.classList.toggle("unknown", percent === null);
}

/** How many files a session has, as far as one knows. */
export function wanted(session) {
  const seen = session.done + session.failed + session.running + session.waiting;
  return Math.max(session.expected ?? 0, seen);
}

/** The share of a session that is settled, in whole percent; 100 only when all is. */
export function percentOf(session) {
  const all = wanted(session);
  return all ? Math.floor((100 * (session.done + session.failed)) / all) : 0;
}

/** Whether all files that were asked for are settled. */
export function isComplete(session) {
  return session.expected !== null && session.done + session.failed >= session.expected;
}

export function setSessionBar(bar, session) {
  const all = wanted(session) || 1;
  const shares = {
    done: session.done / all,
    failed: session.failed / all,
    running: session.running / all,
  };
  setBar(bar, shares, {
    label: `Progress of ${session.bank}`,
    percent: percentOf(session),
    text: `${percentOf(session)} %, ${filesLine(session)}`,
  });
}

/** `8,310 of 9,517 files, 3 failed`. */
export function filesLine(session) {
  const settled = session.done + session.failed;
  const all = wanted(session);
  const files =
    session.expected === null
      ? `${countText(settled, "file")}${all > settled ? ` of ${numberText(all)} so far` : ""}`
      : `${numberText(settled)} of ${countText(all, "file")}`;
  return session.failed ? `${files}, ${numberText(session.failed)} failed` : files;
}

/** `34 GB · 48 MB/s · 4 min left`. */
export function paceLine(session) {
  const words = [filesLine(session), sizeText(session.received_bytes)];
  if (isComplete(session)) return words.join(" · ");
  if (session.bytes_per_second) words.push(speedText(session.bytes_per_second));
  if (session.seconds_left) words.push(`${spanText(session.seconds_left)} left`);
  return words.join(" · ");
}

export const runningRow = {
  key: (file) => JSON.stringify([file.consumer, file.bank, file.session, file.name]),
  make: () => fromTemplate("running-row"),
  update(row, file) {
    setFile(row, file);
    fill(row, {
      size:
        file.size_bytes === null
          ? sizeText(file.received_bytes)
          : `${sizeText(file.received_bytes)} of ${sizeText(file.size_bytes)}`,
      speed: file.bytes_per_second ? `· ${speedText(file.bytes_per_second)}` : "",
      attempt: `attempt ${file.attempt}`,
    });
    show(part(row, "attempt"), file.attempt > 1);
    const share = file.size_bytes ? Math.min(file.received_bytes / file.size_bytes, 1) : 0;
    const percent = file.size_bytes ? Math.floor(100 * share) : null;
    setBar(part(row, "bar"), { running: share }, {
      label: `Progress of ${file.name}`,
      percent,
      text: percent === null ? `${sizeText(file.received_bytes)} of an unknown size` : `${percent} %`,
    });
  },
};

export const endedRow = {
  key: (file) => JSON.stringify([file.bank, file.session, file.name, file.ended_at]),
  make: () => fromTemplate("ended-row"),
  update(row, file) {
    setFile(row, file);
    const isDone = file.state === "done";
    const state = part(row, "state");
    setText(state, isDone ? "done" : file.code ?? "failed");
    setAttribute(state, "data-kind", isDone ? "good" : "bad");
    setText(part(row, "error"), file.error ?? "");
    show(part(row, "error"), Boolean(file.error));
    fill(row, {
      size: isDone ? `${sizeText(file.size_bytes)} in ${spanText(Math.ceil(file.seconds))}` : "",
      ended: clockText(file.ended_at),
    });
    setAttribute(part(row, "ended"), "datetime", file.ended_at ?? "");
  },
};

function setFile(row, file) {
  const bank = part(row, "bank");
  fill(row, { name: file.name, bank: file.bank, host: hostText(file.host) });
  setAttribute(bank, "href", sessionLink(file));
  setAttribute(bank, "aria-label", `Databank ${file.bank}`);
}

/** A list that shows a few rows, and all of them on demand. */
export class FewRows {
  /** `section` has the parts rows, nothing, more and count. */
  constructor(section, row) {
    this.section = section;
    this.row = row;
    this.items = [];
    this.total = 0;
    this.isWhole = false;
    part(section, "more").addEventListener("click", () => {
      this.isWhole = !this.isWhole;
      this.draw();
    });
  }

  /** `total`: how many there are, where `items` are only some. */
  set(items, total = items.length) {
    this.items = items;
    this.total = Math.max(total, items.length);
    this.draw();
  }

  draw() {
    const { section, items, total, isWhole } = this;
    setRows(part(section, "rows"), isWhole ? items : items.slice(0, FEW), this.row);
    fill(section, { count: total ? numberText(total) : "" });
    show(part(section, "nothing"), items.length === 0);
    const more = part(section, "more");
    show(more, items.length > FEW);
    setAttribute(more, "aria-expanded", String(isWhole));
    const others = total > items.length ? ` of ${numberText(total)}` : "";
    setText(more, isWhole ? "Show fewer" : `Show ${numberText(items.length)}${others}`);
  }
}
