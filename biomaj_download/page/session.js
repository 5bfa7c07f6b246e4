// One session: how far it is, what runs, and the files that ended, in pages.

import { byId, fill, part, seldom, setText, show } from "./dom.js";
import { cancelSession } from "./overview.js";
import { Listing } from "./listing.js";
import { notify, tellRefusal } from "./notices.js";
import { get, route } from "./rest.js";
import { FewRows, filesLine, percentOf, runningRow, setSessionBar } from "./rows.js";
import { clockText, numberText, sizeText, spanText, speedText } from "./words.js";

/** What an empty list says, by the files that are chosen. */
const NOTHING = {
  "": "No file has ended yet.",
  done: "No file has come yet.",
  failed: "No file has failed.",
};
/** The list of files is asked for again so seldom, while files end. */
const ASK_MILLISECONDS = 1000;

export class SessionView {
  constructor() {
    this.root = byId("session");
    this.running = new FewRows(byId("session-running"), runningRow);
    this.state = "";
    this.files = new Listing(byId("files"), {
      ask: ({ q, offset, limit }) =>
        get(route([...this.words(), "files"], { state: this.state, q, offset, limit })),
      nothing: () => NOTHING[this.state],
      onRefusal: (refusal) => {
        this.mark = ""; // ask again at the next turn
        if (refusal.status !== 404) tellRefusal(`Files cannot be read now: ${refusal.message}`);
      },
    });
    this.askFiles = seldom(() => this.files.refresh(), ASK_MILLISECONDS);
    for (const button of this.choices()) {
      button.addEventListener("click", () => this.choose(button.dataset.state));
    }
    part(this.root, "cancel").addEventListener("click", () => cancelSession(this.key));
  }

  choices() {
    return byId("files").querySelectorAll(".choice button");
  }

  words() {
    return ["sessions", this.key.bank, this.key.session];
  }

  /** Turn to a session: what is known of it is in its address. */
  open(key) {
    this.key = key;
    this.mark = "";
    this.files.clear();
    this.choose("", { asks: false });
    setText(byId("session-title"), key.bank);
    fill(this.root, { id: key.session, opened: "", line: "Looking…" });
    part(this.root, "cancel").disabled = false;
    this.running.set([]);
    show(this.root, true);
    byId("session-title").focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  choose(state, { asks = true } = {}) {
    this.state = state;
    for (const button of this.choices()) {
      button.setAttribute("aria-pressed", String(button.dataset.state === state));
    }
    if (asks) this.files.restart();
  }

  /** Take what `event: session` tells. */
  show(session) {
    const percent = percentOf(session);
    setSessionBar(part(this.root, "bar"), session);
    fill(this.root, {
      opened: session.opened_at ? `opened ${clockText(session.opened_at)}` : "",
      line: `${percent} % · ${filesLine(session)}`,
      running: numberText(session.running),
      waiting: numberText(session.waiting),
      done: numberText(session.done),
      failed: numberText(session.failed),
      received: sizeText(session.received_bytes),
      speed: speedText(session.bytes_per_second),
      left: spanText(session.seconds_left),
    });
    this.root.classList.toggle("has-failed", session.failed > 0);
    document.title = `${percent} % ${session.bank} · BioMAJ downloads`;
    this.running.set(session.running_files, session.running);
    const mark = `${session.done} ${session.failed}`;
    if (mark === this.mark || !this.files.isAtTop) return;
    this.mark = mark;
    this.askFiles();
  }

  /** It is open no more: what is shown is how it was last seen. */
  close() {
    part(this.root, "cancel").disabled = true;
    this.running.set([]);
    fill(this.root, { running: "0", speed: speedText(0), left: "–" });
    notify("closed", {
      kind: "calm",
      text:
        "This session is closed: whoever opened it has all it wanted, or it was cancelled." +
        " Below is what was last seen of it.",
    });
  }
}
