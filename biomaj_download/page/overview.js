// All at a glance: what `event: overview` tells, a second old at most.

import { announce, byId, fill, fillPager, fromTemplate, part, seldom, sessionLink, setAttribute, setRows, setText, show } from "./dom.js";
import { Curve } from "./curve.js";
import { DeadLetters } from "./dead.js";
import { change, sure } from "./dialogs.js";
import { Listing } from "./listing.js";
import { notify, tellRefusal } from "./notices.js";
import { get, route } from "./rest.js";
import { FewRows, isComplete, paceLine, percentOf, runningRow, setSessionBar } from "./rows.js";
import { countText, hostText, numberText, sizeText, spanText, speedText } from "./words.js";

const SESSIONS_A_PAGE = 100;
/** Pages that are asked for besides the events are asked for so seldom. */
const ASK_MILLISECONDS = 1000;
/** Listeners hear of failures no more often than that. */
const SAY_MILLISECONDS = 15_000;

export class Overview {
  constructor() {
    this.root = byId("overview");
    this.curve = new Curve(byId("curve"));
    this.dead = new DeadLetters();
    this.running = new FewRows(byId("running"), runningRow);
    this.hosts = new FewRows(byId("hosts"), hostRow);
    this.consumers = new FewRows(byId("consumers"), consumerRow);
    this.errors = new Listing(byId("errors"), {
      ask: async ({ q, offset, limit }) => {
        const { errors, ...rest } = await get(route(["errors"], { q, offset, limit }));
        return { files: errors, ...rest };
      },
      nothing: () => "Nothing failed in the sessions that are open.",
      onRefusal: (refusal) => {
        this.errorMark = ""; // ask again at the next turn
        tellRefusal(`Errors cannot be read now: ${refusal.message}`);
      },
    });
    this.sessionOffset = 0;
    this.askOlder = seldom(() => this.showOlder(), ASK_MILLISECONDS);
    this.askErrors = seldom(() => this.errors.refresh(), ASK_MILLISECONDS);
    this.failed = null;
    this.saidAt = 0;
    this.makePager();
    this.makeWelcome();
  }

  /** Take an overview in. */
  show(overview) {
    this.showGlance(overview);
    this.curve.draw(overview.speed, overview.time);
    show(byId("curve"), overview.sessions_total > 0 || overview.speed.bytes.some(Boolean));
    this.showSessions(overview);
    this.running.set(overview.running, overview.running_total);
    this.hosts.set(perHost(overview.hosts));
    this.consumers.set(overview.consumers);
    this.showQueue(overview.queue, overview.consumers);
    this.showErrors(overview);
    show(byId("welcome"), overview.sessions_total === 0 && overview.running_total === 0);
    show(part(byId("welcome"), "starter"), overview.consumers.length === 0);
    show(this.root, true);
  }

  showGlance({ sessions, sessions_total: total, running_total: running }) {
    const sum = (name) => sessions.reduce((all, session) => all + (session[name] ?? 0), 0);
    const speed = sum("bytes_per_second");
    const [failed, done, waiting] = [sum("failed"), sum("done"), sum("waiting")];
    const open = sessions.filter((session) => running && (session.running || session.waiting)).length;
    setText(byId("headline"), headline({ total, open, running }));
    fill(this.root, {
      under: underline({ running, speed, failed }),
      running: numberText(running),
      waiting: numberText(waiting),
      done: numberText(done),
      failed: numberText(failed),
      received: sizeText(sum("received_bytes")),
    });
    byId("headline").closest("section").classList.toggle("has-failed", failed > 0);
    document.title = `${running ? `${running} on their way` : "quiet"} · BioMAJ downloads`;
    this.say(failed);
  }

  /** Tell listeners of new failures, now and then. */
  say(failed) {
    const isNews = this.failed !== null && failed > this.failed;
    if (isNews && Date.now() - this.saidAt < SAY_MILLISECONDS) return;
    if (isNews) {
      announce(`${countText(failed, "file")} failed so far.`);
      this.saidAt = Date.now();
    }
    this.failed = failed;
  }

