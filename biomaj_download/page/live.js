// Follow the service's events, and come back by ourselves when the connection breaks.
//
// Read by `fetch`, for an EventSource cannot send a token. The service ends each answer after a
// minute, so that it never holds dead ones: an end after events is no loss, and nothing shows.

import { Refusal, send } from "./rest.js";

/** The service writes at least a comment each 5 seconds: silence for longer is a lost connection. */
const SILENCE_MILLISECONDS = 15_000;
/** Between two answers, in case a service ends them at once. */
const PAUSE_SECONDS = 0.2;
const FIRST_WAIT_SECONDS = 1;
const LONGEST_WAIT_SECONDS = 30;

/** `event: problem` tells that the service lives and its store is away. */
const PROBLEM = "problem";

/**
 * Call `onEvent(name, data)` for each event of a route and `onState(state)` when it changes.
 * States: {name: "connecting"}, {name: "live"}, {name: "lost", refusal, seconds until the next try;
 * null: the service tells by itself}.
 * `follow` returns {retry(): try now, stop(): end}.
 */
export function follow(path, { onEvent, onState }) {
  const ending = new AbortController();
  let wake = () => {};

  async function run() {
    let waitSeconds = FIRST_WAIT_SECONDS;
    onState({ name: "connecting" });
    while (!ending.signal.aborted) {
      let pauseSeconds = PAUSE_SECONDS;
      const refusal = await once(path, ending.signal, ({ name, data, retrySeconds }) => {
        waitSeconds = FIRST_WAIT_SECONDS;
        pauseSeconds = retrySeconds ?? pauseSeconds;
        if (name === PROBLEM) {
          const refusal = new Refusal(503, data.code, data.detail);
          onState({ name: "lost", refusal, seconds: null });
        } else {
          onState({ name: "live" });
          onEvent(name, data);
        }
      });
      if (ending.signal.aborted) return;
      if (refusal === null) {
        await wait(pauseSeconds);
        continue;
      }
      const seconds = Math.min(
        Math.max(waitSeconds, refusal.retrySeconds ?? 0),
        LONGEST_WAIT_SECONDS,
      );
      waitSeconds = Math.min(waitSeconds * 2, LONGEST_WAIT_SECONDS);
      onState({ name: "lost", refusal, seconds });
      await wait(seconds);
    }
  }

  function wait(seconds) {
    return new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, seconds * 1000);
    });
  }

  queueMicrotask(run); // whoever follows has our answer before the first state
  return { retry: () => wake(), stop: () => (ending.abort(), wake()) };
}

/** Read one answer to its end. Return null if it ended as it should, else why it did not. */
async function once(path, ending, onEvent) {
  const silence = new AbortController();
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MILLISECONDS);
  };
  let blocks = 0;
  try {
    heard();
    const signal = AbortSignal.any([ending, silence.signal]);
    const response = await send("GET", path, { signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return blocks ? null : lost("the service ended the connection");
      heard();
      const whole = (rest + value).split("\n\n");
      rest = whole.pop();
      for (const event of whole.map(parsed)) {
        blocks += 1;
        if (event !== null) onEvent(event);
      }
    }
  } catch (error) {
    return error.status === undefined ? lost("the connection broke off") : error;
  } finally {
    clearTimeout(timer);
  }
}

function lost(detail) {
  return new Refusal(0, "lost", detail);
}

/**
 * Return {name, data, retrySeconds} of a block of lines; null: a comment. `retrySeconds`: the
 * service has no seat for us, and wants us back after so long.
 */
function parsed(block) {
  let name = "message";
  const data = [];
  let retrySeconds = null;
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    else if (line.startsWith("retry:")) retrySeconds = Number(line.slice(6)) / 1000;
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")), retrySeconds } : null;
}
