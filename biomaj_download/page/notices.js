// What is wrong now, in words, above all else: one line for each trouble, which goes with it.

import { byId, fromTemplate, part, setAttribute, setRows, setText, show } from "./dom.js";

const notices = new Map();

/** Show a notice under a key; null: it is over. `kind`: "bad" or "warn"; `act`: {text, work}. */
export function notify(key, notice) {
  const before = notices.get(key);
  if (notice === null) notices.delete(key);
  else notices.set(key, { key, ...notice });
  if (before || notice) draw();
}

/** Show what a request of the person came to; they put it away themselves. */
export function tellRefusal(text) {
  const close = { text: "Close", work: () => notify("refusal", null) };
  notify("refusal", text ? { kind: "bad", text, act: close } : null);
}

function draw() {
  setRows(byId("notices"), [...notices.values()], {
    key: (notice) => notice.key,
    make: () => fromTemplate("notice"),
    update(row, { kind, text, act }) {
      setAttribute(row, "data-kind", kind);
      setText(part(row, "text"), text);
      const button = part(row, "act");
      show(button, Boolean(act));
      setText(button, act?.text ?? "");
      button.onclick = act?.work ?? null;
    },
  });
}
