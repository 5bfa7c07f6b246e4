// The page: which view is shown, and how the connection to the service is.

import { announce, byId, part, setAttribute, setText, show } from "./dom.js";
import { NO_TOKEN, WRONG_TOKEN, askToken } from "./dialogs.js";
import { follow } from "./live.js";
import { notify, tellRefusal } from "./notices.js";
import { Overview } from "./overview.js";
import { route, token } from "./rest.js";
import { SessionView } from "./session.js";
import { clockText, spanText } from "./words.js";

const overview = new Overview();
const sessionView = new SessionView();
let stream = null;
let countdown = 0;
let state = "";
let seenAt = null;

/** Show what the address says, and follow it. */
function go() {
  stream?.stop();
  seenAt = null;
  notify("closed", null);
  tellRefusal(null);
  const key = sessionInAddress();
  show(overview.root, false);
  show(sessionView.root, false);
  if (key) {
    sessionView.open(key);
    followPath(route(["events"], key), {
      session: (data) => sessionView.show(data),
      closed: endSession,
    });
  } else {
    document.title = "BioMAJ downloads";
    followPath("events", { overview: (data) => overview.show(data) });
  }
}

function sessionInAddress() {
  const words = location.hash.split("/");
  if (words[0] !== "#" || words[1] !== "sessions" || words.length !== 4) return null;
  try {
    const [bank, session] = words.slice(2).map(decodeURIComponent);
    return { bank, session };
  } catch {
    return null; // an address that somebody cut
  }
}

/** Follow events; what they tell is drawn before the next frame, and not while nobody sees it. */
function followPath(path, handlers) {
  const latest = new Map();
  let isDue = false;
  const mine = follow(path, {
    onEvent(name, data) {
      seenAt = new Date();
      latest.set(name, data);
      if (isDue) return;
      isDue = true;
      requestAnimationFrame(() => {
        isDue = false;
        if (mine !== stream) return;
        for (const [each, value] of latest) handlers[each]?.(value);
        latest.clear();
      });
    },
    onState: (news) => {
      if (mine === stream) showState(news);
    },
  });
  stream = mine;
}

function endSession() {
  stream.stop();
  sessionView.close();
  setLink("closed", "Closed");
}

const TEXTS = { connecting: "Connecting…", live: "Live" };

function showState({ name, refusal, seconds }) {
  clearInterval(countdown);
  if (name !== "lost") {
    if (name === "live" || seenAt === null) setLink(name, TEXTS[name]);
    if (name === "live") {
      notify("link", null);
      show(byId("forget-token"), token.get() !== null);
    }
    return;
  }
  if (refusal.status === 404) {
    endSession();
  } else if (refusal.status === 401) {
    wantToken();
  } else if (seconds === null) {
    showLoss(refusal, null);
  } else {
    const until = Date.now() + seconds * 1000;
    const tell = () => showLoss(refusal, Math.max((until - Date.now()) / 1000, 0));
    tell();
    countdown = setInterval(tell, 1000);
  }
}

function showLoss(refusal, seconds) {
  const isAway = refusal.status === 503;
  setLink("lost", isAway ? "Store away" : "Connection lost");
  const what = isAway
    ? `The service cannot reach its store: ${refusal.message}. Files on their way go on.`
    : `The connection is lost: ${refusal.message}.`;
  const seen = seenAt ? ` What you see is of ${clockText(seenAt)}.` : "";
  const next = seconds >= 1 ? ` Trying again in ${spanText(seconds)}.` : " Trying again…";
  notify("link", {
    kind: isAway ? "warn" : "bad",
    text: `${what}${seen}${seconds === null ? "" : next}`,
    act: seconds === null ? null : { text: "Try now", work: () => stream.retry() },
  });
}

async function wantToken() {
  const mine = stream;
  mine.stop();
  setLink("lost", "Token wanted");
  const text = token.get() === null ? NO_TOKEN : WRONG_TOKEN;
  token.forget();
  notify("link", {
    kind: "warn",
    text: `The service tells nothing without its token. ${text}`,
    act: { text: "Give the token", work: wantToken },
  });
  if (!(await askToken(text)) || mine !== stream) return;
  notify("link", null);
  go();
}

/** Show the state of the connection; those who listen hear when it changes. */
function setLink(name, text) {
  const link = byId("link");
  setAttribute(link, "data-state", name);
  setText(part(link, "text"), text);
  document.body.classList.toggle("stale", name === "lost");
  if (state && state !== text && text !== TEXTS.connecting) announce(text);
  state = text;
}

byId("forget-token").addEventListener("click", () => {
  token.forget();
  show(byId("forget-token"), false);
  go();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", go);
addEventListener("online", () => stream.retry());
go();
