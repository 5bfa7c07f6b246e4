// Put values into the page. All that comes from the server goes in as text, never as markup;
// only what changed is touched, so nothing flickers and the focus stays.

export function byId(id) {
  return document.getElementById(id);
}

/** The element within `root` that is marked data-is="NAME". */
export function part(root, name) {
  return root.querySelector(`[data-is="${name}"]`);
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set the texts of marked elements. */
export function fill(root, texts) {
  for (const [name, text] of Object.entries(texts)) setText(part(root, name), String(text));
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function fromTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

/**
 * Make the children of `list` those of `items`, in their order.
 * A row lives as long as its key is there: `make` is called once for it, `update` each time.
 * Items of one key have a row each.
 */
export function setRows(list, items, { key, make, update }) {
  const old = new Map();
  for (const row of list.children) {
    if (!old.has(row.dataset.key)) old.set(row.dataset.key, []);
    old.get(row.dataset.key).push(row);
  }
  const rows = items.map((item) => {
    const name = key(item);
    const row = old.get(name)?.shift() ?? make(item);
    row.dataset.key = name;
    update(row, item);
    return row;
  });
  for (const row of [...old.values()].flat()) row.remove();
  rows.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
}

/** Put two buttons into a pager, and a place between them for what is shown. */
export function fillPager(pager, { onNewer, onOlder }) {
  const made = {
    newer: button("Newer", onNewer),
    place: document.createElement("span"),
    older: button("Older", onOlder),
  };
  pager.replaceChildren(made.newer, made.place, made.older);
  return made;
}

function button(text, work) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "quiet small";
  made.textContent = text;
  made.addEventListener("click", work);
  return made;
}

/** Tell people who listen to the page; say little. */
export function announce(text) {
  setText(byId("announcer"), text);
}

/** The address of a session on this page. */
export function sessionLink({ bank, session }) {
  return `#/sessions/${encodeURIComponent(bank)}/${encodeURIComponent(session)}`;
}

/** Call `work` when so many milliseconds passed without another call. */
export function later(work, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}

/** Call `work` at most once in so many milliseconds, and once more for calls in between. */
export function seldom(work, milliseconds) {
  let timer = 0;
  let calledAt = -Infinity;
  return () => {
    const wait = calledAt + milliseconds - performance.now();
    clearTimeout(timer);
    timer = setTimeout(() => {
      calledAt = performance.now();
      work();
    }, Math.max(wait, 0));
  };
}
