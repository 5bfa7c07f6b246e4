// A list that the service hands out in pages, with a search: never more than a page is held.

import { fill, fillPager, later, part, setRows, setText, show } from "./dom.js";
import { endedRow } from "./rows.js";
import { numberText } from "./words.js";

const PAGE_ROWS = 50;
const TYPING_MILLISECONDS = 250;

export class Listing {
  /**
   * `section` has the parts rows, nothing and count, a search and a pager.
   * `ask({q, offset, limit})` resolves to {files, total, next_offset}; `onRefusal` hears why not.
   */
  constructor(section, { ask, nothing, onRefusal }) {
    this.section = section;
    this.ask = ask;
    this.nothing = nothing;
    this.onRefusal = onRefusal;
    this.asked = 0;
    this.search = section.querySelector('input[type="search"]');
    this.pager = section.querySelector(".pager");
    const { newer, place, older } = fillPager(this.pager, {
      onNewer: () => this.go(this.before.pop() ?? 0),
      onOlder: () => {
        this.before.push(this.offset);
        this.go(this.next);
      },
    });
    Object.assign(this, { newer, place, older });
    this.search.addEventListener("input", later(() => this.restart(), TYPING_MILLISECONDS));
    this.clear();
  }

  get isSearching() {
    return this.search.value.trim() !== "";
  }

  /** Whether the newest are shown, and no other page was asked for. */
  get isAtTop() {
    return this.wanted === 0;
  }

  /** Show nothing, and wait for the first page. */
  clear() {
    this.search.value = "";
    this.asked += 1; // what is on its way is of no use any more
    this.before = [];
    this.offset = this.wanted = 0;
    setRows(part(this.section, "rows"), [], endedRow);
    fill(this.section, { nothing: "", count: "" });
    show(this.pager, false);
  }

  /** Begin at the newest again. */
  restart() {
    this.before = [];
    return this.go(0);
  }

  /** Ask once more for the page that is shown, or on its way. */
  refresh() {
    return this.go(this.wanted);
  }

  async go(offset) {
    const mine = (this.asked += 1);
    this.wanted = offset;
    const q = this.search.value.trim();
    try {
      const page = await this.ask({ q, offset, limit: PAGE_ROWS });
      if (mine === this.asked) this.draw(page, offset);
    } catch (refusal) {
      if (mine !== this.asked) return;
      this.wanted = this.offset;
      this.onRefusal(refusal);
    }
  }

  draw({ files, total, next_offset: next }, offset) {
    this.offset = offset;
    this.next = next;
    setRows(part(this.section, "rows"), files, endedRow);
    fill(this.section, { count: total === null ? "" : total ? numberText(total) : "" });
    const nothing = part(this.section, "nothing");
    const isPart = this.isSearching || offset > 0 || next !== null;
    setText(nothing, isPart ? this.noneFound(offset, next) : this.nothing());
    show(nothing, files.length === 0);
    show(this.pager, offset > 0 || next !== null);
    this.newer.disabled = offset === 0;
    this.older.disabled = next === null;
    // A search goes through many files at a time and may find none among them; so may the choice of
    // those that came, or failed.
    setText(this.older, total === null ? "Search further" : "Older");
    setText(this.place, this.placeText(files.length, offset, total));
  }

  noneFound(offset, next) {
    if (next !== null) return "Nothing fits among these; search further.";
    return offset > 0 ? "Nothing more fits." : "Nothing fits this search.";
  }

  placeText(rows, offset, total) {
    if (!rows || total === null) return "";
    return `${numberText(offset + 1)} to ${numberText(offset + rows)} of ${numberText(total)}`;
  }
}