  showSessions({ sessions, sessions_total: total }) {
    const section = byId("sessions");
    show(section, total > 0);
    fill(section, { count: numberText(total) });
    if (this.sessionOffset >= total) this.sessionOffset = 0;
    if (this.sessionOffset === 0) setRows(part(section, "rows"), sessions, sessionRow);
    else this.askOlder();
    show(section.querySelector(".pager"), total > SESSIONS_A_PAGE);
    this.newer.disabled = this.sessionOffset === 0;
    this.older.disabled = this.sessionOffset + SESSIONS_A_PAGE >= total;
    const last = Math.min(this.sessionOffset + SESSIONS_A_PAGE, total);
    setText(this.place, `${numberText(this.sessionOffset + 1)} to ${numberText(last)}`);
    this.lastSessions = { sessions, sessions_total: total };
  }

  async showOlder() {
    const offset = this.sessionOffset;
    try {
      const page = await get(route(["sessions"], { offset, limit: SESSIONS_A_PAGE }));
      if (offset === this.sessionOffset) {
        setRows(part(byId("sessions"), "rows"), page.sessions, sessionRow);
      }
    } catch (refusal) {
      tellRefusal(`Older sessions cannot be read now: ${refusal.message}`);
    }
  }

  makePager() {
    const turn = (pages) => () => {
      this.sessionOffset = Math.max(this.sessionOffset + pages * SESSIONS_A_PAGE, 0);
      this.showSessions(this.lastSessions);
    };
    const pager = byId("sessions").querySelector(".pager");
    const { newer, place, older } = fillPager(pager, { onNewer: turn(-1), onOlder: turn(1) });
    Object.assign(this, { newer, place, older });
  }

  makeWelcome() {
    const place = new URL(".", location.href).href.replace(/\/$/, "");
    const command =
      "biomaj-download submit taxdb https://ftp.ncbi.nlm.nih.gov/blast/db/taxdb.tar.gz \\\n" +
      `  -d /tmp/db --detach --url ${place}`;
    const welcome = byId("welcome");
    fill(welcome, { command });
    const copy = part(welcome, "copy");
    show(copy, Boolean(navigator.clipboard));
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command);
      announce("The command is copied.");
      setText(copy, "Copied");
    });
  }

  showQueue(queue, consumers) {
    fill(byId("queue"), {
      messages: numberText(queue.messages),
      listeners: numberText(queue.consumers),
      dead: numberText(queue.dead_letters),
    });
    // An embedded service has a queue that nobody has to listen to.
    show(part(byId("queue"), "listening"), queue.consumers !== null || queue.messages === null);
    byId("queue").classList.toggle("has-failed", queue.dead_letters > 0);
    this.dead.set(queue.dead_letters);
    const isAway = queue.messages === null && Boolean(queue.error);
    notify("broker", isAway ? { kind: "warn", text: brokerText(queue.error) } : null);
    const waits = queue.messages > 0 && consumers.length === 0;
    notify("consumers", waits ? { kind: "warn", text: NO_CONSUMER } : null);
  }

  showErrors({ errors, sessions }) {
    const failed = sessions.reduce((all, session) => all + session.failed, 0);
    const newest = errors.length ? errors[0].ended_at : null;
    const mark = JSON.stringify([failed, newest]);
    if (mark === this.errorMark || !this.errors.isAtTop) return;
    this.errorMark = mark;
    this.askErrors();
  }
}

const NO_CONSUMER =
  "Requests wait, and no consumer is at work: `biomaj-download consumer` starts one.";

function brokerText(error) {
  return `The broker is away: ${error}. Files on their way go on; new requests wait.`;
}

