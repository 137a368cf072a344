// The images that the next question goes with, in order, and the one of them that is on the stage.
//
// An image: {id, name, url (data: or https:), blob, width, height, bitmap, sample, original, state, analysis}. One by address has no
// blob and, until it was analysed, no size and no bitmap. state: 'checking' until the server has seen it, then 'ready', or
// 'unchecked' if the server could not look.
import { announce } from '../dom.js';
import { plural } from '../format.js';

let lastId = 0;
export const newImageId = () => `${Date.now().toString(36)}-${(lastId += 1)}`;

// Events: 'change' (another list), 'select' (another image on the stage; follows 'change', too).
export class Images extends EventTarget {
  all = [];
  selected = null;
  most = Infinity; // images that one question may have, once that is known

  has = (image) => this.all.includes(image);

  // Takes `added` in the place of all, or adds it with `keep`. Returns how many did not fit.
  add(added, { keep }) {
    const wanted = keep ? [...this.all, ...added] : added;
    const taken = wanted.slice(0, this.most);
    this.#become(taken, added.findLast((image) => taken.includes(image)) ?? this.selected);
    return wanted.length - taken.length;
  }

  remove(image) {
    const at = this.all.indexOf(image);
    if (at < 0) return;
    const rest = this.all.filter((other) => other !== image);
    this.#become(rest, this.selected === image ? (rest[Math.min(at, rest.length - 1)] ?? null) : this.selected);
  }

  // `next` stands where `image` stood.
  replace(image, next) {
    if (!this.has(image)) return;
    this.#become(
      this.all.map((other) => (other === image ? next : other)),
      this.selected === image ? next : this.selected,
    );
  }

  select(image) {
    if (this.selected === image) return;
    this.selected = image;
    this.dispatchEvent(new Event('select'));
  }

  #become(all, selected) {
    const before = this.all.length;
    this.all = all;
    this.selected = selected;
    this.dispatchEvent(new Event('change'));
    this.dispatchEvent(new Event('select'));
    if (selected && all.length >= before) announce(this.#words(selected));
  }

  #words(image) {
    const size = image.width > 0 ? `, ${image.width} by ${image.height} pixels` : '';
    return `${image.name}${size}${this.all.length > 1 ? `; ${plural(this.all.length, 'image')} in all` : ''}`;
  }
}
