// Ask a person: are you sure, and what is the token. And change something on the service,
// with these questions where they are needed.

import { announce, byId } from "./dom.js";
import { send, token } from "./rest.js";

/** Ask whether to go on; resolves to true or false. Escape and a click beside it mean no. */
export function sure({ title, text, yes }) {
  const dialog = byId("sure");
  byId("sure-title").textContent = title;
  byId("sure-text").textContent = text;
  dialog.querySelector('[value="yes"]').textContent = yes;
  return answer(dialog, (done) => {
    for (const button of dialog.querySelectorAll("button")) {
      button.onclick = () => done(button.value === "yes");
    }
    dialog.querySelector('[value="no"]').focus();
  }, false);
}

/** Ask for the token and keep it; resolves to whether there is one now. */
export function askToken(text) {
  const dialog = byId("token");
  const input = dialog.querySelector("input");
  byId("token-text").textContent =
    `${text} It is kept in this tab until you close it, and sent to this service alone.`;
  input.value = "";
  return answer(dialog, (done) => {
    dialog.querySelector('button[type="button"]').onclick = () => done(false);
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      if (!input.value.trim()) return;
      token.set(input.value.trim());
      input.value = "";
      done(true);
    };
    input.focus();
  }, false);
}

function answer(dialog, prepare, otherwise) {
  if (dialog.open) return Promise.resolve(otherwise);
  return new Promise((resolve) => {
    let given = otherwise;
    dialog.onclose = () => resolve(given);
    dialog.onclick = (event) => {
      if (event.target === dialog) dialog.close();
    };
    dialog.showModal();
    prepare((value) => {
      given = value;
      dialog.close();
    });
  });
}

export const WRONG_TOKEN = "The token that you gave is not that of this service.";
export const NO_TOKEN = "Its settings name one (web.token or web.token_file).";

/**
 * Send a request that changes something. Resolves to null when it is done, to why not else;
 * undefined: the person did not give the token.
 */
export async function change(method, path, { done, ...more }) {
  for (;;) {
    try {
      await send(method, path, more);
      announce(done);
      return null;
    } catch (refusal) {
      if (refusal.status !== 401) return reason(refusal);
      const hadToken = token.get() !== null;
      if (!(await askToken(hadToken ? WRONG_TOKEN : NO_TOKEN))) return undefined;
    }
  }
}

function reason(refusal) {
  if (refusal.status === 403) {
    return (
      `The service refuses: ${refusal.message}. Set web.token in its settings to do this from` +
      " here, or use the command `biomaj-download` on its own machine."
    );
  }
  if (refusal.status === 404) return "It is gone meanwhile: nothing to do.";
  if (refusal.status === 0) return "The service does not answer: nothing was changed, as far as we know.";
  return `The service answers: ${refusal.message}.`;
}