function headline({ total, open, running }) {
  if (total === 0 && running === 0) return "All is quiet";
  if (open > 0) return `${countText(open, "databank")} on ${open === 1 ? "its" : "their"} way home`;
  if (running > 0) return `${countText(running, "file")} on ${running === 1 ? "its" : "their"} way`;
  return `${countText(total, "databank")} open, nothing on its way`;
}

function underline({ running, speed, failed }) {
  const words = [];
  if (running) words.push(`${countText(running, "file")} at ${speedText(speed)}`);
  if (failed) words.push(`${countText(failed, "file")} failed`);
  return words.join(" · ");
}

const sessionRow = {
  key: ({ bank, session }) => JSON.stringify([bank, session]),
  make(session) {
    const row = fromTemplate("session-row");
    const cancel = part(row, "cancel");
    cancel.setAttribute("aria-label", `Cancel ${session.bank}`);
    cancel.addEventListener("click", () => cancelSession(session));
    return row;
  },
  update(row, session) {
    fill(row, {
      bank: session.bank,
      id: session.session.slice(0, 8),
      percent: `${percentOf(session)} %`,
      state: session.failed ? "complete but for failures" : "complete",
      line: paceLine(session),
    });
    show(part(row, "percent"), !isComplete(session));
    show(part(row, "state"), isComplete(session));
    setAttribute(part(row, "state"), "data-kind", session.failed ? "warn" : "good");
    setAttribute(part(row, "bank"), "href", sessionLink(session));
    setSessionBar(part(row, "bar"), session);
  },
};

/** Ask, and end a session. */
export async function cancelSession({ bank, session }) {
  const isSure = await sure({
    title: `Cancel ${bank}?`,
    text:
      "What runs ends within seconds, and what waits never begins. Files that came stay where" +
      " they are.",
    yes: "Cancel the session",
  });
  if (!isSure) return;
  const done = `${bank} is cancelled.`;
  const refused = await change("DELETE", route(["sessions", bank, session]), { done });
  if (refused !== undefined) tellRefusal(refused);
}

/** Join what the consumers say of the same server. */
function perHost(states) {
  const hosts = new Map();
  for (const state of states) {
    const host = hosts.get(state.name);
    if (!host) {
      hosts.set(state.name, { ...state });
      continue;
    }
    for (const name of ["limit", "configured", "connections", "waiting"]) host[name] += state[name];
    host.paused_seconds = Math.max(host.paused_seconds, state.paused_seconds);
  }
  return [...hosts.values()];
}

const hostRow = {
  key: (host) => host.name,
  make: () => fromTemplate("host-row"),
  update(row, host) {
    const waiting = host.waiting ? ` · ${numberText(host.waiting)} waiting` : "";
    fill(row, {
      name: hostText(host.name).replace(/^[a-z]+:\/\//, ""),
      line: `${host.name.split(":")[0]} · ${numberText(host.connections)} of ${countText(host.limit, "connection")}${waiting}`,
    });
    const state = part(row, "state");
    const [text, kind] = hostState(host);
    setText(state, text);
    setAttribute(state, "data-kind", kind);
  },
};

function hostState({ paused_seconds: paused, limit, configured, connections }) {
  if (paused > 0) return [`paused for ${spanText(Math.ceil(paused))}`, "warn"];
  if (limit < configured) return [`slowed: ${limit} of ${configured}`, "warn"];
  return connections >= limit ? ["busy", "calm"] : ["fine", "good"];
}

const consumerRow = {
  key: (consumer) => consumer.name,
  make: () => fromTemplate("consumer-row"),
  update(row, consumer) {
    const since = (Date.now() - new Date(consumer.started_at).getTime()) / 1000;
    fill(row, {
      name: consumer.host,
      line: `process ${consumer.process_id} · up ${spanText(Math.max(since, 0))}`,
      slots: `${numberText(consumer.running)} of ${countText(consumer.slots, "slot")}`,
    });
  },
};
