// Dead letters: asked for when their number changes; put back or dropped by a person.

import { byId, fill, fromTemplate, part, setRows, show } from "./dom.js";
import { change, sure } from "./dialogs.js";
import { notify, tellRefusal } from "./notices.js";
import { get, route } from "./rest.js";
import { clockText, countText, numberText } from "./words.js";

const MOST_ROWS = 50;
/** What was put back may be dead again: one less and one more is no news for the overview. */
const AGAIN_MILLISECONDS = 2000;
/** A file name or two say which request it is. */
const NAMED_FILES = 3;

export class DeadLetters {
  constructor() {
    this.section = byId("dead");
    this.number = null;
  }

  /** `number`: how many there were a moment ago; null: the broker is away. */
  set(number) {
    if (number === null || number === this.number) return;
    if (number > 0) this.refresh();
    else this.draw([], 0);
  }

  async refresh() {
    try {
      const { dead_letters: letters, total } = await get(route(["dead"], { limit: MOST_ROWS }));
      this.draw(letters, total);
      notify("dead", null);
    } catch (refusal) {
      this.number = null; // the next overview asks again
      notify("dead", { kind: "warn", text: `Dead letters cannot be read now: ${refusal.message}` });
    }
  }

  draw(letters, total) {
    this.number = total;
    show(this.section, letters.length > 0);
    const some = total > letters.length ? `${letters.length} of ${numberText(total)}` : total;
    fill(this.section, { count: some });
    setRows(part(this.section, "rows"), letters, {
      key: (letter) => letter.id,
      make: (letter) => this.made(letter),
      update(row, letter) {
        fill(row, { name: titleOf(letter), line: lineOf(letter), reason: letter.reason });
      },
    });
  }

  made(letter) {
    const row = fromTemplate("dead-row");
    for (const name of ["requeue", "drop"]) {
      const button = part(row, name);
      button.setAttribute("aria-label", `${button.textContent}: ${titleOf(letter)}`);
      button.addEventListener("click", () => this[name](letter));
    }
    return row;
  }

  requeue(letter) {
    return this.settle(letter, {
      title: "Put this request back on the queue?",
      text: `${titleOf(letter)} is worked on again if its session is still open.`,
      yes: "Put it back",
      method: "POST",
      words: ["dead", letter.id, "requeue"],
      more: { headers: { "Content-Type": "application/json" }, body: "{}" },
      done: "The request is back on the queue.",
    });
  }

  drop(letter) {
    return this.settle(letter, {
      title: "Drop this request for ever?",
      text: `${titleOf(letter)}: nobody can bring it back.`,
      yes: "Drop it",
      method: "DELETE",
      words: ["dead", letter.id],
      done: "The request is dropped.",
    });
  }

  async settle(letter, { title, text, yes, method, words, more, done }) {
    if (!(await sure({ title, text, yes }))) return;
    const refused = await change(method, route(words), { ...more, done });
    if (refused !== undefined) tellRefusal(refused);
    await this.refresh();
    setTimeout(() => this.refresh(), AGAIN_MILLISECONDS);
  }
}

function titleOf({ bank, files, file_count: number, message_id: message, id }) {
  const named = (files ?? []).slice(0, NAMED_FILES).filter(Boolean).join(", ");
  const others = number > NAMED_FILES ? ` and ${countText(number - NAMED_FILES, "more file", "more files")}` : "";
  if (!bank) return named || `Unreadable request ${message ?? id}`;
  return named ? `${bank}: ${named}${others}` : `${bank}: a request without files`;
}

function lineOf({ server, protocol, died_at: died, size_bytes: bytes }) {
  const from = server ? `${protocol ? `${protocol}://` : ""}${server}` : countText(bytes, "byte");
  return died ? `${from} · ${clockText(died)}` : from;
}
